//! The topic table: which topics there are, and who stands in them.

use std::collections::HashMap;
use std::hash::RandomState;
use std::rc::Rc;

use super::audience::Audience;
use super::slices::Slices;
use super::subscriber::{Seat, Subscriber, TopicIndex};
use super::topic::{Moved, Removed, Topic};
use crate::shard::links::OwnInterest;
use crate::shard::table::Table;
use crate::telemetry::Telemetry;

/// The topics of one shard.
pub(crate) struct Topics {
    pub(super) by_name: HashMap<Rc<str>, TopicIndex, RandomState>,
    pub(super) entries: Table<Topic>,
    pub(super) slices: Slices,
    pub(super) interest: OwnInterest,
    /// The same for those of which much is on its way, so that who feeds them is slowed.
    pub(super) congestion: OwnInterest,
    pub(super) telemetry: Telemetry,
}

/// What is known of the topics, and their coming and going.
impl Topics {
    /// None yet. A turn serves big topics `slice` writes in all, and each may have `max_queue` bytes
    /// on their way.
    pub(crate) fn new(
        slice: usize,
        max_queue: usize,
        (interest, congestion): (OwnInterest, OwnInterest),
        telemetry: Telemetry,
    ) -> Self {
        Self {
            by_name: HashMap::default(),
            entries: Table::default(),
            slices: Slices::new(slice, max_queue),
            interest,
            congestion,
            telemetry,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    pub(crate) fn find(&self, name: &str) -> Option<TopicIndex> {
        self.by_name.get(name).copied()
    }

    /// Every topic.
    pub(crate) fn indices(&self) -> Vec<TopicIndex> {
        self.by_name.values().copied().collect()
    }

    #[inline]
    pub(crate) fn name(&self, index: TopicIndex) -> &Rc<str> {
        &self.entries[index.0 as usize].name
    }

    /// Finds or makes the topic; it stays until as many [`release`](Self::release) have followed.
    pub(crate) fn hold(&mut self, name: &str) -> TopicIndex {
        if let Some(index) = self.find(name) {
            self.entries[index.0 as usize].holders += 1;
            return index;
        }
        let name: Rc<str> = name.into();
        let place = self.entries.insert(Topic::new(name.clone()));
        let index = TopicIndex(u32::try_from(place).expect("topics fit u32"));
        self.by_name.insert(name, index);
        index
    }

    /// Lets go of a topic that was held.
    ///
    /// # Panics
    ///
    /// When it was the last who held it, and somebody still subscribes to it.
    pub(crate) fn release(&mut self, index: TopicIndex) {
        let topic = &mut self.entries[index.0 as usize];
        topic.holders -= 1;
        if topic.holders > 0 {
            return;
        }
        assert!(topic.is_empty(), "a topic nobody holds has no subscribers");
        let topic = self.entries.remove(index.0 as usize);
        self.by_name.remove(&topic.name);
        if self.by_name.capacity() > 64 && self.by_name.len() < self.by_name.capacity() / 4 {
            self.by_name.shrink_to_fit();
        }
    }

    /// Adds a subscriber to a topic that is held, and says at which place.
    pub(crate) fn subscribe(&mut self, index: TopicIndex, subscriber: Subscriber) -> u32 {
        let topic = &mut self.entries[index.0 as usize];
        let position = topic.subscribe(subscriber);
        if position == 0 {
            self.interest.add(&topic.name);
        }
        position
    }

    /// Removes the subscriber at a place.
    pub(crate) fn unsubscribe(&mut self, (index, position): Seat, audience: &mut impl Audience) {
        let topic = &mut self.entries[index.0 as usize];
        let Removed { moved, was_last } = topic.unsubscribe(position);
        if was_last {
            self.interest.remove(&topic.name);
            // What was on its way is for nobody.
            if let Some(fanout) = topic.fanout.take() {
                self.slices.forget(index, fanout.bytes());
                self.mark_congestion(index);
            }
        }
        for Moved { subscriber, from, to } in moved.into_iter().flatten() {
            audience.moved(subscriber, index, from, to);
        }
    }
}

/// Who is to be slowed.
impl Topics {
    /// Whether anything is served in slices, so that it may be too much.
    #[inline]
    pub(crate) fn takes_slices(&self) -> bool {
        !self.slices.is_empty()
    }

    /// Whether so much of a topic is on its way here that who feeds it is to wait.
    pub(crate) fn is_congested(&self, name: &str) -> bool {
        self.find(name).is_some_and(|index| self.entries[index.0 as usize].is_congested)
    }

    /// Marks a topic for all shards to see, when more or less of it is on its way than before.
    pub(super) fn mark_congestion(&mut self, index: TopicIndex) {
        let topic = &mut self.entries[index.0 as usize];
        let bytes = topic.fanout.as_ref().map_or(0, |fanout| fanout.bytes());
        let is_congested = bytes > self.slices.much(topic.is_congested);
        if is_congested != topic.is_congested {
            topic.is_congested = is_congested;
            if is_congested {
                self.congestion.add(&topic.name);
            } else {
                self.congestion.remove(&topic.name);
            }
        }
    }
}

/// For tests.
impl Topics {
    /// Entries of all topics' subscribers.
    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn subscribers(&self) -> usize {
        self.entries.iter().map(|(_, topic)| topic.subscribers().len()).sum()
    }

    /// Parts of the interest table that this shard has marked.
    #[cfg(feature = "testing")]
    pub(crate) fn interests(&self) -> usize {
        self.interest.len()
    }

    /// Topics that are served in slices now, and the bytes of what is on its way.
    #[cfg(feature = "testing")]
    pub(crate) fn fanouts(&self) -> (usize, usize) {
        (self.slices.topics.len(), self.slices.bytes)
    }
}

#[cfg(any(test, debug_assertions))]
impl Topics {
    /// Who stands at a place, if that is one.
    pub(crate) fn at(&self, (index, place): Seat) -> Option<Subscriber> {
        self.entries.get(index.0 as usize)?.at(place)
    }

    /// How many hold a topic.
    pub(crate) fn holders(&self, index: TopicIndex) -> u32 {
        self.entries[index.0 as usize].holders
    }

    /// Asserts what is promised.
    pub(crate) fn check(&self) {
        assert_eq!(self.by_name.len(), self.entries.len(), "topics and their names");
        let (mut bytes, mut wanted) = (0, 0);
        for (name, &index) in &self.by_name {
            let topic = self.entries.get(index.0 as usize).expect("what has a name is there");
            assert_eq!(*name, topic.name);
            assert!(topic.holders > 0, "nobody holds {name}");
            topic.check();
            let waits = usize::from(topic.fanout.is_some());
            assert_eq!(self.slices.count(index), waits, "{name} stands in line if it must");
            wanted += usize::from(!topic.is_empty());
            bytes += topic.fanout.as_ref().map_or(0, |fanout| fanout.bytes());
        }
        assert_eq!(self.slices.bytes, bytes, "what is on its way to the topics");
        self.interest.check(wanted);
        let congested = self.entries.iter().filter(|(_, topic)| topic.is_congested).count();
        self.congestion.check(congested);
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{topics, watcher};

    #[test]
    fn a_topic_lives_as_long_as_it_is_held() {
        let mut topics = topics(usize::MAX);
        let topic = topics.hold("room:1");
        assert_eq!(topics.hold("room:1"), topic);
        topics.release(topic);
        assert_eq!(topics.find("room:1"), Some(topic));
        topics.release(topic);
        assert_eq!((topics.find("room:1"), topics.len()), (None, 0));
    }

    #[test]
    #[should_panic(expected = "a topic nobody holds has no subscribers")]
    fn a_topic_with_subscribers_is_not_let_go_of() {
        let mut topics = topics(usize::MAX);
        let topic = topics.hold("room:1");
        topics.subscribe(topic, watcher(1));
        topics.release(topic);
    }
}
