//! What does not end when the server is to.

use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use serde_json::json;
use simurgh::prelude::*;
use simurgh::testing::Client;
use simurgh::{Error, Limits, RawEvent};

/// Callbacks say here that they have begun, wait for what comes there, and hold up their shard.
type Ends = Mutex<(Sender<()>, Receiver<()>)>;

struct Visitor;

impl SocketHandler for Visitor {
    type App = Ends;
    type Params = ();

    async fn connect(_: (), _: &ConnectInfo<Ends>) -> Result<Self, Rejection> {
        Ok(Self)
    }
}

struct Loop;

impl Channel for Loop {
    type Socket = Visitor;
    type Params = ();
    type Event = RawEvent;
    type Info = ();

    async fn join(_: &Topic, _: (), _: &mut Context<'_, Self>) -> Join<Self> {
        Ok(Joined::new(Self))
    }

    async fn handle_in(&mut self, _: RawEvent, cx: &mut Context<'_, Self>) -> Result<Reply, Crash> {
        let ends = cx.app().lock().unwrap();
        ends.0.send(()).unwrap();
        // Until the test has gone.
        let _ = ends.1.recv();
        Ok(Reply::none())
    }
}

/// Whoever waited for such a server waited for ever, and so did the command when it was told to end.
#[test]
fn a_callback_that_does_not_return_is_named_when_its_time_is_over() {
    let (begin, begun) = mpsc::channel();
    let (_release, released) = mpsc::channel();
    let none = Duration::ZERO;
    let limits = Limits { terminate_timeout: none, close_timeout: none, ..Limits::default() };
    let running = Endpoint::builder(Ends::new((begin, released)))
        .socket("/socket", |mount| mount.handler::<Visitor>().channel::<Loop>("loop:*"))
        .shards(1)
        .limits(limits)
        .listen("127.0.0.1:0")
        .start()
        .unwrap();
    let mut client = Client::connect(running.local_addr(), "/socket").unwrap();
    client.join("loop:1", json!({})).unwrap();
    client.push("loop:1", "for ever", json!({}));
    begun.recv().unwrap();
    running.handle().shutdown();
    let error = running.join().unwrap_err();
    let Error::Stuck { shard: 0, callback: Some(callback) } = &error else { panic!("{error}") };
    assert!(callback.ends_with("stuck::Loop::handle_in"), "{callback}");
    assert!(error.to_string().ends_with("stuck::Loop::handle_in has not returned"), "{error}");
}
