//! Transports: from a connection's first byte to an open socket, and what comes and goes after.
//!
//! ```text
//!  Arriving ──request──▶ plain route ──▶ the next request, or Leaving
//!     │
//!     ├──nobody──▶ the application's own server, if it has one
//!     └──mount──▶ `connect` ──ok──▶ Open ──close, error, silence──▶ Leaving ──▶ gone
//!                    └──refused──▶ the next request
//! ```
//!
//! `admission` lets clients in. Their bytes are [read](reading::Reading) by where the connection has come to:
//! `requests` reads heads, `connecting` acts on what `connect` has decided, `websocket` takes
//! messages out of an open socket's bytes, and `endings` waits for the client's Close. Whose time is
//! over is told by `deadlines`.
//!
//! A client that asks for more than its share of a turn, or whose messages go where much waits
//! already, is not read further for a while (`waiting`).
//!
//! What the application's code is to do meanwhile is handed up as an [`Errand`]; reading goes on
//! when it is done.
//!
//! **Promises**, which [`Transport::check`] looks at: every connection has one place, and the entry
//! there is its own; those admitted and refused are all there are; what is unfinished adds up; who
//! awaits a request stands in line by age.

mod admission;

mod reading;

mod requests;

mod connecting;

mod websocket;

mod endings;

mod handing_over;

mod deadlines;

mod shedding;

mod table;

mod admissions;
mod errand;
mod hearing;
mod last;
mod unfinished;
mod waiting;
mod wheel;

#[cfg(any(test, debug_assertions))]
mod check;

pub(crate) use errand::{Connecting, Errand, Read, RouteCall};
pub(crate) use handing_over::HandOver;
pub(crate) use table::Transport;
pub(crate) use waiting::Stopped;
