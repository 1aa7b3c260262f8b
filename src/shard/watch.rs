//! The watch: a thread that sees when a shard is held up.
//!
//! A callback that computes for long, or waits without `await`, holds up every client of its shard,
//! and nobody on the shard can say so meanwhile. So each shard counts its turns, and a thread beside
//! them looks now and then whether the count goes on. A turn that does not end is reported while it
//! lasts; when it is over, the shard adds what it was.
//!
//! The shard reads no clock for that. It pays two stores a turn and a load a callback.

#![expect(clippy::disallowed_methods, reason = "a thread of its own, with a clock of its own")]

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::remote::Remote;

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

/// The thread. It ends when this is dropped.
pub(crate) struct Watch {
    thread: Option<JoinHandle<()>>,
    end: Option<mpsc::Sender<()>>,
}

impl Watch {
    /// Watches these shards, from one of these CPUs.
    pub(crate) fn start(remotes: Vec<Arc<Remote>>, cpus: Vec<usize>) -> io::Result<Self> {
        let (end, ended) = mpsc::channel();
        let thread = thread::Builder::new().name("simurgh-watch".to_owned()).spawn(move || {
            crate::io::cpu::allow(&cpus);
            let mut shards: Vec<_> = remotes.iter().map(|_| Seen::default()).collect();
            while ended.recv_timeout(INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
                let now = Instant::now();
                for (shard, (seen, remote)) in shards.iter_mut().zip(&remotes).enumerate() {
                    let turns = remote.watched.turns.load(Ordering::Relaxed);
                    if let Some(held) = seen.look(turns, now) {
                        remote.watched.reported.store(turns, Ordering::Relaxed);
                        let held = format!("{} ms", held.as_millis());
                        tracing::warn!(shard, held, "a shard is held up, and its clients wait");
                    }
                }
            }
        })?;
        Ok(Self { thread: Some(thread), end: Some(end) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What was last seen of a shard.
#[derive(Default)]
struct Seen {
    turns: u64,
    /// When that was seen first.
    since: Option<Instant>,
    /// How long it is to last before it is reported, or reported again.
    patience: Duration,
}

impl Seen {
    /// Says how long a turn has lasted, when that is to be told: at once, and then each time when it
    /// has become twice as long.
    fn look(&mut self, turns: u64, now: Instant) -> Option<Duration> {
        let Some(since) = self.since.filter(|_| turns == self.turns) else {
            *self = Self { turns, since: Some(now), patience: PATIENCE };
            return None;
        };
        let held = now.saturating_duration_since(since);
        let is_turn = turns % 2 == 1;
        if !is_turn || held < self.patience {
            return None;
        }
        self.patience = held * 2;
        Some(held)
    }
}

/// A turn that lasts longer is reported: by then somebody sees that something is slow.
const PATIENCE: Duration = Duration::from_millis(100);

const INTERVAL: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_lasts_is_told_and_told_again_when_it_has_lasted_twice_as_long() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        let mut told = Vec::new();
        for look in 0..20 {
            let after = INTERVAL * look;
            told.extend(seen.look(7, start + after));
        }
        let told: Vec<_> = told.iter().map(Duration::as_millis).collect();
        assert_eq!(told, [100, 200, 400, 800]);
    }

    #[test]
    fn a_shard_that_sleeps_or_takes_its_turns_is_no_matter() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        for look in 0..20 {
            assert_eq!(seen.look(8, start + INTERVAL * look), None);
        }
        for look in 0..20 {
            assert_eq!(seen.look(9 + u64::from(look), start + INTERVAL * (20 + look)), None);
        }
    }

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
