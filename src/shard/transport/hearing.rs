//! First read, then judge.
//!
//! A client is silent when nothing has come from it, not when nothing of it was read: what it has
//! sent may still wait in the kernel. So nobody's time is over in a turn that has not read all that
//! had come. And when the shard itself has stood still (its process was stopped, its machine, or a
//! callback held it up), its clients get a moment in which what they sent meanwhile can arrive.
//!
//! Neither is for ever. A shard that never gets through judges all the same: what waits in the kernel
//! is read in the order in which it came, so after [`PATIENCE`] what was there at first has been.

/// Whether there was time to hear everybody. Times are the shard's seconds.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// When the last turn was.
    last: u32,
    /// Until when those have time whom a standstill has kept from being heard.
    grace: u32,
    /// In how many seconds, without one in between, nobody could be judged.
    put_off: u32,
}

impl Hearing {
    /// Whether those whose time seems to be over may be judged in this turn. To be asked in each.
    pub(super) fn is_over(&mut self, now: u32, has_read_all: bool) -> bool {
        let passed = now - std::mem::replace(&mut self.last, now);
        // Who stands still again and again does not put it off again and again.
        if passed > STANDSTILL && self.put_off == 0 {
            self.grace = now + GRACE;
        }
        if has_read_all && now >= self.grace {
            self.put_off = 0;
            return true;
        }
        self.put_off += u32::from(passed > 0);
        if self.put_off > PATIENCE {
            self.put_off = 0;
            return true;
        }
        false
    }
}

/// A shard with clients looks at their deadlines every second. If more than this has passed, it was
/// kept from it.
const STANDSTILL: u32 = 3;

/// What was sent to a shard that stood still has come by then.
const GRACE: u32 = 2;

/// No client is spared for longer because the shard does not get through. In ten seconds a shard
/// reads some millions of messages.
pub(super) const PATIENCE: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_judged_before_all_was_read() {
        let mut hearing = Hearing::default();
        assert!(hearing.is_over(1, true));
        assert!(!hearing.is_over(1, false));
        assert!(!hearing.is_over(2, false));
        assert!(hearing.is_over(2, true));
    }

    #[test]
    fn a_shard_that_stood_still_gives_its_clients_a_moment() {
        let mut hearing = Hearing::default();
        assert!(hearing.is_over(60, true) || hearing.is_over(62, true));
        assert!(!hearing.is_over(128, true));
        assert!(!hearing.is_over(129, true));
        assert!(hearing.is_over(130, true));
    }

    #[test]
    fn who_never_gets_through_judges_all_the_same() {
        let mut hearing = Hearing::default();
        let judged: Vec<_> = (1..30).filter(|&now| hearing.is_over(now, false)).collect();
        assert_eq!(judged, [11, 22]);
        // The same, should every turn take long.
        let mut hearing = Hearing::default();
        let judged = (1..30).filter(|&turn| hearing.is_over(turn * 5, true)).count();
        assert!(judged > 10, "{judged}");
    }
}
