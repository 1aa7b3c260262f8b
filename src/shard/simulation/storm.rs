//! Everything at once: clients that come, join, shout, crash and vanish while the kernel does its
//! worst, and a few calm ones among them who must not notice.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::Client;
use super::kernel::Faults;
use super::world::World;
use crate::testing::{Random, Seed, Version};
use crate::{Limits, ShardCounts};

/// Runs storms with the seeds of this list and one that nobody has tried; or the one of
/// `SIMURGH_SEED`.
#[test]
fn whoever_is_calm_in_a_storm_notices_nothing_and_nothing_is_left_of_it() {
    if let Some(seed) = Seed::given() {
        storm(&seed);
        return;
    }
    let mut seen = Seen::default();
    for seed in 1..=STORMS {
        seen.add(&storm(&Seed::new(seed)));
    }
    assert!(seen.is_a_storm(), "{seen:?}");
    storm(&Seed::fresh());
}

/// What has happened on a shard, or in all storms.
#[derive(Debug, Default)]
struct Seen([u64; 6]);

impl Seen {
    fn add(&mut self, shards: &[ShardCounts]) {
        for it in shards {
            let seen = [
                it.disconnected,
                it.crashes,
                it.overloaded,
                it.slow_readers,
                it.mesh_pushes,
                it.accepts_failed,
            ];
            self.0.iter_mut().zip(seen).for_each(|(sum, seen)| *sum += seen);
        }
    }

    fn is_a_storm(&self) -> bool {
        self.0.iter().all(|&sum| sum > 0)
    }
}

fn storm(seed: &Seed) -> Vec<ShardCounts> {
    let mut random = seed.random();
    let limits = Limits { max_mailbox: 20, max_send_queue: 32 << 10, ..Limits::default() };
    let (shards, slice) = (1 + random.below(4), 1 + random.below(10));
    let mut world = World::in_slices(shards, limits, random.next(), slice);
    let mut calm: Vec<_> = (0..4).map(|_| Calm::join(&mut world, &mut random)).collect();
    for mut kernel in world.kernels() {
        kernel.faults =
            Faults { cuts: 50, delays: 30, short_sends: 20, stale: 20, failed_accepts: 10 };
    }
    let mut wild = Vec::new();
    for _ in 0..ROUNDS {
        match random.below(10) {
            0 | 1 if wild.len() < 12 => wild.push(Wild::connect(&mut world, &mut random)),
            2 => {
                let one = random.below(calm.len());
                calm[one].act(&mut random);
            }
            3 => disturb(&mut world, &mut random),
            _ => {
                let one = random.below(wild.len().max(1));
                if let Some(client) = wild.get_mut(one) {
                    client.act(&mut random);
                }
            }
        }
        wild.retain_mut(|client| !client.has_gone());
        world.step(random.below(6));
    }

    // The storm is over: all sockets take what they are given, everybody is heard to his end.
    for client in calm.iter_mut().map(|calm| &mut calm.client) {
        client.pipe.borrow_mut().room = None;
    }
    for wild in &mut wild {
        let mut pipe = wild.client.pipe.borrow_mut();
        (pipe.room, pipe.is_mute) = (None, false);
    }
    world.run();
    Calm::check(&mut calm);
    wild.retain_mut(|client| !client.has_gone());
    for client in &mut wild {
        assert!(client.client.is_between_frames(), "half a frame for one who reads");
    }
    for client in calm.iter_mut().map(|calm| &mut calm.client) {
        if random.chance(50) { client.close() } else { client.finish() }
    }
    for client in &mut wild {
        client.leave_for_good(&mut random);
    }
    world.assert_rest();
    for topic in TOPICS.into_iter().chain([CALM]) {
        assert_eq!(world.interested(topic), [0; 0], "shards interested in {topic}");
    }
    (0..world.shards()).map(|shard| world.counts(shard)).collect()
}

/// A client that behaves, and hears all that is shouted on its topic.
struct Calm {
    client: Client,
    echoes: Vec<(String, Value)>,
    shouted: usize,
}

impl Calm {
    fn join(world: &mut World, random: &mut Random) -> Self {
        let version = *random.pick(&Version::ALL).expect("there are two");
        let shard = random.below(world.shards());
        let client = world.join(shard, version, CALM);
        Self { client, echoes: Vec::new(), shouted: 0 }
    }

    fn act(&mut self, random: &mut Random) {
        match random.below(6) {
            0 => {
                let asked = json!({"text": "x".repeat(random.below(300))});
                self.echoes.push((self.client.push(CALM, "echo", asked.clone()), asked));
            }
            1 | 2 => {
                let text = format!("{:p} {}", self.client.pipe, self.shouted);
                self.shouted += 1;
                self.client.push(CALM, "shout", json!({ "text": text }));
            }
            3 => self.client.pipe.borrow_mut().room = Some(random.below(2_000)),
            _ => self.client.pipe.borrow_mut().room = None,
        }
    }

    /// Each has all echoes that he asked for, and from each of them all shouts, in their order.
    fn check(all: &mut [Self]) {
        let mut expected = HashMap::new();
        for one in &*all {
            expected.insert(format!("{:p}", one.client.pipe), one.shouted);
        }
        for one in all {
            assert!(one.client.is_between_frames() && one.client.close_code.is_none());
            for (message_ref, asked) in std::mem::take(&mut one.echoes) {
                assert_eq!(one.client.take_reply(&message_ref).response, asked);
            }
            let mut heard: HashMap<String, usize> = HashMap::new();
            for (event, text) in one.client.take_texts() {
                assert_eq!(event, "shout", "{text}");
                let (who, number) = text.split_once(' ').expect("a name and a number");
                let next = heard.entry(who.to_owned()).or_default();
                assert_eq!(number.parse(), Ok(*next), "of {who}");
                *next += 1;
            }
            for (who, shouted) in &expected {
                assert_eq!(heard.remove(who).unwrap_or(0), *shouted, "shouts of {who}");
            }
            assert_eq!(heard, HashMap::new(), "strangers");
        }
    }
}

/// A client that does whatever comes to its mind.
struct Wild {
    client: Client,
}

impl Wild {
    fn connect(world: &mut World, random: &mut Random) -> Self {
        let version = *random.pick(&Version::ALL).expect("there are two");
        let shard = random.below(world.shards());
        let mut client = world.dial(shard, version);
        match random.below(10) {
            // What follows is no request, so these are closed soon.
            0 => client.send_bytes(b"GET /page HTTP/1.1\r\n\r\n"),
            1 => client.send_bytes(b"GET /sock"),
            2 => client.upgrade("/socket", "&gate=1"),
            3 => client.upgrade("/socket", "&id=users:1&gate=2"),
            4 | 5 => client.upgrade("/socket", "&id=users:1"),
            _ => client.upgrade("/socket", ""),
        }
        for topic in TOPICS {
            if random.chance(60) {
                client.join(topic, json!({}));
            }
        }
        Self { client }
    }

    fn act(&mut self, random: &mut Random) {
        let client = &mut self.client;
        let topic = *random.pick(&TOPICS).expect("there are some");
        let gate = random.below(4).to_string();
        let millis = random.below(3_000);
        match random.below(24) {
            0..=3 => {
                let orders = match random.below(8) {
                    0 => json!({"refuse": true}),
                    1 => json!({"panic": true}),
                    2 => json!({"gate": gate}),
                    3 => json!({"subscribe": *random.pick(&TOPICS).expect("there are some")}),
                    4 => json!({"terminate_gate": gate}),
                    5 => json!({"last_words": [topic, "farewell"]}),
                    6 => json!({"gate": gate, "subscribe": topic, "refuse": random.chance(50)}),
                    _ => json!({}),
                };
                client.join(topic, orders);
            }
            4 => drop(client.push(topic, "phx_leave", json!({}))),
            5..=7 => drop(client.push(topic, "shout", json!({"text": "x".repeat(millis)}))),
            8 => drop(client.push(topic, "shout_to_others", json!({"text": "others"}))),
            9 => drop(client.push(topic, "intercepted", json!({"text": "intercepted"}))),
            10 => {
                drop(client.push(topic, "flood", json!({"count": gate.len() * 9, "size": millis})))
            }
            11 => drop(client.push(topic, "await", json!({ "gate": gate }))),
            12 => drop(client.push(topic, "yield", json!({"times": 3}))),
            13 => drop(client.push(topic, "sleep", json!({ "millis": millis }))),
            14 => drop(client.push(topic, "remind", json!({ "millis": millis }))),
            15 => {
                let text = if random.chance(20) { "panic" } else { "tick" };
                client.push(topic, "repeat", json!({"millis": millis + 100, "text": text}));
            }
            16 => drop(client.push(topic, "introduce", json!({}))),
            17 => drop(client.push(topic, "answer_later", json!({}))),
            18 => {
                let event = *random.pick(&["crash", "panic", "stop"]).expect("there are some");
                client.push(topic, event, json!({}));
            }
            19 => drop(client.heartbeat()),
            20 => client.pipe.borrow_mut().room = Some(millis),
            21 => client.pipe.borrow_mut().room = None,
            22 => client.pipe.borrow_mut().is_mute = random.chance(50),
            _ if random.chance(30) => self.leave_for_good(random),
            _ => {}
        }
    }

    fn leave_for_good(&mut self, random: &mut Random) {
        match random.below(4) {
            0 => self.client.close(),
            1 => self.client.finish(),
            2 => self.client.break_off(),
            // Whoever sends this has lost his mind and is closed with 1002.
            _ => self.client.send_bytes(b"\xff\xff\xff"),
        }
    }

    fn has_gone(&mut self) -> bool {
        self.client.read();
        self.client.is_closed()
    }
}

/// What comes from elsewhere: time, other threads, the application.
fn disturb(world: &mut World, random: &mut Random) {
    let gate = world.app.gate(&random.below(4).to_string());
    match random.below(8) {
        0 => world.pass(Duration::from_millis(random.below(2_000) as u64)),
        1 => thread::spawn(move || gate.ring()).join().expect("it only rings"),
        2 => {
            gate.open();
            gate.close();
        }
        3 => world.handle().disconnect("users:1").expect("there is room"),
        4 => {
            let topic = random.pick(&TOPICS).expect("there are some");
            let text = json!({"text": "from outside"});
            world.handle().broadcast(topic, "shout", text).expect("there is room");
        }
        5 => {
            if let Some(address) = random.pick(&world.app.addresses()) {
                let _ = address.send(super::actor::Note("from outside".to_owned()));
            }
        }
        6 => {
            if let Some(question) = random.pick(&world.app.questions()) {
                question.ok(()).expect("there is room");
            }
        }
        _ => gate.forget(),
    }
}

const STORMS: u64 = 60;
const ROUNDS: usize = 300;
/// Where nobody crashes.
const CALM: &str = "actor:calm";
const TOPICS: [&str; 3] = ["actor:1", "actor:2", "actor:3"];
