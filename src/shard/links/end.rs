//! The end: who has asked for it, how fast, and which shards' threads have come to theirs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::shard::clock::later;

/// How far the end of a server has come. Shards look at flags; whoever waits for them sleeps on the
/// rest, which is touched when something ends and never before.
#[derive(Debug, Default)]
pub(crate) struct End {
    /// The server is to end. Each shard sees it in its next turn.
    stopping: AtomicBool,
    /// What still runs is not waited for.
    hurried: AtomicBool,
    /// Threads that have ended, by their shards.
    ended: Mutex<Vec<usize>>,
    changed: Condvar,
}

impl End {
    pub(crate) fn is_asked_for(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    pub(crate) fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::SeqCst)
    }

    pub(super) fn ask(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.tell();
    }

    pub(super) fn hurry(&self) {
        self.hurried.store(true, Ordering::SeqCst);
        self.ask();
    }

    /// The thread of a shard has ended, or is about to: nothing of the application's runs on it.
    pub(crate) fn come_to(&self, shard: usize) {
        self.lock().push(shard);
        self.changed.notify_all();
    }

    /// Whoever waits looks again: he holds the lock from when he has looked until he sleeps.
    fn tell(&self) {
        drop(self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<usize>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the threads of so many shards have ended, from when the end is asked for no longer
    /// than `patience`, and when it is hurried hardly at all. Says which have not.
    #[expect(clippy::disallowed_methods, reason = "whoever waits is no shard")]
    pub(crate) fn wait(&self, shards: usize, patience: Duration) -> Vec<usize> {
        let (mut asked, mut hurried) = (None, None);
        let mut ended = self.lock();
        loop {
            let left: Vec<_> = (0..shards).filter(|shard| !ended.contains(shard)).collect();
            if left.is_empty() {
                return left;
            }
            if !self.is_asked_for() {
                ended = self.changed.wait(ended).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let now = Instant::now();
            let mut end = *asked.get_or_insert_with(|| later(now, patience));
            if self.is_hurried() {
                end = end.min(*hurried.get_or_insert(now + HURRY));
            }
            if now >= end {
                return left;
            }
            let woken = self.changed.wait_timeout(ended, end - now);
            ended = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What a shard that is not held up needs for its last turn, on a busy machine.
const HURRY: Duration = Duration::from_secs(1);
