//! Clients that vanish.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use simurgh::Limits;
use simurgh::testing::raw::{Raw, get, upgrade};
use simurgh::testing::{Client, Error, Holdings, Random, Server};

use crate::app::{self, App};
use crate::calm::CROWDED;
use crate::scene::{Scene, alone, in_threads, play};

/// They come, join, listen and talk for a while and vanish, in every way there is, while what they
/// and others say is on its way to all of them.
#[test]
fn a_thousand_disconnects_in_a_storm_cost_nobody_else_a_message() {
    play(&Limits::default(), |scene, random| {
        let left = AtomicUsize::new(DISCONNECTS);
        in_threads(random, |random| {
            let mut present = Vec::new();
            while is_one_left(&left) {
                if random.chance(20) {
                    vanish_early(scene, random);
                    continue;
                }
                present.push(Visit::begin(scene, random));
                if present.len() > CROWD {
                    let one = random.below(present.len());
                    present.swap_remove(one).vanish(scene, random);
                }
            }
            present.drain(..).for_each(|visit| visit.vanish(scene, random));
        });
    });
}

/// A connection's entry in the wheel of deadlines outlives it. When its second has come it is gone
/// too, and then nothing at all is left.
#[test]
fn what_is_left_of_the_vanished_is_gone_when_their_time_would_have_come() {
    let limits = Limits {
        head_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(1),
        close_timeout: Duration::from_secs(1),
        ..Limits::default()
    };
    let _alone = alone();
    for shards in [1, 4] {
        let server = Server::start(app::endpoint(&App::default()).limits(limits.clone()), shards);
        for n in 0..20 * shards {
            let mut client = Client::connect(server.addr(n % shards), "/socket").unwrap();
            client.join(CROWDED, json!({})).unwrap();
            match n % 3 {
                0 => client.reset().unwrap(),
                1 => client.close(),
                _ => {}
            }
        }
        server.await_holdings(|shards| shards.iter().all(|held| *held == Holdings::default()));
        server.stop();
    }
}

fn is_one_left(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

/// Comes, and vanishes before there is a socket.
fn vanish_early(scene: &Scene, random: &mut Random) {
    let mut raw = Raw::connect(scene.addr(random));
    let waiting = upgrade("/socket/websocket?vsn=2.0.0&connect=wait");
    let request = match random.below(4) {
        0 => String::new(),
        1 => get("/", &[]),
        2 => upgrade("/socket/websocket?vsn=2.0.0"),
        _ => waiting,
    };
    let end = if random.chance(50) { request.len() } else { random.below(request.len() + 1) };
    // Nobody hangs up on him.
    raw.send(&request[..end]);
    if random.chance(50) {
        raw.reset();
    }
}

/// One client, for as long as it stays.
struct Visit {
    client: Client,
    id: String,
}

impl Visit {
    fn begin(scene: &Scene, random: &mut Random) -> Self {
        let id = format!("visitor:{}", random.below(1_000_000));
        let mut client = scene.client(random).param("id", &id).connect().expect("it is let in");
        client.send_join(CROWDED, json!({}));
        if random.chance(50) {
            let topic = format!("room:{}", random.below(5));
            let how = *random.pick(&["", "refuse", "wait"]).expect("there are three");
            client.send_join(&topic, json!({ "join": how }));
        }
        if random.chance(50) {
            client.heartbeat().expect("it is answered");
        }
        for _ in 0..random.below(4) {
            client.push(CROWDED, "say", json!({"text": "x".repeat(random.below(500))}));
        }
        Self { client, id }
    }

    fn vanish(mut self, scene: &Scene, random: &mut Random) {
        match random.below(8) {
            0 => {}
            1 => {
                self.client.shut_down();
                if random.chance(50) {
                    read_to_the_end(&mut self.client);
                }
            }
            2 => self.client.close(),
            3 => {
                self.client.close();
                read_to_the_end(&mut self.client);
                self.client.closed().expect("a Close is answered");
            }
            // A frame of 100 bytes, of which three come behind its mask.
            4 => self.client.send_bytes(&[0x81, 0x80 | 100, 1, 2, 3, 4, 5, 6, 7]),
            5 => {
                for _ in 0..random.below(20) {
                    self.client.push(CROWDED, "say", json!({"text": "the last words"}));
                }
            }
            6 => {
                self.client.send_join("room:waiting", json!({"join": "wait"}));
                if random.chance(50) {
                    // The join is under way when the answer to this has come.
                    self.client.heartbeat().expect("it is answered");
                }
            }
            _ => {
                scene.server.handle().disconnect(&self.id).expect("there is room");
                if random.chance(50) {
                    read_to_the_end(&mut self.client);
                    assert_eq!(self.client.closed().expect("it is closed"), Some(1001));
                }
            }
        }
        if random.chance(50) {
            self.client.reset().expect("a socket can be told how to end");
        }
    }
}

/// What is under way to a client that has said its last, and the end.
fn read_to_the_end(client: &mut Client) {
    let end = loop {
        if let Err(error) = client.next() {
            break error;
        }
    };
    assert!(!matches!(end, Error::TimedOut { .. }), "the server does not end it: {end}");
}

/// So many in each scene.
const DISCONNECTS: usize = 1_000;
/// How many are there at once, of each thread's: so many that their rooms are served in slices.
const CROWD: usize = 40;
