//! What ends by itself, and when.

use std::time::Duration;

use serde_json::json;

use super::client::Client;
use super::world::World;
use crate::testing::Version;

/// The whole seconds of the wheel must neither cut a deadline short nor stretch it by more than
/// one, wherever in a second the time began to count.
fn offsets() -> impl Iterator<Item = Duration> {
    [0, 1, 300, 999].into_iter().map(Duration::from_millis)
}

#[test]
fn silence_is_ended_after_its_time_and_not_before() {
    for offset in offsets() {
        let mut world = World::new(1);
        let mut client = world.connect(0, Version::V2);
        world.pass(Duration::from_secs(7) + offset);
        // Whatever is received counts as life.
        client.send_frame(super::client::PONG, b"");
        world.run();
        world.pass(Duration::from_secs(60) - TICK);
        client.read();
        assert_eq!(client.close_code, None, "{offset:?} after a whole second");
        world.pass(SECOND);
        client.read();
        assert_eq!(client.close_code, Some(1002), "{offset:?} after a whole second");

        // He does not answer the Close either.
        world.pass(Duration::from_secs(5) - SECOND);
        assert!(!client.is_closed());
        world.pass(SECOND + SECOND);
        assert!(client.is_closed());
        assert_eq!((world.counts(0).idle, world.counts(0).overdue), (1, 1));
        world.assert_rest();
    }
}

#[test]
fn a_client_that_speaks_is_never_ended() {
    let mut world = World::new(1);
    let mut client = world.join(0, Version::V2, "actor:1");
    for _ in 0..20 {
        world.pass(Duration::from_millis(59_999));
        let heartbeat = client.heartbeat();
        world.run();
        assert!(client.take_reply(&heartbeat).is_ok());
    }
    client.finish();
    world.assert_rest();
}

#[test]
fn a_request_must_be_whole_in_time() {
    for offset in offsets() {
        for bytes in ["", "GET /page HTTP/1.1\r\n"] {
            let mut world = World::new(1);
            world.pass(offset);
            let mut client = world.dial(0, Version::V2);
            world.run();
            world.pass(Duration::from_secs(8));
            client.send_bytes(bytes.as_bytes());
            world.pass(Duration::from_secs(2) - TICK);
            client.read();
            assert!(!client.is_closed() && client.status.is_none(), "{offset:?} {bytes}");
            world.pass(SECOND);
            client.read();
            if bytes.is_empty() {
                assert!(client.is_closed());
            } else {
                assert_eq!(client.status, Some(408));
                assert!(client.pipe.borrow().is_shut_down);
                // He does not end his side either.
                world.pass(Duration::from_secs(6));
                assert!(client.is_closed());
            }
            world.assert_rest();
        }
    }
}

#[test]
fn a_socket_that_never_becomes_writable_ends_all_the_same() {
    let mut world = World::new(1);
    let mut client = world.join(0, Version::V2, "actor:1");
    {
        let mut pipe = client.pipe.borrow_mut();
        (pipe.room, pipe.is_mute) = (Some(0), true);
    }
    client.push("actor:1", "echo", json!({}));
    world.run();
    client.pipe.borrow_mut().room = None;
    world.pass(Duration::from_secs(60 + 5 + 2));
    assert!(client.is_closed());
    assert_eq!(client.close_code, None, "nothing could be sent");
    world.assert_rest();
}

/// A client whose actor has a callback waiting at a gate, or waits in `terminate`.
pub(super) fn waiting(world: &mut World, in_terminate: bool) -> Client {
    let mut client = world.connect(0, Version::V2);
    let gate = in_terminate.then_some("gate");
    client.join("actor:1", json!({ "terminate_gate": gate }));
    if !in_terminate {
        client.push("actor:1", "await", json!({"gate": "gate"}));
    }
    world.run();
    client.take();
    client
}

#[test]
fn what_waits_when_its_client_goes_has_a_time_to_end() {
    for in_terminate in [false, true] {
        let mut world = World::new(1);
        waiting(&mut world, in_terminate).break_off();
        world.pass(Duration::from_secs(5) - TICK);
        assert_eq!(world.counts(0).processes, 1);
        world.app.gate("gate").open();
        world.run();
        assert_eq!(world.app.take_log(), ["actor:1 terminated: Closed", "actor:1 dropped"]);
        assert_eq!(world.counts(0).timers, 0, "the time-out ends with its process");

        let mut world = World::new(1);
        waiting(&mut world, in_terminate).break_off();
        world.pass(Duration::from_secs(5));
        assert_eq!(world.app.take_log(), ["actor:1 dropped"]);
        world.app.gate("gate").open();
        world.assert_rest();
    }
}

#[test]
fn a_leave_that_waits_in_terminate_has_a_time_to_end() {
    let mut world = World::new(1);
    let mut client = waiting(&mut world, true);
    let leave = client.push("actor:1", "phx_leave", json!({}));
    world.run();
    assert!(client.take_reply(&leave).is_ok());
    // Its topic is free at once; the old one ends in its own time.
    let join = client.join("actor:1", json!({}));
    world.run();
    assert!(client.take_reply(&join).is_ok());
    assert_eq!(world.counts(0).processes, 2);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.counts(0).processes, 1);
    assert_eq!(world.app.take_log(), ["actor:1 dropped"]);
}

#[test]
fn timers_are_due_on_time_and_end_with_their_channel() {
    let mut world = World::new(1);
    let mut client = world.join(0, Version::V2, "actor:1");
    client.push("actor:1", "remind", json!({"millis": 2500}));
    client.push("actor:1", "repeat", json!({"millis": 1000, "text": "tick"}));
    let mut texts = Vec::new();
    for _ in 0..7 {
        world.pass(Duration::from_millis(500));
        texts.push(client.take_texts().into_iter().map(|(_, text)| text).collect::<Vec<_>>());
    }
    let (tick, reminded) = (vec!["tick".to_owned()], vec!["reminded".to_owned()]);
    let none = Vec::new();
    assert_eq!(texts, [&none, &tick, &none, &tick, &reminded, &tick, &none].map(Clone::clone));
    client.push("actor:1", "phx_leave", json!({}));
    world.run();
    assert_eq!(world.counts(0).timers, 0);
    client.take();
    world.pass(Duration::from_secs(5));
    assert_eq!(client.take(), []);
}

#[test]
fn a_drain_that_is_hurried_waits_for_nobody_at_all() {
    let mut world = World::new(2);
    let mut stubborn = waiting(&mut world, false);
    let mut silent = world.join(1, Version::V2, "actor:1");
    world.handle().shutdown();
    world.run();
    assert!(!world.has_ended());
    world.handle().hurry();
    world.run();
    assert!(world.has_ended());
    for client in [&mut stubborn, &mut silent] {
        client.read();
        assert_eq!(client.close_code, Some(1012), "what was said before is still said");
    }
    let log = world.app.take_log();
    assert_eq!(log, ["actor:1 terminated: Draining", "actor:1 dropped", "actor:1 dropped"]);
}

#[test]
fn who_is_in_a_hurry_from_the_first_is_told_goodbye_too() {
    let mut world = World::new(1);
    let mut client = world.join(0, Version::V2, "actor:1");
    world.handle().hurry();
    world.run();
    assert!(world.has_ended());
    client.read();
    assert_eq!(client.close_code, Some(1012));
}

const SECOND: Duration = Duration::from_secs(1);
/// The smallest step that a test takes.
const TICK: Duration = Duration::from_millis(1);
