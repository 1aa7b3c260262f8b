//! The protocols, sans-io: bytes in, values out.
//!
//! Nothing here does I/O, reads a clock, starts a thread, or knows the rest of the crate.
//! `http` is how a connection begins, `websocket` what carries its messages, `phoenix` the messages.

pub(crate) mod http;
pub(crate) mod phoenix;
pub(crate) mod websocket;
