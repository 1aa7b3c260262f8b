//! What a socket does with a message before any channel sees it: routes, refs, limits.

use serde_json::{Value, json};
use simurgh::testing::Client;

use crate::channels::{Actor, Plain, User};
use crate::doors::{Door, everywhere, on_new_servers};
use crate::script::{Plan, fail, note, push, refuse, reply, script, wait};

/// The reply to a message sent with these refs.
fn answer(client: &mut Client, refs: [Value; 2], topic: &str, event: &str) -> (Value, Value) {
    let [join_ref, message_ref] = refs;
    client.send(join_ref, message_ref.clone(), json!(topic), json!(event), json!({}));
    let message = client.expect(topic, "phx_reply").unwrap();
    assert_eq!(message.message_ref, message_ref);
    (message.join_ref, message.payload.as_json().cloned().expect("replies here are JSON"))
}

fn ok() -> Value {
    json!({"status": "ok", "response": {}})
}

fn error(reason: &str) -> Value {
    json!({"status": "error", "response": {"reason": reason}})
}

/// What some doors leave out.
fn join_ref(door: Door, value: Value) -> Value {
    if door.has_join_refs() { value } else { Value::Null }
}

#[test]
fn a_heartbeat_is_answered_by_the_socket() {
    // shows: own.H, socket.heartbeat-before-routes, socket.heartbeat-any-payload,
    //   socket.heartbeat-join-ref-not-echoed, socket.phoenix-can-be-joined,
    //   socket.phoenix-other-events
    everywhere(|world, door| {
        let mut client = door.client(world);
        let beat = |client: &mut Client, payload: Value| {
            client.send(json!("j9"), json!("h"), json!("phoenix"), json!("heartbeat"), payload);
            let answer = client.expect("phoenix", "phx_reply").unwrap();
            assert_eq!((answer.join_ref, answer.message_ref), (json!(null), json!("h")));
            assert_eq!(answer.payload, ok());
        };
        for payload in [json!({}), json!(null), json!([1]), json!("text")] {
            beat(&mut client, payload);
        }
        let unmatched = error("unmatched topic");
        let refs = || [json!(null), json!("o")];
        assert_eq!(answer(&mut client, refs(), "phoenix", "hartbeat").1, unmatched);

        assert!(client.join("phoenix", json!({})).unwrap().is_ok());
        beat(&mut client, json!({}));
        let echo = client.push("phoenix", "echo", json!({"reaches": "it"}));
        assert_eq!(client.reply(echo).unwrap().response, json!({"reaches": "it"}));
        client.silence_everywhere().unwrap();
    });
}

#[test]
fn what_no_channel_takes_is_unmatched_and_a_leave_of_it_is_ok() {
    // shows: own.U, own.L, socket.join-without-route, socket.event-not-joined,
    //   socket.leave-not-joined
    everywhere(|world, door| {
        let mut client = door.client(world);
        let unmatched = (json!(null), error("unmatched topic"));
        for (topic, event) in [("nowhere", "phx_join"), ("room:1", "echo"), ("nowhere", "echo")] {
            let found = answer(&mut client, [json!("j7"), json!("7")], topic, event);
            assert_eq!(found, unmatched, "{topic} {event}");
        }
        for topic in ["room:1", "nowhere"] {
            let found = answer(&mut client, [json!("j7"), json!("7")], topic, "phx_leave");
            assert_eq!(found, (join_ref(door, json!("j7")), ok()));
        }
        client.silence_everywhere().unwrap();
    });
}

#[test]
fn a_message_reaches_the_channel_with_its_join_ref_or_with_none() {
    // shows: socket.event-without-join-ref, socket.event-stale-dropped, own.R
    everywhere(|world, door| {
        let mut client = door.client(world);
        assert_eq!(answer(&mut client, [json!("j1"), json!("1")], "room:1", "phx_join").1, ok());
        let own = join_ref(door, json!("j1"));
        for current in [json!("j1"), json!(null)] {
            let found = answer(&mut client, [current, json!("2")], "room:1", "echo");
            assert_eq!(found, (own.clone(), ok()));
        }
        for stale in [json!("j0"), json!("0"), json!(""), json!(1), json!(["j1"])] {
            client.send(stale, json!("3"), json!("room:1"), json!("echo"), json!({}));
        }
        client.silence_everywhere().unwrap();
    });
}

/// Two client libraries send the ref of their join where the join_ref belongs. Phoenix took that up to
/// 1.8.2, and they waited in vain for every answer here.
#[test]
fn the_ref_of_the_join_counts_for_its_join_ref() {
    // shows: socket.ref-of-the-join
    everywhere(|world, door| {
        let mut client = door.client(world);
        // What one library joins with: a null join_ref; then the other, which numbers joins apart.
        for (given, message_ref) in [(json!(null), json!("1")), (json!(0), json!(1))] {
            let refs = [given.clone(), message_ref.clone()];
            assert_eq!(answer(&mut client, refs, "room:1", "phx_join").1, ok());
            let refs = [message_ref.clone(), json!("2")];
            let echoed = answer(&mut client, refs.clone(), "room:1", "echo");
            let own = if given.is_null() { &message_ref } else { &given };
            assert_eq!(echoed, (join_ref(door, own.clone()), ok()));
            // A callback that waits keeps it waiting, and forgets nothing of it.
            let steps = script([wait("go"), push("pushed")]);
            client.send(message_ref.clone(), json!("3"), json!("room:1"), json!("act"), steps);
            world.open("go");
            client.expect("room:1", "pushed").unwrap();
            assert_eq!(answer(&mut client, refs, "room:1", "echo").1, ok());
            let refs = [message_ref, json!("4")];
            assert_eq!(answer(&mut client, refs, "room:1", "phx_leave").1, ok());
            client.expect("room:1", "phx_close").unwrap();
        }
    });
}

#[test]
fn the_ref_of_an_earlier_join_is_stale() {
    // shows: socket.ref-of-an-earlier-join
    everywhere(|world, door| {
        let mut client = door.client(world);
        for (join_ref, message_ref) in [("j1", "1"), ("j2", "2")] {
            let refs = [json!(join_ref), json!(message_ref)];
            assert_eq!(answer(&mut client, refs, "room:1", "phx_join").1, ok());
        }
        client.expect("room:1", "phx_close").unwrap();
        for stale in ["1", "j1"] {
            client.send(json!(stale), json!("3"), json!("room:1"), json!("echo"), json!({}));
            client.send(json!(stale), json!("4"), json!("room:1"), json!("phx_leave"), json!({}));
        }
        client.silence_everywhere().unwrap();
        for current in [json!("2"), json!("j2"), json!(null)] {
            let refs = [current, json!("5")];
            assert_eq!(answer(&mut client, refs, "room:1", "echo").1, ok());
        }
    });
}

#[test]
fn a_leave_with_another_join_ref_is_ignored() {
    // shows: socket.leave-stale-ignored, socket.leave-with-the-join-ref,
    //   socket.leave-without-join-ref
    everywhere(|world, door| {
        let mut client = door.client(world);
        for current in [json!("j1"), json!(null)] {
            let joined = answer(&mut client, [json!("j1"), json!("1")], "room:1", "phx_join");
            assert_eq!(joined.1, ok());
            client.send(json!("j0"), json!("2"), json!("room:1"), json!("phx_leave"), json!({}));
            client.silence_everywhere().unwrap();
            let left = answer(&mut client, [current, json!("3")], "room:1", "phx_leave");
            assert_eq!(left, (join_ref(door, json!("j1")), ok()));
            let closed = client.expect("room:1", "phx_close").unwrap();
            assert_eq!(closed.payload, json!({}));
        }
        client.silence_everywhere().unwrap();
    });
}

#[test]
fn a_channel_joined_with_a_null_join_ref_goes_by_the_ref_of_its_join() {
    // shows: own.null-join-ref-channel, own.null-join-ref-closing
    everywhere(|world, door| {
        let mut client = door.client(world);
        let joined = answer(&mut client, [json!(null), json!("1")], "room:1", "phx_join");
        assert_eq!(joined, (json!(null), ok()));

        let own = join_ref(door, json!("1"));
        let echoed = answer(&mut client, [json!(null), json!("3")], "room:1", "echo");
        assert_eq!(echoed, (own.clone(), ok()));
        let steps = script([push("pushed")]);
        client.send(json!(null), json!("4"), json!("room:1"), json!("act"), steps);
        let pushed = client.expect("room:1", "pushed").unwrap();
        assert_eq!((pushed.join_ref, pushed.message_ref), (own.clone(), json!(null)));

        let left = answer(&mut client, [json!(null), json!("5")], "room:1", "phx_leave");
        assert_eq!(left, (own, ok()));
        let closed = client.expect("room:1", "phx_close").unwrap();
        assert_eq!((closed.join_ref, closed.message_ref), (json!(null), json!(null)));

        answer(&mut client, [json!(null), json!("6")], "room:1", "phx_join");
        let steps = script([fail()]);
        client.send(json!(null), json!("7"), json!("room:1"), json!("act"), steps);
        let ended = client.expect("room:1", "phx_error").unwrap();
        assert_eq!((ended.join_ref, ended.message_ref), (json!(null), json!(null)));
    });
}

#[test]
fn a_socket_has_a_hundred_channels_and_no_more() {
    // shows: socket.join-limit, socket.join-limit-default, socket.join-limit-after-the-route,
    //   socket.join-limit-before-join, own.M
    everywhere(|world, door| {
        let mut client = door.client(world);
        for n in 0..100 {
            assert!(client.join(&format!("room:{n}"), json!({})).unwrap().is_ok());
        }
        client.send(json!("j"), json!("m"), json!("room:x"), json!("phx_join"), {
            Plan::join([note("the join runs")])
        });
        let refused = client.expect("room:x", "phx_reply").unwrap();
        assert_eq!(refused.join_ref, join_ref(door, json!("j")));
        assert_eq!(refused.message_ref, json!("m"));
        assert_eq!(refused.payload, error("too many channels joined"));
        world.expect_no_note();

        let nowhere = answer(&mut client, [json!("j"), json!("n")], "nowhere", "phx_join");
        assert_eq!(nowhere, (json!(null), error("unmatched topic")));

        let left = client.leave("room:0");
        assert!(client.reply(left).unwrap().is_ok());
        client.expect("room:0", "phx_close").unwrap();
        assert!(client.join("room:x", json!({})).unwrap().is_ok());
    });
}

#[test]
fn channels_are_counted_from_their_joining_to_their_having_left() {
    // shows: socket.failed-joins-do-not-count, socket.leaving-counts, diff.joining-counts,
    //   duplicate.at-the-limit
    let two = |endpoint: simurgh::Builder<_>| {
        endpoint.socket("/two", |mount| {
            mount.handler::<User>().max_topics(2).channel::<Actor<Plain>>("room:*")
        })
    };
    let too_many = json!({"reason": "too many channels joined"});
    on_new_servers(1, two, |world, door| {
        let mut client = door.client_at(world, 0, "/two");
        for plan in [Plan::join([fail()]), Plan::join([refuse(json!({}))])] {
            for topic in ["room:1", "room:2", "room:3"] {
                assert!(!client.join(topic, plan.clone()).unwrap().is_ok());
            }
        }
        // One that joins…
        let joining = client.send_join("room:1", Plan::join([wait("join")]));
        assert!(client.join("room:2", json!({})).unwrap().is_ok());
        assert_eq!(client.join("room:3", json!({})).unwrap().response, too_many);
        world.server.await_counts(|counts| counts[0].refused_joins > 0);
        world.open("join");
        assert!(client.reply(joining).unwrap().is_ok());
        // … one that is joined again…
        assert!(client.join("room:2", json!({})).unwrap().is_ok());
        client.expect("room:2", "phx_close").unwrap();
        // … and one that is busy when it is left.
        client.push("room:2", "act", script([wait("leave"), reply(json!("done"))]));
        let left = client.leave("room:2");
        assert_eq!(client.join("room:3", json!({})).unwrap().response, too_many);
        world.open("leave");
        assert!(client.reply(left).unwrap().is_ok());
        assert!(client.join("room:3", json!({})).unwrap().is_ok());
    });
}

#[test]
fn routes_are_told_apart_by_their_patterns() {
    everywhere(|world, door| {
        let mut client = door.client(world);
        for topic in ["room:", "room:a:b", "room:\u{e9}\"\\"] {
            assert!(client.join(topic, json!({})).unwrap().is_ok(), "{topic}");
        }
        for topic in ["room", "Room:1", "phoenix:1", "", "oom:1"] {
            assert!(!client.join(topic, json!({})).unwrap().is_ok(), "{topic}");
        }
    });
}
