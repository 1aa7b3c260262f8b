//! How large frames and messages may be.

use serde_json::json;
use simurgh::Limits;
use simurgh::testing::{Server, Version};

use crate::app::{self, App, connect};
use crate::support::{Frame, Raw, header, masked};

fn small() -> Server {
    app::start_with(&App::default(), |limits| {
        limits.max_frame_size = 1000;
        limits.max_message_size = 1500;
    })
}

/// A heartbeat of so many bytes.
fn heartbeat(size: usize) -> String {
    let text = r#"[null,"1","phoenix","heartbeat",{}]"#;
    format!("{text}{}", " ".repeat(size - text.len()))
}

const REPLY: &str = r#"[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]"#;

#[test]
// shows: size.frame-default
fn a_frame_has_ten_million_bytes_by_default() {
    assert_eq!(Limits::default().max_frame_size, 10_000_000);
    let server = app::start(&App::default());
    let mut raw = Raw::open(server.addr(0));
    raw.send_text(&heartbeat(10_000_000));
    assert_eq!(raw.frame(), Frame::text(REPLY));
    raw.send(header(0x81, 10_000_001));
    assert_eq!(raw.frame(), Frame::close(1009));
    drop(raw);
    server.await_rest();
}

#[test]
// shows: size.frame-1009, close.too-big-1009
fn a_frame_over_the_limit_is_1009() {
    let server = small();
    let mut raw = Raw::open(server.addr(0));
    raw.send_text(&heartbeat(1000));
    assert_eq!(raw.frame(), Frame::text(REPLY));
    // The header alone is enough, whatever it promises.
    for size in [1001, 70_000, (1 << 63) - 1] {
        for first in [0x81, 0x82, 0x01] {
            let mut raw = Raw::open(server.addr(0));
            raw.send(header(first, size));
            assert_eq!(raw.frame(), Frame::close(1009));
        }
    }
    server.await_counts(|counts| counts[0].oversized == 9);
    drop(raw);
    server.await_rest();
}

#[test]
// shows: size.message-1009, close.too-big-1009
fn fragments_that_are_too_large_together_are_1009() {
    let server = small();
    let mut raw = Raw::open(server.addr(0));
    let message = heartbeat(1500);
    let (one, two) = message.as_bytes().split_at(750);
    raw.send([masked(0x01, one), masked(0x80, two)].concat());
    assert_eq!(raw.frame(), Frame::text(REPLY));
    raw.send([masked(0x01, one), masked(0x00, two), masked(0x00, b"")].concat());
    raw.send(header(0x80, 1));
    assert_eq!(raw.frame(), Frame::close(1009));
    drop(raw);
    server.await_rest();
}

#[test]
// shows: close.too-big-1009
fn a_client_that_sends_too_much_can_read_why_when_it_has_sent_it() {
    let server = small();
    for _ in 0..10 {
        let mut raw = Raw::open(server.addr(0));
        // What follows the header would be many frames if it were read as such.
        raw.send(header(0x81, 1 << 20));
        for _ in 0..16 {
            raw.send([b'x'; 64 << 10]);
        }
        assert_eq!(raw.frame(), Frame::close(1009));
        raw.end();
    }
    server.await_rest();
}

#[test]
fn a_large_message_goes_there_and_back() {
    for version in Version::ALL {
        let server = app::start(&App::default());
        let mut client = connect(&server, 0, version);
        client.join("room:a", json!({})).unwrap();
        let payload = json!({"text": "é".repeat(500_000)});
        let asked = client.push("room:a", "echo", payload.clone());
        assert!(client.reply(asked).unwrap().response == payload);
        client.heartbeat().unwrap();
        drop(client);
        server.await_rest();
    }
}
