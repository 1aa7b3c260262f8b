//! A shard's transports, and the hub with the owners beneath them. Nothing is decided here.

use super::channels::Hub;
use super::transport::Transport;

/// What a shard owns.
///
/// The two are borrowed together, and the first is lent the second: a transport knows what it
/// carries, and not the other way round.
pub(crate) struct Core {
    pub(super) transport: Transport,
    pub(super) hub: Hub,
}

#[cfg(any(test, debug_assertions))]
impl Core {
    /// Asserts everything that the owners promise, between two turns.
    pub(crate) fn check(&mut self) {
        let Self { transport, hub } = self;
        transport.check(hub);
        hub.check();
    }

    /// The same, while there is little to look at.
    #[cfg(debug_assertions)]
    pub(super) fn check_if_cheap(&mut self) {
        if self.hub.lines.len() + self.hub.channels.processes() <= CHEAP {
            self.check();
        }
    }

    /// How many stand in lines by what they have begun.
    #[cfg(test)]
    pub(super) fn marks(&self) -> usize {
        self.transport.marks()
    }
}

/// So many lines and processes are looked at each turn of a debug build.
#[cfg(debug_assertions)]
const CHEAP: usize = 16;
