//! Slow readers: what a client owes, and his end when it is too much.

use crate::io::ConnectionId;
use crate::shard::Core;

impl Core {
    /// Whether so much waits for a connection that nothing more is made for it: then it is noted, to
    /// be closed at the end of the turn.
    ///
    /// Unlike [`check_backlog`](Self::check_backlog) this counts what the kernel has not been
    /// offered yet. A turn reads ten thousand small requests of one client; were each answer a
    /// large one, memory would be gone before the turn is. There is room for one message of the
    /// largest size before what he owes begins to count.
    #[inline]
    pub(crate) fn is_flooded(&mut self, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.find(id) else { return false };
        let max_owed = self.limits.max_send_queue;
        let max_queued = max_owed.saturating_add(self.limits.max_message_size);
        let outbox = &connection.outbox;
        if outbox.owes() <= max_owed && self.send_queue.waiting(outbox) <= max_queued {
            return false;
        }
        if self.overdue_readers.last() != Some(&id) {
            self.overdue_readers.push(id);
        }
        true
    }

    /// Notes a connection whose reader does not read, to be closed at the end of the turn.
    pub(crate) fn check_backlog(&mut self, id: ConnectionId) {
        let max = self.limits.max_send_queue;
        let Some(connection) = self.connections.find(id) else { return };
        if connection.outbox.owes() > max {
            self.overdue_readers.push(id);
        }
    }

    /// Closes the connections whose readers do not read. They may have been noted several times.
    pub(crate) fn close_readers(&mut self) {
        for id in std::mem::take(&mut self.overdue_readers) {
            if self.connections.find(id).is_none() {
                continue;
            }
            self.counters.slow_readers += 1;
            let max_send_queue = self.limits.max_send_queue;
            tracing::info!(max_send_queue, "closing a connection that does not read");
            self.close_now(id);
        }
    }
}
