//! Reading: the bytes of one receive, by where their connection has come to.

use super::errand::{Goodbye, Read};
use super::requests::Requests;
use super::table::{Step, Transport};
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
    /// Begins to read what a client has sent; `None` if there is nothing to be made of it.
    #[inline]
    pub(crate) fn begin<'b>(
        &mut self,
        hub: &mut Hub,
        id: ConnectionId,
        bytes: &'b mut [u8],
    ) -> Option<Reading<'b>> {
        let (place, encoding) = hub.lines.hear(id.into(), hub.clock.seconds_begun())?;
        match place {
            Place::Open(session) => {
                let line = LineId::from(id);
                let encoding = encoding.expect("what is open has an encoding");
                let begun = self.unfinished.take_message(id);
                let limits = self.bounds.websocket;
                Some(Reading::Frames(Frames::new(line, session, encoding, begun, bytes, limits)))
            }
            Place::Arriving(place) => self.begin_head(hub, place, bytes).map(Reading::Requests),
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
            Reading::Frames(frames) => frames.read(hub, self.bounds.max_json_depth),
            Reading::Requests(requests) => self.read_request(hub, requests),
        }
    }

    /// Has read what there was.
    #[inline]
    pub(crate) fn end_reading(&mut self, hub: &mut Hub, reading: Reading<'_>, how: Goodbye) {
        match reading {
            Reading::Frames(frames) => self.end_frames(hub, frames, how),
            Reading::Requests(requests) => self.end_requests(requests),
        }
        self.trim_unfinished(hub);
    }
}
