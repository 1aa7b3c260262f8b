//! Phoenix Channels for Rust, on Linux: thread-per-core over io_uring.
//!
//! A client connects and is a **socket**: [`SocketHandler::connect`] says whether it may. Over its one
//! connection it joins **topics**, and each joined topic is a **channel**: a value of the application's
//! that implements [`Channel`], with a mailbox of its own. What a channel broadcasts reaches everyone
//! who joined the same topic, on whichever core. Any Phoenix client speaks to it unchanged.
//!
//! # Example
//!
//! ```no_run
//! use serde::Deserialize;
//! use simurgh::prelude::*;
//!
//! struct Visitor;
//!
//! impl SocketHandler for Visitor {
//!     type App = ();
//!     type Params = ();
//!
//!     async fn connect(_: (), _: &ConnectInfo<()>) -> Result<Self, Rejection> {
//!         Ok(Visitor)
//!     }
//! }
//!
//! struct Room;
//!
//! #[derive(Deserialize)]
//! #[serde(rename_all = "snake_case")]
//! enum Event {
//!     NewMsg(Payload),
//! }
//!
//! impl Channel for Room {
//!     type Socket = Visitor;
//!     type Params = ();
//!     type Event = Event;
//!     type Info = ();
//!
//!     async fn join(_: &Topic, _: (), _: &mut Context<'_, Self>) -> Join<Self> {
//!         Ok(Joined::new(Room))
//!     }
//!
//!     async fn handle_in(&mut self, event: Event, cx: &mut Context<'_, Self>) -> Result<Reply, Crash> {
//!         let Event::NewMsg(message) = event;
//!         cx.broadcast("new_msg", message)?;
//!         Ok(Reply::none())
//!     }
//! }
//!
//! fn main() -> Result<(), simurgh::Error> {
//!     Endpoint::builder(())
//!         .socket("/socket", |mount| mount.handler::<Visitor>().channel::<Room>("room:*"))
//!         .listen("127.0.0.1:4000")
//!         .run()
//! }
//! ```
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | who may connect, and what its channels share | [`SocketHandler`], [`ConnectInfo`], [`Rejection`] |
//! | a topic's behaviour | [`Channel`], [`Refused`] and, for what a callback can do, [`Context`] |
//! | events as an enum, payloads typed or unread | [`FromEvent`], [`Payload`], [`Json`], [`RawJson`] |
//! | replies at once, later, from another thread | [`Reply`], [`SocketRef`] |
//! | timers, tasks and other channels that speak to one, or ask it | [`Address`], [`Caller`], [`Context::send_after`] |
//! | paths, addresses, cores | [`Endpoint`], [`Builder`], [`Mount`] |
//! | HTTP of the application's own, at the same port | [`Builder::fallback_listener`], [`Stream`] |
//! | broadcasts from and to the rest of the application | [`Handle`], [`Subscription`] |
//! | what is bounded, and what happens past it | [`Limits`] |
//! | tests of an application | `testing`, with the feature of that name |
//!
//! # Threads
//!
//! Each core runs one thread, a *shard*, and a connection's channels live and die on its shard. So
//! their callbacks need no locks among themselves and their futures need not be `Send`, but a callback
//! that computes for long, or blocks, holds up everyone on its shard: that is what
//! [`Context::blocking`] is for. What is shared by all shards is the application's own state,
//! [`SocketHandler::App`].
//!
//! # When things go wrong
//!
//! An error or a panic in a callback ends that channel and nothing else; its client rejoins. Every
//! queue has a bound, and whoever finds it full is told so by an error rather than made to wait. An
//! endpoint that can't start says how to mend it ([`Error`]).
//!
//! # The log
//!
//! It goes through `tracing`, and who reads it is the application's affair. One thing is asked of a
//! subscriber: **it must never block**. A shard writes its lines itself, so a terminal that is halted
//! or a pipe that is full would hold up every client of it. `tracing-appender`'s non-blocking writer
//! queues lines and drops what finds no room; the README shows it.
//!
//! What clients have written stands there escaped and cut, and a secret of theirs not at all: params
//! are filtered, and what does not decode is told without its value ([`DecodeError`]). Of each kind of
//! line above debug an address has a few a minute, and then a count.
//!
//! # Features
//!
//! - `tokio`: `tokio::runtime::Handle` is a runtime that an endpoint's callbacks may be given
//!   ([`Builder::runtime`]), and a [`Stream`] can be read and written in Tokio's tasks.
//! - `testing`: a Phoenix client and a server with a port for each shard, for tests of an application.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "unit tests: what ships is checked without them")
)]

#[cfg(not(target_os = "linux"))]
compile_error!("simurgh runs on Linux only: it is built on io_uring");

mod channel;
mod socket;

mod callbacks;

mod endpoint;
mod fallback;
mod mount;
mod running;

mod config;
mod error;
mod runtime;
mod stream;

pub mod demo;

#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod load;

mod message;

mod shard;

mod io;
mod protocol;
mod telemetry;

#[cfg(feature = "testing")]
pub mod testing;

pub use channel::{Address, Call, CallError, Caller, Channel, Context, Handle, HandleError};
pub use channel::{Join, Joined, Reply, SendError, Sleep, SocketRef};
pub use channel::{Subscription, SubscriptionError};
pub use config::Limits;
pub use endpoint::{Builder, Endpoint};
pub use error::Error;
pub use fallback::FallbackListener;
pub use io::ceiling::{Bound, Ceiling};
pub use message::{AddressError, ReplyError};
pub use message::{Broadcast, BroadcastError, Crash, JoinError, Refused, Rejection, Stop};
pub use message::{DecodeError, EventError, FromEvent, NoEvents, RawEvent, Topic};
pub use message::{IntoPayload, Json, Payload, PayloadError, PayloadRef, RawJson, TransportName};
pub use message::{Request, Response};
pub use mount::{Mount, NewMount};
pub use protocol::http::{Param, Params};
pub use running::Running;
pub use runtime::EnterRuntime;
pub use shard::blocking::BlockingError;
pub use socket::{ConnectInfo, SocketHandler};
pub use stream::Stream;
#[cfg(feature = "tokio")]
pub use stream::TokioStream;
pub use telemetry::ShardCounts;

/// What nearly every application uses: the traits, and whatever their methods and an endpoint's are
/// given and return.
///
/// ```
/// use simurgh::prelude::*;
/// ```
pub mod prelude {
    pub use crate::{
        Address, Broadcast, Caller, Channel, ConnectInfo, Context, Crash, Endpoint, EventError,
        Handle, Join, JoinError, Joined, Json, Limits, NoEvents, Payload, RawEvent, Refused,
        Rejection, Reply, Request, Response, Running, SocketHandler, SocketRef, Stop, Subscription,
        Topic,
    };
}

/// The README's code has to compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
