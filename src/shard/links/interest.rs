//! The interest table: which shards have subscribers of a topic.
//!
//! It maps hash(topic) to a bit for each shard. A shard writes only its own bits: sets one when its
//! first topic of that slot gets a subscriber, clears it when the last one has lost its last. Two
//! topics that share a slot cost a needless push, never a missed one.
//!
//! **Which store pairs with which load.** A shard sets its bit before it queues the join's reply;
//! whoever broadcasts because it heard of that reply, by any way, reads the bit afterwards. The
//! way from one to the other (a socket, a queue) orders the two, so relaxed would do for that; the
//! read-modify-write operations are `AcqRel` because clearing and setting by neighbours in one
//! word must not lose each other.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The table that all shards of an endpoint share.
pub(crate) struct Interest {
    /// `SLOTS` groups of `group` bits, packed into words (a group never straddles two words) or,
    /// for more than 64 shards, `words_per_group` words each. Zeroed by the kernel: a page of it
    /// costs memory when the first topic falls into it.
    words: Box<[AtomicU64]>,
    shards: usize,
    /// Bits for each slot: the number of shards rounded up to a power of two.
    group: usize,
    hasher: RandomState,
}

/// A topic's slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Slot(u32);

impl Interest {
    pub(crate) fn new(shards: usize) -> Self {
        let group = shards.next_power_of_two();
        // One shard has nobody to forward to and needs no table.
        let words = if shards == 1 { 0 } else { (SLOTS * group).div_ceil(64) };
        Self {
            words: bytemuck::allocation::zeroed_slice_box(words),
            shards,
            group,
            hasher: RandomState::new(),
        }
    }

    /// The shards that want broadcasts of this topic: all there are, where there is one.
    #[inline]
    pub(crate) fn interested(&self, topic: &str) -> impl Iterator<Item = usize> {
        let only = (!self.is_shared()).then_some(0);
        let marked = self.is_shared().then(|| self.shards(self.slot(topic)));
        only.into_iter().chain(marked.into_iter().flatten())
    }

    fn slot(&self, topic: &str) -> Slot {
        Slot((self.hasher.hash_one(topic) as usize & (SLOTS - 1)) as u32)
    }

    /// Whether there is anybody to forward to at all.
    fn is_shared(&self) -> bool {
        self.shards > 1
    }

    fn set(&self, slot: Slot, shard: usize) {
        let (word, bit) = self.place(slot, shard);
        self.words[word].fetch_or(1 << bit, Ordering::AcqRel);
    }

    fn clear(&self, slot: Slot, shard: usize) {
        let (word, bit) = self.place(slot, shard);
        self.words[word].fetch_and(!(1 << bit), Ordering::AcqRel);
    }

    /// The shards that want broadcasts of this slot.
    fn shards(&self, slot: Slot) -> impl Iterator<Item = usize> {
        let words = self.group.div_ceil(64);
        (0..words).flat_map(move |index| {
            let (word, shift) = self.place(slot, index * 64);
            let mask = if self.group >= 64 { u64::MAX } else { (1 << self.group) - 1 };
            let mut bits = (self.words[word].load(Ordering::Acquire) >> shift) & mask;
            std::iter::from_fn(move || {
                let shard = bits.trailing_zeros() as usize;
                bits &= bits.wrapping_sub(1);
                (shard < 64).then_some(index * 64 + shard)
            })
        })
    }

    fn place(&self, slot: Slot, shard: usize) -> (usize, usize) {
        let bit = slot.0 as usize * self.group + shard;
        (bit / 64, bit % 64)
    }
}

/// One shard's part: how many of its topics stand behind each of its bits.
pub(crate) struct OwnInterest {
    table: Arc<Interest>,
    shard: usize,
    topics: HashMap<Slot, u32>,
}

impl OwnInterest {
    pub(crate) fn new(table: Arc<Interest>, shard: usize) -> Self {
        Self { table, shard, topics: HashMap::new() }
    }

    /// How many parts of the table this shard has marked.
    #[cfg(feature = "testing")]
    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    /// Asserts that so many topics have subscribers here.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn check(&self, topics: usize) {
        let counted: u32 = self.topics.values().sum();
        let wanted = if self.table.is_shared() { topics } else { 0 };
        assert_eq!(
            counted as usize, wanted,
            "topics with subscribers, and the marks they stand for"
        );
    }

    /// A topic got its first subscriber here.
    pub(crate) fn add(&mut self, topic: &str) {
        let table = &self.table;
        if !table.is_shared() {
            return;
        }
        let slot = table.slot(topic);
        let count = self.topics.entry(slot).or_insert(0);
        *count += 1;
        if *count == 1 {
            table.set(slot, self.shard);
        }
    }

    /// A topic lost its last subscriber here.
    pub(crate) fn remove(&mut self, topic: &str) {
        let table = &self.table;
        if !table.is_shared() {
            return;
        }
        let slot = table.slot(topic);
        let Some(count) = self.topics.get_mut(&slot) else {
            unreachable!("a topic was added before it is removed");
        };
        *count -= 1;
        if *count == 0 {
            self.topics.remove(&slot);
            if self.topics.capacity() > KEPT && self.topics.len() < self.topics.capacity() / 8 {
                self.topics.shrink_to(self.topics.len() * 2);
            }
            table.clear(slot, self.shard);
        }
    }
}

/// Room for so many of a shard's own marks is kept.
const KEPT: usize = 1_024;

/// Enough for a million topics to rarely share one.
const SLOTS: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn interested(table: &Interest, topic: &str) -> Vec<usize> {
        table.interested(topic).collect()
    }

    #[test]
    fn a_shard_is_named_while_it_has_subscribers() {
        for shards in [2, 3, 4, 64, 65, 200] {
            let table = Arc::new(Interest::new(shards));
            let mut first = OwnInterest::new(table.clone(), 0);
            let mut last = OwnInterest::new(table.clone(), shards - 1);
            first.add("room:1");
            last.add("room:1");
            assert_eq!(interested(&table, "room:1"), [0, shards - 1], "{shards} shards");
            first.remove("room:1");
            assert_eq!(interested(&table, "room:1"), [shards - 1]);
            last.remove("room:1");
            assert_eq!(interested(&table, "room:1"), [0_usize; 0]);
        }
    }

    #[test]
    fn topics_that_share_a_slot_keep_its_bit_until_the_last() {
        let table = Arc::new(Interest::new(2));
        let mut own = OwnInterest::new(table.clone(), 1);
        let slot = table.slot("room:0");
        let twin = (1..)
            .map(|n| format!("room:{n}"))
            .find(|topic| table.slot(topic) == slot)
            .expect("some topic shares the slot");
        own.add("room:0");
        own.add(&twin);
        own.remove("room:0");
        assert_eq!(interested(&table, &twin), [1]);
        own.remove(&twin);
        assert_eq!(interested(&table, &twin), [0_usize; 0]);
    }

    #[test]
    fn neighbours_do_not_see_each_other() {
        let table = Arc::new(Interest::new(4));
        let mut own = OwnInterest::new(table.clone(), 2);
        let topics: Vec<_> = (0..1_000).map(|n| format!("room:{n}")).collect();
        for topic in &topics {
            own.add(topic);
        }
        for topic in &topics {
            assert_eq!(interested(&table, topic), [2]);
            own.remove(topic);
        }
        assert!(table.words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
    }
}
