//! Subscriptions of threads and tasks that are no channels.

use std::time::Duration;

use serde_json::json;
use simurgh::{Broadcast, SubscriptionError};

use crate::doors::{everywhere, on_new_servers, through_every_door};
use crate::script::{broadcast, broadcast_from, broadcast_with, script};
use crate::support::{World, limits};

const PATIENCE: Duration = Duration::from_secs(10);

fn event(heard: Result<Broadcast, SubscriptionError>) -> String {
    heard.map_or_else(|error| format!("{error:?}"), |broadcast| broadcast.event().to_owned())
}

#[test]
fn whoever_has_subscribed_hears_what_channels_and_threads_broadcast() {
    everywhere(|world, door| {
        let handle = world.server.handle();
        let mut near = door.client(world);
        let mut far = door.far_client(world);
        near.join("room:1", json!({})).unwrap();
        far.join("room:1", json!({})).unwrap();
        let (mut one, mut other) = (handle.subscribe("room:1"), handle.subscribe("room:1"));
        let mut elsewhere = handle.subscribe("room:2");
        assert_eq!(one.topic(), "room:1");
        near.push("room:1", "act", script([broadcast_with("1", json!({ "n": 1 }))]));
        let heard = one.blocking_recv().unwrap();
        assert_eq!((heard.topic(), heard.event()), ("room:1", "1"));
        assert_eq!(heard.payload().as_json(), Some(r#"{"n":1}"#));
        far.push("room:1", "act", script([broadcast("2"), broadcast_from("3")]));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for name in ["2", "3"] {
            assert_eq!(event(runtime.block_on(one.recv())), name);
        }
        handle.broadcast("room:1", "4", ()).unwrap();
        handle.local_broadcast("room:1", "5", ()).unwrap();
        for name in ["4", "5"] {
            assert_eq!(event(one.blocking_recv()), name);
        }
        for name in ["1", "2", "3", "4", "5"] {
            assert_eq!(event(other.blocking_recv()), name);
        }
        assert!(one.try_recv().unwrap().is_none() && elsewhere.try_recv().unwrap().is_none());
        let late = one.blocking_recv_timeout(Duration::from_millis(1));
        assert_eq!(event(late), "Timeout");
        drop(one);
        // Nobody need have joined.
        handle.broadcast("room:2", "6", ()).unwrap();
        assert_eq!(event(elsewhere.blocking_recv_timeout(PATIENCE)), "6");
    });
}

#[test]
fn whoever_does_not_read_is_told_what_he_has_missed() {
    let small = |endpoint: simurgh::Builder<_>| {
        let mut limits = limits();
        limits.max_mailbox = 2;
        endpoint.limits(limits)
    };
    on_new_servers(2, small, |world, door| {
        let mut client = door.client(world);
        client.join("room:1", json!({})).unwrap();
        let mut slow = world.server.handle().subscribe("room:1");
        client.push("room:1", "act", script(["1", "2", "3", "4"].map(broadcast)));
        for name in ["1", "2", "3", "4"] {
            client.expect("room:1", name).unwrap();
        }
        assert_eq!(event(slow.blocking_recv()), "1");
        assert_eq!(event(slow.blocking_recv()), "2");
        assert_eq!(slow.blocking_recv().unwrap_err(), SubscriptionError::Missed(2));
        client.push("room:1", "act", script([broadcast("5")]));
        assert_eq!(event(slow.blocking_recv()), "5");
    });
}

#[test]
fn a_subscription_ends_with_the_server() {
    through_every_door(2, World::start, |world, door| {
        let mut client = door.client(&world);
        client.join("room:1", json!({})).unwrap();
        let handle = world.server.handle();
        let mut waiting = handle.subscribe("room:1");
        client.push("room:1", "act", script([broadcast("last")]));
        client.expect("room:1", "last").unwrap();
        let waiting = std::thread::spawn(move || {
            [(); 2].map(|()| event(waiting.blocking_recv_timeout(PATIENCE)))
        });
        world.server.stop();
        assert_eq!(waiting.join().unwrap(), ["last", "Gone"]);
        assert_eq!(event(handle.subscribe("room:1").blocking_recv()), "Gone");
    });
}
