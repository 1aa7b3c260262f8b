//! How other threads wake a shard that sleeps.
//!
//! A shard that is awake looks at its inboxes by itself, so ringing costs a fence and a load. It is
//! rung for real only between [`announce`](Doorbell::announce) and
//! [`withdraw`](Doorbell::withdraw):
//!
//! ```text
//!  other thread                     shard
//!  ────────────                     ─────
//!  push into the inbox              parked = true        (announce)
//!  fence                            fence
//!  parked?  ── yes: write eventfd   inboxes empty? ── yes: sleep until the eventfd is written
//! ```
//!
//! The two fences pair: whichever is second, the load behind it sees the store before the other. So
//! either the pusher sees `parked` and writes, or the shard sees what was pushed and stays awake.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// A shard's doorbell: whoever gives it work rings it afterwards.
#[derive(Debug)]
pub(crate) struct Doorbell {
    /// The shard sleeps, or is about to and will look at its inboxes once more.
    parked: AtomicBool,
    eventfd: OwnedFd,
}

impl Doorbell {
    /// # Errors
    ///
    /// When the process has no descriptor left.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: a plain system call that touches no memory.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else's.
        let eventfd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { parked: AtomicBool::new(false), eventfd })
    }

    /// Wakes the shard if it sleeps. Called after the work has been put where the shard looks.
    pub(crate) fn ring(&self) {
        // Pairs with the fence in `announce`: see the page's head.
        fence(Ordering::SeqCst);
        // One write is enough for all who ring; the swap says who does it.
        if self.parked.load(Ordering::Relaxed) && self.parked.swap(false, Ordering::Relaxed) {
            self.write();
        }
    }

    /// Says that the shard is about to sleep. What it looks at afterwards, it sees.
    pub(crate) fn announce(&self) {
        self.parked.store(true, Ordering::Relaxed);
        // Pairs with the fence in `ring`.
        fence(Ordering::SeqCst);
    }

    /// Says that the shard is awake.
    pub(crate) fn withdraw(&self) {
        // Whoever still sees `true` writes the eventfd once too often, which wakes the shard once
        // for nothing.
        self.parked.store(false, Ordering::Relaxed);
    }

    /// Whether nobody has rung since [`announce`](Self::announce).
    #[cfg(test)]
    pub(crate) fn is_parked(&self) -> bool {
        self.parked.load(Ordering::SeqCst)
    }

    pub(super) fn eventfd(&self) -> &OwnedFd {
        &self.eventfd
    }

    /// Sets the eventfd back to zero.
    pub(super) fn quieten(&self) {
        let mut count = 0u64;
        let room = (&raw mut count).cast();
        // SAFETY: the eight bytes an eventfd writes are there. It doesn't block: one that is at
        // zero already says so, which needs no answer.
        unsafe { libc::read(self.eventfd.as_raw_fd(), room, size_of::<u64>()) };
    }

    fn write(&self) {
        let count = 1u64;
        let bytes = (&raw const count).cast();
        // SAFETY: the eight bytes an eventfd reads are there. It fails only after 2^64 rings that
        // nobody has read, and then it is readable anyway.
        unsafe { libc::write(self.eventfd.as_raw_fd(), bytes, size_of::<u64>()) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    /// How often the eventfd was written since it was asked last; rings in between count one each.
    fn heard(doorbell: &Doorbell) -> u64 {
        let mut count = 0u64;
        let room = (&raw mut count).cast();
        // SAFETY: the eight bytes an eventfd writes are there.
        unsafe { libc::read(doorbell.eventfd.as_raw_fd(), room, size_of::<u64>()) };
        count
    }

    #[test]
    fn it_is_rung_only_for_a_shard_that_is_parked_and_only_once() {
        let doorbell = Doorbell::new().unwrap();
        doorbell.ring();
        assert_eq!(heard(&doorbell), 0, "awake");
        doorbell.announce();
        doorbell.ring();
        doorbell.ring();
        assert_eq!(heard(&doorbell), 1, "parked");
        doorbell.announce();
        doorbell.withdraw();
        doorbell.ring();
        assert_eq!(heard(&doorbell), 0, "awake again");
    }

    #[test]
    fn quietened_it_is_silent_and_can_be_rung_again() {
        let doorbell = Doorbell::new().unwrap();
        doorbell.quieten();
        for _ in 0..2 {
            doorbell.announce();
            doorbell.ring();
            doorbell.quieten();
            assert_eq!(heard(&doorbell), 0);
        }
    }

    /// Both at once, over and over: a thing is put into the inbox and rung for, while the shard
    /// announces that it parks and looks. Whatever the order, it is seen or rung for.
    #[test]
    fn what_is_not_seen_is_rung_for() {
        let doorbell = Doorbell::new().unwrap();
        let (inbox, start, done) = (Line::default(), Line::default(), Line::default());
        let wait_for = |Line(flag): &Line, round| {
            let mut spins = 0u32;
            while flag.load(Ordering::Acquire) != round {
                spins += 1;
                assert!(spins < u32::MAX, "the other thread has failed");
                if spins.is_multiple_of(1_000) {
                    std::thread::yield_now();
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    wait_for(&start, round);
                    inbox.0.store(round, Ordering::Relaxed);
                    doorbell.ring();
                    done.0.store(round, Ordering::Release);
                }
            });
            let mut delay = 0u32;
            for round in 1..=ROUNDS {
                start.0.store(round, Ordering::Release);
                (0..delay).for_each(|_| std::hint::spin_loop());
                doorbell.announce();
                let seen = inbox.0.load(Ordering::Relaxed) == round;
                wait_for(&done, round);
                // Earlier if it came late, later if it came early: so the two meet.
                delay = if seen { delay.saturating_sub(3) } else { (delay + 2).min(10_000) };
                assert!(seen || heard(&doorbell) > 0, "lost in round {round}");
                doorbell.withdraw();
                doorbell.quieten();
            }
        });
    }

    /// A cache line of its own: only what lies apart can be seen in different orders.
    #[derive(Default)]
    #[repr(align(128))]
    struct Line(AtomicU32);

    const ROUNDS: u32 = 50_000;
}
