//! What a storm leaves behind.

use crate::crowd::{self, Crowd};
use crate::lone_server::{self, LoneServer};
use crate::stage;

#[test]
fn memory_goes_back_after_a_storm() {
    const TEST: &str = "memory::memory_goes_back_after_a_storm";
    if lone_server::play() || crowd::play() {
        return;
    }
    let _alone = stage::alone();
    let mut server = LoneServer::start(TEST, 2, &[]).unwrap();
    // What is set up once and stays is there afterwards: buffers, tables by topic, code.
    storm(TEST, &mut server, 1_000);
    let before = server.count("resident bytes");
    let peak = storm(TEST, &mut server, 10_000);
    assert!(peak > before * 5 / 4, "{before} and {peak} bytes: no storm at all");
    server.until("resident bytes", |after| after < before * 6 / 5);
}

/// So many clients come, join, speak and go. Says how much memory there was at the most.
fn storm(test: &str, server: &mut LoneServer, clients: usize) -> u64 {
    let mut crowd = Crowd::gather(test, server.addr, 0, clients);
    crowd.await_joined();
    crowd.speak();
    let peak = server.count("resident bytes");
    crowd.leave();
    server.until("connections", |connections| connections == 0);
    peak
}
