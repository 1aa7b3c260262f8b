//! Endings: how a connection goes, from the reason to the last byte.
//!
//! ```text
//!  no room ──────▶ Refuse ──asks, is told 503──▶ Shutdown
//!  the client closes ─────────────────────────▶ Close ───all written──▶ gone
//!  we close ─────▶ AwaitClose ──their Close──────┘                       ▲
//!  we gave up ───▶ Shutdown ──all written──▶ AwaitEnd ──their end────────┘
//! ```
//!
//! The steps are [`EndingStep`]'s. A deadline goes beside them, and past it the connection is gone
//! whatever it waits for.

use std::rc::Rc;

use crate::channel::Stop;
use crate::io::ConnectionId;
use crate::protocol::websocket::{self, CloseCode, Input, Message};
use crate::shard::connection::{Ending, EndingStep, Phase};
use crate::shard::{Core, Dead, Local};

impl Local {
    /// Waits for the client's Close; everything else that comes is no longer heard.
    pub(super) fn receive_ending(self: &Rc<Self>, id: ConnectionId, mut input: Input<'_>) {
        let step = loop {
            match input.next_message() {
                Ok(None) => break EndingStep::AwaitClose,
                Ok(Some(Message::Close(_))) => break EndingStep::Close,
                Err(_) => break EndingStep::Shutdown,
                Ok(Some(_)) => {}
            }
        };
        let partial = input.finish();
        let mut core = self.core.borrow_mut();
        if let Some(ending) = core.ending(id)
            && ending.step == EndingStep::AwaitClose
        {
            ending.step = step;
            if step != EndingStep::AwaitClose {
                core.ending.push(id);
            } else if let Some(partial) = partial {
                core.keep_partial(id, partial);
            }
        }
    }
}

impl Core {
    /// The client closes: its Close is answered, and then that was it.
    pub(super) fn answer_close(&mut self, id: ConnectionId, code: CloseCode) {
        self.write_bytes(id, |out| websocket::write_close(out, Some(code)));
        self.end_session(id, &Stop::Closed);
        self.begin_ending(id, EndingStep::Close);
    }

    /// Closes an open socket from our side.
    pub(crate) fn close_socket(&mut self, id: ConnectionId, code: CloseCode, reason: &Stop) {
        self.close_towards(id, code, reason, EndingStep::AwaitClose);
    }

    /// Closes an open socket whose frames can't be understood any more, its Close among them.
    ///
    /// What still comes is thrown away until the client ends its side too: were the connection
    /// closed with some of it unread, a reset could overtake our Close and say nothing of why.
    pub(super) fn fail_socket(&mut self, id: ConnectionId, code: CloseCode) {
        self.close_towards(id, code, &Stop::Closed, EndingStep::Shutdown);
    }

    fn close_towards(
        &mut self,
        id: ConnectionId,
        code: CloseCode,
        reason: &Stop,
        step: EndingStep,
    ) {
        if self.connections.session(id).is_none() {
            return;
        }
        // What was broadcast before comes before the Close.
        self.catch_up_socket(id);
        self.write_bytes(id, |out| websocket::write_close(out, Some(code)));
        self.end_session(id, reason);
        self.begin_ending(id, step);
    }

    /// Drops a connection without a word: it is broken, owes too much, or has had its time.
    pub(crate) fn close_now(&mut self, id: ConnectionId) {
        self.end_session(id, &Stop::Closed);
        if let Some(connection) = self.connections.remove(id) {
            self.dismiss(&connection);
            self.unfinished.remove(&connection.phase);
            self.dead.push(Dead::Phase(connection.phase));
            self.closed.push(id);
        }
    }

    /// Nothing more will come from this connection.
    pub(crate) fn ended(&mut self, id: ConnectionId) {
        // A half-closed client still reads what is under way, but it can neither answer a Close nor
        // send a heartbeat: what is queued goes out, and that was it.
        self.end_session(id, &Stop::Closed);
        let Some(connection) = self.connections.find(id) else { return };
        match &connection.phase {
            // No socket can come of it, so nobody need wait for `connect`.
            Phase::Connecting(_) | Phase::Empty => self.close_now(id),
            Phase::Open(_) => unreachable!("its session has just ended"),
            // The answer to its last request may still be queued.
            Phase::Head(_) | Phase::Ending(_) => self.begin_ending(id, EndingStep::Close),
        }
    }

    /// Ends a socket's channels and subscriptions. The connection stays, on its way out.
    fn end_session(&mut self, id: ConnectionId, reason: &Stop) {
        let deadline = self.close_deadline();
        let Some(session) = self.connections.session(id) else { return };
        let channels = std::mem::take(&mut session.channels);
        let subscription = session.id.take();
        let partial = self.take_partial(id);
        let step = EndingStep::Close;
        let ending = Ending { step, deadline, partial, was_refused: false };
        self.put(id, Phase::Ending(Box::new(ending)));
        if let Some((topic, position)) = subscription {
            self.remove_subscriber(topic, position);
            self.topics.release(topic);
        }
        for (_, process) in channels {
            // Nothing is told to the client; subscriptions end at once, so that no broadcast is
            // spent on a connection that is gone.
            self.desert_topics(process);
            self.end_process(process, reason.clone());
        }
        self.counters.disconnected += 1;
    }

    pub(crate) fn begin_ending(&mut self, id: ConnectionId, step: EndingStep) {
        let (now, deadline) = (self.seconds(), self.close_deadline());
        if self.connections.find(id).is_none() {
            return;
        }
        if step != EndingStep::AwaitClose {
            // Nothing that comes is looked at any more.
            self.take_partial(id);
        }
        if let Some(ending) = self.ending(id) {
            (ending.step, ending.deadline) = (step, deadline);
        } else {
            let ending = Ending { step, deadline, partial: None, was_refused: false };
            self.put(id, Phase::Ending(Box::new(ending)));
        }
        self.deadlines.insert(id, now, deadline);
        self.ending.push(id);
    }

    fn ending(&mut self, id: ConnectionId) -> Option<&mut Ending> {
        match &mut self.connections.find(id)?.phase {
            Phase::Ending(ending) => Some(ending),
            _ => None,
        }
    }

    /// After a flush: those connections on their way out that have nothing left to write go on.
    pub(crate) fn advance_endings(&mut self) {
        for id in std::mem::take(&mut self.ending) {
            let Some(connection) = self.connections.find(id) else { continue };
            let is_drained = connection.outbox.is_drained();
            let Phase::Ending(ending) = &mut connection.phase else { continue };
            match ending.step {
                EndingStep::Refuse | EndingStep::AwaitClose | EndingStep::AwaitEnd => {}
                // The socket takes more, but not in one write: on with it next turn.
                _ if connection.outbox.goes_on() => self.ending.push(id),
                // Looked at again when it is writable; or its deadline comes.
                _ if !is_drained => {}
                EndingStep::Close => self.close_now(id),
                EndingStep::Shutdown => {
                    ending.step = EndingStep::AwaitEnd;
                    self.shut_down.push(id);
                }
            }
        }
    }
}
