//! Deadlines of connections, swept by a coarse wheel.
//!
//! A connection stands in one bucket, that of the second in which its time may be over. What it
//! receives meanwhile only notes the time; when its bucket comes up its real deadline is looked at,
//! and nearly always it moves on to a later one. So an idle connection costs eight bytes and a look
//! a minute, and none of its messages costs anything.

use crate::io::ConnectionId;

/// The wheel.
#[derive(Debug)]
pub(super) struct Deadlines {
    buckets: Vec<Vec<ConnectionId>>,
    /// Every bucket up to this second has been swept.
    swept: u32,
    waiting: usize,
}

impl Deadlines {
    pub(super) fn new() -> Self {
        Self { buckets: vec![Vec::new(); BUCKETS as usize], swept: 0, waiting: 0 }
    }

    /// Has the connection looked at in the second `deadline`, or earlier if that is far away.
    pub(super) fn insert(&mut self, id: ConnectionId, now: u32, deadline: u32) {
        if self.waiting == 0 {
            self.swept = self.swept.max(now);
        }
        let now = now.max(self.swept);
        let second = deadline.clamp(now + 1, now + BUCKETS - 1);
        self.buckets[(second % BUCKETS) as usize].push(id);
        self.waiting += 1;
    }

    /// Takes those who are to be looked at in the next second that is over, if there is one.
    pub(super) fn next_due(&mut self, now: u32) -> Option<Vec<ConnectionId>> {
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
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Whether anybody must be looked at some day.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }
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
