//! The desk: what the application's code may ask of the shard that it runs on.

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::blocking::{Blocking, Pool};
use super::channels::{MakeInfo, Mount, Question, TimerId};
use super::links::{MountNames, Remote, Shared};
use super::local::Local;
use crate::config::Limits;
use crate::message::{Broadcast, BroadcastError, Payload, ProcessId};
use crate::protocol::phoenix::{EncodeError, RefBuf};
use crate::protocol::websocket::CloseCode;
use crate::telemetry::Event;

/// A shard, as the code of the application that runs on it reaches it: the only way in from above,
/// on the shard's own thread.
///
/// The shard's tables are borrowed for each call and let go of before it returns, so that whatever
/// the application does next may call again.
#[derive(Clone)]
pub(crate) struct Desk(Rc<Local>);

impl Desk {
    pub(super) fn new(local: &Rc<Local>) -> Self {
        Self(local.clone())
    }

    /// Sends an event to a process' client.
    pub(crate) fn push(
        &self,
        process: ProcessId,
        event: &str,
        payload: &Payload,
    ) -> Result<(), EncodeError> {
        self.0.core.borrow_mut().hub.push(process, event, payload)
    }

    /// Answers the message with this ref that a process' client has sent.
    #[inline]
    pub(crate) fn reply(
        &self,
        process: ProcessId,
        message_ref: &RefBuf,
        status: &str,
        response: &Payload,
    ) -> Result<(), EncodeError> {
        self.0.core.borrow_mut().hub.reply(process, message_ref, status, response)
    }

    /// Sends an event of a process to every subscriber of a topic, and to itself if it is for itself
    /// too.
    pub(crate) fn broadcast(
        &self,
        (process, is_for_itself): (ProcessId, bool),
        topic: &str,
        event: &str,
        payload: Payload,
    ) -> Result<(), BroadcastError> {
        let hub = &mut self.0.core.borrow_mut().hub;
        let maker = hub.global(process);
        hub.broadcast(&Broadcast::by(maker, is_for_itself, topic, event, payload))
    }

    /// The same for a topic that may have no subscriber here: that it can be encoded is found out
    /// first.
    pub(crate) fn broadcast_checked(
        &self,
        process: ProcessId,
        topic: &str,
        event: &str,
        payload: Payload,
    ) -> Result<(), BroadcastError> {
        let hub = &mut self.0.core.borrow_mut().hub;
        let broadcast = Broadcast::by(hub.global(process), true, topic, event, payload);
        broadcast.check()?;
        hub.broadcast(&broadcast)
    }

    /// Tells of something that has happened to a process.
    pub(crate) fn tell(&self, process: ProcessId, event: Event<'_>) {
        let hub = &self.0.core.borrow().hub;
        hub.telemetry.tell_of(&hub.who_of(process), event);
    }

    /// Captures the client's message that a process handles, to be answered later.
    pub(crate) fn capture(&self, process: ProcessId, message_ref: RefBuf) -> Question {
        self.0.core.borrow_mut().hub.capture(process, message_ref)
    }

    /// Has a process sent something when a time has passed.
    pub(crate) fn send_after(
        &self,
        process: ProcessId,
        delay: Duration,
        info: Box<dyn Any + Send>,
    ) {
        self.0.core.borrow_mut().hub.send_after(process, delay, info);
    }

    /// Has a process sent something again and again.
    pub(crate) fn send_every(&self, process: ProcessId, period: Duration, make: MakeInfo) {
        self.0.core.borrow_mut().hub.send_every(process, period, make);
    }

    /// Subscribes a process to a topic besides its own.
    pub(crate) fn subscribe(&self, process: ProcessId, topic: &str) {
        self.0.core.borrow_mut().hub.subscribe(process, topic);
    }

    /// Ends all subscriptions of a process to that topic.
    pub(crate) fn unsubscribe(&self, process: ProcessId, topic: &str) {
        self.0.core.borrow_mut().hub.unsubscribe(process, topic);
    }

    /// Has a future woken when a time has passed.
    pub(crate) fn set_alarm(&self, delay: Duration, waker: &Waker) -> TimerId {
        // The waker may be a runtime's own, and its code is not to run while the tables are borrowed.
        let waker = waker.clone();
        self.0.core.borrow_mut().hub.set_alarm(delay, waker)
    }

    /// Has another waker be rung; false when the timer was due already.
    pub(crate) fn reset_alarm(&self, timer: TimerId, waker: &Waker) -> bool {
        self.0.core.borrow_mut().hub.reset_alarm(timer, waker)
    }

    /// Nobody waits for the timer any more.
    pub(crate) fn cancel_alarm(&self, timer: TimerId) {
        // Not while the shard itself is at work on its tables: then the timer is due once for
        // nobody, which costs a look.
        if let Ok(mut core) = self.0.core.try_borrow_mut() {
            let cancelled = core.hub.cancel_alarm(timer);
            drop(core);
            drop(cancelled);
        }
    }

    /// Runs work on the pool of threads that is there for it.
    pub(crate) fn blocking<T, W>(&self, work: W) -> Blocking<T>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        let pool: &Pool = &self.0.shared.blocking;
        let blocking = Blocking::new(pool, work);
        if blocking.was_refused() {
            self.0.core.borrow().hub.telemetry.tell(Event::Overloaded);
        }
        blocking
    }

    /// Has a process' socket closed at the end of the turn.
    pub(crate) fn close_socket(&self, process: ProcessId, code: CloseCode, reason: String) {
        self.0.core.borrow_mut().hub.close_socket(process, code, reason);
    }

    /// The id of a process' socket, if that is still open.
    pub(crate) fn socket_id(&self, process: ProcessId) -> Option<Option<Rc<str>>> {
        self.0.core.borrow_mut().hub.socket_id(process)
    }

    /// The `join_ref` of what a process sends.
    pub(crate) fn join_ref(&self, process: ProcessId) -> RefBuf {
        self.0.core.borrow_mut().hub.join_ref(process)
    }

    /// What all shards of the endpoint share.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// The shard as other threads reach it.
    pub(crate) fn remote(&self) -> &Arc<Remote> {
        self.0.remote()
    }
}

/// What the builder knows of a mount, to be made anew on each shard.
pub(crate) trait Blueprint: Send + Sync {
    /// The limits of its sockets: the endpoint's, and in their place what it says itself.
    fn limits(&self, endpoint: &Limits) -> Limits;

    fn build(&self, desk: &Desk, limits: &Limits) -> Mount;

    /// What its types are called.
    fn names(&self) -> MountNames;
}
