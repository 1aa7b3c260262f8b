//! Endings of channels: by a leave, a stop, an error, from outside, or past their time.
//!
//! A process that ends goes first from its topics, then from its session, and last, when `terminate`
//! has run, from the table. What it holds of the application's is buried, to be dropped when no table
//! is borrowed.

use std::rc::Rc;

use super::cell::Call;
use super::hub::{Callback, Hub, reason};
use super::process::Status;
use crate::message::{LineId, Payload, ProcessId, Stop};
use crate::protocol::phoenix::RefBuf;
use crate::shard::topics::TopicIndex;
use crate::telemetry::Event;

impl Hub {
    /// Begins the end of a process at rest; `terminate` is to run next.
    pub(super) fn begin_end(&mut self, id: ProcessId, reason: Stop) -> Option<Callback<'static>> {
        if reason.is_graceful() {
            self.close_channel(id);
        } else {
            if let Stop::Error(error) = &reason {
                self.tell_error(id, error);
            }
            self.leave_topics(id);
            self.channels.processes.known(id).status = Status::Failing;
            self.channels.discard_mail(id);
        }
        self.channels.begin(id, Call::Terminate(reason))
    }

    /// The client is told of a graceful end first; what `terminate` pushes comes after.
    pub(super) fn close_channel(&mut self, id: ProcessId) {
        self.leave_topics(id);
        self.channels.discard_mail(id);
        let process = self.channels.processes.known(id);
        process.status = Status::Closing;
        let join_ref = process.wire_join_ref();
        let (line, topic) = (process.line, process.topic);
        self.send_end(line, topic, &join_ref, "phx_close");
        self.channels.forget(id);
    }

    /// `terminate` has run.
    pub(super) fn finish_process(&mut self, id: ProcessId) {
        if self.channels.processes.known(id).status == Status::Failing {
            self.send_error(id);
        }
        self.drop_process(id);
    }

    /// A callback of the process has panicked: it ends without `terminate`.
    pub(super) fn end_panicked(&mut self, id: ProcessId, panic: &str) {
        self.tell_crash(id, panic);
        match self.channels.processes.known(id).status {
            Status::Joining => return self.deny(id, &reason("join crashed")),
            Status::Joined | Status::Failing => self.send_error(id),
            Status::Closing => {}
        }
        self.drop_process(id);
    }

    /// Ends a process from outside: when its callback is done, or past the time allowed for it.
    pub(super) fn end_process(&mut self, id: ProcessId, reason: Stop) {
        match self.channels.processes.find(id).map(|process| process.status) {
            // Nothing to terminate yet.
            Some(Status::Joining) => self.drop_process(id),
            Some(Status::Joined) => self.channels.end_joined(id, reason, self.clock.now()),
            Some(Status::Failing | Status::Closing) | None => {}
        }
    }

    /// The time is over for a callback whose process ends.
    pub(super) fn end_overdue(&mut self, id: ProcessId) {
        if self.channels.processes.find(id).is_none() {
            return;
        }
        self.telemetry.tell_of(&self.who_of(id), Event::CallbackOverdue);
        if self.channels.processes.known(id).status != Status::Closing {
            self.send_error(id);
        }
        self.drop_process(id);
    }

    /// Takes a process out of all tables.
    pub(super) fn drop_process(&mut self, id: ProcessId) {
        self.leave_topics(id);
        self.channels.forget(id);
        if let Some(topic) = self.channels.bury(id) {
            self.topics.release(topic);
        }
    }

    /// Ends all subscriptions of a process, to its own topic and to others. It gets what was
    /// broadcast before.
    pub(super) fn leave_topics(&mut self, id: ProcessId) {
        self.catch_up_process(id);
        self.desert_topics(id);
    }

    /// The same for one whose client is gone: nothing is sent to it any more.
    pub(super) fn desert_topics(&mut self, id: ProcessId) {
        let Some(process) = self.channels.processes.find(id) else { return };
        if let Some(position) = process.position() {
            let seat = (process.topic, position);
            process.set_position(None);
            self.stand_up(seat);
        }
        while let Some(process) = self.channels.processes.find(id)
            && let Some(seat) = process.rare.as_mut().and_then(|rare| rare.subscriptions.pop())
        {
            self.stand_up(seat);
            self.topics.release(seat.0);
        }
    }

    fn send_error(&mut self, id: ProcessId) {
        self.catch_up_process(id);
        let process = self.channels.processes.known(id);
        let join_ref = process.wire_join_ref();
        let (line, topic) = (process.line, process.topic);
        self.send_end(line, topic, &join_ref, "phx_error");
    }

    /// Tells the client that a channel has ended, by `phx_close` or `phx_error`.
    pub(super) fn send_end(
        &mut self,
        line: LineId,
        topic: TopicIndex,
        join_ref: &RefBuf,
        event: &str,
    ) {
        let payload = if event == "phx_error" { reason("channel_crash") } else { Payload::empty() };
        let topic = self.topics.name(topic).clone();
        let written = self.write(line, |encoding, out| {
            // The join_ref stands in the place of the ref too (Slipstream relies on it).
            let refs = (join_ref.as_ref(), join_ref.as_ref());
            encoding.push(out, refs, &topic, event, &payload)
        });
        debug_assert!(written.is_ok(), "ends are JSON objects");
    }

    /// A callback has failed.
    pub(super) fn tell_crash(&mut self, id: ProcessId, error: &str) {
        self.tell_error(id, error);
        self.slow_down(id);
    }

    /// A channel ends by an error, whoever's it is.
    fn tell_error(&mut self, id: ProcessId, error: &str) {
        let channel = self.channels.type_of(id);
        self.telemetry.tell_of(&self.who_of(id), Event::Crashed { channel, error });
    }

    pub(super) fn topic_of(&mut self, id: ProcessId) -> Rc<str> {
        let topic = self.channels.processes.known(id).topic;
        self.topics.name(topic).clone()
    }
}
