//! Slices: big topics are served a part at a time.
//!
//! A turn sends only so much at once. A broadcast that would need more becomes the topic's
//! [`Fanout`](super::fanout), which goes out in the next turns, so that small topics, heartbeats and
//! replies have theirs in between. Several such topics take turns.

use std::collections::VecDeque;

use super::subscriber::TopicIndex;
use crate::shard::lines::MAX_WRITE;

/// The topics that are served in slices.
pub(super) struct Slices {
    /// The first is served next.
    pub(super) topics: VecDeque<TopicIndex>,
    /// Bytes of all broadcasts that are on their way.
    pub(super) bytes: usize,
    /// How much a turn sends to them, in writes of few bytes.
    pub(super) size: usize,
    /// Bytes that one topic may have on their way.
    max_queue: usize,
}

impl Slices {
    pub(super) fn new(size: usize, max_queue: usize) -> Self {
        Self { topics: VecDeque::new(), bytes: 0, size, max_queue }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Whether so many writes of so many bytes are no more than a slice, so that there is nothing to
    /// be sliced.
    pub(super) fn fits(&self, writes: usize, bytes: usize) -> bool {
        writes.saturating_mul(cost(bytes)) <= self.size
    }

    /// A topic has nothing on its way any more, of which there were so many bytes.
    pub(super) fn forget(&mut self, topic: TopicIndex, bytes: usize) {
        self.bytes -= bytes;
        self.topics.retain(|waiting| *waiting != topic);
    }

    /// With more bytes than these on its way a topic is congested; with no more it is so no longer.
    pub(super) fn much(&self, is_congested: bool) -> usize {
        let much = MUCH.min(self.max_queue / 8);
        if is_congested { much / 2 } else { much }
    }

    /// Whether a broadcast of so many bytes may join those of its topic, which has so many.
    pub(super) fn have_room(&self, waiting: usize, size: usize) -> bool {
        let fits = |waiting: usize, max| waiting == 0 || waiting + size <= max;
        let max = self.max_queue;
        fits(waiting, max) && fits(self.bytes, max.saturating_mul(ALL_TOPICS))
    }
}

#[cfg(any(test, debug_assertions))]
impl Slices {
    /// How often a topic stands in line.
    pub(super) fn count(&self, topic: TopicIndex) -> usize {
        self.topics.iter().filter(|waiting| **waiting == topic).count()
    }
}

/// What a write of so many bytes costs, in writes of few bytes.
pub(super) fn cost(bytes: usize) -> usize {
    1 + bytes / BYTES_OF_A_WRITE
}

/// What a turn sends to big topics before it looks at what has come: about a third of a millisecond
/// of the kernel's time. A turn costs a microsecond or two besides, so that smaller slices would
/// begin to be felt. A topic of so many subscribers is small.
pub(crate) const SLICE: usize = 64;

/// So many topics share a turn's slice.
pub(super) const SHARES: usize = 4;

/// With so many bytes a write costs twice as much as with none.
const BYTES_OF_A_WRITE: usize = 16 << 10;

/// Two waves: who comes next waits for no more than these.
const MUCH: usize = 2 * MAX_WRITE;

/// All topics of a shard together may have so many times as much on their way as one.
const ALL_TOPICS: usize = 4;
