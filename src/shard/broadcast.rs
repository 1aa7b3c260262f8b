//! Broadcasts: dispatch to this shard's subscribers, then forward to the other shards.
//!
//! [`Core::dispatch`] is the whole fan-out. It is written over a range of the topic's subscribers,
//! so that it makes no difference whether a topic is served in one go or in slices.

use std::ops::Range;
use std::rc::Rc;

use super::Core;
use super::process::{GlobalProcessId, Mail, ProcessId, Status};
use super::send_queue::Frame;
use super::topics::{Kind, Subscriber, TopicIndex};
use crate::channel::Stop;
use crate::protocol::phoenix::{EncodeError, Version};
use crate::pubsub::{Broadcast, BroadcastError};

/// A broadcast's frames as this shard hands them out: made once each, counted without atomics.
struct Frames<'a> {
    broadcast: &'a Broadcast,
    frames: [Option<Frame>; 2],
}

impl Frames<'_> {
    #[inline]
    fn get(&mut self, version: Version) -> Result<&Frame, EncodeError> {
        let frame = &mut self.frames[version as usize];
        if frame.is_none() {
            *frame = Some(Rc::new(self.broadcast.frame(version)?));
        }
        Ok(frame.as_ref().expect("just made"))
    }
}

impl Core {
    /// Sends a broadcast to everyone on this node.
    pub(crate) fn broadcast(&mut self, broadcast: &Broadcast) -> Result<(), BroadcastError> {
        self.dispatch_topic(broadcast)?;
        self.forward(broadcast)
    }

    /// Sends a broadcast to this shard's subscribers.
    pub(crate) fn dispatch_topic(&mut self, broadcast: &Broadcast) -> Result<(), EncodeError> {
        let Some(topic) = self.topics.find(broadcast.topic()) else { return Ok(()) };
        let everyone = 0..self.topics.subscribers(topic).len();
        self.dispatch(topic, broadcast, everyone)
    }

    /// Sends a broadcast to the topic's subscribers at the places `range`.
    ///
    /// An error says that it can't be encoded for one of them; those before him were served, as in
    /// Phoenix.
    fn dispatch(
        &mut self,
        topic: TopicIndex,
        broadcast: &Broadcast,
        range: Range<usize>,
    ) -> Result<(), EncodeError> {
        let from = self.local_process(broadcast.from());
        let mut frames = Frames { broadcast, frames: [None, None] };
        for place in range {
            let subscribers = self.topics.subscribers(topic);
            if let Some(ahead) = subscribers.get(place + AHEAD) {
                self.connections.prefetch(ahead.connection);
            }
            let subscriber = subscribers[place];
            let is_sender = from.is_some_and(|from| from.index == subscriber.process);
            match subscriber.kind {
                Kind::Fastlane if !is_sender => self.fastlane(subscriber, &mut frames)?,
                Kind::Intercepting if !is_sender => {
                    let mount = &self.mounts[usize::from(subscriber.mount)];
                    if mount.routes[usize::from(subscriber.route)].1.intercepts(broadcast.event()) {
                        self.deliver_broadcast(subscriber.process, Mail::Out(broadcast.clone()));
                    } else {
                        self.fastlane(subscriber, &mut frames)?;
                    }
                }
                Kind::Plain if !is_sender => {
                    self.deliver_broadcast(subscriber.process, Mail::Broadcast(broadcast.clone()));
                }
                Kind::Socket if broadcast.event() == "disconnect" => {
                    self.disconnecting.push(subscriber.connection);
                }
                Kind::Fastlane | Kind::Intercepting | Kind::Plain | Kind::Socket => {}
            }
        }
        Ok(())
    }

    #[inline]
    fn fastlane(&mut self, to: Subscriber, frames: &mut Frames<'_>) -> Result<(), EncodeError> {
        let frame = frames.get(to.version)?;
        if let Some(connection) = self.connections.find(to.connection) {
            self.counters.deliveries += 1;
            self.send_queue.queue_frame(to.connection, &mut connection.outbox, frame);
            if connection.outbox.owes() > self.limits.max_send_queue {
                self.check_backlog(to.connection);
            }
        }
        Ok(())
    }

    pub(crate) fn deliver_broadcast(&mut self, process: u32, mail: Mail) {
        let (id, process) = self.processes.at(process);
        if process.is_ending() {
            return;
        }
        if process.mailbox.len() < self.limits.max_mailbox {
            process.mailbox.push(mail);
            self.ready.push_back(id);
            return;
        }
        // He would miss a message and never know. So he ends, and his client joins anew.
        self.counters.overloaded += 1;
        let reason = Stop::Error("mailbox full".to_owned());
        if process.status == Status::Joining {
            // His client waits for an answer, which he gets when the join is done.
            process.rare.get_or_insert_default().ending = Some(reason);
        } else {
            self.end_process(id, reason);
        }
    }

    /// Hands the broadcast to the other shards that have subscribers.
    fn forward(&mut self, broadcast: &Broadcast) -> Result<(), BroadcastError> {
        let interest = &self.shared.interest;
        if !interest.is_shared() {
            return Ok(());
        }
        let slot = interest.slot(broadcast.topic());
        let mut missed = 0;
        for shard in interest.shards(slot).filter(|&shard| shard != self.shard) {
            if !self.mesh.push(shard, broadcast) {
                self.shared.remotes[shard].miss(broadcast);
                self.counters.mesh_full += 1;
                missed += 1;
            }
        }
        if missed == 0 { Ok(()) } else { Err(BroadcastError::Overloaded { shards: missed }) }
    }

    /// The sender, if he is of this shard. Not if he has ended: whoever has his place in the table
    /// now made nothing, and gets what others get.
    fn local_process(&mut self, id: Option<GlobalProcessId>) -> Option<ProcessId> {
        let id = id.filter(|id| id.shard as usize == self.shard)?.process;
        self.processes.find(id).map(|_| id)
    }

    pub(crate) fn global(&self, process: ProcessId) -> GlobalProcessId {
        GlobalProcessId { shard: self.shard as u32, process }
    }
}

/// How far ahead of the subscriber being served a connection's line is asked for: about what memory
/// takes, in subscribers served from the cache.
const AHEAD: usize = 8;
