//! A topic: a dense array of subscribers, and who stands where.
//!
//! The array has 16-byte entries, so that a fan-out walks memory in order. Each subscriber knows its
//! place, so that leaving is a swap with the last; whoever is moved by it is told its new place. A
//! topic that is just being served in slices has a [`Fanout`], which minds who has been served.

use std::rc::Rc;

use smallvec::SmallVec;

use super::fanout::Fanout;
use super::subscriber::{Kind, Subscriber};
use crate::message::Encoding;

/// A topic, its subscribers, and what is on its way to them.
pub(super) struct Topic {
    pub(super) name: Rc<str>,
    /// Processes that are joining or joined, subscriptions, and sockets whose id it is.
    pub(super) holders: u32,
    subscribers: Vec<Subscriber>,
    /// How many of them take frames past any channel, by encoding.
    fastlanes: SmallVec<[(Encoding, u32); 1]>,
    /// What is on its way to them, if that takes more than a turn.
    pub(super) fanout: Option<Box<Fanout>>,
    /// That is so much that who feeds it is to wait.
    pub(super) is_congested: bool,
}

impl Topic {
    /// One that somebody holds.
    pub(super) fn new(name: Rc<str>) -> Self {
        let (subscribers, fastlanes) = (Vec::new(), SmallVec::new());
        Self { name, holders: 1, subscribers, fastlanes, fanout: None, is_congested: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
    }

    #[inline]
    pub(super) fn subscribers(&self) -> &[Subscriber] {
        &self.subscribers
    }

    /// What is on its way, and to whom.
    #[inline]
    pub(super) fn fanout_and_subscribers(&mut self) -> Option<(&mut Fanout, &mut [Subscriber])> {
        Some((self.fanout.as_deref_mut()?, &mut self.subscribers))
    }

    /// Ends the fan-out: everyone has had everything.
    pub(super) fn end_fanout(&mut self) {
        if let Some(fanout) = self.fanout.take() {
            fanout.end(&mut self.subscribers);
        }
    }

    /// The encodings that some subscriber takes frames in, past his channel.
    pub(super) fn fastlanes(&self) -> impl Iterator<Item = Encoding> {
        self.fastlanes.iter().map(|(encoding, _)| *encoding)
    }

    /// Adds a subscriber and says at which place.
    pub(super) fn subscribe(&mut self, subscriber: Subscriber) -> u32 {
        let Self { subscribers, fanout, .. } = self;
        let position = u32::try_from(subscribers.len()).expect("subscribers fit u32");
        if subscribers.len() == subscribers.capacity() {
            // By half, not by double: with a million subscribers the unused end is real memory.
            subscribers.reserve_exact((subscribers.len() / 2).max(1));
        }
        subscribers.push(subscriber);
        if let Some(fanout) = fanout {
            // What was broadcast before it came is not for it.
            fanout.put_ahead(&mut subscribers[position as usize], position);
        }
        if subscriber.kind == Kind::Fastlane {
            self.count_fastlane(subscriber.encoding);
        }
        position
    }

    /// Removes the subscriber at `position`.
    pub(super) fn unsubscribe(&mut self, position: u32) -> Removed {
        let leaving = self.subscriber(position);
        if leaving.kind == Kind::Fastlane {
            self.discount_fastlane(leaving.encoding);
        }
        let mut moved = [None, None];
        let mut free = position;
        if let Some(last_served) = self.fanout.as_mut().and_then(|fanout| fanout.leave(position)) {
            moved[0] = self.move_subscriber(last_served, free);
            free = last_served;
        }
        let last = u32::try_from(self.subscribers.len() - 1).expect("subscribers fit u32");
        moved[1] = self.move_subscriber(last, free);
        let subscribers = &mut self.subscribers;
        subscribers.pop();
        if subscribers.capacity() > 16 && subscribers.len() < subscribers.capacity() / 4 {
            let room = subscribers.len() * 2;
            subscribers.shrink_to(room);
        }
        Removed { moved, was_last: subscribers.is_empty() }
    }

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

    fn count_fastlane(&mut self, encoding: Encoding) {
        match self.fastlanes.iter_mut().find(|(its, _)| *its == encoding) {
            Some((_, count)) => *count += 1,
            None => self.fastlanes.push((encoding, 1)),
        }
    }

    fn discount_fastlane(&mut self, encoding: Encoding) {
        let place = self.fastlanes.iter().position(|(its, _)| *its == encoding);
        let place = place.expect("it was counted when it came");
        self.fastlanes[place].1 -= 1;
        if self.fastlanes[place].1 == 0 {
            self.fastlanes.swap_remove(place);
        }
    }
}

#[cfg(any(test, debug_assertions))]
impl Topic {
    /// Who stands at a place, with its real kind.
    pub(super) fn at(&self, place: u32) -> Option<Subscriber> {
        ((place as usize) < self.subscribers.len()).then(|| self.subscriber(place))
    }

    /// Asserts that the counts are those of the subscribers, and whoever is ahead is known to be.
    pub(super) fn check(&self) {
        let all = (0..self.subscribers.len()).map(|place| self.subscriber(place as u32));
        let fastlanes: Vec<_> = all.filter(|it| it.kind == Kind::Fastlane).collect();
        let counted: u32 = self.fastlanes.iter().map(|(_, count)| count).sum();
        assert_eq!(fastlanes.len(), counted as usize, "fastlanes of {}", self.name);
        for (encoding, count) in &self.fastlanes {
            let theirs = fastlanes.iter().filter(|it| it.encoding == *encoding).count();
            assert_eq!(theirs, *count as usize, "fastlanes of {} in {encoding:?}", self.name);
        }
        let ahead = self.subscribers.iter().filter(|entry| entry.kind == Kind::Ahead).count();
        let known = self.fanout.as_ref().map_or(0, |fanout| fanout.ahead());
        assert_eq!(ahead, known, "who is ahead in {}", self.name);
    }
}

/// What followed from removing a subscriber.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Removed {
    /// Who stands somewhere else now, in the order in which they moved.
    pub(super) moved: [Option<Moved>; 2],
    /// Nobody is left.
    pub(super) was_last: bool,
}

/// A subscriber that stands somewhere else now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) subscriber: Subscriber,
    pub(super) from: u32,
    pub(super) to: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::LineId;

    fn subscriber(process: u32) -> Subscriber {
        Subscriber {
            line: LineId::from_bits(process.into()),
            process,
            mount: 0,
            route: 0,
            kind: Kind::Fastlane,
            encoding: Encoding::V2,
        }
    }

    #[test]
    fn leaving_moves_the_last_into_the_gap_and_says_so() {
        let mut topic = Topic::new("room:1".into());
        for process in 0..3 {
            assert_eq!(topic.subscribe(subscriber(process)), process);
        }
        let moved = Some(Moved { subscriber: subscriber(2), from: 2, to: 0 });
        let removed = Removed { moved: [None, moved], was_last: false };
        assert_eq!(topic.unsubscribe(0), removed);
        assert_eq!(topic.unsubscribe(1).moved, [None, None]);
        assert!(topic.unsubscribe(0).was_last);
    }
}
