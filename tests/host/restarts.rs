//! Servers that follow one another at the same address.

use simurgh::testing::Client;

use crate::lone_server::{self, LoneServer, Setup};
use crate::stage;

/// The kernel gives its port back only some time after a process with rings is gone.
#[test]
fn a_server_that_was_killed_is_followed_at_once() {
    const TEST: &str = "restarts::a_server_that_was_killed_is_followed_at_once";
    if lone_server::play() {
        return;
    }
    let _alone = stage::alone();
    let mut server = LoneServer::start(TEST, 2, &[]).unwrap();
    let setup = Setup { addr: server.addr, shards: 2, ..Setup::default() };
    for _ in 0..8 {
        let client = Client::connect(setup.addr, "/socket").unwrap();
        // By SIGKILL, and waited for.
        drop(server);
        server = LoneServer::start_as(&setup, TEST, &[]).unwrap();
        drop(client);
    }
}
