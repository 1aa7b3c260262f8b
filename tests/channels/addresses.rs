//! Addresses and timers: what reaches a channel besides its client.

use std::time::Duration;

use serde_json::json;
use simurgh::AddressError;

use crate::doors::{everywhere, on_new_servers, through_every_door};
use crate::script::{
    Plan, Step, broadcast, fail, interval, note, push, reply, script, send_after, send_self,
    send_to, wait,
};
use crate::support::{World, limits};

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(2);

#[test]
fn an_address_reaches_its_channel_from_any_thread_and_shard() {
    everywhere(|world, door| {
        let mut client = door.far_client(world);
        client.join("room:1", Plan::join([Step::GiveAddress])).unwrap();
        let address = world.address();
        (address.send)(vec![push("from a thread")]).unwrap();
        client.expect("room:1", "from a thread").unwrap();

        world.keep(address);
        let shards = 0..world.server.shards();
        let mut others: Vec<_> = shards.map(|shard| door.client_on(world, shard)).collect();
        for other in &mut others {
            other.join("room:2", json!({})).unwrap();
            other.push("room:2", "act", script([send_to([push("from a shard")])]));
            client.expect("room:1", "from a shard").unwrap();
            world.expect_note("Ok(())");
        }
    });
}

#[test]
fn what_is_sent_to_an_address_waits_its_turn_and_keeps_its_order() {
    everywhere(|world, door| {
        let mut client = door.client(world);
        client.send_join("room:1", Plan::join([Step::GiveAddress, wait("join")]));
        let address = world.address();
        for event in ["1", "2", "3"] {
            (address.send)(vec![push(event)]).unwrap();
        }
        client.silence_everywhere().unwrap();
        world.open("join");
        for event in ["phx_reply", "1", "2", "3"] {
            client.expect("room:1", event).unwrap();
        }
    });
}

#[test]
fn an_address_of_a_channel_that_ended_reaches_nobody() {
    everywhere(|world, door| {
        let mut client = door.client(world);
        let mut stranger = door.client(world);
        client.join("room:1", Plan::join([Step::GiveAddress])).unwrap();
        let address = world.address();
        let left = client.leave("room:1");
        client.reply(left).unwrap();
        client.expect("room:1", "phx_close").unwrap();
        world.server.await_counts(|counts| counts[0].processes == 0);
        // This one has the same place in the shard's table, and the same topic.
        stranger.join("room:1", json!({})).unwrap();
        (address.send)(vec![push("for the dead")]).ok();
        // From its own shard it is known for sure.
        (address.broadcast_from)("room:1", "from the dead");
        stranger.expect("room:1", "from the dead").unwrap();
        world.keep(address);
        let steps = [send_to([push("for the dead")]), reply(json!(1))];
        let sent = stranger.push("room:1", "act", script(steps));
        assert!(stranger.reply(sent).unwrap().is_ok());
        stranger.silence_everywhere().unwrap();
        assert!(world.notes().contains(&"Err(Gone)".to_owned()));
    });
}

#[test]
fn a_full_mailbox_refuses_what_its_shard_sends_and_loses_what_others_do() {
    let small = |endpoint: simurgh::Builder<_>| {
        let mut limits = limits();
        limits.max_mailbox = 3;
        endpoint.limits(limits)
    };
    on_new_servers(1, small, |world, door| {
        let mut client = door.client(world);
        client.join("room:1", Plan::join([Step::GiveAddress])).unwrap();
        client.join("room:2", json!({})).unwrap();
        client.push("room:1", "act", script([note("busy"), wait("busy")]));
        world.expect_note("busy");
        world.keep(world.address());
        client.push("room:2", "act", script((1..=4).map(|n| send_to([push(&n.to_string())]))));
        for sent in ["Ok(())", "Ok(())", "Ok(())", "Err(Full)"] {
            world.expect_note(sent);
        }
        world.app.send_to_kept(vec![push("lost")]).unwrap();
        world.server.await_counts(|counts| counts[0].overloaded == 1);
        world.open("busy");
        for event in ["1", "2", "3"] {
            client.expect("room:1", event).unwrap();
        }
        client.silence_everywhere().unwrap();
    });
}

#[test]
fn the_inbox_of_a_shard_and_the_queue_to_it_are_bounded() {
    let small = |endpoint: simurgh::Builder<_>| {
        let mut limits = limits();
        (limits.max_inbox, limits.max_mesh_queue) = (2, 2);
        limits.hold_timeout = Duration::ZERO;
        endpoint.limits(limits)
    };
    on_new_servers(2, small, |world, door| {
        let mut client = door.client_on(world, 1);
        let mut sender = door.client_on(world, 0);
        client.join("room:1", Plan::join([Step::GiveAddress])).unwrap();
        sender.join("room:1", json!({})).unwrap();
        let address = world.address();
        client.push("room:1", "act", script([note("held"), Step::HoldShard("held".into())]));
        world.expect_note("held");

        for _ in 0..3 {
            sender.push("room:1", "act", script([broadcast("b")]));
            sender.expect("room:1", "b").unwrap();
        }
        sender.expect("room:1", "phx_error").unwrap();
        assert!(world.note().starts_with("room:1 terminates: Error(\"the queue"));
        assert!(world.server.await_counts(|counts| counts[0].mesh_full == 1)[1].mesh_full == 0);
        for sent in [Ok(()), Ok(()), Err(AddressError::Full)] {
            assert_eq!((address.send)(vec![push("info")]), sent);
        }
        let handle = world.server.handle();
        assert!(handle.broadcast("room:1", "b", ()).is_err());

        world.open("held");
        // What the queues held comes, and the channel behind them, which missed something, goes on.
        let events: Vec<_> = (0..4).map(|_| client.next().unwrap().event).collect();
        assert_eq!(events, ["b", "b", "info", "info"]);
        handle.broadcast("room:1", "b", ()).unwrap();
        client.expect("room:1", "b").unwrap();
    });
}

#[test]
fn nothing_can_be_sent_to_a_server_that_has_stopped() {
    through_every_door(2, World::start, |world, door| {
        let mut client = door.far_client(&world);
        client.join("room:1", Plan::join([Step::GiveAddress])).unwrap();
        let asked = client.push("room:1", "act", script([Step::ReplyLater]));
        let (address, late) = (world.address(), world.reply_later());
        let handle = world.server.handle();
        world.server.stop();
        assert_eq!((address.send)(vec![]), Err(AddressError::Gone));
        assert!(matches!(late.ok(()), Err(simurgh::ReplyError::Gone)));
        assert!(handle.broadcast("room:1", "b", ()).is_err() || handle.counts().len() == 2);
        assert_eq!(client.closed().unwrap(), Some(1012));
        drop(asked);
    });
}

#[test]
fn a_timer_sends_when_it_is_due_and_the_earlier_first() {
    everywhere(|world, door| {
        let mut client = door.client(world);
        client.join("room:1", Plan::join([send_after(MOMENT, [push("from join")])])).unwrap();
        client.expect("room:1", "from join").unwrap();
        let steps = [
            send_after(MOMENT * 20, [push("late")]),
            send_after(MOMENT, [push("early")]),
            send_self([push("at once")]),
            reply(json!(1)),
        ];
        client.push("room:1", "act", script(steps));
        for event in ["phx_reply", "at once", "early", "late"] {
            client.expect("room:1", event).unwrap();
        }
        client.silence_everywhere().unwrap();
    });
}

#[test]
fn an_interval_goes_on_until_the_channel_ends() {
    everywhere(|world, door| {
        let mut client = door.client(world);
        client.join("room:1", Plan::join([interval(MOMENT, [push("tick")])])).unwrap();
        client.join("room:2", Plan::join([interval(MOMENT, [push("tick"), fail()])])).unwrap();
        let mut seen = Vec::new();
        while seen.last().is_none_or(|event| event != "phx_error") {
            let message = client.next().unwrap();
            match message.topic.as_str() {
                "room:1" => assert_eq!(message.event, "tick"),
                _ => seen.push(message.event),
            }
        }
        assert_eq!(seen, ["tick", "phx_error"]);
        for _ in 0..3 {
            client.expect("room:1", "tick").unwrap();
        }
        let left = client.leave("room:1");
        client.reply(left).unwrap();
        while client.next().unwrap().event != "phx_close" {}
        client.silence_everywhere().unwrap();
    });
}

#[test]
fn the_timers_of_a_channel_end_with_it() {
    everywhere(|world, door| {
        // However it ends. `everywhere` waits until no timer is left, which is not an hour.
        let plan = || Plan::join([send_after(HOUR, [note("never")]), interval(HOUR, [])]);
        let mut client = door.client(world);
        client.join("room:left", plan()).unwrap();
        let left = client.leave("room:left");
        client.reply(left).unwrap();
        client.join("room:again", plan()).unwrap();
        client.join("room:again", plan()).unwrap();
        client.join("room:crash", plan()).unwrap();
        client.push("room:crash", "act", script([fail()]));
        client.join("room:panic", plan()).unwrap();
        client.push("room:panic", "act", script([crate::script::panic()]));
        let refused = [send_after(HOUR, [note("never")]), crate::script::refuse(json!({}))];
        client.join("room:refused", Plan::join(refused)).unwrap();
        client.join("room:closed", plan()).unwrap();
        client.heartbeat().unwrap();
        world.server.await_counts(|counts| counts[0].timers == 4);
    });
}
