//! Broadcasts: who gets them, as what, and what they cost between shards.

use std::convert::identity;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use simurgh::{HandleError, Payload};

use crate::doors::{Door, everywhere, on_new_servers};
use crate::script::{
    Plan, Step, broadcast, broadcast_with, handle_broadcast, note, push, reply, script, subscribe,
    unsubscribe, wait,
};
use crate::support::{World, limits};

#[test]
fn a_broadcast_reaches_every_subscriber_of_its_topic_on_every_shard() {
    everywhere(|world, door| {
        // Two who send, and on every shard one from each door.
        let mut clients = vec![door.client(world), door.far_client(world)];
        for shard in 0..world.server.shards() {
            clients.extend(Door::ALL.iter().map(|door| door.client_on(world, shard)));
        }
        for client in &mut clients {
            client.join("room:1", json!({})).unwrap();
            client.join("room:2", json!({})).unwrap();
        }
        for sender in [0, 1] {
            clients[sender].push("room:1", "act", script([broadcast("b")]));
            for client in &mut clients {
                let message = client.expect("room:1", "b").unwrap();
                assert!(message.join_ref.is_null() && message.message_ref.is_null(), "{message}");
            }
        }
        // From a thread of the application's.
        let handle = world.server.handle();
        handle.broadcast("room:2", "text", json!({"a": [1]})).unwrap();
        for client in &mut clients {
            assert_eq!(client.expect("room:2", "text").unwrap().payload, json!({"a": [1]}));
        }
        handle.broadcast("room:nobody", "b", json!({})).unwrap();
        for client in &mut clients {
            client.silence_everywhere().unwrap();
        }
    });
}

#[test]
fn a_binary_broadcast_reaches_those_who_can_read_it() {
    // shows: binary.broadcast-layout
    everywhere(|world, door| {
        if !door.has_binary() {
            return;
        }
        let shards = 0..world.server.shards();
        let mut clients: Vec<_> = shards.map(|shard| door.client_on(world, shard)).collect();
        for client in &mut clients {
            client.join("room:1", json!({})).unwrap();
        }
        world.server.handle().broadcast("room:1", "b", Payload::binary(vec![1, 2])).unwrap();
        for client in &mut clients {
            assert_eq!(client.expect("room:1", "b").unwrap().payload, [1, 2][..]);
        }
    });
}

/// Who got what one member can't read, and whether its sender heard of that, depended on which shard
/// each of them was on.
#[test]
fn what_one_member_can_not_be_sent_reaches_the_others_and_its_sender_is_told() {
    // shows: diff.broadcast-reaches-all-who-can
    for shards in [1, 2, 4] {
        let world = World::start(shards);
        for unfit in 0..shards {
            let (takes_all, wants_objects) = (Door::ALL[0], Door::ALL[1]);
            assert!(!takes_all.wants_objects() && wants_objects.wants_objects());
            let mut members: Vec<_> =
                (0..2 * shards).map(|n| takes_all.client_on(&world, n % shards)).collect();
            let mut unfit = wants_objects.client_on(&world, unfit);
            for client in members.iter_mut().chain([&mut unfit]) {
                client.join("room:1", json!({})).unwrap();
            }
            members[0].push("room:1", "act", script([broadcast_with("b", json!(["x"]))]));
            for client in &mut members {
                client.expect("room:1", "b").unwrap();
            }
            members[0].expect("room:1", "phx_error").unwrap();
            unfit.silence_everywhere().unwrap();
            drop((members, unfit));
            world.server.await_rest();
        }
        world.server.stop();
    }
}

#[test]
fn a_broadcast_that_no_client_could_read_is_its_senders_error() {
    // shows: v2.broadcast-needs-an-object, binary.longer-field-fails-the-broadcast
    everywhere(|world, door| {
        let mut client = door.far_client(world);
        let long = format!("room:{}", "x".repeat(251));
        for topic in ["room:1", &long] {
            client.join(topic, json!({})).unwrap();
        }
        let handle = world.server.handle();
        for payload in [json!([]), json!("text"), json!(null), json!(1)] {
            let error = handle.broadcast("room:1", "b", payload).unwrap_err();
            assert!(matches!(error, HandleError::Broadcast(_)), "{error}");
        }
        for (topic, event) in [(long.as_str(), "b"), ("room:1", "e".repeat(256).as_str())] {
            let error = handle.broadcast(topic, event, Payload::binary(vec![1])).unwrap_err();
            assert!(matches!(error, HandleError::Broadcast(_)), "{error}");
            // As text any length will do.
            handle.broadcast(topic, event, json!({})).unwrap();
            client.expect(topic, event).unwrap();
        }
        client.silence_everywhere().unwrap();

        if !door.wants_objects() {
            return;
        }
        // In a channel it is the end of that channel, if it doesn't look at the error.
        client.push("room:1", "act", script([broadcast_with("b", json!([])), note("never")]));
        client.expect("room:1", "phx_error").unwrap();
        assert!(world.note().starts_with("room:1 terminates: Error("));
    });
}

#[test]
fn an_intercepted_event_goes_through_its_channel_and_past_others() {
    everywhere(|world, door| {
        // The same topic, intercepted on one mount and not on the other, on every shard.
        let shards = world.server.shards();
        let mut plain: Vec<_> = (0..shards).map(|shard| door.client_on(world, shard)).collect();
        let mut intercepting: Vec<_> =
            (0..shards).map(|shard| door.client_at(world, shard, "/intercepting")).collect();
        for client in plain.iter_mut().chain(&mut intercepting) {
            client.join("room:1", json!({})).unwrap();
        }
        let steps = script([broadcast_with("secret", json!({"n": 1})), broadcast("open")]);
        plain[0].push("room:1", "act", steps);
        for client in &mut plain {
            assert_eq!(client.expect("room:1", "secret").unwrap().payload, json!({"n": 1}));
            client.expect("room:1", "open").unwrap();
        }
        for client in &mut intercepting {
            let mut messages = [client.next().unwrap(), client.next().unwrap()];
            messages.sort_by(|a, b| a.event.cmp(&b.event));
            assert_eq!((messages[0].event.as_str(), &messages[0].join_ref), ("open", &json!(null)));
            // Its own push, so it has the channel's join_ref.
            assert_eq!(messages[1].payload, json!({"handle_out": {"n": 1}}));
            assert_eq!(messages[1].join_ref, client.join_ref("room:1"));
            client.silence_everywhere().unwrap();
        }
    });
}

#[test]
fn a_channel_that_cannot_take_an_intercepted_broadcast_ends() {
    let small = |endpoint: simurgh::Builder<_>| {
        let mut limits = limits();
        limits.max_mailbox = 3;
        endpoint.limits(limits)
    };
    on_new_servers(1, small, |world, door| {
        let mut client = door.client(world);
        client.join("secret:1", json!({})).unwrap();
        client.join("room:1", json!({})).unwrap();
        client.push("secret:1", "act", script([note("busy"), wait("end")]));
        world.expect_note("busy");
        let flood = (0..5).map(|_| handle_broadcast("secret:1", "secret"));
        client.push("room:1", "act", script(flood.chain([reply(json!(1))])));
        client.expect("room:1", "phx_reply").unwrap();
        world.open("end");
        client.expect("secret:1", "phx_error").unwrap();
        world.expect_note("secret:1 terminates: Error(\"mailbox full\")");
        assert!(client.join("secret:1", json!({})).unwrap().is_ok());
    });
}

#[test]
fn a_join_that_subscribed_and_is_flooded_while_it_runs_crashes() {
    let small = |endpoint: simurgh::Builder<_>| {
        let mut limits = limits();
        limits.max_mailbox = 3;
        endpoint.limits(limits)
    };
    on_new_servers(1, small, |world, door| {
        let mut client = door.client(world);
        let flood = |count| (0..count).map(|_| handle_broadcast("news", "n"));
        // By itself, and by another while it waits.
        let own = [subscribe("news")].into_iter().chain(flood(5));
        let crashed = json!({"reason": "join crashed"});
        assert_eq!(client.join("room:1", Plan::join(own)).unwrap().response, crashed);
        client.join("room:2", json!({})).unwrap();
        let joined = client.send_join("room:1", Plan::join([subscribe("news"), wait("join")]));
        let flooded = client.push("room:2", "act", script(flood(5).chain([reply(json!(1))])));
        assert!(client.reply(flooded).unwrap().is_ok());
        world.open("join");
        assert_eq!(client.reply(joined).unwrap().response, crashed);
        assert!(client.join("room:1", json!({})).unwrap().is_ok());
    });
}

#[test]
fn a_channel_hears_the_topics_it_subscribed_to() {
    everywhere(|world, door| {
        let mut client = door.client(world);
        let mut stranger = door.far_client(world);
        let steps = [subscribe("news"), subscribe("room:2"), subscribe("room:2")];
        client.join("room:1", Plan::join(steps)).unwrap();
        stranger.join("room:2", json!({})).unwrap();

        stranger.push("room:2", "act", script([broadcast("b"), reply(json!(1))]));
        stranger.expect("room:2", "b").unwrap();
        // Subscribed twice, told twice; with its own topic, for it is a push.
        for _ in 0..2 {
            let heard = client.expect("room:1", "heard").unwrap();
            assert_eq!(heard.payload, json!({"topic": "room:2", "event": "b"}));
            assert_eq!(heard.join_ref, client.join_ref("room:1"));
        }
        world.server.handle().broadcast("news", "n", ()).unwrap();
        let heard = client.expect("room:1", "heard").unwrap();
        assert_eq!(heard.payload, json!({"topic": "news", "event": "n"}));

        // Unsubscribing ends all of a topic and nothing else.
        let act = client.push("room:1", "act", script([unsubscribe("room:2"), reply(json!(1))]));
        assert!(client.reply(act).unwrap().is_ok());
        let handle = world.server.handle();
        handle.broadcast("room:2", "b", ()).unwrap();
        handle.broadcast("news", "n", ()).unwrap();
        client.expect("room:1", "heard").unwrap();
        client.silence_everywhere().unwrap();

        // A channel that has left hears nothing; nor does a join that came to nothing.
        let left = client.leave("room:1");
        client.reply(left).unwrap();
        client.expect("room:1", "phx_close").unwrap();
        let refused = Plan::join([subscribe("news"), crate::script::fail()]);
        assert!(!client.join("room:1", refused).unwrap().is_ok());
        client.join("room:3", json!({})).unwrap();
        handle.broadcast("news", "n", ()).unwrap();
        handle.broadcast("room:3", "after", ()).unwrap();
        client.expect("room:3", "after").unwrap();
        client.silence_everywhere().unwrap();
    });
}

#[test]
fn a_broadcast_crosses_only_to_shards_that_have_subscribers() {
    on_new_servers(4, identity, |world, door| {
        let pushes = || world.server.counts().iter().map(|counts| counts.mesh_pushes).sum::<u64>();
        let mut sender = door.client(world);
        sender.join("room:1", json!({})).unwrap();
        let mut send = |steps: Vec<Step>| {
            let sent =
                sender.push("room:1", "act", script(steps.into_iter().chain([reply(json!(1))])));
            assert!(sender.reply(sent).unwrap().is_ok());
            // The shard publishes its counts at the end of the turn, and this is a later one.
            sender.heartbeat().unwrap();
            sender.heartbeat().unwrap();
        };
        send(vec![broadcast("alone")]);
        assert_eq!(pushes(), 0);

        let mut other = door.client_on(world, 2);
        other.join("room:1", json!({})).unwrap();
        send(vec![broadcast("one other")]);
        other.expect("room:1", "one other").unwrap();
        world.server.await_counts(|counts| counts[0].mesh_pushes == 1);
        // As many subscribers as there may be on that shard: it is still one.
        let more = Door::ALL.iter().map(|door| door.client_on(world, 2));
        let mut more: Vec<_> = more.collect();
        for client in &mut more {
            client.join("room:1", json!({})).unwrap();
        }
        send(vec![broadcast("several there")]);
        world.server.await_counts(|counts| counts[0].mesh_pushes == 2);
        // When they have gone nothing crosses any more.
        drop((other, more));
        world.server.await_counts(|counts| counts[2].connections == 0 && counts[2].topics == 0);
        send(vec![broadcast("alone again")]);
        assert_eq!(pushes(), 2);
    });
}

#[test]
fn who_has_the_reply_to_his_join_gets_every_later_broadcast() {
    // shows: order.join-reply-first
    on_new_servers(4, identity, |world, door| {
        let next = Arc::new(AtomicU64::new(0));
        let sender = std::thread::spawn({
            let (mut client, next) = (door.client(world), next.clone());
            move || {
                client.join("room:1", json!({})).unwrap();
                for from in (0..TOTAL).step_by(10) {
                    let numbers = from..from + 10;
                    let steps = numbers.map(|n| broadcast_with("n", json!({"n": n})));
                    let steps = script(steps.chain([reply(json!(1))]));
                    next.store(from, Ordering::SeqCst);
                    let sent = client.push("room:1", "act", steps);
                    client.reply(sent).unwrap();
                }
                client
            }
        });
        let mut joined = Vec::new();
        for shard in [1, 2, 3].into_iter().cycle().take(30) {
            let mut client = door.client_on(world, shard);
            assert!(client.join("room:1", json!({})).unwrap().is_ok());
            // What is sent from here on must come, and it begins at most one script later.
            joined.push((client, next.load(Ordering::SeqCst) + 10));
        }
        // By the same channel: of another's broadcasts it is not known when they come.
        let mut sender = sender.join().unwrap();
        let sent = sender.push("room:1", "act", script([broadcast("end"), reply(json!(1))]));
        sender.reply(sent).unwrap();
        for (client, must_have) in &mut joined {
            let messages = std::iter::from_fn(|| client.next().ok());
            let tail: Vec<_> = messages
                .take_while(|message| message.event != "end")
                .map(|message| message.payload.as_json().unwrap()["n"].as_u64().unwrap())
                .collect();
            let first = tail.first().copied().unwrap_or(TOTAL);
            assert_eq!(tail, (first..TOTAL).collect::<Vec<_>>(), "it has no gap, and an end");
            assert!(first <= *must_have, "begins with {first}, not {must_have}");
        }
    });
}

/// Broadcasts that the joins of a test race with.
const TOTAL: u64 = 1_000;

#[test]
fn a_push_is_for_one_client_only() {
    everywhere(|world, door| {
        let mut clients = [door.client(world), door.client(world), door.far_client(world)];
        for client in &mut clients {
            client.join("room:1", json!({})).unwrap();
        }
        clients[0].push("room:1", "act", script([push("mine"), broadcast("ours")]));
        clients[0].expect("room:1", "mine").unwrap();
        for client in &mut clients {
            client.expect("room:1", "ours").unwrap();
            client.silence_everywhere().unwrap();
        }
    });
}
