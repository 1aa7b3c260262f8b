//! Connections on which nothing comes.

use std::time::{Duration, Instant};

use serde_json::json;
use simurgh::testing::{Client, Server, Version};
use simurgh::{Limits, Stop};

use crate::app::{self, App, connect};
use crate::support::{Frame, Raw, masked, upgrade};

/// A server that closes after two seconds of silence.
fn impatient(app: &App) -> Server {
    app::start_with(app, |limits| limits.idle_timeout = Duration::from_secs(2))
}

#[test]
// shows: idle.default-60-s
fn a_connection_may_be_idle_for_a_minute() {
    assert_eq!(Limits::default().idle_timeout, Duration::from_secs(60));
}

#[test]
// shows: close.idle-1002, idle.ends-channels, close.never-1000-first
fn silence_closes_with_1002_and_ends_the_channels() {
    let app = App::default();
    let server = impatient(&app);
    let mut clients = Version::ALL.map(|version| {
        let mut client = connect(&server, 0, version);
        client.join("room:a", json!({})).unwrap();
        client
    });
    for client in &mut clients {
        assert_eq!(client.closed().unwrap(), Some(1002));
        client.next().unwrap_err();
    }
    server.await_counts(|counts| counts[0].idle == 2);
    let closed = ("room:a".to_owned(), Stop::Closed);
    assert_eq!(app.await_ends(2), [closed.clone(), closed]);
    server.await_rest();
}

#[test]
// shows: idle.received-is-life, idle.sent-is-not
fn what_is_received_is_life_and_what_is_sent_is_not() {
    let server = impatient(&App::default());
    let mut hearing = Client::connect(server.addr(0), "/socket").unwrap();
    hearing.join("room:a", json!({})).unwrap();
    let mut alive: Vec<_> = (0..4).map(|_| Raw::open(server.addr(0))).collect();
    // A ping, a pong, half a frame, and a frame of text, each by a client that sends nothing else.
    let mut half = masked(0x81, &[b' '; 100]).into_iter();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        alive[0].send(masked(0x89, b""));
        alive[1].send(masked(0x8a, b""));
        alive[2].send([half.next().expect("enough bytes")]);
        alive[3].send_text(r#"[null,"1","room:b","echo",{}]"#);
        server.handle().broadcast("room:a", "said", json!({})).unwrap();
        std::thread::sleep(Duration::from_millis(200));
    }
    // Who only heard is gone by now, whatever he heard.
    assert_eq!(hearing.closed().unwrap(), Some(1002));
    alive[0].send(masked(0x89, b"last"));
    while alive[0].frame() != Frame::pong(b"last") {}
    alive[1].send_text(r#"[null,"1","phoenix","heartbeat",{}]"#);
    assert_eq!(alive[1].frame().first, 0x81);
    assert_eq!(server.counts()[0].disconnected, 1);
    drop((hearing, alive));
    server.await_rest();
}

#[test]
fn the_time_before_the_request_does_not_lengthen_that_after_it() {
    // Looked at while nothing had been asked, it was next looked at when the request would have
    // been late, however long the socket had been silent by then.
    let server = app::start_with(&App::default(), |limits| {
        limits.idle_timeout = Duration::from_secs(1);
        limits.head_timeout = Duration::from_secs(3600);
    });
    let mut raw = Raw::connect(server.addr(0));
    std::thread::sleep(Duration::from_millis(2_200));
    raw.send(upgrade("/socket/websocket?vsn=2.0.0"));
    assert_eq!(raw.answer().status, 101);
    assert_eq!(raw.frame(), Frame::close(1002));
    drop(raw);
    server.await_rest();
}

/// Whoever wants no limit says `Duration::MAX`, and the sum of two of them ended the shard.
#[test]
fn a_time_out_may_be_without_end() {
    let app = App::default();
    let server = app::start_with(&app, |limits| {
        limits.head_timeout = Duration::MAX;
        limits.idle_timeout = Duration::from_secs(u64::from(u32::MAX));
        limits.terminate_timeout = Duration::MAX;
        limits.close_timeout = Duration::MAX;
    });
    let mut client = app::joined(&server, 0, Version::V2);
    let asked = client.push("room:a", "echo", json!({}));
    assert!(client.reply(asked).unwrap().is_ok());
    drop(client);
    server.await_rest();
    server.stop();
}
