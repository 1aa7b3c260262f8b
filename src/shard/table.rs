//! Tables: entries at places that are used again, and memory that goes back when most have gone.
//!
//! Only the empty end of a table can go back, and then the free places of the rest have to be looked
//! for. So that is tried when most entries have gone, and again each time when half of those that
//! were left have: a few times, in whatever order they go.

use std::ops::{Index, IndexMut};

use slab::Slab;

#[derive(Debug)]
pub(crate) struct Table<T> {
    entries: Slab<T>,
    /// Removals since it was tried last to give memory back.
    removed: usize,
}

impl<T> Table<T> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The place that the next entry gets.
    pub(crate) fn next_place(&self) -> usize {
        self.entries.vacant_key()
    }

    pub(crate) fn insert(&mut self, entry: T) -> usize {
        self.entries.insert(entry)
    }

    #[inline]
    pub(crate) fn get(&self, place: usize) -> Option<&T> {
        self.entries.get(place)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.entries.get_mut(place)
    }

    /// Takes the entry at this place out.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub(crate) fn remove(&mut self, place: usize) -> T {
        let entry = self.entries.remove(place);
        self.removed += 1;
        let capacity = self.entries.capacity();
        let left = self.entries.len();
        if capacity > KEPT && left < capacity / 4 && self.removed >= left {
            self.entries.shrink_to_fit();
            self.removed = 0;
        }
        entry
    }

    /// The places that are taken, and what is there.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.entries.iter()
    }

    pub(crate) fn into_entries(self) -> impl Iterator<Item = T> {
        self.entries.into_iter().map(|(_, entry)| entry)
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { entries: Slab::new(), removed: 0 }
    }
}

impl<T> Index<usize> for Table<T> {
    type Output = T;

    #[inline]
    fn index(&self, place: usize) -> &T {
        &self.entries[place]
    }
}

impl<T> IndexMut<usize> for Table<T> {
    #[inline]
    fn index_mut(&mut self, place: usize) -> &mut T {
        &mut self.entries[place]
    }
}

/// A table of so few entries keeps its memory.
const KEPT: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    /// How often a table moves to a smaller place while its entries go in this order.
    fn moves(places: usize, order: impl Iterator<Item = usize>) -> usize {
        let mut table = Table::default();
        (0..places).for_each(|place| assert_eq!(table.insert(place), place));
        let mut moves = 0;
        for place in order {
            let before = table.entries.capacity();
            assert_eq!(table.remove(place), place);
            moves += usize::from(table.entries.capacity() != before);
        }
        assert!(table.entries.capacity() <= KEPT, "{} places are kept", table.entries.capacity());
        moves
    }

    /// Most of the processes of a shard had gone, and the others went too, the last first. Each of
    /// them had the whole table looked through and moved: 28 µs with sixty thousand, and more the
    /// more there had been.
    #[test]
    fn a_table_is_looked_through_a_few_times_in_whatever_order_its_entries_go() {
        const PLACES: usize = 20_000;
        assert!(moves(PLACES, 0..PLACES) <= 8);
        assert!(moves(PLACES, (0..PLACES).rev()) <= 8);
        let most = (0..PLACES).filter(|place| place % 5 > 0);
        let others = (0..PLACES).filter(|place| place % 5 == 0);
        assert!(moves(PLACES, most.chain(others.rev())) <= 8);
    }

    #[test]
    fn a_table_that_was_large_gives_its_memory_back_while_some_are_left() {
        let mut table = Table::default();
        (0..100_000).for_each(|place| assert_eq!(table.insert(place), place));
        (10..100_000).for_each(|place| assert_eq!(table.remove(place), place));
        // The last went last, and it is not known yet that the end is free.
        (1..10).for_each(|place| assert_eq!(table.remove(place), place));
        assert!(table.entries.capacity() < KEPT, "{} places are kept", table.entries.capacity());
        assert_eq!((table.len(), table.get(0)), (1, Some(&0)));
    }
}
