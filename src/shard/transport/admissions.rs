//! How many connections there are of each kind.

use std::sync::atomic::Ordering;

use crate::shard::links::Shared;

/// How many connections a shard has of each kind; together, all it has.
#[derive(Debug, Default)]
pub(super) struct Admissions {
    pub(super) admitted: usize,
    /// To be told, or told already, that there is no room for them.
    pub(super) refused: usize,
}

impl Admissions {
    /// Gives back the place of a connection that is gone.
    pub(super) fn dismiss(&mut self, shared: &Shared, was_refused: bool) {
        if was_refused {
            self.refused -= 1;
        } else {
            self.admitted -= 1;
            shared.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(any(test, debug_assertions, feature = "testing"))]
impl Admissions {
    /// All of them.
    pub(super) fn len(&self) -> usize {
        self.admitted + self.refused
    }
}
