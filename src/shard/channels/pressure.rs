//! Pressure: what is full, and whom that holds up.
//!
//! A client's message may go where something is nearly full: to another shard that is slow, to a
//! topic of which much is under way already, into the mailbox of a busy channel. Then nothing is
//! refused and nobody else is told: its client is not read further until there is room. So a queue
//! overflows only when the application's own code makes more than it may.

use std::rc::Rc;
use std::time::Instant;

use crate::message::{Broadcast, BroadcastError, ProcessId};

/// Why a client is not read further.
#[derive(Debug, Clone)]
pub(crate) enum Pressure {
    /// It has had its share of the turn.
    Share,
    /// The shard has made as much in this turn as it may, or the queue to another is all but full.
    Shard,
    /// What it says goes to a shard that has much to take already.
    Mesh(usize),
    /// What it says goes to a topic of which much is on its way already.
    Topic(Rc<str>),
    /// What it says waits for a channel for which much waits already. But not for ever: its other
    /// channels and its heartbeats wait behind it.
    Mailbox(ProcessId, Instant),
    /// What it did was refused, or crashed, again and again.
    Pace(Instant),
}

/// What a shard's own code has made in this turn.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Spent {
    /// Messages of clients that were read.
    pub(crate) messages: u32,
    broadcasts: usize,
    bytes: usize,
}

/// How much a shard may broadcast in one turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TurnBounds {
    pub(crate) max_broadcasts: usize,
    pub(crate) max_bytes: usize,
}

impl Spent {
    /// Notes a broadcast.
    ///
    /// # Errors
    ///
    /// When that is more than one turn may make.
    pub(super) fn admit(
        &mut self,
        broadcast: &Broadcast,
        bounds: TurnBounds,
    ) -> Result<(), BroadcastError> {
        let size = broadcast.size();
        let fits = self.broadcasts == 0
            || (self.broadcasts < bounds.max_broadcasts
                && self.bytes.saturating_add(size) <= bounds.max_bytes);
        if !fits {
            return Err(BroadcastError::Backlog);
        }
        self.broadcasts += 1;
        self.bytes += size;
        Ok(())
    }

    /// Whether that is nearly as much as a turn may make, so that clients' messages wait for the
    /// next.
    #[inline]
    pub(super) fn is_nearly_over(&self, bounds: TurnBounds) -> bool {
        self.broadcasts >= bounds.max_broadcasts - bounds.max_broadcasts / 4
            || self.bytes >= bounds.max_bytes / 2
    }
}
