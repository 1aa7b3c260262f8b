//! Clients whom nobody has heard because the process was stopped.

use std::time::Duration;

use crate::crowd::{self, Crowd};
use crate::lone_server::{self, LoneServer, Setup};
use crate::stage;

/// Four thousand heartbeats wait in the kernel when it goes on: more than one turn takes.
#[test]
fn who_spoke_while_the_server_was_stopped_stays() {
    const TEST: &str = "silence::who_spoke_while_the_server_was_stopped_stays";
    if lone_server::play() || crowd::play() {
        return;
    }
    let _alone = stage::alone();
    let (idle, stop, rounds) = if stage::is_long() { (60, 66, 3) } else { (5, 7, 1) };
    let setup = Setup { idle, ..Setup::default() };
    let mut server = LoneServer::start_as(&setup, TEST, &[]).unwrap();
    let mut crowd = Crowd::gather(TEST, server.addr, 0, CLIENTS as usize);
    crowd.await_joined();
    for _ in 0..rounds {
        crowd.speak();
        server.signal("STOP");
        crowd.begin_to_speak();
        // All their time passes while it is stopped.
        std::thread::sleep(Duration::from_secs(stop));
        server.signal("CONT");
        crowd.await_answers();
    }
    assert_eq!(server.count("idle"), 0);
    // From here on they are silent.
    server.await_count("idle", CLIENTS);
}

const CLIENTS: u64 = 4_000;
