//! How channels end: which frame the client sees, in which order, and what the channel sees of it.

use serde_json::{Value, json};
use simurgh::HandleError;
use simurgh::testing::{Client, Message};

use crate::doors::everywhere;
use crate::script::{
    Ending, Plan, Step, broadcast, fail, note, panic, push, push_with, reply, script, stop, wait,
};

/// The event that ends a channel, with the refs that it must have.
fn expect_end(client: &mut Client, topic: &str, event: &str) -> Message {
    let join_ref = client.join_ref(topic);
    let end = client.expect(topic, event).unwrap();
    // In V1 the join_ref stands for nothing, and null where a ref is.
    assert_eq!((&end.join_ref, &end.message_ref), (&join_ref, &join_ref));
    let payload = match event {
        "phx_close" => json!({}),
        _ => json!({"reason": "channel_crash"}),
    };
    assert_eq!(end.payload, payload);
    end
}

fn expect_unmatched(client: &mut Client, topic: &str) {
    client.push(topic, "echo", json!({}));
    let unmatched = json!({"status": "error", "response": {"reason": "unmatched topic"}});
    assert_eq!(client.expect(topic, "phx_reply").unwrap().payload, unmatched);
}

#[test]
fn a_leave_is_answered_then_the_channel_closes() {
    // shows: own.LV, own.C, own.closing-join-ref-twice, own.v1-closing-ref, ending.leave-closes,
    //   ending.afterwards-unmatched, order.reply-before-close, order.terminate-pushes-after-close
    everywhere(|world, door| {
        let mut client = door.client(world);
        client.join("room:1", Plan::terminate([push("last"), note("done")])).unwrap();
        let leave = client.leave("room:1");
        let reply = client.next().unwrap();
        assert_eq!((reply.message_ref, reply.event), (json!(leave), "phx_reply".into()));
        assert_eq!(reply.payload, json!({"status": "ok", "response": {}}));
        expect_end(&mut client, "room:1", "phx_close");
        client.expect("room:1", "last").unwrap();
        world.expect_note("room:1 terminates: Left");
        world.expect_note("done");
        world.expect_note("room:1 is dropped");
        expect_unmatched(&mut client, "room:1");
        client.silence_everywhere().unwrap();
    });
}

#[test]
fn a_stop_ends_the_channel_as_its_reason_says() {
    // shows: ending.stop-normal-closes, ending.stop-shutdown-closes, ending.stop-otherwise-errors,
    //   ending.stop-replies-first, own.E, order.reply-before-close
    everywhere(|world, door| {
        let mut client = door.client(world);
        for (ending, event, reason) in [
            (Ending::Normal, "phx_close", "Normal"),
            (Ending::Shutdown, "phx_close", "Shutdown"),
            (Ending::Error("oh".into()), "phx_error", "Error(\"oh\")"),
        ] {
            for answer in [None, Some(reply(json!("bye")))] {
                client.join("room:1", json!({})).unwrap();
                let answers = answer.is_some();
                let steps = [stop(ending.clone()), push("pushed")].into_iter().chain(answer);
                let sent = client.push("room:1", "act", script(steps));
                client.expect("room:1", "pushed").unwrap();
                if answers {
                    let message = client.expect("room:1", "phx_reply").unwrap();
                    assert_eq!(message.message_ref, json!(sent));
                    assert_eq!(message.payload, json!({"status": "ok", "response": "bye"}));
                }
                expect_end(&mut client, "room:1", event);
                world.expect_note(&format!("room:1 terminates: {reason}"));
                world.expect_note("room:1 is dropped");
                expect_unmatched(&mut client, "room:1");
            }
        }
        client.silence_everywhere().unwrap();
    });
}

#[test]
fn an_error_terminates_and_a_panic_does_not() {
    // shows: ending.callback-error, ending.panic, diff.error-terminates,
    //   diff.panic-does-not-terminate, order.terminate-pushes-before-error
    everywhere(|world, door| {
        let mut client = door.client(world);
        client.join("room:other", json!({})).unwrap();
        let plan = Plan::terminate([push("last"), broadcast("nobody hears")]);
        client.join("room:1", plan.clone()).unwrap();
        client.push("room:1", "act", script([push("first"), fail(), push("never")]));
        client.expect("room:1", "first").unwrap();
        client.expect("room:1", "last").unwrap();
        expect_end(&mut client, "room:1", "phx_error");
        world.expect_note("room:1 terminates: Error(\"as told\")");
        world.expect_note("room:1 is dropped");

        client.join("room:1", plan.clone()).unwrap();
        client.push("room:1", "act", script([push("first"), panic(), push("never")]));
        client.expect("room:1", "first").unwrap();
        expect_end(&mut client, "room:1", "phx_error");
        world.expect_note("room:1 is dropped");

        // A client joins anew, and the socket's other channel never noticed.
        assert!(client.join("room:1", json!({})).unwrap().is_ok());
        let echo = client.push("room:other", "echo", json!(1));
        assert_eq!(client.reply(echo).unwrap().response, json!(1));
        client.silence_everywhere().unwrap();
    });
}

#[test]
fn a_panic_in_terminate_is_the_end_of_that_channel_only() {
    everywhere(|world, door| {
        let mut client = door.client(world);
        client.join("room:1", Plan::terminate([panic()])).unwrap();
        let leave = client.leave("room:1");
        assert!(client.reply(leave).unwrap().is_ok());
        expect_end(&mut client, "room:1", "phx_close");
        client.join("room:1", Plan::terminate([panic()])).unwrap();
        client.push("room:1", "act", script([fail()]));
        expect_end(&mut client, "room:1", "phx_error");
        client.silence_everywhere().unwrap();
        assert!(client.join("room:1", json!({})).unwrap().is_ok());
    });
}

#[test]
fn an_event_that_the_channel_does_not_know_ends_it() {
    // shows: ending.unknown-event
    everywhere(|world, door| {
        let mut client = door.client(world);
        for (event, payload) in
            [("nonsense", json!({})), ("act", json!("no steps")), ("act", json!([{"fly": 1}]))]
        {
            client.join("room:1", json!({})).unwrap();
            client.push("room:1", event, payload);
            expect_end(&mut client, "room:1", "phx_error");
            assert!(world.note().starts_with("room:1 terminates: Error(\"event"));
            world.expect_note("room:1 is dropped");
        }
        client.silence_everywhere().unwrap();
    });
}

#[test]
fn what_waits_for_a_channel_that_ends_is_lost() {
    everywhere(|world, door| {
        let mut client = door.client(world);
        for (gate, last) in [("crash", fail()), ("stop", stop(Ending::Normal))] {
            client.join("room:1", json!({})).unwrap();
            client.push("room:1", "act", script([wait(gate), last]));
            client.push("room:1", "act", script([push("never")]));
            client.leave("room:1");
            client.silence_everywhere().unwrap();
            world.open(gate);
            let end = client.next().unwrap();
            assert!(["phx_close", "phx_error"].contains(&end.event.as_str()), "{end}");
            client.silence_everywhere().unwrap();
        }
    });
}

#[test]
fn a_connection_that_goes_ends_its_channels_with_terminate() {
    // shows: ending.connection-gone, own.no-error-frame
    everywhere(|world, door| {
        // The client closes, hangs up without a word, or sends what nobody understands.
        let ways: [fn(&mut Client); 3] =
            [Client::close, |client| client.close_with(None), |client| client.send_text("what?")];
        for (way, end) in ways.into_iter().enumerate() {
            let mut client = door.client(world);
            client.join("room:1", Plan::terminate([push("nobody reads")])).unwrap();
            end(&mut client);
            let code = if way == 2 { Some(1011) } else { Some(1000) };
            assert_eq!(client.closed().unwrap(), code);
            world.expect_note("room:1 terminates: Closed");
            world.expect_note("room:1 is dropped");
            // No frame was sent for the channel.
            assert!(matches!(
                client.next(),
                Err(simurgh::testing::Error::Closed { .. } | simurgh::testing::Error::Lost { .. })
            ));
        }
        let mut client = door.client(world);
        client.join("room:1", json!({})).unwrap();
        drop(client);
        world.expect_note("room:1 terminates: Closed");
        world.expect_note("room:1 is dropped");
    });
}

#[test]
fn in_v1_the_closing_frames_have_the_join_ref_if_the_client_sent_one() {
    // shows: own.v1-closing-ref-of-join
    everywhere(|world, door| {
        if door.has_join_refs() {
            return;
        }
        let mut client = door.client(world);
        for (event, payload, end) in
            [("phx_leave", json!({}), "phx_close"), ("act", script([fail()]), "phx_error")]
        {
            client.send(json!("j5"), json!("1"), json!("room:1"), json!("phx_join"), json!({}));
            client.expect("room:1", "phx_reply").unwrap();
            client.send(json!("j5"), json!("2"), json!("room:1"), json!(event), payload);
            let message = std::iter::from_fn(|| client.next().ok()).find(|m| m.event == end);
            assert_eq!(message.unwrap().message_ref, json!("j5"));
        }
    });
}

#[test]
fn what_cannot_be_encoded_for_the_client_ends_the_channel() {
    // shows: binary.v1-cannot-send-it, v2.push-needs-an-object, v1.payload-not-checked
    everywhere(|world, door| {
        let mut client = door.client(world);
        for (topic, step) in [
            ("room:push", Step::PushBinary("b".into())),
            ("room:reply", Step::ReplyBinary("ok".into())),
        ] {
            client.join(topic, json!({})).unwrap();
            client.push(topic, "act", script([step]));
            let message = client.next().unwrap();
            match door.has_binary() {
                true => assert!(message.payload.as_binary().is_some(), "{message}"),
                false => assert_eq!(message.event, "phx_error"),
            }
        }
        for (topic, payload) in [
            ("room:list", json!([])),
            ("room:text", json!("text")),
            ("room:number", json!(1)),
            ("room:null", Value::Null),
        ] {
            client.join(topic, json!({})).unwrap();
            client.push(topic, "act", script([push_with("odd", payload.clone())]));
            let message = client.next().unwrap();
            match door.wants_objects() {
                true => assert_eq!(message.event, "phx_error"),
                // Not checked there, as in Phoenix.
                false => assert_eq!(message.payload, payload),
            }
        }
    });
}

/// A broadcast after the server has ended was told that its queues were full.
#[test]
fn who_speaks_to_a_server_that_has_ended_is_told_that_it_has() {
    for shards in [1, 4] {
        let endpoint = simurgh::demo::endpoint().shards(shards).listen("127.0.0.1:0");
        let running = endpoint.start().unwrap();
        let handle = running.handle();
        handle.broadcast("room:lobby", "new_msg", ()).unwrap();
        handle.shutdown();
        running.join().unwrap();
        for said in [handle.broadcast("room:lobby", "new_msg", ()), handle.disconnect("users:1")] {
            assert!(matches!(said, Err(HandleError::Gone)), "{said:?} of {shards} shards");
        }
    }
}
