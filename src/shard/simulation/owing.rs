//! What a reader may owe, to the byte, and who is closed past it.

use serde_json::json;

use super::actor::numbered;
use super::client::Client;
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

/// A reader of a lossy channel who has read nothing while so many texts of 400 bytes were shouted,
/// and nothing of what was asked for meanwhile.
fn sleeper(limits: Limits, shouts: usize, asked: &[(usize, &str)]) -> (World, Client) {
    let mut world = World::with_limits(1, limits);
    let mut sender = world.join(0, Version::V2, "feed:1");
    let mut sleeper = world.join(0, Version::V2, "feed:1");
    sleeper.pipe.borrow_mut().room = Some(300);
    for number in 0..shouts {
        sender.push("feed:1", "shout", json!({"text": numbered(number, 400)}));
        for (_, event) in asked.iter().filter(|(at, _)| *at == number) {
            sleeper.push("feed:1", event, json!({"text": event}));
        }
        world.run();
    }
    let heard: Vec<_> = sender.take_texts().into_iter().map(|(_, text)| text).collect();
    assert_eq!(heard.len(), shouts, "who reads hears all");
    (world, sleeper)
}

#[test]
fn a_lossy_channel_misses_the_oldest_broadcasts_and_is_told() {
    let limits = Limits { max_send_queue: 10_000, ..Limits::default() };
    let (mut world, mut sleeper) = sleeper(limits, 100, &[]);
    assert!(!sleeper.is_closed());
    let dropped = world.counts(0).dropped as usize;
    assert!((75..95).contains(&dropped), "{dropped} dropped of a hundred");
    sleeper.pipe.borrow_mut().room = None;
    world.run();
    let got = sleeper.take_texts();
    let gaps = got.iter().filter(|(event, text)| event == "gap" && text == "feed:1").count();
    assert!(gaps > 0, "it was never told");
    let shouts: Vec<usize> = got
        .iter()
        .filter(|(event, _)| event == "shout")
        .map(|(_, text)| text.split(':').next().expect("a number").parse().expect("a number"))
        .collect();
    assert!(shouts.is_sorted(), "{shouts:?}");
    assert_eq!((shouts[0], shouts.last(), shouts.len()), (0, Some(&99), 100 - dropped));
    assert!(sleeper.is_between_frames());
    assert_eq!(world.counts(0).slow_readers, 0);
}

#[test]
fn replies_and_pushes_are_never_dropped() {
    let limits = Limits { max_send_queue: 10_000, ..Limits::default() };
    let asked = [(3, "echo"), (20, "push"), (40, "echo"), (41, "push"), (90, "echo")];
    let (mut world, mut sleeper) = sleeper(limits, 100, &asked);
    assert!(world.counts(0).dropped > 0);
    sleeper.pipe.borrow_mut().room = None;
    world.run();
    let got = sleeper.take();
    let count = |event: &str| got.iter().filter(|message| message.event == event).count();
    assert_eq!((count("phx_reply"), count("pushed")), (3, 2));
}

#[test]
fn who_owes_too_much_besides_broadcasts_is_closed_though_his_channel_is_lossy() {
    let limits = Limits { max_send_queue: 4_000, ..Limits::default() };
    let asked: Vec<_> = (0..100).map(|number| (number, "echo")).collect();
    let (world, sleeper) = sleeper(limits, 100, &asked);
    assert!(sleeper.is_closed());
    assert_eq!(world.counts(0).slow_readers, 1);
}

/// Each broadcast was dropped by itself, for which all that waited was looked through.
#[test]
fn who_owes_nearly_all_he_may_besides_broadcasts_is_closed_with_the_next() {
    let limits = Limits { max_send_queue: 10_000, ..Limits::default() };
    let (mut world, mut sleeper) = sleeper(limits, 0, &[]);
    let mut sender = world.join(0, Version::V2, "feed:1");
    sleeper.push("feed:1", "echo", json!({"text": "x".repeat(9_900)}));
    world.run();
    assert!(!sleeper.is_closed());
    sender.push("feed:1", "shout", json!({"text": "x".repeat(500)}));
    world.run();
    assert!(sleeper.is_closed());
}

/// What waits for a channel that has left is not held against another in its place.
#[test]
fn what_waits_for_a_channel_that_ended_is_not_dropped_for_its_successor() {
    let limits = Limits { max_send_queue: 10_000, ..Limits::default() };
    let (mut world, mut sleeper) = sleeper(limits, 20, &[]);
    sleeper.push("feed:1", "phx_leave", json!({}));
    world.run();
    let mut other = world.join(0, Version::V2, "feed:1");
    let mut sender = world.join(0, Version::V2, "actor:1");
    for _ in 0..40 {
        let asked = sleeper.heartbeat();
        sender.push("actor:1", "echo", json!({ "text": asked }));
        world.run();
    }
    assert_eq!(other.take_texts(), [], "a gap that is none of its own");
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
