//! The application that the tests talk to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use serde_json::{Value, json};
use simurgh::prelude::*;
use simurgh::testing::{Client, Server, Version};
use simurgh::{Builder, Limits, Response, Topic};

/// What the shards share with the test.
#[derive(Clone, Default)]
pub(crate) struct App(Arc<Shared>);

#[derive(Default)]
struct Shared {
    connects: AtomicUsize,
    gate: Mutex<Gate>,
    ends: Mutex<Vec<(String, Stop)>>,
    ended: Condvar,
}

/// Where connects with `connect=wait` wait.
#[derive(Default)]
struct Gate {
    is_open: bool,
    waiting: Vec<Waker>,
    dropped: usize,
}

impl App {
    /// How many times `connect` has begun.
    pub(crate) fn connects(&self) -> usize {
        self.0.connects.load(Ordering::SeqCst)
    }

    /// How many connects are at the gate.
    pub(crate) fn waiting(&self) -> usize {
        self.0.gate.lock().unwrap().waiting.len()
    }

    /// How many connects were dropped at the gate.
    pub(crate) fn dropped(&self) -> usize {
        self.0.gate.lock().unwrap().dropped
    }

    /// Lets all connects at the gate through, from this thread.
    pub(crate) fn open_gate(&self) {
        let mut gate = self.0.gate.lock().unwrap();
        gate.is_open = true;
        gate.waiting.drain(..).for_each(Waker::wake);
    }

    /// Waits until so many channels have terminated, and tells which and why, sorted by topic.
    pub(crate) fn await_ends(&self, count: usize) -> Vec<(String, Stop)> {
        let ends = self.0.ends.lock().unwrap();
        let patience = Duration::from_secs(10);
        let waited = self.0.ended.wait_timeout_while(ends, patience, |ends| ends.len() < count);
        let mut ends = waited.unwrap().0.clone();
        ends.sort_by(|a, b| a.0.cmp(&b.0));
        ends
    }

    async fn pass_gate(&self) {
        /// Counts a connect that is dropped while it waits.
        struct Waiting<'a>(&'a App, bool);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                if !self.1 {
                    self.0.0.gate.lock().unwrap().dropped += 1;
                }
            }
        }
        let mut waiting = Waiting(self, false);
        std::future::poll_fn(|cx| {
            let mut gate = self.0.gate.lock().unwrap();
            if gate.is_open {
                return Poll::Ready(());
            }
            gate.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
        waiting.1 = true;
    }
}

/// Whoever connects; it keeps the params, and `connect` among them says how it is received.
pub(crate) struct Visitor {
    params: Value,
}

impl SocketHandler for Visitor {
    type App = App;
    type Params = Value;

    async fn connect(params: Value, info: &ConnectInfo<App>) -> Result<Self, Rejection> {
        info.app().0.connects.fetch_add(1, Ordering::SeqCst);
        match params["connect"].as_str() {
            Some("refuse") => return Err(Rejection::status(403)),
            Some("refuse_429") => {
                let response = Response::new(429).header("retry-after", "10").text("slow down");
                return Err(Rejection::response(response));
            }
            Some(told @ "tell_params") => {
                assert_eq!(info.params().text("connect"), Some(told));
                return Err(Rejection::status(410));
            }
            Some("fail") => return Err(Crash::new("the users are out of reach").into()),
            Some("panic") => panic!("connect panics as it was told to"),
            Some("wait") => info.app().pass_gate().await,
            _ => {}
        }
        Ok(Self { params })
    }

    fn id(&self) -> Option<String> {
        self.params["id"].as_str().map(str::to_owned)
    }
}

/// A channel that does what its client says; the join's reply is what it was joined with.
pub(crate) struct Room;

impl Channel for Room {
    type Socket = Visitor;
    type Params = Payload;
    type Event = RawEvent;
    type Info = ();

    async fn join(_: &Topic, params: Payload, _: &mut Context<'_, Self>) -> Join<Self> {
        Ok(Joined::with_reply(Self, params))
    }

    async fn handle_in(
        &mut self,
        event: RawEvent,
        cx: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        let payload = event.payload;
        match event.name.as_str() {
            "echo" => return Ok(Reply::ok(payload)),
            "params" => return Ok(Reply::ok(&cx.socket().params)),
            "route" => return Ok(Reply::ok(json!(cx.route_value::<&str>()))),
            "decode" => return Ok(Reply::ok(payload.decode::<Value>()?)),
            "is_binary" => {
                let size = payload.as_bytes().len();
                return Ok(Reply::ok(json!({"binary": payload.is_binary(), "size": size})));
            }
            "push" => cx.push("pushed", payload)?,
            "push_binary" => cx.push("pushed", Payload::binary(vec![1, 2, 3]))?,
            "push_long_name" => {
                let size = payload.decode::<usize>()?;
                cx.push(&"e".repeat(size), Payload::binary(vec![1]))?;
            }
            "broadcast" => {
                return Ok(match cx.broadcast("said", payload) {
                    Ok(()) => Reply::ok(()),
                    Err(error) => Reply::error(json!({"reason": error.to_string()})),
                });
            }
            "broadcast_binary" => {
                return Ok(match cx.broadcast("said", Payload::binary(vec![1])) {
                    Ok(()) => Reply::ok(()),
                    Err(error) => Reply::error(json!({"reason": error.to_string()})),
                });
            }
            "broadcast_long_name" => {
                let name = "e".repeat(payload.decode::<usize>()?);
                return Ok(match cx.broadcast(&name, Payload::binary(vec![1])) {
                    Ok(()) => Reply::ok(()),
                    Err(error) => Reply::error(json!({"reason": error.to_string()})),
                });
            }
            "reply_binary" => return Ok(Reply::ok(Payload::binary(vec![4, 5]))),
            "quiet" => {}
            other => return Err(Crash::new(format!("no event {other:?}"))),
        }
        Ok(Reply::none())
    }

    async fn terminate(&mut self, reason: &Stop, cx: &mut Context<'_, Self>) {
        let shared = &cx.app().0;
        shared.ends.lock().unwrap().push((cx.topic().to_string(), reason.clone()));
        shared.ended.notify_all();
    }
}

/// The endpoint of nearly all tests: [`Visitor`] at `/socket` with [`Room`] at `room:*`.
pub(crate) fn endpoint(app: &App) -> Builder<App> {
    Endpoint::builder(app.clone())
        .socket("/socket", |mount| mount.handler::<Visitor>().channel::<Room>("room:*"))
        .get("/", |_| Response::html("<h1>home</h1>"))
}

/// [`endpoint`] on one shard.
pub(crate) fn start(app: &App) -> Server {
    Server::start(endpoint(app), 1)
}

/// [`endpoint`] on one shard, with limits of the test's.
pub(crate) fn start_with(app: &App, set: impl FnOnce(&mut Limits)) -> Server {
    Server::start(endpoint(app).limits(limits(set)), 1)
}

/// The default limits, but for what the test sets.
pub(crate) fn limits(set: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    set(&mut limits);
    limits
}

/// A client at this shard.
pub(crate) fn connect(server: &Server, shard: usize, version: Version) -> Client {
    Client::builder(server.addr(shard), "/socket").version(version).connect().unwrap()
}

/// A client at this shard that has joined `room:a`.
pub(crate) fn joined(server: &Server, shard: usize, version: Version) -> Client {
    let mut client = connect(server, shard, version);
    assert!(client.join("room:a", json!({})).unwrap().is_ok());
    client
}
