//! Channels: sockets, the processes of their topics, and what runs in them.
//!
//! ```text
//!  a message ─▶ routing ─▶ which process? ─┬─ idle: its callback runs ─▶ turns: what follows
//!                │                         └─ busy: mailbox ─▶ its turn comes
//!                └─ phx_join ─▶ joins ─▶ a process ─▶ … ─▶ ending
//! ```
//!
//! The application's code never runs in here: what is to run is handed up as a [`Callback`], with
//! the process' cell taken out of its table, and comes back as how it has ended
//! ([`Hub::finish`]). Nor is a value of the application's dropped here: it is buried, and the grave
//! is emptied when no table is borrowed.
//!
//! **Promises**, which [`Hub::check`] looks at: a session's channel has its process, and that one its
//! session; whoever rests with mail, or is to end, stands in line, once; every seat that a process or
//! a session says it has is its own; a topic is held once for each process, subscription and id;
//! timers of a process are there.

mod routing;

mod joins;

mod turns;

mod calls;

mod ending;

mod audience;
mod due;
mod easing;
mod slow_readers;
mod slowing;
mod who;

mod hub;

mod cell;
mod mailbox;
mod pressure;
mod process;
mod session;
mod timers;

#[cfg(any(test, debug_assertions))]
mod check;

mod mount;

pub(crate) use calls::Question;
pub(crate) use cell::{Call, Cell, Outcome};
pub(crate) use hub::{Behind, Callback, Channels, Hub};
pub(crate) use mount::{
    AnySocket, Connect, ConnectFailure, Connected, Handler, Mount, Pattern, RouteHandler,
    SocketValue,
};
pub(crate) use pressure::{Pressure, Spent};
#[cfg(test)]
pub(crate) use process::PROCESS_SIZE;
pub(crate) use routing::Opening;
#[cfg(test)]
pub(crate) use session::SESSION_SIZE;
pub(crate) use timers::{MakeInfo, TimerId};
pub(crate) use turns::{Polled, Turn};
