//! Messages in binary frames, byte by byte.

use serde_json::json;
use simurgh::testing::{Client, Server, Version};

use crate::app::{self, App, connect};
use crate::support::{Frame, Raw, masked};

/// Opened, and joined to `room:a` with the join_ref `j` in V2.
fn joined(server: &Server, shard: usize) -> Raw {
    let mut raw = Raw::open(server.addr(shard));
    raw.send_text(r#"["j","1","room:a","phx_join",{}]"#);
    assert_eq!(raw.frame(), Frame::text(&reply("\"j\"", "1")));
    raw
}

fn reply(join_ref: &str, message_ref: &str) -> String {
    let ok = r#"{"status":"ok","response":{}}"#;
    format!(r#"[{join_ref},"{message_ref}","room:a","phx_reply",{ok}]"#)
}

fn binary(payload: &[u8]) -> Frame {
    Frame { first: 0x82, payload: payload.to_vec() }
}

/// A client's push.
fn push(join_ref: &str, message_ref: &str, topic: &str, event: &str, payload: &[u8]) -> Vec<u8> {
    let fields = [join_ref, message_ref, topic, event];
    let sizes = fields.map(|field| u8::try_from(field.len()).expect("a byte"));
    let bytes = [&[0][..], &sizes, fields.concat().as_bytes(), payload].concat();
    masked(0x82, &bytes)
}

#[test]
// shows: binary.push-has-four-sizes, binary.channel-knows-it-is-binary,
//   binary.reply-form-is-the-responses, binary.reply-layout
fn a_push_is_answered_in_the_form_of_its_response() {
    let server = app::start(&App::default());
    let mut raw = joined(&server, 0);
    raw.send(masked(0x82, b"\x00\x01\x01\x06\x09j2room:ais_binary\x01\x02\x03"));
    let response = r#"{"status":"ok","response":{"binary":true,"size":3}}"#;
    let text = format!(r#"["j","2","room:a","phx_reply",{response}]"#);
    assert_eq!(raw.frame(), Frame::text(&text));
    raw.send(push("j", "3", "room:a", "echo", b"\x04\x05"));
    assert_eq!(raw.frame(), binary(b"\x01\x01\x01\x06\x02j3room:aok\x04\x05"));
    raw.send(push("j", "4", "room:a", "echo", b""));
    assert_eq!(raw.frame(), binary(b"\x01\x01\x01\x06\x02j4room:aok"));
    // Text may be answered in binary, and is JSON.
    raw.send_text(r#"["j","5","room:a","reply_binary",{}]"#);
    assert_eq!(raw.frame(), binary(b"\x01\x01\x01\x06\x02j5room:aok\x04\x05"));
    raw.send_text(r#"["j","6","room:a","is_binary",{}]"#);
    let text = text.replace("true", "false").replace("3", "2").replace("\"2\"", "\"6\"");
    assert_eq!(raw.frame(), Frame::text(&text));
    drop(raw);
    server.await_rest();
}

#[test]
// shows: binary.server-push-has-three-sizes, binary.broadcast-layout
fn pushes_and_broadcasts_have_no_ref() {
    for shards in [1, 4] {
        let server = Server::start(app::endpoint(&App::default()), shards);
        let (mut sender, mut other) = (joined(&server, 0), joined(&server, shards - 1));
        sender.send(push("j", "2", "room:a", "push", b"\x01\x02\x03"));
        assert_eq!(sender.frame(), binary(b"\x00\x01\x06\x06jroom:apushed\x01\x02\x03"));
        sender.send(push("j", "3", "room:a", "broadcast", b"\x01\x02\x03"));
        let broadcast = binary(b"\x02\x06\x04room:asaid\x01\x02\x03");
        assert_eq!(sender.frame(), broadcast);
        assert_eq!(sender.frame(), Frame::text(&reply("\"j\"", "3")));
        assert_eq!(other.frame(), broadcast);
        drop((sender, other));
        server.await_rest();
    }
}

#[test]
// shows: binary.empty-join-ref-is-stale, binary.empty-ref-comes-back-empty
fn an_empty_ref_is_a_string() {
    let server = app::start(&App::default());
    let mut raw = joined(&server, 0);
    raw.send(push("", "2", "room:a", "echo", b"\x01"));
    raw.send(push("j", "", "room:a", "echo", b"\x02"));
    assert_eq!(raw.frame(), binary(b"\x01\x01\x00\x06\x02jroom:aok\x02"));
    raw.send(push("j", "", "room:a", "is_binary", b""));
    let response = r#"{"status":"ok","response":{"binary":true,"size":0}}"#;
    let text = format!(r#"["j","","room:a","phx_reply",{response}]"#);
    assert_eq!(raw.frame(), Frame::text(&text));
    drop(raw);
    server.await_rest();
}

#[test]
// shows: binary.join, binary.join-reply, binary.heartbeat
fn a_join_and_a_heartbeat_may_be_binary() {
    let server = app::start(&App::default());
    let mut raw = Raw::open(server.addr(0));
    // The room replies with what it was joined with.
    raw.send(push("j", "1", "room:a", "phx_join", b"\x07\x08"));
    assert_eq!(raw.frame(), binary(b"\x01\x01\x01\x06\x02j1room:aok\x07\x08"));
    raw.send(push("", "2", "phoenix", "heartbeat", b"\xff"));
    let ok = r#"{"status":"ok","response":{}}"#;
    assert_eq!(raw.frame(), Frame::text(&format!(r#"[null,"2","phoenix","phx_reply",{ok}]"#)));
    raw.send(push("j", "3", "room:a", "phx_leave", b""));
    assert_eq!(raw.frame(), Frame::text(&reply("\"j\"", "3")));
    assert_eq!(raw.frame(), Frame::text(r#"["j","j","room:a","phx_close",{}]"#));
    drop(raw);
    server.await_rest();
}

#[test]
// shows: binary.refs-become-text, binary.null-ref-is-empty
fn refs_that_are_no_strings_become_their_text() {
    let server = app::start(&App::default());
    for value in ["7", "1.5", "true"] {
        let mut raw = Raw::open(server.addr(0));
        raw.send_text(&format!(r#"[{value},"1","room:a","phx_join",{{}}]"#));
        raw.frame();
        let size = value.len() as u8;
        for (message_ref, text) in [("8", "8"), ("null", "")] {
            raw.send_text(&format!(r#"[{value},{message_ref},"room:a","reply_binary",{{}}]"#));
            let header = [1, size, text.len() as u8, 6, 2];
            let fields = format!("{value}{text}room:aok");
            assert_eq!(raw.frame(), binary(&[&header, fields.as_bytes(), b"\x04\x05"].concat()));
        }
        raw.send_text(&format!(r#"[{value},null,"room:a","push_binary",{{}}]"#));
        let expected = [&[0, size, 6, 6], value.as_bytes(), b"room:apushed\x01\x02\x03"];
        assert_eq!(raw.frame(), binary(&expected.concat()));
    }
    // A channel that was joined without a join_ref has the ref of its join for one.
    let mut raw = Raw::open(server.addr(0));
    raw.send_text(r#"[null,"1","room:a","phx_join",{}]"#);
    assert_eq!(raw.frame(), Frame::text(&reply("null", "1")));
    raw.send_text(r#"[null,null,"room:a","reply_binary",{}]"#);
    assert_eq!(raw.frame(), binary(b"\x01\x01\x00\x06\x021room:aok\x04\x05"));
    drop(raw);
    server.await_rest();
}

#[test]
// shows: binary.fields-of-255-bytes, binary.longer-field-ends-the-channel
fn a_field_has_255_bytes_at_most() {
    let server = app::start(&App::default());
    let mut client = Client::connect(server.addr(0), "/socket").unwrap();
    // 255 bytes, of fewer characters.
    let topic = format!("room:{}", "é".repeat(125));
    let longer = format!("{topic}a");
    for (topic, fits) in [(&topic, true), (&longer, false)] {
        client.join(topic, json!({})).unwrap();
        let asked = client.push(topic, "reply_binary", json!({}));
        if fits {
            let response = client.reply(asked).unwrap().response;
            assert_eq!(response.as_binary(), Some(&[4, 5][..]));
        } else {
            client.expect(topic, "phx_error").unwrap();
        }
    }
    for (size, event) in [(255, "e".repeat(255)), (256, "phx_error".to_owned())] {
        let topic = format!("room:{size}");
        client.join(&topic, json!({})).unwrap();
        client.push(&topic, "push_long_name", json!(size));
        client.expect(&topic, &event).unwrap();
    }
    let long_ref = "r".repeat(256);
    client.join("room:a", json!({})).unwrap();
    let join_ref = client.join_ref("room:a");
    client.send(join_ref, long_ref.into(), "room:a".into(), "reply_binary".into(), json!({}));
    client.expect("room:a", "phx_error").unwrap();
    client.silence_everywhere().unwrap();
    drop(client);
    server.await_rest();
}

#[test]
// shows: binary.longer-field-fails-the-broadcast
fn a_broadcast_with_a_longer_field_fails_where_it_was_made() {
    for shards in [1, 4] {
        let server = Server::start(app::endpoint(&App::default()), shards);
        let mut sender = Client::connect(server.addr(0), "/socket").unwrap();
        let mut other = Client::connect(server.addr(shards - 1), "/socket").unwrap();
        for client in [&mut sender, &mut other] {
            client.join("room:a", json!({})).unwrap();
        }
        for (size, status) in [(256, "error"), (255, "ok")] {
            let asked = sender.push("room:a", "broadcast_long_name", json!(size));
            assert_eq!(sender.reply(asked).unwrap().status, status);
        }
        for client in [&mut sender, &mut other] {
            client.expect("room:a", &"e".repeat(255)).unwrap();
            client.silence_everywhere().unwrap();
        }
        drop((sender, other));
        server.await_rest();
    }
}

#[test]
// shows: binary.unknown-kind-1011, binary.truncated-1011, binary.empty-1011
fn what_is_no_push_closes_with_1011() {
    let server = app::start(&App::default());
    let push = b"\x00\x01\x01\x06\x04j2room:aecho";
    let truncated = (0..push.len()).map(|size| push[..size].to_vec());
    let kinds = [1, 2, 3, 4, 255].map(|kind| [&[kind], &push[1..]].concat());
    let not_utf_8 = [
        b"\x00\x01\x01\x06\x04\xff2room:aecho".to_vec(),
        b"\x00\x01\x01\x06\x04j\xffroom:aecho".to_vec(),
        b"\x00\x01\x01\x06\x04j2room:\xffecho".to_vec(),
        b"\x00\x01\x01\x06\x04j2room:aech\xff".to_vec(),
    ];
    for bytes in truncated.chain(kinds).chain(not_utf_8) {
        let mut raw = joined(&server, 0);
        raw.send(masked(0x82, &bytes));
        assert_eq!(raw.frame().as_close().map(|(code, _)| code), Some(1011), "{bytes:02x?}");
    }
    server.await_rest();
}

#[test]
// shows: binary.v1-parses-it-as-json
fn v1_reads_binary_frames_as_text() {
    let server = app::start(&App::default());
    let mut raw = Raw::connect(server.addr(0));
    raw.send(crate::support::upgrade("/socket/websocket?vsn=1.0.0"));
    assert_eq!(raw.answer().status, 101);
    let heartbeat = r#"{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}"#;
    raw.send(masked(0x82, heartbeat.as_bytes()));
    let frame = raw.frame();
    assert_eq!(frame.first, 0x81);
    assert!(String::from_utf8(frame.payload).unwrap().contains("phx_reply"));
    raw.send(push("j", "1", "room:a", "phx_join", b""));
    assert_eq!(raw.frame().as_close().map(|(code, _)| code), Some(1011));
    drop(raw);
    let mut raw = Raw::connect(server.addr(0));
    raw.send(crate::support::upgrade("/socket/websocket?vsn=1.0.0"));
    assert_eq!(raw.answer().status, 101);
    raw.send(masked(0x82, &heartbeat.replace("\"1\"", "\"é\"").into_bytes()[..60]));
    assert_eq!(raw.frame().as_close().map(|(code, _)| code), Some(1011));
    drop(raw);
    server.await_rest();
}

#[test]
// shows: binary.v1-cannot-send-it
fn a_channel_that_sends_binary_to_v1_crashes() {
    for shards in [1, 4] {
        let server = Server::start(app::endpoint(&App::default()), shards);
        let mut client = connect(&server, 0, Version::V1);
        for event in ["push_binary", "reply_binary"] {
            client.join("room:a", json!({})).unwrap();
            client.push("room:a", event, json!({}));
            client.expect("room:a", "phx_error").unwrap();
        }
        client.silence_everywhere().unwrap();
        drop(client);
        server.await_rest();
    }
}

/// A binary broadcast ended at the first member of the first version, so that who came when and on
/// which shard decided who got it.
#[test]
// shows: diff.broadcast-reaches-all-who-can, v2.broadcast-of-no-object-to-others
fn a_broadcast_reaches_all_for_whom_it_can_be_encoded() {
    for (shards, crowd) in [(1, 1), (4, 1), (1, 40), (4, 40)] {
        let server = Server::start(app::endpoint(&App::default()), shards);
        let join = |version| {
            let join = |n: usize| app::joined(&server, n % shards, version);
            (0..crowd * shards).map(join).collect::<Vec<_>>()
        };
        let (mut before, mut old, mut behind) =
            (join(Version::V2), join(Version::V1), join(Version::V2));
        let mut sender = app::joined(&server, 0, Version::V2);
        let asked = sender.push("room:a", "broadcast_binary", json!({}));
        let told = sender.reply(asked).unwrap();
        assert_eq!(told.status, "error", "{told:?}");
        // Who can have it, and who can't, with either kind of payload.
        let news = before.iter_mut().chain(&mut behind);
        news.for_each(|client| {
            assert_eq!(client.expect("room:a", "said").unwrap().payload, [1][..])
        });
        let asked = sender.push("room:a", "broadcast", json!([1]));
        assert_eq!(sender.reply(asked).unwrap().status, "error");
        for client in &mut old {
            assert_eq!(client.expect("room:a", "said").unwrap().payload, json!([1]));
        }
        drop((before, behind, sender));
        server.await_counts(|counts| {
            counts.iter().map(|shard| shard.connections).sum::<u64>() == old.len() as u64
        });
        // Where all can have it nothing is wrong.
        let asked = old[0].push("room:a", "broadcast", json!([2]));
        assert!(old[0].reply(asked).unwrap().is_ok());
        for client in &mut old {
            assert_eq!(client.expect("room:a", "said").unwrap().payload, json!([2]));
            client.silence_everywhere().unwrap();
        }
        drop(old);
        server.await_rest();
    }
}
