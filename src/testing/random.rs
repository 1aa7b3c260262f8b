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
