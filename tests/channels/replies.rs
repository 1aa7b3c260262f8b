//! Replies: by a callback, and later from anywhere.

use serde_json::json;

use crate::doors::everywhere;
use crate::script::{Step, fail, push, reply, reply_status, script};

#[test]
fn a_reply_has_the_status_and_the_response_that_the_channel_gives() {
    // shows: own.status-of-any-name, own.R, v2.reply-of-any-type, text.reply-has-status-and-response
    everywhere(|world, door| {
        let mut client = door.client(world);
        client.join("room:1", json!({})).unwrap();
        for status in ["ok", "error", "maybe", "näh\"\\"] {
            for response in [json!({}), json!(null), json!("text"), json!([1, {"a": 2}]), json!(7)]
            {
                let step = reply_status(status, response.clone());
                let sent = client.push("room:1", "act", script([step]));
                let message = client.expect("room:1", "phx_reply").unwrap();
                assert_eq!(message.join_ref, client.join_ref("room:1"));
                assert_eq!(message.message_ref, json!(sent));
                assert_eq!(message.payload, json!({"status": status, "response": response}));
            }
        }
    });
}

#[test]
fn a_message_that_is_not_replied_to_is_not_answered() {
    // shows: own.pushes-not-acknowledged
    everywhere(|world, door| {
        let mut client = door.client(world);
        client.join("room:1", json!({})).unwrap();
        client.push("room:1", "act", script([]));
        client.push("room:1", "act", script([Step::ReplyLater]));
        client.silence_everywhere().unwrap();
        drop(world.reply_later());
        client.silence_everywhere().unwrap();
    });
}

#[test]
fn a_message_is_answered_later_from_another_thread_and_as_often_as_one_likes() {
    everywhere(|world, door| {
        let mut client = door.far_client(world);
        client.join("room:1", json!({})).unwrap();
        let sent = client.push("room:1", "act", script([Step::ReplyLater, push("not yet")]));
        client.expect("room:1", "not yet").unwrap();
        let late = world.reply_later();
        let another = late.clone();
        let answer = move || {
            late.ok(json!({"n": 1}))?;
            late.error(json!("no"))?;
            late.reply("later", json!([]))
        };
        std::thread::spawn(answer).join().unwrap().unwrap();
        let answers = [("ok", json!({"n": 1})), ("error", json!("no")), ("later", json!([]))];
        for (status, response) in answers {
            let message = client.expect("room:1", "phx_reply").unwrap();
            assert_eq!(message.message_ref, json!(sent));
            assert_eq!(message.join_ref, client.join_ref("room:1"));
            assert_eq!(message.payload, json!({"status": status, "response": response}));
        }

        // The channel need not be there any more, but the connection.
        let left = client.leave("room:1");
        client.reply(left).unwrap();
        client.expect("room:1", "phx_close").unwrap();
        another.ok(()).unwrap();
        assert_eq!(client.expect("room:1", "phx_reply").unwrap().message_ref, json!(sent));
        drop(client);
        world.server.await_rest();
        another.ok(()).unwrap();
    });
}

#[test]
fn a_message_is_answered_by_another_channel_on_any_shard() {
    everywhere(|world, door| {
        let mut client = door.far_client(world);
        client.join("room:1", json!({})).unwrap();
        for shard in 0..world.server.shards() {
            let sent = client.push("room:1", "act", script([Step::ReplyLater]));
            world.keep_reply(world.reply_later());
            let mut other = door.client_on(world, shard);
            other.join("room:2", json!({})).unwrap();
            other.push("room:2", "act", script([Step::AnswerKept(json!({"from": shard}))]));
            assert_eq!(client.reply(sent).unwrap().response, json!({"from": shard}));
        }
    });
}

#[test]
fn a_message_without_a_ref_is_answered_without_one() {
    everywhere(|world, door| {
        let mut client = door.client(world);
        client.join("room:1", json!({})).unwrap();
        let steps = script([reply(json!({ "a": 1 }))]);
        client.send(json!(null), json!(null), json!("room:1"), json!("act"), steps);
        let answer = client.expect("room:1", "phx_reply").unwrap();
        assert_eq!(answer.message_ref, json!(null));
        assert_eq!(answer.payload["response"]["a"], json!(1));
        assert_eq!(answer.payload["nothing"], json!(null));
    });
}

#[test]
fn a_message_without_a_ref_cannot_be_answered_later() {
    everywhere(|world, door| {
        let mut client = door.client(world);
        client.join("room:1", json!({})).unwrap();
        let steps = script([Step::ReplyLater]);
        client.send(json!(null), json!(null), json!("room:1"), json!("act"), steps);
        client.expect("room:1", "phx_error").unwrap();
        world.expect_note("room:1 terminates: Error(\"no message with a ref is being handled\")");
        // Nor one that is none of the client's.
        client.join("room:1", json!({})).unwrap();
        let steps = script([crate::script::send_self([Step::ReplyLater])]);
        client.push("room:1", "act", steps);
        client.expect("room:1", "phx_error").unwrap();
    });
}

#[test]
fn an_error_after_a_reply_was_given_is_all_that_the_client_sees() {
    everywhere(|world, door| {
        let mut client = door.client(world);
        client.join("room:1", json!({})).unwrap();
        // The reply is what the callback returns, and it returns an error.
        client.push("room:1", "act", script([reply(json!(1)), fail()]));
        client.expect("room:1", "phx_error").unwrap();
        client.silence_everywhere().unwrap();
    });
}
