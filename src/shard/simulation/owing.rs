//! What a reader may owe, to the byte, and who is closed past it.

use serde_json::json;

use super::world::World;
use crate::config::Limits;
use crate::testing::Version;

#[test]
fn who_owes_more_than_the_bound_is_closed_and_nobody_else() {
    for version in Version::ALL {
        let mut world = World::new(1);
        let mut sender = world.join(0, version, "actor:1");
        sender.take();
        let start = sender.pipe.borrow().outbound.len();
        sender.push("actor:1", "shout", json!({"text": "measured"}));
        world.run();
        let frame = sender.pipe.borrow().outbound.len() - start;

        let limits = Limits { max_send_queue: 10 * frame, ..Limits::default() };
        let mut world = World::with_limits(1, limits);
        let mut sender = world.join(0, version, "actor:1");
        let sleeper = world.join(0, version, "actor:1");
        let mut reader = world.join(0, version, "actor:1");
        sleeper.pipe.borrow_mut().room = Some(0);
        for _ in 0..10 {
            sender.push("actor:1", "shout", json!({"text": "measured"}));
            world.run();
            assert!(!sleeper.is_closed(), "the bound itself is allowed");
        }
        sender.push("actor:1", "shout", json!({"text": "measured"}));
        world.run();
        assert!(sleeper.is_closed());
        assert_eq!(world.counts(0).slow_readers, 1);
        for client in [&mut sender, &mut reader] {
            assert_eq!(client.take_texts().len(), 11);
            client.close();
        }
        world.assert_rest();
        assert_eq!(world.app.take_log().len(), 6, "three terminated and dropped");
    }
}

/// What a single turn had queued was held against a reader only when more followed: until then he
/// could owe whatever a burst of small requests for large answers had brought.
#[test]
fn who_owes_too_much_by_one_turn_is_closed_with_it() {
    let pushes = json!({"count": 20, "size": 1_000});
    let mut world = World::new(1);
    let mut reader = world.join(0, Version::V2, "actor:1");
    let start = reader.pipe.borrow().outbound.len();
    reader.push("actor:1", "flood", pushes.clone());
    world.run();
    let all = reader.pipe.borrow().outbound.len() - start;

    for left in [10_000, 10_001] {
        let limits = Limits { max_send_queue: 10_000, ..Limits::default() };
        let mut world = World::with_limits(1, limits);
        let mut reader = world.join(0, Version::V2, "actor:1");
        reader.pipe.borrow_mut().room = Some(all - left);
        reader.push("actor:1", "flood", pushes.clone());
        world.run();
        assert_eq!(reader.is_closed(), left > 10_000);
        assert_eq!(world.counts(0).slow_readers, u64::from(left > 10_000));
        reader.break_off();
        world.assert_rest();
    }
}

#[test]
fn answers_to_many_requests_at_once_are_bounded_though_he_reads() {
    let limits = Limits { max_send_queue: 8_000, max_message_size: 2_000, ..Limits::default() };
    for (requests, is_bounded) in [(5, true), (1_000, false)] {
        let mut world = World::with_limits(1, limits.clone());
        let mut client = world.dial(0, Version::V2);
        client.send_bytes("GET /page HTTP/1.1\r\nHost: here\r\n\r\n".repeat(requests).as_bytes());
        world.run();
        assert_eq!(client.is_closed(), !is_bounded);
        let sent = client.pipe.borrow().outbound.len();
        assert!((requests.min(10) * 1_000..12_500).contains(&sent), "{sent} bytes");
        client.break_off();
        world.assert_rest();
    }
}

#[test]
fn what_was_written_is_no_longer_owed() {
    let limits = Limits { max_send_queue: 10_000, ..Limits::default() };
    let mut world = World::with_limits(1, limits);
    let mut reader = world.join(0, Version::V2, "actor:1");
    for round in 0..10 {
        reader.pipe.borrow_mut().room = Some(round);
        for _ in 0..5 {
            reader.push("actor:1", "flood", json!({"count": 2, "size": 400}));
            world.run();
        }
        reader.pipe.borrow_mut().room = None;
        world.run();
        assert_eq!(reader.take().len(), 10, "round {round}");
    }
}
