//! Random programs over the topics, beside an oracle of plain lists: whoever stood in a topic when
//! something was broadcast gets it, once, in its order, and nobody else does.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proptest::prelude::*;
use smallvec::SmallVec;

use super::{Audience, Delivery, Kind, Seat, Subscriber, TopicIndex, Topics};
use crate::message::{Broadcast, Encoding, LineId, Payload, ProcessId};
use crate::shard::lines::Frame;
use crate::shard::links::{Interest, OwnInterest};
use crate::telemetry::{Tally, Telemetry};

/// Topics that send no more than `slice` at once.
pub(super) fn topics(slice: usize) -> Topics {
    let telemetry = Telemetry::new(0, Arc::new(Tally::default()));
    let interest = OwnInterest::new(Arc::new(Interest::new(2)), 0);
    let congestion = OwnInterest::new(Arc::new(Interest::new(2)), 0);
    Topics::new(slice, usize::MAX, (interest, congestion), telemetry)
}

/// A channel that gets messages rather than frames, so that a test can read them. Each is its own
/// client.
pub(super) fn watcher(process: u32) -> Subscriber {
    subscriber(process, Kind::Plain, Encoding::V2)
}

fn subscriber(process: u32, kind: Kind, encoding: Encoding) -> Subscriber {
    let line = LineId::from_bits(process.into());
    Subscriber { line, process, mount: 0, route: 0, kind, encoding }
}

/// Plain lists: where everyone stands, and what each has got.
#[derive(Default)]
struct Crowd {
    seats: HashMap<u32, SmallVec<[Seat; 2]>>,
    got: BTreeMap<u32, Vec<Got>>,
    disconnected: Vec<LineId>,
}

/// A broadcast by its event, or the word of a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Event(String),
    Gap,
}

impl Audience for Crowd {
    fn frame(&mut self, to: Subscriber, frame: &Frame, broadcasts: usize) {
        // Several frames in one are still told apart by their events.
        let text = String::from_utf8_lossy(frame);
        let events = text.split(EVENT).skip(1).filter_map(|rest| Some(rest.split_once(';')?.0));
        let events: Vec<_> = events.map(|number| Got::Event(format!("{EVENT}{number};"))).collect();
        assert_eq!(events.len(), broadcasts, "frames of {} bytes", frame.len());
        self.got.entry(to.process).or_default().extend(events);
    }

    fn mail(&mut self, to: Subscriber, how: Delivery, message: &Broadcast) {
        let got = match how {
            Delivery::Gap => Got::Gap,
            Delivery::Out | Delivery::Broadcast => Got::Event(message.event().to_owned()),
        };
        self.got.entry(to.process).or_default().push(got);
    }

    fn intercepts(&self, _: Subscriber, _: &str) -> bool {
        true
    }

    fn disconnect(&mut self, line: LineId) {
        self.disconnected.push(line);
    }

    fn channels(&mut self, line: LineId) -> SmallVec<[ProcessId; 4]> {
        SmallVec::from_slice(&[id(line.to_bits() as u32)])
    }

    fn seats(&mut self, process: ProcessId) -> SmallVec<[Seat; 2]> {
        self.seats.get(&process.index).cloned().unwrap_or_default()
    }

    fn moved(&mut self, who: Subscriber, topic: TopicIndex, from: u32, to: u32) {
        let seats = self.seats.get_mut(&who.process).expect("only who stands somewhere moves");
        let seat = seats.iter_mut().find(|seat| **seat == (topic, from));
        seat.expect("it stood there").1 = to;
    }

    fn prefetch(&self, _: LineId) {}
}

fn id(process: u32) -> ProcessId {
    ProcessId { index: process, generation: 1 }
}

#[derive(Debug, Clone)]
enum Deed {
    Join { process: u32, topic: usize, kind: usize },
    Leave { process: u32, topic: usize },
    Broadcast { topic: usize, from: Option<u32>, bytes: usize },
    Miss { topic: usize },
    CatchUp { process: u32 },
    Slice,
}

const PROCESSES: u32 = 24;
const TOPICS: usize = 3;

fn deed() -> impl Strategy<Value = Deed> {
    let process = 0..PROCESSES;
    let topic = 0..TOPICS;
    prop_oneof![
        6 => (process.clone(), topic.clone(), 0..4_usize)
            .prop_map(|(process, topic, kind)| Deed::Join { process, topic, kind }),
        3 => (process.clone(), topic.clone())
            .prop_map(|(process, topic)| Deed::Leave { process, topic }),
        4 => (topic.clone(), proptest::option::of(process.clone()), 0..40_000_usize)
            .prop_map(|(topic, from, bytes)| Deed::Broadcast { topic, from, bytes }),
        1 => topic.prop_map(|topic| Deed::Miss { topic }),
        2 => process.prop_map(|process| Deed::CatchUp { process }),
        6 => Just(Deed::Slice),
    ]
}

/// What everyone is to get of each topic, and in how many gaps there was something for nobody.
#[derive(Default)]
struct Oracle {
    /// Who stands in which topic.
    standing: Vec<(u32, usize)>,
    /// By process and topic, in order.
    owed: HashMap<(u32, usize), Vec<String>>,
    gaps: HashMap<(u32, usize), usize>,
}

struct Model {
    topics: Topics,
    crowd: Crowd,
    oracle: Oracle,
    broadcasts: usize,
}

impl Model {
    fn new(slice: usize) -> Self {
        let (crowd, oracle) = (Crowd::default(), Oracle::default());
        Self { topics: topics(slice), crowd, oracle, broadcasts: 0 }
    }

    fn act(&mut self, deed: Deed) {
        match deed {
            Deed::Join { process, topic, kind } => self.join(process, topic, kind),
            Deed::Leave { process, topic } => self.leave(process, topic),
            Deed::Broadcast { topic, from, bytes } => self.broadcast(topic, from, bytes),
            Deed::Miss { topic } => self.miss(topic),
            Deed::CatchUp { process } => {
                self.topics.catch_up(LineId::from_bits(process.into()), &mut self.crowd);
                self.assert_has_all(process);
            }
            Deed::Slice => self.topics.serve_slices(&mut self.crowd),
        }
        self.topics.check();
        for &(process, topic) in &self.oracle.standing {
            self.assert_prefix(process, topic);
        }
    }

    fn join(&mut self, process: u32, topic: usize, kind: usize) {
        if self.oracle.standing.contains(&(process, topic)) {
            return;
        }
        let (kind, encoding) = match kind {
            0 => (Kind::Plain, Encoding::V2),
            1 => (Kind::Intercepting, Encoding::V2),
            2 => (Kind::Fastlane, Encoding::V1),
            _ => (Kind::Fastlane, Encoding::V2),
        };
        let index = self.topics.hold(&name(topic));
        let place = self.topics.subscribe(index, subscriber(process, kind, encoding));
        self.crowd.seats.entry(process).or_default().push((index, place));
        self.oracle.standing.push((process, topic));
    }

    fn leave(&mut self, process: u32, topic: usize) {
        let Some(index) = self.topics.find(&name(topic)) else { return };
        let seats = self.crowd.seats.entry(process).or_default();
        let Some(place) = seats.iter().position(|(held, _)| *held == index) else { return };
        // As a channel does: it gets what was broadcast before.
        self.topics.catch_up(LineId::from_bits(process.into()), &mut self.crowd);
        self.assert_has_all(process);
        let seat = self.crowd.seats.entry(process).or_default().remove(place);
        self.topics.unsubscribe(seat, &mut self.crowd);
        self.topics.release(index);
        self.oracle.standing.retain(|its| *its != (process, topic));
        self.oracle.owed.remove(&(process, topic));
        self.oracle.gaps.remove(&(process, topic));
        let events = |got: &Got| !matches!(got, Got::Event(event) if is_of(event, topic));
        self.crowd.got.entry(process).or_default().retain(events);
    }

    fn broadcast(&mut self, topic: usize, from: Option<u32>, bytes: usize) {
        self.broadcasts += 1;
        let event = format!("{EVENT}{topic}:{};", self.broadcasts);
        let payload = Payload::json(&serde_json::json!({ "x": " ".repeat(bytes) })).expect("JSON");
        let broadcast = Broadcast::new(&name(topic), &event, payload, None);
        self.topics
            .dispatch(&broadcast, from.map(id), &mut self.crowd)
            .expect("there is room, and all can be encoded");
        for &(process, its) in &self.oracle.standing {
            if its == topic && Some(process) != from {
                self.oracle.owed.entry((process, topic)).or_default().push(event.clone());
            }
        }
    }

    fn miss(&mut self, topic: usize) {
        let Some(index) = self.topics.find(&name(topic)) else { return };
        self.topics.tell_gap(index, &Broadcast::bare(&name(topic), "missed"), &mut self.crowd);
        for &(process, its) in &self.oracle.standing {
            if its == topic {
                *self.oracle.gaps.entry((process, topic)).or_default() += 1;
            }
        }
    }

    /// What a process has got of a topic since it stands there.
    fn got(&self, process: u32, topic: usize) -> Vec<&str> {
        let got = self.crowd.got.get(&process).into_iter().flatten();
        got.filter_map(|got| match got {
            Got::Event(event) if is_of(event, topic) => Some(event.as_str()),
            _ => None,
        })
        .collect()
    }

    fn assert_prefix(&self, process: u32, topic: usize) {
        let got = self.got(process, topic);
        let none = Vec::new();
        let owed = self.oracle.owed.get(&(process, topic)).unwrap_or(&none);
        let owed: Vec<_> = owed.iter().map(String::as_str).collect();
        assert!(owed.starts_with(&got), "{process} has got {got:?} of {owed:?}");
    }

    fn assert_has_all(&self, process: u32) {
        for &(its, topic) in &self.oracle.standing {
            if its == process {
                self.assert_prefix(process, topic);
                let owed = self.oracle.owed.get(&(process, topic)).map_or(0, Vec::len);
                assert_eq!(self.got(process, topic).len(), owed, "{process} in topic {topic}");
            }
        }
    }

    /// Lets all that is on its way arrive.
    fn finish(&mut self) {
        let mut turns = 0;
        while self.topics.has_more() {
            self.topics.serve_slices(&mut self.crowd);
            turns += 1;
            assert!(turns < 100_000, "what is on its way never arrives");
        }
        self.topics.check();
        for process in 0..PROCESSES {
            self.assert_has_all(process);
            // One word may stand for several gaps, but not none for any.
            let told = self.crowd.got.get(&process).into_iter().flatten();
            let told = told.filter(|got| **got == Got::Gap).count();
            let standing = self.oracle.gaps.iter().filter(|((its, _), _)| *its == process);
            let (topics, gaps) = standing.fold((0, 0), |(n, sum), (_, gaps)| (n + 1, sum + gaps));
            assert!(told >= topics.min(gaps), "{process} was told of {told} of {gaps} gaps");
        }
        assert!(self.crowd.disconnected.is_empty());
    }
}

/// What events begin with, as nothing else does in a frame.
const EVENT: &str = "event-of:";

fn name(topic: usize) -> String {
    format!("topic:{topic}")
}

/// Whether an event was made for a topic; by its name, which says so.
fn is_of(event: &str, topic: usize) -> bool {
    event.starts_with(&format!("{EVENT}{topic}:"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn everyone_gets_what_was_broadcast_while_he_stood_there_once_and_in_order(
        slice in 1..40_usize,
        deeds in proptest::collection::vec(deed(), 1..200),
    ) {
        let mut model = Model::new(slice);
        for deed in deeds {
            model.act(deed);
        }
        model.finish();
    }
}

/// A socket stands in the topic of its id, and hears nothing but that it is to be closed.
#[test]
fn a_socket_is_disconnected_once_and_gets_nothing() {
    for slice in [1, 100] {
        let mut model = Model::new(slice);
        let topic = model.topics.hold("users:7");
        let socket = Subscriber {
            process: Subscriber::NO_PROCESS,
            ..subscriber(7, Kind::Socket, Encoding::V2)
        };
        for place in 0..3 {
            let line = LineId::from_bits(place.into());
            assert_eq!(model.topics.subscribe(topic, Subscriber { line, ..socket }), place);
        }
        for event in ["other", "disconnect"] {
            let broadcast = Broadcast::bare("users:7", event);
            model.topics.dispatch(&broadcast, None, &mut model.crowd).expect("there is room");
        }
        while model.topics.has_more() {
            model.topics.serve_slices(&mut model.crowd);
        }
        assert_eq!(model.crowd.disconnected.len(), 3, "with slices of {slice}");
        assert!(model.crowd.got.is_empty());
    }
}
