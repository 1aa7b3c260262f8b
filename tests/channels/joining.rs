//! Joins, and what is answered where there is no channel.

use serde_json::json;

use crate::doors::everywhere;
use crate::script::{Plan, Step, broadcast, fail, note, panic, push, refuse, reply, send_self};

#[test]
fn a_join_is_answered_with_what_it_gives() {
    // shows: own.J1, socket.join-ok-registers, socket.event-with-the-join-ref
    everywhere(|world, door| {
        let mut client = door.client(world);
        let joined = client.join("room:1", json!({})).unwrap();
        assert!(joined.is_ok() && joined.response == json!({}), "{joined:?}");
        let plan = Plan::join([reply(json!({"n": 1}))]);
        assert_eq!(client.join("room:2", plan).unwrap().response, json!({"n": 1}));
        for topic in ["room:1", "room:2"] {
            let echo = client.push(topic, "echo", json!({"in": topic}));
            assert_eq!(client.reply(echo).unwrap().response, json!({"in": topic}));
        }
        client.silence_everywhere().unwrap();
    });
}

#[test]
fn a_join_that_is_not_granted_leaves_the_topic_unjoined() {
    // shows: own.J2, own.J3, own.J3-push-in-join, socket.join-failed-is-not-joined
    everywhere(|world, door| {
        let mut client = door.client(world);
        let crashed = json!({"reason": "join crashed"});
        for (plan, response) in [
            (Plan::join([refuse(json!({"reason": "no"}))]), json!({"reason": "no"})),
            (Plan::join([refuse(json!(["any", "thing"]))]), json!(["any", "thing"])),
            (Plan::join([fail()]), crashed.clone()),
            (Plan::join([panic()]), crashed.clone()),
            (Plan::join([push("early")]), crashed.clone()),
            (Plan::join([broadcast("early")]), crashed.clone()),
            (Plan::join([Step::ReplyLater]), crashed.clone()),
            (Plan::join([Step::Fail("again".into())]), crashed),
        ] {
            let refused = client.join("room:1", plan).unwrap();
            assert_eq!(refused.status, "error");
            assert_eq!(refused.response, response);
            let event = client.push("room:1", "echo", json!({}));
            let message = client.next().unwrap();
            assert_eq!(message.message_ref, *event.as_str());
            assert_eq!(message.join_ref, json!(null));
            let unmatched = json!({"status": "error", "response": {"reason": "unmatched topic"}});
            assert_eq!(message.payload, unmatched);
        }
        assert!(client.join("room:1", json!({})).unwrap().is_ok());
        client.silence_everywhere().unwrap();
    });
}

/// A join that did not decode was a crash, with an error in the log each time a client tried again.
#[test]
fn a_join_whose_params_do_not_fit_is_refused_and_told_why() {
    // shows: socket.join-params
    everywhere(|world, door| {
        let mut client = door.client(world);
        for (params, told) in [
            (
                json!({"join": 7}),
                "invalid params: `join`: invalid type: integer, expected a sequence",
            ),
            (json!("secret"), "invalid params: invalid type: string, expected struct Plan"),
            (json!(["secret"]), "invalid params: invalid type: sequence, expected struct Plan"),
            (json!([]), "invalid params: invalid type: sequence, expected struct Plan"),
        ] {
            let refused = client.join("room:1", params).unwrap();
            assert_eq!(
                (&*refused.status, refused.response.as_json().cloned().unwrap()),
                ("error", json!({"reason": told}))
            );
        }
        assert_eq!(world.server.counts()[0].crashes, 0);
        assert!(client.join("room:1", json!({})).unwrap().is_ok());
    });
}

/// Clients in Go and in Rust join with null where they have no params.
#[test]
fn null_stands_for_no_params() {
    // shows: socket.null-params
    everywhere(|world, door| {
        let mut client = door.client(world);
        assert!(client.join("room:1", json!(null)).unwrap().is_ok());
        let echo = client.push("room:1", "echo", json!(null));
        assert_eq!(client.reply(echo).unwrap().response, json!(null));
    });
}

#[test]
fn a_join_whose_reply_can_not_be_encoded_is_refused_and_the_socket_lives() {
    // shows: diff.join-reply-unencoded
    everywhere(|world, door| {
        let mut client = door.client(world);
        client.join("room:2", json!({})).unwrap();
        let long = format!("room:{}", "x".repeat(251));
        // Binary for the first version, a name that is too long for the second.
        let topic = if door.has_binary() { long.as_str() } else { "room:1" };
        let refused = client.join(topic, Plan::join([Step::ReplyBinary("ok".into())])).unwrap();
        assert_eq!(refused.status, "error");
        assert_eq!(refused.response, json!({"reason": "join crashed"}));
        let echo = client.push("room:2", "echo", json!({}));
        assert!(client.reply(echo).unwrap().is_ok());
    });
}

#[test]
fn what_a_join_sends_itself_is_handled_behind_its_reply() {
    // shows: order.join-reply-first
    everywhere(|world, door| {
        let mut client = door.client(world);
        let plan = Plan::join([
            send_self([push("first"), broadcast("second")]),
            send_self([push("third")]),
            note("join ends"),
        ]);
        client.send_join("room:1", plan);
        client.expect("room:1", "phx_reply").unwrap();
        for event in ["first", "second", "third"] {
            client.expect("room:1", event).unwrap();
        }
        assert_eq!(client.version(), door.version);
        assert_eq!(client.join_ref("room:1").is_null(), !door.has_join_refs());
    });
}
