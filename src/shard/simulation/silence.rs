//! Who is silent, and who was only not heard.

use std::time::Duration;

use serde_json::json;

use super::client::Client;
use super::world::World;
use crate::testing::Version;

/// So many clients, of whom one turn is told of one.
fn crowd(world: &mut World) -> Vec<Client> {
    let clients = (0..50).map(|_| world.join(0, Version::V2, "actor:1")).collect();
    world.kernel(0).enough = Some(1);
    clients
}

#[test]
fn who_spoke_while_the_process_was_stopped_is_heard() {
    let mut world = World::new(1);
    let mut clients = crowd(&mut world);
    world.stand_still(Duration::from_secs(66));
    let (silent, others) = clients.split_first_mut().expect("there are fifty");
    let heartbeats: Vec<_> = others.iter_mut().map(Client::heartbeat).collect();
    world.run();
    for (client, heartbeat) in others.iter_mut().zip(&heartbeats) {
        assert!(client.take_reply(heartbeat).is_ok());
    }
    world.pass(Duration::from_secs(4));
    for client in others {
        client.read();
        assert_eq!(client.close_code, None);
    }
    silent.read();
    assert_eq!(silent.close_code, Some(1002));
    assert_eq!(world.counts(0).idle, 1);
}

/// Their packets come a moment after the server runs again.
#[test]
fn who_speaks_when_the_process_goes_on_is_heard() {
    let mut world = World::new(1);
    let mut client = world.join(0, Version::V2, "actor:1");
    world.stand_still(Duration::from_secs(66));
    world.run();
    world.pass(Duration::from_secs(1));
    let heartbeat = client.heartbeat();
    world.run();
    assert!(client.take_reply(&heartbeat).is_ok());
    world.pass(Duration::from_secs(50));
    client.read();
    assert_eq!(client.close_code, None);
}

#[test]
fn a_request_that_came_while_the_process_was_stopped_is_answered() {
    for begun in ["", "GET /page HTTP/1.1\r\n"] {
        let mut world = World::new(1);
        let mut clients: Vec<_> = (0..20).map(|_| world.dial(0, Version::V2)).collect();
        clients.iter_mut().for_each(|client| client.send_bytes(begun.as_bytes()));
        world.run();
        world.kernel(0).enough = Some(1);
        world.stand_still(Duration::from_secs(20));
        let rest = &"GET /page HTTP/1.1\r\nHost: here\r\n\r\n"[begun.len()..];
        clients.iter_mut().for_each(|client| client.send_bytes(rest.as_bytes()));
        world.run();
        for client in &mut clients {
            client.read();
            assert_eq!(client.status, Some(200), "after {begun:?}");
        }
    }
}

#[test]
fn a_close_that_came_while_the_process_was_stopped_is_read() {
    let mut world = World::new(1);
    let mut clients = crowd(&mut world);
    world.pass(Duration::from_secs(61));
    for client in &mut clients {
        client.read();
        assert_eq!(client.close_code, Some(1002));
    }
    world.stand_still(Duration::from_secs(20));
    clients.iter_mut().for_each(Client::close);
    world.run();
    assert!(clients.iter().all(Client::is_closed));
    assert_eq!(world.counts(0).overdue, 0);
}

#[test]
fn whose_bytes_found_no_buffer_is_not_silent() {
    let mut world = World::new(1);
    let mut client = world.join(0, Version::V2, "actor:1");
    world.pass(Duration::from_secs(59));
    client.pipe.borrow_mut().is_starved = true;
    let heartbeat = client.heartbeat();
    world.pass(Duration::from_secs(30));
    client.pipe.borrow_mut().is_starved = false;
    world.run();
    assert!(client.take_reply(&heartbeat).is_ok());

    // On his way out he is not waited for without end.
    world.pass(Duration::from_secs(62));
    client.read();
    assert_eq!(client.close_code, Some(1002));
    client.pipe.borrow_mut().is_starved = true;
    client.close();
    world.pass(Duration::from_secs(30));
    assert!(client.is_closed());
    world.assert_rest();
}

#[test]
fn a_flood_does_not_keep_the_silent_for_ever() {
    let mut world = World::new(1);
    let mut client = world.join(0, Version::V2, "actor:1");
    world.kernel(0).is_flooded = true;
    world.pass(Duration::from_secs(60 + 12));
    client.read();
    assert_eq!(client.close_code, Some(1002));
}

#[test]
fn a_callback_that_ended_in_time_is_not_overdue_for_being_looked_at_late() {
    let mut world = World::new(1);
    let mut client = world.connect(0, Version::V2);
    client.join("actor:1", json!({ "terminate_gate": "gate" }));
    world.run();
    client.break_off();
    world.run();
    world.stand_still(Duration::from_secs(60));
    world.app.gate("gate").open();
    world.run();
    assert_eq!(world.app.take_log(), ["actor:1 terminated: Closed", "actor:1 dropped"]);
}
