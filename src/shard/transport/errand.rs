//! What reading comes to, and what it leaves for others to do.

use std::net::SocketAddr;

use crate::io::ConnectionId;
use crate::message::{Encoding, Handle, Request};
use crate::protocol::http::{AcceptKey, Afterwards, UpgradeError};
use crate::protocol::phoenix;
use crate::protocol::websocket::{CloseCode, Error};
use crate::shard::channels::{Callback, Connect, Pressure};
use crate::shard::links::Alarm;

/// What reading has come to.
pub(crate) enum Read<'r> {
    /// Something was done; there may be more.
    More,
    /// This is to be done before reading goes on.
    Errand(Errand<'r>),
    /// There is nothing more to read, or nobody to read it for.
    Over(Goodbye),
}

/// Code of the application's that is to run, while no table is borrowed.
pub(crate) enum Errand<'a> {
    Callback(Callback<'a>),
    Connect(Box<Connecting>),
    Route(RouteCall),
}

/// A request that is answered when `connect` has decided.
pub(crate) struct Connecting {
    pub(crate) id: ConnectionId,
    pub(crate) connect: Connect,
    pub(crate) alarm: Alarm,
    pub(crate) mount: u8,
    pub(super) encoding: Encoding,
    /// Looked at after `connect`, as Phoenix does, so that a refusal says 403 rather than 400.
    pub(super) upgrade: Result<AcceptKey, UpgradeError>,
    pub(crate) peer: SocketAddr,
    pub(super) afterwards: Afterwards,
}

/// A plain route's handler that is to be called.
pub(crate) struct RouteCall {
    pub(crate) id: ConnectionId,
    pub(crate) handle: Handle,
    pub(crate) request: Request,
    pub(super) is_head: bool,
    pub(super) afterwards: Afterwards,
}

/// How reading has ended.
pub(crate) enum Goodbye {
    /// By the end of the bytes.
    None,
    /// Before it: the client has had its share, or has met with something that is full.
    Stopped(Pressure),
    /// By the client's Close.
    Close(Option<CloseCode>),
    /// By a frame that can't be read.
    BadFrame(Error),
    /// By a message that can't be read.
    BadMessage(phoenix::Malformed),
}
