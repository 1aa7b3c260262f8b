//! What a channel's callbacks can do.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{Address, Channel, Handle, Sleep, SocketRef};
use crate::message::{
    BroadcastError, IntoPayload, PayloadError, ProcessId, Stop, Topic, TransportName,
};
use crate::protocol::phoenix::{EncodeError, RefBuf};
use crate::protocol::websocket::{CloseCode, MAX_CLOSE_REASON};
use crate::shard::Desk;
use crate::shard::blocking::BlockingError;
use crate::shard::channels::SocketValue;
use crate::socket::SocketHandler;
use crate::telemetry::{Event, Unexpected};

/// What a callback can do: push, broadcast, wait, stop, and see its socket and application.
pub struct Context<'a, C: Channel> {
    pub(crate) env: &'a Env<C>,
    /// The client's message being handled; null outside [`Channel::handle_in`].
    pub(crate) message_ref: RefBuf,
    pub(crate) stop: Option<Stop>,
    /// By what the socket is to be closed.
    pub(crate) close: Option<Box<(CloseCode, String)>>,
    pub(crate) joined: bool,
}

impl<'a, C: Channel> Context<'a, C> {
    /// The channel's topic.
    pub fn topic(&self) -> &'a Topic {
        &self.env.topic
    }

    /// The socket handler's value: what `connect` made, shared by all channels of the connection.
    pub fn socket(&self) -> &'a C::Socket {
        &self.env.socket.value
    }

    /// The application's own state, as given to [`Endpoint::builder`](crate::Endpoint::builder).
    pub fn app(&self) -> &'a <C::Socket as SocketHandler>::App {
        &self.env.route.app
    }

    /// The value that the route carries, if it was given one of this type
    /// ([`channel_with`](crate::Mount::channel_with)).
    pub fn route_value<T: Any>(&self) -> Option<&'a T> {
        self.env.route.value.as_ref().and_then(|value| value.downcast_ref())
    }

    /// Sends an event to this client.
    ///
    /// # Errors
    ///
    /// In [`join`](Channel::join), which is not yet joined; when the payload is neither a JSON
    /// object nor binary; when it is binary and the client speaks V1, or a name is too long for a
    /// binary frame (255 bytes).
    pub fn push(&self, event: &str, payload: impl IntoPayload) -> Result<(), SendError> {
        self.require_joined()?;
        let payload = payload.into_payload()?;
        self.desk().push(self.env.process, event, &payload)?;
        Ok(())
    }

    /// Sends an event to every subscriber of the channel's topic, this client included.
    ///
    /// # Errors
    ///
    /// In [`join`](Channel::join), when the payload can't be made into JSON, and those of
    /// [`BroadcastError`]: [`Encode`](BroadcastError::Encode) when it can't be encoded for some
    /// subscribers of this shard, [`Overloaded`](BroadcastError::Overloaded) when another shard's queue is full, though all
    /// others have been served, and [`Backlog`](BroadcastError::Backlog) when nobody was.
    pub fn broadcast(&self, event: &str, payload: impl IntoPayload) -> Result<(), SendError> {
        self.broadcast_to(event, payload, true)
    }

    /// Like [`broadcast`](Self::broadcast), but not to this channel.
    ///
    /// # Errors
    ///
    /// As for [`broadcast`](Self::broadcast).
    pub fn broadcast_from(&self, event: &str, payload: impl IntoPayload) -> Result<(), SendError> {
        self.broadcast_to(event, payload, false)
    }

    fn broadcast_to(
        &self,
        event: &str,
        payload: impl IntoPayload,
        is_for_itself: bool,
    ) -> Result<(), SendError> {
        self.require_joined()?;
        let (payload, maker) = (payload.into_payload()?, (self.env.process, is_for_itself));
        self.desk().broadcast(maker, &self.env.topic, event, payload)?;
        Ok(())
    }

    /// Sends an event to every subscriber of any topic: Phoenix's `Endpoint.broadcast`. Also in
    /// [`join`](Channel::join).
    ///
    /// # Errors
    ///
    /// As for [`broadcast`](Self::broadcast).
    pub fn broadcast_on(
        &self,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<(), SendError> {
        self.desk().broadcast_checked(self.env.process, topic, event, payload.into_payload()?)?;
        Ok(())
    }

    /// Tells that something has come that no callback is for.
    pub(super) fn tell_unexpected(&self, what: Unexpected<'_>) {
        self.desk().tell(self.env.process, Event::Unexpected { what });
    }

    /// Captures the message being handled, to answer it later, from here or from any thread.
    ///
    /// # Errors
    ///
    /// Outside [`handle_in`](Channel::handle_in), and for a message whose `ref` was null: as in
    /// Phoenix there is nothing to answer to.
    pub fn reply_later(&self) -> Result<SocketRef, SendError> {
        self.require_joined()?;
        if self.message_ref.is_null() {
            return Err(SendError::NoRef);
        }
        let question = self.desk().capture(self.env.process, self.message_ref.clone());
        Ok(SocketRef::new(self.desk().remote().clone(), question))
    }

    /// This channel's address, for timers, threads and other channels to send it
    /// [`Info`](Channel::Info).
    pub fn address(&self) -> Address<C> {
        Address::new(self.desk().remote().clone(), self.env.process)
    }

    /// The endpoint's handle, for what is not this channel's alone; it may be kept and handed to
    /// other threads.
    pub fn handle(&self) -> Handle {
        Handle::new(self.desk().shared().clone())
    }

    /// The `ref` of the client's message being handled: what a string says, or the JSON of any other
    /// value. None outside [`handle_in`](Channel::handle_in) and
    /// [`handle_unknown`](Channel::handle_unknown), and for a message whose `ref` is null.
    pub fn message_ref(&self) -> Option<String> {
        self.message_ref.as_ref().to_text()
    }

    /// The `join_ref` that this channel's replies and pushes carry, likewise: that of its join, or
    /// the join's `ref` where it had none, as in Phoenix.
    pub fn join_ref(&self) -> Option<String> {
        self.desk().join_ref(self.env.process).as_ref().to_text()
    }

    /// What carries this client's messages.
    pub fn transport(&self) -> TransportName {
        TransportName::WebSocket
    }

    /// The socket's id, which [`SocketHandler::id`] gave it when it was opened. Once its connection
    /// is gone, in [`terminate`](Channel::terminate), what it would give now.
    pub fn socket_id(&self) -> Option<String> {
        match self.desk().socket_id(self.env.process) {
            Some(id) => id.map(|id| id.to_string()),
            None => self.socket().id(),
        }
    }

    /// Closes this client's socket, with all its channels, when the callback returns; a reply that it
    /// returns goes out first. Each channel terminates with [`Stop::Closed`].
    ///
    /// The code is one that a server may send (RFC 6455 §7.4): 1000 to 1003, 1007 to 1009, 1011 to
    /// 1014, or 3000 to 4999, which are for applications. phoenix.js up to 1.8 stays closed after
    /// 1000 and reconnects after any other, to join its channels again; other versions and clients
    /// reconnect after 1000 too. To keep a client out, refuse it in
    /// [`connect`](SocketHandler::connect).
    ///
    /// # Errors
    ///
    /// [`SendError::Close`] if the code is none of these, or the reason longer than 123 bytes.
    pub fn close_socket(&mut self, code: u16, reason: &str) -> Result<(), SendError> {
        let wrong = |why: String| Err(SendError::Close(why));
        let Some(code) = CloseCode::of_a_server(code) else {
            return wrong(format!("{code} is no code that a server may close with"));
        };
        if reason.len() > MAX_CLOSE_REASON {
            return wrong(format!("a close's reason has at most {MAX_CLOSE_REASON} bytes"));
        }
        self.close = Some(Box::new((code, reason.to_owned())));
        Ok(())
    }

    /// Ends the channel when the callback returns; a reply that it returns goes out first.
    pub fn stop(&mut self, reason: Stop) {
        self.stop = Some(reason);
    }

    /// Sends this channel an [`Info`](Channel::Info) after `delay`, measured from the beginning of
    /// the shard's turn; it is lost with the channel.
    pub fn send_after(&self, delay: Duration, info: C::Info) {
        self.desk().send_after(self.env.process, delay, Box::new(info));
    }

    /// Sends this channel an [`Info`](Channel::Info) every `period` (at least 1 ms) until it ends.
    pub fn interval(&self, period: Duration, info: C::Info)
    where
        C::Info: Clone,
    {
        let make = move || Box::new(info.clone()) as Box<dyn Any + Send>;
        self.desk().send_every(self.env.process, period, Rc::new(make));
    }

    /// Waits. Other channels, this client's too, go on meanwhile; this one's messages wait.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(self.desk().clone(), duration)
    }

    /// Runs `work` on a thread of the blocking pool and waits for its result, as
    /// [`sleep`](Self::sleep) waits. Work that has begun is not interrupted when the channel ends;
    /// its result is dropped.
    ///
    /// # Errors
    ///
    /// The future's: [`BlockingError::Full`] when
    /// [`max_blocking_queue`](crate::Limits::max_blocking_queue) works wait already,
    /// [`BlockingError::Panicked`] when `work` did, [`BlockingError::NoThread`] when the system has
    /// no thread for it.
    ///
    /// # Example
    ///
    /// ```
    /// use simurgh::prelude::*;
    ///
    /// async fn greeting<C: Channel>(cx: &Context<'_, C>) -> Result<Payload, Crash> {
    ///     let text = cx.blocking(|| std::fs::read("greeting.json")).await??;
    ///     Ok(Payload::from_json_text(text)?)
    /// }
    /// ```
    pub fn blocking<T, W>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, BlockingError>> + use<C, T, W>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        self.desk().blocking(work)
    }

    /// Subscribes the channel to another topic: its broadcasts come to
    /// [`handle_broadcast`](Channel::handle_broadcast). Twice means each comes twice, as in Phoenix.
    pub fn subscribe(&self, topic: &str) {
        self.desk().subscribe(self.env.process, topic);
    }

    /// Ends all of the channel's subscriptions to that topic.
    pub fn unsubscribe(&self, topic: &str) {
        self.desk().unsubscribe(self.env.process, topic);
    }

    pub(crate) fn desk(&self) -> &'a Desk {
        &self.env.route.desk
    }

    fn require_joined(&self) -> Result<(), SendError> {
        if self.joined { Ok(()) } else { Err(SendError::NotJoined) }
    }
}

/// What every callback of a process needs: it travels with the state.
pub(crate) struct Env<C: Channel> {
    pub(crate) route: Rc<RouteShared<C>>,
    pub(crate) process: ProcessId,
    pub(crate) socket: Rc<SocketValue<C::Socket>>,
    pub(crate) topic: Topic,
}

/// What the processes of a route share on this shard.
pub(crate) struct RouteShared<C: Channel> {
    pub(crate) desk: Desk,
    pub(crate) app: Arc<<C::Socket as SocketHandler>::App>,
    pub(crate) value: Option<Arc<dyn Any + Send + Sync>>,
}

impl<C: Channel> fmt::Debug for Context<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("topic", &self.env.topic).finish_non_exhaustive()
    }
}

/// Why a push, broadcast or reply was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Nothing can be sent before `join` has returned.
    #[error("the channel is not joined yet: nothing can be sent in join")]
    NotJoined,
    /// There is no message to answer.
    #[error("no message with a ref is being handled")]
    NoRef,
    /// The payload can't be made into JSON.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The message can't be encoded for this client.
    #[error("{0}")]
    Encode(String),
    /// A socket can't be closed so.
    #[error("{0}")]
    Close(String),
    /// The broadcast did not reach everyone.
    #[error(transparent)]
    Broadcast(#[from] BroadcastError),
}

impl From<EncodeError> for SendError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error.to_string())
    }
}
