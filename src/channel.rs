//! Channels: what an application writes for a topic.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::event::{EventError, FromEvent};
use crate::payload::{IntoPayload, Payload, PayloadError};
use crate::protocol::phoenix::{EncodeError, RefBuf};
use crate::pubsub::{Broadcast, BroadcastError};
use crate::shard::blocking::{Blocking, BlockingError};
use crate::shard::process::{Env, ProcessId};
use crate::shard::remote::{LateReply, Remote};
use crate::shard::timers::Sleep;
use crate::socket::{Refused, SocketHandler};

/// One topic's behaviour for one client: the value is the channel's state, made by
/// [`join`](Channel::join) and dropped when the channel ends.
///
/// A joined channel is a process: it handles one thing at a time, in order, and its callbacks may
/// wait (for a timer, for [`blocking`](Context::blocking) work, for a future of another runtime)
/// without holding up anyone else. Futures stay on their shard and need not be `Send`.
///
/// An error returned from any callback, or a panic in it, ends this channel alone: the client sees
/// `phx_error` and joins again. After an error [`terminate`](Channel::terminate) runs; after a
/// panic the state is dropped without it.
///
/// # Example
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use simurgh::prelude::*;
///
/// struct Visitor;
///
/// impl SocketHandler for Visitor {
///     type App = ();
///     type Params = ();
///
///     async fn connect(_: (), _: &ConnectInfo<()>) -> Result<Self, Rejection> {
///         Ok(Visitor)
///     }
/// }
///
/// struct Room;
///
/// #[derive(Deserialize)]
/// #[serde(rename_all = "snake_case")]
/// enum Event {
///     NewMsg { body: String },
/// }
///
/// #[derive(Serialize)]
/// struct NewMsg {
///     body: String,
/// }
///
/// impl Channel for Room {
///     type Socket = Visitor;
///     type Params = ();
///     type Event = Event;
///     type Info = ();
///
///     async fn join(_: &Topic, _: (), _: &mut Context<'_, Self>) -> Join<Self> {
///         Ok(Joined::new(Room))
///     }
///
///     async fn handle_in(&mut self, event: Event, cx: &mut Context<'_, Self>) -> Result<Reply, Crash> {
///         let Event::NewMsg { body } = event;
///         cx.broadcast("new_msg", Json(NewMsg { body }))?;
///         Ok(Reply::none())
///     }
/// }
/// ```
#[allow(async_fn_in_trait, reason = "a channel's futures stay on their shard: no Send wanted")]
pub trait Channel: Sized + 'static {
    /// The socket handler under which this channel runs.
    type Socket: SocketHandler;
    /// What a client sends with its join; a payload that does not decode crashes the join.
    type Params: DeserializeOwned + 'static;
    /// What a client sends afterwards: an enum of events, or [`RawEvent`](crate::RawEvent).
    type Event: FromEvent + 'static;
    /// What timers and [addresses](Address) send.
    type Info: Send + 'static;

    /// Events of broadcasts on the channel's own topic that go through
    /// [`handle_out`](Channel::handle_out) rather than straight to the client.
    const INTERCEPT: &'static [&'static str] = &[];

    /// Decides whether the client may have the topic, and makes the channel's state.
    ///
    /// Nothing can be pushed or broadcast in here (as in Phoenix, it is not yet joined); send
    /// yourself an [`Info`](Channel::Info) with [`address`](Context::address), which is handled
    /// right after the join's reply. Joins of other topics run beside this one.
    ///
    /// # Errors
    ///
    /// [`Refused`] is the error reply that the client gets; any other error is logged, and the
    /// client is told `join crashed`.
    async fn join(topic: &Topic, params: Self::Params, cx: &mut Context<'_, Self>) -> Join<Self>;

    /// Handles what the client sent, and says what it is answered.
    ///
    /// # Errors
    ///
    /// Any error ends the channel with `phx_error`.
    async fn handle_in(
        &mut self,
        event: Self::Event,
        cx: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash>;

    /// Handles an event that [`Event`](Channel::Event) does not know, or whose payload it can't
    /// decode; `error` says which. Unless written it ends the channel, as in Phoenix.
    ///
    /// # Errors
    ///
    /// Any error ends the channel with `phx_error`.
    async fn handle_unknown(
        &mut self,
        event: &str,
        _payload: &Payload,
        error: EventError,
        _cx: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        Err(Crash::new(format!("event \"{event}\": {error}")))
    }

    /// Handles a broadcast on the channel's own topic whose event is in
    /// [`INTERCEPT`](Channel::INTERCEPT). Nothing reaches the client unless it is pushed here,
    /// which is what happens unless this is written.
    ///
    /// # Errors
    ///
    /// Any error ends the channel with `phx_error`.
    async fn handle_out(
        &mut self,
        message: &Broadcast,
        cx: &mut Context<'_, Self>,
    ) -> Result<(), Crash> {
        cx.push(message.event(), message.payload())?;
        Ok(())
    }

    /// Handles what a timer or an [`Address`] sent. Unless written it is logged and dropped.
    ///
    /// # Errors
    ///
    /// Any error ends the channel with `phx_error`.
    async fn handle_info(
        &mut self,
        _info: Self::Info,
        cx: &mut Context<'_, Self>,
    ) -> Result<(), Crash> {
        tracing::warn!(topic = %cx.topic(), "received unexpected message in handle_info");
        Ok(())
    }

    /// Handles a broadcast of a topic that the channel [subscribed](Context::subscribe) to. Unless
    /// written it is logged and dropped; nothing reaches the client unless it is pushed here.
    ///
    /// # Errors
    ///
    /// Any error ends the channel with `phx_error`.
    async fn handle_broadcast(
        &mut self,
        message: &Broadcast,
        cx: &mut Context<'_, Self>,
    ) -> Result<(), Crash> {
        tracing::warn!(
            topic = %cx.topic(),
            from = message.topic(),
            event = message.event(),
            "received unexpected broadcast in handle_broadcast"
        );
        Ok(())
    }

    /// Hears that at least one broadcast of `topic`, its own or one it subscribed to, did not reach
    /// this channel and its client, because the queue between two shards was full. Unless written
    /// it ends the channel with `phx_error`, so that the client joins again and loads anew.
    ///
    /// # Errors
    ///
    /// Any error ends the channel with `phx_error`.
    async fn handle_gap(&mut self, topic: &str, _cx: &mut Context<'_, Self>) -> Result<(), Crash> {
        Err(Crash::new(format!("missed a broadcast on {topic}: a shard's queue was full")))
    }

    /// Runs when the channel ends: after a leave, a stop, an error, or the connection's end. Not
    /// after a panic, nor when the client joins the same topic anew. Pushes still work while the
    /// connection lives.
    async fn terminate(&mut self, _reason: &Stop, _cx: &mut Context<'_, Self>) {}
}

/// What [`Channel::join`] returns.
pub type Join<C> = Result<Joined<C>, Rejection>;

/// A join that is granted: the channel's state, and what the client is told.
#[derive(Debug)]
pub struct Joined<C> {
    pub(crate) state: C,
    pub(crate) reply: Result<Payload, PayloadError>,
}

impl<C> Joined<C> {
    /// Granted; the client is told `{}`.
    pub fn new(state: C) -> Self {
        Self { state, reply: Ok(Payload::empty()) }
    }

    /// Granted, with a reply for the client. One that can't be made into JSON crashes the join.
    pub fn with_reply(state: C, reply: impl IntoPayload) -> Self {
        Self { state, reply: reply.into_payload() }
    }
}

/// Why a join or a connection is not granted: it is refused, and the client is told, or it failed.
///
/// Made by `?` from [`Refused`] or from any error.
#[derive(Debug)]
pub enum Rejection {
    /// The client is told so.
    Refused(Refused),
    /// A failure of the application: logged with its text; a joining client is told
    /// `join crashed`, a connecting one gets status 500.
    Crash(Crash),
}

impl From<Refused> for Rejection {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<Crash> for Rejection {
    fn from(crash: Crash) -> Self {
        Self::Crash(crash)
    }
}

impl<E: std::error::Error + 'static> From<E> for Rejection {
    fn from(error: E) -> Self {
        Self::Crash(Crash::from(error))
    }
}

/// An error that ends a channel.
///
/// Made by `?` from any error, or by [`Crash::new`] from a text. Like the well-known dynamic error
/// types it is itself no `Error`, so that it can be made from all that are.
pub struct Crash(Box<dyn std::error::Error>);

impl Crash {
    /// A failure described by a text.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into().into())
    }
}

impl<E: std::error::Error + 'static> From<E> for Crash {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a client's message is answered.
///
/// ```
/// use serde_json::json;
/// use simurgh::Reply;
///
/// let done = Reply::ok(());
/// let found = Reply::ok(json!({ "id": 7 }));
/// let refused = Reply::error(json!({ "reason": "too long" }));
/// let silence = Reply::none();
/// ```
///
/// A response that can't be made into JSON, or not be encoded for this client, crashes the channel
/// when the reply is sent.
#[derive(Debug)]
pub struct Reply(pub(crate) Option<(&'static str, Result<Payload, PayloadError>)>);

impl Reply {
    /// No answer, or one that comes later (see [`reply_later`](Context::reply_later)).
    pub fn none() -> Self {
        Self(None)
    }

    /// Status `ok`, with any payload; `()` is `{}`.
    pub fn ok(response: impl IntoPayload) -> Self {
        Self::with_status("ok", response)
    }

    /// Status `error`, with any payload; `()` is `{}`.
    pub fn error(response: impl IntoPayload) -> Self {
        Self::with_status("error", response)
    }

    /// A status of the application's own; stock clients call the hooks registered for it.
    pub fn with_status(status: &'static str, response: impl IntoPayload) -> Self {
        Self(Some((status, response.into_payload())))
    }
}

/// Why a channel ends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// It was done. The client sees `phx_close` and does not rejoin.
    Normal,
    /// The application ends it. The client sees `phx_close` and does not rejoin.
    Shutdown,
    /// The client left the topic.
    Left,
    /// The connection is gone.
    Closed,
    /// The server stops.
    Draining,
    /// Something else, in the application's words. The client sees `phx_error` and rejoins.
    Error(String),
}

impl Stop {
    /// Whether the client sees `phx_close` rather than `phx_error`.
    pub(crate) fn is_graceful(&self) -> bool {
        !matches!(self, Self::Error(_))
    }
}

/// A topic as a channel sees it: its name, and the part that a route's `*` stood for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Topic {
    name: Rc<str>,
    wildcard: u32,
}

impl Topic {
    pub(crate) fn new(name: Rc<str>, wildcard: usize) -> Self {
        Self { name, wildcard: u32::try_from(wildcard).expect("a route's prefix is short") }
    }

    /// The whole name, `room:lobby`.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// What the `*` of the route stands for: `lobby` in `room:lobby` under `room:*`; empty for an
    /// exact route.
    pub fn wildcard(&self) -> &str {
        &self.name[self.wildcard as usize..]
    }
}

impl std::ops::Deref for Topic {
    type Target = str;

    fn deref(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.name, f)
    }
}

/// What a callback can do: push, broadcast, wait, stop, and see its socket and application.
pub struct Context<'a, C: Channel> {
    pub(crate) env: &'a Env<C>,
    /// The client's message being handled; null outside [`Channel::handle_in`].
    pub(crate) message_ref: RefBuf,
    pub(crate) stop: Option<Stop>,
    pub(crate) joined: bool,
}

impl<'a, C: Channel> Context<'a, C> {
    /// The channel's topic.
    pub fn topic(&self) -> &'a Topic {
        &self.env.topic
    }

    /// The socket handler's value: what `connect` made, shared by all channels of the connection.
    pub fn socket(&self) -> &'a C::Socket {
        &self.env.socket
    }

    /// The application's own state, as given to [`Endpoint::builder`](crate::Endpoint::builder).
    pub fn app(&self) -> &'a <C::Socket as SocketHandler>::App {
        &self.env.route.app
    }

    /// The value that the route carries, if it was given one of this type
    /// ([`channel_with`](crate::Mount::channel_with)).
    pub fn route_value<T: Any>(&self) -> Option<&'a T> {
        self.env.route.value.as_ref().and_then(|value| value.downcast_ref())
    }

    /// Sends an event to this client.
    ///
    /// # Errors
    ///
    /// In [`join`](Channel::join), which is not yet joined; when the payload is neither a JSON
    /// object nor binary; when it is binary and the client speaks V1, or a name is too long for a
    /// binary frame (255 bytes).
    pub fn push(&self, event: &str, payload: impl IntoPayload) -> Result<(), SendError> {
        self.require_joined()?;
        let payload = payload.into_payload()?;
        self.env.core().push(self.env.process, event, &payload)?;
        Ok(())
    }

    /// Sends an event to every subscriber of the channel's topic, this client included.
    ///
    /// # Errors
    ///
    /// As for [`push`](Self::push), and [`Overloaded`](BroadcastError::Overloaded) when another
    /// shard's queue is full; the others have been served.
    pub fn broadcast(&self, event: &str, payload: impl IntoPayload) -> Result<(), SendError> {
        self.broadcast_to(event, payload, None)
    }

    /// Like [`broadcast`](Self::broadcast), but not to this channel.
    ///
    /// # Errors
    ///
    /// As for [`broadcast`](Self::broadcast).
    pub fn broadcast_from(&self, event: &str, payload: impl IntoPayload) -> Result<(), SendError> {
        self.broadcast_to(event, payload, Some(self.env.process))
    }

    fn broadcast_to(
        &self,
        event: &str,
        payload: impl IntoPayload,
        from: Option<ProcessId>,
    ) -> Result<(), SendError> {
        self.require_joined()?;
        let payload = payload.into_payload()?;
        let mut core = self.env.core();
        let from = from.map(|process| core.global(process));
        let message = Broadcast::new(&self.env.topic, event, payload, from);
        core.broadcast(&message)?;
        Ok(())
    }

    /// Captures the message being handled, to answer it later, from here or from any thread.
    ///
    /// # Errors
    ///
    /// Outside [`handle_in`](Channel::handle_in), and for a message whose `ref` was null: as in
    /// Phoenix there is nothing to answer to.
    pub fn reply_later(&self) -> Result<SocketRef, SendError> {
        self.require_joined()?;
        if self.message_ref.is_null() {
            return Err(SendError::NoRef);
        }
        let mut core = self.env.core();
        Ok(SocketRef {
            reply: Arc::new(core.late_reply(self.env.process, self.message_ref.clone())),
        })
    }

    /// This channel's address, for timers, threads and other channels to send it
    /// [`Info`](Channel::Info).
    pub fn address(&self) -> Address<C> {
        Address {
            remote: self.env.route.local.remote.clone(),
            process: self.env.process,
            info: PhantomData,
        }
    }

    /// Ends the channel when the callback returns; a reply that it returns goes out first.
    pub fn stop(&mut self, reason: Stop) {
        self.stop = Some(reason);
    }

    /// Sends this channel an [`Info`](Channel::Info) after `delay`, measured from the beginning of
    /// the shard's turn; it is lost with the channel.
    pub fn send_after(&self, delay: Duration, info: C::Info) {
        self.env.core().send_after(self.env.process, delay, Box::new(info));
    }

    /// Sends this channel an [`Info`](Channel::Info) every `period` (at least 1 ms) until it ends.
    pub fn interval(&self, period: Duration, info: C::Info)
    where
        C::Info: Clone,
    {
        let make = move || Box::new(info.clone()) as Box<dyn Any + Send>;
        self.env.core().send_every(self.env.process, period, Rc::new(make));
    }

    /// Waits. Other channels, this client's too, go on meanwhile; this one's messages wait.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(self.env.route.local.clone(), duration)
    }

    /// Runs `work` on a thread of the blocking pool and waits for its result, as
    /// [`sleep`](Self::sleep) waits. Work that has begun is not interrupted when the channel ends;
    /// its result is dropped.
    ///
    /// # Errors
    ///
    /// The future's: [`BlockingError::Full`] when
    /// [`max_blocking_queue`](crate::Limits::max_blocking_queue) works wait already,
    /// [`BlockingError::Panicked`] when `work` did, [`BlockingError::NoThread`] when the system has
    /// no thread for it.
    ///
    /// # Example
    ///
    /// ```
    /// use simurgh::prelude::*;
    ///
    /// async fn greeting<C: Channel>(cx: &Context<'_, C>) -> Result<Payload, Crash> {
    ///     let text = cx.blocking(|| std::fs::read("greeting.json")).await??;
    ///     Ok(Payload::from_json_text(text)?)
    /// }
    /// ```
    pub fn blocking<T, W>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, BlockingError>> + use<C, T, W>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        Blocking::new(&self.env.route.local.shared.blocking, work)
    }

    /// Subscribes the channel to another topic: its broadcasts come to
    /// [`handle_broadcast`](Channel::handle_broadcast). Twice means each comes twice, as in Phoenix.
    pub fn subscribe(&self, topic: &str) {
        self.env.core().subscribe(self.env.process, topic);
    }

    /// Ends all of the channel's subscriptions to that topic.
    pub fn unsubscribe(&self, topic: &str) {
        self.env.core().unsubscribe(self.env.process, topic);
    }

    fn require_joined(&self) -> Result<(), SendError> {
        if self.joined { Ok(()) } else { Err(SendError::NotJoined) }
    }
}

impl<C: Channel> fmt::Debug for Context<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("topic", &self.env.topic).finish_non_exhaustive()
    }
}

/// Why a push, broadcast or reply was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Nothing can be sent before `join` has returned.
    #[error("the channel is not joined yet: nothing can be sent in join")]
    NotJoined,
    /// There is no message to answer.
    #[error("no message with a ref is being handled")]
    NoRef,
    /// The payload can't be made into JSON.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The message can't be encoded for this client.
    #[error("{0}")]
    Encode(String),
    /// The broadcast did not reach everyone.
    #[error(transparent)]
    Broadcast(#[from] BroadcastError),
}

impl From<EncodeError> for SendError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error.to_string())
    }
}

/// A client's message that is answered later. Answers any number of times, from any thread, for as
/// long as the connection lives, even after the channel has ended.
///
/// Made by [`reply_later`](Context::reply_later). A client takes one reply and gives up waiting
/// after its own time-out, 10 s for Phoenix's.
///
/// # Example
///
/// ```
/// use simurgh::prelude::*;
///
/// fn answer_later<C: Channel>(cx: &Context<'_, C>) -> Result<Reply, Crash> {
///     let question = cx.reply_later()?;
///     std::thread::spawn(move || question.ok(serde_json::json!({ "answer": 42 })));
///     Ok(Reply::none())
/// }
/// ```
#[derive(Clone)]
pub struct SocketRef {
    reply: Arc<LateReply>,
}

impl SocketRef {
    /// Answers with status `ok`.
    ///
    /// # Errors
    ///
    /// As for [`reply`](Self::reply).
    pub fn ok(&self, response: impl IntoPayload) -> Result<(), ReplyError> {
        self.reply("ok", response)
    }

    /// Answers with status `error`.
    ///
    /// # Errors
    ///
    /// As for [`reply`](Self::reply).
    pub fn error(&self, response: impl IntoPayload) -> Result<(), ReplyError> {
        self.reply("error", response)
    }

    /// Answers with a status of the application's own.
    ///
    /// # Errors
    ///
    /// When the answer can't be encoded for this client, or its shard's inbox is full or closed.
    /// That the connection is gone is no error: nobody is left to be told.
    pub fn reply(&self, status: &str, response: impl IntoPayload) -> Result<(), ReplyError> {
        self.reply.send(status, &response.into_payload()?)
    }
}

impl fmt::Debug for SocketRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketRef").field("topic", &self.reply.topic).finish_non_exhaustive()
    }
}

/// Why a late reply was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The response can't be made into JSON.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The reply can't be encoded for this client.
    #[error("{0}")]
    Encode(String),
    /// The shard's inbox is full.
    #[error("the shard's inbox is full")]
    Full,
    /// The server has stopped.
    #[error("the server has stopped")]
    Gone,
}

/// Where a channel can be reached from any thread.
///
/// An address is void when its channel has ended: it never reaches another one.
///
/// # Example
///
/// ```
/// use simurgh::{Address, AddressError, Channel};
///
/// /// Tells those that can hear it, and forgets those that have ended.
/// fn tell<C: Channel<Info = u64>>(watchers: &mut Vec<Address<C>>, price: u64) {
///     watchers.retain(|channel| channel.send(price) != Err(AddressError::Gone));
/// }
/// ```
pub struct Address<C: Channel> {
    pub(crate) remote: Arc<Remote>,
    pub(crate) process: ProcessId,
    info: PhantomData<fn(C::Info)>,
}

impl<C: Channel> Address<C> {
    /// Sends to the channel's [`handle_info`](Channel::handle_info).
    ///
    /// From a thread that is not the channel's shard, `Ok` means that it is on its way.
    ///
    /// # Errors
    ///
    /// [`Full`](AddressError::Full) when the channel's mailbox or its shard's inbox is;
    /// [`Gone`](AddressError::Gone) when the channel has ended (as far as can be known from here)
    /// or the server has.
    pub fn send(&self, info: C::Info) -> Result<(), AddressError> {
        self.remote.send_info(self.process, Box::new(info))
    }
}

impl<C: Channel> Clone for Address<C> {
    fn clone(&self) -> Self {
        Self { remote: self.remote.clone(), process: self.process, info: PhantomData }
    }
}

impl<C: Channel> fmt::Debug for Address<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({:?})", self.process)
    }
}

/// Why an [`Address`] could not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The mailbox or the shard's inbox is full.
    #[error("the mailbox is full")]
    Full,
    /// The channel has ended, or the server has.
    #[error("the channel has ended")]
    Gone,
}
