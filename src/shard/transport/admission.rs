//! Admission: who may stay, and what becomes of those for whom there is no room.
//!
//! A client beyond the limit is answered with 503 as soon as it asks for something. Such guests are
//! few: past [`MAX_REFUSED`] of them the next is closed without a word, so that a flood is not
//! kept waiting at our cost.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use super::requests::unavailable;
use super::table::{Arriving, Leaving, Stage, Step, Transport};
use crate::io::ConnectionId;
use crate::message::EndReason;
use crate::protocol::http::Afterwards;
use crate::shard::channels::Hub;
use crate::shard::lines::Place;
use crate::telemetry::{Event, Who};

impl Transport {
    /// A client has connected.
    pub(crate) fn accepted(&mut self, hub: &mut Hub, id: ConnectionId, peer: SocketAddr) {
        hub.telemetry.tell(Event::Accepted);
        if self.draining.is_some() {
            // An accept that was under way when the drain began.
            self.last.closed.push(id);
            return;
        }
        let (now, begun) = (hub.clock.seconds(), hub.clock.seconds_begun());
        let deadline = begun + self.bounds.head_timeout;
        let place = if self.admit(hub) {
            let stage = Stage::Head(self.unfinished.await_head(id));
            self.arrive(Arriving { id, peer, deadline, was_answered: false, stage })
        } else {
            hub.telemetry.tell_of(&Who::peer(peer), Event::ConnectionRefused);
            if self.admissions.refused >= MAX_REFUSED {
                self.last.closed.push(id);
                return;
            }
            self.admissions.refused += 1;
            let (step, websocket) = (Step::Refuse, self.bounds.websocket);
            let was_refused = true;
            self.stand_aside(Leaving { id, step, deadline, websocket, was_refused, spared: 0 })
        };
        hub.lines.insert(id.into(), begun, place);
        self.deadlines.insert(id, now, deadline.min(begun + self.bounds.shortest_idle));
    }

    /// Takes a place, if there is one.
    fn admit(&mut self, hub: &mut Hub) -> bool {
        if self.admissions.admitted >= self.bounds.max_connections_per_shard {
            return false;
        }
        // A number and nothing else: no shard concludes anything from another's having changed it.
        let shared = hub.links.shared().clone();
        if shared.connections.fetch_add(1, Ordering::Relaxed) >= self.bounds.max_connections {
            shared.connections.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        if !self.make_room_for_handshake(hub) {
            shared.connections.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        self.admissions.admitted += 1;
        true
    }

    /// Makes room for one more connection on its way to a socket. False: there is none to be made,
    /// for all that are on their way have asked and wait for us.
    fn make_room_for_handshake(&mut self, hub: &mut Hub) -> bool {
        let max_handshakes = self.bounds.max_handshakes;
        while self.arriving.len() >= max_handshakes {
            let Some(id) = self.unfinished.oldest_head() else { return false };
            self.end(hub, id, EndReason::NeverAsked { max_handshakes });
        }
        true
    }

    /// Tells a client so for whom there is no room, or no server any more, when it asks for
    /// something. What it asks for is not looked at.
    pub(super) fn turn_away(&mut self, hub: &mut Hub, id: ConnectionId) {
        self.answer(hub, id, &unavailable(), false, Afterwards::Close);
    }

    /// Somebody stands aside on his way out.
    pub(super) fn stand_aside(&mut self, leaving: Leaving) -> Place {
        Place::Leaving(u32::try_from(self.leaving.insert(leaving)).expect("places fit u32"))
    }
}

/// Connections of a shard that there is no room for, waiting for their answer or for its end to be
/// read. An honest client asks at once and goes when it has read it, so a shard that is full still
/// answers thousands a second; whoever asks nothing has
/// [`head_timeout`](crate::Limits::head_timeout).
const MAX_REFUSED: usize = 1_024;
