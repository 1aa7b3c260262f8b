//! Fan-outs: what is on its way to a topic's subscribers, and who has had it.
//!
//! A topic that is served in slices has one of these until all have been served. The first of the
//! broadcasts, as many as one write takes, are a *wave*: the cursor goes once over the subscribers,
//! and each gets the whole wave.
//!
//! ```text
//!                          cursor
//!   ┌──────────────────────┬─┴───────────────────────────┐
//!   │ have had the wave    │ are still to have it        │ ◀─ who joins stands here, and is ahead
//!   └──────────────────────┴─────────────────────────────┘
//! ```
//!
//! Every subscriber gets the broadcasts that were made while he was one, each once and in their
//! order. Some are *ahead* of the others: who was [caught up](super::Topics::catch_up) has had all
//! there are, and who has just joined is to have none of them. Whoever leaves is replaced by one of
//! the same side of the cursor, so that nobody is passed over or served twice and no gap has to be
//! kept.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;

use bytes::BytesMut;

use super::outgoing::{Outgoing, ShardFrames};
use super::subscriber::{Kind, Subscriber};
use crate::message::Broadcast;
use crate::shard::lines::{Frame, MAX_WRITE};

/// See the module's page.
#[derive(Default)]
pub(super) struct Fanout {
    /// The oldest first; so many of them as `wave` says are served now.
    broadcasts: VecDeque<Outgoing>,
    wave: usize,
    wave_bytes: usize,
    /// Subscribers at places before it have had the wave.
    cursor: usize,
    /// The number that the next broadcast gets.
    next: u64,
    /// Who is ahead, by place.
    ahead: HashMap<u32, Ahead>,
    /// The wave as one write, when somebody has wanted it.
    joined: ShardFrames,
    bytes: usize,
}

/// A subscriber who is ahead. His entry only says that he is.
struct Ahead {
    kind: Kind,
    /// Broadcasts numbered below it are not for him.
    until: u64,
}

/// What the cursor has come to.
pub(super) enum Step {
    /// A subscriber, and which broadcasts he is to get now.
    Serve(Subscriber, Range<usize>),
    /// Everyone has had everything.
    Done,
}

impl Fanout {
    pub(super) fn push(&mut self, outgoing: Outgoing) {
        self.bytes += outgoing.size();
        self.broadcasts.push_back(outgoing.numbered(self.next));
        self.next += 1;
        // A wave that nobody has had yet takes it along.
        if self.cursor == 0 {
            self.widen();
        }
    }

    /// Bytes of all broadcasts that are on their way.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The place of the subscriber who is served next.
    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    /// Bytes that the wave has for each subscriber.
    pub(super) fn wave_bytes(&self) -> usize {
        self.wave_bytes
    }

    /// Has the word of a gap stand for this one too, if that is the last thing on its way.
    ///
    /// Whoever is ahead of it may have been told, and missed another since: he is told again. Not so
    /// those whom the cursor has passed, and so there must be another word for them.
    pub(super) fn join_gap(&mut self, missed: &Broadcast) -> bool {
        let has_begun = self.cursor > 0 && self.wave == self.broadcasts.len();
        let Some(last) = self.broadcasts.back_mut() else { return false };
        // Sockets look at the event, and go by this one.
        let closes_more = missed.is_disconnect() && !last.message.is_disconnect();
        if !last.is_gap || has_begun || closes_more {
            return false;
        }
        last.number = self.next;
        self.next += 1;
        true
    }

    /// The broadcasts at these places in the queue.
    pub(super) fn range_mut(&mut self, range: Range<usize>) -> impl Iterator<Item = &mut Outgoing> {
        self.broadcasts.range_mut(range)
    }

    /// Moves the cursor on by one subscriber.
    #[inline]
    pub(super) fn step(&mut self, subscribers: &mut [Subscriber]) -> Step {
        while self.cursor >= subscribers.len() {
            self.end_wave();
            if self.broadcasts.is_empty() {
                return Step::Done;
            }
        }
        let entry = &mut subscribers[self.cursor];
        let mut first = 0;
        if entry.kind == Kind::Ahead {
            let place = self.cursor as u32;
            first = self.first_owed(place);
            if first <= self.wave {
                // After this wave he has had what the others have.
                entry.kind = self.ahead.remove(&place).expect("just looked at").kind;
            }
        }
        self.cursor += 1;
        Step::Serve(*entry, first.min(self.wave)..self.wave)
    }

    /// All that is on its way to the subscriber at this place, who is ahead from here on.
    pub(super) fn catch_up(
        &mut self,
        subscribers: &mut [Subscriber],
        place: u32,
    ) -> (Subscriber, Range<usize>) {
        let entry = &mut subscribers[place as usize];
        let first = match entry.kind {
            Kind::Ahead => self.first_owed(place),
            _ if (place as usize) < self.cursor => self.wave,
            _ => 0,
        };
        let subscriber = Subscriber { kind: self.kind(*entry, place), ..*entry };
        let owed = first..self.broadcasts.len();
        if !owed.is_empty() {
            self.put_ahead(entry, place);
        }
        (subscriber, owed)
    }

    /// Has a subscriber get nothing of what is on its way.
    pub(super) fn put_ahead(&mut self, entry: &mut Subscriber, place: u32) {
        let kind = self.kind(*entry, place);
        self.ahead.insert(place, Ahead { kind, until: self.next });
        entry.kind = Kind::Ahead;
    }

    /// A subscriber's kind, which his entry does not say while he is ahead.
    pub(super) fn kind(&self, entry: Subscriber, place: u32) -> Kind {
        if entry.kind == Kind::Ahead { self.ahead[&place].kind } else { entry.kind }
    }

    /// The subscriber at `place` leaves. If he has had the wave, the last of those who have takes his
    /// place, and then it is that one's place which is free: this says whose.
    pub(super) fn leave(&mut self, place: u32) -> Option<u32> {
        self.ahead.remove(&place);
        if (place as usize) >= self.cursor {
            return None;
        }
        self.cursor -= 1;
        Some(self.cursor as u32)
    }

    /// One who is ahead has moved.
    pub(super) fn moved(&mut self, from: u32, to: u32) {
        if let Some(ahead) = self.ahead.remove(&from) {
            self.ahead.insert(to, ahead);
        }
    }

    /// How many are ahead.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn ahead(&self) -> usize {
        self.ahead.len()
    }

    /// Has everyone who is ahead be as the others: there is nothing more to be ahead of.
    pub(super) fn end(mut self, subscribers: &mut [Subscriber]) {
        for (place, ahead) in self.ahead.drain() {
            subscribers[place as usize].kind = ahead.kind;
        }
    }

    /// The wave as one write, for a subscriber who is to get all of it.
    #[inline]
    pub(super) fn joined(&mut self, to: Subscriber, range: &Range<usize>) -> Option<&Frame> {
        if self.wave < 2 || to.kind != Kind::Fastlane || range.start > 0 {
            return None;
        }
        let Self { broadcasts, joined, wave, wave_bytes, .. } = self;
        let join = || {
            let mut frames = BytesMut::with_capacity(*wave_bytes);
            for outgoing in broadcasts.iter_mut().take(*wave) {
                frames.extend_from_slice(outgoing.frame(to.encoding)?);
            }
            Ok(Rc::new(frames.freeze()))
        };
        joined.of(to.encoding, join).ok()
    }

    /// Where in the queue stands what one who is ahead is to get first.
    fn first_owed(&self, place: u32) -> usize {
        let until = self.ahead[&place].until;
        self.broadcasts.partition_point(|outgoing| outgoing.number < until)
    }

    fn end_wave(&mut self) {
        for outgoing in self.broadcasts.drain(..self.wave) {
            self.bytes -= outgoing.size();
        }
        (self.wave, self.wave_bytes, self.cursor) = (0, 0, 0);
        self.widen();
    }

    /// Takes into the wave what fits.
    fn widen(&mut self) {
        self.joined.clear();
        while let Some(next) = self.broadcasts.get(self.wave) {
            let size = self.wave_bytes + next.size();
            // The word of a gap is no frame, so that nothing can be joined to it.
            let is_alone = next.is_gap || self.broadcasts[0].is_gap;
            if self.wave > 0 && (is_alone || size > MAX_WRITE) {
                return;
            }
            (self.wave, self.wave_bytes) = (self.wave + 1, size);
        }
    }
}
