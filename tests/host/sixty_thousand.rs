//! More clients than the process may open files.

use std::time::{Duration, Instant};

use simurgh::testing::Server;

use crate::crowd::{self, Crowd};
use crate::{app, stage};

/// `RLIMIT_NOFILE` bounds how many sockets one client process can have, and one table of direct
/// descriptors; what it must not bound is how many clients the server holds.
#[test]
fn one_process_holds_sixty_thousand_joined_clients() {
    if crowd::play() {
        return;
    }
    let _alone = stage::alone();
    let server = Server::start(app::endpoint(), 2);
    let gather = |number| {
        let shard = usize::from(number) % server.shards();
        Crowd::gather(TEST, server.addr(shard), number, CLIENTS / CROWDS)
    };
    let mut crowds: Vec<_> = (0..CROWDS as u8).map(gather).collect();
    crowds.iter_mut().for_each(Crowd::await_joined);

    let sum = |of: fn(&simurgh::ShardCounts) -> u64| server.counts().iter().map(of).sum::<u64>();
    assert_eq!(sum(|shard| shard.connections), CLIENTS as u64);
    assert_eq!(sum(|shard| shard.processes), CLIENTS as u64);
    crowds.iter_mut().for_each(Crowd::speak);

    let before = sum(|shard| shard.deliveries);
    for topic in 0..TOPICS {
        server.handle().broadcast(&format!("room:{topic}"), "said", ()).unwrap();
    }
    until(|| sum(|shard| shard.deliveries) == before + CLIENTS as u64);

    crowds.into_iter().for_each(Crowd::leave);
    until(|| sum(|shard| shard.connections) == 0);
    server.await_rest();
}

/// Waits for what must happen some time.
fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "it does not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

const TEST: &str = "sixty_thousand::one_process_holds_sixty_thousand_joined_clients";
const CLIENTS: usize = 60_000;
/// Processes that hold them.
const CROWDS: usize = 4;
/// As many as a crowd joins.
const TOPICS: usize = 1_000;
