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
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

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

    /// What is done to a table, to many entries at a time: one of few keeps its memory.
    #[derive(Debug, Clone)]
    enum Step {
        Insert(usize),
        /// So many of a hundred that are left.
        Remove(usize, Order),
    }

    /// In which order entries go, by their places.
    #[derive(Debug, Clone)]
    enum Order {
        Rising,
        Falling,
        /// Some order that this number makes.
        Mixed(u64),
    }

    /// The place beyond the last entry.
    fn end(entries: &BTreeMap<usize, u32>) -> usize {
        entries.last_key_value().map_or(0, |(place, _)| place + 1)
    }

    fn step() -> impl Strategy<Value = Step> {
        let order = prop_oneof![
            Just(Order::Rising),
            Just(Order::Falling),
            any::<u64>().prop_map(Order::Mixed)
        ];
        prop_oneof![
            (0..4 * KEPT).prop_map(Step::Insert),
            (0..=100_usize, order).prop_map(|(share, order)| Step::Remove(share, order)),
        ]
    }

    impl Order {
        /// Of places that rise.
        fn sort(&self, places: &mut [usize]) {
            match self {
                Self::Rising => {}
                Self::Falling => places.reverse(),
                Self::Mixed(key) => places.sort_by_cached_key(|place| {
                    (*place as u64 ^ key).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
                }),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]

        /// A map of the same entries is the oracle.
        #[test]
        fn a_table_has_what_was_put_there_and_gives_its_end_back(steps in vec(step(), 0..10)) {
            let mut table = Table::default();
            let mut oracle = BTreeMap::new();
            let mut entries = 0_u32..;
            let all = Step::Remove(100, Order::Rising);
            for step in steps.into_iter().chain([all]) {
                match step {
                    Step::Insert(count) => for entry in entries.by_ref().take(count) {
                        let place = table.next_place();
                        prop_assert_eq!(table.insert(entry), place);
                        prop_assert_eq!(oracle.insert(place, entry), None, "it was taken");
                    },
                    Step::Remove(share, order) => {
                        let end = end(&oracle);
                        let mut places: Vec<_> = oracle.keys().copied().collect();
                        order.sort(&mut places);
                        let gone = places.len() * share / 100;
                        for place in &places[..gone] {
                            prop_assert_eq!(Some(table.remove(*place)), oracle.remove(place));
                        }
                        // Once half of them have gone it has been tried, unless the others fill a
                        // quarter: what was free beyond the last of them is no longer there.
                        if gone >= oracle.len() {
                            let kept = KEPT.max(end).max(4 * oracle.len() + 3);
                            prop_assert!(table.entries.capacity() <= kept);
                        }
                    }
                }
                prop_assert_eq!(table.len(), oracle.len());
                prop_assert!(table.iter().eq(oracle.iter().map(|(place, entry)| (*place, entry))));
                for place in 0..=end(&oracle) {
                    prop_assert_eq!(table.get(place), oracle.get(&place));
                }
            }
            prop_assert!(table.entries.capacity() <= KEPT, "nothing is left in it");
        }
    }
}
