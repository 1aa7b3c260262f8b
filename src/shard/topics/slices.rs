//! Slices: big topics are served a part at a time.
//!
//! A turn sends only so much at once. A broadcast that would need more becomes the topic's
//! [`Fanout`](super::fanout), which goes out in the next turns, so that small topics, heartbeats and
//! replies have theirs in between. Several such topics take turns.

use std::collections::VecDeque;

use super::dispatch::{AHEAD, serve_all};
use super::fanout::Step;
use super::outgoing::Outgoing;
use super::{Audience, TopicIndex, Topics};
use crate::message::{BroadcastError, ProcessId};
use crate::telemetry::Event;

/// The topics that are served in slices.
pub(super) struct Slices {
    /// The first is served next.
    topics: VecDeque<TopicIndex>,
    /// Bytes of all broadcasts that are on their way.
    bytes: usize,
    /// How much a turn sends to them, in writes of few bytes.
    size: usize,
    /// Bytes that one topic may have on their way.
    max_queue: usize,
}

impl Slices {
    pub(super) fn new(size: usize, max_queue: usize) -> Self {
        Self { topics: VecDeque::new(), bytes: 0, size, max_queue }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Whether so many writes of so many bytes are no more than a slice, so that there is nothing to
    /// be sliced.
    pub(super) fn fits(&self, writes: usize, bytes: usize) -> bool {
        writes.saturating_mul(cost(bytes)) <= self.size
    }

    /// A topic has nothing on its way any more, of which there were so many bytes.
    pub(super) fn forget(&mut self, topic: TopicIndex, bytes: usize) {
        self.bytes -= bytes;
        self.topics.retain(|waiting| *waiting != topic);
    }

    /// Whether a broadcast of so many bytes may join those of its topic, which has so many.
    fn have_room(&self, waiting: usize, size: usize) -> bool {
        let fits = |waiting: usize, max| waiting == 0 || waiting + size <= max;
        let max = self.max_queue;
        fits(waiting, max) && fits(self.bytes, max.saturating_mul(ALL_TOPICS))
    }
}

#[cfg(any(test, feature = "testing"))]
impl Slices {
    /// How many topics are served in slices now.
    pub(super) fn len(&self) -> usize {
        self.topics.len()
    }

    /// Bytes of all broadcasts that are on their way.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How often a topic stands in line.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn count(&self, topic: TopicIndex) -> usize {
        self.topics.iter().filter(|waiting| **waiting == topic).count()
    }
}

impl Topics {
    /// Whether something is on its way in slices.
    pub(crate) fn has_more(&self) -> bool {
        !self.slices.is_empty()
    }

    /// Has a broadcast go out in slices, behind what is on its way already.
    pub(super) fn begin_fanout(
        &mut self,
        index: TopicIndex,
        from: Option<ProcessId>,
        mut outgoing: Outgoing,
        audience: &mut impl Audience,
    ) -> Result<(), BroadcastError> {
        let topic = &mut self.entries[index.0 as usize];
        if outgoing.is_gap {
            let fanout = topic.fanout.as_mut();
            if fanout.is_some_and(|fanout| fanout.join_gap(&outgoing.message)) {
                return Ok(());
            }
        } else {
            // While somebody is there to be told that it can't be encoded.
            for encoding in topic.fastlanes() {
                outgoing.frame(encoding)?;
            }
            let waiting = topic.fanout.as_ref().map_or(0, |fanout| fanout.bytes());
            if !self.slices.have_room(waiting, outgoing.size()) {
                self.telemetry.tell(Event::Overloaded);
                return Err(BroadcastError::Backlog);
            }
        }
        // Whoever made it does not get it, but gets all that came before.
        let seats = from.map(|from| audience.seats(from)).unwrap_or_default();
        let seats = seats.into_iter().filter(|(held, _)| *held == index);
        for seat in seats.clone() {
            self.catch_up_at(seat, audience);
        }
        self.slices.bytes += outgoing.size();
        let topic = &mut self.entries[index.0 as usize];
        if topic.fanout.is_none() {
            self.slices.topics.push_back(index);
            topic.fanout = Some(Box::default());
        }
        let (fanout, subscribers) = topic.fanout_and_subscribers().expect("just made");
        fanout.push(outgoing);
        for (_, place) in seats {
            fanout.put_ahead(&mut subscribers[place as usize], place);
        }
        Ok(())
    }

    /// Serves the topics that wait, one after the other, until that comes to a slice.
    pub(crate) fn serve_slices(&mut self, audience: &mut impl Audience) {
        let mut left = self.slices.size;
        while left > 0
            && let Some(topic) = self.slices.topics.pop_front()
        {
            let size = left.min(self.slices.size / SHARES);
            let (sent, is_over) = self.serve_slice(topic, size.max(1), audience);
            left = left.saturating_sub(sent);
            if !is_over {
                self.slices.topics.push_back(topic);
            }
        }
    }

    /// Serves one topic until that comes to so many writes; says what it came to, and whether
    /// everyone has had everything.
    fn serve_slice(
        &mut self,
        index: TopicIndex,
        size: usize,
        audience: &mut impl Audience,
    ) -> (usize, bool) {
        let Self { entries, slices, telemetry, .. } = self;
        let topic = &mut entries[index.0 as usize];
        let Some((fanout, subscribers)) = topic.fanout_and_subscribers() else { return (0, true) };
        let bytes = fanout.bytes();
        let mut sent = 0;
        while sent < size {
            let Step::Serve(subscriber, range) = fanout.step(subscribers) else {
                topic.end_fanout();
                slices.bytes -= bytes;
                return (sent, true);
            };
            if let Some(ahead) = subscribers.get(fanout.cursor() + AHEAD) {
                audience.prefetch(ahead.line);
            }
            let broadcasts = range.len();
            if let Some(frame) = fanout.joined(subscriber, &range) {
                audience.frame(subscriber, frame, broadcasts);
            } else {
                serve_all(subscriber, fanout.range_mut(range), audience, telemetry);
            }
            sent += cost(fanout.wave_bytes());
        }
        slices.bytes -= bytes - fanout.bytes();
        (sent, false)
    }
}

/// What a write of so many bytes costs, in writes of few bytes.
fn cost(bytes: usize) -> usize {
    1 + bytes / BYTES_OF_A_WRITE
}

/// What a turn sends to big topics before it looks at what has come: about a third of a millisecond
/// of the kernel's time. A turn costs a microsecond or two besides, so that smaller slices would
/// begin to be felt. A topic of so many subscribers is small.
pub(crate) const SLICE: usize = 64;

/// So many topics share a turn's slice.
const SHARES: usize = 4;

/// With so many bytes a write costs twice as much as with none.
const BYTES_OF_A_WRITE: usize = 16 << 10;

/// All topics of a shard together may have so many times as much on their way as one.
const ALL_TOPICS: usize = 4;
