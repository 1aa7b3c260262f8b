//! The handle: a running endpoint, reached from any thread.

use std::fmt;
use std::sync::Arc;

use crate::channel::{Address, Channel};
use crate::message::{Broadcast, BroadcastError, GlobalProcessId, IntoPayload, PayloadError};
use crate::shard::counters::ShardCounts;
use crate::shard::{self, Shared};

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
    /// When the payload can't be made into JSON, or is neither an object nor binary;
    /// [`Overloaded`](BroadcastError::Overloaded) when a shard's queue is full; and on a shard's own
    /// thread [`Backlog`](BroadcastError::Backlog) when too much of the topic is under way.
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

    /// Closes all sockets with this id, on all shards; their clients reconnect.
    ///
    /// # Errors
    ///
    /// [`Overloaded`](BroadcastError::Overloaded) when a shard's queue is full.
    pub fn disconnect(&self, id: &str) -> Result<(), HandleError> {
        self.broadcast(id, "disconnect", ())
    }

    /// Closes all sockets (code 1012, service restart), lets their channels terminate, and ends.
    /// Returns at once; [`Running::join`](crate::Running::join) waits for it. What does not end by itself is dropped after
    /// [`terminate_timeout`](crate::Limits::terminate_timeout) and
    /// [`close_timeout`](crate::Limits::close_timeout).
    pub fn shutdown(&self) {
        self.shared.stop();
    }

    /// What each shard has counted.
    pub fn counts(&self) -> Vec<ShardCounts> {
        self.shared.counters.iter().map(|counters| counters.load()).collect()
    }

    /// What each shard holds now.
    #[cfg(feature = "testing")]
    pub(crate) fn holdings(&self) -> Vec<shard::holdings::Holdings> {
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
        if let Some(local) = shard::current()
            && Arc::ptr_eq(&local.shared, &self.shared)
            && let Ok(mut core) = local.core.try_borrow_mut()
        {
            return Ok(core.broadcast(&broadcast)?);
        }
        let mut missed = 0;
        for remote in self.interested(topic) {
            if !remote.broadcast(&broadcast) {
                missed += 1;
            }
        }
        if missed == 0 { Ok(()) } else { Err(BroadcastError::Overloaded { shards: missed }.into()) }
    }

    fn interested(&self, topic: &str) -> impl Iterator<Item = &Arc<shard::links::remote::Remote>> {
        let interest = &self.shared.interest;
        let only = (!interest.is_shared()).then_some(0);
        let slot = interest.slot(topic);
        let others = interest.is_shared().then(|| interest.shards(slot)).into_iter().flatten();
        only.into_iter().chain(others).map(|shard| &self.shared.remotes[shard])
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
}
