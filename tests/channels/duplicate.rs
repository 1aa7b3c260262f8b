//! A topic joined again by a client that has it: the new channel takes the old one's place.

use serde_json::json;

use crate::doors::everywhere;
use crate::script::{
    Ending, Plan, fail, note, panic, push, refuse, reply, script, send_self, stop, wait,
};

#[test]
fn the_new_join_is_answered_before_the_old_channel_closes() {
    // shows: duplicate.reply-before-close, duplicate.old-does-not-terminate,
    //   duplicate.new-join-is-a-first-join, duplicate.old-frames-before-close,
    //   ending.duplicate-closes, socket.join-of-a-joined-topic
    everywhere(|world, door| {
        let mut client = door.client(world);
        client.join("room:1", Plan::terminate([push("never")])).unwrap();
        let old = client.join_ref("room:1");
        client.push("room:1", "act", script([push("from the old")]));
        let plan = Plan::join([send_self([push("from the new")]), reply(json!("welcome"))]);
        let joined = client.send_join("room:1", plan);

        assert_eq!(client.expect("room:1", "from the old").unwrap().join_ref, old);
        let answer = client.expect("room:1", "phx_reply").unwrap();
        assert_eq!(answer.message_ref, json!(joined));
        assert_eq!(answer.payload, json!({"status": "ok", "response": "welcome"}));
        let close = client.expect("room:1", "phx_close").unwrap();
        assert_eq!((&close.join_ref, &close.message_ref), (&old, &old));
        let pushed = client.expect("room:1", "from the new").unwrap();
        assert_eq!(pushed.join_ref, client.join_ref("room:1"));
        world.expect_note("room:1 is dropped");
        world.expect_no_note();
        client.silence_everywhere().unwrap();
    });
}

#[test]
fn the_old_channel_ends_at_once_with_all_that_waits_for_it() {
    // shows: duplicate.old-ends-at-once
    everywhere(|world, door| {
        let mut client = door.client(world);
        client.join("room:1", json!({})).unwrap();
        client.push("room:1", "act", script([note("busy"), wait("never"), note("never")]));
        client.push("room:1", "echo", json!("lost"));
        client.leave("room:1");
        world.expect_note("busy");
        assert!(client.join("room:1", json!({})).unwrap().is_ok());
        client.expect("room:1", "phx_close").unwrap();
        world.expect_note("room:1 is dropped");
        world.open("never");
        let echo = client.push("room:1", "echo", json!("new"));
        assert_eq!(client.reply(echo).unwrap().response, json!("new"));
        client.silence_everywhere().unwrap();
        world.expect_no_note();
    });
}

#[test]
fn a_join_that_fails_ends_the_old_channel_all_the_same() {
    // shows: duplicate.failed-join-ends-the-old
    everywhere(|world, door| {
        let mut client = door.client(world);
        for step in [refuse(json!({})), fail(), panic()] {
            assert!(client.join("room:1", json!({})).unwrap().is_ok());
            let old = client.join_ref("room:1");
            client.send_join("room:1", Plan::join([step]));
            let answer = client.expect("room:1", "phx_reply").unwrap();
            assert_eq!(answer.status.as_deref(), Some("error"));
            assert_eq!(client.expect("room:1", "phx_close").unwrap().join_ref, old);
            client.push("room:1", "echo", json!({}));
            let unmatched = client.expect("room:1", "phx_reply").unwrap();
            assert_eq!(unmatched.status.as_deref(), Some("error"));
        }
        client.silence_everywhere().unwrap();
    });
}

#[test]
fn while_the_new_join_runs_the_old_channel_gets_no_broadcasts() {
    everywhere(|world, door| {
        let mut client = door.client(world);
        let mut stranger = door.far_client(world);
        client.join("room:1", json!({})).unwrap();
        stranger.join("room:1", json!({})).unwrap();
        let joined = client.send_join("room:1", Plan::join([wait("join")]));
        client.heartbeat().unwrap();
        stranger.push("room:1", "act", script([crate::script::broadcast("early")]));
        stranger.expect("room:1", "early").unwrap();
        client.silence_everywhere().unwrap();
        world.open("join");
        assert!(client.reply(joined).unwrap().is_ok());
        client.expect("room:1", "phx_close").unwrap();
        stranger.push("room:1", "act", script([crate::script::broadcast("late")]));
        client.expect("room:1", "late").unwrap();
    });
}

#[test]
fn a_channel_that_closes_by_itself_first_is_closed_once() {
    // shows: duplicate.one-close-only, duplicate.leave-then-join, duplicate.leave-twice
    everywhere(|world, door| {
        let mut client = door.client(world);
        client.join("room:1", json!({})).unwrap();
        client.push("room:1", "act", script([stop(Ending::Normal)]));
        let joined = client.send_join("room:1", json!({}));
        client.expect("room:1", "phx_close").unwrap();
        assert!(client.reply(joined).unwrap().is_ok());

        let left = client.leave("room:1");
        let joined = client.send_join("room:1", json!({}));
        assert_eq!(client.expect("room:1", "phx_reply").unwrap().message_ref, json!(left));
        client.expect("room:1", "phx_close").unwrap();
        assert!(client.reply(joined).unwrap().is_ok());

        for _ in 0..2 {
            let left = client.leave("room:1");
            assert!(client.reply(left).unwrap().is_ok());
        }
        client.expect("room:1", "phx_close").unwrap();

        // Leaving twice while it is busy: the second is not answered by the channel.
        client.join("room:1", json!({})).unwrap();
        client.push("room:1", "act", script([note("busy"), wait("end")]));
        world.notes();
        let [left, again] = [client.leave("room:1"), client.leave("room:1")];
        client.silence("room:1").unwrap();
        world.open("end");
        assert_eq!(client.expect("room:1", "phx_reply").unwrap().message_ref, json!(left));
        client.expect("room:1", "phx_close").unwrap();
        client.silence_everywhere().unwrap();
        drop(again);
    });
}
