//! Timers of a shard: what is due when, and the future that waits for it.
//!
//! Connections at rest have none here: their deadlines are swept by the wheel in `deadlines`.

use std::any::Any;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::message::ProcessId;
use crate::shard::Local;
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
    fn set_waker(&mut self, id: TimerId, waker: &Waker) -> bool {
        match self.entries.get_mut(id.key) {
            Some((sequence, Due::Wake(current))) if *sequence == id.sequence => {
                current.clone_from(waker);
                true
            }
            _ => false,
        }
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

    /// When the next timer is due. May be early, for one that was cancelled.
    pub(crate) fn next_instant(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// The instant so much later. Whoever says `Duration::MAX` means never, and nobody sees the end of
/// the thirty years that it is here.
pub(crate) fn later(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay).unwrap_or_else(|| now + Duration::from_secs(30 * 365 * 24 * 60 * 60))
}

/// Waits for a time to pass; made by [`Context::sleep`](crate::Context::sleep).
#[must_use = "a future does nothing unless it is awaited"]
pub struct Sleep {
    local: Rc<Local>,
    duration: Duration,
    timer: Option<TimerId>,
}

impl Sleep {
    pub(crate) fn new(local: Rc<Local>, duration: Duration) -> Self {
        Self { local, duration, timer: None }
    }
}

impl std::fmt::Debug for Sleep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sleep({:?})", self.duration)
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut core = this.local.core.borrow_mut();
        match this.timer {
            None => {
                let at = later(core.now, this.duration);
                this.timer = Some(core.timers.add(at, Due::Wake(cx.waker().clone())));
                Poll::Pending
            }
            Some(timer) if core.timers.set_waker(timer, cx.waker()) => Poll::Pending,
            Some(_) => Poll::Ready(()),
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        // Not while the shard itself is at work on its tables: then the timer is due once for
        // nobody, which costs a look.
        if let (Some(timer), Ok(mut core)) = (self.timer, self.local.core.try_borrow_mut()) {
            let cancelled = core.timers.cancel(timer);
            drop(core);
            drop(cancelled);
        }
    }
}

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
    fn a_delay_that_no_clock_can_tell_is_a_long_one() {
        let now = Instant::now();
        assert!(later(now, Duration::MAX) > now + Duration::from_secs(1_000_000));
        assert_eq!(later(now, Duration::from_secs(1)), now + Duration::from_secs(1));
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
