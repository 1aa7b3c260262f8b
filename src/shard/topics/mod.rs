//! The topic table: who on this shard gets what is broadcast on a topic.
//!
//! Subscribers of a topic are a dense array of 16-byte entries, so that a fan-out walks memory in
//! order. Each subscriber knows its place in the array, so that leaving is a swap with the last;
//! whoever is moved by it is told its new place. A topic that is just being served in slices has a
//! [`Fanout`], which minds who has been served.

pub(crate) mod broadcast;
pub(crate) mod fanout;
pub(crate) mod slices;

use std::collections::HashMap;
use std::hash::RandomState;
use std::rc::Rc;

use crate::io::ConnectionId;
use crate::protocol::phoenix::Version;
use crate::shard::table::Table;
use crate::shard::topics::fanout::Fanout;

/// A topic of this shard, for as long as somebody holds it (see [`Topics::hold`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TopicIndex(u32);

/// One entry of a topic's array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subscriber {
    /// The connection that gets the frame, or whose channel gets the broadcast.
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
    /// One of the above, of which the topic's [`Fanout`] says more: it has had broadcasts, or is not
    /// to have some, that others are still to get.
    Ahead,
}

/// The topics of one shard.
pub(crate) struct Topics {
    by_name: HashMap<Rc<str>, TopicIndex, RandomState>,
    entries: Table<Topic>,
}

struct Topic {
    name: Rc<str>,
    /// Processes that are joining or joined, and subscriptions.
    holders: u32,
    subscribers: Vec<Subscriber>,
    /// How many of them take frames of each version, past any channel.
    fastlanes: [u32; 2],
    /// What is on its way to them, if that takes more than a turn.
    fanout: Option<Box<Fanout>>,
}

impl Topics {
    pub(crate) fn new() -> Self {
        Self { by_name: HashMap::default(), entries: Table::default() }
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

    pub(crate) fn subscribers_mut(&mut self, index: TopicIndex) -> &mut [Subscriber] {
        &mut self.entries[index.0 as usize].subscribers
    }

    /// Whether some subscriber takes frames of this version, past his channel.
    pub(crate) fn has_fastlane(&self, index: TopicIndex, version: Version) -> bool {
        self.entries[index.0 as usize].fastlanes[version as usize] > 0
    }

    /// What is on its way to the subscribers, beyond this turn.
    pub(crate) fn fanout(&mut self, index: TopicIndex) -> &mut Option<Box<Fanout>> {
        &mut self.entries[index.0 as usize].fanout
    }

    /// Finds or makes the topic; it stays until as many [`release`](Self::release) have followed.
    pub(crate) fn hold(&mut self, name: &str) -> TopicIndex {
        if let Some(index) = self.find(name) {
            self.entries[index.0 as usize].holders += 1;
            return index;
        }
        let name: Rc<str> = name.into();
        let entry = Topic {
            name: name.clone(),
            holders: 1,
            subscribers: Vec::new(),
            fastlanes: [0; 2],
            fanout: None,
        };
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
        let Topic { subscribers, fastlanes, fanout, .. } = &mut self.entries[index.0 as usize];
        let position = u32::try_from(subscribers.len()).expect("subscribers fit u32");
        if subscribers.len() == subscribers.capacity() {
            // By half, not by double: with a million subscribers the unused end is real memory.
            subscribers.reserve_exact((subscribers.len() / 2).max(1));
        }
        subscribers.push(subscriber);
        if subscriber.kind == Kind::Fastlane {
            fastlanes[subscriber.version as usize] += 1;
        }
        if let Some(fanout) = fanout {
            // What was broadcast before it came is not for it.
            fanout.put_ahead(&mut subscribers[position as usize], position);
        }
        (position, position == 0)
    }

    /// Removes the subscriber at `position`.
    pub(crate) fn unsubscribe(&mut self, index: TopicIndex, position: u32) -> Removed {
        let topic = &mut self.entries[index.0 as usize];
        let leaving = topic.subscriber(position);
        if leaving.kind == Kind::Fastlane {
            topic.fastlanes[leaving.version as usize] -= 1;
        }
        let mut moved = [None, None];
        let mut free = position;
        if let Some(last_served) = topic.fanout.as_mut().and_then(|fanout| fanout.leave(position)) {
            moved[0] = topic.move_subscriber(last_served, free);
            free = last_served;
        }
        let last = u32::try_from(topic.subscribers.len() - 1).expect("subscribers fit u32");
        moved[1] = topic.move_subscriber(last, free);
        let subscribers = &mut topic.subscribers;
        subscribers.pop();
        if subscribers.capacity() > 16 && subscribers.len() < subscribers.capacity() / 4 {
            let room = subscribers.len() * 2;
            subscribers.shrink_to(room);
        }
        Removed { moved, was_last: subscribers.is_empty() }
    }
}

impl Topic {
    /// The subscriber at this place, with its real kind.
    fn subscriber(&self, place: u32) -> Subscriber {
        let entry = self.subscribers[place as usize];
        let kind = self.fanout.as_ref().map_or(entry.kind, |fanout| fanout.kind(entry, place));
        Subscriber { kind, ..entry }
    }

    fn move_subscriber(&mut self, from: u32, to: u32) -> Option<Moved> {
        if from == to {
            return None;
        }
        self.subscribers[to as usize] = self.subscribers[from as usize];
        if let Some(fanout) = &mut self.fanout {
            fanout.moved(from, to);
        }
        Some(Moved { subscriber: self.subscriber(to), from, to })
    }
}

/// What followed from removing a subscriber.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Removed {
    /// Who stands somewhere else now, in the order in which they moved.
    pub(crate) moved: [Option<Moved>; 2],
    /// Nobody is left.
    pub(crate) was_last: bool,
}

/// A subscriber that stands somewhere else now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) subscriber: Subscriber,
    pub(crate) from: u32,
    pub(crate) to: u32,
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
        let moved = Some(Moved { subscriber: subscriber(2), from: 2, to: 0 });
        let removed = Removed { moved: [None, moved], was_last: false };
        assert_eq!(topics.unsubscribe(topic, 0), removed);
        assert_eq!(topics.unsubscribe(topic, 1).moved, [None, None]);
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
