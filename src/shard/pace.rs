//! Pace: who is refused or crashes again and again is heard ever more slowly.
//!
//! A join that is refused costs as much as one that is granted, and a channel that crashes costs
//! more: a client that does nothing else takes its whole share of each turn for it. So after a few
//! times it waits a moment before it is read further, and longer each time; nothing is refused to
//! it. Stock clients wait a second or more before they try again, and are not held up.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// What went wrong for whom, and how long ago.
pub(crate) struct Paces<K>(HashMap<K, Pace>);

#[derive(Debug, Clone, Copy)]
struct Pace {
    times: u32,
    until: Instant,
}

impl<K> Default for Paces<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Copy + Eq + Hash> Paces<K> {
    /// Something went wrong once more.
    pub(crate) fn count(&mut self, who: K, now: Instant) {
        if self.0.len() >= MAX && !self.0.contains_key(&who) {
            // Those who have been quiet longest are as good as strangers.
            self.0.retain(|_, pace| now < pace.until);
            if self.0.len() >= MAX {
                return;
            }
        }
        let pace = self.0.entry(who).or_insert(Pace { times: 0, until: now });
        let calm = now.saturating_duration_since(pace.until);
        let forgiven = calm.as_secs() / FORGIVEN_EVERY.as_secs();
        pace.times = pace.times.saturating_sub(forgiven.try_into().unwrap_or(u32::MAX)) + 1;
        let doublings = pace.times.saturating_sub(FREE);
        if doublings > 0 {
            let delay = FIRST.saturating_mul(1 << (doublings.min(10) - 1)).min(LONGEST);
            pace.until = now + delay;
        } else {
            pace.until = now;
        }
    }

    /// Until when somebody is to wait, if he is.
    #[inline]
    pub(crate) fn until(&self, who: K, now: Instant) -> Option<Instant> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&who).map(|pace| pace.until).filter(|until| now < *until)
    }

    /// Whether nobody is to wait.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Somebody has gone.
    pub(crate) fn forget(&mut self, who: K) {
        if !self.0.is_empty() {
            self.0.remove(&who);
            if self.0.is_empty() {
                self.0.shrink_to_fit();
            }
        }
    }
}

/// So often something may go wrong at once: a socket that rejoins all its topics.
const FREE: u32 = 100;
const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);
/// One time is forgiven after each such time of quiet.
const FORGIVEN_EVERY: Duration = Duration::from_secs(1);
/// So many are known: a megabyte at most.
const MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_again_and_again_waits_longer_each_time_and_is_forgiven() {
        let (mut paces, start) = (Paces::default(), Instant::now());
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..FREE + 10 {
            paces.count(7, now);
            let until = paces.until(7, now).unwrap_or(now);
            waits.push((until - now).as_millis());
            now = until;
        }
        assert!(waits[..FREE as usize].iter().all(|wait| *wait == 0));
        let waits = &waits[FREE as usize..];
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000, 1_000]);
        assert_eq!(paces.until(8, now), None);
        now += Duration::from_secs(200);
        paces.count(7, now);
        assert_eq!(paces.until(7, now), None);
        paces.forget(7);
        assert!(paces.0.is_empty());
    }

    #[test]
    fn those_who_are_known_are_bounded_in_number() {
        let (mut paces, now) = (Paces::default(), Instant::now());
        for who in 0..3 * MAX {
            paces.count(who, now);
        }
        assert!(paces.0.len() <= MAX);
    }
}
