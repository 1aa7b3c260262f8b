//! In which order a client sees what its channels and others send.

use serde_json::json;
use simurgh::testing::Client;

use crate::doors::everywhere;
use crate::script::{
    Step, broadcast, broadcast_from, broadcast_with, handle_broadcast, push, reply, script,
};

/// The events of the next messages of a topic, replies by their status.
fn events(client: &mut Client, topic: &str, count: usize) -> Vec<String> {
    let messages = (0..count).map(|_| client.next().unwrap());
    let messages: Vec<_> = messages.collect();
    assert!(messages.iter().all(|message| message.topic == topic), "{messages:?}");
    messages.into_iter().map(|message| message.event).collect()
}

#[test]
fn a_client_sees_what_its_channel_sends_in_the_order_it_was_sent() {
    // shows: order.broadcast-push-reply, own.B, own.P
    everywhere(|world, door| {
        let mut client = door.client(world);
        client.join("room:1", json!({})).unwrap();
        let steps = [
            broadcast("b1"),
            push("p1"),
            // The endpoint's handle takes the shard's own way too.
            handle_broadcast("room:1", "b2"),
            push("p2"),
            reply(json!(1)),
        ];
        client.push("room:1", "act", script(steps));
        let messages: Vec<_> = (0..5).map(|_| client.next().unwrap()).collect();
        let seen: Vec<_> = messages.iter().map(|message| message.event.as_str()).collect();
        assert_eq!(seen, ["b1", "p1", "b2", "p2", "phx_reply"]);
        for message in &messages[..4] {
            let is_push = message.event.starts_with('p');
            let expected = if is_push { client.join_ref("room:1") } else { json!(null) };
            assert_eq!((&message.join_ref, &message.message_ref), (&expected, &json!(null)));
        }
    });
}

#[test]
fn an_intercepted_broadcast_follows_the_reply_of_the_callback_that_made_it() {
    // shows: order.intercepted-after-reply
    everywhere(|world, door| {
        let mut client = door.client(world);
        client.join("secret:1", json!({})).unwrap();
        let steps = [broadcast("secret"), broadcast("b"), push("p"), reply(json!(1))];
        client.push("secret:1", "act", script(steps));
        let seen = events(&mut client, "secret:1", 4);
        assert_eq!(seen, ["b", "p", "phx_reply", "secret"]);
    });
}

#[test]
fn broadcasts_of_one_sender_reach_each_subscriber_in_order() {
    // shows: order.broadcasts-of-one-sender
    everywhere(|world, door| {
        let shards = world.server.shards();
        let mut clients: Vec<_> = (0..shards).map(|shard| door.client_on(world, shard)).collect();
        for client in &mut clients {
            client.join("room:1", json!({})).unwrap();
        }
        let mut sender = door.client(world);
        sender.join("room:1", json!({})).unwrap();
        for half in 0..2 {
            let numbers = half * 50..half * 50 + 50;
            let steps: Vec<_> = numbers.map(|n| broadcast_with("n", json!({"n": n}))).collect();
            sender.push("room:1", "act", script(steps));
        }
        for client in clients.iter_mut().chain([&mut sender]) {
            for n in 0..100 {
                assert_eq!(client.expect("room:1", "n").unwrap().payload, json!({"n": n}));
            }
            client.silence_everywhere().unwrap();
        }
    });
}

#[test]
fn a_thread_that_is_no_shard_keeps_the_order_of_its_broadcasts() {
    everywhere(|world, door| {
        let mut clients = [door.client(world), door.far_client(world)];
        for client in &mut clients {
            client.join("room:1", json!({})).unwrap();
            client.join("secret:1", json!({})).unwrap();
        }
        let handle = world.server.handle();
        let thread = std::thread::spawn(move || {
            for n in 0..100 {
                handle.broadcast("room:1", "n", json!({"n": n})).unwrap();
                handle.broadcast("secret:1", "secret", json!({"n": n})).unwrap();
            }
        });
        thread.join().unwrap();
        for client in &mut clients {
            let messages: Vec<_> = (0..200).map(|_| client.next().unwrap()).collect();
            let of = |topic: &str| messages.iter().filter(|m| m.topic == topic).collect::<Vec<_>>();
            let (room, secret) = (of("room:1"), of("secret:1"));
            assert_eq!((room.len(), secret.len()), (100, 100));
            for n in 0..100 {
                assert_eq!(room[n].payload, json!({"n": n}));
                assert_eq!(secret[n].payload, json!({"handle_out": {"n": n}}));
            }
        }
    });
}

#[test]
fn a_broadcast_from_a_channel_is_for_all_but_itself() {
    everywhere(|world, door| {
        let mut sender = door.client(world);
        let mut others = [door.client(world), door.far_client(world)];
        for client in others.iter_mut().chain([&mut sender]) {
            client.join("room:1", json!({})).unwrap();
            client.join("secret:1", json!({})).unwrap();
        }
        for topic in ["room:1", "secret:1"] {
            let steps = [broadcast_from("secret"), Step::Note(topic.into()), reply(json!(1))];
            let sent = sender.push(topic, "act", script(steps));
            assert!(sender.reply(sent).unwrap().is_ok());
            for client in &mut others {
                client.expect(topic, "secret").unwrap();
            }
        }
        sender.silence_everywhere().unwrap();
    });
}
