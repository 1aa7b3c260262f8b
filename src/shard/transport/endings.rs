//! Endings: how a connection goes, from the reason to the last byte.
//!
//! ```text
//!  no room ──────▶ Refuse ──asks, is told 503──▶ Shutdown
//!  the client closes ─────────────────────────▶ Close ───all written──▶ gone
//!  we close ─────▶ AwaitClose ──their Close──────┘                       ▲
//!  we gave up ───▶ Shutdown ──all written──▶ AwaitEnd ──their end────────┘
//! ```
//!
//! The steps are [`Step`]'s. A deadline goes beside them, and past it the connection is gone
//! whatever it waits for.

use std::io::ErrorKind;

use super::table::{Leaving, Stage, Step, Transport};
use super::unfinished::Mark;
use crate::io::ConnectionId;
use crate::message::{EndReason, Farewell, Stop};
use crate::protocol::websocket::{self, CloseCode, Input, Message};
use crate::shard::channels::Hub;
use crate::shard::lines::{Place, Progress};
use crate::telemetry::{Event, Who};

impl Transport {
    /// Ends a connection for a reason of ours, which says how its client is told. Those that are
    /// answered instead are told by their answer, and [leave](Self::leave).
    pub(crate) fn end(&mut self, hub: &mut Hub, id: ConnectionId, reason: EndReason) {
        let Some(place) = hub.lines.place(id.into()) else { return };
        let stop =
            if matches!(reason, EndReason::Draining) { Stop::Draining } else { Stop::Closed };
        let farewell = reason.farewell();
        if let (Farewell::Close(_), Place::Leaving(_)) = (farewell, place) {
            // It is on its way out already, and what it is told there stands.
            return;
        }
        let who = self.who(hub, id, place);
        hub.telemetry.tell_of(&who, Event::Ending(&reason));
        let is_malformed =
            matches!(reason, EndReason::BadFrame { .. } | EndReason::BadMessage { .. });
        match (farewell, place) {
            (Farewell::Close(code), Place::Open(..)) => {
                self.close(hub, id, (code, reason.words()), Step::AwaitClose, &stop);
            }
            (Farewell::Fail(code), Place::Open(..)) => {
                self.close(hub, id, (code, reason.words()), Step::Shutdown, &stop);
            }
            _ => self.drop_connection(hub, id),
        }
        if is_malformed {
            self.hasten(hub, id);
        }
    }

    /// Has a connection on its way out gone soon, for it has sent what can't be read. Phoenix does
    /// not wait at all. But bytes of it may be on their way, and the reset by which they would be
    /// answered could overtake our Close.
    fn hasten(&mut self, hub: &mut Hub, id: ConnectionId) {
        let (now, deadline) = (hub.clock.seconds(), hub.clock.seconds_begun() + MALFORMED_SECONDS);
        if let Some(leaving) = self.leaving_of(hub, id)
            && deadline < leaving.deadline
        {
            leaving.deadline = deadline;
            self.deadlines.insert(id, now, deadline);
        }
    }

    /// Who stands at a place.
    fn who(&self, hub: &Hub, id: ConnectionId, place: Place) -> Who {
        match place {
            Place::Arriving(place) => Who::peer(self.arriving[place as usize].peer),
            Place::Open(session, _) => hub.who(session, id.into()),
            Place::Leaving(_) | Place::Empty => Who::NOBODY,
        }
    }

    /// The kernel takes more of a connection's bytes.
    pub(crate) fn writable(&mut self, hub: &mut Hub, id: ConnectionId) {
        hub.lines.unblock(id.into());
        match hub.lines.place(id.into()) {
            Some(Place::Leaving(_)) => self.ending.push(id),
            Some(Place::Arriving(_)) if self.is_handing_over(hub, id) => self.handing_over.push(id),
            _ => {}
        }
    }

    /// Nothing more will come from this connection.
    pub(crate) fn ended(&mut self, hub: &mut Hub, id: ConnectionId, error: Option<std::io::Error>) {
        if let Some(error) = error {
            // One who owes nothing to us has taken all, and it is the network that has not.
            let is_stuck = error.kind() == ErrorKind::TimedOut && hub.lines.owes(id.into()) > 0;
            let send_timeout = self.bounds.send_timeout;
            let reason = match is_stuck {
                true => EndReason::StuckReader { send_timeout },
                false => EndReason::Broken(error),
            };
            return self.end(hub, id, reason);
        }
        if self.waiting.end_behind(id) || self.is_handing_over(hub, id) {
            // Who takes the connection reads its end for himself.
            return;
        }
        match hub.lines.place(id.into()) {
            None => {}
            // No socket can come of it, so nobody need wait for `connect`.
            Some(Place::Arriving(place)) if !self.arriving[place as usize].awaits_request() => {
                self.drop_connection(hub, id);
            }
            // A half-closed client still reads what is under way, but it can neither answer a Close
            // nor send a heartbeat: what is queued goes out, and that was it.
            Some(_) => self.leave(hub, id, Step::Close, &Stop::Closed),
        }
    }

    /// Ends the connections that the owners below have noted.
    pub(crate) fn do_chores(&mut self, hub: &mut Hub) {
        for (line, reason) in hub.chores.take_ends() {
            self.end(hub, line.into(), reason);
        }
    }

    /// Closes everybody, once. Who was accepted too late to be among them is closed then and there.
    ///
    /// What was asked is answered; and if the server `is_patient` with those who have only just come,
    /// so is what they are about to ask.
    pub(crate) fn drain(&mut self, hub: &mut Hub, is_patient: bool) {
        self.draining = Some(hub.clock.now());
        let places: Vec<_> = hub.lines.places().collect();
        for (line, place) in places {
            let id = ConnectionId::from(line);
            match place {
                Place::Open(..) => self.end(hub, id, EndReason::Draining),
                Place::Leaving(place) if self.leaving[place as usize].step != Step::Refuse => {}
                Place::Arriving(place) if self.is_to_be_answered(place, is_patient) => {
                    self.await_last_request(hub, place);
                }
                Place::Arriving(place) if !self.arriving[place as usize].awaits_request() => {
                    self.turn_away(hub, id);
                }
                Place::Arriving(_) | Place::Leaving(_) => self.drop_connection(hub, id),
                Place::Empty => unreachable!("whoever is there has a place"),
            }
        }
    }

    /// Whether the request of a client is still to be answered, now that the server ends.
    fn is_to_be_answered(&self, place: u32, is_patient: bool) -> bool {
        let arriving = &self.arriving[place as usize];
        let id = arriving.id;
        let has_begun = || self.unfinished.kept_bytes(id) > 0 || self.waiting.has(id);
        arriving.awaits_request() && (has_begun() || (is_patient && !arriving.was_answered))
    }

    /// Waits for a request as for a Close, and no longer.
    fn await_last_request(&mut self, hub: &mut Hub, place: u32) {
        let Self { arriving, deadlines, bounds, .. } = self;
        let arriving = &mut arriving[place as usize];
        let latest = hub.clock.seconds_begun() + bounds.close_timeout;
        arriving.deadline = arriving.deadline.min(latest);
        deadlines.insert(arriving.id, hub.clock.seconds(), arriving.deadline);
    }

    /// Closes the oldest of the unfinished while they have too many bytes.
    pub(super) fn trim_unfinished(&mut self, hub: &mut Hub) {
        let max_partial_bytes = self.bounds.max_partial_bytes;
        while let Some(id) = self.unfinished.oldest_past(max_partial_bytes) {
            self.unfinished.forget(id);
            self.end(hub, id, EndReason::Unfinished { max_partial_bytes });
        }
    }

    /// Waits for the client's Close; everything else that comes is no longer heard.
    pub(super) fn await_close(&mut self, hub: &mut Hub, id: ConnectionId, bytes: &mut [u8]) {
        let Some(websocket) = self.leaving_of(hub, id).map(|leaving| leaving.websocket) else {
            return;
        };
        let (begun, partial) = self.unfinished.take_message(id).unzip();
        let input = Input::new(partial, bytes, websocket);
        self.look_for_close(hub, id, input, begun);
        self.trim_unfinished(hub);
    }

    /// Looks for the client's Close in what it has sent.
    pub(super) fn look_for_close(
        &mut self,
        hub: &mut Hub,
        id: ConnectionId,
        mut input: Input<'_>,
        begun: Option<Mark>,
    ) {
        let step = loop {
            match input.next_message() {
                Ok(None) => break Step::AwaitClose,
                Ok(Some(Message::Close(_))) => break Step::Close,
                Err(_) => break Step::Shutdown,
                Ok(Some(_)) => {}
            }
        };
        let Some(leaving) = self.leaving_of(hub, id).filter(|it| it.step == Step::AwaitClose)
        else {
            return;
        };
        leaving.step = step;
        if step != Step::AwaitClose {
            self.ending.push(id);
        } else if let Some(partial) = input.finish() {
            self.unfinished.keep_message(id, partial, begun);
        }
    }

    /// Closes an open socket from our side.
    ///
    /// If its frames can't be understood any more, its Close among them, what still comes is thrown
    /// away until the client ends its side too: were the connection closed with some of it unread, a
    /// reset could overtake our Close and say nothing of why.
    pub(super) fn close(
        &mut self,
        hub: &mut Hub,
        id: ConnectionId,
        (code, words): (CloseCode, &str),
        step: Step,
        reason: &Stop,
    ) {
        // What was broadcast before comes before the Close.
        hub.catch_up(id.into());
        hub.write_bytes(id.into(), |out| websocket::write_close_with(out, code, words));
        self.leave(hub, id, step, reason);
    }

    /// A connection is on its way out from here on, or a step further. A socket's channels end.
    pub(super) fn leave(&mut self, hub: &mut Hub, id: ConnectionId, step: Step, reason: &Stop) {
        let deadline = hub.clock.seconds_begun() + self.bounds.close_timeout;
        let Some(place) = hub.lines.place(id.into()) else { return };
        if step != Step::AwaitClose {
            // Nothing that comes is looked at any more.
            self.unfinished.forget(id);
        }
        if let Place::Leaving(place) = place {
            let leaving = &mut self.leaving[place as usize];
            (leaving.step, leaving.deadline) = (step, deadline);
        } else {
            let websocket = match place {
                Place::Open(_, mount) => self.bounds.of(mount).websocket,
                _ => self.bounds.websocket,
            };
            let was_refused = false;
            let leaving = Leaving { id, step, deadline, websocket, was_refused, spared: 0 };
            let aside = self.stand_aside(leaving);
            hub.lines.set_place(id.into(), aside, None);
            self.empty(hub, place, reason);
        }
        self.deadlines.insert(id, hub.clock.seconds(), deadline);
        self.ending.push(id);
    }

    /// Drops a connection without a word.
    pub(super) fn drop_connection(&mut self, hub: &mut Hub, id: ConnectionId) {
        let Some(place) = hub.lines.remove(id.into()) else { return };
        self.unfinished.forget(id);
        self.waiting.forget(id);
        hub.paces.forget(id.into());
        let was_refused = self.empty(hub, place, &Stop::Closed);
        self.admissions.dismiss(hub.links.shared(), was_refused);
        self.last.closed.push(id);
    }

    /// Empties the place of a connection that stands elsewhere now, or is gone. Says whether there
    /// was no room for it from the first.
    fn empty(&mut self, hub: &mut Hub, place: Place, reason: &Stop) -> bool {
        match place {
            Place::Open(session, _) => hub.end_session(session, reason),
            Place::Arriving(place) => {
                if let Stage::Connecting(connecting) = self.take_arriving(place) {
                    self.dead.push(connecting.connect);
                }
            }
            Place::Leaving(place) => return self.leaving.remove(place as usize).was_refused,
            Place::Empty => unreachable!("whoever is there has a place"),
        }
        false
    }

    /// After a flush: those connections on their way out that have nothing left to write go on.
    pub(crate) fn advance_endings(&mut self, hub: &mut Hub) {
        for id in std::mem::take(&mut self.ending) {
            let progress = hub.lines.progress(id.into());
            let Some(leaving) = self.leaving_of(hub, id) else { continue };
            match (leaving.step, progress) {
                (Step::Refuse | Step::AwaitClose | Step::AwaitEnd, _) => {}
                // The socket takes more, but not in one write: on with it next turn.
                (_, Progress::GoesOn) => self.ending.push(id),
                // Looked at again when it is writable; or its deadline comes.
                (_, Progress::Blocked) => {}
                (Step::Close, Progress::Drained) => self.drop_connection(hub, id),
                (Step::Shutdown, Progress::Drained) => {
                    leaving.step = Step::AwaitEnd;
                    self.last.shut_down.push(id);
                }
            }
        }
    }

    fn leaving_of(&mut self, hub: &mut Hub, id: ConnectionId) -> Option<&mut Leaving> {
        match hub.lines.place(id.into())? {
            Place::Leaving(place) => Some(&mut self.leaving[place as usize]),
            _ => None,
        }
    }
}

/// Seconds for a client that has sent what can't be read to answer our Close, if
/// [`close_timeout`](crate::Limits::close_timeout) is not shorter.
const MALFORMED_SECONDS: u32 = 1;
