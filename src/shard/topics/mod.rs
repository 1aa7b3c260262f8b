//! Topics: who on this shard gets what is broadcast, and what is on its way to them.
//!
//! ```text
//!  broadcast ─▶ dispatch ─┬─ a small topic: served at once ───────────────┐
//!                         └─ a big one: fanout ─▶ slices, a part a turn ──┴▶ Audience
//! ```
//!
//! Who stands in a topic is not known here. The topics know places, their order, and what each is
//! still to get; to whoever stands there they speak as their [`Audience`].
//!
//! **Order.** What a client gets by any other way comes behind what was broadcast to it before. So
//! before anything else is queued for it, it is [caught up](Topics::catch_up): its channels get at
//! once what is on its way to them. Only two topics that are both on their way in slices may
//! overtake one another.
//!
//! **Promises**, which [`Topics::check`] looks at: a topic is there as long as it is held, and is
//! found by its name; one with subscribers is marked in the interest table; one with a fan-out stands
//! in line to be served, once, and the bytes of all of them are what the line says. Whoever moves
//! within a topic is told so, as [`Audience::moved`], before anything else happens.

mod audience;

mod dispatch;
mod serving;

mod table;

mod topic;

mod fanout;
mod outgoing;
mod slices;

mod subscriber;

#[cfg(test)]
mod model;

pub(crate) use audience::{Audience, Delivery};
pub(crate) use slices::SLICE;
pub(crate) use subscriber::{Kind, Seat, Subscriber, TopicIndex};
pub(crate) use table::Topics;
