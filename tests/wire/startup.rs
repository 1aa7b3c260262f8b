//! Where a server listens, and what it says when it can't.

use std::io::ErrorKind;
use std::net::{Ipv6Addr, TcpListener, TcpStream};

use serde_json::json;
use simurgh::testing::{Client, Server};
use simurgh::{Builder, Endpoint, Error};

use crate::app::{self, App, Room, Visitor};
use crate::support::Raw;

fn error<A: Send + Sync + 'static>(endpoint: Builder<A>) -> Error {
    endpoint.start().map(|_| ()).expect_err("it can't start")
}

#[test]
fn a_server_listens_on_ipv6() {
    let endpoint = app::endpoint(&App::default()).listen("[::1]:0").shards(1);
    let running = endpoint.start().unwrap();
    assert_eq!(running.local_addr().ip(), Ipv6Addr::LOCALHOST);
    let mut client = Client::connect(running.local_addr(), "/socket").unwrap();
    assert!(client.join("room:a", json!({})).unwrap().is_ok());
}

#[test]
fn a_server_listens_on_a_host_name() {
    let endpoint = app::endpoint(&App::default()).listen("localhost:0").shards(1);
    let running = endpoint.start().unwrap();
    assert!(running.local_addr().ip().is_loopback());
    Client::connect(running.local_addr(), "/socket").unwrap();
}

#[test]
fn all_shards_share_one_port() {
    let endpoint = app::endpoint(&App::default()).listen("127.0.0.1:0").shards(4);
    let running = endpoint.start().unwrap();
    let addr = running.local_addr();
    assert!(running.local_addrs().iter().all(|other| *other == addr));
    let mut clients: Vec<_> = (0..16).map(|_| Client::connect(addr, "/socket").unwrap()).collect();
    for client in &mut clients {
        assert!(client.join("room:a", json!({})).unwrap().is_ok());
    }
    running.handle().broadcast("room:a", "said", json!({})).unwrap();
    for client in &mut clients {
        client.expect("room:a", "said").unwrap();
    }
}

#[test]
fn an_address_that_is_taken_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    for shards in [1, 4] {
        let endpoint = app::endpoint(&App::default()).listen(addr).shards(shards);
        let message = error(endpoint).to_string();
        assert!(message.contains(&addr.to_string()), "{message}");
        assert!(message.to_lowercase().contains("in use"), "{message}");
    }
    // By another of our own too, however many shards either has.
    let running = app::endpoint(&App::default()).listen("127.0.0.1:0").shards(4).start().unwrap();
    let endpoint = app::endpoint(&App::default()).listen(running.local_addr()).shards(4);
    assert!(matches!(error(endpoint), Error::Listen { .. }));
}

#[test]
fn servers_may_share_an_address_if_both_say_so() {
    let shared = || app::endpoint(&App::default()).shards(1).reuse_port(true);
    let first = shared().listen("127.0.0.1:0").start().unwrap();
    let second = shared().listen(first.local_addr()).start().unwrap();
    assert_eq!(first.local_addr(), second.local_addr());
    let clients: Vec<_> =
        (0..16).map(|_| Client::connect(first.local_addr(), "/socket").unwrap()).collect();
    drop(clients);
}

#[test]
fn an_address_that_is_none_is_told() {
    for address in ["", "localhost", "127.0.0.1:65536", "127.0.0.1:http", "no such host:4000"] {
        let error = error(app::endpoint(&App::default()).listen(address).shards(1));
        let message = error.to_string();
        assert!(matches!(error, Error::Address { .. }), "{message}");
        assert!(message.contains(&format!("{address:?}")), "{message}");
    }
}

#[test]
fn mistakes_of_the_builder_are_told_at_the_start() {
    let room = |pattern| {
        Endpoint::builder(App::default())
            .socket("/socket", move |mount| mount.handler::<Visitor>().channel::<Room>(pattern))
    };
    for (endpoint, parts) in [
        (room("ro*m"), &["/socket", "ro*m", "star"][..]),
        (room("room:**"), &["room:**"]),
        (room("room:*").shards(0), &["0 shards"]),
        (room("room:*").shards(100_000), &["100000 shards"]),
    ] {
        let error = error(endpoint.listen("127.0.0.1:0"));
        let message = error.to_string();
        assert!(matches!(error, Error::Configuration(_)), "{message}");
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}

#[test]
fn two_endpoints_in_one_process_know_nothing_of_each_other() {
    let (one, other) = (App::default(), App::default());
    let servers = [&one, &other].map(|app| Server::start(app::endpoint(app), 4));
    let mut clients: Vec<_> = servers
        .iter()
        .flat_map(|server| (0..4).map(move |shard| server.addr(shard)))
        .map(|addr| {
            let mut client =
                Client::builder(addr, "/socket").param("id", "users:1").connect().unwrap();
            client.join("room:a", json!({})).unwrap();
            client
        })
        .collect();
    assert_eq!((one.connects(), other.connects()), (4, 4));
    let (of_one, of_other) = clients.split_at_mut(4);
    servers[0].handle().broadcast("room:a", "said", json!({})).unwrap();
    for client in &mut *of_one {
        client.expect("room:a", "said").unwrap();
    }
    servers[0].handle().disconnect("users:1").unwrap();
    for client in of_one {
        assert_eq!(client.closed().unwrap(), Some(1001));
    }
    let [first, second] = servers;
    first.stop();
    for client in of_other {
        client.silence_everywhere().unwrap();
    }
    drop(clients);
    second.await_rest();
}

/// A client who does not answer the Close holds it up for as long as he may. New ones need not wait.
#[test]
fn while_a_server_stops_new_clients_are_refused_at_once() {
    let server = app::start(&App::default());
    let mut stubborn = Raw::open(server.addr(0));
    server.handle().shutdown();
    assert_eq!(stubborn.frame().payload, 1012u16.to_be_bytes());
    let refused = TcpStream::connect(server.addr(0)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}
