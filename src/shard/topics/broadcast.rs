//! Broadcasts: dispatch to this shard's subscribers, then forward to the other shards.
//!
//! [`Core::serve`] says what a broadcast means to one subscriber. Small topics are served in one go,
//! by [`Core::dispatch`]; those that are too big for the turn in [`slices`](crate::shard::topics::slices).

use crate::message::{Broadcast, BroadcastError, GlobalProcessId, ProcessId, Stop};
use crate::protocol::phoenix::EncodeError;
use crate::shard::Core;
use crate::shard::channels::mount::handler;
use crate::shard::channels::process::{Mail, Status};
use crate::shard::lines::send_queue::{Frame, Pending};
use crate::shard::topics::fanout::Outgoing;
use crate::shard::topics::{Kind, Subscriber, TopicIndex};

impl Core {
    /// Sends a broadcast to everyone on this node.
    pub(crate) fn broadcast(&mut self, broadcast: &Broadcast) -> Result<(), BroadcastError> {
        self.dispatch(broadcast)?;
        self.forward(broadcast)
    }

    /// Sends a broadcast to this shard's subscribers, now or, if they are many, in slices.
    ///
    /// An error says that it can't be encoded for one of them; those before him were served, as in
    /// Phoenix. Or that too much is on its way to them already.
    pub(crate) fn dispatch(&mut self, broadcast: &Broadcast) -> Result<(), BroadcastError> {
        let Some(topic) = self.topics.find(broadcast.topic()) else { return Ok(()) };
        let from = self.local_process(broadcast.from());
        self.send_out(topic, from, Outgoing::new(broadcast))
    }

    /// Takes a broadcast that others have made and hear no more of. Should there be no room for it,
    /// the topic's channels are told that they missed it.
    pub(crate) fn receive_broadcast(&mut self, broadcast: &Broadcast) {
        let Err(error) = self.dispatch(broadcast) else { return };
        let (topic, event) = (broadcast.topic(), broadcast.event());
        tracing::error!(topic, event, %error, "a broadcast from outside this shard");
        if error == BroadcastError::Backlog
            && let Some(topic) = self.topics.find(topic)
        {
            self.tell_gap(topic, broadcast);
        }
    }

    /// Tells a topic's channels that they missed a broadcast.
    pub(crate) fn tell_gap(&mut self, topic: TopicIndex, missed: &Broadcast) {
        let told = self.send_out(topic, None, Outgoing::gap(missed));
        debug_assert!(told.is_ok(), "a gap needs no room and no frame");
    }

    fn send_out(
        &mut self,
        topic: TopicIndex,
        from: Option<ProcessId>,
        mut outgoing: Outgoing,
    ) -> Result<(), BroadcastError> {
        let everyone = self.topics.subscribers(topic).len();
        let waits = self.topics.fanout(topic).is_some();
        if waits || !self.slices.fits(everyone, outgoing.size()) {
            return self.begin_fanout(topic, from, outgoing);
        }
        for place in 0..everyone {
            let subscribers = self.topics.subscribers(topic);
            if let Some(ahead) = subscribers.get(place + AHEAD) {
                self.connections.prefetch(ahead.connection);
            }
            let subscriber = subscribers[place];
            if from.is_none_or(|from| from.index != subscriber.process) {
                // What another topic has for it was there before.
                self.catch_up_socket(subscriber.connection);
                self.serve(subscriber, &mut outgoing)?;
            }
        }
        Ok(())
    }

    /// Gives one subscriber a broadcast, or the word of a gap.
    #[inline]
    pub(crate) fn serve(
        &mut self,
        subscriber: Subscriber,
        outgoing: &mut Outgoing,
    ) -> Result<(), EncodeError> {
        let message = &outgoing.message;
        match subscriber.kind {
            Kind::Socket if message.event() == "disconnect" => {
                self.disconnecting.push(subscriber.connection);
            }
            Kind::Socket => {}
            _ if outgoing.is_gap => {
                self.deliver_broadcast(subscriber.process, Mail::Gap(message.clone()));
            }
            Kind::Intercepting
                if handler(&self.mounts, subscriber.mount, subscriber.route)
                    .intercepts(message.event()) =>
            {
                self.deliver_broadcast(subscriber.process, Mail::Out(message.clone()));
            }
            Kind::Fastlane | Kind::Intercepting => {
                let frame = outgoing.frame(subscriber.version)?;
                self.send_broadcasts(subscriber, frame, 1);
            }
            Kind::Plain => {
                self.deliver_broadcast(subscriber.process, Mail::Broadcast(message.clone()));
            }
            Kind::Ahead => unreachable!("a fan-out says who somebody is before he is served"),
        }
        Ok(())
    }

    /// Queues the finished frame of one broadcast, or those of several in one, past the channel.
    #[inline]
    pub(crate) fn send_broadcasts(&mut self, to: Subscriber, frame: &Frame, broadcasts: usize) {
        if let Some(connection) = self.connections.find(to.connection) {
            self.counters.deliveries += broadcasts as u64;
            let pending = Pending::Broadcast { frame: frame.clone(), process: to.process };
            self.send_queue.push(to.connection, &mut connection.outbox, pending);
            if connection.outbox.owes() > self.limits.max_send_queue {
                self.check_backlog(to.connection);
            }
        }
    }

    pub(crate) fn deliver_broadcast(&mut self, process: u32, mail: Mail) {
        let (id, process) = self.processes.at(process);
        if process.is_ending() || process.mailbox.says_already(&mail) {
            return;
        }
        if process.mailbox.has_room_for(&mail, &self.limits) {
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
pub(crate) const AHEAD: usize = 8;
