//! Callbacks that fail, panic, hold up their shard, or never end.

use std::time::Duration;

use serde_json::json;
use simurgh::Limits;
use simurgh::testing::raw::{Raw, upgrade};
use simurgh::testing::{ConnectError, Random};

use crate::calm::CROWDED;
use crate::scene::{Scene, in_threads, play};

/// In every callback there is, among the calm and by what the calm say. What never ends is dropped
/// when its client has gone and its time is over.
#[test]
fn callbacks_that_fail_panic_or_never_end_harm_nobody_else() {
    let mut limits = Limits { terminate_timeout: Duration::from_secs(1), ..Limits::default() };
    limits.max_mailbox = 50;
    play(&limits, |scene, random| {
        in_threads(random, |random| {
            for _ in 0..60 {
                if random.chance(20) {
                    fail_to_connect(scene, random);
                } else {
                    visit(scene, random);
                }
            }
        });
        let crashes: u64 = scene.server.counts().iter().map(|shard| shard.crashes).sum();
        assert!(crashes > 0, "nothing has failed");
    });
}

fn fail_to_connect(scene: &Scene, random: &mut Random) {
    let (how, wanted) =
        *random.pick(&[("fail", 500), ("panic", 500), ("refuse", 403)]).expect("there are some");
    let refused = scene.client(random).param("connect", how).connect().unwrap_err();
    match refused {
        ConnectError::Refused { status, .. } => assert_eq!(status, wanted, "connect: {how}"),
        other => panic!("{other}"),
    }
    let mut waiting = Raw::connect(scene.addr(random));
    waiting.send(upgrade("/socket/websocket?vsn=2.0.0&connect=wait"));
    if random.chance(50) {
        waiting.reset();
    }
}

/// A client of channels that do what comes to their minds, and go as they please.
fn visit(scene: &Scene, random: &mut Random) {
    let mut client = scene.client_of("/wild", random).connect().unwrap();
    for _ in 0..1 + random.below(5) {
        let topic = if random.chance(60) { CROWDED } else { "room:wild" };
        client.send_join(topic, json!({"seed": random.next() >> 1}));
        for _ in 0..random.below(5) {
            client.push(topic, "say", json!({"text": "wild"}));
        }
        if random.chance(20) {
            client.leave(topic);
        }
        // Whatever its channels do, the socket goes on.
        client.heartbeat().unwrap();
    }
    match random.below(3) {
        0 => client.reset().unwrap(),
        1 => client.close(),
        _ => {}
    }
}
