//! The application that the simulated shards run: a channel that does what it is told.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::prelude::*;
use crate::{Builder, EventError, Handle};

/// What tests and actors share.
#[derive(Clone, Default)]
pub(super) struct App(Arc<Inner>);

#[derive(Default)]
struct Inner {
    gates: Mutex<HashMap<String, Gate>>,
    log: Mutex<Vec<String>>,
    addresses: Mutex<Vec<Address<Actor>>>,
    questions: Mutex<Vec<SocketRef>>,
    handle: OnceLock<Handle>,
}

impl App {
    /// The gate of that name, closed at first.
    pub(super) fn gate(&self, name: &str) -> Gate {
        lock(&self.0.gates).entry(name.to_owned()).or_default().clone()
    }

    fn note(&self, line: String) {
        lock(&self.0.log).push(line);
    }

    /// What the actors have noted since the last time.
    pub(super) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.0.log))
    }

    /// Where the actors are reached that were told to `introduce` themselves.
    pub(super) fn addresses(&self) -> Vec<Address<Actor>> {
        lock(&self.0.addresses).clone()
    }

    /// Messages that the actors were told to `answer_later`.
    pub(super) fn questions(&self) -> Vec<SocketRef> {
        lock(&self.0.questions).clone()
    }

    pub(super) fn set_handle(&self, handle: Handle) {
        assert!(self.0.handle.set(handle).is_ok(), "an application has one world");
    }

    fn handle(&self) -> &Handle {
        self.0.handle.get().expect("set when the world was made")
    }
}

/// Something to wait for.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<Mutex<GateState>>);

#[derive(Default)]
struct GateState {
    is_open: bool,
    wakers: Vec<Waker>,
    polls: usize,
}

impl Gate {
    pub(super) fn open(&self) {
        lock(&self.0).is_open = true;
        self.ring();
    }

    /// Whoever comes now waits again.
    pub(super) fn close(&self) {
        lock(&self.0).is_open = false;
    }

    /// Wakes all who have ever waited, open or not.
    pub(super) fn ring(&self) {
        let wakers = lock(&self.0).wakers.clone();
        wakers.iter().for_each(Waker::wake_by_ref);
    }

    /// How often it was looked whether it is open.
    pub(super) fn polls(&self) -> usize {
        lock(&self.0).polls
    }

    /// Forgets whom to wake.
    pub(super) fn forget(&self) {
        lock(&self.0).wakers.clear();
    }
}

impl Future for Gate {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let mut gate = lock(&self.0);
        gate.polls += 1;
        if gate.is_open {
            return Poll::Ready(());
        }
        gate.wakers.push(cx.waker().clone());
        Poll::Pending
    }
}

/// The actors' endpoint.
pub(super) fn endpoint(app: App) -> Builder<App> {
    Endpoint::builder(app)
        .socket("/socket", |mount| {
            mount.handler::<Visitor>().channel::<Actor>("actor:*").channel::<Feed>("feed:*")
        })
        .get("/page", |_| crate::Response::html("x".repeat(1_000)))
}

pub(super) struct Visitor {
    id: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Credentials {
    id: Option<String>,
    gate: Option<String>,
}

impl SocketHandler for Visitor {
    type App = App;
    type Params = Credentials;

    async fn connect(who: Credentials, info: &ConnectInfo<App>) -> Result<Self, Rejection> {
        if let Some(gate) = who.gate {
            info.app().gate(&gate).await;
        }
        Ok(Self { id: who.id })
    }

    fn id(&self) -> Option<String> {
        self.id.clone()
    }
}

/// A channel that does what it is told.
pub(super) struct Actor {
    app: App,
    topic: String,
    orders: Orders,
}

/// What a client asks of its actor when it joins.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Orders {
    /// Subscribe to this topic, before anything else.
    subscribe: Option<String>,
    /// Wait for this gate before answering.
    gate: Option<String>,
    refuse: bool,
    panic: bool,
    /// Wait for this gate in `terminate`.
    terminate_gate: Option<String>,
    /// Broadcast this text to the topic when the state is dropped.
    last_words: Option<(String, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    Echo(Payload),
    Shout(Payload),
    ShoutToOthers(Payload),
    /// Broadcasts it so many times, one right after the other.
    ShoutTimes {
        times: usize,
        text: String,
    },
    /// Broadcasts what goes through `handle_out`.
    Intercepted(Payload),
    /// Pushes so many texts of so many bytes each.
    Flood {
        count: usize,
        size: usize,
    },
    Await {
        gate: String,
    },
    /// Wakes itself so many times while it is polled.
    Yield {
        times: usize,
    },
    Sleep {
        millis: u64,
    },
    Remind {
        millis: u64,
    },
    Repeat {
        millis: u64,
        text: String,
    },
    Introduce {},
    AnswerLater {},
    Subscribe {
        topic: String,
    },
    Crash {},
    Panic {},
    Stop {},
}

/// What reaches an actor by its address or a timer.
#[derive(Debug)]
pub(super) struct Note(pub(super) String);

impl Clone for Note {
    fn clone(&self) -> Self {
        assert!(self.0 != "panic", "a note that can't be copied");
        Self(self.0.clone())
    }
}

impl Channel for Actor {
    type Socket = Visitor;
    type Params = Orders;
    type Event = Event;
    type Info = Note;

    const INTERCEPT: &'static [&'static str] = &["intercepted"];

    async fn join(topic: &Topic, orders: Orders, cx: &mut Context<'_, Self>) -> Join<Self> {
        if let Some(topic) = &orders.subscribe {
            cx.subscribe(topic);
        }
        if let Some(gate) = &orders.gate {
            cx.app().gate(gate).await;
        }
        assert!(!orders.panic, "as ordered");
        if orders.refuse {
            return Err(Refused::reason("as ordered").into());
        }
        let app = cx.app().clone();
        Ok(Joined::new(Self { app, topic: topic.as_str().to_owned(), orders }))
    }

    async fn handle_in(
        &mut self,
        event: Event,
        cx: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        match event {
            Event::Echo(payload) => return Ok(Reply::ok(payload)),
            Event::Shout(payload) => cx.broadcast("shout", payload)?,
            Event::ShoutToOthers(payload) => cx.broadcast_from("shout", payload)?,
            Event::ShoutTimes { times, text } => {
                for _ in 0..times {
                    cx.broadcast("shout", json!({ "text": text }))?;
                }
            }
            Event::Intercepted(payload) => cx.broadcast("intercepted", payload)?,
            Event::Flood { count, size } => {
                for number in 0..count {
                    cx.push("flood", json!({ "text": numbered(number, size) }))?;
                }
            }
            Event::Await { gate } => {
                self.app.gate(&gate).await;
                return Ok(Reply::ok(()));
            }
            Event::Yield { times } => {
                for _ in 0..times {
                    yield_now().await;
                }
                return Ok(Reply::ok(()));
            }
            Event::Sleep { millis } => {
                cx.sleep(Duration::from_millis(millis)).await;
                return Ok(Reply::ok(()));
            }
            Event::Remind { millis } => {
                cx.send_after(Duration::from_millis(millis), Note("reminded".to_owned()));
            }
            Event::Repeat { millis, text } => {
                cx.interval(Duration::from_millis(millis), Note(text));
            }
            Event::Introduce {} => lock(&self.app.0.addresses).push(cx.address()),
            Event::AnswerLater {} => lock(&self.app.0.questions).push(cx.reply_later()?),
            Event::Subscribe { topic } => cx.subscribe(&topic),
            Event::Crash {} => return Err(Crash::new("as ordered")),
            Event::Panic {} => panic!("as ordered"),
            Event::Stop {} => cx.stop(Stop::Normal),
        }
        Ok(Reply::none())
    }

    async fn handle_unknown(
        &mut self,
        event: &str,
        _: &Payload,
        error: EventError,
        _: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        panic!("a test sends \"{event}\": {error}")
    }

    async fn handle_info(&mut self, note: Note, cx: &mut Context<'_, Self>) -> Result<(), Crash> {
        cx.push("note", json!({ "text": note.0 }))?;
        Ok(())
    }

    async fn handle_broadcast(
        &mut self,
        message: &Broadcast,
        cx: &mut Context<'_, Self>,
    ) -> Result<(), Crash> {
        cx.push(&format!("heard {}", message.event()), message.payload())?;
        Ok(())
    }

    async fn handle_gap(&mut self, _: &str, _: &mut Context<'_, Self>) -> Result<(), Crash> {
        Err(Crash::new("missed a broadcast: a queue was full"))
    }

    async fn terminate(&mut self, reason: &Stop, cx: &mut Context<'_, Self>) {
        if let Some(gate) = &self.orders.terminate_gate {
            cx.app().gate(gate).await;
        }
        self.app.note(format!("{} terminated: {reason:?}", self.topic));
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        if let Some((topic, text)) = self.orders.last_words.take() {
            let sent = self.app.handle().broadcast(&topic, "last words", json!({ "text": text }));
            assert!(sent.is_ok(), "{sent:?}");
        }
        self.app.note(format!("{} dropped", self.topic));
    }
}

/// A channel that would rather miss broadcasts than lose its client, and says when it does.
pub(super) struct Feed;

impl Channel for Feed {
    type Socket = Visitor;
    type Params = ();
    type Event = RawEvent;
    type Info = ();

    const LOSSY: bool = true;

    async fn join(_: &Topic, _: (), _: &mut Context<'_, Self>) -> Join<Self> {
        Ok(Joined::new(Self))
    }

    async fn handle_in(
        &mut self,
        event: RawEvent,
        cx: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        match event.name.as_str() {
            "shout" => cx.broadcast("shout", event.payload)?,
            "push" => cx.push("pushed", event.payload)?,
            _ => return Ok(Reply::ok(event.payload)),
        }
        Ok(Reply::none())
    }

    async fn handle_gap(&mut self, topic: &str, cx: &mut Context<'_, Self>) -> Result<(), Crash> {
        cx.push("gap", json!({ "text": topic }))?;
        Ok(())
    }
}

/// Waits until it was polled once more, for which it asks while it is polled.
async fn yield_now() {
    let mut has_yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A text of `size` bytes that begins with its number.
pub(super) fn numbered(number: usize, size: usize) -> String {
    let mut text = format!("{number}:");
    text.extend(std::iter::repeat_n('x', size.saturating_sub(text.len())));
    text
}

/// Actors panic when they are told to, and hold no lock while they do.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
