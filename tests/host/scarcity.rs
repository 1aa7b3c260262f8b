//! Servers that may have little: locked memory, descriptors.

use std::time::Duration;

use serde_json::json;
use simurgh::load::{Load, Options};
use simurgh::testing::Client;

use crate::lone_server::{self, LoneServer};
use crate::stage;

#[test]
fn with_too_little_locked_memory_a_server_says_how_much_it_needs() {
    const TEST: &str = "scarcity::with_too_little_locked_memory_a_server_says_how_much_it_needs";
    if lone_server::play() {
        return;
    }
    let _alone = stage::alone();
    for limit in [0, 100_000, ENOUGH_MEMLOCK - 1] {
        let error = LoneServer::start(TEST, 1, &[&format!("--memlock={limit}")]).err().unwrap();
        assert!(error.starts_with("too little memory may be locked"), "{error}");
        assert!(error.contains(&format!("{limit} bytes are allowed")), "{error}");
        assert!(error.contains("ulimit -l 512"), "{error}");
    }
}

#[test]
fn with_too_few_descriptors_a_server_says_how_many_it_needs() {
    const TEST: &str = "scarcity::with_too_few_descriptors_a_server_says_how_many_it_needs";
    if lone_server::play() {
        return;
    }
    let _alone = stage::alone();
    for limit in [8, 10, 12, 16, 20, 26] {
        let limits = [&*format!("--nofile={limit}"), "--memlock=8388608"];
        let error = LoneServer::start(TEST, 1, &limits).err().unwrap();
        let says = ["too few files may be open", "no descriptor is left for a ring"];
        assert!(says.iter().any(|says| error.starts_with(says)), "{limit}: {error}");
        assert!(error.contains("ulimit -n 65536"), "{limit}: {error}");
    }
}

/// Each of its rings has room for 64 clients, and there is memory for a few rings.
#[test]
fn with_just_enough_locked_memory_a_server_serves_whom_it_can() {
    const TEST: &str = "scarcity::with_just_enough_locked_memory_a_server_serves_whom_it_can";
    if lone_server::play() {
        return;
    }
    let _alone = stage::alone();
    let limits = [&*format!("--memlock={ENOUGH_MEMLOCK}"), "--nofile=64"];
    serves_whom_it_can(LoneServer::start(TEST, 1, &limits).unwrap());
}

/// Each of its rings has room for 30 clients and is a descriptor.
#[test]
fn with_few_descriptors_a_server_serves_whom_it_can() {
    const TEST: &str = "scarcity::with_few_descriptors_a_server_serves_whom_it_can";
    if lone_server::play() {
        return;
    }
    let _alone = stage::alone();
    let server = LoneServer::start(TEST, 1, &["--nofile=30", "--memlock=8388608"]).unwrap();
    serves_whom_it_can(server);
}

/// More come than there is room for: those who are in are served, the others wait, and are served
/// when there is room.
fn serves_whom_it_can(mut server: LoneServer) {
    let patience = Duration::from_secs(2);
    let mut crowd = Load::new(Options { patience, ..Options::default() }).unwrap();
    let report = crowd.connect(server.addr, "/socket/websocket?vsn=2.0.0", COMING).unwrap();
    let held = report.received;
    // What the ceiling said is no more than was there.
    let ceiling = server.count("ceiling");

    assert!((ceiling..COMING as u64).contains(&held), "{ceiling} promised, {held} held");
    assert_eq!(server.count("connections"), held);
    server.await_count("accepts failed", 3);
    assert_eq!(server.count("complaints"), 1);

    let report = crowd.join(|client| format!("room:{client}"), "{}", "{}").unwrap();
    assert_eq!(report.received, held, "{}", report.errors);
    drop(crowd);
    let mut client = Client::connect(server.addr, "/socket").unwrap();
    assert!(client.join("room:a", json!({})).unwrap().is_ok());
    server.until("connections", |connections| connections == 1);
    assert_eq!(server.count("complaints"), 1);
}

/// Clients of a test, fewer than the 1,024 descriptors that are usual.
const COMING: usize = 900;

/// What a shard needs, in bytes.
const ENOUGH_MEMLOCK: usize = 512 << 10;
