//! The shipped loop over a simulated kernel and simulated time.
//!
//! ```text
//!   Client ──▶ Pipe ──▶ SimulatedIo ──▶ Shard::turn ──▶ SimulatedIo ──▶ Pipe ──▶ Client
//!   (the test)  bytes    a kernel of       as shipped,                   bytes   (the test)
//!                        the test's own    with its mesh
//! ```
//!
//! A [`World`](world::World) has all shards on one thread and lets them take turns in an order that
//! a seed decides; it sleeps and wakes them as their threads would, by the real doorbells, and
//! passes time only when everybody sleeps. Its [`kernel`] keeps to what [`Io`](crate::io::Io)
//! promises and to nothing else: it cuts what it receives, takes less than it is given, refuses,
//! breaks, is late, and hands out a closed connection's slot again at once. What the shard owes the
//! kernel in return, it asserts.
//!
//! Whoever fails here fails again with the same seed.

// The world.
mod actor;
mod client;
mod kernel;
mod world;

// What is true in it.
mod crowds;
mod deadlines;
mod handing_over;
mod mailbox;
mod owing;
mod sending;
mod silence;
mod slices;
mod stopping;
mod storm;
mod strangers;
mod unfinished;
mod waking;
