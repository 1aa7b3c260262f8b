//! Servers that follow one another at the same address.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use simurgh::testing::{Client, Error};

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

/// The new server listens before the old one is told to stop, again and again, while clients come
/// without a pause. Each of them is answered; and who has a socket is told to reconnect, and can.
#[test]
fn nobody_is_lost_when_one_server_follows_another() {
    const TEST: &str = "restarts::nobody_is_lost_when_one_server_follows_another";
    if lone_server::play() {
        return;
    }
    let _alone = stage::alone();
    let restarts = if stage::is_long() { 20 } else { 3 };
    let setup = Setup { shards: 2, reuse_port: true, ..Setup::default() };
    let mut server = LoneServer::start_as(&setup, TEST, &[]).unwrap();
    let setup = Setup { addr: server.addr, ..setup };
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let visitors: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| visit_until(&is_over, setup.addr))).collect();
        let members: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| rejoin_until(&is_over, setup.addr))).collect();
        for _ in 0..restarts {
            let next = LoneServer::start_as(&setup, TEST, &[]).unwrap();
            server.stop();
            server = next;
        }
        is_over.store(true, Ordering::Relaxed);
        for visitor in visitors {
            assert!(visitor.join().expect("each visit is answered") > 0);
        }
        // When all members are there, this is their last socket.
        server.until("connections", |connections| connections == CLIENTS);
        server.stop();
        for member in members {
            assert!(member.join().expect("each socket is told") > 0);
        }
    });
}

/// Asks for the page again and again, by a connection each. Says how often.
fn visit_until(is_over: &AtomicBool, addr: SocketAddr) -> usize {
    let mut visits = 0;
    while !is_over.load(Ordering::Relaxed) {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
        visits += 1;
    }
    visits
}

/// Stays in a room until the server goes, and goes to the next. Says how often.
fn rejoin_until(is_over: &AtomicBool, addr: SocketAddr) -> usize {
    let mut joins = 0;
    while !is_over.load(Ordering::Relaxed) {
        let mut client =
            Client::builder(addr, "/socket").timeout(Duration::from_secs(60)).connect().unwrap();
        match client.join("room:a", json!({})) {
            Ok(reply) => assert!(reply.is_ok()),
            // He has come to a server that is about to go.
            Err(Error::Closed { code, .. }) => assert_eq!(code, Some(1012)),
            Err(error) => panic!("{error}"),
        }
        joins += 1;
        assert_eq!(client.closed().unwrap(), Some(1012));
    }
    joins
}

/// Of each kind.
const CLIENTS: u64 = 8;
