//! A `connect` that waits, and what may happen meanwhile.

use simurgh::testing::Server;

use crate::app::{self, App};
use crate::support::{Frame, Raw, get, masked, upgrade};

const WAIT: &str = "/socket/websocket?vsn=2.0.0&connect=wait";
const HEARTBEAT: &[u8] = br#"[null,"1","phoenix","heartbeat",{}]"#;
const REPLY: &str = r#"[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]"#;

/// Waits for what another thread is about to do.
fn until(what: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !what() {
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "it does not come");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[test]
fn another_thread_lets_connects_go_on() {
    for shards in [1, 4] {
        let app = App::default();
        let server = Server::start(app::endpoint(&app), shards);
        let mut waiting: Vec<_> = (0..8)
            .map(|n| {
                let mut raw = Raw::connect(server.addr(n % shards));
                raw.send(upgrade(WAIT));
                raw
            })
            .collect();
        until(|| app.waiting() == 8);
        // Others are not held up.
        let mut other = Raw::open(server.addr(0));
        other.send(masked(0x81, HEARTBEAT));
        assert_eq!(other.frame(), Frame::text(REPLY));
        app.open_gate();
        for raw in &mut waiting {
            assert_eq!(raw.answer().status, 101);
            raw.send(masked(0x81, HEARTBEAT));
            assert_eq!(raw.frame(), Frame::text(REPLY));
        }
        drop((waiting, other));
        server.await_rest();
    }
}

#[test]
fn what_is_sent_meanwhile_is_handled_afterwards() {
    let app = App::default();
    let server = app::start(&app);
    let mut raw = Raw::connect(server.addr(0));
    let early = masked(0x81, HEARTBEAT);
    raw.send(upgrade(WAIT));
    until(|| app.waiting() == 1);
    raw.send(&early);
    raw.send(&early[..10]);
    // A round trip of somebody else's, so that the server has seen these too.
    let mut other = Raw::open(server.addr(0));
    other.send(&early);
    other.frame();
    app.open_gate();
    raw.send(&early[10..]);
    assert_eq!(raw.answer().status, 101);
    assert_eq!([raw.frame(), raw.frame()], [Frame::text(REPLY), Frame::text(REPLY)]);
    drop((raw, other));
    server.await_rest();
}

#[test]
fn a_client_that_leaves_meanwhile_takes_its_connect_along() {
    let app = App::default();
    let server = app::start(&app);
    let connecting = || {
        let before = app.waiting();
        let mut raw = Raw::connect(server.addr(0));
        raw.send(upgrade(WAIT));
        until(|| app.waiting() > before);
        raw
    };
    drop(connecting());
    connecting().reset();
    let mut half_closed = connecting();
    half_closed.shut_down();
    assert_eq!(half_closed.drain(), 0);
    until(|| app.dropped() == 3);
    server.await_rest();
    // Their wakers are still there, and wake nobody.
    app.open_gate();
    let mut raw = Raw::connect(server.addr(0));
    raw.send(upgrade(WAIT));
    assert_eq!(raw.answer().status, 101);
    drop(raw);
    server.await_rest();
    assert_eq!(server.counts()[0].connected, 1);
}

#[test]
fn what_is_sent_meanwhile_is_bounded() {
    let app = App::default();
    let server = app::start_with(&app, |limits| limits.max_head_size = 1024);
    let mut raw = Raw::connect(server.addr(0));
    raw.send(upgrade(WAIT));
    until(|| app.waiting() == 1);
    raw.send([0; 1025]);
    assert_eq!(raw.drain(), 0);
    until(|| app.dropped() == 1);
    server.await_rest();
}

#[test]
fn a_shutdown_does_not_wait_for_connect() {
    let app = App::default();
    let server = app::start(&app);
    let mut raw = Raw::connect(server.addr(0));
    raw.send(upgrade(WAIT));
    until(|| app.waiting() == 1);
    server.handle().shutdown();
    assert_eq!(raw.answer().status, 503);
    drop(raw);
    server.stop();
    assert_eq!(app.dropped(), 1);
}

#[test]
// shows: check.request-behind-a-refusal
fn a_request_sent_meanwhile_is_answered_after_the_refusal() {
    let app = App::default();
    let server = app::start(&app);
    let mut raw = Raw::connect(server.addr(0));
    raw.send(get(WAIT, &[]));
    until(|| app.waiting() == 1);
    raw.send(get("/", &[]));
    // A round trip of somebody else's, so that the server has seen it.
    let mut other = Raw::open(server.addr(0));
    other.send(masked(0x81, HEARTBEAT));
    other.frame();
    app.open_gate();
    assert_eq!(raw.answer().status, 400);
    assert_eq!(raw.answer().body, "<h1>home</h1>");
    drop((raw, other));
    server.await_rest();
}

#[test]
fn a_refusal_after_a_wait_keeps_the_connection() {
    let app = App::default();
    let server = app::start(&app);
    let mut raw = Raw::connect(server.addr(0));
    // It is no upgrade, which only shows when connect has accepted.
    raw.send(get(WAIT, &[]));
    until(|| app.waiting() == 1);
    app.open_gate();
    assert_eq!(raw.answer().status, 400);
    raw.send(get("/", &[]));
    assert_eq!(raw.answer().body, "<h1>home</h1>");
    drop(raw);
    server.await_rest();
}
