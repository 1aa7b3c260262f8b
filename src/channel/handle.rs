//! The handle: a running endpoint, reached from any thread.

use std::fmt;
use std::sync::Arc;

use super::{Address, Channel, Subscription};
use crate::message::{Broadcast, BroadcastError, GlobalProcessId, IntoPayload, PayloadError};
use crate::shard;
use crate::shard::links::Shared;
#[cfg(feature = "testing")]
use crate::telemetry::Holdings;
use crate::telemetry::ShardCounts;

/// Reaches a running endpoint from any thread: an HTTP handler's, a consumer's of a queue, a
/// channel's own. Nothing here waits; what finds a queue full is an error.
///
/// # Example
///
/// ```
/// use serde_json::json;
///
/// let running = simurgh::demo::endpoint().listen("127.0.0.1:0").start()?;
/// let handle = running.handle();
/// let clock = std::thread::spawn(move || {
///     handle.broadcast("room:lobby", "new_msg", json!({ "name": "clock", "body": "noon" }))
/// });
/// clock.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Sends an event to every subscriber of a topic.
    ///
    /// Used on a shard's own thread (in a callback) it takes the shard's own path, so that it keeps
    /// its place among that callback's pushes and broadcasts.
    ///
    /// # Errors
    ///
    /// When the payload can't be made into JSON, or is neither an object nor binary, which clients of
    /// the second version can't be sent, whether there are any or not;
    /// [`Overloaded`](BroadcastError::Overloaded) when a shard's queue is full; on a shard's own
    /// thread [`Backlog`](BroadcastError::Backlog) when too much of the topic is under way; and
    /// [`Gone`](HandleError::Gone) when the server has ended.
    pub fn broadcast(
        &self,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<(), HandleError> {
        self.broadcast_as(topic, event, payload, None)
    }

    /// Like [`broadcast`](Self::broadcast), but not to the channel with this address.
    ///
    /// # Errors
    ///
    /// As for [`broadcast`](Self::broadcast).
    pub fn broadcast_from<C: Channel>(
        &self,
        from: &Address<C>,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<(), HandleError> {
        let shard = from.remote.shard as u32;
        let from = GlobalProcessId { shard, process: from.process };
        self.broadcast_as(topic, event, payload, Some(from))
    }

    /// Like [`broadcast`](Self::broadcast), on this node alone. Today a node is all there is.
    ///
    /// # Errors
    ///
    /// As for [`broadcast`](Self::broadcast).
    pub fn local_broadcast(
        &self,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<(), HandleError> {
        self.broadcast_as(topic, event, payload, None)
    }

    /// Like [`broadcast_from`](Self::broadcast_from), on this node alone.
    ///
    /// # Errors
    ///
    /// As for [`broadcast`](Self::broadcast).
    pub fn local_broadcast_from<C: Channel>(
        &self,
        from: &Address<C>,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<(), HandleError> {
        self.broadcast_from(from, topic, event, payload)
    }

    /// Subscribes this thread or task to a topic, as [`Context::subscribe`](crate::Context::subscribe)
    /// does a channel. Every broadcast of it that is made after this returns comes to the
    /// [`Subscription`], in the order of each that broadcasts.
    ///
    /// For what lasts and is not many: the list of all subscriptions is copied whenever it changes.
    pub fn subscribe(&self, topic: &str) -> Subscription {
        Subscription::new(&self.shared, topic)
    }

    /// Closes all sockets with this id, on all shards; their clients reconnect.
    ///
    /// # Errors
    ///
    /// As for [`broadcast`](Self::broadcast).
    pub fn disconnect(&self, id: &str) -> Result<(), HandleError> {
        self.broadcast(id, Broadcast::DISCONNECT, ())
    }

    /// Closes all sockets (code 1012, service restart), lets their channels terminate, and ends.
    /// Returns at once; [`Running::join`](crate::Running::join) waits for it. New clients are refused from here on, and
    /// what does not end by itself is dropped after
    /// [`terminate_timeout`](crate::Limits::terminate_timeout),
    /// [`close_timeout`](crate::Limits::close_timeout) and a second. With
    /// [`reuse_port`](crate::Builder::reuse_port) it begins a second later, three at most.
    pub fn shutdown(&self) {
        self.shared.stop();
    }

    /// The same, but what does not end by itself is dropped at once.
    pub(crate) fn hurry(&self) {
        self.shared.hurry();
    }

    /// What each shard has counted.
    pub fn counts(&self) -> Vec<ShardCounts> {
        self.shared.tallies.iter().map(|tally| tally.load()).collect()
    }

    /// What each shard holds now.
    #[cfg(feature = "testing")]
    pub(crate) fn holdings(&self) -> Vec<Holdings> {
        self.shared.remotes.iter().map(|remote| remote.ask_holdings()).collect()
    }

    fn broadcast_as(
        &self,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
        from: Option<GlobalProcessId>,
    ) -> Result<(), HandleError> {
        let broadcast = Broadcast::new(topic, event, payload.into_payload()?, from);
        broadcast.check()?;
        if self.shared.has_ended() {
            return Err(HandleError::Gone);
        }
        Ok(shard::broadcast(&self.shared, &broadcast)?)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("shards", &self.shared.remotes.len()).finish_non_exhaustive()
    }
}

/// Why something was not sent by a [`Handle`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandleError {
    /// The payload can't be made into JSON.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The broadcast did not reach everyone.
    #[error(transparent)]
    Broadcast(#[from] BroadcastError),
    /// The server has ended: nobody is left to be told.
    #[error("the server has ended")]
    Gone,
}
