//! Clients that begin what they do not finish.

use crate::app::{self, App};
use crate::support::{Frame, Raw, get, header, masked, upgrade};

#[test]
// shows: diff.unfinished-1013
fn stalled_messages_make_room_for_one_that_is_finished() {
    let server = app::start_with(&App::default(), |limits| {
        limits.max_message_size = 1_000_000;
        limits.max_frame_size = 1_000_000;
        limits.max_partial_bytes = 4 << 20;
    });
    let mut stalled: Vec<_> = (0..16).map(|_| Raw::open(server.addr(0))).collect();
    for client in &mut stalled {
        client.send(header(0x81, 1_000_000));
        client.send(vec![b' '; 990_000]);
    }
    let mut honest = Raw::open(server.addr(0));
    let text = r#"[null,"1","phoenix","heartbeat",{}]"#;
    let message = masked(0x81, format!("{text}{}", " ".repeat(1_000_000 - text.len())).as_bytes());
    let (first, second) = message.split_at(500_000);
    honest.send(first);
    honest.send(second);
    assert_eq!(honest.frame().first, 0x81);
    assert_eq!(stalled[0].frame(), Frame::close(1013));
    server.await_counts(|counts| counts[0].unfinished >= 12);
    drop((honest, stalled));
    server.await_rest();
}

#[test]
// shows: diff.handshakes-are-bounded
fn silent_connections_do_not_keep_others_out() {
    let server = app::start_with(&App::default(), |limits| limits.max_handshakes = 8);
    let mut silent: Vec<_> = (0..8).map(|_| Raw::connect(server.addr(0))).collect();
    server.await_counts(|counts| counts[0].connections == 8);
    for client in &mut silent {
        client.send("GET / HT");
    }
    let open = Raw::open(server.addr(0));
    silent[0].drain();
    server.await_counts(|counts| counts[0].unfinished == 1 && counts[0].connections == 8);
    drop((open, silent));
    server.await_rest();
}

#[test]
// shows: diff.handshakes-are-bounded
fn when_all_wait_for_the_application_the_newest_is_told_503() {
    let app = App::default();
    let server = app::start_with(&app, |limits| limits.max_handshakes = 2);
    let mut waiting: Vec<_> = (0..2).map(|_| Raw::connect(server.addr(0))).collect();
    for client in &mut waiting {
        client.send(upgrade("/socket/websocket?vsn=2.0.0&connect=wait"));
    }
    while app.waiting() < 2 {
        std::thread::yield_now();
    }
    let mut late = Raw::connect(server.addr(0));
    late.send(get("/", &[]));
    assert_eq!(late.answer().status, 503);
    late.end();
    app.open_gate();
    for client in &mut waiting {
        assert_eq!(client.answer().status, 101);
    }
    let open = Raw::open(server.addr(0));
    drop((open, late, waiting));
    server.await_rest();
}
