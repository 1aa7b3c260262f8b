//! How connections are closed: by whom, with which code, and what is left.

use std::time::Duration;

use serde_json::json;
use simurgh::Stop;
use simurgh::testing::{Client, Server, Version};

use crate::app::{self, App, connect};
use crate::support::{Frame, Raw, header, masked};

/// Sends bytes on a connection of its own and expects a Close of this code and the end.
fn closes(server: &Server, bytes: impl AsRef<[u8]>, code: u16) {
    let mut raw = Raw::open(server.addr(0));
    raw.send(&bytes);
    assert_eq!(raw.frame(), Frame::close(code), "after {:02x?}", bytes.as_ref());
    raw.send(masked(0x88, &code.to_be_bytes()));
    raw.end();
}

#[test]
// shows: close.invalid-utf8-1007, close.no-reason-text
fn text_that_is_not_utf_8_is_1007() {
    let server = app::start(&App::default());
    closes(&server, masked(0x81, b"\xff"), 1007);
    closes(&server, masked(0x81, b"[null,\"\xc3\",\"phoenix\",\"heartbeat\",{}]"), 1007);
    // A surrogate, an overlong form, and a character that the last fragment does not end.
    closes(&server, masked(0x81, b"\xed\xa0\x80"), 1007);
    closes(&server, masked(0x81, b"\xc0\x80"), 1007);
    closes(&server, [masked(0x01, b"\xf0\x9f"), masked(0x80, b"")].concat(), 1007);
    // The first bad byte is enough, whatever is still to come.
    closes(&server, masked(0x01, b"\xff"), 1007);
    closes(&server, masked(0x88, b"\x03\xe8\xff"), 1007);
    server.await_rest();
}

#[test]
// shows: close.unmasked-1002, close.reserved-bits-1002, close.reserved-opcode-1002,
//   close.fragmentation-1002, close.control-frame-1002, close.no-reason-text
fn what_the_protocol_forbids_is_1002() {
    let server = app::start(&App::default());
    closes(&server, [0x81, 0x02, b'[', b']'], 1002);
    closes(&server, [0x89, 0x00], 1002);
    for reserved in [0x40, 0x20, 0x10] {
        closes(&server, masked(0x81 | reserved, b"[]"), 1002);
    }
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        closes(&server, masked(0x80 | opcode, b""), 1002);
    }
    closes(&server, masked(0x80, b"[]"), 1002);
    closes(&server, [masked(0x01, b"["), masked(0x81, b"[]")].concat(), 1002);
    closes(&server, [masked(0x02, b"["), masked(0x01, b"[]")].concat(), 1002);
    for control in [0x8, 0x9, 0xa] {
        closes(&server, masked(control, b""), 1002);
        closes(&server, header(0x80 | control, 126), 1002);
    }
    // Lengths longer than they must be, and one with its highest bit set.
    closes(&server, [0x81, 0xfe, 0, 5, 1, 2, 3, 4], 1002);
    closes(&server, [0x81, 0xff, 0, 0, 0, 0, 0, 0, 1, 0, 1, 2, 3, 4], 1002);
    closes(&server, header(0x81, 1 << 63), 1002);
    closes(&server, masked(0x88, b"\x03"), 1002);
    server.await_rest();
}

#[test]
// shows: close.answered
fn a_clients_close_is_answered() {
    let server = app::start(&App::default());
    let answers = |close: &[u8], code| {
        let mut raw = Raw::open(server.addr(0));
        raw.send(masked(0x88, close));
        assert_eq!(raw.frame(), Frame::close(code), "after {close:02x?}");
        raw.end();
    };
    let valid = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999];
    let invalid = [0, 999, 1004, 1005, 1006, 1012, 1015, 1100, 2999];
    for (codes, answer) in [(&valid[..], 1000), (&invalid, 1002)] {
        for code in codes {
            answers(&u16::to_be_bytes(*code), answer);
        }
    }
    answers(b"", 1000);
    answers(b"\x03\xe8with a reason", 1000);
    server.await_rest();
}

#[test]
// shows: close.answered
fn both_serializers_close_in_order() {
    let app = App::default();
    let server = app::start(&app);
    for version in Version::ALL {
        let mut client = connect(&server, 0, version);
        client.join("room:a", json!({})).unwrap();
        client.close();
        assert_eq!(client.closed().unwrap(), Some(1000));
        // Nothing was said of the channel.
        client.next().unwrap_err();
    }
    let ends = app.await_ends(2);
    assert!(ends.iter().all(|(_, reason)| *reason == Stop::Closed), "{ends:?}");
    server.await_rest();
}

#[test]
fn a_close_right_behind_what_is_malformed_is_heard() {
    let server = app::start_with(&App::default(), |limits| {
        limits.close_timeout = Duration::from_secs(3600);
    });
    let mut raw = Raw::open(server.addr(0));
    raw.send([masked(0x81, b"[]"), masked(0x88, b"\x03\xe8")].concat());
    let reason = "unexpected input, or the end of it, at byte 1";
    assert_eq!(raw.frame().as_close(), Some((1011, reason)));
    raw.end();
    server.await_rest();
}

/// It was left as long as an honest client to answer the Close, and kept its connection for that.
#[test]
// shows: close.malformed-is-not-waited-for
fn a_client_that_sent_what_can_not_be_read_is_not_waited_for() {
    let server = app::start_with(&App::default(), |limits| {
        limits.close_timeout = Duration::from_secs(3600);
    });
    let mut clients = Vec::new();
    for (bytes, code) in [(masked(0x81, b"[]"), 1011), (masked(0x83, b"[]"), 1002)] {
        let mut raw = Raw::open(server.addr(0));
        raw.send(bytes);
        let close = raw.frame();
        assert_eq!((close.first, &close.payload[..2]), (0x88, &u16::to_be_bytes(code)[..]));
        // What it says instead of a Close does not count.
        raw.send(masked(0x89, b"still here"));
        raw.end();
        clients.push(raw);
    }
    server.await_rest();
}

#[test]
fn what_comes_behind_a_close_is_not_heard() {
    let app = App::default();
    let server = app::start(&app);
    let mut raw = Raw::open(server.addr(0));
    let join = masked(0x81, br#"["1","1","room:a","phx_join",{}]"#);
    raw.send([masked(0x88, b"\x03\xe8"), join.clone(), join].concat());
    assert_eq!(raw.frame(), Frame::close(1000));
    raw.end();
    server.await_rest();
    assert_eq!(server.counts()[0].deliveries, 0);
}

#[test]
fn what_came_before_a_close_is_answered_first() {
    let server = app::start(&App::default());
    let mut raw = Raw::open(server.addr(0));
    let heartbeat = masked(0x81, br#"[null,"1","phoenix","heartbeat",{}]"#);
    raw.send([heartbeat, masked(0x89, b"p"), masked(0x88, b"\x03\xe8")].concat());
    let reply = r#"[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]"#;
    assert_eq!(raw.frame(), Frame::text(reply));
    assert_eq!(raw.frame(), Frame::pong(b"p"));
    assert_eq!(raw.frame(), Frame::close(1000));
    raw.end();
    server.await_rest();
}

#[test]
// shows: close.disconnect-1001, close.no-reason-text
fn a_disconnect_by_id_is_1001_on_every_shard() {
    for shards in [1, 4] {
        for version in Version::ALL {
            let app = App::default();
            let server = Server::start(app::endpoint(&app), shards);
            let connect = |shard: usize, id: &str| {
                let builder = Client::builder(server.addr(shard % shards), "/socket");
                let mut client = builder.version(version).param("id", id).connect().unwrap();
                client.join("room:a", json!({})).unwrap();
                client
            };
            let mut gone: Vec<_> = (0..4).map(|shard| connect(shard, "users:1")).collect();
            let mut stays = connect(3, "users:2");
            server.handle().broadcast("users:1", "anything", json!({})).unwrap();
            for client in &mut gone {
                client.silence_everywhere().unwrap();
            }
            server.handle().disconnect("users:1").unwrap();
            for client in &mut gone {
                assert_eq!(client.closed().unwrap(), Some(1001));
                client.next().unwrap_err();
            }
            stays.silence_everywhere().unwrap();
            let ends = app.await_ends(4);
            assert!(ends.iter().all(|(_, reason)| *reason == Stop::Closed), "{ends:?}");
            drop((gone, stays));
            server.await_rest();
        }
    }
}

#[test]
// shows: close.drain-1012, close.shutdown-without-channels, close.never-1000-first, ending.drain
fn a_shutdown_is_1012_for_everyone() {
    for shards in [1, 4] {
        for version in Version::ALL {
            let app = App::default();
            let server = Server::start(app::endpoint(&app), shards);
            let connect = |shard: usize| {
                let builder = Client::builder(server.addr(shard % shards), "/socket");
                builder.version(version).connect().unwrap()
            };
            let mut with_channels: Vec<_> = (0..4).map(connect).collect();
            for client in &mut with_channels {
                client.join("room:a", json!({})).unwrap();
            }
            let mut without: Vec<_> = (0..4).map(connect).collect();
            server.handle().shutdown();
            for client in with_channels.iter_mut().chain(&mut without) {
                assert_eq!(client.closed().unwrap(), Some(1012));
                client.next().unwrap_err();
            }
            let ends = app.await_ends(4);
            assert!(ends.iter().all(|(_, reason)| *reason == Stop::Draining), "{ends:?}");
            server.stop();
        }
    }
}

#[test]
fn a_client_that_does_not_answer_a_close_is_left_behind() {
    let app = App::default();
    let server = app::start_with(&app, |limits| limits.close_timeout = Duration::from_secs(1));
    let mut raw = Raw::connect(server.addr(0));
    raw.send(crate::support::upgrade("/socket/websocket?vsn=2.0.0&id=users:1"));
    assert_eq!(raw.answer().status, 101);
    server.handle().disconnect("users:1").unwrap();
    assert_eq!(raw.frame(), Frame::close(1001));
    // What it says instead does not count, and does not lengthen its time.
    raw.send(masked(0x89, b"still here"));
    raw.send_text(r#"["1","1","room:a","phx_join",{}]"#);
    raw.end();
    server.await_rest();
}

#[test]
fn a_client_that_does_not_answer_does_not_hold_up_the_shutdown() {
    let server = app::start_with(&App::default(), |limits| {
        limits.close_timeout = Duration::from_secs(1);
    });
    let mut open = Raw::open(server.addr(0));
    let mut asking = Raw::connect(server.addr(0));
    asking.send("GET / HTTP/1.1\r\n");
    let mut idle = Raw::connect(server.addr(0));
    server.await_counts(|counts| counts[0].connections == 3);
    server.stop();
    assert_eq!(open.frame(), Frame::close(1012));
    open.end();
    asking.drain();
    idle.drain();
}
