//! What the kernel is to be asked for last.

use crate::io::{ConnectionId, Io};

/// What the kernel is to be asked for last.
#[derive(Debug, Default)]
pub(crate) struct Last {
    pub(super) shut_down: Vec<ConnectionId>,
    pub(super) handed_over: Vec<ConnectionId>,
    pub(super) closed: Vec<ConnectionId>,
}

impl Last {
    /// Asks for it.
    pub(super) fn tell(&mut self, io: &mut impl Io) {
        for id in self.shut_down.drain(..) {
            io.shutdown(id);
        }
        for id in self.handed_over.drain(..) {
            io.hand_over(id);
        }
        for id in self.closed.drain(..) {
            io.close(id);
        }
    }

    /// Whether there is nothing to ask for.
    pub(super) fn is_empty(&self) -> bool {
        self.shut_down.is_empty() && self.handed_over.is_empty() && self.closed.is_empty()
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn len(&self) -> usize {
        self.shut_down.len() + self.handed_over.len() + self.closed.len()
    }
}
