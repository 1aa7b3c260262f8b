//! Sockets by their id, and the end of the server.

use serde_json::json;
use simurgh::testing::ConnectError;

use crate::doors::{everywhere, through_every_door};
use crate::script::{Plan, Step, push, reply, script, wait};
use crate::support::World;

#[test]
fn a_disconnect_closes_all_sockets_of_that_id_on_all_shards() {
    // shows: close.disconnect-1001
    everywhere(|world, door| {
        let far = world.server.shards() - 1;
        let mut gone: Vec<_> = [0, 0, far]
            .map(|shard| door.client_with_id(world, shard, "users:1"))
            .into_iter()
            .collect();
        let mut others = [door.client(world), door.client_with_id(world, far, "users:2")];
        for client in &mut others {
            client.join("room:1", json!({})).unwrap();
        }
        for client in &mut gone {
            client.join("room:1", Plan::terminate([push("nobody reads")])).unwrap();
            client.join("room:2", json!({})).unwrap();
        }
        world.server.handle().disconnect("users:1").unwrap();
        for client in &mut gone {
            assert_eq!(client.closed().unwrap(), Some(1001));
            // No frame for its channels.
            client.next().unwrap_err();
        }
        let mut notes: Vec<_> = (0..12).map(|_| world.note()).collect();
        notes.sort();
        assert_eq!(notes.iter().filter(|note| note.ends_with("terminates: Closed")).count(), 6);
        for client in &mut others {
            client.silence_everywhere().unwrap();
        }
    });
}

#[test]
fn a_socket_hears_nothing_else_on_the_topic_of_its_id() {
    everywhere(|world, door| {
        let mut client = door.client_with_id(world, 0, "room:me");
        client.join("room:1", json!({})).unwrap();
        let handle = world.server.handle();
        handle.broadcast("room:me", "hello", ()).unwrap();
        handle.disconnect("room:1").unwrap();
        // An event like any other on a topic that is no socket's id.
        client.expect("room:1", "disconnect").unwrap();
        client.silence_everywhere().unwrap();

        // The id may be a channel's topic as well.
        client.join("room:me", json!({})).unwrap();
        handle.broadcast("room:me", "hello", ()).unwrap();
        client.expect("room:me", "hello").unwrap();
        handle.disconnect("room:me").unwrap();
        assert_eq!(client.closed().unwrap(), Some(1001));
    });
}

#[test]
fn a_channel_may_disconnect_its_own_socket() {
    // shows: diff.reply-before-disconnect
    everywhere(|world, door| {
        let mut client = door.client_with_id(world, 0, "users:1");
        client.join("room:1", json!({})).unwrap();
        let steps = [Step::Disconnect("users:1".into()), push("last"), reply(json!(1))];
        client.push("room:1", "act", script(steps));
        assert_eq!(client.closed().unwrap(), Some(1001));
        client.expect("room:1", "last").unwrap();
        client.expect("room:1", "phx_reply").unwrap();
        world.expect_note("room:1 terminates: Closed");
    });
}

#[test]
fn a_panic_in_id_refuses_the_connection_and_nothing_else() {
    // shows: check.connect-fails-500
    everywhere(|world, door| {
        let mut client = door.client(world);
        let broken = door.builder(world.server.addr(0), "/socket").param("id", "panic");
        let refused = broken.connect();
        assert!(matches!(refused, Err(ConnectError::Refused { status: 500, .. })), "{refused:?}");
        assert!(client.join("room:1", json!({})).unwrap().is_ok());
    });
}

#[test]
fn a_shutdown_closes_every_socket_and_lets_channels_terminate() {
    // shows: ending.drain, close.drain-1012, close.shutdown-without-channels
    through_every_door(4, World::start, |world, door| {
        let mut clients: Vec<_> = (0..4).map(|shard| door.client_on(&world, shard)).collect();
        for client in &mut clients[..3] {
            client.join("room:1", Plan::terminate([push("nobody reads")])).unwrap();
        }
        // One is busy when it comes, one never ends.
        clients[0].push("room:1", "act", script([wait("soon")]));
        clients[1].push("room:1", "act", script([wait("never")]));
        clients[0].heartbeat().unwrap();
        clients[1].heartbeat().unwrap();
        world.server.handle().shutdown();
        for client in &mut clients {
            assert_eq!(client.closed().unwrap(), Some(1012));
            client.next().unwrap_err();
        }
        world.open("soon");
        let mut notes: Vec<_> = (0..5).map(|_| world.note()).collect();
        world.server.stop();
        notes.sort();
        let (dropped, terminates) = ("room:1 is dropped", "room:1 terminates: Draining");
        assert_eq!(notes, [dropped, dropped, dropped, terminates, terminates]);
    });
}
