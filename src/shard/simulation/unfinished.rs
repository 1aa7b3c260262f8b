//! Requests and messages of which the rest never comes.

use std::time::Duration;

use super::client::{Client, PING, TEXT};
use super::world::World;
use crate::config::Limits;
use crate::testing::Version;

/// The first fragment of a message.
fn begin_message(client: &mut Client, size: u16) {
    let mut frame = vec![TEXT, 0x80 | 126];
    frame.extend(size.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(std::iter::repeat_n(b' ', size.into()));
    client.send_bytes(&frame);
}

fn with_partial_bytes(max_partial_bytes: usize) -> World {
    World::with_limits(1, Limits { max_partial_bytes, ..Limits::default() })
}

#[test]
fn of_too_many_silent_connections_the_oldest_goes() {
    let mut world = World::with_limits(1, Limits { max_handshakes: 10, ..Limits::default() });
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(world.dial(0, Version::V2));
        world.run();
    }
    assert_eq!(world.counts(0).unfinished, 0);
    // One that has asked is not on its way any more, however many come after it.
    let mut honest = world.connect(0, Version::V2);
    for _ in 0..50 {
        silent.push(world.dial(0, Version::V2));
        world.run();
    }
    let closed: Vec<_> = silent.iter().map(Client::is_closed).collect();
    assert_eq!(closed, [[true; 50].as_slice(), &[false; 10]].concat());
    assert_eq!(world.counts(0).unfinished, 50);
    assert!(silent.iter().all(|client| client.pipe.borrow().outbound.is_empty()));
    let heartbeat = honest.heartbeat();
    world.run();
    assert!(honest.take_reply(&heartbeat).is_ok());
    honest.finish();
    world.assert_rest();
}

#[test]
fn a_kept_connection_waits_anew_for_each_request() {
    let mut world = World::with_limits(1, Limits { max_handshakes: 2, ..Limits::default() });
    let mut asking = world.dial(0, Version::V2);
    world.run();
    let silent = world.dial(0, Version::V2);
    world.run();
    asking.send_bytes(b"GET /nothing HTTP/1.1\r\n\r\n");
    world.run();
    let third = world.dial(0, Version::V2);
    world.run();
    assert!(silent.is_closed() && !asking.is_closed() && !third.is_closed());
    world.assert_rest();
}

#[test]
fn of_too_many_unfinished_messages_the_oldest_goes() {
    for version in Version::ALL {
        let mut world = with_partial_bytes(64 << 10);
        let mut clients: Vec<_> = (0..8).map(|_| world.connect(0, version)).collect();
        for client in &mut clients {
            begin_message(client, 15_000);
            world.run();
            // A ping is an answer more, and no progress.
            client.send_frame(PING, b"");
            world.run();
        }
        for client in &mut clients[..4] {
            client.read();
            assert_eq!(client.close_code, Some(1013));
            assert!(client.pipe.borrow().is_shut_down);
        }
        for client in &mut clients[4..] {
            client.read();
            assert_eq!(client.close_code, None);
        }
        assert_eq!(world.counts(0).unfinished, 4);
        // The last can be finished; it is no message, but it was whole.
        clients[7].send_frame(0, b"");
        world.run();
        clients[7].read();
        assert_eq!(clients[7].close_code, Some(1011));
        world.assert_rest();
    }
}

#[test]
fn a_client_whose_messages_are_cut_anew_each_time_is_not_the_oldest() {
    let mut world = with_partial_bytes(8 << 10);
    let mut busy = world.connect(0, Version::V2);
    let mut stalled = world.connect(0, Version::V2);
    let (first, rest) = (b"\x81\xa3\0\0\0\0", br#"[null,"1","phoenix","heartbeat",{}]"#);
    busy.send_bytes(first);
    world.run();
    begin_message(&mut stalled, 4_000);
    world.run();
    for _ in 0..10_000 {
        busy.send_bytes(rest);
        busy.send_bytes(first);
        world.run();
    }
    let core = world.core(0);
    assert!(core.marks() < 200, "{} marks", core.marks());
    drop(core);
    begin_message(&mut world.connect(0, Version::V2), 4_000);
    world.run();
    stalled.read();
    busy.read();
    assert_eq!((stalled.close_code, busy.close_code), (Some(1013), None));
    world.assert_rest();
}

#[test]
fn half_requests_are_bounded_in_bytes_too() {
    let mut world = with_partial_bytes(64 << 10);
    let mut slow: Vec<_> = (0..20).map(|_| world.dial(0, Version::V2)).collect();
    for client in &mut slow {
        client.send_bytes(format!("GET /{}", "x".repeat(15_000)).as_bytes());
        world.run();
    }
    let closed: Vec<_> = slow.iter().map(Client::is_closed).collect();
    assert_eq!(closed, [[true; 16].as_slice(), &[false; 4]].concat());
    assert!(slow.iter().all(|client| client.pipe.borrow().outbound.is_empty()));
    // Those that are left have their time, as ever.
    world.pass(Duration::from_secs(11));
    slow[19].read();
    assert_eq!(slow[19].status, Some(408));
    world.assert_rest();
}

#[test]
fn what_is_sent_before_connect_has_accepted_is_bounded_in_bytes_too() {
    let mut world = with_partial_bytes(64 << 10);
    let mut early: Vec<_> = (0..20).map(|_| world.dial(0, Version::V2)).collect();
    for client in &mut early {
        client.upgrade("/socket", "&gate=connect");
        client.send_bytes(&[0; 15_000]);
        world.run();
    }
    let closed: Vec<_> = early.iter().map(Client::is_closed).collect();
    assert_eq!(closed, [[true; 16].as_slice(), &[false; 4]].concat());
    early.iter_mut().for_each(Client::break_off);
    world.assert_rest();
}
