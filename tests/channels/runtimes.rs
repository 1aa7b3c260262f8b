//! Futures of Tokio that need its runtime, awaited by callbacks of an endpoint that was given it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::json;
use simurgh::prelude::*;
use simurgh::testing::raw::{Raw, get};
use simurgh::testing::{Client, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A socket that waits for one of Tokio's timers before it is open.
struct Visitor;

impl SocketHandler for Visitor {
    type App = SocketAddr;
    type Params = ();

    async fn connect(_: (), _: &ConnectInfo<SocketAddr>) -> Result<Self, Rejection> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(Self)
    }
}

/// A channel with a Tokio connection of its own.
struct Relay(TcpStream);

impl Channel for Relay {
    type Socket = Visitor;
    type Params = ();
    type Event = RawEvent;
    type Info = ();

    async fn join(_: &Topic, _: (), cx: &mut Context<'_, Self>) -> Join<Self> {
        Ok(Joined::new(Self(TcpStream::connect(cx.app()).await?)))
    }

    async fn handle_in(
        &mut self,
        event: RawEvent,
        cx: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        match event.name.as_str() {
            "echo" => {
                let sent = event.payload.as_bytes();
                self.0.write_all(sent).await?;
                let mut echo = vec![0; sent.len()];
                let patience = Duration::from_secs(10);
                tokio::time::timeout(patience, self.0.read_exact(&mut echo)).await??;
                Ok(Reply::ok(Payload::from_json_text(echo)?))
            }
            "block" => {
                let wait = || tokio::runtime::Handle::current().block_on(async { 7 });
                Ok(Reply::ok(json!(cx.blocking(wait).await?)))
            }
            // Dropped while it waits, with whatever it has of Tokio's.
            _ => {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                Ok(Reply::none())
            }
        }
    }

    async fn terminate(&mut self, _: &Stop, _: &mut Context<'_, Self>) {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let _ = self.0.shutdown().await;
    }
}

/// An endpoint whose channels talk to a server that sends back what it is sent.
fn endpoint() -> simurgh::Builder<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut bytes = [0; 1024];
                while let Ok(size @ 1..) = stream.read(&mut bytes) {
                    stream.write_all(&bytes[..size]).unwrap();
                }
            });
        }
    });
    let soon = Duration::from_secs(1);
    let limits = Limits { terminate_timeout: soon, close_timeout: soon, ..Limits::default() };
    Endpoint::builder(addr)
        .limits(limits)
        .socket("/socket", |mount| mount.handler::<Visitor>().channel::<Relay>("relay:*"))
        .get("/runtime", |_| {
            // A plain route may spawn.
            let handle = tokio::runtime::Handle::current();
            handle.spawn(tokio::time::sleep(Duration::from_millis(1)));
            Response::html("entered")
        })
}

#[test]
fn callbacks_await_the_timers_and_sockets_of_a_runtime_that_the_endpoint_was_given() {
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
    for shards in [1, 2] {
        let server = Server::start(endpoint().runtime(runtime.handle().clone()), shards);
        let mut clients: Vec<_> = (0..shards)
            .map(|shard| {
                let mut client = Client::connect(server.addr(shard), "/socket").unwrap();
                assert!(client.join("relay:1", json!({})).unwrap().is_ok());
                client
            })
            .collect();
        for client in &mut clients {
            for n in 0..3 {
                let sent = client.push("relay:1", "echo", json!({ "n": n }));
                assert_eq!(client.reply(sent).unwrap().response, json!({ "n": n }));
            }
            let sent = client.push("relay:1", "block", json!({}));
            assert_eq!(client.reply(sent).unwrap().response, json!(7));
        }
        let mut raw = Raw::connect(server.addr(0));
        raw.send(get("/runtime", &["connection: close"]));
        assert_eq!(raw.answer().body, "entered");
        drop(raw);
        let left = clients[0].leave("relay:1");
        assert!(clients[0].reply(left).unwrap().is_ok());
        // A callback that waits when its client goes, and one that waits when the server ends.
        assert!(clients[0].join("relay:2", json!({})).unwrap().is_ok());
        clients[0].push("relay:2", "wait", json!({}));
        clients[0].heartbeat().unwrap();
        drop(clients);
        server.await_rest();
        assert_eq!(server.handle().counts().iter().map(|counts| counts.crashes).sum::<u64>(), 0);
        let mut last = Client::connect(server.addr(0), "/socket").unwrap();
        assert!(last.join("relay:3", json!({})).unwrap().is_ok());
        last.push("relay:3", "wait", json!({}));
        last.heartbeat().unwrap();
        let handle = server.handle();
        server.stop();
        assert_eq!(handle.counts().iter().map(|counts| counts.crashes).sum::<u64>(), 0);
    }
}

#[test]
fn without_a_runtime_what_needs_one_ends_its_channel_alone() {
    let server = Server::start(endpoint(), 1);
    let connected = Client::connect(server.addr(0), "/socket");
    assert!(connected.is_err(), "a timer panics without its runtime");
    server.await_counts(|counts| counts[0].crashes == 1);
    let mut raw = Raw::connect(server.addr(0));
    raw.send(get("/runtime", &["connection: close"]));
    assert_eq!(raw.answer().status, 500);
}
