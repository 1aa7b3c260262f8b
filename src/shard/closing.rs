//! Closing time: a shard that is to end leaves new clients to another server, if there may be one.
//!
//! Whoever has begun to connect when the server is told to stop stands in the listener's queue, or
//! will in a moment, and would be cut off with it. So the shard first has new clients turned away
//! (they try again a second later, and by then only the other server is there), goes on as usual
//! until nobody has come for a while, and closes its listener only then.

use std::time::{Duration, Instant};

/// A shard whose listener is about to be closed.
#[derive(Debug)]
pub(crate) struct Closing {
    since: Instant,
    /// New clients are turned away, and those who have begun are waited for.
    is_patient: bool,
    /// When the last of them came.
    last: Instant,
}

impl Closing {
    pub(crate) fn new(is_patient: bool, now: Instant) -> Self {
        Self { since: now, is_patient, last: now }
    }

    /// One more has come.
    pub(crate) fn accepted(&mut self, now: Instant) {
        self.last = now;
    }

    /// Whether those were waited for who had begun to connect.
    pub(crate) fn is_patient(&self) -> bool {
        self.is_patient
    }

    /// When the listener is to be closed, if nobody else comes.
    pub(crate) fn until(&self) -> Instant {
        if !self.is_patient {
            return self.since;
        }
        (self.since + LINGER).max(self.last + QUIET).min(self.since + LONGEST)
    }
}

/// Somewhat less than the second after which a client who was turned away tries again: it should not
/// be turned away twice. More than any handshake takes that nothing was lost of.
const LINGER: Duration = Duration::from_millis(900);

/// The queue is empty when nobody has come out of it for so long.
const QUIET: Duration = Duration::from_millis(250);

/// However many there are.
const LONGEST: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_when_nobody_has_come_for_a_while() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(Closing::new(false, start).until(), start);
        let mut closing = Closing::new(true, start);
        assert_eq!(closing.until(), at(900));
        closing.accepted(at(300));
        assert_eq!(closing.until(), at(900));
        closing.accepted(at(800));
        assert_eq!(closing.until(), at(1_050));
        closing.accepted(at(2_900));
        assert_eq!(closing.until(), at(3_000));
    }
}
