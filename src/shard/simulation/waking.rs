//! Callbacks that wait, and who wakes them.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::world::World;
use crate::testing::Version;

#[test]
fn a_join_that_waits_holds_up_its_own_topic_and_nothing_else() {
    for version in Version::ALL {
        let mut world = World::new(1);
        let mut client = world.connect(0, version);
        let slow = client.join("actor:slow", json!({"gate": "slow"}));
        let behind = client.push("actor:slow", "echo", json!({"text": "behind"}));
        let quick = client.join("actor:quick", json!({}));
        let echo = client.push("actor:quick", "echo", json!({"text": "beside"}));
        let heartbeat = client.heartbeat();
        world.run();
        assert!(client.take_reply(&quick).is_ok());
        assert!(client.take_reply(&echo).is_ok());
        assert!(client.take_reply(&heartbeat).is_ok());
        assert_eq!(client.take(), [], "nothing of the slow one");

        let gate = world.app.gate("slow");
        thread::spawn(move || gate.open()).join().expect("it only opens a gate");
        world.run();
        let refs: Vec<_> = client.take().into_iter().map(|message| message.message_ref).collect();
        assert_eq!(refs, [slow, behind]);
        client.finish();
        world.assert_rest();
    }
}

#[test]
fn a_disconnect_drops_a_join_that_waits() {
    let mut world = World::new(1);
    let mut client = world.connect(0, Version::V2);
    client.join("actor:1", json!({"gate": "never"}));
    client.push("actor:1", "echo", json!({}));
    world.run();
    client.break_off();
    world.run();
    assert_eq!(world.counts(0).processes, 0);
    world.app.gate("never").open();
    world.run();
    assert_eq!(world.app.take_log(), [""; 0], "there never was an actor");
    world.assert_rest();
}

#[test]
fn a_process_is_polled_once_however_often_it_is_woken() {
    let mut world = World::new(1);
    let mut client = world.join(0, Version::V2, "actor:1");
    let waits = client.push("actor:1", "await", json!({"gate": "gate"}));
    world.run();
    let gate = world.app.gate("gate");
    assert_eq!(gate.polls(), 1);
    for _ in 0..5 {
        gate.ring();
    }
    world.run();
    assert_eq!(gate.polls(), 2);
    gate.open();
    gate.ring();
    world.run();
    assert_eq!(gate.polls(), 3);
    assert!(client.take_reply(&waits).is_ok());
}

#[test]
fn a_process_that_is_woken_during_its_poll_is_polled_again() {
    let mut world = World::new(1);
    let mut client = world.join(0, Version::V2, "actor:1");
    let yields = client.push("actor:1", "yield", json!({"times": 100}));
    let echo = client.push("actor:1", "echo", json!({}));
    world.run();
    let refs: Vec<_> = client.take().into_iter().map(|message| message.message_ref).collect();
    assert_eq!(refs, [yields, echo]);
}

#[test]
fn who_is_woken_after_his_end_is_nobody() {
    let mut world = World::new(1);
    let mut client = world.join(0, Version::V2, "actor:1");
    client.push("actor:1", "await", json!({"gate": "old"}));
    world.run();
    client.join("actor:1", json!({}));
    let waits = client.push("actor:1", "await", json!({"gate": "new"}));
    world.run();
    // The second process stands in the first one's place, and waits as the first did.
    let (old, new) = (world.app.gate("old"), world.app.gate("new"));
    assert_eq!((old.polls(), new.polls()), (1, 1));
    for _ in 0..3 {
        old.ring();
        world.run();
    }
    assert_eq!((old.polls(), new.polls()), (1, 1));
    new.open();
    world.run();
    assert!(client.take_reply(&waits).is_ok());
    client.finish();
    world.assert_rest();
}

#[test]
fn a_waker_that_is_kept_wakes_nobody_else() {
    let mut world = World::new(1);
    let mut one = world.join(0, Version::V2, "actor:1");
    let mut other = world.join(0, Version::V2, "actor:2");
    one.push("actor:1", "await", json!({"gate": "one"}));
    world.run();
    // Its wakers outlive the wait, so its alarm must not become somebody else's.
    world.app.gate("one").open();
    world.run();
    other.push("actor:2", "await", json!({"gate": "other"}));
    world.run();
    world.app.gate("one").ring();
    world.run();
    assert_eq!(world.app.gate("other").polls(), 1);
}

#[test]
fn a_connect_that_waits_goes_on_when_it_is_woken() {
    for version in Version::ALL {
        let mut world = World::new(1);
        let mut client = world.dial(0, version);
        client.upgrade("/socket", "&gate=connect");
        // Sent without waiting for the upgrade.
        let heartbeat = client.heartbeat();
        world.run();
        client.read();
        assert_eq!(client.status, None);
        let gate = world.app.gate("connect");
        thread::spawn(move || gate.open()).join().expect("it only opens a gate");
        world.run();
        assert!(client.take_reply(&heartbeat).is_ok());
        client.finish();
        world.assert_rest();
    }
}

#[test]
fn a_connect_whose_client_is_gone_is_dropped_and_its_waker_void() {
    let mut world = World::new(1);
    let mut client = world.dial(0, Version::V2);
    client.upgrade("/socket", "&gate=old");
    world.run();
    client.finish();
    world.run();
    assert!(client.is_closed());
    // The next client has the same slot.
    let mut next = world.dial(0, Version::V2);
    next.upgrade("/socket", "&gate=new");
    world.run();
    world.app.gate("old").open();
    world.run();
    assert_eq!((world.app.gate("old").polls(), world.app.gate("new").polls()), (1, 1));
    world.app.gate("new").open();
    world.run();
    next.read();
    assert_eq!(next.status, Some(101));
    next.finish();
    world.assert_rest();
}

/// While the shards take their turns, other threads wake everybody all the time and in the end for
/// good: no wake may be lost, whenever it comes.
#[test]
fn wakers_of_other_threads_are_never_lost() {
    let mut world = World::new(2);
    let mut clients: Vec<_> =
        (0..8).map(|index| world.join(index % 2, Version::V2, "actor:1")).collect();
    for round in 0..20 {
        let names: Vec<_> = (0..8).map(|index| format!("{round}/{index}")).collect();
        let refs: Vec<_> = clients
            .iter_mut()
            .zip(&names)
            .map(|(client, name)| client.push("actor:1", "await", json!({ "gate": name })))
            .collect();
        let gates: Vec<_> = names.iter().map(|name| world.app.gate(name)).collect();
        let ringing = thread::spawn(move || {
            for gate in &gates {
                gate.ring();
                gate.ring();
                gate.open();
            }
        });
        while !ringing.is_finished() {
            world.step(100);
            thread::yield_now();
        }
        ringing.join().expect("it only rings and opens");
        world.run();
        for (client, message_ref) in clients.iter_mut().zip(&refs) {
            assert!(client.take_reply(message_ref).is_ok());
        }
    }
    clients.iter_mut().for_each(|client| client.finish());
    world.assert_rest();
}

#[test]
fn an_address_reaches_its_channel_from_another_thread_and_no_other_one() {
    let mut world = World::new(2);
    let mut client = world.join(1, Version::V2, "actor:1");
    client.push("actor:1", "introduce", json!({}));
    world.run();
    let send = |world: &mut World, text: &str| {
        let address = world.app.addresses()[0].clone();
        let note = super::actor::Note(text.to_owned());
        let sent = thread::spawn(move || address.send(note)).join().expect("it only sends");
        world.run();
        sent
    };
    assert_eq!(send(&mut world, "hello"), Ok(()));
    assert_eq!(client.take_texts(), [("note".to_owned(), "hello".to_owned())]);
    let leave = client.push("actor:1", "phx_leave", json!({}));
    world.run();
    assert!(client.take_reply(&leave).is_ok());
    let join = client.join("actor:1", json!({}));
    world.run();
    client.take_reply(&join);
    client.take();
    // It can't be known here that he is gone; there he is not found.
    assert_eq!(send(&mut world, "too late"), Ok(()));
    assert_eq!(client.take_texts(), []);
}

#[test]
fn an_answer_from_another_thread_reaches_its_client_and_no_stranger() {
    let mut world = World::new(1);
    let mut client = world.join(0, Version::V2, "actor:1");
    let asked = client.push("actor:1", "answer_later", json!({}));
    world.run();
    assert_eq!(client.find_reply(&asked), None);
    let question = world.app.questions()[0].clone();
    let answering = question.clone();
    thread::spawn(move || answering.ok(()))
        .join()
        .expect("it only answers")
        .expect("there is room");
    world.run();
    assert!(client.take_reply(&asked).is_ok());
    client.finish();
    world.run();
    let mut stranger = world.join(0, Version::V2, "actor:1");
    assert_eq!(stranger.pipe.borrow().id.map(|id| id.slot()), Some(0), "the same slot");
    question.ok(()).expect("that the client is gone is no error");
    world.run();
    assert_eq!(stranger.take(), []);
    stranger.finish();
    world.assert_rest();
}

#[test]
fn a_future_that_sleeps_goes_on_at_its_time_and_costs_nobody_else_any() {
    let mut world = World::new(1);
    let mut client = world.join(0, Version::V2, "actor:1");
    let mut other = world.join(0, Version::V2, "actor:1");
    let sleeps = client.push("actor:1", "sleep", json!({"millis": 1500}));
    world.pass(Duration::from_millis(1499));
    let echo = other.push("actor:1", "echo", json!({}));
    world.run();
    assert!(other.take_reply(&echo).is_ok());
    assert_eq!(client.find_reply(&sleeps), None);
    world.pass(Duration::from_millis(1));
    assert!(client.take_reply(&sleeps).is_ok());
}
