//! Kept: bytes that are held for clients, counted over all shards.
//!
//! What a client is owed, and what waits for one of its channels, is bounded for each by itself; this
//! is for the sum. A frame that many clients share is one piece of memory, so what counts is the
//! memory and not who holds it: a piece counts from when it is made until the last who holds it lets
//! go.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// Bytes kept by this process. Beside what it is for, which is memory, nothing hangs on it.
static KEPT: AtomicUsize = AtomicUsize::new(0);

/// Makes bytes of a vector that count while they are held.
pub(crate) fn keep(bytes: Vec<u8>) -> Bytes {
    Bytes::from_owner(Kept::new(bytes))
}

/// The same, if they are many. For what is hardly ever held, and made for each message.
pub(crate) fn keep_many(bytes: Vec<u8>) -> Bytes {
    if bytes.len() < MANY { bytes.into() } else { keep(bytes) }
}

/// Bytes kept now.
pub(crate) fn kept() -> usize {
    KEPT.load(Ordering::Relaxed)
}

struct Kept(Vec<u8>);

impl Kept {
    fn new(bytes: Vec<u8>) -> Self {
        let kept = Self(bytes);
        KEPT.fetch_add(kept.size(), Ordering::Relaxed);
        kept
    }

    fn size(&self) -> usize {
        self.0.capacity() + OVERHEAD
    }
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        KEPT.fetch_sub(self.size(), Ordering::Relaxed);
    }
}

/// What a piece takes besides its bytes: two blocks of the allocator's, and counts.
const OVERHEAD: usize = 112;

/// Fewer bytes than these are not worth being counted in passing.
const MANY: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// Other tests keep and let go of bytes meanwhile, but of no such piece.
    #[test]
    fn a_piece_counts_until_the_last_has_let_go_of_it() {
        const LARGE: usize = 1 << 30;
        let piece = keep(Vec::with_capacity(LARGE));
        let other = piece.clone();
        drop(piece);
        assert!(kept() > LARGE);
        drop(other);
        assert!(kept() < LARGE);
    }
}
