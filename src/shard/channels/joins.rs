//! Joins: from `phx_join` to a channel that is joined, or to its refusal.
//!
//! ```text
//!  begin_join ─▶ `join` runs ─┬─ granted ─▶ subscribed, answered, Joined ─┬─▶ what waited behind it
//!                             └─ refused, crashed ─▶ answered, dropped ───┘
//! ```

use smallvec::SmallVec;

use super::cell::{Call, Outcome};
use super::hub::{Behind, Callback, Channels, Client, Hub, reason};
use super::process::{Beginning, Status};
use crate::message::{Payload, PayloadRef, ProcessId, Stop, Topic};
use crate::protocol::phoenix::{EncodeError, Message, RefBuf};
use crate::shard::topics::{Kind, Subscriber};
use crate::telemetry::Event;

impl Hub {
    /// A client joins a topic, instead of the channel with the `join_ref` that `replaces` says.
    pub(super) fn begin_join<'a>(
        &mut self,
        (place, line): Client,
        topic: &str,
        message: &Message<'a>,
        replaces: Option<RefBuf>,
    ) -> Option<Callback<'a>> {
        let channels = &mut self.channels;
        let session = channels.sessions.find(place, line).expect("the client is there");
        let mount = &channels.mounts[usize::from(session.mount)];
        let Some((route, wildcard)) = mount.route(topic) else {
            let handler = mount.handler.name();
            let who = self.who(place, line).at(topic);
            self.telemetry.tell_of(&who, Event::Unmatched { handler });
            self.answer_unmatched(line, message);
            return None;
        };
        if session.channels.len() >= mount.max_topics {
            let max = mount.max_topics;
            let who = self.who(place, line).at(topic);
            self.telemetry.tell_of(&who, Event::TooManyChannels { max });
            let response = reason("too many channels joined");
            self.answer(line, message.join_ref.clone(), message, "error", &response);
            return None;
        }
        let params = PayloadRef::new(message.payload);
        let index = self.topics.hold(topic);
        let topic = Topic::new(self.topics.name(index).clone(), wildcard);
        let null_join_ref = message.join_ref.is_null();
        let join_ref = if null_join_ref { &message.message_ref } else { &message.join_ref };
        let beginning = Beginning {
            line,
            session: place,
            mount: session.mount,
            route,
            topic: index,
            join_ref: join_ref.to_owned(),
            null_join_ref,
            message_ref: message.message_ref.to_owned(),
            replaces,
        };
        let handler = &mount.routes[usize::from(route)].1;
        let spawn = |process| Some(handler.spawn(process, &session.socket, topic));
        let process = channels.processes.insert(beginning, spawn);
        session.channels.push((index, process));
        let (who, params_told) = (self.who_of(process), params.as_bytes());
        self.telemetry.tell_of(&who, Event::Joining { params: params_told });
        self.channels.begin(process, Call::Join { params })
    }

    /// Acts on how a `join` has ended. What waited behind it is looked at next.
    pub(super) fn finish_join(&mut self, id: ProcessId, mut outcome: Outcome) {
        let ending = self.channels.processes.known(id).take_ending();
        if let (Outcome::Joined(_), Some(Stop::Error(reason))) = (&outcome, ending) {
            outcome = Outcome::Crashed(reason);
        }
        let outcome = match outcome {
            Outcome::Joined(reply) => self.grant(id, &reply).map_err(|error| {
                self.tell_crash(id, &error.to_string());
                reason("join crashed")
            }),
            Outcome::Refused(response) => {
                self.telemetry.tell_of(&self.who_of(id), Event::JoinRefused);
                self.slow_down(id);
                Err(response)
            }
            Outcome::Unfit(error) => {
                let error = error.to_string();
                self.telemetry
                    .tell_of(&self.who_of(id), Event::JoinParamsRefused { error: &error });
                self.slow_down(id);
                Err(reason(&format!("invalid params: {error}")))
            }
            Outcome::Crashed(error) => {
                self.tell_crash(id, &error);
                Err(reason("join crashed"))
            }
            _ => unreachable!("a join is granted, refused or crashes"),
        };
        match outcome {
            Ok(()) => self.channels.turn_to_behind(id),
            Err(response) => self.deny(id, &response),
        }
    }

    /// Subscribes the process to its topic and answers its join.
    fn grant(&mut self, id: ProcessId, reply: &Payload) -> Result<(), EncodeError> {
        // Before the reply is queued: a client that has its reply gets every later broadcast.
        self.join_topic(id);
        self.answer_join(id, "ok", reply).inspect_err(|_| self.leave_topics(id))?;
        let process = self.channels.processes.known(id);
        process.status = Status::Joined;
        self.close_replaced(id);
        self.telemetry.tell_of(&self.who_of(id), Event::Joined);
        Ok(())
    }

    /// Answers a join that failed, and forgets the process.
    pub(super) fn deny(&mut self, id: ProcessId, response: &Payload) {
        if let Err(error) = self.answer_join(id, "error", response) {
            // A refusal that can't be encoded for this client is a failure of the application's.
            self.tell_crash(id, &error.to_string());
            let _ = self.answer_join(id, "error", &reason("join crashed"));
        }
        self.close_replaced(id);
        self.channels.turn_to_behind(id);
        self.drop_process(id);
    }

    /// The client is told that the channel which this one takes the place of is closed.
    fn close_replaced(&mut self, id: ProcessId) {
        let process = self.channels.processes.known(id);
        let (line, topic) = (process.line, process.topic);
        if let Some(join_ref) = process.end_joining() {
            self.send_end(line, topic, &join_ref, "phx_close");
        }
    }

    fn answer_join(
        &mut self,
        id: ProcessId,
        status: &str,
        response: &Payload,
    ) -> Result<(), EncodeError> {
        let topic = self.topic_of(id);
        let process = self.channels.processes.known(id);
        let rare = process.rare.as_ref().expect("while joining the refs are kept");
        let (line, join_ref) = (process.line, process.wire_join_ref());
        let message_ref = rare.join_message_ref.clone();
        self.write(line, |encoding, out| {
            let refs = (join_ref.as_ref(), message_ref.as_ref());
            encoding.reply(out, refs, (&*topic).into(), status, response)
        })
    }

    fn join_topic(&mut self, id: ProcessId) {
        let Self { channels, lines, topics, .. } = self;
        let process = channels.processes.known(id);
        let (line, topic) = (process.line, process.topic);
        let handler = super::mount::handler(&channels.mounts, process.mount, process.route);
        let kind = if handler.is_intercepting() { Kind::Intercepting } else { Kind::Fastlane };
        let subscriber = Subscriber {
            line,
            process: id.index,
            mount: process.mount,
            route: process.route,
            kind,
            encoding: lines.encoding(line).expect("a process that joins ends with its socket"),
        };
        process.set_position(Some(topics.subscribe(topic, subscriber)));
    }
}

impl Channels {
    /// What waited behind a join is to be looked at, now that the join has been answered.
    fn turn_to_behind(&mut self, id: ProcessId) {
        let process = self.processes.known(id);
        let client = (process.session, process.line);
        let mail: SmallVec<[_; 4]> = process.mailbox.take().into_iter().collect();
        self.behind.extend(mail.into_iter().map(|mail| Behind { process: id, client, mail }));
    }
}
