//! Calls: what a callback asks of its shard, and what reaches a process from elsewhere.

use std::rc::Rc;

use super::hub::{Hub, Remains};
use super::mailbox::Mail;
use super::process::Status;
use crate::message::{
    AddressError, Broadcast, BroadcastError, Encoding, EndReason, GlobalProcessId, LineId, Payload,
    ProcessId, Stop,
};
use crate::protocol::phoenix::{EncodeError, Ref, RefBuf};
use crate::protocol::websocket::CloseCode;
use crate::shard::links::{GapInbox, Info, LateFrame, Parcel, Unencoded};
use crate::shard::topics::{Kind, Subscriber};
use crate::telemetry::Event;

/// A client's message that is answered later: whom, and as what.
pub(crate) struct Question {
    pub(crate) process: ProcessId,
    pub(crate) line: LineId,
    pub(crate) encoding: Encoding,
    pub(crate) topic: Box<str>,
    pub(crate) join_ref: RefBuf,
    pub(crate) message_ref: RefBuf,
}

impl Hub {
    pub(crate) fn push(
        &mut self,
        id: ProcessId,
        event: &str,
        payload: &Payload,
    ) -> Result<(), EncodeError> {
        self.speak(id, |encoding, out, join_ref, topic| {
            encoding.push(out, (join_ref, Ref::NULL), topic, event, payload)
        })
    }

    #[inline]
    pub(crate) fn reply(
        &mut self,
        id: ProcessId,
        message_ref: &RefBuf,
        status: &str,
        response: &Payload,
    ) -> Result<(), EncodeError> {
        self.speak(id, |encoding, out, join_ref, topic| {
            let refs = (join_ref, message_ref.as_ref());
            encoding.reply(out, refs, topic.into(), status, response)
        })
    }

    /// Queues a frame of a process for its client, behind what was broadcast to it before. `encode`
    /// is told the process' `join_ref` and its topic.
    #[inline]
    fn speak(
        &mut self,
        id: ProcessId,
        encode: impl FnOnce(Encoding, &mut Vec<u8>, Ref<'_>, &str) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.catch_up_process(id);
        let Self { channels, topics, lines, .. } = self;
        let Some(process) = channels.processes.find(id) else { return Ok(()) };
        let (line, topic) = (process.line, topics.name(process.topic));
        let room = lines
            .write(line, |encoding, out| encode(encoding, out, process.join_ref.as_ref(), topic))?;
        self.see_to(line, room);
        Ok(())
    }

    /// Has a process' socket closed, when nobody stands on it.
    pub(crate) fn close_socket(&mut self, id: ProcessId, code: CloseCode, reason: String) {
        if let Some(process) = self.channels.processes.find(id) {
            self.chores.end(process.line, EndReason::Asked { code, reason });
        }
    }

    /// The id of a process' socket; `None` if that is not open any more.
    pub(crate) fn socket_id(&mut self, id: ProcessId) -> Option<Option<Rc<str>>> {
        let Self { channels, topics, .. } = self;
        let process = channels.processes.find(id)?;
        let session = channels.sessions.find(process.session, process.line)?;
        Some(session.id.map(|(topic, _)| topics.name(topic).clone()))
    }

    /// The `join_ref` that a process' replies and pushes carry.
    pub(crate) fn join_ref(&mut self, id: ProcessId) -> RefBuf {
        self.channels.processes.find(id).map(|process| process.join_ref.clone()).unwrap_or_default()
    }

    /// Captures a client's message, to be answered later.
    pub(crate) fn capture(&mut self, id: ProcessId, message_ref: RefBuf) -> Question {
        let process = self.channels.processes.known(id);
        Question {
            process: id,
            line: process.line,
            // A client who has gone since the callback began to wait is answered in vain.
            encoding: self.lines.encoding(process.line).unwrap_or(Encoding::V2),
            topic: (&**self.topics.name(process.topic)).into(),
            join_ref: process.join_ref.clone(),
            message_ref,
        }
    }

    /// Queues a process' late reply for its client, if that is still there.
    pub(crate) fn send_late(&mut self, reply: LateFrame) {
        let LateFrame { process, line, frame } = reply;
        self.catch_up_process(process);
        let room = self.lines.push(line, Rc::new(frame));
        self.see_to(line, room);
    }

    /// Puts an application's message into a mailbox that has room for it.
    pub(crate) fn deliver(&mut self, id: ProcessId, mail: Mail) -> Result<(), AddressError> {
        self.catch_up_process(id);
        let max = self.channels.bounds.mailbox.max_mail;
        let refusal = match self.channels.processes.find(id) {
            Some(process) if process.is_ending() => AddressError::Gone,
            Some(process) if process.mailbox.len() >= max => AddressError::Full,
            Some(_) => {
                self.channels.mail(id, mail);
                return Ok(());
            }
            None => AddressError::Gone,
        };
        self.channels.dead.push(Remains::Mail(mail));
        Err(refusal)
    }

    /// The same, for what an address sends.
    pub(crate) fn send_info(&mut self, info: Info) -> Result<(), AddressError> {
        let Info { process, info, call } = info;
        self.deliver(process, Mail::Info(info)).inspect_err(|refusal| {
            if let (AddressError::Full, Some(call)) = (refusal, call) {
                call.note_full();
            }
        })
    }

    pub(crate) fn subscribe(&mut self, id: ProcessId, topic: &str) {
        let Self { channels, topics, .. } = self;
        let Some(process) = channels.processes.find(id) else { return };
        let subscriber = Subscriber {
            line: process.line,
            process: id.index,
            mount: process.mount,
            route: process.route,
            kind: Kind::Plain,
            // It gets the message itself.
            encoding: Encoding::V2,
        };
        let index = topics.hold(topic);
        let seat = (index, topics.subscribe(index, subscriber));
        process.rare().subscriptions.push(seat);
    }

    pub(crate) fn unsubscribe(&mut self, id: ProcessId, topic: &str) {
        self.catch_up_process(id);
        let Some(index) = self.topics.find(topic) else { return };
        while let Some(process) = self.channels.processes.find(id)
            && let Some(rare) = process.rare.as_mut()
            && let Some(place) = rare.subscriptions.iter().position(|(held, _)| *held == index)
        {
            let seat = rare.subscriptions.swap_remove(place);
            self.stand_up(seat);
            self.topics.release(index);
        }
    }

    /// Sends a broadcast to everyone: this shard's subscribers, then the other shards'.
    ///
    /// # Errors
    ///
    /// When it could not be encoded for somebody here, or the queue to another shard was full; all
    /// others get it. Or when too much is on its way here, or too much was made in this turn; then it
    /// goes nowhere else.
    pub(crate) fn broadcast(&mut self, broadcast: &Broadcast) -> Result<(), BroadcastError> {
        if let Err(error) = self.spent.admit(broadcast, self.channels.bounds.turn) {
            self.telemetry.tell(Event::Overloaded);
            return Err(error);
        }
        let from = self.local_process(broadcast.from());
        let (topics, mut crowd) = self.split();
        let dispatched = topics.dispatch(broadcast, from, &mut crowd);
        if dispatched == Err(BroadcastError::Backlog) {
            return dispatched;
        }
        let forwarded = match &dispatched {
            Ok(()) => self.links.forward(broadcast),
            // Its maker is told here, and need not be told again.
            Err(_) => self.links.forward(&broadcast.unsigned()),
        };
        self.feel(broadcast);
        dispatched.and(forwarded)
    }

    /// Takes what came from another shard or another thread. Gives back what is not for the channels.
    pub(crate) fn receive(&mut self, parcel: Parcel) -> Option<Parcel> {
        match parcel {
            Parcel::Broadcast(broadcast) => {
                let from = self.local_process(broadcast.from());
                let (topics, mut crowd) = self.split();
                let received = topics.receive(&broadcast, from, &mut crowd);
                if let (Err(error), Some(maker)) = (received, broadcast.maker()) {
                    self.tell_maker(maker, error.to_string());
                }
            }
            Parcel::Unencoded(unencoded) => {
                let Unencoded { process, error } = *unencoded;
                let found = self.channels.processes.find(process);
                if found.is_some_and(|process| process.status == Status::Joined) {
                    self.channels.end_joined(process, Stop::Error(error), self.clock.now());
                }
            }
            Parcel::Info(info) => {
                if self.send_info(*info).is_err() {
                    self.telemetry.tell(Event::Overloaded);
                }
            }
            Parcel::Reply(reply) => self.send_late(*reply),
            #[cfg(feature = "testing")]
            other @ Parcel::Holdings(_) => return Some(other),
        }
        None
    }

    /// Tells the maker of a broadcast that somebody here can't be sent it. On its own shard it would
    /// have been the broadcast's error, which ends a channel that does nothing about it; from here it
    /// always does.
    #[cold]
    fn tell_maker(&mut self, maker: GlobalProcessId, error: String) {
        let unencoded = Unencoded { process: maker.process, error };
        let shard = maker.shard as usize;
        if shard != self.links.remote().shard {
            // Should there be no room: it was logged here.
            drop(self.links.send(shard, Parcel::Unencoded(Box::new(unencoded))));
        }
    }

    /// Tells the channels that missed something.
    pub(crate) fn take_gaps(&mut self, gaps: &GapInbox) {
        let (topics, mut crowd) = self.split();
        topics.take_gaps(gaps, &mut crowd);
    }

    /// Goes on with what is on its way to big topics.
    #[inline]
    pub(crate) fn serve_slices(&mut self) {
        if self.topics.has_more() {
            let (topics, mut crowd) = self.split();
            topics.serve_slices(&mut crowd);
        }
    }

    /// A process of this shard, as others know it.
    pub(crate) fn global(&self, process: ProcessId) -> GlobalProcessId {
        GlobalProcessId { shard: self.links.remote().shard as u32, process }
    }

    /// The sender, if he is of this shard. Not if he has ended: whoever has his place in the table
    /// now made nothing, and gets what others get.
    fn local_process(&mut self, id: Option<GlobalProcessId>) -> Option<ProcessId> {
        let id = id.filter(|id| id.shard as usize == self.links.remote().shard)?.process;
        self.channels.processes.find(id).map(|_| id)
    }
}
