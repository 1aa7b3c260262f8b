//! Slowing: which clients are not read further, and until when.
//!
//! Read through before each message of a client: whether the shard as a whole has as much in hand as
//! it should, and what this client has met with. See [`Pressure`].

use std::time::Instant;

use super::hub::{Channels, Hub};
use super::pressure::{Pressure, Spent};
use crate::message::{Broadcast, LineId, ProcessId};
use crate::shard::clock::later;

impl Hub {
    /// A turn begins: what is full may have room again.
    pub(crate) fn begin_turn(&mut self) {
        self.spent = Spent::default();
        self.pressure = None;
        self.links.look(self.clock.now());
    }

    /// Whether no client's message is to be handled now but heartbeats.
    #[inline]
    pub(crate) fn is_pressed(&self) -> bool {
        self.pressure.is_some() || self.is_shard_pressed()
    }

    /// The same, whatever the client has met with whose messages are read.
    #[inline]
    pub(crate) fn is_shard_pressed(&self) -> bool {
        self.links.is_nearly_full()
            || self.spent.is_nearly_over(self.channels.bounds.turn)
            || self.lines.is_turn_full()
    }

    /// So many messages of a client have been read.
    #[inline]
    pub(crate) fn count_read(&mut self, line: LineId, messages: u16) {
        self.spent.messages += u32::from(messages);
        self.lines.count_read(line, messages);
    }

    /// How many messages of a client are read in this turn, of whom so many have been.
    #[inline]
    pub(crate) fn share(&self, read: u16) -> u16 {
        let share = if self.spent.messages < BUSY { SHARE } else { SMALL_SHARE };
        share.saturating_sub(read)
    }

    /// Forgets what others have met with.
    #[inline]
    pub(crate) fn clear_pressure(&mut self) {
        self.pressure = None;
    }

    /// What the client whose messages are read has met with.
    pub(crate) fn take_pressure(&mut self) -> Option<Pressure> {
        self.pressure.take()
    }

    /// Whether a client that waits can be read again.
    pub(crate) fn is_over(&mut self, pressure: &Pressure) -> bool {
        match pressure {
            Pressure::Share => true,
            Pressure::Shard => !self.is_shard_pressed(),
            Pressure::Mesh(shard) => !self.links.is_high(*shard),
            Pressure::Topic(topic) => {
                !self.topics.is_congested(topic) && !self.links.is_congested(topic)
            }
            Pressure::Mailbox(process, until) => {
                self.clock.now() >= *until || self.channels.has_calmed(*process)
            }
            Pressure::Pace(until) => self.clock.now() >= *until,
        }
    }

    /// Whom a broadcast has met with.
    pub(super) fn feel(&mut self, broadcast: &Broadcast) {
        if let Some(shard) = self.links.take_high() {
            self.pressure = Some(Pressure::Mesh(shard));
        } else if self.topics.takes_slices() || self.links.is_shared() {
            let topic = broadcast.topic();
            if self.topics.is_congested(topic) || self.links.is_congested(topic) {
                self.pressure = Some(Pressure::Topic(topic.into()));
            }
        }
    }

    /// What a process' client wanted was refused, or its channel crashed.
    pub(super) fn slow_down(&mut self, id: ProcessId) {
        let line = self.channels.processes.known(id).line;
        self.paces.count(line, self.clock.now());
    }

    /// A client's message was put into this mailbox.
    pub(super) fn feel_mailbox(&mut self, process: ProcessId) {
        let now = self.clock.now();
        let until = self.channels.crowded_until(process, now);
        if let Some(until) = until.filter(|until| now < *until) {
            self.pressure = Some(Pressure::Mailbox(process, until));
        }
    }
}

impl Channels {
    /// Until when a channel holds up its client, if half of what may wait for it does.
    fn crowded_until(&mut self, process: ProcessId, now: Instant) -> Option<Instant> {
        let bounds = self.bounds.mailbox;
        let mailbox = &mut self.processes.find(process)?.mailbox;
        let until = later(now, self.bounds.hold_timeout);
        mailbox.is_fuller_than(bounds, 2).then(|| mailbox.crowded_until(until))
    }

    /// Whether hardly anything waits for a channel any more.
    fn has_calmed(&mut self, process: ProcessId) -> bool {
        let bounds = self.bounds.mailbox;
        let Some(process) = self.processes.find(process) else { return true };
        let has_calmed = !process.mailbox.is_fuller_than(bounds, 4);
        if has_calmed {
            process.mailbox.calm();
        }
        has_calmed
    }
}

/// How many messages of one client a turn reads: more than an honest one sends at once, but when it
/// comes back and joins all its topics.
const SHARE: u16 = 64;

/// The same in a turn that has read [`BUSY`] messages already.
const SMALL_SHARE: u16 = 4;
const BUSY: u32 = 1_024;
