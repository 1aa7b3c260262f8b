//! Sessions: an accepted socket, and which of its channels a message is for.
//!
//! This is the state machine of Phoenix' socket process, with one difference: a join that waits
//! holds up only its own topic. What comes for that topic meanwhile waits behind the join, and is
//! then looked at as if the join had held up everything.

use std::any::Any;
use std::rc::Rc;

use smallvec::SmallVec;

use crate::io::ConnectionId;
use crate::message::{Payload, PayloadRef, ProcessId, Stop, Topic, frame_opcode};
use crate::protocol::phoenix::{EncodeError, Field, Message, Ref, RefBuf, Version};
use crate::protocol::websocket::{self, Partial};
use crate::shard::channels::process::{Call, Mail, Mailbox, OwnedMessage, Process, Rare, Status};
use crate::shard::topics::TopicIndex;
use crate::shard::{Core, Local};

/// A Phoenix socket on its shard.
pub(crate) struct Session {
    pub(crate) version: Version,
    pub(crate) mount: u8,
    /// The application's value; its type is the mount's.
    pub(crate) socket: Rc<dyn Any>,
    /// A message that is not whole.
    pub(crate) partial: Option<Box<Partial>>,
    /// Topics that are joining or joined.
    pub(crate) channels: SmallVec<[(TopicIndex, ProcessId); 1]>,
    /// The topic of the socket's id and the place among its subscribers.
    pub(crate) id: Option<(TopicIndex, u32)>,
}

impl Session {
    fn channel(&self, topic: TopicIndex) -> Option<ProcessId> {
        self.channels.iter().find(|(held, _)| *held == topic).map(|(_, process)| *process)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("channels", &self.channels.len()).finish_non_exhaustive()
    }
}

/// What is to be done for a message besides what the tables could do by themselves.
enum Next<'a> {
    Nothing,
    Run(ProcessId, Call<'a>),
}

impl Local {
    /// Handles one message of a client.
    pub(crate) fn handle_message(self: &Rc<Self>, id: ConnectionId, message: &Message<'_>) {
        let next = self.core.borrow_mut().take_message(id, message);
        if let Next::Run(process, call) = next {
            self.run(process, call);
        }
    }

    /// Handles what waited behind a join.
    pub(crate) fn handle_behind(self: &Rc<Self>, id: ConnectionId, message: &OwnedMessage) {
        self.handle_message(
            id,
            &Message {
                join_ref: message.join_ref.as_ref(),
                message_ref: message.message_ref.as_ref(),
                topic: (&*message.topic).into(),
                event: message.event.as_str().into(),
                payload: message.payload.as_raw(),
            },
        );
    }
}

impl Core {
    fn take_message<'a>(&mut self, id: ConnectionId, message: &Message<'a>) -> Next<'a> {
        let Some(session) = self.connections.session(id) else { return Next::Nothing };
        let Field::Text(topic) = &message.topic else {
            // A topic that is no string matches no route.
            self.answer_unmatched(id, message);
            return Next::Nothing;
        };
        let event = match &message.event {
            Field::Text(event) => event.as_ref(),
            Field::Other(_) => "",
        };
        if topic == "phoenix" && event == "heartbeat" {
            self.answer_heartbeat(id, message.message_ref.clone());
            return Next::Nothing;
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
        match (process, event) {
            (None, "phx_join") => self.begin_join(id, topic, message, None),
            (None, "phx_leave") => {
                self.answer(id, message.join_ref.clone(), message, "ok", &Payload::empty());
                Next::Nothing
            }
            (None, _) => {
                self.answer_unmatched(id, message);
                Next::Nothing
            }
            (Some(process), event) => self.take_for_process(id, process, topic, event, message),
        }
    }

    fn take_for_process<'a>(
        &mut self,
        id: ConnectionId,
        process_id: ProcessId,
        topic: &str,
        event: &str,
        message: &Message<'a>,
    ) -> Next<'a> {
        let process = self.processes.find(process_id).expect("a session's channel has its process");
        if process.status == Status::Joining {
            self.wait(id, process_id, message, || Mail::Behind(Box::new(own(topic, message))));
            return Next::Nothing;
        }
        if event == "phx_join" {
            tracing::debug!(topic, "duplicate channel join: closing the existing channel");
            let replaced = process.wire_join_ref();
            self.drop_process(process_id);
            return self.begin_join(id, topic, message, Some(replaced));
        }
        let is_current = message.join_ref.is_null()
            || (!process.null_join_ref && process.join_ref == message.join_ref);
        if !is_current || process.status != Status::Joined {
            // Stale: from before a rejoin. Or too late: it is ending.
            return Next::Nothing;
        }
        let message_ref = message.message_ref.to_owned();
        if process.is_idle() {
            if event == "phx_leave" {
                return self.leave(process_id, &message_ref);
            }
            let payload = PayloadRef::new(message.payload);
            let call = Call::Event { message_ref, event: message.event.clone(), payload };
            return Next::Run(process_id, call);
        }
        self.wait(id, process_id, message, || {
            if event == "phx_leave" {
                return Mail::Leave { message_ref };
            }
            let payload = PayloadRef::new(message.payload).to_payload();
            Mail::Event { message_ref, event: message.event.to_text(), payload }
        });
        Next::Nothing
    }

    /// Has a client's message wait for its channel, if there is room for it: in number behind what
    /// waits for that channel, and in bytes beside what waits for all channels of the socket. By
    /// channel alone, a hundred of them would have a hundred of the largest messages.
    fn wait(
        &mut self,
        id: ConnectionId,
        process: ProcessId,
        message: &Message<'_>,
        mail: impl FnOnce() -> Mail,
    ) {
        let Self { connections, processes, limits, .. } = self;
        let Some(session) = connections.session(id) else { return };
        let received = |&(_, process): &(_, ProcessId)| {
            processes.find(process).map_or(0, |process| process.mailbox.received())
        };
        let bytes: usize = session.channels.iter().map(received).sum();
        let Some(process) = processes.find(process) else { return };
        if process.mailbox.len() >= limits.max_mailbox || bytes >= limits.max_mailbox_bytes {
            self.answer_overloaded(id, message);
        } else {
            process.mailbox.push(mail());
        }
    }

    /// The client leaves, and it is the channel's turn.
    fn leave<'a>(&mut self, process_id: ProcessId, message_ref: &RefBuf) -> Next<'a> {
        // `{}` can be encoded for any client.
        let _ = self.reply(process_id, message_ref, "ok", &Payload::empty());
        self.close_channel(process_id);
        Next::Run(process_id, Call::Terminate(Stop::Left))
    }

    /// The same for a leave that waited in the mailbox.
    pub(crate) fn leave_from_mailbox(
        &mut self,
        process_id: ProcessId,
        message_ref: &RefBuf,
    ) -> Call<'static> {
        match self.leave(process_id, message_ref) {
            Next::Run(_, call) => call,
            Next::Nothing => unreachable!("a leave always ends in terminate"),
        }
    }

    fn begin_join<'a>(
        &mut self,
        id: ConnectionId,
        topic: &str,
        message: &Message<'a>,
        replaces: Option<RefBuf>,
    ) -> Next<'a> {
        let mounts = self.mounts.clone();
        let session = self.connections.session(id).expect("looked up by the caller");
        let mount_index = session.mount;
        let mount = &mounts[usize::from(mount_index)];
        let Some((route, wildcard)) = mount.route(topic) else {
            tracing::warn!(topic, handler = mount.handler.name(), "ignoring unmatched topic");
            self.answer_unmatched(id, message);
            return Next::Nothing;
        };
        if session.channels.len() >= mount.max_topics {
            self.counters.refused_joins += 1;
            let max = mount.max_topics;
            tracing::error!(topic, max, "reached the limit of channels per socket");
            let response = reason("too many channels joined");
            self.answer(id, message.join_ref.clone(), message, "error", &response);
            return Next::Nothing;
        }
        tracing::debug!(
            topic,
            parameters = %crate::telemetry::log::filtered_json(PayloadRef::new(message.payload).as_bytes()),
            "joining"
        );
        let index = self.topics.hold(topic);
        let handler = &mount.routes[usize::from(route)].1;
        let topic = Topic::new(self.topics.name(index).clone(), wildcard);
        let null_join_ref = message.join_ref.is_null();
        let join_ref = if null_join_ref { &message.message_ref } else { &message.join_ref };
        let socket = &session.socket;
        let process = self.processes.insert(|process| Process {
            generation: process.generation,
            status: Status::Joining,
            mount: mount_index,
            route,
            null_join_ref,
            connection: id,
            topic: index,
            position: None,
            join_ref: join_ref.to_owned(),
            mailbox: Mailbox::default(),
            cell: Some(handler.spawn(process, socket, topic)),
            rare: Some(Box::new(Rare {
                join_message_ref: message.message_ref.to_owned(),
                replaces,
                ..Rare::default()
            })),
        });
        session.channels.push((index, process));
        Next::Run(process, Call::Join { params: PayloadRef::new(message.payload) })
    }

    pub(crate) fn answer_heartbeat(&mut self, id: ConnectionId, message_ref: Ref<'_>) {
        let response = Payload::empty();
        let written = self.write(id, &response, |version, out| {
            let topic = Field::from("phoenix");
            version.encode_reply(out, Ref::NULL, message_ref, topic, "ok", response.as_raw())
        });
        debug_assert!(written.is_ok(), "answers of our own are JSON");
    }

    /// Answers a message that no channel has seen.
    fn answer(
        &mut self,
        id: ConnectionId,
        join_ref: Ref<'_>,
        message: &Message<'_>,
        status: &str,
        response: &Payload,
    ) {
        let written = self.write(id, response, |version, out| {
            version.encode_reply(
                out,
                join_ref,
                message.message_ref.clone(),
                message.topic.clone(),
                status,
                response.as_raw(),
            )
        });
        debug_assert!(written.is_ok(), "answers of our own are JSON");
    }

    fn answer_unmatched(&mut self, id: ConnectionId, message: &Message<'_>) {
        self.answer(id, Ref::NULL, message, "error", &reason("unmatched topic"));
    }

    fn answer_overloaded(&mut self, id: ConnectionId, message: &Message<'_>) {
        self.counters.overloaded += 1;
        self.answer(id, message.join_ref.clone(), message, "error", &reason("overloaded"));
    }

    /// Encodes one frame for one socket and queues it. Nothing happens if the socket is gone, or is
    /// to be closed for all that waits for it already.
    pub(crate) fn write<R>(
        &mut self,
        id: ConnectionId,
        payload: &Payload,
        encode: impl FnOnce(Version, &mut Vec<u8>) -> Result<R, EncodeError>,
    ) -> Result<(), EncodeError> {
        let Some(version) = self.connections.version(id) else { return Ok(()) };
        if self.is_flooded(id) {
            return Ok(());
        }
        let arena = self.send_queue.arena();
        let start = arena.len();
        websocket::try_write_frame(arena, frame_opcode(payload), |out| encode(version, out))?;
        let connection = self.connections.find(id).expect("just seen");
        self.send_queue.queue_written(id, &mut connection.outbox, start);
        self.check_backlog(id);
        Ok(())
    }
}

impl Process {
    /// The `join_ref` that the client knows the channel by: null if it joined with null.
    pub(crate) fn wire_join_ref(&self) -> RefBuf {
        if self.null_join_ref { RefBuf::null() } else { self.join_ref.clone() }
    }

    /// Nothing runs and nothing waits: what comes can be handled on the spot.
    pub(crate) fn is_idle(&self) -> bool {
        self.mailbox.is_empty() && self.cell.as_ref().is_some_and(|cell| cell.is_resting())
    }
}

/// `{"reason": …}`
pub(crate) fn reason(reason: &str) -> Payload {
    Payload::from(serde_json::json!({ "reason": reason }))
}

fn own(topic: &str, message: &Message<'_>) -> OwnedMessage {
    OwnedMessage {
        join_ref: message.join_ref.to_owned(),
        message_ref: message.message_ref.to_owned(),
        topic: topic.into(),
        event: message.event.to_text(),
        payload: PayloadRef::new(message.payload).to_payload(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_socket_costs_what_it_did() {
        assert_eq!(size_of::<Session>(), 64);
    }
}
