//! More clients than there is room for.

use std::time::Duration;

use super::world::World;
use crate::config::Limits;
use crate::testing::Version;

#[test]
fn a_flood_of_clients_beyond_the_limit_leaves_nothing_behind() {
    let limits = Limits { max_connections: 1, ..Limits::default() };
    let mut world = World::with_limits(1, limits);
    let mut inside = world.connect(0, Version::V2);
    let mut flood: Vec<_> = (0..3_000).map(|_| world.dial(0, Version::V2)).collect();
    world.run();
    // Few of them may wait for an answer; the others are gone already.
    assert_eq!(world.counts(0).connections, 1 + 1_024);
    assert_eq!(world.counts(0).refused_connections, 3_000);
    flood.retain(|client| !client.is_closed());
    let (asks, silent) = flood.split_at_mut(512);
    asks.iter_mut().for_each(|client| client.upgrade("/socket", ""));
    world.run();
    for client in asks {
        client.read();
        assert_eq!(client.status, Some(503));
        client.finish();
    }
    world.run();
    assert_eq!(world.counts(0).connections, 1 + 512);
    // Who asks nothing is told nothing, and has as long as who is admitted.
    world.pass(Duration::from_secs(11));
    assert!(silent.iter().all(|client| client.is_closed()));
    assert!(silent.iter().all(|client| client.pipe.borrow().outbound.is_empty()));
    inside.close();
    world.run();
    assert!(world.join(0, Version::V2, "actor:1").pipe.borrow().id.is_some());
}
