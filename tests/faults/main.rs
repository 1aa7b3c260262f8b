//! Clients and callbacks that do whatever harm they can, and calm clients among them who must not
//! notice.
//!
//! ```text
//!   app      the application: calm rooms, rooms that miss, and callbacks that fail
//!   calm     clients that behave, in threads of their own, and check all they are sent
//!   scene    a server, calm clients on every shard, and what must be left when all is over
//! ```
//!
//! Each test plays its harm in a [`Scene`](scene::Scene), on one shard and on four. Chance decides
//! what happens in which order; `SIMURGH_SEED` has a test decide as it did when it failed.

mod app;
mod calm;
mod scene;

mod callbacks;
mod disconnects;
mod floods;
mod garbage;
mod readers;
