//! Slow readers: what a client owes, and what happens when it is too much.

use smallvec::SmallVec;

use crate::io::ConnectionId;
use crate::message::{Broadcast, Payload};
use crate::shard::Core;
use crate::shard::channels::mount::handler;
use crate::shard::channels::process::Mail;

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
        self.note_overdue(id);
        true
    }

    /// Notes a connection whose reader does not read, to be closed at the end of the turn, unless
    /// enough of what waits for it may be dropped.
    #[inline]
    pub(crate) fn check_backlog(&mut self, id: ConnectionId) {
        let max = self.limits.max_send_queue;
        let Some(connection) = self.connections.find(id) else { return };
        if connection.outbox.owes() > max && !self.shed(id) {
            self.note_overdue(id);
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

    fn note_overdue(&mut self, id: ConnectionId) {
        if self.overdue_readers.last() != Some(&id) {
            self.overdue_readers.push(id);
        }
    }

    /// Drops broadcasts that wait for channels that allow it, and has them told. Whether the client
    /// owes no more than it may now.
    ///
    /// Half of what it may owe is dropped, not just the excess: otherwise each further broadcast
    /// would look through all that waits for one to drop. For the same reason it is not enough when
    /// hardly anything could be dropped of much.
    #[cold]
    fn shed(&mut self, id: ConnectionId) -> bool {
        if self.overdue_readers.last() == Some(&id) {
            // It was not enough a moment ago.
            return false;
        }
        let max = self.limits.max_send_queue;
        let Self { connections, processes, mounts, counters, .. } = self;
        let Some(connection) = connections.find(id) else { return false };
        let before = connection.outbox.owes();
        let mut missed = SmallVec::<[u32; 4]>::new();
        connection.outbox.drop_broadcasts(max / 2, |process| {
            // The one it was for may have ended, and its place be another client's.
            let its = processes.at_place(process).filter(|process| process.connection == id);
            let is_lossy = its.is_some_and(|its| handler(mounts, its.mount, its.route).is_lossy());
            if is_lossy {
                counters.dropped += 1;
                if !missed.contains(&process) {
                    missed.push(process);
                }
            }
            is_lossy
        });
        let owes = connection.outbox.owes();
        let is_enough = owes <= max / 2 || (owes <= max && before - owes >= max / 16);
        for process in missed {
            let (_, its) = self.processes.at(process);
            let topic = self.topics.name(its.topic);
            let missed = Broadcast::new(topic, "", Payload::empty(), None);
            self.deliver_broadcast(process, Mail::Gap(missed));
        }
        is_enough
    }
}
