//! Wakers: how a future that waits tells its shard that it can go on.
//!
//! A callback that never waits must cost no allocation, yet it is polled with a waker. So a shard
//! keeps one spare [`Alarm`] and points it at whoever is polled next. Only when the future took a
//! clone of it does the alarm stay with that process, and the shard makes another spare.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Wake, Waker};

use super::remote::Remote;
use super::woken::Woken;
use crate::io::ConnectionId;
use crate::message::ProcessId;

/// A waker for a process' callback, with the means to see whether anybody holds a clone.
pub(crate) struct Alarm {
    target: Arc<Target>,
    pub(crate) waker: Waker,
}

struct Target {
    /// The [`ProcessId`] or [`ConnectionId`], packed. Changed only while nobody else holds a clone.
    id: AtomicU64,
    is_connect: bool,
    /// Set by the first wake since the last poll, so that a process is listed once however often
    /// it is woken: this bounds the list of the woken.
    rung: AtomicBool,
    remote: Arc<Remote>,
}

impl Alarm {
    pub(crate) fn new(remote: &Arc<Remote>) -> Self {
        Self::build(remote, 0, false)
    }

    /// An alarm for a `connect`, which is rare enough to have one of its own.
    pub(crate) fn for_connect(remote: &Arc<Remote>, connection: ConnectionId) -> Self {
        Self::build(remote, connection.pack(), true)
    }

    fn build(remote: &Arc<Remote>, id: u64, is_connect: bool) -> Self {
        let target = Arc::new(Target {
            id: AtomicU64::new(id),
            is_connect,
            rung: AtomicBool::new(false),
            remote: remote.clone(),
        });
        Self { waker: Waker::from(target.clone()), target }
    }

    /// Points the alarm at a process about to be polled.
    pub(crate) fn point_at(&self, process: ProcessId) {
        self.target.id.store(process.pack(), Ordering::Relaxed);
        self.prepare();
    }

    /// Makes the next wake count again. Called before each poll: a wake that comes while the poll
    /// runs must lead to another one.
    pub(crate) fn prepare(&self) {
        // One that nobody has rung, which is nearly every one, is spared the locked instruction: a
        // wake that is not seen here counts by itself.
        if self.target.rung.load(Ordering::Relaxed) {
            // Acquire pairs with the waker's Release: what was written before the wake that is now
            // forgotten is seen by the poll that follows.
            self.target.rung.swap(false, Ordering::AcqRel);
        }
    }

    /// Whether somebody may still ring for the process it was pointed at.
    pub(crate) fn is_held(&self) -> bool {
        // Ours, and the one inside `waker`. A clone can only be made from a clone, so the count
        // can't rise from two behind our back.
        Arc::strong_count(&self.target) > 2
    }
}

impl Wake for Target {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            let id = self.id.load(Ordering::Relaxed);
            self.remote.wake(if self.is_connect {
                Woken::Connect(ConnectionId::unpack(id))
            } else {
                Woken::Process(ProcessId::unpack(id))
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::io::Doorbell;
    use crate::shard::links::Inbox;

    const PROCESS: ProcessId = ProcessId { index: 7, generation: 3 };

    fn remote() -> (Arc<Remote>, Inbox) {
        let doorbell = Arc::new(Doorbell::new().expect("a descriptor is left"));
        let (remote, inbox) = Remote::new(0, doorbell, &Limits::default());
        (Arc::new(remote), inbox)
    }

    fn woken(inbox: &Inbox) -> Vec<Woken> {
        inbox.woken.try_iter().collect()
    }

    #[test]
    fn a_waker_lists_whom_its_alarm_points_at_once_until_the_next_poll() {
        let (remote, inbox) = remote();
        let alarm = Alarm::new(&remote);
        alarm.point_at(PROCESS);
        let (one, other) = (alarm.waker.clone(), alarm.waker.clone());
        one.wake_by_ref();
        other.wake();
        one.wake_by_ref();
        assert_eq!(woken(&inbox), [Woken::Process(PROCESS)]);
        alarm.prepare();
        one.wake();
        assert_eq!(woken(&inbox), [Woken::Process(PROCESS)]);
    }

    #[test]
    fn an_alarm_is_held_as_long_as_there_is_a_clone_of_its_waker() {
        let (remote, _inbox) = remote();
        let alarm = Alarm::new(&remote);
        assert!(!alarm.is_held());
        let one = alarm.waker.clone();
        let other = one.clone();
        drop(one);
        assert!(alarm.is_held());
        other.wake();
        assert!(!alarm.is_held());
    }

    #[test]
    fn an_alarm_of_a_connect_names_its_connection() {
        let (remote, inbox) = remote();
        let connection = ConnectionId::new(3, 70_000, u32::MAX);
        let alarm = Alarm::for_connect(&remote, connection);
        alarm.prepare();
        alarm.waker.wake_by_ref();
        assert_eq!(woken(&inbox), [Woken::Connect(connection)]);
    }

    #[test]
    fn waking_a_shard_that_has_ended_does_nothing() {
        let (remote, inbox) = remote();
        let alarm = Alarm::new(&remote);
        drop(inbox);
        alarm.waker.wake_by_ref();
    }

    /// The wake that comes just when the alarm is prepared must lead to a poll that sees what the
    /// waker's thread wrote before: either it is listed anew, or that poll is still to come.
    #[test]
    fn no_wake_is_lost_between_two_polls() {
        const WAKES: u64 = 20_000;
        let (remote, inbox) = remote();
        let alarm = Alarm::new(&remote);
        alarm.point_at(PROCESS);
        let (written, seen) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (waker, writes, reads) = (alarm.waker.clone(), written.clone(), seen.clone());
        let waking = std::thread::spawn(move || {
            for number in 1..=WAKES {
                writes.store(number, Ordering::Relaxed);
                waker.wake_by_ref();
                // One ahead at most, so that the two threads meet all the time.
                while reads.load(Ordering::Relaxed) + 1 < number {
                    std::thread::yield_now();
                }
            }
        });
        while seen.load(Ordering::Relaxed) < WAKES {
            // As the shard does: taken off the list, then polled.
            let patience = std::time::Duration::from_secs(5);
            inbox.woken.recv_timeout(patience).expect("what was written is followed by a wake");
            alarm.prepare();
            seen.store(written.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        waking.join().expect("it only wakes");
    }
}
