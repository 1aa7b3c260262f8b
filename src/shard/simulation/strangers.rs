//! Clients that come and go: slots, generations, and bytes that come in any pieces.

use serde_json::json;

use super::kernel::Faults;
use super::world::World;
use crate::testing::Version;

#[test]
fn what_the_kernel_says_of_a_closed_connection_reaches_nobody() {
    let mut world = World::new(1);
    world.kernel(0).faults.stale = 100;
    for round in 0..50 {
        let mut client = world.join(0, Version::V2, "actor:1");
        client.push("actor:1", "shout", json!({"text": "mine"}));
        world.run();
        assert_eq!(client.take_texts(), [("shout".to_owned(), "mine".to_owned())]);
        let id = client.pipe.borrow().id.expect("it was accepted");
        assert_eq!((id.slot(), id.generation()), (0, round + 1), "the slot is used again at once");
        if round % 2 == 0 {
            client.break_off()
        } else {
            client.close()
        }
        world.run();
        assert!(client.is_closed());
    }
    world.assert_rest();
}

#[test]
fn a_full_connection_s_successor_is_not_full() {
    let mut world = World::new(1);
    let mut first = world.join(0, Version::V2, "actor:1");
    first.pipe.borrow_mut().room = Some(0);
    first.push("actor:1", "flood", json!({"count": 3, "size": 1000}));
    world.run();
    assert!(first.pipe.borrow().awaits_writable);
    first.break_off();
    world.run();
    let mut second = world.join(0, Version::V2, "actor:1");
    let echo = second.push("actor:1", "echo", json!({}));
    world.run();
    assert!(second.take_reply(&echo).is_ok());
}

#[test]
fn an_accept_that_failed_is_counted_and_the_next_client_served() {
    let mut world = World::new(1);
    world.kernel(0).faults.failed_accepts = 100;
    let mut client = world.join(0, Version::V2, "actor:1");
    assert_eq!((world.counts(0).accepts_failed, world.counts(0).accepted), (1, 1));
    client.finish();
    world.assert_rest();
}

#[test]
fn bytes_may_come_in_any_pieces() {
    for version in Version::ALL {
        let script = |world: &mut World| {
            let mut client = world.dial(0, version);
            client.upgrade("/socket", "");
            client.join("actor:1", json!({}));
            client.push("actor:1", "echo", json!({"text": "é".repeat(100)}));
            client.send_frame(super::client::PING, b"there?");
            client.push("actor:1", "shout", json!({"text": "x".repeat(200)}));
            client
        };
        let mut world = World::new(1);
        let whole = script(&mut world);
        let bytes: Vec<_> = whole.pipe.borrow().inbound.iter().copied().collect();
        world.run();
        let answer = whole.pipe.borrow().outbound.clone();
        for cut in 1..bytes.len() {
            let mut client = world.dial(0, version);
            client.send_bytes(&bytes[..cut]);
            world.run();
            client.send_bytes(&bytes[cut..]);
            world.run();
            assert!(client.pipe.borrow().outbound == answer, "cut at {cut}");
            client.read();
            assert_eq!((client.take().len(), client.pongs), (3, 1));
            client.break_off();
            world.run();
        }
        whole.pipe.borrow_mut().outbound.clear();
    }
}

#[test]
fn a_kernel_that_is_late_with_everything_changes_nothing() {
    for seed in 0..20 {
        let mut world = World::with_seed(1, crate::Limits::default(), seed);
        world.kernel(0).faults =
            Faults { cuts: 90, delays: 60, short_sends: 60, stale: 30, ..Faults::default() };
        let mut clients: Vec<_> = (0..3).map(|_| world.join(0, Version::V2, "actor:1")).collect();
        for number in 0..10 {
            clients[number % 3].push("actor:1", "shout", json!({"text": number.to_string()}));
            world.run();
        }
        let expected: Vec<_> = (0..10).map(|n| ("shout".to_owned(), n.to_string())).collect();
        for client in &mut clients {
            assert_eq!(client.take_texts(), expected, "seed {seed}");
            client.finish();
        }
        world.assert_rest();
    }
}
