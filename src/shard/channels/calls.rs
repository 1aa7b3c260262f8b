//! What a callback asks of its shard: push, reply, subscribe, timers, messages to itself.

use std::any::Any;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use crate::channel::AddressError;
use crate::io::ConnectionId;
use crate::message::{Payload, ProcessId};
use crate::protocol::phoenix::{EncodeError, Ref, RefBuf, Version};
use crate::shard::channels::process::Mail;
use crate::shard::channels::timers::{Due, MakeInfo, TimerId, later};
use crate::shard::lines::send_queue::Pending;
use crate::shard::links::remote::LateReply;
use crate::shard::topics::{Kind, Moved, Removed, Subscriber, TopicIndex};
use crate::shard::{Core, Dead};

impl Core {
    pub(crate) fn push(
        &mut self,
        id: ProcessId,
        event: &str,
        payload: &Payload,
    ) -> Result<(), EncodeError> {
        self.catch_up(id);
        let Some(process) = self.processes.find(id) else { return Ok(()) };
        let (connection, join_ref) = (process.connection, process.join_ref.clone());
        let topic = self.topics.name(process.topic).clone();
        self.write(connection, payload, |version, out| {
            let join_ref = join_ref.as_ref();
            version.encode_push(out, join_ref, Ref::NULL, &topic, event, payload.as_raw())
        })
    }

    pub(crate) fn reply(
        &mut self,
        id: ProcessId,
        message_ref: &RefBuf,
        status: &str,
        response: &Payload,
    ) -> Result<(), EncodeError> {
        self.catch_up(id);
        let Some(process) = self.processes.find(id) else { return Ok(()) };
        let (connection, join_ref) = (process.connection, process.join_ref.clone());
        let topic = self.topics.name(process.topic).clone();
        self.write(connection, response, |version, out| {
            let (join_ref, message_ref) = (join_ref.as_ref(), message_ref.as_ref());
            let topic = (&*topic).into();
            version.encode_reply(out, join_ref, message_ref, topic, status, response.as_raw())
        })
    }

    pub(crate) fn late_reply(&mut self, id: ProcessId, message_ref: RefBuf) -> LateReply {
        let process = self.process(id);
        let (connection, topic) = (process.connection, process.topic);
        LateReply {
            join_ref: process.join_ref.clone(),
            remote: self.remote.clone(),
            process: id,
            connection,
            version: self.connections.version(connection).unwrap_or(Version::V2),
            topic: (&**self.topics.name(topic)).into(),
            message_ref,
        }
    }

    /// Queues a process' late reply for its socket, if that is still there.
    pub(crate) fn send_late(&mut self, process: ProcessId, id: ConnectionId, frame: Bytes) {
        self.catch_up(process);
        if self.connections.session(id).is_none() || self.is_flooded(id) {
            return;
        }
        let connection = self.connections.find(id).expect("just seen");
        self.send_queue.push(id, &mut connection.outbox, Pending::Frame(Rc::new(frame)));
        self.check_backlog(id);
    }

    /// Puts an application's message into a mailbox that has room for it.
    pub(crate) fn deliver(&mut self, id: ProcessId, mail: Mail) -> Result<(), AddressError> {
        self.catch_up(id);
        let max = self.limits.max_mailbox;
        let refusal = match self.processes.find(id) {
            Some(process) if process.is_ending() => AddressError::Gone,
            Some(process) if process.mailbox.len() >= max => AddressError::Full,
            Some(_) => {
                self.mail(id, mail);
                return Ok(());
            }
            None => AddressError::Gone,
        };
        self.dead.push(Dead::Mail(mail));
        Err(refusal)
    }

    pub(crate) fn send_after(
        &mut self,
        process: ProcessId,
        delay: Duration,
        info: Box<dyn Any + Send>,
    ) {
        let timer = self.timers.add(later(self.now, delay), Due::Info { process, info });
        self.note_timer(process, timer);
    }

    pub(crate) fn send_every(&mut self, process: ProcessId, period: Duration, make: MakeInfo) {
        let period = period.max(Duration::from_millis(1));
        let timer = self.timers.add(later(self.now, period), Due::Every { process, period, make });
        self.note_timer(process, timer);
    }

    /// A process' timers end with it.
    fn note_timer(&mut self, id: ProcessId, timer: TimerId) {
        self.process(id).rare.get_or_insert_default().timers.push(timer);
    }

    fn forget_timer(&mut self, id: ProcessId, timer: TimerId) {
        if let Some(rare) = self.processes.find(id).and_then(|process| process.rare.as_mut()) {
            rare.timers.retain(|noted| *noted != timer);
        }
    }

    /// Acts on a timer that is due.
    pub(crate) fn handle_due(&mut self, timer: TimerId, due: Due) {
        match due {
            Due::Wake(waker) => self.wakes.push(waker),
            Due::Info { process, info } => {
                self.forget_timer(process, timer);
                if self.deliver(process, Mail::Info(info)) == Err(AddressError::Full) {
                    self.counters.overloaded += 1;
                    tracing::warn!("a channel's mailbox is full: a timer's message is lost");
                }
            }
            Due::Every { process, period, make } => {
                self.forget_timer(process, timer);
                if self.deliver(process, Mail::Tick(make.clone())) != Err(AddressError::Gone) {
                    self.send_every(process, period, make);
                }
            }
            Due::Overdue(process) => self.overdue(process),
        }
    }

    pub(crate) fn subscribe(&mut self, id: ProcessId, topic: &str) {
        let Some(process) = self.processes.find(id) else { return };
        let subscriber = Subscriber {
            connection: process.connection,
            process: id.index,
            mount: process.mount,
            route: process.route,
            kind: Kind::Plain,
            version: Version::V2,
        };
        let index = self.topics.hold(topic);
        let position = self.add_subscriber(index, subscriber);
        self.process(id).rare.get_or_insert_default().subscriptions.push((index, position));
    }

    pub(crate) fn unsubscribe(&mut self, id: ProcessId, topic: &str) {
        self.catch_up(id);
        let Some(index) = self.topics.find(topic) else { return };
        while let Some(rare) = self.processes.find(id).and_then(|process| process.rare.as_mut()) {
            let Some(place) = rare.subscriptions.iter().position(|(held, _)| *held == index) else {
                return;
            };
            let (_, position) = rare.subscriptions.swap_remove(place);
            self.remove_subscriber(index, position);
            self.topics.release(index);
        }
    }

    /// Ends all subscriptions of a process, to its own topic and to others. It gets what was
    /// broadcast before.
    pub(crate) fn leave_topics(&mut self, id: ProcessId) {
        self.catch_up(id);
        self.desert_topics(id);
    }

    /// The same for one whose client is gone: nothing is sent to it any more.
    pub(crate) fn desert_topics(&mut self, id: ProcessId) {
        let Some(process) = self.processes.find(id) else { return };
        let topic = process.topic;
        if let Some(position) = process.position.take() {
            self.remove_subscriber(topic, position);
        }
        while let Some((index, position)) =
            self.processes.find(id).and_then(|process| process.rare.as_mut()?.subscriptions.pop())
        {
            self.remove_subscriber(index, position);
            self.topics.release(index);
        }
    }

    pub(crate) fn add_subscriber(&mut self, topic: TopicIndex, subscriber: Subscriber) -> u32 {
        let (position, is_first) = self.topics.subscribe(topic, subscriber);
        if is_first {
            self.interest.add(&self.shared.interest, self.topics.name(topic));
        }
        position
    }

    pub(crate) fn remove_subscriber(&mut self, topic: TopicIndex, position: u32) {
        let Removed { moved, was_last } = self.topics.unsubscribe(topic, position);
        if was_last {
            self.interest.remove(&self.shared.interest, self.topics.name(topic));
            self.drop_fanout(topic);
        }
        // Whoever stands somewhere else now is told so.
        for Moved { subscriber, from, to } in moved.into_iter().flatten() {
            match subscriber.kind {
                Kind::Fastlane | Kind::Intercepting => {
                    self.processes.at(subscriber.process).1.position = Some(to);
                }
                Kind::Plain => {
                    let (_, process) = self.processes.at(subscriber.process);
                    let rare = process.rare.as_mut().expect("it has a subscription");
                    let held = rare.subscriptions.iter_mut().find(|held| **held == (topic, from));
                    held.expect("a subscriber knows its place").1 = to;
                }
                Kind::Socket => {
                    let session = self.connections.session(subscriber.connection);
                    session.expect("it is subscribed while it is open").id = Some((topic, to));
                }
                Kind::Ahead => unreachable!("told with its own kind"),
            }
        }
    }
}
