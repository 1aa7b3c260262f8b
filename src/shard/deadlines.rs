//! Deadlines of connections, swept by a coarse wheel.
//!
//! A connection stands in one bucket, that of the second in which its time may be over. What it
//! receives meanwhile only notes the time; when its bucket comes up its real deadline is looked at,
//! and nearly always it moves on to a later one. So an idle connection costs eight bytes and a look
//! a minute, and none of its messages costs anything.

use std::time::Duration;

use super::Core;
use super::connection::{EndingStep, Phase};
use crate::channel::Stop;
use crate::io::ConnectionId;
use crate::protocol::websocket::CloseCode;
use crate::response::Response;

pub(crate) struct Deadlines {
    buckets: Vec<Vec<ConnectionId>>,
    /// Every bucket up to this second has been swept.
    swept: u32,
    waiting: usize,
}

impl Deadlines {
    pub(crate) fn new() -> Self {
        Self { buckets: vec![Vec::new(); BUCKETS as usize], swept: 0, waiting: 0 }
    }

    /// Has the connection looked at in the second `deadline`, or earlier if that is far away.
    pub(crate) fn insert(&mut self, id: ConnectionId, now: u32, deadline: u32) {
        if self.waiting == 0 {
            self.swept = self.swept.max(now);
        }
        let now = now.max(self.swept);
        let second = deadline.clamp(now + 1, now + BUCKETS - 1);
        self.buckets[(second % BUCKETS) as usize].push(id);
        self.waiting += 1;
    }

    /// Takes those who are to be looked at in the next second that is over, if there is one.
    pub(crate) fn next_due(&mut self, now: u32) -> Option<Vec<ConnectionId>> {
        if self.waiting == 0 {
            self.swept = now;
        }
        if self.swept >= now {
            return None;
        }
        self.swept += 1;
        let due = std::mem::take(&mut self.buckets[(self.swept % BUCKETS) as usize]);
        self.waiting -= due.len();
        Some(due)
    }

    /// How many entries there are.
    #[cfg(feature = "testing")]
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    /// Whether anybody must be looked at some day.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }
}

impl Core {
    /// A connection's time may be over; if not, says when to look again.
    pub(crate) fn check_deadline(&mut self, id: ConnectionId) -> Option<u32> {
        let now = self.seconds();
        let idle_timeout = ceil_seconds(self.limits.idle_timeout);
        let head_timeout = ceil_seconds(self.limits.head_timeout);
        let connection = self.connections.find(id)?;
        let deadline = match &connection.phase {
            Phase::Head(head) => head.deadline,
            Phase::Ending(ending) => ending.deadline,
            Phase::Open(_) | Phase::Connecting(_) | Phase::Empty => connection.heard + idle_timeout,
        };
        if now < deadline {
            return Some(match &connection.phase {
                // The next phase may have an earlier deadline, and nobody is told when it begins.
                Phase::Head(_) | Phase::Connecting(_) => {
                    deadline.min(now + idle_timeout.min(head_timeout))
                }
                _ => deadline,
            });
        }
        let counters = &mut self.counters;
        match &connection.phase {
            Phase::Open(_) => {
                counters.idle += 1;
                tracing::debug!("closing a socket that was silent");
                self.close_socket(id, CloseCode::PROTOCOL_ERROR, &Stop::Closed);
            }
            Phase::Connecting(_) | Phase::Empty => {
                counters.idle += 1;
                self.close_now(id);
            }
            // Who has not begun to ask is told nothing: that could be taken for the answer to a
            // request that is on its way.
            Phase::Head(head) if head.bytes.is_empty() => {
                counters.slow_requests += 1;
                self.close_now(id);
            }
            Phase::Head(head) => {
                counters.slow_requests += 1;
                tracing::info!(peer = %head.peer, "refused a request that took too long");
                self.respond(id, &Response::new(408), false, false);
                self.begin_ending(id, EndingStep::Shutdown);
            }
            Phase::Ending(ending) => {
                match ending.step {
                    EndingStep::Refuse => counters.slow_requests += 1,
                    _ => counters.overdue += 1,
                }
                self.close_now(id);
            }
        }
        None
    }

    /// By when a request must be whole that is awaited from now on.
    pub(super) fn head_deadline(&self) -> u32 {
        self.seconds_begun() + ceil_seconds(self.limits.head_timeout)
    }

    /// By when a connection must be gone that ends from now on.
    pub(super) fn close_deadline(&self) -> u32 {
        self.seconds_begun() + ceil_seconds(self.limits.close_timeout)
    }
}

/// The wheel's measure. It leaves room for an instant that it is added to.
pub(crate) fn ceil_seconds(duration: Duration) -> u32 {
    let seconds = duration.as_millis().div_ceil(1000);
    u32::try_from(seconds).unwrap_or(u32::MAX).min(u32::MAX / 2)
}

/// More than the seconds of the usual time-outs, so that most move only once a time-out.
const BUCKETS: u32 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(slot: usize) -> ConnectionId {
        ConnectionId::new(0, slot, 1)
    }

    fn due(deadlines: &mut Deadlines, now: u32) -> Vec<ConnectionId> {
        std::iter::from_fn(|| deadlines.next_due(now)).flatten().collect()
    }

    #[test]
    fn a_connection_is_looked_at_in_its_second() {
        let mut deadlines = Deadlines::new();
        deadlines.insert(id(1), 0, 60);
        deadlines.insert(id(2), 0, 10);
        assert_eq!(due(&mut deadlines, 9), []);
        assert_eq!(due(&mut deadlines, 10), [id(2)]);
        assert_eq!(due(&mut deadlines, 59), []);
        assert_eq!(due(&mut deadlines, 1000), [id(1)]);
        assert!(deadlines.is_empty());
    }

    #[test]
    fn a_far_deadline_is_looked_at_early_rather_than_late() {
        let mut deadlines = Deadlines::new();
        deadlines.insert(id(1), 5, 100_000);
        assert_eq!(due(&mut deadlines, 5 + BUCKETS - 2), []);
        assert_eq!(due(&mut deadlines, 5 + BUCKETS - 1), [id(1)]);
    }

    #[test]
    fn a_deadline_in_the_past_is_looked_at_in_the_next_second() {
        let mut deadlines = Deadlines::new();
        assert_eq!(due(&mut deadlines, 50), []);
        deadlines.insert(id(1), 50, 20);
        assert_eq!(due(&mut deadlines, 50), []);
        assert_eq!(due(&mut deadlines, 51), [id(1)]);
    }
}
