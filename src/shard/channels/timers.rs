//! Timers of a shard: what is due when.
//!
//! Connections at rest have none here: their deadlines are swept by the wheel of `transport`.

use std::any::Any;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::message::ProcessId;
use crate::shard::table::Table;

/// What happens when a timer is due.
pub(crate) enum Due {
    /// A future that slept goes on.
    Wake(Waker),
    /// A process gets a message.
    Info { process: ProcessId, info: Box<dyn Any + Send> },
    /// A process gets a message, again and again.
    Every { process: ProcessId, period: Duration, make: MakeInfo },
    /// A process that should have ended by now is dropped.
    Overdue(ProcessId),
}

/// Makes an interval's message anew: the application's code, so it runs as a callback does.
pub(crate) type MakeInfo = Rc<dyn Fn() -> Box<dyn Any + Send>>;

/// A timer; void once it was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimerId {
    key: usize,
    sequence: u64,
}

#[derive(Default)]
pub(crate) struct Timers {
    /// Ordered by instant, then by age. Cancelled ones stay until they are due.
    heap: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    entries: Table<(u64, Due)>,
    sequence: u64,
}

impl Timers {
    pub(crate) fn add(&mut self, at: Instant, due: Due) -> TimerId {
        self.sequence += 1;
        let key = self.entries.insert((self.sequence, due));
        self.heap.push(Reverse((at, self.sequence, key)));
        TimerId { key, sequence: self.sequence }
    }

    /// Takes a timer back, unless it was due already. What it would have sent is the
    /// application's, to be dropped while no table is borrowed.
    pub(crate) fn cancel(&mut self, id: TimerId) -> Option<Due> {
        let cancelled = self.is_current(id).then(|| self.entries.remove(id.key).1);
        if self.heap.len() > 64 && self.heap.len() > self.entries.len() * 2 {
            let entries = &self.entries;
            self.heap.retain(|Reverse((_, sequence, key))| {
                entries.get(*key).is_some_and(|(current, _)| current == sequence)
            });
        }
        cancelled
    }

    /// Takes everything that waits.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Due> + use<> {
        std::mem::take(self).entries.into_entries().map(|(_, due)| due)
    }

    /// Replaces the waker of a sleeping future; false when the timer was due already.
    pub(super) fn set_waker(&mut self, id: TimerId, waker: &Waker) -> bool {
        match self.entries.get_mut(id.key) {
            Some((sequence, Due::Wake(current))) if *sequence == id.sequence => {
                current.clone_from(waker);
                true
            }
            _ => false,
        }
    }

    /// Whether a timer is still to come.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn has(&self, id: TimerId) -> bool {
        self.is_current(id)
    }

    fn is_current(&self, id: TimerId) -> bool {
        self.entries.get(id.key).is_some_and(|(sequence, _)| *sequence == id.sequence)
    }

    /// Takes the next timer that is due at `now`.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<(TimerId, Due)> {
        while let Some(Reverse((at, sequence, key))) = self.heap.peek().copied() {
            let id = TimerId { key, sequence };
            if at > now && self.is_current(id) {
                return None;
            }
            self.heap.pop();
            if self.is_current(id) {
                return Some((id, self.entries.remove(key).1));
            }
        }
        None
    }

    /// A second has passed: memory goes back that is not needed any more.
    pub(super) fn ease(&mut self) {
        if self.heap.capacity() > KEPT && self.heap.len() < self.heap.capacity() / 4 {
            self.heap.shrink_to(self.heap.len() * 2);
        }
    }

    /// When the next timer is due. May be early, for one that was cancelled.
    pub(crate) fn next_instant(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Room for so many is kept.
const KEPT: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn overdue(process: u32) -> Due {
        Due::Overdue(ProcessId { index: process, generation: 1 })
    }

    fn process(due: Option<(TimerId, Due)>) -> Option<u32> {
        due.map(|(_, due)| match due {
            Due::Overdue(process) => process.index,
            _ => panic!("another kind of timer"),
        })
    }

    #[test]
    fn timers_are_due_in_order_and_the_older_first() {
        let mut timers = Timers::default();
        let start = Instant::now();
        let later = start + Duration::from_secs(2);
        timers.add(later, overdue(1));
        timers.add(start, overdue(2));
        timers.add(start, overdue(3));
        assert_eq!(process(timers.next_due(start)), Some(2));
        assert_eq!(process(timers.next_due(start)), Some(3));
        assert_eq!(process(timers.next_due(start)), None);
        assert_eq!(timers.next_instant(), Some(later));
        assert_eq!(process(timers.next_due(later)), Some(1));
    }

    #[test]
    fn a_cancelled_timer_is_never_due_even_if_its_place_is_taken() {
        let mut timers = Timers::default();
        let now = Instant::now();
        let first = timers.add(now, overdue(1));
        timers.cancel(first);
        timers.add(now, overdue(2));
        timers.cancel(first);
        assert_eq!(process(timers.next_due(now)), Some(2));
        assert_eq!(process(timers.next_due(now)), None);
        assert_eq!(timers.len(), 0);
    }

    #[test]
    fn cancelled_timers_do_not_pile_up() {
        let mut timers = Timers::default();
        let at = Instant::now() + Duration::from_secs(60);
        for _ in 0..10_000 {
            let timer = timers.add(at, overdue(1));
            timers.cancel(timer);
        }
        assert!(timers.heap.len() <= 65, "{} entries", timers.heap.len());
    }
}
