//! What reaches a channel or its client from elsewhere: an [`Address`] to send a channel something,
//! a [`SocketRef`] to answer a client's message later.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::{Call, Caller, Channel};
use crate::message::{AddressError, IntoPayload, ProcessId, ReplyError};
use crate::shard;
use crate::shard::channels::Question;
use crate::shard::links::{Info, Refuse, Remote};

#[cfg(doc)]
use super::CallError;

/// A client's message that is answered later. Answers any number of times, from any thread, for as
/// long as the connection lives, even after the channel has ended.
///
/// Made by [`reply_later`](crate::Context::reply_later). A client takes one reply and gives up waiting
/// after its own time-out, 10 s for Phoenix's.
///
/// # Example
///
/// ```
/// use simurgh::prelude::*;
///
/// fn answer_later<C: Channel>(cx: &Context<'_, C>) -> Result<Reply, Crash> {
///     let question = cx.reply_later()?;
///     std::thread::spawn(move || question.ok(serde_json::json!({ "answer": 42 })));
///     Ok(Reply::none())
/// }
/// ```
#[derive(Clone)]
pub struct SocketRef {
    remote: Arc<Remote>,
    question: Arc<Question>,
}

impl SocketRef {
    pub(crate) fn new(remote: Arc<Remote>, question: Question) -> Self {
        Self { remote, question: Arc::new(question) }
    }

    /// Answers with status `ok`.
    ///
    /// # Errors
    ///
    /// As for [`reply`](Self::reply).
    pub fn ok(&self, response: impl IntoPayload) -> Result<(), ReplyError> {
        self.reply("ok", response)
    }

    /// Answers with status `error`.
    ///
    /// # Errors
    ///
    /// As for [`reply`](Self::reply).
    pub fn error(&self, response: impl IntoPayload) -> Result<(), ReplyError> {
        self.reply("error", response)
    }

    /// Answers with a status of the application's own.
    ///
    /// # Errors
    ///
    /// When the answer can't be encoded for this client, or a queue on the way to its shard is full or
    /// closed. That the connection is gone is no error: nobody is left to be told.
    pub fn reply(&self, status: &str, response: impl IntoPayload) -> Result<(), ReplyError> {
        shard::answer(&self.remote, &self.question, status, &response.into_payload()?)
    }
}

impl fmt::Debug for SocketRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketRef").field("topic", &self.question.topic).finish_non_exhaustive()
    }
}

/// Where a channel can be reached from any thread.
///
/// An address is void when its channel has ended: it never reaches another one.
///
/// # Example
///
/// ```
/// use simurgh::{Address, AddressError, Channel};
///
/// /// Tells those that can hear it, and forgets those that have ended.
/// fn tell<C: Channel<Info = u64>>(watchers: &mut Vec<Address<C>>, price: u64) {
///     watchers.retain(|channel| channel.send(price) != Err(AddressError::Gone));
/// }
/// ```
pub struct Address<C: Channel> {
    pub(crate) remote: Arc<Remote>,
    pub(crate) process: ProcessId,
    info: PhantomData<fn(C::Info)>,
}

impl<C: Channel> Address<C> {
    pub(crate) fn new(remote: Arc<Remote>, process: ProcessId) -> Self {
        Self { remote, process, info: PhantomData }
    }

    /// Sends to the channel's [`handle_info`](Channel::handle_info).
    ///
    /// From a thread that is not the channel's shard, `Ok` means that it is on its way.
    ///
    /// # Errors
    ///
    /// [`Full`](AddressError::Full) when the channel's mailbox is, or a queue on the way to its shard;
    /// [`Gone`](AddressError::Gone) when the channel has ended (as far as can be known from here)
    /// or the server has.
    pub fn send(&self, info: C::Info) -> Result<(), AddressError> {
        self.send_for(info, None)
    }

    /// Asks the channel something, and waits for its answer so long at most: 5 s is what others wait
    /// by default. `make` puts the [`Caller`], who is to be answered, into the channel's
    /// [`Info`](Channel::Info); a variant of it will do.
    ///
    /// From any thread or task. The answer is a future that needs no runtime, or
    /// [`wait`](Call::wait) for it. In a channel's own callback its own answer can't come: it is busy.
    ///
    /// # Errors
    ///
    /// The future's: [`Full`](CallError::Full) and [`Gone`](CallError::Gone) as of
    /// [`send`](Self::send), also when they come to light later, or when the question is dropped
    /// unanswered; [`Timeout`](CallError::Timeout) when the time is over.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use simurgh::{Address, CallError, Caller, Channel};
    ///
    /// /// What a room is asked. Its `handle_info` does
    /// /// `Info::Members(caller) => caller.reply(self.members.len())`.
    /// enum Info {
    ///     Members(Caller<usize>),
    ///     Kick { user: u64, caller: Caller<bool> },
    /// }
    ///
    /// async fn ask<C: Channel<Info = Info>>(room: &Address<C>) -> Result<(), CallError> {
    ///     let members = room.call(Info::Members, Duration::from_secs(1)).await?;
    ///     let kick = |caller| Info::Kick { user: 7, caller };
    ///     println!("{members} members, {}", room.call(kick, Duration::from_secs(1)).await?);
    ///     Ok(())
    /// }
    /// ```
    pub fn call<T: Send + 'static>(
        &self,
        make: impl FnOnce(Caller<T>) -> C::Info,
        patience: Duration,
    ) -> Call<T> {
        Call::new(&self.remote, patience, |caller, call| self.send_for(make(caller), Some(call)))
    }

    fn send_for(&self, info: C::Info, call: Option<Arc<dyn Refuse>>) -> Result<(), AddressError> {
        let info = Info { process: self.process, info: Box::new(info), call };
        shard::send_info(&self.remote, info)
    }
}

impl<C: Channel> Clone for Address<C> {
    fn clone(&self) -> Self {
        Self::new(self.remote.clone(), self.process)
    }
}

impl<C: Channel> fmt::Debug for Address<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({:?})", self.process)
    }
}
