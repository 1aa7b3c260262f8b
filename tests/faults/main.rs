//! Clients and callbacks that do whatever harm they can, and calm clients among them who must not
//! notice.
//!
//! ```text
//!   app      the application: calm rooms, rooms that miss, and callbacks that fail
//!   calm     clients that behave, in threads of their own, and check all they are sent
//!   scene    a server, calm clients on every shard, and what must be left when all is over
//!
//!   disconnects    clients that vanish, at any moment and in any way
//!   readers        clients that stop reading
//!   garbage        bytes that are no request, no frame, or no message
//!   floods         joins, control frames and connections, far too many at once
//!   callbacks      the application's own: failing, panicking, blocking, never ending
//! ```
//!
//! Each test plays its harm in a [`Scene`](scene::Scene), on one shard and on four. Chance decides
//! what happens in which order; `SIMURGH_SEED` has a test decide as it did when it failed.

#![expect(clippy::disallowed_methods, reason = "a test waits, and not for ever")]

mod app;
mod calm;
mod scene;

mod callbacks;
mod disconnects;
mod floods;
mod garbage;
mod readers;
