//! The watch: a thread that sees when a shard is held up.
//!
//! A callback that computes for long, or waits without `await`, holds up every client of its shard,
//! and nobody on the shard can say so meanwhile. So each shard counts its turns, and a thread beside
//! them looks now and then whether the count goes on. A turn that does not end is reported while it
//! lasts; when it is over, the shard adds what it was.
//!
//! It also keeps the deadlines of those who wait for a shard from elsewhere ([`Deadlines`]), and tells
//! them up to [`INTERVAL`] late.
//!
//! The shard reads no clock for that. It pays two stores a turn and a load a callback.

#![expect(clippy::disallowed_methods, reason = "a thread of its own, with a clock of its own")]

use std::io;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

#[cfg(doc)]
use super::deadlines::Deadlines;
use super::links::Remote;
use crate::io::gate::{Gate, Why};

/// The thread. It ends when this is dropped.
pub(crate) struct Watch {
    thread: Option<JoinHandle<()>>,
    end: Option<mpsc::Sender<()>>,
}

impl Watch {
    /// Watches these shards, from one of these CPUs. Who is held up stands aside at the gate.
    pub(crate) fn start(
        remotes: Vec<Arc<Remote>>,
        gate: Arc<Gate>,
        cpus: Vec<usize>,
    ) -> io::Result<Self> {
        let (end, ended) = mpsc::channel();
        let thread = thread::Builder::new().name("simurgh-watch".to_owned()).spawn(move || {
            crate::io::cpu::allow(&cpus);
            let mut shards: Vec<_> = remotes.iter().map(|_| Seen::default()).collect();
            let mut rest = INTERVAL;
            while ended.recv_timeout(rest) == Err(mpsc::RecvTimeoutError::Timeout) {
                let now = Instant::now();
                let due = remotes.iter().filter_map(|remote| remote.deadlines.tell_due(now)).min();
                rest = due.map_or(INTERVAL, |due| INTERVAL.min(due - now));
                for (shard, (seen, remote)) in shards.iter_mut().zip(&remotes).enumerate() {
                    let turns = remote.watched.turns();
                    if let Some(held) = seen.look(turns, now) {
                        remote.watched.report(turns);
                        let held = format!("{} ms", held.as_millis());
                        tracing::warn!(shard, held, "a shard is held up, and its clients wait");
                    }
                    gate.set(shard, Why::Held, seen.is_held());
                }
            }
            remotes.iter().for_each(|remote| remote.deadlines.end());
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
    /// Whether it has been reported, and lasts.
    fn is_held(&self) -> bool {
        self.patience > PATIENCE
    }

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
}
