//! The clock of a shard: the instant of its turn.

use std::time::{Duration, Instant};

/// The time by which a turn goes. Nobody else is asked for it, so that a test can say what it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    now: Instant,
    seconds: u32,
    seconds_begun: u32,
}

impl Clock {
    pub(crate) fn new(now: Instant) -> Self {
        Self { started: now, now, seconds: 0, seconds_begun: 0 }
    }

    /// A turn begins.
    pub(crate) fn set(&mut self, now: Instant) {
        let since = now - self.started;
        self.now = now;
        self.seconds = u32::try_from(since.as_secs()).unwrap_or(u32::MAX / 2);
        self.seconds_begun = self.seconds + u32::from(since.subsec_nanos() > 0);
    }

    /// The instant of this turn.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// The seconds since the shard has started that are over.
    #[inline]
    pub(crate) fn seconds(&self) -> u32 {
        self.seconds
    }

    /// The same, but one that has begun counts too. Time-outs are measured from here, so that they
    /// may be up to a second long but never short.
    #[inline]
    pub(crate) fn seconds_begun(&self) -> u32 {
        self.seconds_begun
    }

    /// When the next second is over.
    pub(crate) fn next_second(&self) -> Instant {
        self.started + Duration::from_secs(u64::from(self.seconds) + 1)
    }
}

/// The instant so much later. Whoever says `Duration::MAX` means never, and nobody sees the end of
/// the thirty years that it is here.
pub(crate) fn later(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay).unwrap_or_else(|| now + Duration::from_secs(30 * 365 * 24 * 60 * 60))
}

/// So many seconds, a begun one counted whole. It leaves room for an instant that it is added to.
pub(crate) fn ceil_seconds(duration: Duration) -> u32 {
    let seconds = duration.as_millis().div_ceil(1000);
    u32::try_from(seconds).unwrap_or(u32::MAX).min(u32::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_that_no_clock_can_tell_is_a_long_one() {
        let now = Instant::now();
        assert!(later(now, Duration::MAX) > now + Duration::from_secs(1_000_000));
        assert_eq!(later(now, Duration::from_secs(1)), now + Duration::from_secs(1));
    }

    #[test]
    fn a_second_that_has_begun_counts_only_where_it_is_to() {
        let start = Instant::now();
        let mut clock = Clock::new(start);
        assert_eq!((clock.seconds(), clock.seconds_begun()), (0, 0));
        clock.set(start + Duration::from_millis(1_001));
        assert_eq!((clock.seconds(), clock.seconds_begun()), (1, 2));
        assert_eq!(clock.next_second(), start + Duration::from_secs(2));
        assert_eq!(ceil_seconds(Duration::from_millis(1_001)), 2);
        assert_eq!(ceil_seconds(Duration::MAX), u32::MAX / 2);
    }
}
