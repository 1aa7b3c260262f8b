//! HTTP/1.1, as much as a server of WebSockets needs: a request's head to a [`Head`], its query to
//! [`Params`], the upgrade to a WebSocket, and answers with a body that is known.
//!
//! ```text
//!  bytes ─▶ parse ─▶ Head ─▶ segments      which route
//!                      ├───▶ decode_query  what `connect` is given
//!                      ├───▶ body          whether anything follows the head
//!                      └───▶ check_upgrade ─▶ write_switching_protocols
//! ```
//!
//! Heads are strict where leniency has been a way to smuggle requests past a proxy: bare line
//! feeds, folded lines, two hosts, and lengths that contradict each other are refused. Bodies are
//! not read here; [`Head::body`] says what was announced.

mod body;
mod head;

mod params;
mod path;

mod response;
mod upgrade;

mod error;

pub(crate) use body::Body;
pub(crate) use error::Error;
pub(crate) use head::{Afterwards, Head, may_begin_request, parse, split_target};
pub(crate) use params::decode_query;
pub use params::{Param, Params};
pub(crate) use path::{decode_segment, segments};
pub(crate) use response::{write_head_response, write_response};
pub(crate) use upgrade::{
    AcceptKey, UpgradeError, check_upgrade, is_upgrade, write_switching_protocols,
};
