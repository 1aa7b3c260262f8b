//! Serving: what is on its way to big topics goes out, a part a turn.

use super::audience::Audience;
use super::dispatch::{AHEAD, serve_all};
use super::fanout::Step;
use super::outgoing::Outgoing;
use super::slices::{SHARES, cost};
use super::subscriber::TopicIndex;
use super::table::Topics;
use crate::message::{BroadcastError, ProcessId};
use crate::telemetry::Event;

impl Topics {
    /// Whether something is on its way in slices.
    pub(crate) fn has_more(&self) -> bool {
        !self.slices.is_empty()
    }

    /// Has a broadcast go out in slices, behind what is on its way already.
    pub(super) fn begin_fanout(
        &mut self,
        index: TopicIndex,
        from: Option<ProcessId>,
        mut outgoing: Outgoing,
        audience: &mut impl Audience,
    ) -> Result<(), BroadcastError> {
        let topic = &mut self.entries[index.0 as usize];
        let mut encoded = Ok(());
        if outgoing.is_gap {
            let fanout = topic.fanout.as_mut();
            if fanout.is_some_and(|fanout| fanout.join_gap(&outgoing.message)) {
                return Ok(());
            }
        } else {
            // While somebody is there to be told that it can't be encoded.
            for encoding in topic.fastlanes() {
                encoded = encoded.and(outgoing.frame(encoding).map(|_| ()));
            }
            outgoing.has_failed = encoded.is_err();
            let waiting = topic.fanout.as_ref().map_or(0, |fanout| fanout.bytes());
            if !self.slices.have_room(waiting, outgoing.size()) {
                self.telemetry.tell(Event::Overloaded);
                return Err(BroadcastError::Backlog);
            }
        }
        // Whoever made it does not get it, but gets all that came before.
        let seats = from.map(|from| audience.seats(from)).unwrap_or_default();
        let seats = seats.into_iter().filter(|(held, _)| *held == index);
        for seat in seats.clone() {
            self.catch_up_at(seat, audience);
        }
        self.slices.bytes += outgoing.size();
        let topic = &mut self.entries[index.0 as usize];
        if topic.fanout.is_none() {
            self.slices.topics.push_back(index);
            topic.fanout = Some(Box::default());
        }
        let (fanout, subscribers) = topic.fanout_and_subscribers().expect("just made");
        fanout.push(outgoing);
        for (_, place) in seats {
            fanout.put_ahead(&mut subscribers[place as usize], place);
        }
        self.mark_congestion(index);
        Ok(encoded?)
    }

    /// Serves the topics that wait, one after the other, until that comes to a slice.
    pub(crate) fn serve_slices(&mut self, audience: &mut impl Audience) {
        let mut left = self.slices.size;
        while left > 0
            && let Some(topic) = self.slices.topics.pop_front()
        {
            let size = left.min(self.slices.size / SHARES);
            let (sent, is_over) = self.serve_slice(topic, size.max(1), audience);
            self.mark_congestion(topic);
            left = left.saturating_sub(sent);
            if !is_over {
                self.slices.topics.push_back(topic);
            }
        }
    }

    /// Serves one topic until that comes to so many writes; says what it came to, and whether
    /// everyone has had everything.
    fn serve_slice(
        &mut self,
        index: TopicIndex,
        size: usize,
        audience: &mut impl Audience,
    ) -> (usize, bool) {
        let Self { entries, slices, telemetry, .. } = self;
        let topic = &mut entries[index.0 as usize];
        let Some((fanout, subscribers)) = topic.fanout_and_subscribers() else { return (0, true) };
        let bytes = fanout.bytes();
        let mut sent = 0;
        while sent < size {
            let Step::Serve(subscriber, range) = fanout.step(subscribers) else {
                topic.end_fanout();
                slices.bytes -= bytes;
                return (sent, true);
            };
            if let Some(ahead) = subscribers.get(fanout.cursor() + AHEAD) {
                audience.prefetch(ahead.line);
            }
            let broadcasts = range.len();
            if let Some(frame) = fanout.joined(subscriber, &range) {
                audience.frame(subscriber, frame, broadcasts);
            } else {
                serve_all(subscriber, fanout.range_mut(range), audience, telemetry);
            }
            sent += cost(fanout.wave_bytes());
        }
        slices.bytes -= bytes - fanout.bytes();
        (sent, false)
    }
}
