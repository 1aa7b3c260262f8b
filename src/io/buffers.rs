//! The buffers a ring receives into.
//!
//! They lie in one mapping, behind the ring of entries by which they are handed to the kernel:
//!
//! ```text
//! ┌────────────────┬──────────┬──────────┬─────
//! │ entries, tail  │ buffer 0 │ buffer 1 │ …
//! └────────────────┴──────────┴──────────┴─────
//! ```
//!
//! The kernel takes a buffer when bytes have arrived, not before: a connection at rest owns none.
//! Where the kernel can, a buffer is *incremental*: it takes from its front what one receive needs
//! and leaves the rest to the next, so that small messages lie side by side; the completion of the
//! last piece says that the buffer is done. Pieces complete in the order in which they were taken,
//! so the offset is known by counting.
//!
//! All of it happens on one thread: with `DEFER_TASKRUN` the kernel reads the entries and fills the
//! buffers only inside `enter`.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::cqueue::{buffer_more, buffer_select};
use io_uring::types::BufRingEntry;
use io_uring::{IoUring, cqueue};

use super::operation::BUFFER_GROUP;

pub(super) struct Buffers {
    memory: Mapping,
    /// Where the first buffer begins.
    start: usize,
    /// A power of two.
    count: u16,
    size: u32,
    /// Buffers handed to the kernel since the beginning, wrapping.
    tail: u16,
    /// Of those, how many it has done with, wrapping.
    done: u16,
    /// How much of each buffer has been used; empty if buffers are used whole.
    used: Vec<u32>,
}

/// A part of a buffer that one receive has filled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filled {
    id: u16,
    offset: u32,
    length: u32,
    /// The kernel takes nothing more from this buffer.
    done: bool,
}

impl Buffers {
    /// `count` buffers of `size` bytes, all of them the kernel's.
    ///
    /// # Safety
    ///
    /// They must outlive `ring`.
    pub(super) unsafe fn new(
        ring: &IoUring,
        count: u16,
        size: u32,
        incremental: bool,
    ) -> io::Result<Self> {
        assert!(count.is_power_of_two() && count <= 1 << 15, "{count} buffers");
        let entries = usize::from(count) * size_of::<BufRingEntry>();
        let start = entries.next_multiple_of(PAGE);
        let memory = Mapping::new(start + usize::from(count) * size as usize)?;
        let used = if incremental { vec![0; usize::from(count)] } else { Vec::new() };
        let mut buffers = Self { memory, start, count, size, tail: 0, done: 0, used };

        let address = buffers.memory.start.as_ptr() as u64;
        let flags = if incremental { PBUF_RING_INC } else { 0 };
        let submitter = ring.submitter();
        // SAFETY: the mapping begins on a page, holds that many entries, and outlives the ring, as
        // the caller promises.
        unsafe { submitter.register_buf_ring_with_flags(address, count, BUFFER_GROUP, flags) }?;
        (0..count).for_each(|id| buffers.hand_over(id));
        Ok(buffers)
    }

    pub(super) fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// How many buffers are not the kernel's.
    #[cfg(feature = "testing")]
    pub(super) fn kept(&self) -> usize {
        usize::from(self.count - self.tail.wrapping_sub(self.done))
    }

    /// Which part of which buffer a receive has filled; `None` if it filled none.
    ///
    /// Asked once for every completion, in their order.
    pub(super) fn filled(&mut self, completion: &cqueue::Entry) -> Option<Filled> {
        let id = buffer_select(completion.flags())?;
        assert!(id < self.count, "the kernel names buffer {id} of {}", self.count);
        let length = completion.result().max(0) as u32;
        let Some(used) = self.used.get_mut(usize::from(id)) else {
            assert!(length <= self.size, "{length} bytes in a buffer of {}", self.size);
            self.done = self.done.wrapping_add(1);
            return Some(Filled { id, offset: 0, length, done: true });
        };
        if length == 0 {
            // Nothing was taken, so the buffer is still the kernel's, whatever its flags say.
            return None;
        }
        let offset = *used;
        assert!(length <= self.size - offset, "{offset} + {length} bytes of {}", self.size);
        *used += length;
        let done = !buffer_more(completion.flags());
        self.done = self.done.wrapping_add(u16::from(done));
        Some(Filled { id, offset, length, done })
    }

    /// The bytes of `filled`, which has not been given back.
    pub(super) fn bytes(&mut self, filled: Filled) -> &mut [u8] {
        let buffer = self.start + usize::from(filled.id) * self.size as usize;
        // SAFETY: `filled` has checked that it lies within its buffer, and the mapping holds all of
        // them.
        let first = unsafe { self.memory.start.add(buffer + filled.offset as usize) };
        // SAFETY: initialised (the mapping begins as zeros), ours alone (the kernel has handed this
        // part back with its completion and gets it again in `give_back`, which `&mut self` keeps
        // from being called while the slice lives).
        unsafe { std::slice::from_raw_parts_mut(first.as_ptr(), filled.length as usize) }
    }

    /// Hands the buffer to the kernel again, if it was the last part of it.
    pub(super) fn give_back(&mut self, filled: Filled) {
        if filled.done {
            self.hand_over(filled.id);
        }
    }

    fn hand_over(&mut self, id: u16) {
        if let Some(used) = self.used.get_mut(usize::from(id)) {
            *used = 0;
        }
        let buffer = self.start + usize::from(id) * self.size as usize;
        let entries = self.memory.start.cast::<BufRingEntry>();
        let place = usize::from(self.tail & (self.count - 1));
        // SAFETY: `place` is below `count`, and the mapping begins with that many entries.
        let mut entry = unsafe { entries.add(place) };
        // SAFETY: aligned and initialised like the mapping it lies in, and nobody else's: the
        // kernel looks at entries between head and tail only, and at those only inside `enter`.
        let entry = unsafe { entry.as_mut() };
        entry.set_addr(self.memory.start.as_ptr() as u64 + buffer as u64);
        entry.set_len(self.size);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `entries` is the first entry of a registered ring.
        let tail = unsafe { BufRingEntry::tail(entries.as_ptr()) };
        // SAFETY: aligned, within the mapping, and touched as an atomic only.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        // The entry is written before the kernel sees the tail that includes it.
        tail.store(self.tail, Ordering::Release);
    }
}

/// Anonymous memory, zeroed, page by page as it is touched.
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    fn new(length: usize) -> io::Result<Self> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing of ours.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("mmap never answers with null");
        Ok(Self { start, length })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length, and nothing borrows from it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// The kernel wants the entries to begin on a page; this is the smallest there is.
const PAGE: usize = 4096;

/// `IOU_PBUF_RING_INC`.
const PBUF_RING_INC: u16 = 2;
