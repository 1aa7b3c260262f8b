//! Clients that ask for far more at once than they can be given.

use serde_json::json;
use simurgh::testing::Version;

use crate::app::{self, App};
use crate::support::{Raw, get, masked};

/// One turn answers whatever has come of a client, and its answers were bounded only when the
/// kernel had refused some: ten thousand pings of a channel joined with a `join_ref` of a megabyte,
/// which every reply repeats, were ten gigabytes, and the server's end.
#[test]
fn small_requests_for_large_answers_are_bounded_within_a_turn() {
    let server = app::start_with(&App::default(), |limits| {
        limits.max_send_queue = 16 << 10;
        limits.max_message_size = 32 << 10;
    });
    let mut neighbour = app::joined(&server, 0, Version::V2);
    let mut greedy = Raw::open(server.addr(0));
    let long = "x".repeat(4_000);
    greedy.send_text(&format!(r#"["{long}","1","room:b","phx_join",{{}}]"#));
    greedy.frame();
    let request = masked(0x81, br#"[null,"2","room:b","echo",{}]"#);
    greedy.send(request.repeat(400));
    let got = greedy.drain();
    assert!(got < 40 * long.len(), "he got {got} bytes");
    server.await_counts(|counts| counts[0].slow_readers == 1);
    let asked = neighbour.push("room:a", "echo", json!({}));
    assert!(neighbour.reply(asked).unwrap().is_ok());
    drop(neighbour);
    server.await_rest();
}

#[test]
fn pipelined_requests_are_bounded_within_a_turn() {
    let server = app::start_with(&App::default(), |limits| {
        limits.max_send_queue = 4 << 10;
        limits.max_message_size = 4 << 10;
    });
    let mut greedy = Raw::connect(server.addr(0));
    greedy.send(get("/", &[]).repeat(300));
    let got = greedy.drain();
    assert!(got < 32 << 10, "he got {got} bytes");
    server.await_counts(|counts| counts[0].slow_readers == 1);
    server.await_rest();
}
