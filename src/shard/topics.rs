//! The topic table: who on this shard gets what is broadcast on a topic.
//!
//! Subscribers of a topic are a dense array of 16-byte entries, so that a fan-out walks memory in
//! order. Each subscriber knows its place in the array, so that leaving is a swap with the last;
//! whoever is moved by it is told its new place.

use std::collections::HashMap;
use std::hash::RandomState;
use std::rc::Rc;

use slab::Slab;

use crate::io::ConnectionId;
use crate::protocol::phoenix::Version;

/// A topic of this shard, for as long as somebody holds it (see [`Topics::hold`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TopicIndex(u32);

/// One entry of a topic's array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subscriber {
    /// The connection that gets the frame; of no meaning for [`Kind::Plain`].
    pub(crate) connection: ConnectionId,
    /// The process in its table; of no meaning for [`Kind::Socket`].
    pub(crate) process: u32,
    pub(crate) mount: u8,
    pub(crate) route: u8,
    pub(crate) kind: Kind,
    pub(crate) version: Version,
}

/// How a subscriber takes a broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A joined channel: the finished frame goes to its connection, past the channel.
    Fastlane,
    /// The same, but the channel intercepts some events.
    Intercepting,
    /// A channel that subscribed to a topic besides its own: its callback gets it.
    Plain,
    /// A socket, subscribed to its id: the event `disconnect` closes it.
    Socket,
}

/// The topics of one shard.
pub(crate) struct Topics {
    by_name: HashMap<Rc<str>, TopicIndex, RandomState>,
    entries: Slab<Topic>,
}

struct Topic {
    name: Rc<str>,
    /// Processes that are joining or joined, and subscriptions.
    holders: u32,
    subscribers: Vec<Subscriber>,
}

impl Topics {
    pub(crate) fn new() -> Self {
        Self { by_name: HashMap::default(), entries: Slab::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn find(&self, name: &str) -> Option<TopicIndex> {
        self.by_name.get(name).copied()
    }

    /// Every topic.
    pub(crate) fn indices(&self) -> Vec<TopicIndex> {
        self.by_name.values().copied().collect()
    }

    pub(crate) fn name(&self, index: TopicIndex) -> &Rc<str> {
        &self.entries[index.0 as usize].name
    }

    pub(crate) fn subscribers(&self, index: TopicIndex) -> &[Subscriber] {
        &self.entries[index.0 as usize].subscribers
    }

    /// Finds or makes the topic; it stays until as many [`release`](Self::release) have followed.
    pub(crate) fn hold(&mut self, name: &str) -> TopicIndex {
        if let Some(index) = self.find(name) {
            self.entries[index.0 as usize].holders += 1;
            return index;
        }
        let name: Rc<str> = name.into();
        let entry = Topic { name: name.clone(), holders: 1, subscribers: Vec::new() };
        let index = TopicIndex(u32::try_from(self.entries.insert(entry)).expect("topics fit u32"));
        self.by_name.insert(name, index);
        index
    }

    pub(crate) fn release(&mut self, index: TopicIndex) {
        let topic = &mut self.entries[index.0 as usize];
        topic.holders -= 1;
        if topic.holders > 0 {
            return;
        }
        assert!(topic.subscribers.is_empty(), "a topic nobody holds has no subscribers");
        let topic = self.entries.remove(index.0 as usize);
        self.by_name.remove(&topic.name);
        if self.by_name.capacity() > 64 && self.by_name.len() < self.by_name.capacity() / 4 {
            self.by_name.shrink_to_fit();
        }
    }

    /// Adds a subscriber and says at which place. True: it is the topic's first.
    pub(crate) fn subscribe(&mut self, index: TopicIndex, subscriber: Subscriber) -> (u32, bool) {
        let subscribers = &mut self.entries[index.0 as usize].subscribers;
        let position = u32::try_from(subscribers.len()).expect("subscribers fit u32");
        if subscribers.len() == subscribers.capacity() {
            // By half, not by double: with a million subscribers the unused end is real memory.
            subscribers.reserve_exact((subscribers.len() / 2).max(1));
        }
        subscribers.push(subscriber);
        (position, position == 0)
    }

    /// Removes the subscriber at `position`.
    pub(crate) fn unsubscribe(&mut self, index: TopicIndex, position: u32) -> Removed {
        let subscribers = &mut self.entries[index.0 as usize].subscribers;
        subscribers.swap_remove(position as usize);
        if subscribers.capacity() > 16 && subscribers.len() < subscribers.capacity() / 4 {
            let room = subscribers.len() * 2;
            subscribers.shrink_to(room);
        }
        Removed {
            moved: subscribers.get(position as usize).copied(),
            from: u32::try_from(subscribers.len()).expect("subscribers fit u32"),
            was_last: subscribers.is_empty(),
        }
    }
}

/// What followed from removing a subscriber.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Removed {
    /// Who stands now at the place of the removed one…
    pub(crate) moved: Option<Subscriber>,
    /// …and where it stood before.
    pub(crate) from: u32,
    /// Nobody is left.
    pub(crate) was_last: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscriber(process: u32) -> Subscriber {
        Subscriber {
            connection: ConnectionId::new(0, process as usize, 1),
            process,
            mount: 0,
            route: 0,
            kind: Kind::Fastlane,
            version: Version::V2,
        }
    }

    #[test]
    fn a_subscriber_is_sixteen_bytes() {
        assert_eq!(size_of::<Subscriber>(), 16);
    }

    #[test]
    fn leaving_moves_the_last_into_the_gap_and_says_so() {
        let mut topics = Topics::new();
        let topic = topics.hold("room:1");
        for process in 0..3 {
            assert_eq!(topics.subscribe(topic, subscriber(process)), (process, process == 0));
        }
        let removed = topics.unsubscribe(topic, 0);
        assert_eq!(removed, Removed { moved: Some(subscriber(2)), from: 2, was_last: false });
        assert_eq!(topics.unsubscribe(topic, 1).moved, None);
        assert!(topics.unsubscribe(topic, 0).was_last);
    }

    #[test]
    fn a_topic_lives_as_long_as_it_is_held() {
        let mut topics = Topics::new();
        let topic = topics.hold("room:1");
        assert_eq!(topics.hold("room:1"), topic);
        topics.release(topic);
        assert_eq!(topics.find("room:1"), Some(topic));
        topics.release(topic);
        assert_eq!((topics.find("room:1"), topics.len()), (None, 0));
    }
}
