//! Chance, reproducible.

use std::hash::{BuildHasher, RandomState};
use std::thread;

/// A sequence of numbers that its seed decides (SplitMix64).
///
/// # Example
///
/// ```
/// use simurgh::testing::Random;
///
/// let (mut one, mut same) = (Random::new(7), Random::new(7));
/// assert_eq!(one.below(100), same.below(100));
/// ```
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, any of 64 bits.
    #[expect(clippy::should_implement_trait, reason = "it never ends, so nothing is optional")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of the first `count` numbers.
    ///
    /// # Panics
    ///
    /// When `count` is zero.
    pub fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    /// True so many times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    /// One of these; `None` if there are none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { Some(&from[self.below(from.len())]) }
    }

    /// So many bytes, each any of 256.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// The seed that a test plays. Should the test fail while this lives, it says how to play it again.
///
/// # Example
///
/// ```
/// use simurgh::testing::Seed;
///
/// let seed = Seed::given().unwrap_or_else(Seed::fresh);
/// let mut random = seed.random();
/// assert!(random.below(6) < 6);
/// ```
#[derive(Debug)]
pub struct Seed(u64);

impl Seed {
    /// This one.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The one that the environment variable `SIMURGH_SEED` asks for.
    ///
    /// # Panics
    ///
    /// When it asks for something that is no number.
    pub fn given() -> Option<Self> {
        let seed = std::env::var("SIMURGH_SEED").ok()?;
        Some(Self(seed.parse().expect("SIMURGH_SEED is a number")))
    }

    /// One that most likely nobody has tried.
    pub fn fresh() -> Self {
        Self(RandomState::new().hash_one("a seed") % 1_000_000)
    }

    /// Its sequence, from the beginning.
    pub fn random(&self) -> Random {
        Random::new(self.0)
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("again with SIMURGH_SEED={}", self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_splitmix64() {
        let mut random = Random::new(1_234_567);
        let numbers = [(); 3].map(|()| random.next());
        assert_eq!(
            numbers,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn every_number_below_the_count_comes_and_no_other() {
        let mut random = Random::new(1);
        let mut seen = [0; 5];
        (0..1_000).for_each(|_| seen[random.below(5)] += 1);
        assert!(seen.iter().all(|times| (150..250).contains(times)), "{seen:?}");
        assert_eq!(random.below(1), 0);
    }

    #[test]
    fn a_chance_is_so_many_in_a_hundred() {
        let mut random = Random::new(1);
        for (percent, times) in [(0, 0..=0), (30, 250..=350), (100, 1_000..=1_000)] {
            let came = (0..1_000).filter(|_| random.chance(percent)).count();
            assert!(times.contains(&came), "{came} times at {percent} %");
        }
    }

    #[test]
    fn what_is_picked_is_there() {
        let mut random = Random::new(1);
        assert_eq!(random.pick::<u8>(&[]), None);
        assert!((0..100).all(|_| [2, 3].contains(random.pick(&[2, 3]).unwrap())));
    }

    #[test]
    fn as_many_bytes_come_as_were_asked_for() {
        let mut random = Random::new(1);
        assert_eq!([0, 1, 9].map(|count| random.bytes(count).len()), [0, 1, 9]);
    }

    #[test]
    fn a_seed_begins_its_sequence_anew_each_time() {
        let seed = Seed::new(7);
        assert_eq!(seed.random().bytes(9), seed.random().bytes(9));
        assert_ne!(seed.random().next(), Seed::new(8).random().next());
    }
}
