//! What the hub promises, asserted.

use std::collections::HashMap;

use super::hub::Hub;
use super::process::Status;
use crate::shard::topics::TopicIndex;

impl Hub {
    /// Asserts what the owners promise, each by itself and together, between two turns.
    pub(crate) fn check(&mut self) {
        self.topics.check();
        self.lines.check();
        let mut holders = HashMap::<TopicIndex, u32>::new();
        let mut seats = 0;
        let Self { channels, topics, .. } = self;
        for (place, session) in channels.sessions.iter() {
            for &(topic, id) in &session.channels {
                let process = channels.processes.at_place(id.index).expect("it has its process");
                assert_eq!((process.session, process.line), (place, session.line), "its session");
                assert_eq!(process.topic, topic, "the topic of {id:?}");
            }
            if let Some(seat) = session.id {
                let who = topics.at(seat).expect("a socket stands where it thinks");
                assert_eq!(who.line, session.line, "a socket in the topic of its id");
                *holders.entry(seat.0).or_default() += 1;
                seats += 1;
            }
        }
        let mut ready = 0;
        for (id, process) in channels.processes.iter() {
            for seat in process.seats() {
                let who = topics.at(seat).expect("a process stands where it thinks");
                assert_eq!((who.line, who.process), (process.line, id.index), "at {seat:?}");
                seats += 1;
            }
            let subscriptions = process.rare.iter().flat_map(|rare| &rare.subscriptions);
            for topic in subscriptions.map(|seat| seat.0).chain([process.topic]) {
                *holders.entry(topic).or_default() += 1;
            }
            let in_line = channels.ready.iter().filter(|its| **its == id).count();
            assert_eq!(in_line, usize::from(process.is_ready), "{id:?} in line");
            ready += in_line;
            if process.is_resting() && process.status == Status::Joined {
                let has_more = !process.mailbox.is_empty() || process.is_ending();
                assert!(!has_more || process.is_ready, "{id:?} rests with mail");
            }
            let timers =
                process.rare.iter().flat_map(|rare| rare.timers.iter().chain(&rare.overdue));
            assert!(timers.into_iter().all(|timer| channels.timers.has(*timer)), "{id:?}'s timers");
        }
        assert!(channels.ready.len() >= ready && channels.behind.is_empty());
        assert_eq!(topics.subscribers(), seats, "whoever stands in a topic knows it");
        for topic in topics.indices() {
            let held = holders.get(&topic).copied().unwrap_or_default();
            assert_eq!(topics.holders(topic), held, "holders of {}", topics.name(topic));
        }
    }
}
