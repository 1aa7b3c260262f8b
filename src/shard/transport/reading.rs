//! Reading: the bytes of one receive, by where their connection has come to.

use std::time::Instant;

use super::errand::{Goodbye, Read};
use super::requests::Requests;
use super::table::{Step, Transport};
use super::waiting::Stopped;
use super::websocket::Frames;
use crate::io::ConnectionId;
use crate::message::LineId;
use crate::shard::channels::Hub;
use crate::shard::lines::Place;

/// The bytes of one receive, as they are read.
pub(crate) enum Reading<'b> {
    Requests(Requests<'b>),
    Frames(Frames<'b>),
}

impl Transport {
    /// Until when a client is not to be read, if its haste has led to nothing but refusals and
    /// crashes.
    #[inline]
    pub(crate) fn paced_until(&self, hub: &mut Hub, id: ConnectionId) -> Option<Instant> {
        let now = hub.clock.now();
        if let Some(until) = hub.paces.until(id.into(), now) {
            if self.is_handing_over(hub, id) {
                return None;
            }
            return Some(until);
        }
        if self.paces.is_empty() {
            return None;
        }
        match hub.lines.place(id.into())? {
            Place::Arriving(place) if !self.is_handing_over(hub, id) => {
                self.paces.until(self.arriving[place as usize].peer.ip(), now)
            }
            _ => None,
        }
    }

    /// Begins to read what a client has sent; `None` if there is nothing to be made of it.
    #[inline]
    pub(crate) fn begin<'b>(
        &mut self,
        hub: &mut Hub,
        id: ConnectionId,
        bytes: &'b mut [u8],
    ) -> Option<Reading<'b>> {
        let heard = hub.lines.hear(id.into(), hub.clock.seconds_begun())?;
        hub.clear_pressure();
        let share = hub.share(heard.read);
        match heard.place {
            Place::Open(session, mount) => {
                let line = LineId::from(id);
                let encoding = heard.encoding.expect("what is open has an encoding");
                let begun = self.unfinished.take_message(id);
                let bounds = self.bounds.of(mount);
                let frames = Frames::new(line, session, encoding, begun, bytes, bounds, share);
                Some(Reading::Frames(frames))
            }
            Place::Arriving(place) => {
                self.begin_head(hub, place, bytes, share).map(Reading::Requests)
            }
            Place::Leaving(place) => {
                match self.leaving[place as usize].step {
                    Step::AwaitClose => self.await_close(hub, id, bytes),
                    Step::Refuse => self.turn_away(hub, id),
                    Step::Close | Step::Shutdown | Step::AwaitEnd => {}
                }
                None
            }
            Place::Empty => unreachable!("whoever is there has a place"),
        }
    }

    /// Reads on.
    #[inline(always)]
    pub(crate) fn read<'r>(&mut self, hub: &mut Hub, reading: &'r mut Reading<'_>) -> Read<'r> {
        match reading {
            Reading::Frames(frames) => frames.read(hub),
            Reading::Requests(requests) => self.read_request(hub, requests),
        }
    }

    /// Has read what there was, or not all of it.
    #[inline]
    pub(crate) fn end_reading(
        &mut self,
        hub: &mut Hub,
        reading: Reading<'_>,
        how: Goodbye,
    ) -> Option<Stopped> {
        let stopped = match reading {
            Reading::Frames(frames) => self.end_frames(hub, frames, how),
            Reading::Requests(requests) => self.end_requests(hub, requests, how),
        };
        self.trim_unfinished(hub);
        stopped
    }
}
