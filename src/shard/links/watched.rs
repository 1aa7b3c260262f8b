//! What the watch sees of a shard, and what it tells it.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the watch sees of a shard. On a line of its own: the shard writes it every turn.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Watched {
    /// Turns begun and turns ended: odd during a turn. Only the shard writes it, and nothing hangs
    /// on its order with anything else.
    turns: AtomicU64,
    /// The turn that was reported, by what `turns` was in it, until the shard has said what it was;
    /// zero if there is none. The watch may write it when that turn is over already.
    reported: AtomicU64,
}

impl Watched {
    /// A turn begins, or ends.
    pub(crate) fn count(&self) {
        self.turns.store(self.turns.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// How many have begun and ended.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Reports the turn in which there were so many.
    pub(crate) fn report(&self, turns: u64) {
        self.reported.store(turns, Ordering::Relaxed);
    }

    /// Whether this turn was reported since the last time this was asked.
    #[inline]
    pub(crate) fn take_report(&self) -> bool {
        self.reported.load(Ordering::Relaxed) != 0 && {
            let reported = self.reported.swap(0, Ordering::Relaxed);
            // This turn's, or that of the turn which has just ended.
            self.turns.load(Ordering::Relaxed).wrapping_sub(reported) <= 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_taken_once() {
        let watched = Watched::default();
        watched.count();
        assert!(!watched.take_report());
        watched.reported.store(1, Ordering::Relaxed);
        assert!(watched.take_report() && !watched.take_report());
        // What no callback has taken is taken when the turn has ended.
        watched.reported.store(1, Ordering::Relaxed);
        watched.count();
        assert!(watched.take_report());
    }

    /// A turn that ended just when it was reported left its report to the next one, whose first
    /// callback was told to have held up the shard.
    #[test]
    fn a_report_that_comes_too_late_blames_nobody() {
        let watched = Watched::default();
        (0..3).for_each(|_| watched.count());
        watched.reported.store(1, Ordering::Relaxed);
        assert!(!watched.take_report() && !watched.take_report());
    }
}
