//! Channels as an application writes them and a client meets them: a real server, real sockets.
//!
//! Nearly every test plays its scenario [`everywhere`](doors::everywhere): through every door, on
//! one shard and on four. The channels that they run are in `channels`: actors that do what a
//! script tells them, so that what a test makes happen stands in the test.

#![expect(clippy::disallowed_methods, reason = "a test waits, and not for ever")]

mod channels;
mod doors;
mod script;
mod support;

mod addresses;
mod broadcasts;
mod disconnecting;
mod drops;
mod duplicate;
mod ending;
mod events;
mod futures;
mod gaps;
mod joining;
mod logs;
mod order;
mod reaching;
mod replies;
mod routes;
mod runtimes;
mod socket;
mod subscriptions;
mod waiting;
