//! Dispatch: a broadcast to this shard's subscribers, at once or, if they are many, in slices.

use super::audience::{Audience, Delivery};
use super::outgoing::Outgoing;
use super::subscriber::{Kind, Seat, Subscriber, TopicIndex};
use super::table::Topics;
use crate::message::{Broadcast, BroadcastError, LineId, ProcessId};
use crate::protocol::phoenix::EncodeError;
use crate::shard::links::GapInbox;
use crate::telemetry::{Event, Who};

impl Topics {
    /// Sends a broadcast to this shard's subscribers, but not to `from`.
    ///
    /// # Errors
    ///
    /// When it can't be encoded for some of them; all others are served. (In Phoenix those behind the
    /// first are not, so that who gets it depends on who came when.) Or when too much is on its way to
    /// them already; then nobody gets it.
    pub(crate) fn dispatch(
        &mut self,
        broadcast: &Broadcast,
        from: Option<ProcessId>,
        audience: &mut impl Audience,
    ) -> Result<(), BroadcastError> {
        let Some(topic) = self.find(broadcast.topic()) else { return Ok(()) };
        self.send_out(topic, from, Outgoing::new(broadcast), audience)
    }

    /// Takes a broadcast that was made elsewhere. Should there be no room for it, the topic's channels
    /// are told that they missed it.
    ///
    /// # Errors
    ///
    /// When it can't be encoded for some of the subscribers.
    pub(crate) fn receive(
        &mut self,
        broadcast: &Broadcast,
        from: Option<ProcessId>,
        audience: &mut impl Audience,
    ) -> Result<(), BroadcastError> {
        let Err(error) = self.dispatch(broadcast, from, audience) else { return Ok(()) };
        let (topic, event) = (broadcast.topic(), broadcast.event());
        let failed = Event::BroadcastFailed { event, error: &error };
        self.telemetry.tell_of(&Who::topic(topic), failed);
        if error == BroadcastError::Backlog
            && let Some(topic) = self.find(topic)
        {
            self.tell_gap(topic, broadcast, audience);
        }
        if error == BroadcastError::Backlog { Ok(()) } else { Err(error) }
    }

    /// Tells the channels that missed something, each topic's once.
    pub(crate) fn take_gaps(&mut self, gaps: &GapInbox, audience: &mut impl Audience) {
        if gaps.is_empty() {
            return;
        }
        let mut told = std::collections::HashSet::new();
        for broadcast in gaps.take() {
            let Some(topic) = self.find(broadcast.topic()) else { continue };
            if told.insert(topic) || broadcast.is_disconnect() {
                self.tell_gap(topic, &broadcast, audience);
            }
        }
        if gaps.take_unknown() {
            for topic in self.indices() {
                // Sockets whose id the missed one may have been: rather closed than left open.
                let unknown = Broadcast::bare(self.name(topic), Broadcast::DISCONNECT);
                self.tell_gap(topic, &unknown, audience);
            }
        }
    }

    /// Tells a topic's channels that they missed a broadcast.
    pub(super) fn tell_gap(
        &mut self,
        topic: TopicIndex,
        missed: &Broadcast,
        audience: &mut impl Audience,
    ) {
        let told = self.send_out(topic, None, Outgoing::gap(missed), audience);
        debug_assert!(told.is_ok(), "a gap needs no room and no frame");
    }

    fn send_out(
        &mut self,
        index: TopicIndex,
        from: Option<ProcessId>,
        mut outgoing: Outgoing,
        audience: &mut impl Audience,
    ) -> Result<(), BroadcastError> {
        let topic = &self.entries[index.0 as usize];
        let everyone = topic.subscribers().len();
        if topic.fanout.is_some() || !self.slices.fits(everyone, outgoing.size()) {
            return self.begin_fanout(index, from, outgoing, audience);
        }
        let mut served = Ok(());
        for place in 0..everyone {
            let subscribers = self.entries[index.0 as usize].subscribers();
            if let Some(ahead) = subscribers.get(place + AHEAD) {
                audience.prefetch(ahead.line);
            }
            let subscriber = subscribers[place];
            if from.is_none_or(|from| from.index != subscriber.process) {
                // What another topic has for it was there before.
                self.catch_up(subscriber.line, audience);
                let its = serve(subscriber, &mut outgoing, audience);
                served = served.and(its);
            }
        }
        Ok(served?)
    }

    /// Gives a client at once all that is on its way to its channels. Called before anything else is
    /// queued for it.
    #[inline]
    pub(crate) fn catch_up(&mut self, line: LineId, audience: &mut impl Audience) {
        if !self.slices.is_empty() {
            self.catch_up_all(line, audience);
        }
    }

    fn catch_up_all(&mut self, line: LineId, audience: &mut impl Audience) {
        for process in audience.channels(line) {
            for seat in audience.seats(process) {
                self.catch_up_at(seat, audience);
            }
        }
    }

    pub(super) fn catch_up_at(&mut self, (index, place): Seat, audience: &mut impl Audience) {
        let Self { entries, telemetry, .. } = self;
        let topic = &mut entries[index.0 as usize];
        if let Some((fanout, subscribers)) = topic.fanout_and_subscribers() {
            let (subscriber, owed) = fanout.catch_up(subscribers, place);
            serve_all(subscriber, fanout.range_mut(owed), audience, telemetry);
        }
    }
}

/// Gives one subscriber a broadcast, or the word of a gap.
#[inline]
pub(super) fn serve(
    subscriber: Subscriber,
    outgoing: &mut Outgoing,
    audience: &mut impl Audience,
) -> Result<(), EncodeError> {
    let message = &outgoing.message;
    match subscriber.kind {
        Kind::Socket if message.is_disconnect() => audience.disconnect(subscriber.line),
        Kind::Socket => {}
        _ if outgoing.is_gap => audience.mail(subscriber, Delivery::Gap, message),
        Kind::Intercepting if audience.intercepts(subscriber, message.event()) => {
            audience.mail(subscriber, Delivery::Out, message);
        }
        Kind::Fastlane | Kind::Intercepting => {
            let frame = outgoing.frame(subscriber.encoding)?;
            audience.frame(subscriber, frame, 1);
        }
        Kind::Plain => audience.mail(subscriber, Delivery::Broadcast, message),
        Kind::Ahead => unreachable!("a fan-out says who somebody is before he is served"),
    }
    Ok(())
}

/// Gives one subscriber several of those that are on their way. Says of each, once, that it could
/// not be encoded: when it was made, nobody was sure to need it so.
pub(super) fn serve_all<'a>(
    to: Subscriber,
    broadcasts: impl Iterator<Item = &'a mut Outgoing>,
    audience: &mut impl Audience,
    telemetry: &crate::telemetry::Telemetry,
) {
    for outgoing in broadcasts {
        if let Err(error) = serve(to, outgoing, audience)
            && !std::mem::replace(&mut outgoing.has_failed, true)
        {
            let (topic, event) = (outgoing.message.topic(), outgoing.message.event());
            let unencoded = Event::BroadcastUnencoded { event, error: &error };
            telemetry.tell_of(&Who::topic(topic), unencoded);
        }
    }
}

/// How far ahead of the subscriber being served a client's line is asked for: about what memory
/// takes, in subscribers served from the cache.
pub(super) const AHEAD: usize = 8;
