//! More clients than the process may open files.

use std::time::{Duration, Instant};

use simurgh::testing::Server;
use simurgh::{Bound, Ceiling};

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
    let clients = possible(server.ceiling());
    let descriptors = open_descriptors();
    let gather = |number| {
        let shard = usize::from(number) % server.shards();
        Crowd::gather(TEST, server.addr(shard), number, clients / CROWDS)
    };
    let mut crowds: Vec<_> = (0..CROWDS as u8).map(gather).collect();
    crowds.iter_mut().for_each(Crowd::await_joined);

    let sum = |of: fn(&simurgh::ShardCounts) -> u64| server.counts().iter().map(of).sum::<u64>();
    assert_eq!(sum(|shard| shard.connections), clients as u64);
    assert_eq!(sum(|shard| shard.processes), clients as u64);
    crowds.iter_mut().for_each(Crowd::speak);

    let before = sum(|shard| shard.deliveries);
    for topic in 0..TOPICS {
        server.handle().broadcast(&format!("room:{topic}"), "said", ()).unwrap();
    }
    until(|| sum(|shard| shard.deliveries) == before + clients as u64);

    crowds.into_iter().for_each(Crowd::leave);
    until(|| sum(|shard| shard.connections) == 0);
    server.await_rest();
    // The rings beyond each shard's first are gone too.
    until(|| open_descriptors() == descriptors);
}

/// How many clients this host can hold: all of them, or what is left of one that is short of
/// something.
fn possible(ceiling: Ceiling) -> usize {
    let possible = usize::try_from(ceiling.connections).unwrap_or(usize::MAX) / CROWDS * CROWDS;
    if possible >= CLIENTS {
        return CLIENTS;
    }
    if let Bound::OpenFiles { .. } = ceiling.bound {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let numbers: Vec<u32> = kernel.split(['.', '-']).flat_map(str::parse).take(2).collect();
        assert!(numbers < vec![6, 13], "here connections take no descriptors: {ceiling}");
    }
    println!("fewer than {CLIENTS} are possible here: {ceiling}");
    possible
}

/// Waits for what must happen some time.
fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "it does not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

const TEST: &str = "sixty_thousand::one_process_holds_sixty_thousand_joined_clients";
const CLIENTS: usize = 60_000;
/// Processes that hold them.
const CROWDS: usize = 4;
/// As many as a crowd joins.
const TOPICS: usize = 1_000;
