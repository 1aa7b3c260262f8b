//! Admission: who may stay, and what becomes of those for whom there is no room.
//!
//! A client beyond the limit is answered with 503 as soon as it asks for something. Such guests are
//! few: past [`MAX_REFUSED`] of them the next is closed without a word, so that a flood is not
//! kept waiting at our cost.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use crate::io::ConnectionId;
use crate::message::Response;
use crate::shard::Core;
use crate::shard::lines::connection::{Connection, Ending, EndingStep, Head, Phase};
use crate::shard::transport::deadlines::ceil_seconds;

/// How many connections a shard has of each kind; together, all it has.
#[derive(Debug, Default)]
pub(crate) struct Admissions {
    admitted: usize,
    /// To be told, or told already, that there is no room for them.
    refused: usize,
}

#[cfg(feature = "testing")]
impl Admissions {
    /// All of them.
    pub(crate) fn len(&self) -> usize {
        self.admitted + self.refused
    }
}

impl Core {
    /// A client has connected.
    pub(crate) fn accepted(&mut self, id: ConnectionId, peer: SocketAddr) {
        self.counters.accepted += 1;
        if self.draining.is_some() {
            // An accept that was under way when the drain began.
            self.closed.push(id);
            return;
        }
        let (now, begun) = (self.seconds(), self.seconds_begun());
        let deadline = self.head_deadline();
        let phase = if self.admit() {
            Phase::Head(Box::new(Head::new(peer, deadline)))
        } else {
            self.counters.refused_connections += 1;
            tracing::debug!(%peer, "refused: there are too many connections");
            if self.admissions.refused >= MAX_REFUSED {
                self.closed.push(id);
                return;
            }
            self.admissions.refused += 1;
            let step = EndingStep::Refuse;
            Phase::Ending(Box::new(Ending { step, deadline, partial: None, was_refused: true }))
        };
        self.connections.insert(id, begun);
        self.put(id, phase);
        let idle_timeout = ceil_seconds(self.limits.idle_timeout);
        self.deadlines.insert(id, now, deadline.min(begun + idle_timeout));
    }

    /// Takes a place, if there is one.
    fn admit(&mut self) -> bool {
        if self.admissions.admitted >= self.limits.max_connections_per_shard {
            return false;
        }
        // A number and nothing else: no shard concludes anything from another's having changed it.
        let in_all = &self.shared.connections;
        if in_all.fetch_add(1, Ordering::Relaxed) >= self.limits.max_connections {
            in_all.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        if !self.make_room_for_handshake() {
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        self.admissions.admitted += 1;
        true
    }

    /// Gives back the place of a connection that is gone.
    pub(super) fn dismiss(&mut self, connection: &Connection) {
        match &connection.phase {
            Phase::Ending(ending) if ending.was_refused => self.admissions.refused -= 1,
            _ => {
                self.admissions.admitted -= 1;
                self.shared.connections.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Tells a client for whom there is no room so, now that it asks for something. What it asks
    /// for is not looked at.
    pub(super) fn turn_away(&mut self, id: ConnectionId) {
        let response = Response::new(503).header("retry-after", RETRY_AFTER);
        self.respond(id, &response, false, false);
        self.begin_ending(id, EndingStep::Shutdown);
    }
}

/// Connections of a shard that there is no room for, waiting for their answer or for its end to be
/// read. An honest client asks at once and goes when it has read it, so a shard that is full still
/// answers thousands a second; whoever asks nothing has
/// [`head_timeout`](crate::Limits::head_timeout).
const MAX_REFUSED: usize = 1_024;

/// Seconds. Places come free one by one, so later is not better; sooner is only more load.
const RETRY_AFTER: &str = "10";
