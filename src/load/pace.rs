//! The pace of a load at a fixed rate: when each send is due, whatever has become of the others.

use std::iter;
use std::time::{Duration, Instant};

/// Sends at a fixed rate, numbered from zero.
pub(crate) struct Pace {
    start: Instant,
    /// Nanoseconds from one send to the next.
    interval: f64,
    planned: u64,
    next: u64,
    /// How much later than planned the last one was taken; zero until it is.
    pub(crate) behind: Duration,
}

impl Pace {
    pub(crate) fn new(start: Instant, rate: f64, length: Duration) -> Self {
        let planned = (rate * length.as_secs_f64()).round() as u64;
        Self { start, interval: 1e9 / rate, planned, next: 0, behind: Duration::ZERO }
    }

    /// Takes the next send, if it is due: its number, and when it was due.
    pub(crate) fn take(&mut self) -> Option<(u64, Instant)> {
        if self.is_over() {
            return None;
        }
        let (number, due) = (self.next, self.due_at(self.next));
        if due > Instant::now() {
            return None;
        }
        self.next += 1;
        if self.is_over() {
            self.behind = due.elapsed();
        }
        Some((number, due))
    }

    /// Takes those that are due, but never many at a time, so that what comes does not wait behind
    /// a backlog of sends.
    pub(crate) fn take_some(&mut self) -> impl Iterator<Item = (u64, Instant)> {
        iter::from_fn(|| self.take()).take(SENDS_BETWEEN_READS)
    }

    pub(crate) fn due_at(&self, send: u64) -> Instant {
        self.start + Duration::from_nanos((send as f64 * self.interval) as u64)
    }

    /// Whether all have been taken.
    pub(crate) fn is_over(&self) -> bool {
        self.next == self.planned
    }

    /// How long until the next is due; `patience` when there is none.
    pub(crate) fn pause(&self, patience: Duration) -> Duration {
        if self.is_over() {
            return patience;
        }
        self.due_at(self.next).saturating_duration_since(Instant::now())
    }
}

const SENDS_BETWEEN_READS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_taken_as_the_rate_says_and_none_before_it_is_due() {
        let start = Instant::now() - Duration::from_secs(3);
        let mut pace = Pace::new(start, 2.0, Duration::from_secs(2));
        let taken: Vec<_> = std::iter::from_fn(|| pace.take()).collect();
        let half_a_second = Duration::from_millis(500);
        assert_eq!(taken, [0, 1, 2, 3].map(|n| (u64::from(n), start + half_a_second * n)));
        assert!(pace.is_over());
        assert!(pace.behind >= Duration::from_millis(1_500), "the last was due 1.5 s ago");

        let mut pace = Pace::new(Instant::now() - Duration::from_secs(1), 0.01, Duration::MAX / 2);
        assert!(pace.take().is_some() && pace.take().is_none());
        let pause = pace.pause(Duration::ZERO);
        assert!(pause > Duration::from_secs(90), "the next is due in 99 s, not {pause:?}");
    }

    #[test]
    fn nothing_planned_is_over_at_once() {
        let mut pace = Pace::new(Instant::now(), 0.0, Duration::from_secs(1));
        assert!(pace.is_over());
        assert_eq!(pace.take(), None);
        assert_eq!(pace.pause(Duration::from_secs(5)), Duration::from_secs(5));
    }
}
