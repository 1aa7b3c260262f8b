//! A server that stops: who is told, who is answered, who is waited for.

use std::time::Duration;

use super::deadlines::waiting;
use super::world::World;
use crate::testing::Version;

#[test]
fn a_drain_closes_everybody_and_ends_when_they_have_answered() {
    for shards in [1, 4] {
        let mut world = World::new(shards);
        let mut clients: Vec<_> =
            (0..shards).map(|shard| world.join(shard, Version::V2, "actor:1")).collect();
        let half_way = world.dial(0, Version::V2);
        world.run();
        world.handle().shutdown();
        world.run();
        assert!(half_way.is_closed(), "he has not even asked");
        assert_eq!(world.app.take_log().len(), 2 * shards);
        let late = world.dial(0, Version::V2);
        world.run();
        assert!(late.pipe.borrow().id.is_none(), "nobody is accepted any more");
        assert!(!world.has_ended());
        for client in &mut clients {
            client.read();
            assert_eq!(client.close_code, Some(1012));
            client.close();
        }
        world.run();
        assert!(world.has_ended());
    }
}

#[test]
fn who_is_accepted_while_the_server_drains_is_closed_at_once() {
    let mut world = World::new(1);
    let mut client = world.join(0, Version::V2, "actor:1");
    world.kernel(0).accepts_late = true;
    world.handle().shutdown();
    world.run();
    let mut late = world.dial(0, Version::V2);
    late.upgrade("/socket", "");
    world.run();
    assert!(late.is_closed());
    assert_eq!(late.pipe.borrow().outbound, b"");
    assert_eq!(world.counts(0).connections, 1);
    client.close();
    world.run();
    assert!(world.has_ended());
}

#[test]
fn a_drain_waits_for_nobody_for_long() {
    let mut world = World::new(2);
    let mut stubborn = waiting(&mut world, false);
    let silent = world.join(1, Version::V2, "actor:1");
    world.handle().shutdown();
    world.pass(Duration::from_secs(4));
    assert!(!world.has_ended());
    stubborn.close();
    world.pass(Duration::from_secs(3));
    assert!(stubborn.is_closed() && silent.is_closed() && world.has_ended());
    let log = world.app.take_log();
    assert_eq!(log, ["actor:1 terminated: Draining", "actor:1 dropped", "actor:1 dropped"]);
}

#[test]
fn who_has_begun_to_connect_is_served_where_another_server_listens_too() {
    let mut world = World::new(2);
    world.kernels().for_each(|mut kernel| kernel.shares_address = true);
    let mut old = world.join(0, Version::V2, "actor:1");
    world.handle().shutdown();
    world.run();
    old.read();
    assert_eq!(old.close_code, None, "nobody is sent to a listener that is about to go");

    let mut socket = world.join(1, Version::V2, "actor:1");
    world.pass(Duration::from_millis(800));
    let mut page = world.dial(0, Version::V2);
    page.send_bytes(b"GET /page HTTP/1.1\r\nHost: here\r\n\r\n");
    let mut silent = world.dial(0, Version::V2);
    let mut half = world.dial(1, Version::V2);
    half.send_bytes(b"GET /page HTTP/1.1\r\n");
    world.run();
    page.read();
    assert_eq!(page.status, Some(200));

    // He has come late, and so the first shard waits somewhat longer than the second.
    world.pass(Duration::from_millis(300));
    for client in [&mut old, &mut socket] {
        client.read();
        assert_eq!(client.close_code, Some(1012));
        client.close();
    }
    assert!(page.is_closed(), "he was answered");
    world.pass(Duration::from_secs(2));
    silent.upgrade("/socket", "");
    half.send_bytes(b"Host: here\r\n\r\n");
    world.run();
    for (client, status) in [(&mut silent, 503), (&mut half, 200)] {
        client.read();
        assert_eq!(client.status, Some(status));
        assert!(client.pipe.borrow().is_shut_down);
        client.finish();
    }
    world.run();
    assert!(world.has_ended());
}

#[test]
fn a_stop_waits_no_longer_for_those_who_never_ask() {
    let mut world = World::new(1);
    world.kernel(0).shares_address = true;
    let silent = world.dial(0, Version::V2);
    world.run();
    world.handle().shutdown();
    world.pass(Duration::from_secs(5));
    assert!(!silent.is_closed());
    world.pass(Duration::from_secs(3));
    assert!(silent.is_closed() && world.has_ended());
}

#[test]
fn who_waits_for_connect_when_the_server_stops_is_answered() {
    let mut world = World::new(1);
    let mut client = world.dial(0, Version::V2);
    client.upgrade("/socket", "&gate=gate");
    world.run();
    world.handle().shutdown();
    world.run();
    client.read();
    assert_eq!(client.status, Some(503));
    client.finish();
    world.run();
    assert!(world.has_ended());
}
