//! Slices: big topics are served a part at a time.
//!
//! A turn sends only so much at once. A broadcast that would need more becomes the topic's
//! [`Fanout`](crate::shard::topics::fanout), which goes out in the next turns, so that small topics, heartbeats and
//! replies have theirs in between. Several such topics take turns.
//!
//! **Order.** What a client gets by any other way comes behind what was broadcast to it before. So
//! before anything else is queued for it, it is [caught up](Core::catch_up): its channels get at
//! once what is on its way to them. Only two topics that are both on their way in slices may
//! overtake one another.

use std::collections::VecDeque;
use std::ops::Range;

use crate::io::ConnectionId;
use crate::message::{BroadcastError, ProcessId};
use crate::protocol::phoenix::Version;
use crate::shard::Core;
use crate::shard::topics::broadcast::AHEAD;
use crate::shard::topics::fanout::{Fanout, Outgoing, Step};
use crate::shard::topics::{Subscriber, TopicIndex};

/// The topics that are served in slices.
pub(crate) struct Slices {
    /// The first is served next.
    topics: VecDeque<TopicIndex>,
    /// Bytes of all broadcasts that are on their way.
    bytes: usize,
    /// How much a turn sends to them, in writes of few bytes.
    size: usize,
}

impl Slices {
    pub(crate) fn new(size: usize) -> Self {
        Self { topics: VecDeque::new(), bytes: 0, size }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// How many topics are served in slices now.
    #[cfg(feature = "testing")]
    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    /// Bytes of all broadcasts that are on their way.
    #[cfg(feature = "testing")]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether so many writes of so many bytes are no more than a slice, so that there is nothing to
    /// be sliced.
    pub(crate) fn fits(&self, writes: usize, bytes: usize) -> bool {
        writes.saturating_mul(cost(bytes)) <= self.size
    }
}

impl Core {
    /// Has a broadcast go out in slices, behind what is on its way already.
    pub(crate) fn begin_fanout(
        &mut self,
        topic: TopicIndex,
        from: Option<ProcessId>,
        mut outgoing: Outgoing,
    ) -> Result<(), BroadcastError> {
        if outgoing.is_gap {
            let fanout = self.topics.fanout(topic).as_mut();
            if fanout.is_some_and(|fanout| fanout.join_gap(&outgoing.message)) {
                return Ok(());
            }
        } else {
            // While somebody is there to be told that it can't be encoded.
            for version in [Version::V1, Version::V2] {
                if self.topics.has_fastlane(topic, version) {
                    outgoing.frame(version)?;
                }
            }
            self.check_fanouts(topic, outgoing.size())?;
        }
        // Whoever made it does not get it, but gets all that came before.
        let places = from.map(|from| self.places(from)).unwrap_or_default();
        let places = places.into_iter().filter(|(held, _)| *held == topic);
        for (_, place) in places.clone() {
            self.catch_up_at(topic, place);
        }
        self.slices.bytes += outgoing.size();
        let mut fanout = self.topics.fanout(topic).take().unwrap_or_else(|| {
            self.slices.topics.push_back(topic);
            Box::default()
        });
        fanout.push(outgoing);
        let subscribers = self.topics.subscribers_mut(topic);
        for (_, place) in places {
            fanout.put_ahead(&mut subscribers[place as usize], place);
        }
        *self.topics.fanout(topic) = Some(fanout);
        Ok(())
    }

    /// Serves the topics that wait, one after the other, until that comes to a slice.
    pub(crate) fn serve_slices(&mut self) {
        let mut left = self.slices.size;
        while left > 0
            && let Some(topic) = self.slices.topics.pop_front()
        {
            let size = left.min(self.slices.size / SHARES);
            left = left.saturating_sub(self.serve_slice(topic, size.max(1)));
            if self.topics.fanout(topic).is_some() {
                self.slices.topics.push_back(topic);
            }
        }
    }

    /// Serves one topic until that comes to so many writes; says what it came to.
    fn serve_slice(&mut self, topic: TopicIndex, size: usize) -> usize {
        let Some(mut fanout) = self.topics.fanout(topic).take() else { return 0 };
        let bytes = fanout.bytes();
        let mut sent = 0;
        while sent < size {
            let subscribers = self.topics.subscribers_mut(topic);
            let Step::Serve(subscriber, range) = fanout.step(subscribers) else {
                fanout.end(subscribers);
                self.slices.bytes -= bytes;
                return sent;
            };
            if let Some(ahead) = subscribers.get(fanout.cursor() + AHEAD) {
                self.connections.prefetch(ahead.connection);
            }
            let broadcasts = range.len();
            if let Some(frame) = fanout.joined(subscriber, &range) {
                self.send_broadcasts(subscriber, frame, broadcasts);
            } else {
                self.serve_range(&mut fanout, subscriber, range);
            }
            sent += cost(fanout.wave_bytes());
        }
        self.slices.bytes -= bytes - fanout.bytes();
        *self.topics.fanout(topic) = Some(fanout);
        sent
    }

    /// Gives a process and the other channels of its socket at once what is on its way to them.
    /// Called before anything else is queued for it.
    #[inline]
    pub(crate) fn catch_up(&mut self, process: ProcessId) {
        if self.slices.is_empty() {
            return;
        }
        if let Some(connection) = self.processes.find(process).map(|process| process.connection) {
            self.catch_up_socket(connection);
        }
    }

    /// The same for all channels of a socket.
    #[inline]
    pub(crate) fn catch_up_socket(&mut self, id: ConnectionId) {
        if self.slices.is_empty() {
            return;
        }
        let channels = self.connections.session(id).map(|session| session.channels.clone());
        for (_, process) in channels.into_iter().flatten() {
            for (topic, place) in self.places(process) {
                self.catch_up_at(topic, place);
            }
        }
    }

    fn catch_up_at(&mut self, topic: TopicIndex, place: u32) {
        let Some(mut fanout) = self.topics.fanout(topic).take() else { return };
        let (subscriber, owed) = fanout.catch_up(self.topics.subscribers_mut(topic), place);
        self.serve_range(&mut fanout, subscriber, owed);
        *self.topics.fanout(topic) = Some(fanout);
    }

    /// Serves one subscriber these of the broadcasts that are on their way. Says, once, that one
    /// could not be encoded: when it was made, nobody was sure to need it so.
    fn serve_range(&mut self, fanout: &mut Fanout, to: Subscriber, range: Range<usize>) {
        for outgoing in fanout.range_mut(range) {
            if let Err(error) = self.serve(to, outgoing)
                && !std::mem::replace(&mut outgoing.has_failed, true)
            {
                let (topic, event) = (outgoing.message.topic(), outgoing.message.event());
                tracing::error!(topic, event, %error, "a broadcast did not reach a client");
            }
        }
    }

    /// The topics that a process subscribes to, and its places among their subscribers.
    fn places(&mut self, process: ProcessId) -> Vec<(TopicIndex, u32)> {
        let Some(process) = self.processes.find(process) else { return Vec::new() };
        let own = process.position.map(|position| (process.topic, position));
        let others = process.rare.iter().flat_map(|rare| &rare.subscriptions);
        own.into_iter().chain(others.copied()).collect()
    }

    /// The last subscriber has gone: what was on its way is for nobody.
    pub(crate) fn drop_fanout(&mut self, topic: TopicIndex) {
        if let Some(fanout) = self.topics.fanout(topic).take() {
            self.slices.bytes -= fanout.bytes();
            self.slices.topics.retain(|waiting| *waiting != topic);
        }
    }

    /// Whether a broadcast of so many bytes may join those that are on their way.
    fn check_fanouts(&mut self, topic: TopicIndex, size: usize) -> Result<(), BroadcastError> {
        let max = self.limits.max_fanout_queue;
        let waiting = self.topics.fanout(topic).as_ref().map_or(0, |fanout| fanout.bytes());
        let fits = |waiting: usize, max| waiting == 0 || waiting + size <= max;
        if fits(waiting, max) && fits(self.slices.bytes, max.saturating_mul(ALL_TOPICS)) {
            return Ok(());
        }
        self.counters.overloaded += 1;
        Err(BroadcastError::Backlog)
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
