//! Frames: fragments, control frames between them, and cuts anywhere.

use crate::app::{self, App};
use crate::support::{Frame, Raw, masked};

const HEARTBEAT: &str = r#"[null,"1","phoenix","heartbeat",{}]"#;
const REPLY: &str = r#"[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]"#;

#[test]
// shows: ws.ping-answered, ws.pong-ignored
fn pings_are_answered_and_pongs_are_not() {
    let server = app::start(&App::default());
    let mut raw = Raw::open(server.addr(0));
    let longest = [0xff; 125];
    for payload in [&b""[..], b"hello", &longest] {
        raw.send(masked(0x89, payload));
        assert_eq!(raw.frame(), Frame::pong(payload));
    }
    raw.send(masked(0x8a, b"nobody asked"));
    raw.send(masked(0x8a, b""));
    raw.send_text(HEARTBEAT);
    assert_eq!(raw.frame(), Frame::text(REPLY));
    drop(raw);
    server.await_rest();
}

#[test]
fn pings_sent_at_once_are_answered_in_their_place() {
    let server = app::start(&App::default());
    let mut raw = Raw::open(server.addr(0));
    let mut all = Vec::new();
    for n in 0..100_u8 {
        all.extend(masked(0x89, &[n]));
        all.extend(masked(0x81, HEARTBEAT.as_bytes()));
    }
    raw.send(all);
    for n in 0..100_u8 {
        assert_eq!([raw.frame(), raw.frame()], [Frame::pong(&[n]), Frame::text(REPLY)]);
    }
    drop(raw);
    server.await_rest();
}

#[test]
// shows: size.control-between-fragments
fn a_message_may_come_in_fragments_with_control_frames_between() {
    let server = app::start(&App::default());
    let mut raw = Raw::open(server.addr(0));
    for cut in 0..HEARTBEAT.len() {
        let (one, two) = HEARTBEAT.as_bytes().split_at(cut);
        raw.send(masked(0x01, one));
        raw.send(masked(0x89, b"between"));
        raw.send(masked(0x00, b""));
        raw.send(masked(0x8a, b"between"));
        raw.send(masked(0x80, two));
        assert_eq!([raw.frame(), raw.frame()], [Frame::pong(b"between"), Frame::text(REPLY)]);
    }
    drop(raw);
    server.await_rest();
}

#[test]
fn a_text_may_be_cut_within_a_character() {
    let server = app::start(&App::default());
    let mut raw = Raw::open(server.addr(0));
    let text = "[null,\"é🦀\",\"phoenix\",\"heartbeat\",{}]";
    let reply = REPLY.replace("\"1\"", "\"é🦀\"");
    for cut in 0..text.len() {
        let (one, two) = text.as_bytes().split_at(cut);
        raw.send([masked(0x01, one), masked(0x80, two)].concat());
        assert_eq!(raw.frame(), Frame::text(&reply), "cut at {cut}");
    }
    drop(raw);
    server.await_rest();
}

#[test]
fn a_frame_may_be_cut_anywhere() {
    let server = app::start(&App::default());
    let mut raw = Raw::open(server.addr(0));
    // Lengths in all three forms.
    for size in [HEARTBEAT.len(), 300, 70_000] {
        let text = HEARTBEAT.replace("{}", &format!("{{}}{}", " ".repeat(size - HEARTBEAT.len())));
        let frames = [masked(0x89, b"ping"), masked(0x81, text.as_bytes())].concat();
        let cuts = (1..frames.len()).take(60).chain([frames.len() - 1]);
        for cut in cuts {
            raw.send(&frames[..cut]);
            raw.send(&frames[cut..]);
            assert_eq!([raw.frame(), raw.frame()], [Frame::pong(b"ping"), Frame::text(REPLY)]);
        }
    }
    for byte in masked(0x81, HEARTBEAT.as_bytes()) {
        raw.send([byte]);
    }
    assert_eq!(raw.frame(), Frame::text(REPLY));
    drop(raw);
    server.await_rest();
}

#[test]
// shows: ws.no-pings
fn nothing_comes_that_was_not_asked_for() {
    let server = app::start(&App::default());
    let mut raw = Raw::open(server.addr(0));
    let began = std::time::Instant::now();
    // Longer than the shard's tick, on which a ping would be sent if there were any.
    while began.elapsed() < std::time::Duration::from_millis(2_200) {
        raw.send_text(HEARTBEAT);
        assert_eq!(raw.frame(), Frame::text(REPLY));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    raw.send(masked(0x88, &1000_u16.to_be_bytes()));
    assert_eq!(raw.frame(), Frame::close(1000));
    raw.end();
    server.await_rest();
}

#[test]
fn a_connection_that_is_lost_within_a_frame_leaves_nothing_behind() {
    let server = app::start(&App::default());
    let frame = masked(0x81, HEARTBEAT.as_bytes());
    for cut in [1, 2, 5, 6, 10, frame.len() - 1] {
        for resets in [false, true] {
            let mut raw = Raw::open(server.addr(0));
            raw.send_text(r#"["1","1","room:a","phx_join",{}]"#);
            raw.frame();
            raw.send(&frame[..cut]);
            if resets { raw.reset() } else { drop(raw) }
        }
    }
    server.await_rest();
    assert_eq!(server.counts()[0].disconnected, 12);
}

#[test]
fn a_client_that_has_ended_its_side_gets_what_it_had_asked_for() {
    let server = app::start(&App::default());
    for _ in 0..10 {
        let mut raw = Raw::open(server.addr(0));
        raw.send_last(masked(0x81, HEARTBEAT.as_bytes()));
        assert_eq!(raw.frame(), Frame::text(REPLY));
        raw.end();
    }
    server.await_rest();
}
