//! One thing at a time for each channel, in order, and no more waiting than is allowed.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::actor::Note;
use super::world::World;
use crate::config::Limits;
use crate::testing::Version;
use crate::{AddressError, BroadcastError, HandleError};

#[test]
fn what_waits_is_handled_in_the_order_in_which_it_came() {
    for version in Version::ALL {
        let mut world = World::new(1);
        let mut client = world.join(0, version, "actor:1");
        client.push("actor:1", "introduce", json!({}));
        client.push("actor:1", "await", json!({"gate": "gate"}));
        world.run();
        let note = |text: &str| Note(text.to_owned());
        client.push("actor:1", "echo", json!({"text": "first"}));
        world.run();
        world.app.addresses()[0].send(note("second")).expect("there is room");
        world.run();
        let third = json!({"text": "third"});
        world.handle().broadcast("actor:1", "intercepted", third).expect("there is room");
        world.run();
        client.push("actor:1", "echo", json!({"text": "fourth"}));
        // Not intercepted, so it goes past the channel.
        let past = json!({"text": "past"});
        world.handle().broadcast("actor:1", "shout", past).expect("there is room");
        world.run();
        assert_eq!(client.take_texts(), [("shout".to_owned(), "past".to_owned())]);
        world.app.gate("gate").open();
        world.run();
        let came: Vec<_> =
            client
                .take()
                .into_iter()
                .map(|message| {
                    let payload = message.payload.as_json().expect("JSON").clone();
                    let text =
                        &if message.event == "phx_reply" { &payload["response"] } else { &payload }
                            ["text"];
                    text.as_str().unwrap_or("the gate").to_owned()
                })
                .collect();
        assert_eq!(came, ["the gate", "first", "second", "third", "fourth"]);
    }
}

#[test]
fn a_channel_that_is_behind_holds_up_its_client_and_after_a_while_refuses() {
    let limits = Limits { max_mailbox: 8, ..Limits::default() };
    let mut world = World::with_limits(1, limits);
    let mut client = world.join(0, Version::V2, "actor:1");
    client.push("actor:1", "introduce", json!({}));
    client.push("actor:1", "await", json!({"gate": "gate"}));
    let echoes: Vec<_> = (0..12).map(|_| client.push("actor:1", "echo", json!({}))).collect();
    let heartbeat = client.heartbeat();
    world.run();
    assert_eq!(client.take(), [], "it waits with half of what may wait for the channel");
    world.pass(Duration::from_secs(11));
    for refused in &echoes[8..] {
        let reply = client.take_reply(refused);
        assert!(!reply.is_ok());
        assert_eq!(reply.response, json!({"reason": "overloaded"}));
    }
    assert!(client.take_reply(&heartbeat).is_ok());
    // On the way to another thread's channel nobody can be told; it is counted.
    let address = world.app.addresses()[0].clone();
    assert_eq!(address.send(Note("no room".to_owned())), Ok(()));
    world.run();
    assert_eq!(world.counts(0).overloaded, 5);
    world.app.gate("gate").open();
    world.run();
    for kept in &echoes[..8] {
        assert!(client.take_reply(kept).is_ok());
    }
    assert_eq!(client.take().len(), 1, "the gate's answer");
}

#[test]
fn a_channel_that_is_behind_for_a_moment_refuses_nothing() {
    let limits = Limits { max_mailbox: 8, ..Limits::default() };
    let mut world = World::with_limits(1, limits);
    let mut client = world.join(0, Version::V2, "actor:1");
    client.push("actor:1", "await", json!({"gate": "gate"}));
    let echoes: Vec<_> = (0..100).map(|_| client.push("actor:1", "echo", json!({}))).collect();
    world.pass(Duration::from_secs(5));
    world.app.gate("gate").open();
    world.run();
    for echo in &echoes {
        assert!(client.take_reply(echo).is_ok());
    }
    assert_eq!(world.counts(0).overloaded, 0);
    client.finish();
    world.assert_rest();
}

#[test]
fn who_can_not_queue_what_it_must_intercept_ends_and_its_client_is_told() {
    let limits = Limits { max_mailbox: 3, ..Limits::default() };
    let mut world = World::with_limits(1, limits);
    let mut busy = world.join(0, Version::V2, "actor:1");
    let mut idle = world.join(0, Version::V2, "actor:1");
    busy.push("actor:1", "await", json!({"gate": "gate"}));
    world.run();
    for _ in 0..5 {
        idle.push("actor:1", "intercepted", json!({"text": "hello"}));
        world.run();
    }
    assert_eq!(idle.take_texts().len(), 5);
    world.app.gate("gate").open();
    world.run();
    let events: Vec<_> = busy.take().into_iter().map(|message| message.event).collect();
    assert_eq!(events, ["phx_reply", "phx_error"]);
    assert!(world.app.take_log()[0].starts_with("actor:1 terminated: Error"));
    busy.finish();
    idle.finish();
    world.assert_rest();
}

#[test]
fn what_waits_to_be_intercepted_is_bounded_in_bytes_too() {
    let limits = Limits { max_mailbox_bytes: 35_000, ..Limits::default() };
    let mut world = World::with_limits(1, limits);
    for (sizes, ends) in [([10_000; 3].as_slice(), false), (&[50_000], false), (&[10_000; 4], true)]
    {
        let mut busy = world.join(0, Version::V2, "actor:1");
        let mut idle = world.join(0, Version::V2, "actor:1");
        busy.push("actor:1", "await", json!({"gate": "gate"}));
        busy.push("actor:1", "echo", json!({}));
        world.run();
        for &size in sizes {
            idle.push("actor:1", "intercepted", json!({"text": "x".repeat(size)}));
            world.run();
        }
        world.app.gate("gate").open();
        world.run();
        let events: Vec<_> = busy.take().into_iter().map(|message| message.event).collect();
        assert_eq!(events.contains(&"phx_error".to_owned()), ends, "{events:?}");
        let heard = events.iter().filter(|event| *event == "intercepted").count();
        assert_eq!(heard, if ends { 0 } else { sizes.len() });
        world.app.gate("gate").close();
        busy.finish();
        idle.finish();
        world.assert_rest();
    }
}

#[test]
fn a_leave_waits_its_turn_and_what_follows_it_is_not_heard() {
    let mut world = World::new(1);
    let mut client = world.join(0, Version::V2, "actor:1");
    let waits = client.push("actor:1", "await", json!({"gate": "gate"}));
    let before = client.push("actor:1", "echo", json!({}));
    let leave = client.push("actor:1", "phx_leave", json!({}));
    client.push("actor:1", "echo", json!({"text": "after"}));
    world.run();
    assert_eq!(client.take(), []);
    world.app.gate("gate").open();
    world.run();
    let came: Vec<_> = client.take().into_iter().map(|it| (it.event, it.message_ref)).collect();
    let replied = |message_ref: String| ("phx_reply".to_owned(), message_ref.into());
    assert_eq!(came[..3], [replied(waits), replied(before), replied(leave)]);
    assert_eq!(came[3..], [("phx_close".to_owned(), "j1".into())]);
}

#[test]
fn broadcasts_of_one_sender_arrive_in_order_on_every_shard() {
    let mut world = World::new(4);
    let mut clients: Vec<_> =
        (0..8).map(|index| world.join(index % 4, Version::ALL[index % 2], "actor:1")).collect();
    for number in 0..100 {
        clients[0].push("actor:1", "shout", json!({"text": number.to_string()}));
        if number % 7 == 0 {
            world.step(3);
        }
    }
    world.run();
    let expected: Vec<_> = (0..100).map(|n| ("shout".to_owned(), n.to_string())).collect();
    for client in &mut clients {
        assert_eq!(client.take_texts(), expected);
    }
}

/// A burst of one client filled the queue to the next shard within a turn. Everyone there missed
/// messages and was thrown out, and so was the one who had sent it.
#[test]
fn a_burst_of_one_client_is_slowed_and_nobody_misses_any_of_it() {
    let limits = [
        Limits { max_mesh_queue: 8, ..Limits::default() },
        Limits { max_mesh_bytes: 35_000, ..Limits::default() },
    ];
    for limits in limits {
        let mut world = World::with_limits(3, limits);
        let mut sender = world.join(0, Version::V2, "actor:1");
        let mut others: Vec<_> =
            (0..3).map(|shard| world.join(shard, Version::V2, "actor:1")).collect();
        let long = "x".repeat(3_000);
        let said: Vec<_> = (0..300).map(|number| format!("{number} {long}")).collect();
        for text in &said {
            sender.push("actor:1", "shout", json!({ "text": text }));
        }
        let heartbeat = sender.heartbeat();
        world.pass(Duration::from_secs(1));
        for client in &mut others {
            let heard: Vec<_> = client.take_texts().into_iter().map(|(_, text)| text).collect();
            assert!(heard == said, "{} of {}", heard.len(), said.len());
        }
        assert!(sender.take_reply(&heartbeat).is_ok());
        for shard in 0..3 {
            let counts = world.counts(shard);
            assert_eq!((counts.mesh_full, counts.crashes, counts.overloaded), (0, 0, 0));
        }
    }
}

/// Many clients who say one thing each fill the queue as well as one who says much.
#[test]
fn a_shard_that_is_slow_holds_up_those_who_speak_to_it_and_loses_nothing() {
    let limits = Limits { max_mesh_queue: 16, ..Limits::default() };
    let mut world = World::with_limits(2, limits);
    let mut far = world.join(1, Version::V2, "actor:1");
    let mut near: Vec<_> = (0..40).map(|_| world.join(0, Version::V2, "actor:1")).collect();
    let mut silent = world.join(0, Version::V2, "actor:2");
    for member in &mut near {
        member.push("actor:1", "shout", json!({"text": "hello"}));
    }
    let heartbeat = silent.heartbeat();
    for _ in 0..20 {
        world.turn(0);
    }
    // The other shard has not had a turn. Those for whom it has no room wait, and nobody else.
    assert_eq!(near[0].take_texts().len(), 12);
    assert!(silent.take_reply(&heartbeat).is_ok());
    world.pass(Duration::from_secs(1));
    assert_eq!(far.take_texts().len(), 40);
    assert_eq!((world.counts(0).mesh_full, world.counts(0).crashes), (0, 0));
}

#[test]
fn what_a_callback_makes_beyond_its_queue_is_told_to_it_on_every_layout() {
    let limits = Limits { max_mesh_queue: 4, ..Limits::default() };
    for shards in [1, 2, 4] {
        let mut world = World::with_limits(shards, limits.clone());
        let mut sender = world.join(0, Version::V2, "actor:1");
        let mut far = world.join(shards - 1, Version::V2, "actor:1");
        sender.push("actor:1", "shout_times", json!({"times": 6, "text": "hello"}));
        world.run();
        // The fifth fails, and the sender by its own `?`.
        let events: Vec<_> = sender.take().into_iter().map(|message| message.event).collect();
        assert_eq!(events, ["shout", "shout", "shout", "shout", "phx_error"]);
        assert_eq!(far.take_texts().len(), 4);
        assert_eq!((world.counts(0).overloaded, world.counts(0).mesh_full), (1, 0));
    }
}

#[test]
fn a_full_queue_between_shards_is_told_to_the_sender_and_served_to_its_end() {
    let limits = Limits { max_mesh_queue: 4, ..Limits::default() };
    let mut world = World::with_limits(2, limits);
    let mut first = world.join(0, Version::V2, "actor:1");
    let mut sender = world.join(0, Version::V2, "actor:1");
    let mut far = world.join(1, Version::V2, "actor:1");
    for (client, times) in [(&mut first, 2), (&mut sender, 4)] {
        client.push("actor:1", "shout_times", json!({"times": times, "text": "hello"}));
        world.turn(0);
        world.turn(0);
    }
    world.run();
    // The fifth found the queue full, so the sender has crashed with it.
    let events: Vec<_> = sender.take().into_iter().map(|message| message.event).collect();
    assert_eq!(events.iter().filter(|event| *event == "shout").count(), 5);
    assert!(events.contains(&"phx_error".to_owned()), "{events:?}");
    // Those far away hear what the queue held, and then that there was more.
    let events: Vec<_> = far.take().into_iter().map(|message| message.event).collect();
    assert_eq!(events, ["shout", "shout", "shout", "shout", "phx_error"]);
    assert_eq!(world.counts(0).mesh_full, 1);
    far.join("actor:1", json!({}));
    world.run();
    far.take();
    world.handle().broadcast("actor:1", "shout", json!({"text": "again"})).expect("there is room");
    world.run();
    assert_eq!(far.take_texts().len(), 1);
}

#[test]
fn what_one_turn_makes_is_bounded_in_bytes_too() {
    let limits = Limits { max_mesh_bytes: 35_000, ..Limits::default() };
    for shards in [1, 2] {
        let mut world = World::with_limits(shards, limits.clone());
        let mut sender = world.join(0, Version::V2, "actor:1");
        let mut far = world.join(shards - 1, Version::V2, "actor:1");
        let text = "x".repeat(10_000);
        sender.push("actor:1", "shout_times", json!({"times": 4, "text": text}));
        world.run();
        assert_eq!(far.take_texts().len(), 3);
        assert_eq!(sender.take().pop().expect("the end").event, "phx_error");
        // There is always room for one.
        sender.join("actor:1", json!({}));
        for size in [10_000, 50_000] {
            sender.push("actor:1", "shout", json!({"text": "x".repeat(size)}));
            world.pass(Duration::from_secs(1));
        }
        assert_eq!(far.take_texts().len(), 2);
        assert_eq!(world.counts(0).mesh_full, 0);
    }
}

#[test]
fn an_inbox_is_full_of_bytes_too() {
    let limits = Limits { max_inbox_bytes: 35_000, ..Limits::default() };
    let mut world = World::with_limits(1, limits);
    let mut client = world.join(0, Version::V2, "actor:1");
    for sizes in [[10_000; 4].as_slice(), &[50_000], &[10_000; 3]] {
        let handle = world.handle();
        let sizes = sizes.to_vec();
        let sending = thread::spawn(move || {
            let text = |size| json!({"text": "x".repeat(size)});
            let send = |size| handle.broadcast("actor:1", "shout", text(size)).is_ok();
            sizes.into_iter().map(send).collect::<Vec<_>>()
        });
        let sent = sending.join().expect("it only sends");
        // The first of all finds room however large it is.
        let fits: Vec<_> = (0..sent.len()).map(|place| place < 3).collect();
        assert_eq!(sent, fits);
        world.run();
        let shouts = client.take().iter().filter(|message| message.event == "shout").count();
        assert_eq!(shouts, fits.iter().filter(|fits| **fits).count());
        client.join("actor:1", json!({}));
        world.run();
        client.take();
    }
    assert_eq!(world.counts(0).inbox_full, 1);
}

#[test]
fn a_full_inbox_is_told_to_the_thread_that_sends() {
    let limits = Limits { max_inbox: 4, ..Limits::default() };
    let mut world = World::with_limits(2, limits);
    let mut client = world.join(1, Version::V2, "actor:1");
    client.push("actor:1", "introduce", json!({}));
    world.run();
    let (handle, address) = (world.handle(), world.app.addresses()[0].clone());
    let sending = thread::spawn(move || {
        let sent = (0..6).map(|_| handle.broadcast("actor:1", "shout", ()));
        (sent.collect::<Vec<_>>(), address.send(Note("no room".to_owned())))
    });
    let (sent, noted) = sending.join().expect("it only sends");
    assert!(sent[..4].iter().all(Result::is_ok));
    let is_overloaded = |sent: &Result<(), HandleError>| {
        matches!(sent, Err(HandleError::Broadcast(BroadcastError::Overloaded { shards: 1 })))
    };
    assert!(sent[4..].iter().all(is_overloaded), "{sent:?}");
    assert_eq!(noted, Err(AddressError::Full));
    world.run();
    let events: Vec<_> = client.take().into_iter().map(|message| message.event).collect();
    assert_eq!(events, ["shout", "shout", "shout", "shout", "phx_error"]);
}

/// The last words of a state are broadcast when everything of the turn was written; they used to
/// wait for whatever woke the shard next.
#[test]
fn what_is_broadcast_by_a_drop_goes_out_by_itself() {
    let mut world = World::new(2);
    let mut near = world.join(0, Version::V2, "actor:1");
    let mut far = world.join(1, Version::V2, "actor:1");
    let mut leaver = world.connect(0, Version::V2);
    leaver.join("actor:2", json!({"last_words": ["actor:1", "farewell"]}));
    leaver.push("actor:2", "phx_leave", json!({}));
    world.run();
    for client in [&mut near, &mut far] {
        assert_eq!(client.take_texts(), [("last words".to_owned(), "farewell".to_owned())]);
    }
}

/// The kernel was to receive again from a client who had been held, but was told so only when
/// something else woke the shard.
#[test]
fn who_was_held_goes_on_by_himself() {
    let mut world = World::new(1);
    let mut client = world.join(0, Version::V2, "actor:1");
    world.kernel(0).faults.cuts = 100;
    let text = "x".repeat(300_000);
    let echo = client.push("actor:1", "echo", json!({ "text": text }));
    world.run();
    assert!(client.take_reply(&echo).response == json!({ "text": text }));
    client.finish();
    world.assert_rest();
}
