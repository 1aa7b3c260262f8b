//! Phoenix Channels for Rust, on Linux: thread-per-core over io_uring.

#[cfg(not(target_os = "linux"))]
compile_error!("simurgh runs on Linux only: it is built on io_uring");

mod channel;
mod config;
mod endpoint;
mod error;
mod event;
mod params;
mod payload;
mod pubsub;
mod socket;

pub mod demo;

#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod load;

mod io;
mod protocol;
mod shard;
mod telemetry;

#[cfg(feature = "testing")]
pub mod testing;

pub use channel::{
    Address, AddressError, Channel, Context, Crash, Join, Joined, Rejection, Reply, ReplyError,
    SendError, SocketRef, Stop, Topic,
};
pub use config::Limits;
pub use endpoint::{Builder, Endpoint, Handle, HandleError, Mount, NewMount, Response, Running};
pub use error::Error;
pub use event::{EventError, FromEvent, NoEvents, RawEvent};
pub use payload::{IntoPayload, Json, Payload, PayloadError, PayloadRef};
pub use protocol::http::{Param, Params};
pub use pubsub::{Broadcast, BroadcastError};
pub use shard::blocking::BlockingError;
pub use shard::counters::ShardCounts;
pub use shard::timers::Sleep;
pub use socket::{ConnectInfo, Refused, Request, SocketHandler};

/// What nearly every application uses.
///
/// ```
/// use simurgh::prelude::*;
/// ```
pub mod prelude {
    pub use crate::{
        Address, Broadcast, Channel, ConnectInfo, Context, Crash, Endpoint, Handle, Join, Joined,
        Json, Payload, RawEvent, Refused, Rejection, Reply, SocketHandler, SocketRef, Stop, Topic,
    };
}
