//! Deadlines: whose time is over, and what becomes of them.
//!
//! Nobody is judged by what was not read yet; see [`Hearing`](super::hearing::Hearing).

use super::hearing::PATIENCE;
use super::table::{Bounds, Step, Transport};
use crate::io::{ConnectionId, Io};
use crate::message::{EndReason, Response};
use crate::protocol::http::Afterwards;
use crate::shard::channels::Hub;
use crate::shard::lines::Place;
use crate::telemetry::{Event, Who};

impl Transport {
    /// Looks at those whose time may be over.
    pub(crate) fn take_due(&mut self, hub: &mut Hub, io: &impl Io) {
        let seconds = hub.clock.seconds();
        if !self.hearing.is_over(seconds, io.has_told_all()) {
            return;
        }
        while let Some(ids) = self.deadlines.next_due(seconds) {
            for id in ids {
                if let Some(deadline) = self.check_deadline(hub, io, id) {
                    self.deadlines.insert(id, seconds, deadline);
                }
            }
        }
    }

    /// A connection's time may be over; if not, says when to look again.
    fn check_deadline(&mut self, hub: &mut Hub, io: &impl Io, id: ConnectionId) -> Option<u32> {
        let now = hub.clock.seconds();
        let (heard, place) = hub.lines.heard(id.into())?;
        if self.waiting.has(id) && !matches!(place, Place::Leaving(_)) {
            // It has spoken, and it is for us to listen.
            return Some(now + self.bounds.shortest_idle);
        }
        match place {
            Place::Open(_, mount) => {
                let idle = heard + self.bounds.of(mount).idle_timeout;
                if now < idle {
                    return Some(idle);
                }
                if io.is_starved(id) {
                    // Something has come, and there was no buffer to read it into.
                    return Some(now + 1);
                }
                self.end(hub, id, EndReason::Idle);
            }
            Place::Arriving(place) => {
                let arriving = &self.arriving[place as usize];
                let (is_head, peer) = (arriving.awaits_request(), arriving.peer);
                let idle = heard + self.bounds.idle_timeout;
                let deadline = if is_head { arriving.deadline } else { idle };
                if now < deadline {
                    // What follows may have an earlier deadline, and nobody is told when it begins.
                    let Bounds { shortest_idle, head_timeout, .. } = self.bounds;
                    return Some(deadline.min(now + shortest_idle.min(head_timeout)));
                }
                if io.is_starved(id) {
                    return Some(now + 1);
                }
                if !is_head {
                    self.end(hub, id, EndReason::Idle);
                } else if self.unfinished.kept_bytes(id) == 0 {
                    // Who has not begun to ask is told nothing: that could be taken for the answer
                    // to a request that is on its way.
                    self.end(hub, id, EndReason::SlowRequest);
                } else {
                    hub.telemetry.tell_of(&Who::peer(peer), Event::RequestTooSlow);
                    self.answer(hub, id, &Response::new(408), false, Afterwards::Close);
                }
            }
            Place::Leaving(place) => {
                let leaving = &mut self.leaving[place as usize];
                if now < leaving.deadline {
                    return Some(leaving.deadline);
                }
                // Not for ever: who is on his way out may send as much as he likes.
                if leaving.spared < PATIENCE && io.is_starved(id) {
                    leaving.spared += 1;
                    return Some(now + 1);
                }
                let reason = match leaving.step {
                    Step::Refuse => EndReason::SlowRequest,
                    _ => EndReason::Overdue,
                };
                self.end(hub, id, reason);
            }
            Place::Empty => unreachable!("whoever is there has a place"),
        }
        None
    }
}
