//! Routing: an accepted socket, and which of its channels a message is for.
//!
//! This is the state machine of Phoenix' socket process, with one difference: a join that waits
//! holds up only its own topic. What comes for that topic meanwhile waits behind the join, and is
//! then looked at as if the join had held up everything.

use std::rc::Rc;

use smallvec::SmallVec;

use super::cell::Call;
use super::hub::{Callback, Client, Hub, reason};
use super::mailbox::{Mail, OwnedMessage};
use super::mount::AnySocket;
use super::process::Status;
use super::session::Session;
use crate::message::{Encoding, LineId, Payload, PayloadRef, ProcessId, Stop};
use crate::protocol::phoenix::{Field, Message, Ref, RefBuf};
use crate::shard::topics::{Kind, Subscriber, TopicIndex};
use crate::telemetry::Event;

/// What a socket is made of.
pub(crate) struct Opening {
    pub(crate) line: LineId,
    pub(crate) mount: u8,
    pub(crate) encoding: Encoding,
    /// The application's value.
    pub(crate) socket: Rc<dyn AnySocket>,
    /// The name by which it can be disconnected.
    pub(crate) id: Option<String>,
}

impl Hub {
    /// Opens a socket, and says the place of its session.
    pub(crate) fn open_session(&mut self, opening: Opening) -> u32 {
        let Opening { line, mount, encoding, socket, id } = opening;
        let id = id.map(|name| {
            let topic = self.topics.hold(&name);
            let process = Subscriber::NO_PROCESS;
            let kind = Kind::Socket;
            let subscriber = Subscriber { line, process, mount, route: 0, kind, encoding };
            (topic, self.topics.subscribe(topic, subscriber))
        });
        let session = Session { line, socket, channels: SmallVec::new(), id, mount };
        self.channels.sessions.insert(session)
    }

    /// Ends a socket's channels and subscriptions. Its line stays.
    pub(crate) fn end_session(&mut self, place: u32, reason: &Stop) {
        let session = self.channels.sessions.remove(place);
        if let Some(seat) = session.id {
            self.stand_up(seat);
            self.topics.release(seat.0);
        }
        for &(_, process) in &session.channels {
            // Nothing is told to the client; subscriptions end at once, so that no broadcast is
            // spent on a connection that is gone.
            self.desert_topics(process);
            self.channels.remember_peer(process, session.socket.peer());
            self.end_process(process, reason.clone());
        }
        self.channels.bury_socket(session.socket);
        self.telemetry.tell(Event::SocketEnded);
    }

    /// Takes one message of a client. Says which callback is to run for it.
    #[inline]
    pub(crate) fn take_message<'a>(
        &mut self,
        place: u32,
        line: LineId,
        message: &Message<'a>,
    ) -> Option<Callback<'a>> {
        let session = self.channels.sessions.find(place, line)?;
        let Field::Text(topic) = &message.topic else {
            // A topic that is no string matches no route.
            self.answer_unmatched(line, message);
            return None;
        };
        let event = match &message.event {
            Field::Text(event) => event.as_ref(),
            Field::Other(_) => "",
        };
        if topic == "phoenix" && event == "heartbeat" {
            self.answer_heartbeat(line, message.message_ref.clone());
            return None;
        }
        let process = match &session.channels[..] {
            // A socket with few channels has them compared, which is quicker than to hash.
            few @ ([] | [_] | [_, _] | [_, _, _]) => {
                let is_it =
                    |(index, _): &&(TopicIndex, ProcessId)| **self.topics.name(*index) == *topic;
                few.iter().find(is_it).map(|(_, process)| *process)
            }
            _ => self.topics.find(topic).and_then(|index| session.channel(index)),
        };
        if let Some(process) = process {
            return self.take_for_process(place, line, process, topic, event, message);
        }
        match event {
            "phx_join" => return self.begin_join((place, line), topic, message, None),
            "phx_leave" => {
                self.answer(line, message.join_ref.clone(), message, "ok", &Payload::empty());
            }
            _ => self.answer_unmatched(line, message),
        }
        None
    }

    #[inline(always)]
    fn take_for_process<'a>(
        &mut self,
        place: u32,
        line: LineId,
        id: ProcessId,
        topic: &str,
        event: &str,
        message: &Message<'a>,
    ) -> Option<Callback<'a>> {
        let process =
            self.channels.processes.find(id).expect("a session's channel has its process");
        if process.status == Status::Joining {
            self.wait(place, line, id, message, || Mail::Behind(Box::new(own(topic, message))));
            return None;
        }
        if event == "phx_join" {
            let replaced = process.wire_join_ref();
            let who = self.who(place, line).at(topic);
            self.telemetry.tell_of(&who, Event::DuplicateJoin);
            self.drop_process(id);
            return self.begin_join((place, line), topic, message, Some(replaced));
        }
        if !process.is_meant(&message.join_ref) || process.status != Status::Joined {
            // Stale: from before a rejoin. Or too late: it is ending.
            return None;
        }
        let message_ref = message.message_ref.to_owned();
        if process.is_idle() {
            if event == "phx_leave" {
                return self.leave(id, message_ref);
            }
            let payload = PayloadRef::new(message.payload);
            let call = Call::Event { message_ref, event: message.event.clone(), payload };
            return self.channels.begin(id, call);
        }
        self.wait(place, line, id, message, || {
            if event == "phx_leave" {
                return Mail::Leave { message_ref };
            }
            let payload = PayloadRef::new(message.payload).to_kept();
            Mail::Event { message_ref, event: message.event.to_text(), payload }
        });
        None
    }

    /// Takes a message that waited behind a join, if its socket is still open.
    pub(crate) fn take_behind<'a>(
        &mut self,
        (place, line): Client,
        message: &'a OwnedMessage,
    ) -> Option<Callback<'a>> {
        let message = Message {
            join_ref: message.join_ref.as_ref(),
            message_ref: message.message_ref.as_ref(),
            topic: (&*message.topic).into(),
            event: message.event.as_str().into(),
            payload: message.payload.as_raw(),
        };
        self.take_message(place, line, &message)
    }

    /// Has a client's message wait for its channel, if there is room for it: in number behind what
    /// waits for that channel, and in bytes beside what waits for all channels of the socket. By
    /// channel alone, a hundred of them would have a hundred of the largest messages.
    fn wait(
        &mut self,
        place: u32,
        line: LineId,
        process: ProcessId,
        message: &Message<'_>,
        mail: impl FnOnce() -> Mail,
    ) {
        let channels = &mut self.channels;
        let Some(session) = channels.sessions.find(place, line) else { return };
        let received = |&(_, process): &(_, ProcessId)| {
            channels.processes.find(process).map_or(0, |process| process.mailbox.received())
        };
        let bytes: usize = session.channels.iter().map(received).sum();
        let bounds = channels.bounds.mailbox;
        let mailbox = &mut channels.processes.known(process).mailbox;
        if mailbox.len() >= bounds.max_mail || bytes >= bounds.max_bytes {
            self.answer_overloaded(line, message);
        } else {
            mailbox.push(mail());
            self.feel_mailbox(process);
        }
    }

    /// The client leaves, and it is the channel's turn.
    pub(super) fn leave(
        &mut self,
        id: ProcessId,
        message_ref: RefBuf,
    ) -> Option<Callback<'static>> {
        // `{}` can be encoded for any client.
        let _ = self.reply(id, &message_ref, "ok", &Payload::empty());
        self.close_channel(id);
        self.channels.begin(id, Call::Terminate(Stop::Left))
    }

    pub(crate) fn answer_heartbeat(&mut self, line: LineId, message_ref: Ref<'_>) {
        let written = self.write(line, |encoding, out| {
            let topic = Field::from("phoenix");
            encoding.reply(out, (Ref::NULL, message_ref), topic, "ok", &Payload::empty())
        });
        debug_assert!(written.is_ok(), "answers of our own are JSON");
    }

    /// Answers a message that no channel has seen.
    pub(super) fn answer(
        &mut self,
        line: LineId,
        join_ref: Ref<'_>,
        message: &Message<'_>,
        status: &str,
        response: &Payload,
    ) {
        let written = self.write(line, |encoding, out| {
            let refs = (join_ref, message.message_ref.clone());
            encoding.reply(out, refs, message.topic.clone(), status, response)
        });
        debug_assert!(written.is_ok(), "answers of our own are JSON");
    }

    pub(super) fn answer_unmatched(&mut self, line: LineId, message: &Message<'_>) {
        self.answer(line, Ref::NULL, message, "error", &reason("unmatched topic"));
    }

    fn answer_overloaded(&mut self, line: LineId, message: &Message<'_>) {
        self.telemetry.tell(Event::Overloaded);
        self.answer(line, message.join_ref.clone(), message, "error", &reason("overloaded"));
    }
}

fn own(topic: &str, message: &Message<'_>) -> OwnedMessage {
    OwnedMessage {
        join_ref: message.join_ref.to_owned(),
        message_ref: message.message_ref.to_owned(),
        topic: topic.into(),
        event: message.event.to_text(),
        payload: PayloadRef::new(message.payload).to_kept(),
    }
}
