//! Running callbacks, and what follows when they end.

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};

use crate::io::ConnectionId;
use crate::message::{Payload, ProcessId, Stop};
use crate::protocol::phoenix::{EncodeError, Field, RefBuf, Version};
use crate::shard::channels::mount::handler;
use crate::shard::channels::process::{Call, Cell, Mail, Outcome, Process, Status};
use crate::shard::channels::session::reason;
use crate::shard::channels::timers::{Due, later};
use crate::shard::links::wakers::Alarm;
use crate::shard::topics::{Kind, Subscriber, TopicIndex};
use crate::shard::{Core, Dead, Local, panics};

impl Local {
    /// Runs a callback of a process at rest, and whatever must follow it at once.
    pub(crate) fn run(self: &Rc<Self>, id: ProcessId, call: Call<'_>) {
        let name = call.name();
        let next = self.poll(id, name, |cell, cx| cell.start(call, cx));
        self.run_on(id, next);
    }

    /// Polls a callback whose waker has fired.
    pub(crate) fn resume(self: &Rc<Self>, id: ProcessId) {
        let waits = self
            .core
            .borrow_mut()
            .processes
            .find(id)
            .and_then(|process| process.cell.as_ref())
            .is_some_and(|cell| !cell.is_resting());
        if waits {
            let name = ("a callback that had waited", None);
            let next = self.poll(id, name, |cell, cx| cell.resume(cx));
            self.run_on(id, next);
        }
    }

    /// Runs what waits for a process, one thing of it.
    pub(crate) fn run_ready(self: &Rc<Self>, id: ProcessId) {
        let Some(mail) = self.core.borrow_mut().next_mail(id) else { return };
        match mail {
            NextMail::End(call) => self.run(id, call),
            NextMail::Mail(Mail::Event { message_ref, event, payload }) => {
                let event = Field::from(event.as_str());
                self.run(id, Call::Event { message_ref, event, payload: (&payload).into() });
            }
            NextMail::Mail(Mail::Leave { message_ref }) => {
                let call = self.core.borrow_mut().leave_from_mailbox(id, &message_ref);
                self.run(id, call);
            }
            NextMail::Mail(Mail::Out(message)) => self.run(id, Call::Out(message)),
            NextMail::Mail(Mail::Broadcast(message)) => self.run(id, Call::Broadcast(message)),
            NextMail::Mail(Mail::Gap(message)) => self.run(id, Call::Gap(message)),
            NextMail::Mail(Mail::Info(info)) => self.run(id, Call::Info(info)),
            NextMail::Mail(Mail::Tick(make)) => self.run(id, Call::Tick(make)),
            NextMail::Mail(Mail::Behind(_)) => unreachable!("only while joining"),
        }
    }

    fn run_on(self: &Rc<Self>, id: ProcessId, mut next: Option<Call<'static>>) {
        while let Some(call) = next {
            next = self.poll(id, call.name(), |cell, cx| cell.start(call, cx));
        }
    }

    /// Says that it was this callback which held up the shard.
    #[cold]
    fn tell_hold(&self, id: ProcessId, (callback, event): (&'static str, Option<&str>)) {
        let mut core = self.core.borrow_mut();
        core.counters.holds += 1;
        let topic = core.topic_of(id);
        let channel = core.channel_of(id);
        let shard = core.shard;
        tracing::warn!(
            shard,
            topic = &*topic,
            channel,
            callback,
            event,
            "a callback held up its shard: what takes long belongs into Context::blocking"
        );
    }

    /// Polls a process' cell, with no table borrowed and panics caught.
    fn poll(
        self: &Rc<Self>,
        id: ProcessId,
        name: (&'static str, Option<&str>),
        poll: impl FnOnce(&mut dyn Cell, &mut TaskContext<'_>) -> Poll<Outcome>,
    ) -> Option<Call<'static>> {
        let (mut cell, alarm) = {
            let mut core = self.core.borrow_mut();
            let process = core.processes.find(id)?;
            (process.cell.take()?, process.rare.as_mut().and_then(|rare| rare.alarm.take()))
        };
        let alarm =
            alarm.or_else(|| self.spare_alarm.take()).unwrap_or_else(|| Alarm::new(&self.remote));
        alarm.point_at(id);
        let polled = panics::catch(|| poll(&mut *cell, &mut TaskContext::from_waker(&alarm.waker)));
        if self.remote.watched.take_report() {
            self.tell_hold(id, name);
        }
        match polled {
            Ok(Poll::Pending) => {
                self.core.borrow_mut().keep_waiting(id, cell, alarm);
                None
            }
            Ok(Poll::Ready(outcome)) => {
                self.keep_spare(alarm);
                self.finish(id, cell, outcome)
            }
            Err(panic) => {
                self.keep_spare(alarm);
                // Its drop may panic too, and that must not be the server's end either.
                let _ = panics::catch(|| drop(cell));
                let behind = self.core.borrow_mut().panicked(id, &panic);
                self.after_join(id, behind);
                None
            }
        }
    }

    fn keep_spare(&self, alarm: Alarm) {
        if !alarm.is_held() {
            self.spare_alarm.set(Some(alarm));
        }
    }

    /// Acts on how a callback has ended; gives back what must run next.
    fn finish(
        self: &Rc<Self>,
        id: ProcessId,
        cell: Box<dyn Cell>,
        outcome: Outcome,
    ) -> Option<Call<'static>> {
        let mut core = self.core.borrow_mut();
        let process = core.processes.find(id).expect("a process stays while it is polled");
        process.cell = Some(cell);
        if process.status == Status::Joining {
            let behind = core.finish_join(id, outcome);
            drop(core);
            self.after_join(id, behind);
            return None;
        }
        let ending = process.rare.as_mut().and_then(|rare| rare.ending.take());
        match outcome {
            Outcome::Terminated => {
                core.finish_process(id);
                None
            }
            Outcome::Stop(reason) => Some(core.begin_end(id, reason)),
            Outcome::Crashed(error) => {
                core.log_crash(id, &error);
                Some(core.begin_end(id, Stop::Error(error)))
            }
            Outcome::Done => {
                if let Some(reason) = ending {
                    return Some(core.begin_end(id, reason));
                }
                if !core.processes.find(id)?.mailbox.is_empty() {
                    core.ready.push_back(id);
                }
                None
            }
            Outcome::Joined(_) | Outcome::Refused(_) => unreachable!("only join ends so"),
        }
    }

    /// Looks at what waited behind a join, now that the join has been answered.
    fn after_join(self: &Rc<Self>, id: ProcessId, behind: Behind) {
        for mail in behind.mail {
            match mail {
                Mail::Behind(message) => self.handle_behind(behind.connection, &message),
                mail => self.core.borrow_mut().mail(id, mail),
            }
        }
    }
}

/// What waited behind a join.
pub(crate) struct Behind {
    connection: ConnectionId,
    mail: VecDeque<Mail>,
}

/// What a process does next.
enum NextMail {
    /// It ends.
    End(Call<'static>),
    Mail(Mail),
}

impl Core {
    fn next_mail(&mut self, id: ProcessId) -> Option<NextMail> {
        let process = self.processes.find(id)?;
        if !process.cell.as_ref().is_some_and(|cell| cell.is_resting()) {
            // It is looked at again when its callback has ended.
            return None;
        }
        if let Some(reason) = process.rare.as_mut().and_then(|rare| rare.ending.take()) {
            return Some(NextMail::End(self.begin_end(id, reason)));
        }
        if process.status != Status::Joined {
            return None;
        }
        process.mailbox.pop().map(NextMail::Mail)
    }

    /// Puts something into the mailbox of a process that may be gone or ending.
    pub(crate) fn mail(&mut self, id: ProcessId, mail: Mail) {
        match self.processes.find(id) {
            Some(process) if process.status == Status::Joined => {
                process.mailbox.push(mail);
                self.ready.push_back(id);
            }
            // Looked at when the join has been answered.
            Some(process) if process.status == Status::Joining => process.mailbox.push(mail),
            _ => self.dead.push(Dead::Mail(mail)),
        }
    }

    fn keep_waiting(&mut self, id: ProcessId, cell: Box<dyn Cell>, alarm: Alarm) {
        let Some(process) = self.processes.find(id) else { return };
        process.cell = Some(cell);
        process.rare.get_or_insert_default().alarm = Some(alarm);
        if matches!(process.status, Status::Failing | Status::Closing) {
            self.limit_end(id);
        }
    }

    fn finish_join(&mut self, id: ProcessId, mut outcome: Outcome) -> Behind {
        let ending = self.process(id).rare.as_mut().and_then(|rare| rare.ending.take());
        if let (Outcome::Joined(_), Some(Stop::Error(reason))) = (&outcome, ending) {
            outcome = Outcome::Crashed(reason);
        }
        let outcome = match outcome {
            Outcome::Joined(reply) => self.grant(id, &reply).map_err(|error| {
                self.log_crash(id, &error.to_string());
                reason("join crashed")
            }),
            Outcome::Refused(response) => {
                tracing::info!(topic = %self.topic_of(id), "refused join");
                Err(response)
            }
            Outcome::Crashed(error) => {
                self.log_crash(id, &error);
                Err(reason("join crashed"))
            }
            _ => unreachable!("a join is granted, refused or crashes"),
        };
        match outcome {
            Ok(()) => self.take_behind(id),
            Err(response) => self.deny(id, &response),
        }
    }

    /// Subscribes the process to its topic and answers its join.
    fn grant(&mut self, id: ProcessId, reply: &Payload) -> Result<(), EncodeError> {
        let connection = self.process(id).connection;
        let (join_ref, message_ref) = self.join_refs(id);
        // Before the reply is queued: a client that has its reply gets every later broadcast.
        self.join_topic(id);
        self.answer_join(id, connection, &join_ref, &message_ref, "ok", reply)
            .inspect_err(|_| self.leave_topics(id))?;
        let process = self.process(id);
        process.status = Status::Joined;
        let replaced = process.end_joining();
        let topic = process.topic;
        if let Some(join_ref) = replaced {
            self.send_end(connection, topic, &join_ref, "phx_close");
        }
        tracing::debug!(topic = %self.topics.name(topic), "joined");
        Ok(())
    }

    /// Answers a join that failed, and forgets the process.
    fn deny(&mut self, id: ProcessId, response: &Payload) -> Behind {
        let (join_ref, message_ref) = self.join_refs(id);
        let process = self.process(id);
        let (connection, topic) = (process.connection, process.topic);
        let replaced = process.end_joining();
        let answered = self.answer_join(id, connection, &join_ref, &message_ref, "error", response);
        if let Err(error) = answered {
            // A refusal that can't be encoded for this client is a failure of the application's.
            self.log_crash(id, &error.to_string());
            let crashed = reason("join crashed");
            let _ = self.answer_join(id, connection, &join_ref, &message_ref, "error", &crashed);
        }
        if let Some(join_ref) = replaced {
            self.send_end(connection, topic, &join_ref, "phx_close");
        }
        let behind = self.take_behind(id);
        self.drop_process(id);
        behind
    }

    fn take_behind(&mut self, id: ProcessId) -> Behind {
        let process = self.process(id);
        Behind { connection: process.connection, mail: process.mailbox.take() }
    }

    fn join_refs(&mut self, id: ProcessId) -> (RefBuf, RefBuf) {
        let process = self.process(id);
        let rare = process.rare.as_ref().expect("while joining the refs are kept");
        (process.wire_join_ref(), rare.join_message_ref.clone())
    }

    fn answer_join(
        &mut self,
        id: ProcessId,
        connection: ConnectionId,
        join_ref: &RefBuf,
        message_ref: &RefBuf,
        status: &str,
        response: &Payload,
    ) -> Result<(), EncodeError> {
        let topic = self.topic_of(id);
        self.write(connection, response, |version, out| {
            let (join_ref, message_ref) = (join_ref.as_ref(), message_ref.as_ref());
            let topic = (&*topic).into();
            version.encode_reply(out, join_ref, message_ref, topic, status, response.as_raw())
        })
    }

    fn join_topic(&mut self, id: ProcessId) {
        let process = self.processes.find(id).expect("it is joining");
        let (connection, topic) = (process.connection, process.topic);
        let handler = handler(&self.mounts, process.mount, process.route);
        let kind = if handler.is_intercepting() { Kind::Intercepting } else { Kind::Fastlane };
        let subscriber = Subscriber {
            connection,
            process: id.index,
            mount: process.mount,
            route: process.route,
            kind,
            version: self.connections.version(connection).unwrap_or(Version::V2),
        };
        let position = self.add_subscriber(topic, subscriber);
        self.process(id).position = Some(position);
    }

    /// Begins the end of a process at rest; `terminate` is to run next.
    pub(crate) fn begin_end(&mut self, id: ProcessId, reason: Stop) -> Call<'static> {
        if reason.is_graceful() {
            self.close_channel(id);
        } else {
            self.leave_topics(id);
            self.process(id).status = Status::Failing;
            self.discard_mail(id);
        }
        Call::Terminate(reason)
    }

    /// The client is told of a graceful end first; what `terminate` pushes comes after.
    pub(crate) fn close_channel(&mut self, id: ProcessId) {
        self.leave_topics(id);
        self.discard_mail(id);
        let process = self.process(id);
        process.status = Status::Closing;
        let join_ref = process.wire_join_ref();
        let (connection, topic) = (process.connection, process.topic);
        self.send_end(connection, topic, &join_ref, "phx_close");
        self.forget_channel(id);
    }

    /// `terminate` has run.
    fn finish_process(&mut self, id: ProcessId) {
        let process = self.process(id);
        if process.status == Status::Failing {
            self.send_error(id);
        }
        self.drop_process(id);
    }

    /// A callback of the process has panicked: it ends without `terminate`.
    fn panicked(&mut self, id: ProcessId, panic: &str) -> Behind {
        self.log_crash(id, panic);
        let process = self.process(id);
        match process.status {
            Status::Joining => return self.deny(id, &reason("join crashed")),
            Status::Joined | Status::Failing => self.send_error(id),
            Status::Closing => {}
        }
        let behind = Behind { connection: self.process(id).connection, mail: VecDeque::new() };
        self.drop_process(id);
        behind
    }

    /// Ends a process from outside: when its callback is done, or past the time allowed for it.
    pub(crate) fn end_process(&mut self, id: ProcessId, reason: Stop) {
        let Some(process) = self.processes.find(id) else { return };
        match process.status {
            // Nothing to terminate yet.
            Status::Joining => return self.drop_process(id),
            Status::Joined if process.is_ending() => return,
            Status::Joined => {}
            Status::Failing | Status::Closing => return,
        }
        process.rare.get_or_insert_default().ending = Some(reason);
        if process.cell.as_ref().is_some_and(|cell| cell.is_resting()) {
            self.ready.push_back(id);
        } else {
            self.limit_end(id);
        }
        self.discard_mail(id);
    }

    /// Sets the time by which a process that ends is dropped: once, from when that began.
    fn limit_end(&mut self, id: ProcessId) {
        let deadline = later(self.now, self.limits.terminate_timeout);
        let rare = self.processes.find(id).map(|process| process.rare.get_or_insert_default());
        if let Some(rare) = rare.filter(|rare| rare.overdue.is_none()) {
            rare.overdue = Some(self.timers.add(deadline, Due::Overdue(id)));
        }
    }

    /// What waits for a process that ends is lost.
    fn discard_mail(&mut self, id: ProcessId) {
        let mail = self.process(id).mailbox.take();
        self.dead.extend(mail.into_iter().map(Dead::Mail));
    }

    /// The time is over for a callback whose process ends.
    pub(crate) fn overdue(&mut self, id: ProcessId) {
        if self.processes.find(id).is_none() {
            return;
        }
        self.counters.overdue += 1;
        tracing::warn!(topic = %self.topic_of(id), "a callback did not end in time: dropped");
        let process = self.process(id);
        if process.status != Status::Closing {
            self.send_error(id);
        }
        self.drop_process(id);
    }

    /// Takes a process out of all tables; its state is dropped when no table is borrowed.
    pub(crate) fn drop_process(&mut self, id: ProcessId) {
        self.leave_topics(id);
        self.forget_channel(id);
        let Some(mut process) = self.processes.remove(id) else { return };
        self.topics.release(process.topic);
        if let Some(rare) = &mut process.rare {
            for timer in rare.timers.drain(..).chain(rare.overdue.take()) {
                self.dead.extend(self.timers.cancel(timer).map(Dead::Due));
            }
        }
        self.dead.push(Dead::Process(process));
    }

    /// The session no longer knows the channel: what comes for its topic is unmatched.
    fn forget_channel(&mut self, id: ProcessId) {
        let Some(process) = self.processes.find(id) else { return };
        let connection = process.connection;
        if let Some(session) = self.connections.session(connection) {
            session.channels.retain(|(_, process)| *process != id);
            if session.channels.len() <= 1 {
                session.channels.shrink_to_fit();
            }
        }
    }

    fn send_error(&mut self, id: ProcessId) {
        self.catch_up(id);
        let process = self.process(id);
        let join_ref = process.wire_join_ref();
        let (connection, topic) = (process.connection, process.topic);
        self.send_end(connection, topic, &join_ref, "phx_error");
    }

    /// Tells the client that a channel has ended, by `phx_close` or `phx_error`.
    fn send_end(
        &mut self,
        connection: ConnectionId,
        topic: TopicIndex,
        join_ref: &RefBuf,
        event: &str,
    ) {
        let payload = if event == "phx_error" { reason("channel_crash") } else { Payload::empty() };
        let topic = self.topics.name(topic).clone();
        let written = self.write(connection, &payload, |version, out| {
            // The join_ref stands in the place of the ref too (Slipstream relies on it).
            let join_ref = join_ref.as_ref();
            version.encode_push(out, join_ref.clone(), join_ref, &topic, event, payload.as_raw())
        });
        debug_assert!(written.is_ok(), "ends are JSON objects");
    }

    pub(crate) fn log_crash(&mut self, id: ProcessId, error: &str) {
        self.counters.crashes += 1;
        let topic = self.topic_of(id);
        let channel = self.channel_of(id);
        tracing::error!(topic = &*topic, channel, error, "channel crashed");
    }

    /// The type of a process' channel.
    fn channel_of(&mut self, id: ProcessId) -> &'static str {
        let process = self.process(id);
        let (mount, route) = (process.mount, process.route);
        handler(&self.mounts, mount, route).name()
    }

    fn topic_of(&mut self, id: ProcessId) -> Rc<str> {
        let topic = self.process(id).topic;
        self.topics.name(topic).clone()
    }

    /// A process that is known to be there.
    pub(crate) fn process(&mut self, id: ProcessId) -> &mut Process {
        self.processes.find(id).expect("the process is there")
    }
}
