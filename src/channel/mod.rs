//! Channels: what an application writes for a topic.

mod address;
mod call;
mod context;
mod handle;
mod sleep;
mod subscription;

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use crate::message::{
    Broadcast, Crash, EventError, FromEvent, IntoPayload, JoinError, Payload, PayloadError, Stop,
    Topic,
};
use crate::socket::SocketHandler;
use crate::telemetry::Unexpected;

pub use address::{Address, SocketRef};
pub use call::{Call, CallError, Caller};
pub use context::{Context, SendError};
pub(crate) use context::{Env, RouteShared};
pub use handle::{Handle, HandleError};
pub use sleep::Sleep;
pub use subscription::{Subscription, SubscriptionError};

/// One topic's behaviour for one client: the value is the channel's state, made by
/// [`join`](Channel::join) and dropped when the channel ends.
///
/// A joined channel is a process: it handles one thing at a time, in order, and its callbacks may
/// wait (for a timer, for [`blocking`](Context::blocking) work, for any other future)
/// without holding up anyone else; those of Tokio that need its runtime find it if the endpoint was
/// [given](crate::Builder::runtime) it. Futures stay on their shard and need not be `Send`.
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
/// A channel under several sockets is generic over them. Each mount names it with its own handler, and
/// what it needs of one is a trait of the application's:
///
/// ```
/// use std::marker::PhantomData;
/// use simurgh::prelude::*;
///
/// /// What a room wants to know of whoever joins.
/// trait Named: SocketHandler<App = ()> {
///     fn name(&self) -> &str;
/// }
///
/// struct Room<S>(PhantomData<S>);
///
/// impl<S: Named> Channel for Room<S> {
///     type Socket = S;
///     type Params = ();
///     type Event = NoEvents;
///     type Info = ();
///
///     async fn join(_: &Topic, _: (), cx: &mut Context<'_, Self>) -> Join<Self> {
///         println!("{} joins", cx.socket().name());
///         Ok(Joined::new(Room(PhantomData)))
///     }
/// }
///
/// fn endpoint<User: Named, Admin: Named>() -> simurgh::Builder<()> {
///     Endpoint::builder(())
///         .socket("/socket", |mount| mount.handler::<User>().channel::<Room<User>>("room:*"))
///         .socket("/admin", |mount| mount.handler::<Admin>().channel::<Room<Admin>>("room:*"))
/// }
/// ```
#[allow(async_fn_in_trait, reason = "a channel's futures stay on their shard: no Send wanted")]
pub trait Channel: Sized + 'static {
    /// The socket handler under which this channel runs.
    type Socket: SocketHandler;
    /// What a client sends with its join.
    ///
    /// A payload that does not decode refuses the join, before [`join`](Self::join) is called. The
    /// client is told `{"reason": "invalid params: …"}`: which field, what kind of value came and what
    /// was wanted, as in `` `age`: invalid type: string, expected u8 `` or ``missing field `name` ``,
    /// but never the value itself ([`DecodeError`](crate::DecodeError)). Only the first two words are the same each time. Null stands for `{}`
    /// with a type that does not take null; a struct takes no list.
    type Params: DeserializeOwned + 'static;
    /// What a client sends afterwards: an enum of events, or [`RawEvent`](crate::RawEvent).
    type Event: FromEvent + 'static;
    /// What timers and [addresses](crate::Address) send.
    type Info: Send + 'static;

    /// Events of broadcasts on the channel's own topic that go through
    /// [`handle_out`](Channel::handle_out) rather than straight to the client.
    const INTERCEPT: &'static [&'static str] = &[];

    /// Whether broadcasts may be dropped for a client that does not read.
    ///
    /// A client that owes more than [`max_send_queue`](crate::Limits::max_send_queue) is closed. If
    /// it has channels that say true here, the broadcasts that wait for them are dropped instead, the
    /// oldest first, until it owes no more than half of that; then the channels are told
    /// ([`handle_gap`](Channel::handle_gap)). Replies, pushes and whatever passes through a callback
    /// are never dropped; if it is they that fill what it may owe, the client is closed after all. So is
    /// one that takes nothing at all for [`send_timeout`](crate::Limits::send_timeout).
    ///
    /// For what is soon out of date: prices, positions, scores. Default false.
    const LOSSY: bool = false;

    /// Decides whether the client may have the topic, and makes the channel's state.
    ///
    /// Nothing can be pushed or broadcast in here (as in Phoenix, it is not yet joined); send
    /// yourself an [`Info`](Channel::Info) with [`address`](Context::address), which is handled
    /// right after the join's reply. Joins of other topics run beside this one.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::Refused) is the error reply that the client gets; any other error is logged, and the
    /// client is told `join crashed`.
    async fn join(topic: &Topic, params: Self::Params, cx: &mut Context<'_, Self>) -> Join<Self>;

    /// Handles what the client sent, and says what it is answered. To be written unless the channel has
    /// [`NoEvents`](crate::NoEvents): where it is missed, building the program fails.
    ///
    /// # Errors
    ///
    /// Any error ends the channel with `phx_error`.
    async fn handle_in(
        &mut self,
        _event: Self::Event,
        _cx: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        const {
            // Only what has no value at all needs no room beside nothing.
            let has_none = size_of::<Option<Self::Event>>() == 0;
            assert!(has_none, "a channel with events has to say how it handles them: `handle_in`");
        }
        unreachable!("there is no such event")
    }

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
        Err(Crash::new(format!("event {event:?}: {error}")))
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
        cx.tell_unexpected(Unexpected::Info);
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
        let (from, event) = (message.topic(), message.event());
        cx.tell_unexpected(Unexpected::Broadcast { from, event });
        Ok(())
    }

    /// Hears that at least one broadcast of `topic`, its own or one it subscribed to, did not reach
    /// this channel and its client: because a queue on the way to its shard was full, or because the
    /// client does not read and the channel is [`LOSSY`](Channel::LOSSY).
    ///
    /// Unless written it lets that pass. Broadcasts are delivered at most once, as Phoenix' are, and
    /// clients that were written for those do not count them. Were the channel to end instead, all
    /// the clients of a topic would join anew together, a second later, and miss what was said in
    /// that second: a hiccup would be a storm. A channel whose clients can't do without tells them
    /// what they missed, has them load it when it suits them, or ends.
    ///
    /// # Errors
    ///
    /// Any error ends the channel with `phx_error`, after which stock clients join again.
    ///
    /// # Example
    ///
    /// ```
    /// # use simurgh::prelude::*;
    /// # struct Prices;
    /// # struct Visitor;
    /// # impl SocketHandler for Visitor {
    /// #     type App = ();
    /// #     type Params = ();
    /// #     async fn connect(_: (), _: &ConnectInfo<()>) -> Result<Self, Rejection> { Ok(Visitor) }
    /// # }
    /// # impl Channel for Prices {
    /// #     type Socket = Visitor;
    /// #     type Params = ();
    /// #     type Event = NoEvents;
    /// #     type Info = ();
    /// #     async fn join(_: &Topic, _: (), _: &mut Context<'_, Self>) -> Join<Self> { Ok(Joined::new(Self)) }
    /// async fn handle_gap(&mut self, _: &str, cx: &mut Context<'_, Self>) -> Result<(), Crash> {
    ///     cx.push("reload", ())?; // the client asks for the prices there are now
    ///     Ok(())
    /// }
    /// # }
    /// ```
    async fn handle_gap(&mut self, _topic: &str, _cx: &mut Context<'_, Self>) -> Result<(), Crash> {
        Ok(())
    }

    /// Runs when the channel ends: after a leave, a stop, an error, or the connection's end. Not
    /// after a panic, nor when the client joins the same topic anew. Pushes still work while the
    /// connection lives.
    async fn terminate(&mut self, _reason: &Stop, _cx: &mut Context<'_, Self>) {}
}

/// What [`Channel::join`] returns.
pub type Join<C> = Result<Joined<C>, JoinError>;

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
pub struct Reply(pub(crate) Option<(Cow<'static, str>, Result<Payload, PayloadError>)>);

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
    pub fn with_status(status: impl Into<Cow<'static, str>>, response: impl IntoPayload) -> Self {
        Self(Some((status.into(), response.into_payload())))
    }
}

/// A channel with events that does not say how it handles them can't be built:
///
/// ```compile_fail,E0080
/// # use simurgh::prelude::*;
/// # struct Visitor;
/// # impl SocketHandler for Visitor {
/// #     type App = ();
/// #     type Params = ();
/// #     async fn connect(_: (), _: &ConnectInfo<()>) -> Result<Self, Rejection> { Ok(Visitor) }
/// # }
/// struct Forgetful;
///
/// impl Channel for Forgetful {
///     type Socket = Visitor;
///     type Params = ();
///     type Event = RawEvent;
///     type Info = ();
///
///     async fn join(_: &Topic, _: (), _: &mut Context<'_, Self>) -> Join<Self> {
///         Ok(Joined::new(Forgetful))
///     }
/// }
///
/// let _ = Endpoint::builder(())
///     .socket("/socket", |mount| mount.handler::<Visitor>().channel::<Forgetful>("room:*"));
/// ```
#[cfg(doctest)]
struct NoHandleIn;
