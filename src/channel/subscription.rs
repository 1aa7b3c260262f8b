//! Subscriptions: a topic's broadcasts for a thread or a task that is no channel.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::message::Broadcast;
use crate::shard;
use crate::shard::deadlines::Deadlines;
use crate::shard::links::{Letter, Letterbox, Shared};
use crate::shard::promise::block_on;

/// The broadcasts of a topic, for a thread or a task that is no channel; made by
/// [`Handle::subscribe`](crate::Handle::subscribe), and over when it is dropped.
///
/// What is not taken waits, within [`max_mailbox`](crate::Limits::max_mailbox) broadcasts and
/// [`max_mailbox_bytes`](crate::Limits::max_mailbox_bytes). What finds no room is lost, and the
/// reader is told how much at the place where it was: nobody who broadcasts ever waits for a reader.
///
/// # Example
///
/// ```
/// use simurgh::{Handle, SubscriptionError};
///
/// /// Keeps what is said in a room, on a thread of its own.
/// fn keep(handle: &Handle, mut store: impl FnMut(&str)) {
///     let mut said = handle.subscribe("room:lobby");
///     loop {
///         match said.blocking_recv() {
///             Ok(message) => store(message.payload().as_json().unwrap_or("binary")),
///             Err(SubscriptionError::Missed(missed)) => store(&format!("{missed} were lost")),
///             Err(_) => return, // the server has ended
///         }
///     }
/// }
/// ```
pub struct Subscription {
    shared: Arc<Shared>,
    letterbox: Arc<Letterbox>,
}

impl Subscription {
    pub(super) fn new(shared: &Arc<Shared>, topic: &str) -> Self {
        Self { shared: shared.clone(), letterbox: shared.subscriptions.add(topic) }
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.letterbox.topic
    }

    /// The next broadcast, in a task of any executor, or in a callback. Nothing is lost if the future
    /// is dropped before it is ready.
    ///
    /// # Errors
    ///
    /// [`Missed`](SubscriptionError::Missed) where some were lost, after which it goes on;
    /// [`Gone`](SubscriptionError::Gone) when the server has ended.
    pub async fn recv(&mut self) -> Result<Broadcast, SubscriptionError> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The same for a future of your own: leaves the waker if there is none yet.
    pub fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Broadcast, SubscriptionError>> {
        self.letterbox.poll(cx).map(|letter| letter.map_or(Err(SubscriptionError::Gone), read))
    }

    /// The next broadcast, for which this thread blocks.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Self::recv).
    ///
    /// # Panics
    ///
    /// On a shard's thread, so in a callback: there nothing may block.
    pub fn blocking_recv(&mut self) -> Result<Broadcast, SubscriptionError> {
        self.block(None)
    }

    /// The next broadcast, for which this thread blocks so long at most.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Self::recv); and [`Timeout`](SubscriptionError::Timeout).
    ///
    /// # Panics
    ///
    /// As [`blocking_recv`](Self::blocking_recv).
    pub fn blocking_recv_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<Broadcast, SubscriptionError> {
        self.block(Some(timeout))
    }

    /// The next broadcast, if one waits.
    ///
    /// # Errors
    ///
    /// [`Missed`](SubscriptionError::Missed) where some were lost.
    pub fn try_recv(&mut self) -> Result<Option<Broadcast>, SubscriptionError> {
        self.letterbox.take().map(read).transpose()
    }

    fn block(&mut self, timeout: Option<Duration>) -> Result<Broadcast, SubscriptionError> {
        assert!(!shard::is_here(), "a callback can't block: await `recv` instead");
        let deadline = timeout.map(Deadlines::after);
        let received = block_on(deadline, |cx| self.poll_recv(cx));
        received.unwrap_or(Err(SubscriptionError::Timeout))
    }
}

fn read(letter: Letter) -> Result<Broadcast, SubscriptionError> {
    match letter {
        Letter::Broadcast(broadcast) => Ok(broadcast),
        Letter::Missed(missed) => Err(SubscriptionError::Missed(missed)),
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.subscriptions.remove(&self.letterbox);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("topic", &self.topic()).finish_non_exhaustive()
    }
}

/// Why a [`Subscription`] gives no broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriptionError {
    /// So many broadcasts found no room and are lost, here between the one before and the next.
    #[error("{0} broadcasts found no room and are lost")]
    Missed(u64),
    /// The server has ended: there will be no more.
    #[error("the server has ended")]
    Gone,
    /// None has come in time.
    #[error("no broadcast has come in time")]
    Timeout,
}
