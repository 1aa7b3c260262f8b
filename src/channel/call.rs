//! Calls: a question to a channel whose answer somebody waits for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::message::AddressError;
use crate::shard;
use crate::shard::deadlines::{DeadlineId, Deadlines, Expire};
use crate::shard::links::{Refuse, Remote};
use crate::shard::promise::{Promise, block_on};

/// Who [calls](crate::Address::call) a channel and waits for a `T`: a field of the channel's
/// [`Info`](crate::Channel::Info), to be answered when that is handled or any time later, from any
/// thread. As Phoenix's `from` of `handle_call`.
///
/// Dropped without a [`reply`](Self::reply), with the channel or by it, it tells the caller that there
/// will be none.
pub struct Caller<T>(Arc<State<T>>);

struct State<T> {
    promise: Promise<Result<T, CallError>>,
    /// The question found no room in the mailbox.
    was_full: AtomicBool,
    /// Nobody waits any more.
    is_over: AtomicBool,
}

impl<T> Caller<T> {
    /// Answers. If nobody waits any more the answer is dropped.
    pub fn reply(self, answer: T) {
        self.0.promise.keep(Ok(answer));
    }

    /// Whether somebody waits for an answer: the deadline is not over, and the future not dropped.
    pub fn is_waiting(&self) -> bool {
        !self.0.is_over.load(Ordering::Acquire)
    }
}

impl<T> Drop for Caller<T> {
    fn drop(&mut self) {
        let was_full = self.0.was_full.load(Ordering::Acquire);
        // If it was answered, this comes too late.
        self.0.promise.keep(Err(if was_full { CallError::Full } else { CallError::Gone }));
    }
}

impl<T> fmt::Debug for Caller<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("is_waiting", &self.is_waiting()).finish()
    }
}

impl<T: Send> Expire for State<T> {
    fn expire(&self) {
        self.is_over.store(true, Ordering::Release);
        self.promise.keep(Err(CallError::Timeout));
    }
}

impl<T: Send> Refuse for State<T> {
    fn note_full(&self) {
        self.was_full.store(true, Ordering::Release);
    }
}

/// An answer that a channel is to give; made by [`Address::call`](crate::Address::call).
///
/// A future that any executor can poll, on a shard or elsewhere; or [`wait`](Self::wait) for it. The
/// question is on its way already, whether it is waited for or not.
///
/// As a future it ends at its deadline or up to 50 ms later.
#[must_use = "the answer is lost unless it is waited for"]
pub struct Call<T: Send + 'static> {
    state: Arc<State<T>>,
    remote: Arc<Remote>,
    deadline: Instant,
    /// Somebody will tell when the time is over.
    told: Option<DeadlineId>,
}

impl<T: Send + 'static> Call<T> {
    /// Asks by `send`, which is given the question's ends: who is to be answered, and who is to be
    /// told if there is no room.
    pub(super) fn new(
        remote: &Arc<Remote>,
        patience: Duration,
        send: impl FnOnce(Caller<T>, Arc<dyn Refuse>) -> Result<(), AddressError>,
    ) -> Self {
        let state = Arc::new(State {
            promise: Promise::new(),
            was_full: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        });
        let deadline = Deadlines::after(patience);
        // What is wrong is told by the question, when it is dropped.
        let _ = send(Caller(state.clone()), state.clone());
        Self { state, remote: remote.clone(), deadline, told: None }
    }

    /// Blocks this thread until the answer is there.
    ///
    /// # Errors
    ///
    /// As for the future.
    ///
    /// # Panics
    ///
    /// On a shard's thread, so in a callback: there it would hold up all clients of the shard, and
    /// the channel that is to answer may be one of theirs. Await it instead.
    pub fn wait(self) -> Result<T, CallError> {
        assert!(!shard::is_here(), "a callback can't block: await the call instead");
        let answer = block_on(Some(self.deadline), |cx| self.state.promise.poll(cx));
        answer.unwrap_or(Err(CallError::Timeout))
    }
}

impl<T: Send + 'static> Future for Call<T> {
    type Output = Result<T, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(answer) = self.state.promise.poll(cx) {
            return Poll::Ready(answer);
        }
        if self.told.is_none() {
            let state: Weak<State<T>> = Arc::downgrade(&self.state);
            self.told = self.remote.deadlines.add(self.deadline, state);
            if self.told.is_none() {
                return Poll::Ready(Err(CallError::Gone));
            }
        }
        Poll::Pending
    }
}

impl<T: Send + 'static> Drop for Call<T> {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Release);
        if let Some(told) = self.told {
            self.remote.deadlines.remove(told);
        }
    }
}

impl<T: Send + 'static> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}

/// Why a [call](crate::Address::call) has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The channel's mailbox is full, or a queue on the way to its shard.
    #[error("the mailbox is full")]
    Full,
    /// The channel has ended, or has dropped the question without an answer; or the server has ended.
    #[error("the channel has ended, or will not answer")]
    Gone,
    /// The time is over.
    #[error("there was no answer in time")]
    Timeout,
}
