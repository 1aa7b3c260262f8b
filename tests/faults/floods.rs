//! Clients that ask for a great deal at once.

use std::time::Duration;

use serde_json::json;
use simurgh::Limits;
use simurgh::testing::raw::{Frame, Raw, get, masked, upgrade};

use crate::calm::CROWDED;
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

/// Five thousand messages in one write filled the queue to the next shard. Everyone there missed some
/// and was thrown out of the room, and so was the one who had said them.
#[test]
fn a_burst_of_messages_costs_nobody_a_message_and_nobody_his_place() {
    play(&Limits::default(), |scene, random| {
        in_threads(random, |random| {
            let mut raw = Raw::open(scene.addr(random));
            let mut burst = masked(0x81, text("join", CROWDED, "phx_join").as_bytes());
            for n in 0..BURST {
                burst.extend(masked(0x81, text(&n.to_string(), CROWDED, "say").as_bytes()));
            }
            raw.send(burst);
            let mut answered = 0;
            while answered <= BURST {
                let frame = String::from_utf8(raw.frame().payload).unwrap();
                assert!(!frame.contains("phx_error"), "{frame}");
                if frame.contains("phx_reply") {
                    assert!(frame.contains(r#""status":"ok""#), "{frame}");
                    answered += 1;
                }
            }
        });
    });
}

/// Channels that crash and are joined again, and joins that are refused, as fast as they are sent.
#[test]
fn a_flood_of_crashes_and_refusals_is_slowed_and_harms_nobody_else() {
    play(&Limits::default(), |scene, random| {
        in_threads(random, |random| {
            let mut raw = Raw::open(scene.addr(random));
            let mut flood = Vec::new();
            for n in 0..60 {
                let topic = format!("room:{n}");
                let refused =
                    format!(r#"["1","refused","{topic}","phx_join",{{"join":"refuse"}}]"#);
                flood.extend(masked(0x81, refused.as_bytes()));
                for event in ["phx_join", "panic"] {
                    flood.extend(masked(0x81, text("1", &topic, event).as_bytes()));
                }
            }
            flood.extend(masked(0x81, text("last", "phoenix", "heartbeat").as_bytes()));
            raw.send(flood);
            while !String::from_utf8(raw.frame().payload).unwrap().contains(r#""last""#) {}
        });
    });
}

fn text(message_ref: &str, topic: &str, event: &str) -> String {
    format!(r#"["1","{message_ref}","{topic}","{event}",{{}}]"#)
}

/// More than the queue between two shards holds.
const BURST: usize = 5_000;
