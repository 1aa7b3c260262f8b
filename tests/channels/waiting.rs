//! Callbacks that wait: what they hold up, what not, and how much may wait behind them.

use std::time::Duration;

use serde_json::json;

use crate::doors::{everywhere, on_new_servers};
use crate::script::{
    Plan, Step, broadcast, fail, note, panic, push, refuse, reply, script, sleep, wait,
};
use crate::support::{App, limits};

#[test]
fn a_join_that_waits_holds_up_its_own_topic_only() {
    // shows: socket.joins-side-by-side, order.join-holds-up-its-topic-only,
    //   socket.join-takes-its-time
    everywhere(|world, door| {
        let mut client = door.client(world);
        client.join("room:2", json!({})).unwrap();
        let waiting = client.send_join("room:1", Plan::join([wait("join")]));
        client.heartbeat().unwrap();
        let echo = client.push("room:2", "echo", json!("still here"));
        assert_eq!(client.reply(echo).unwrap().response, json!("still here"));
        let also = client.send_join("room:3", Plan::join([wait("another")]));
        client.silence("room:3").unwrap();
        world.open("another");
        assert!(client.reply(also).unwrap().is_ok());
        client.silence("room:1").unwrap();
        world.open("join");
        assert!(client.reply(waiting).unwrap().is_ok());
    });
}

#[test]
fn what_comes_for_a_joining_topic_is_handled_behind_the_join() {
    // shows: diff.joining-topic-waits
    everywhere(|world, door| {
        let mut client = door.client(world);
        let joined = client.send_join("room:1", Plan::join([wait("granted")]));
        let echo = client.push("room:1", "echo", json!(1));
        let left = client.leave("room:1");
        let late = client.push("room:1", "echo", json!(2));
        client.silence("room:1").unwrap();
        world.open("granted");
        let mut replies = [&joined, &echo, &left].map(|_| client.next().unwrap()).into_iter();
        for message_ref in [&joined, &echo, &left] {
            assert_eq!(replies.next().unwrap().message_ref, json!(message_ref));
        }
        client.expect("room:1", "phx_close").unwrap();
        let unmatched = client.next().unwrap();
        assert_eq!(unmatched.message_ref, json!(late));
        let reason = json!({"status": "error", "response": {"reason": "unmatched topic"}});
        assert_eq!(unmatched.payload, reason);

        // Behind a join that is refused nobody is there.
        let refused = client.send_join("room:1", Plan::join([wait("refused"), refuse(json!({}))]));
        let echo = client.push("room:1", "echo", json!(1));
        let left = client.leave("room:1");
        client.silence("room:1").unwrap();
        world.open("refused");
        let statuses = [("error", refused), ("error", echo), ("ok", left)];
        for (status, message_ref) in statuses {
            let message = client.expect("room:1", "phx_reply").unwrap();
            assert_eq!(message.message_ref, json!(message_ref));
            assert_eq!(message.status.as_deref(), Some(status));
        }
        client.silence_everywhere().unwrap();
    });
}

#[test]
fn a_second_join_behind_a_first_takes_its_place_when_it_is_done() {
    // shows: diff.joining-topic-waits
    everywhere(|world, door| {
        let mut client = door.client(world);
        let first = client.send_join("room:1", Plan::join([wait("join"), note("first")]));
        let old = client.join_ref("room:1");
        let second = client.send_join("room:1", Plan::join([note("second")]));
        let echo = client.push("room:1", "echo", json!(1));
        client.silence("room:1").unwrap();
        world.open("join");
        // Each is answered with its own join_ref; then the first is told that it is closed.
        let frames: Vec<_> = (0..4).map(|_| client.next().unwrap()).collect();
        assert_eq!(frames[0].message_ref, json!(first));
        assert_eq!(frames[0].join_ref, old);
        assert_eq!(frames[1].message_ref, json!(second));
        assert_eq!((frames[2].event.as_str(), &frames[2].join_ref), ("phx_close", &old));
        assert_eq!(frames[3].message_ref, json!(echo));
        let notes: Vec<_> = (0..3).map(|_| world.note()).collect();
        assert_eq!(notes, ["first", "second", "room:1 is dropped"]);
        client.silence_everywhere().unwrap();
    });
}

#[test]
fn what_waits_for_a_join_and_for_a_channel_is_bounded() {
    // shows: diff.joining-queue-is-bounded, diff.mailbox-is-bounded
    let small = |endpoint: simurgh::Builder<_>| {
        let mut limits = limits();
        (limits.max_mailbox, limits.hold_timeout) = (3, Duration::ZERO);
        endpoint.limits(limits)
    };
    on_new_servers(1, small, |world, door| {
        let mut client = door.client(world);
        let overloaded = json!({"reason": "overloaded"});
        let joined = client.send_join("room:1", Plan::join([wait("join")]));
        for gate in ["join", "act"] {
            if gate == "act" {
                client.push("room:1", "act", script([wait("act")]));
            }
            let sent: Vec<_> = (0..5).map(|n| client.push("room:1", "echo", json!(n))).collect();
            let beyond = client.leave("room:1");
            for refused in [&sent[3], &sent[4], &beyond] {
                let reply = client.reply(refused).unwrap();
                assert_eq!((reply.status.as_str(), reply.is_ok()), ("error", false));
                assert_eq!(reply.response, overloaded);
            }
            client.silence("room:1").unwrap();
            world.open(gate);
            if gate == "join" {
                assert!(client.reply(&joined).unwrap().is_ok());
            }
            for (n, message_ref) in sent[..3].iter().enumerate() {
                assert_eq!(client.reply(message_ref).unwrap().response, json!(n));
            }
        }
        let counts = world.server.await_counts(|counts| counts[0].overloaded >= 6);
        assert_eq!(counts[0].overloaded, 6);
    });
}

/// A thousand messages of ten megabytes each could wait for every topic of every client.
#[test]
fn what_waits_is_bounded_in_bytes_too() {
    on_new_servers(1, with_small_mailboxes, |world, door| {
        let mut client = door.client(world);
        let large = json!("x".repeat(1_500));
        let joined = client.send_join("room:1", Plan::join([wait("join")]));
        for gate in ["join", "act"] {
            if gate == "act" {
                client.push("room:1", "act", script([wait("act")]));
            }
            let sent: Vec<_> =
                (0..5).map(|_| client.push("room:1", "echo", large.clone())).collect();
            for refused in &sent[3..] {
                let reply = client.reply(refused).unwrap();
                assert_eq!(reply.response, json!({"reason": "overloaded"}));
            }
            world.open(gate);
            if gate == "join" {
                assert!(client.reply(&joined).unwrap().is_ok());
            }
            for message_ref in &sent[..3] {
                assert_eq!(client.reply(message_ref).unwrap().response, large);
            }
        }
    });
}

/// A hundred topics of one client could each have the largest message wait.
#[test]
fn what_waits_is_bounded_over_all_topics_of_a_client() {
    // shows: diff.mailbox-is-bounded
    on_new_servers(1, with_small_mailboxes, |world, door| {
        let mut client = door.client(world);
        let mut other = door.client(world);
        let large = json!("x".repeat(1_500));
        let topics: Vec<_> = (1..=5).map(|n| format!("room:{n}")).collect();
        let sent: Vec<_> = topics
            .iter()
            .map(|topic| {
                client.send_join(topic, Plan::join([wait("join")]));
                client.push(topic, "echo", large.clone())
            })
            .collect();
        for refused in &sent[3..] {
            let reply = client.reply(refused).unwrap();
            assert_eq!(reply.response, json!({"reason": "overloaded"}));
        }
        // Another client has room of its own.
        other.send_join("room:1", Plan::join([wait("join")]));
        let others = other.push("room:1", "echo", large.clone());
        other.heartbeat().unwrap();
        world.open("join");
        assert_eq!(other.reply(others).unwrap().response, large);
        for message_ref in &sent[..3] {
            assert_eq!(client.reply(message_ref).unwrap().response, large);
        }
    });
}

#[test]
fn a_connection_that_goes_drops_the_join_that_runs() {
    // shows: diff.disconnect-drops-the-join
    everywhere(|world, door| {
        let mut client = door.client(world);
        client.send_join("room:1", Plan::join([wait("never"), note("never")]));
        client.push("room:1", "echo", json!({}));
        client.heartbeat().unwrap();
        client.close();
        world.expect_note("room:1 is dropped");
        client.closed().unwrap();
    });
}

#[test]
fn a_channel_handles_one_thing_at_a_time_in_order() {
    // shows: order.one-channel-one-at-a-time, order.channels-run-concurrently,
    //   order.heartbeat-overtakes
    everywhere(|world, door| {
        let mut client = door.client(world);
        let mut stranger = door.client(world);
        for topic in ["room:1", "room:2"] {
            client.join(topic, json!({})).unwrap();
            stranger.join(topic, json!({})).unwrap();
        }
        let first = client.push("room:1", "act", script([push("in"), wait("act"), push("out")]));
        let second = client.push("room:1", "act", script([push("second"), reply(json!(2))]));
        let third = client.push("room:1", "echo", json!(3));
        client.expect("room:1", "in").unwrap();
        client.silence("room:1").unwrap();
        // Neither the socket's other channel waits, nor the same topic of another socket.
        let other = client.push("room:2", "echo", json!(4));
        assert_eq!(client.reply(other).unwrap().response, json!(4));
        let echo = stranger.push("room:1", "echo", json!(5));
        assert_eq!(stranger.reply(echo).unwrap().response, json!(5));
        // A broadcast does not wait either: it goes past the channel.
        stranger.push("room:1", "act", script([broadcast("b")]));
        client.expect("room:1", "b").unwrap();

        world.open("act");
        client.expect("room:1", "out").unwrap();
        client.expect("room:1", "second").unwrap();
        for message_ref in [second, third] {
            let message = client.expect("room:1", "phx_reply").unwrap();
            assert_eq!(message.message_ref, json!(message_ref));
        }
        stranger.expect("room:1", "b").unwrap();
        client.silence_everywhere().unwrap();
        drop(first);
    });
}

#[test]
fn a_channel_sleeps_and_waits_for_the_blocking_pool_as_for_any_future() {
    everywhere(|world, door| {
        let mut client = door.client(world);
        client.join("room:1", json!({})).unwrap();
        let moment = Duration::from_millis(5);
        let steps = [sleep(moment), push("slept"), Step::Block, push("blocked"), sleep(moment)];
        let sent = client.push("room:1", "act", script(steps.into_iter().chain([reply(json!(1))])));
        client.expect("room:1", "slept").unwrap();
        client.expect("room:1", "blocked").unwrap();
        assert_eq!(client.reply(sent).unwrap().response, json!(1));
        // In join and in terminate too.
        let plan = Plan {
            join: vec![sleep(moment), Step::Block],
            terminate: vec![sleep(moment), Step::Block, push("last")],
            ..Plan::default()
        };
        assert!(client.join("room:2", plan.params()).unwrap().is_ok());
        let left = client.leave("room:2");
        assert!(client.reply(left).unwrap().is_ok());
        client.expect("room:2", "phx_close").unwrap();
        client.expect("room:2", "last").unwrap();
    });
}

#[test]
fn a_callback_that_fails_after_it_waited_ends_like_any_other() {
    everywhere(|world, door| {
        let mut client = door.client(world);
        let moment = || sleep(Duration::from_millis(1));
        for (topic, step) in [("room:1", fail()), ("room:2", panic())] {
            client.join(topic, json!({})).unwrap();
            client.push(topic, "act", script([moment(), step.clone()]));
            client.expect(topic, "phx_error").unwrap();
            let crashed = client.join(topic, Plan::join([moment(), step])).unwrap();
            assert_eq!(crashed.response, json!({"reason": "join crashed"}));
        }
    });
}

#[test]
fn a_callback_that_never_ends_is_dropped_after_its_connection() {
    // shows: diff.end-takes-five-seconds-at-most
    everywhere(|world, door| {
        assert_eq!(simurgh::Limits::default().terminate_timeout, Duration::from_secs(5));
        let overdue =
            |counts: &[simurgh::ShardCounts]| counts.iter().map(|c| c.overdue).sum::<u64>();
        let before = overdue(&world.server.counts());
        // Within the limit, which is a second here, a callback still ends, and terminate runs.
        let mut client = door.client(world);
        client.join("room:1", json!({})).unwrap();
        client.push("room:1", "act", script([wait("soon"), note("ends")]));
        client.heartbeat().unwrap();
        drop(client);
        world.server.await_counts(|counts| counts.iter().all(|c| c.connections == 0));
        world.open("soon");
        for text in ["ends", "room:1 terminates: Closed", "room:1 is dropped"] {
            world.expect_note(text);
        }
        // Past it state and future are dropped, without terminate.
        let mut client = door.client(world);
        client.join("room:1", json!({})).unwrap();
        client.push("room:1", "act", script([wait("never"), note("never")]));
        client.heartbeat().unwrap();
        drop(client);
        world.expect_note("room:1 is dropped");
        // A terminate that never ends is dropped too.
        let mut client = door.client(world);
        client.join("room:1", Plan::terminate([wait("never"), note("never")])).unwrap();
        drop(client);
        world.expect_note("room:1 terminates: Closed");
        world.expect_note("room:1 is dropped");
        world.server.await_counts(|counts| overdue(counts) == before + 2);
    });
}

/// In which the third message of 1,500 bytes still finds room, and the fourth none.
fn with_small_mailboxes(endpoint: simurgh::Builder<App>) -> simurgh::Builder<App> {
    let mut limits = limits();
    (limits.max_mailbox_bytes, limits.hold_timeout) = (4 << 10, Duration::ZERO);
    endpoint.limits(limits)
}
