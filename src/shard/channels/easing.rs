//! Easing: memory goes back when it is not needed any more.
//!
//! Tables shrink as their entries go. What is left are lists that are empty most of the time and were
//! long once, the turn's arena, and what the C library keeps of all that was freed. These are looked
//! at once a second, and while there is something to give back the shard wakes up for it.

use std::time::Instant;

use super::hub::Hub;
use crate::io::give_memory_back;

impl Hub {
    /// Looks once a second at what can go back. `kept` bytes are kept for clients now.
    pub(crate) fn ease(&mut self, kept: usize) {
        let now = self.clock.now();
        let is_over = self.ebb.is_over(kept, now);
        if self.eased_at == self.clock.seconds() && !is_over {
            return;
        }
        self.eased_at = self.clock.seconds();
        self.lines.ease();
        self.channels.ease();
        if is_over {
            give_memory_back();
            tracing::debug!("much that was kept for clients has gone: memory was given back");
        }
    }

    /// When there may be something to give back, if nothing else happens.
    pub(crate) fn next_ease(&self) -> Option<Instant> {
        let next = self.lines.is_large().then(|| self.clock.next_second());
        next.into_iter().chain(self.ebb.until()).min()
    }
}
