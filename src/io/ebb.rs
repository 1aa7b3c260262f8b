//! Memory goes back to the system when many connections have gone, or much that was kept for them.
//!
//! What a shard frees, the C library keeps: in pieces between what is still in use, where nothing
//! but `malloc_trim` finds it. That walks over all that is free, of every thread, and holds their
//! allocations up meanwhile: 0.3 ms after ten thousand clients have gone, 40 ms after a hundred
//! thousand and 0.5 s after a million (glibc 2.36, one in fifty still there). It is a twentieth of
//! what their going has cost in any case, but it comes in one piece; so it is done only when three
//! quarters have gone, and not again before that is true of those who are left.

use std::time::{Duration, Instant};

/// How the number of connections rises and falls, or that of bytes.
pub(crate) struct Ebb {
    /// Fewer are no storm.
    many: usize,
    /// The most there were since memory was given back last.
    highest: usize,
    /// Since when there are few compared to that.
    low_since: Option<Instant>,
}

impl Ebb {
    pub(crate) fn new(many: usize) -> Self {
        Self { many, highest: 0, low_since: None }
    }

    /// Whether memory is to be given back now, with so many there; then it counts as done.
    #[inline]
    pub(crate) fn is_over(&mut self, open: usize, now: Instant) -> bool {
        self.highest = self.highest.max(open);
        if self.highest < self.many || open > self.highest / 4 {
            self.low_since = None;
            return false;
        }
        let since = *self.low_since.get_or_insert(now);
        if now < since + CALM {
            return false;
        }
        (self.highest, self.low_since) = (open, None);
        true
    }

    /// When to look again, if nothing else happens.
    pub(crate) fn until(&self) -> Option<Instant> {
        Some(self.low_since? + CALM)
    }
}

/// Gives what is free back to the system, as far as the C library can: of all threads what lies between
/// what is in use, and of the calling one what lies behind it.
///
/// The latter `malloc_trim` leaves alone. It goes back when much is freed while it is more than a
/// threshold, which the library raises to twice the largest block it has ever freed.
pub(crate) fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: may be called at any time from any thread.
        unsafe { libc::malloc_trim(0) };
        keep_behind(PAGES);
        // SAFETY: a block is had from the library and used for nothing.
        let block = unsafe { libc::malloc(2 * PAGES) };
        // The compiler would leave both away.
        let block = std::hint::black_box(block);
        // SAFETY: it came from `malloc`, and null may be freed too.
        unsafe { libc::free(block) };
        keep_behind(MUCH);
    }
}

/// How much the C library keeps behind what is in use.
#[cfg(target_env = "gnu")]
fn keep_behind(bytes: usize) {
    // SAFETY: may be called at any time from any thread.
    unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, bytes as libc::c_int) };
}

/// Less than this the C library keeps in any case, and to free more makes it look.
#[cfg(target_env = "gnu")]
const PAGES: usize = 64 << 10;

/// What a thread may keep behind what is in use, while nobody asks for it back: as much as the library
/// would come to by itself, so that large messages do not have it mapped and unmapped all the time.
#[cfg(target_env = "gnu")]
const MUCH: usize = 32 << 20;

/// Connections that are a storm: what fewer leave is a few hundred kilobytes.
pub(super) const MANY_CONNECTIONS: usize = 1_000;

/// Those who are going get the time for it.
const CALM: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_when_most_have_gone_for_a_while() {
        let mut ebb = Ebb::new(1_000);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!ebb.is_over(10_000, at(0)));
        assert!(!ebb.is_over(2_501, at(1)));
        assert_eq!(ebb.until(), None);
        assert!(!ebb.is_over(2_500, at(2)));
        assert_eq!(ebb.until(), Some(at(4)));
        // A few have come back.
        assert!(!ebb.is_over(2_600, at(3)));
        assert!(!ebb.is_over(1_200, at(5)));
        assert!(!ebb.is_over(1_100, at(6)));
        assert!(ebb.is_over(1_100, at(7)));
        // Once; and once more when most of those have gone.
        assert!(!ebb.is_over(1_100, at(8)));
        assert!(!ebb.is_over(0, at(9)));
        assert!(ebb.is_over(0, at(11)));
        assert!(!ebb.is_over(0, at(20)));
    }

    #[test]
    fn a_few_clients_are_no_storm() {
        let mut ebb = Ebb::new(1_000);
        let start = Instant::now();
        assert!(!ebb.is_over(1_000 - 1, start));
        assert!(!ebb.is_over(0, start + CALM));
        assert!(!ebb.is_over(0, start + CALM * 2));
        assert_eq!(ebb.until(), None);
    }
}
