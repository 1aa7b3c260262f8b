//! Clients that vanish.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use simurgh::Limits;
use simurgh::testing::{Client, Random};

use crate::calm::CROWDED;
use crate::scene::{Scene, play};

/// They come, join, listen and talk for a while and vanish, in every way there is, while what they
/// and others say is on its way to all of them.
#[test]
fn a_thousand_disconnects_in_a_storm_cost_nobody_else_a_message() {
    play(&Limits::default(), |scene, random| {
        let left = AtomicUsize::new(DISCONNECTS);
        std::thread::scope(|scope| {
            for mut random in (0..THREADS).map(|_| Random::new(random.next())) {
                let left = &left;
                scope.spawn(move || {
                    let mut present = Vec::new();
                    while is_one_left(left) {
                        present.extend(Visit::begin(scene, &mut random));
                        if present.len() > CROWD {
                            let one = random.below(present.len());
                            present.swap_remove(one).vanish(scene, &mut random);
                        }
                    }
                    present.drain(..).for_each(|visit| visit.vanish(scene, &mut random));
                });
            }
        });
    });
}

fn is_one_left(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

/// One client, for as long as it stays.
struct Visit {
    client: Client,
    id: String,
}

impl Visit {
    /// Comes, unless it is turned away or goes before it is let in.
    fn begin(scene: &Scene, random: &mut Random) -> Option<Self> {
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
        for _ in 0..random.below(3) {
            client.push(CROWDED, "say", json!({"text": "x".repeat(random.below(500))}));
        }
        Some(Self { client, id })
    }

    fn vanish(mut self, scene: &Scene, random: &mut Random) {
        let gone = match random.below(8) {
            0 => self.client.reset(),
            1 => {
                self.client.shut_down();
                Ok(())
            }
            2 => {
                self.client.close();
                Ok(())
            }
            3 => {
                self.client.close();
                while self.client.next().is_ok() {}
                self.client.closed().expect("a Close is answered");
                Ok(())
            }
            4 => {
                // A frame of 100 bytes, of which three come.
                self.client.send_bytes(&[0x81, 0x80 | 100, 1, 2, 3, 4, 5, 6, 7]);
                if random.chance(50) { self.client.reset() } else { Ok(()) }
            }
            5 => {
                for _ in 0..random.below(20) {
                    self.client.push(CROWDED, "say", json!({"text": "the last words"}));
                }
                self.client.reset()
            }
            6 => {
                self.client.send_join("room:waiting", json!({"join": "wait"}));
                if random.chance(50) { self.client.reset() } else { Ok(()) }
            }
            _ => {
                scene.server.handle().disconnect(&self.id).expect("there is room");
                Ok(())
            }
        };
        gone.expect("a socket can be told how to end");
    }
}

/// So many in each scene.
const DISCONNECTS: usize = 1_000;
/// Who come and go side by side.
const THREADS: usize = 3;
/// How many are there at once, of each thread's.
const CROWD: usize = 15;
