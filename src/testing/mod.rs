//! What an application's tests and our own are written with (feature `testing`).
//!
//! [`Client`] is a Phoenix client: it joins, pushes, waits for replies and says what came instead
//! when it waits in vain. It is blocking, takes no runtime, and shares nothing with the server but
//! the wire: it has an encoder, a decoder and a WebSocket implementation that the server does not
//! use, so that a mistake made on one side is not made again on the other.
//!
//! ```text
//!   Client ──▶ message: five values ⇄ bytes, V1 or V2 ──▶ tungstenite ──▶ a blocking socket
//! ```
//!
//! It numbers its references apart, `"j1"`, `"j2"` for joins and `"1"`, `"2"` for messages, so that
//! a server that takes one for the other is caught by the first reply.

#![expect(clippy::disallowed_methods, reason = "a test waits, and not for ever")]

mod builder;
mod client;
mod websocket;

mod arrivals;
mod connection;
mod error;
mod handshake;
mod message;
mod refs;

mod random;
pub mod raw;
mod server;
#[cfg(test)]
mod stand_in;

pub use tungstenite;

pub use self::builder::Builder;
pub use self::client::Client;
pub use self::error::{ConnectError, Error, Unread};
pub use self::message::{Malformed, Message, Payload, Reply, Version};
pub use self::random::{Random, Seed};
pub use self::server::Server;
pub use crate::telemetry::Holdings;
