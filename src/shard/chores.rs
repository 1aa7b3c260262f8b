//! Chores: what an owner leaves for one above it.
//!
//! Down one calls, up one leaves a chore. While application code runs, and while a broadcast goes
//! through the subscribers of a topic, no connection, session or process may go, for somebody stands
//! on it. So whoever finds out down here that one must go notes it, and it goes at the end of the
//! turn, when nobody stands anywhere.

use crate::message::{EndReason, LineId};

/// What is to be done at the end of the turn, in the order in which it was noted.
#[derive(Debug, Default)]
pub(crate) struct Chores {
    ends: Vec<(LineId, EndReason)>,
}

impl Chores {
    /// A client's connection is to end.
    pub(crate) fn end(&mut self, line: LineId, reason: EndReason) {
        self.ends.push((line, reason));
    }

    /// Whether the last that was noted is the end of this client.
    pub(crate) fn ends_last(&self, line: LineId) -> bool {
        self.ends.last().is_some_and(|(last, _)| *last == line)
    }

    /// Takes the connections that are to end. A client may be among them more than once.
    pub(crate) fn take_ends(&mut self) -> Vec<(LineId, EndReason)> {
        std::mem::take(&mut self.ends)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many there are.
    #[cfg(feature = "testing")]
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
}
