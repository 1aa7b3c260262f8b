//! The audience of the topics: channels, and the clients behind them.

use std::time::Instant;

use smallvec::SmallVec;

use super::hub::{Channels, Hub};
use super::mailbox::Mail;
use super::mount::handler;
use super::process::Status;
use crate::message::{Broadcast, Encoding, EndReason, LineId, ProcessId, Stop};
use crate::protocol::phoenix::EncodeError;
use crate::shard::chores::Chores;
use crate::shard::lines::{Frame, Lines, Place, Room};
use crate::shard::topics::{Audience, Delivery, Kind, Seat, Subscriber, TopicIndex, Topics};
use crate::telemetry::{Event, Telemetry};

/// Whoever may stand in a topic of this shard.
pub(crate) struct Crowd<'a> {
    pub(super) channels: &'a mut Channels,
    pub(super) lines: &'a mut Lines,
    pub(super) chores: &'a mut Chores,
    pub(super) telemetry: &'a Telemetry,
    pub(super) now: Instant,
}

impl Audience for Crowd<'_> {
    #[inline]
    fn frame(&mut self, to: Subscriber, frame: &Frame, broadcasts: usize) {
        let room = self.lines.push_broadcasts(to.line, to.process, frame, broadcasts);
        if room != Room::Left {
            self.relieve(to.line, room);
        }
    }

    fn mail(&mut self, to: Subscriber, how: Delivery, message: &Broadcast) {
        let message = message.clone();
        let mail = match how {
            Delivery::Out => Mail::Out(message),
            Delivery::Broadcast => Mail::Broadcast(message),
            Delivery::Gap if to.kind == Kind::Plain => Mail::Gap(message),
            Delivery::Gap => Mail::Missed,
        };
        self.deliver(to.process, mail);
    }

    fn intercepts(&self, who: Subscriber, event: &str) -> bool {
        handler(&self.channels.mounts, who.mount, who.route).intercepts(event)
    }

    fn disconnect(&mut self, line: LineId) {
        self.chores.end(line, EndReason::Disconnected);
    }

    fn channels(&mut self, line: LineId) -> SmallVec<[ProcessId; 4]> {
        let Some(Place::Open(place, _)) = self.lines.place(line) else {
            return SmallVec::new();
        };
        let session = self.channels.sessions.find(place, line);
        session.into_iter().flat_map(|session| &session.channels).map(|(_, id)| *id).collect()
    }

    fn seats(&mut self, process: ProcessId) -> SmallVec<[Seat; 2]> {
        self.channels.processes.find(process).map(|process| process.seats()).unwrap_or_default()
    }

    fn moved(&mut self, who: Subscriber, topic: TopicIndex, from: u32, to: u32) {
        match who.kind {
            Kind::Fastlane | Kind::Intercepting => {
                self.channels.processes.at(who.process).1.set_position(Some(to));
            }
            Kind::Plain => {
                let subscriptions =
                    &mut self.channels.processes.at(who.process).1.rare().subscriptions;
                let held = subscriptions.iter_mut().find(|held| **held == (topic, from));
                held.expect("a subscriber knows its place").1 = to;
            }
            Kind::Socket => {
                let Some(Place::Open(place, _)) = self.lines.place(who.line) else {
                    unreachable!("it is subscribed while it is open");
                };
                let session = self.channels.sessions.find(place, who.line);
                session.expect("an open line has its session").id = Some((topic, to));
            }
            Kind::Ahead => unreachable!("told with its own kind"),
        }
    }

    #[inline]
    fn prefetch(&self, line: LineId) {
        self.lines.prefetch(line);
    }
}

impl Crowd<'_> {
    /// Puts a broadcast, or the word of a gap, into a mailbox.
    pub(super) fn deliver(&mut self, process: u32, mail: Mail) {
        let (id, process) = self.channels.processes.at(process);
        if process.is_ending() || process.mailbox.says_already(&mail) {
            return;
        }
        if process.mailbox.has_room_for(&mail, self.channels.bounds.mailbox) {
            process.mailbox.push(mail);
            if process.status == Status::Joined && process.is_resting() {
                self.channels.stand_in_line(id);
            }
            return;
        }
        // He would miss a message and never know. So he ends, and his client joins anew.
        self.telemetry.tell(Event::Overloaded);
        let reason = Stop::Error("mailbox full".to_owned());
        if process.status == Status::Joining {
            // His client waits for an answer, which he gets when the join is done.
            process.rare().ending = Some(reason);
        } else {
            self.channels.end_joined(id, reason, self.now);
        }
    }
}

impl Hub {
    /// The topics, and those who may stand in them.
    #[inline]
    pub(super) fn split(&mut self) -> (&mut Topics, Crowd<'_>) {
        let Self { channels, topics, lines, chores, clock, telemetry, .. } = self;
        (topics, Crowd { channels, lines, chores, telemetry, now: clock.now() })
    }
}

/// The one door out to a client.
impl Hub {
    /// Encodes one frame for one client and queues it. Nothing happens if its socket is not open, or
    /// is to be closed for all that waits for it already.
    ///
    /// What was broadcast to the client before comes before it: for this, whoever speaks for a
    /// channel [catches up](Self::catch_up) first.
    #[inline]
    pub(crate) fn write(
        &mut self,
        line: LineId,
        encode: impl FnOnce(Encoding, &mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let room = self.lines.write(line, encode)?;
        self.see_to(line, room);
        Ok(())
    }

    /// Queues bytes that are no message: an HTTP answer, a control frame.
    pub(crate) fn write_bytes(&mut self, line: LineId, append: impl FnOnce(&mut Vec<u8>)) {
        let room = self.lines.write_bytes(line, append);
        self.see_to(line, room);
    }

    /// Sees to a line that has more than it may, if it has.
    #[inline]
    pub(crate) fn see_to(&mut self, line: LineId, room: Room) {
        if room != Room::Left {
            self.split().1.relieve(line, room);
        }
    }

    /// Gives a client at once all that is on its way to its channels. Before anything is queued for
    /// it that is not to overtake that.
    #[inline]
    pub(crate) fn catch_up(&mut self, line: LineId) {
        if self.topics.has_more() {
            let (topics, mut crowd) = self.split();
            topics.catch_up(line, &mut crowd);
        }
    }

    /// The same for the client of a process.
    #[inline]
    pub(super) fn catch_up_process(&mut self, id: ProcessId) {
        if self.topics.has_more()
            && let Some(process) = self.channels.processes.find(id)
        {
            let line = process.line;
            self.catch_up(line);
        }
    }

    /// A subscriber leaves his seat.
    pub(super) fn stand_up(&mut self, seat: Seat) {
        let (topics, mut crowd) = self.split();
        topics.unsubscribe(seat, &mut crowd);
    }
}
