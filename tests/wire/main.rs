//! What a client sees of the server, from its first byte on: requests, upgrades, frames, closes.
//!
//! ```text
//!   requests, url, checks, versions         before the socket is open
//!   text, fields, binary, relayed           messages
//!   websocket, sizes, mounts, close, idle   frames, their limits, and how a connection ends
//!   connecting, slow_readers, floods        clients that are slow, or ask for too much at once
//!   crowds, unfinished                      more clients than there is room for, or more half said
//!   startup, logs                           what the operator sees
//! ```
//!
//! What channels do with messages is tested in `tests/channels`.

#![expect(clippy::disallowed_methods, reason = "a test waits, and not for ever")]

mod app;
mod binary;
mod checks;
mod close;
mod connecting;
mod crowds;
mod fallback;
mod fields;
mod floods;
mod idle;
mod logs;
mod mounts;
mod relayed;
mod requests;
mod sizes;
mod slow_readers;
mod startup;
mod stuck;
mod support;
mod text;
mod unfinished;
mod url;
mod versions;
mod websocket;
