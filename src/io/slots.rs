//! The table of a ring's connections: which slots are taken, in what generation, and what of each
//! the kernel still has in hand.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::operation::Kind;

/// A ring's slots. They mirror the kernel's table of direct descriptors, entry by entry.
pub(super) struct Slots {
    /// Grows with the connections there are, up to `capacity`.
    slots: Vec<Slot>,
    /// Those that had a connection once. The first is the first to be used again, so that the tables
    /// that are laid out like this one can give back their ends.
    free: BinaryHeap<Reverse<u32>>,
    capacity: usize,
    open: usize,
    /// The generation that a slot begins with.
    first: u32,
}

/// One slot: eight bytes, for a million of them are looked at by a broadcast.
#[derive(Clone, Copy)]
struct Slot {
    generation: u32,
    /// What the kernel has in hand, a bit a [`Kind`]; and whether the connection is [`OPEN`].
    state: u16,
    /// What is to be known of its receive: [`HUNGRY`], [`STARVED`], [`HELD`].
    flags: u8,
}

/// Whether the shard knows the connection. It shares a word with the kinds, of which none is zero.
const OPEN: u16 = 1;

/// It waited for a buffer, was armed anew, and has received nothing since.
const HUNGRY: u8 = 1;
/// Its receive is to be armed anew.
const STARVED: u8 = 2;
/// Nothing is to be received from it for a while.
const HELD: u8 = 4;

impl Slots {
    /// `first` is the generation that a slot begins with, not zero.
    pub(super) fn new(capacity: usize, first: u32) -> Self {
        assert_ne!(first, 0);
        Self { slots: Vec::new(), free: BinaryHeap::new(), capacity, open: 0, first }
    }

    /// A generation that no slot has reached: whoever has an id of this table finds nothing in one
    /// that begins with it. `None` if there is none left.
    pub(super) fn beyond(&self) -> Option<u32> {
        let last = self.slots.iter().map(|slot| slot.generation).max();
        last.unwrap_or(self.first).checked_add(1)
    }

    /// How many connections are open.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// How many slots are not free.
    pub(super) fn taken(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    #[cfg(test)]
    pub(super) fn last_taken(&self) -> Option<usize> {
        self.slots.iter().rposition(|slot| slot.state != 0)
    }

    pub(super) fn free(&self) -> usize {
        self.capacity - self.taken()
    }

    /// Takes a free slot for an operation of `kind`, and says its generation.
    pub(super) fn reserve(&mut self, kind: Kind) -> Option<(u32, u32)> {
        let slot = match self.free.pop() {
            Some(Reverse(slot)) => slot,
            None if self.slots.len() < self.capacity => {
                if self.slots.len() == self.slots.capacity() {
                    let room = self.capacity - self.slots.len();
                    self.slots.reserve_exact(room.min(GROWTH.max(self.slots.len() / 4)));
                }
                self.slots.push(Slot { generation: self.first, state: 0, flags: 0 });
                self.slots.len() as u32 - 1
            }
            None => return None,
        };
        let entry = &mut self.slots[slot as usize];
        debug_assert_eq!(entry.state, 0);
        entry.state = bit(kind);
        Some((slot, entry.generation))
    }

    /// The connection in `slot` is the shard's from here on.
    pub(super) fn open_slot(&mut self, slot: u32) {
        let entry = &mut self.slots[slot as usize];
        debug_assert_eq!(entry.state & OPEN, 0);
        entry.state |= OPEN;
        self.open += 1;
    }

    /// The shard has let go of the connection: its generation is over.
    pub(super) fn close_slot(&mut self, slot: u32) {
        let entry = &mut self.slots[slot as usize];
        debug_assert_ne!(entry.state & OPEN, 0);
        entry.state &= !OPEN;
        entry.flags = 0;
        entry.generation = following(entry.generation);
        self.open -= 1;
    }

    /// Whether `slot` holds an open connection of this generation.
    pub(super) fn is_open(&self, slot: usize, generation: u32) -> bool {
        self.slots
            .get(slot)
            .is_some_and(|entry| entry.generation == generation && entry.state & OPEN != 0)
    }

    /// The generation that an open connection in `slot` has.
    pub(super) fn generation(&self, slot: u32) -> u32 {
        self.slots[slot as usize].generation
    }

    /// Whether a connection that was closed in `generation` still has an operation of `kind` in the
    /// kernel.
    pub(super) fn lingers(&self, slot: u32, generation: u32, kind: Kind) -> bool {
        let entry = &self.slots[slot as usize];
        // As long as it has, the slot is nobody else's: one generation has passed and no more, and
        // it is not open. An open connection of the generation that follows is its successor.
        entry.generation == following(generation) && entry.state & OPEN == 0 && self.has(slot, kind)
    }

    /// Notes whether a connection that waited for a buffer still needs one.
    pub(super) fn set_hungry(&mut self, slot: u32, is_hungry: bool) {
        self.set_flag(slot, HUNGRY, is_hungry);
    }

    /// Whether a connection has waited for a buffer and received nothing since.
    pub(super) fn is_hungry(&self, slot: u32) -> bool {
        self.slots[slot as usize].flags & HUNGRY != 0
    }

    /// Notes whether a connection's receive is to be armed anew.
    pub(super) fn set_starved(&mut self, slot: u32, is_starved: bool) {
        self.set_flag(slot, STARVED, is_starved);
    }

    /// Whether a connection's receive is to be armed anew.
    pub(super) fn is_starved(&self, slot: u32) -> bool {
        self.slots[slot as usize].flags & STARVED != 0
    }

    /// Notes whether nothing is to be received from a connection.
    pub(super) fn set_held(&mut self, slot: u32, is_held: bool) {
        self.set_flag(slot, HELD, is_held);
    }

    /// Whether nothing is to be received from a connection.
    pub(super) fn is_held(&self, slot: u32) -> bool {
        self.slots[slot as usize].flags & HELD != 0
    }

    fn set_flag(&mut self, slot: u32, flag: u8, is_set: bool) {
        let flags = &mut self.slots[slot as usize].flags;
        *flags = if is_set { *flags | flag } else { *flags & !flag };
    }

    /// Whether the kernel has an operation of `kind` for `slot` in hand.
    pub(super) fn has(&self, slot: u32, kind: Kind) -> bool {
        self.slots[slot as usize].state & bit(kind) != 0
    }

    /// An operation of `kind` is the kernel's.
    pub(super) fn begin(&mut self, slot: u32, kind: Kind) {
        let entry = &mut self.slots[slot as usize];
        debug_assert_eq!(entry.state & bit(kind), 0, "{kind:?} twice on slot {slot}");
        entry.state |= bit(kind);
    }

    /// The last completion of the operation of `kind` has come.
    ///
    /// A slot of which the kernel has nothing more in hand, and the shard neither, is free.
    pub(super) fn end(&mut self, slot: u32, kind: Kind) {
        let entry = &mut self.slots[slot as usize];
        debug_assert_ne!(entry.state & bit(kind), 0, "{kind:?} ended twice on slot {slot}");
        entry.state &= !bit(kind);
        if entry.state == 0 {
            self.free.push(Reverse(slot));
        }
    }
}

fn bit(kind: Kind) -> u16 {
    1 << kind as u8
}

/// Slots are added by this many at least, and by a quarter of those there are: doubling a table of
/// a million would leave half of it unused.
const GROWTH: usize = 256;

/// The generation after `generation`. None is ever zero, which tables may take for an empty slot.
fn following(generation: u32) -> u32 {
    generation.wrapping_add(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_eight_bytes() {
        assert_eq!(size_of::<Slot>(), 8);
    }

    #[test]
    fn a_slot_is_free_when_its_last_completion_has_come() {
        let mut slots = Slots::new(1, 1);
        let (slot, generation) = slots.reserve(Kind::Accept).unwrap();
        slots.begin(slot, Kind::Receive);
        slots.open_slot(slot);
        slots.end(slot, Kind::Accept);
        assert!(slots.is_open(0, generation));

        slots.close_slot(slot);
        slots.begin(slot, Kind::Close);
        assert!(!slots.is_open(0, generation));
        slots.end(slot, Kind::Close);
        assert!(slots.reserve(Kind::Accept).is_none(), "a receive is still armed");
        slots.end(slot, Kind::Receive);
        assert_eq!(slots.reserve(Kind::Accept), Some((slot, generation + 1)));
    }

    #[test]
    fn a_connection_lingers_until_its_last_completion_and_its_successor_does_not() {
        let mut slots = Slots::new(1, 1);
        for generation in 1..3 {
            assert_eq!(slots.reserve(Kind::Accept), Some((0, generation)));
            slots.begin(0, Kind::Receive);
            slots.open_slot(0);
            slots.end(0, Kind::Accept);
            assert!(!slots.lingers(0, generation, Kind::Receive), "it is open");
            assert!(!slots.lingers(0, generation.wrapping_sub(1), Kind::Receive), "it was another");
            slots.close_slot(0);
            assert!(slots.lingers(0, generation, Kind::Receive));
            assert!(!slots.lingers(0, generation, Kind::Writable));
            slots.end(0, Kind::Receive);
            assert!(!slots.lingers(0, generation, Kind::Receive));
        }
    }

    #[test]
    fn a_table_that_follows_another_begins_beyond_it() {
        let mut slots = Slots::new(3, 7);
        assert_eq!(slots.beyond(), Some(8));
        assert_eq!(slots.reserve(Kind::Accept), Some((0, 7)));
        for _ in 0..5 {
            let (slot, _) = slots.reserve(Kind::Accept).unwrap();
            slots.open_slot(slot);
            slots.close_slot(slot);
            slots.end(slot, Kind::Accept);
        }
        assert_eq!(slots.reserve(Kind::Accept), Some((1, 12)));
        assert_eq!(slots.beyond(), Some(13));
        assert_eq!(Slots::new(3, u32::MAX).beyond(), None);
    }

    #[test]
    fn the_first_free_slot_is_taken() {
        let mut slots = Slots::new(9, 1);
        let taken: Vec<_> = (0..9).map(|_| slots.reserve(Kind::Accept).unwrap().0).collect();
        assert_eq!(taken, (0..9).collect::<Vec<u32>>());
        [7, 2, 5].into_iter().for_each(|slot| slots.end(slot, Kind::Accept));
        assert_eq!(slots.reserve(Kind::Accept), Some((2, 1)));
        slots.end(0, Kind::Accept);
        let rest: Vec<_> = (0..3).map(|_| slots.reserve(Kind::Accept).unwrap().0).collect();
        assert_eq!(rest, [0, 5, 7]);
    }

    #[test]
    fn a_failed_accept_frees_its_slot() {
        let mut slots = Slots::new(8, 1);
        let (slot, _) = slots.reserve(Kind::Accept).unwrap();
        assert_eq!((slots.taken(), slots.open()), (1, 0));
        slots.end(slot, Kind::Accept);
        assert_eq!(slots.taken(), 0);
    }
}
