//! Clients that ask for a great deal at once.

use std::time::Duration;

use serde_json::json;
use simurgh::Limits;
use simurgh::testing::raw::{Frame, Raw, get, masked, upgrade};

use crate::scene::{in_threads, play};

/// A hundred topics a client, which is as many as one may have; some are refused and some wait for
/// ever, and whoever can be answered is.
#[test]
fn a_flood_of_joins_is_answered_and_harms_nobody_else() {
    play(&Limits::default(), |scene, random| {
        in_threads(random, |random| {
            for _ in 0..8 {
                let mut client = scene.client(random).connect().unwrap();
                let asked: Vec<_> = (0..100)
                    .map(|n| {
                        let how =
                            *random.pick(&["", "", "refuse", "wait"]).expect("there are some");
                        // Shared with the others, or its own.
                        let n = if random.chance(50) { n } else { 100 + random.below(1 << 40) };
                        (client.send_join(&format!("room:{n}"), json!({ "join": how })), how)
                    })
                    .collect();
                for (message_ref, how) in asked.iter().filter(|(_, how)| *how != "wait") {
                    let reply = client.reply(message_ref).unwrap();
                    assert_eq!(reply.is_ok(), how.is_empty(), "a join that is to be {how:?}");
                }
                client.heartbeat().unwrap();
                if random.chance(30) {
                    client.reset().unwrap();
                }
            }
        });
    });
}

/// Every ping has its pong, in order, and what needs no answer has none.
#[test]
fn a_flood_of_control_frames_and_empty_fragments_harms_nobody_else() {
    play(&Limits::default(), |scene, random| {
        in_threads(random, |random| {
            let mut raw = Raw::open(scene.addr(random));
            // A heartbeat that is cut, with nothing at all between its parts.
            let heartbeat = br#"[null,"1","phoenix","heartbeat",{}]"#;
            let (first, last) = heartbeat.split_at(random.below(heartbeat.len()));
            raw.send(masked(0x01, first));
            for batch in 0..20u8 {
                let number = [batch];
                raw.send(masked(0x89, &number).repeat(100));
                raw.send(masked(0x8a, b"nobody asked").repeat(100));
                raw.send(masked(0x00, b"").repeat(100));
                for _ in 0..100 {
                    assert_eq!(raw.frame(), Frame::pong(&number));
                }
            }
            raw.send(masked(0x80, last));
            let reply = r#"[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]"#;
            assert_eq!(raw.frame(), Frame::text(reply));
        });
    });
}

/// They connect and ask nothing, or never finish asking. The oldest go when there are too many, and
/// the rest when their time is over.
#[test]
fn a_flood_of_connections_that_ask_nothing_harms_nobody_else() {
    let mut limits = Limits { head_timeout: Duration::from_secs(1), ..Limits::default() };
    limits.max_handshakes = 64;
    play(&limits, |scene, random| {
        in_threads(random, |random| {
            let mut silent: Vec<_> = (0..150)
                .map(|_| {
                    let mut raw = Raw::connect(scene.addr(random));
                    let request = match random.below(4) {
                        0 => upgrade("/socket/websocket?vsn=2.0.0"),
                        1 => get("/", &[]),
                        _ => String::new(),
                    };
                    // All but its end, at most; and it may have been hung up on.
                    let end = random.below(request.len().max(1));
                    let _ = raw.try_send(&request.as_bytes()[..end]);
                    raw
                })
                .collect();
            // Nothing but the server ends them.
            for raw in &mut silent {
                raw.drain();
            }
        });
    });
}
