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
