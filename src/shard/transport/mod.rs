//! Transports: from a connection's first byte to an open socket, and what comes and goes after.
//!
//! ```text
//!  Arriving ──request──▶ plain route ──▶ the next request, or Leaving
//!     │
//!     └──mount──▶ `connect` ──ok──▶ Open ──close, error, silence──▶ Leaving ──▶ gone
//!                    └──refused──▶ the next request
//! ```
//!
//! `admission` lets clients in. Their bytes are [read](Reading) by where the connection has come to:
//! `requests` reads heads, `connecting` acts on what `connect` has decided, `websocket` takes
//! messages out of an open socket's bytes, and `endings` waits for the client's Close. Whose time is
//! over is told by `deadlines`.
//!
//! What the application's code is to do meanwhile is handed up as an [`Errand`]; reading goes on
//! when it is done.
//!
//! **Promises**, which [`Transport::check`] looks at: every connection has one place, and the entry
//! there is its own; those admitted and refused are all there are; what is unfinished adds up; who
//! awaits a request stands in line by age.

mod admission;

mod requests;

mod connecting;

mod websocket;

mod endings;

mod deadlines;
mod unfinished;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::channels::{Callback, Connect, Hub};
use super::clock::{Clock, ceil_seconds};
use super::lines::Place;
use super::table::Table;
use crate::config::Limits;
use crate::io::ConnectionId;
use crate::message::{EndReason, LineId, PlainRoute};
use crate::telemetry::Event;
use admission::Admissions;
use deadlines::Deadlines;
use requests::Requests;
use unfinished::{Mark, Unfinished};
use websocket::{Frames, Goodbye};

pub(crate) use connecting::Connecting;
pub(crate) use endings::Last;
pub(crate) use requests::RouteCall;

/// The connections of a shard that are on their way in or out, and the bytes of all.
pub(crate) struct Transport {
    arriving: Table<Arriving>,
    leaving: Table<Leaving>,
    admissions: Admissions,
    unfinished: Unfinished,
    deadlines: Deadlines,
    routes: Arc<[PlainRoute]>,
    bounds: Bounds,
    /// Connections on their way out, to be looked at when all is written.
    ending: Vec<ConnectionId>,
    last: Last,
    /// Since when the server ends.
    draining: Option<Instant>,
    /// Futures of the application's that nobody waits for any more.
    dead: Vec<Connect>,
}

/// What connections are bounded by; times in seconds.
struct Bounds {
    max_connections: usize,
    max_connections_per_shard: usize,
    max_handshakes: usize,
    max_partial_bytes: usize,
    max_head_size: usize,
    max_json_depth: usize,
    websocket: crate::protocol::websocket::Limits,
    idle_timeout: u32,
    head_timeout: u32,
    close_timeout: u32,
}

/// A connection that is no socket yet.
struct Arriving {
    id: ConnectionId,
    peer: SocketAddr,
    /// By when its request must be whole, in the shard's seconds.
    deadline: u32,
    stage: Stage,
}

enum Stage {
    /// A request is awaited. It stands in line by this.
    Head(Mark),
    /// `connect` waits.
    Connecting(Box<Connecting>),
    /// `connect` is being polled.
    Deciding,
}

/// A connection that is a socket no more, or never was one.
struct Leaving {
    /// Whose place it is, to be looked at by [`check`](Transport::check).
    #[cfg_attr(not(any(test, debug_assertions)), allow(dead_code, reason = "see above"))]
    id: ConnectionId,
    step: Step,
    /// When it is closed whatever has happened, in the shard's seconds.
    deadline: u32,
    /// There was no room for it from the first.
    was_refused: bool,
}

/// What is left to do before the TCP connection can be closed. See `endings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// There is no room for it, and it will be told so when it asks for something.
    Refuse,
    /// Our Close is queued or sent; theirs is awaited.
    AwaitClose,
    /// Both Closes are there: when all is written, close.
    Close,
    /// The last answer is queued: when all is written, end our side and wait for theirs, so that
    /// what they still send does not destroy what we sent.
    Shutdown,
    /// Our side has ended.
    AwaitEnd,
}

/// Code of the application's that is to run, while no table is borrowed.
pub(crate) enum Errand<'a> {
    Callback(Callback<'a>),
    Connect(Box<Connecting>),
    Route(RouteCall),
}

/// The bytes of one receive, as they are read.
pub(crate) enum Reading<'b> {
    Requests(Requests<'b>),
    Frames(Frames<'b>),
}

/// What reading has come to.
pub(crate) enum Read<'r> {
    /// Something was done; there may be more.
    More,
    /// This is to be done before reading goes on.
    Errand(Errand<'r>),
    /// There is nothing more to read, or nobody to read it for.
    Over(Goodbye),
}

impl Transport {
    pub(crate) fn new(limits: &Limits, routes: Arc<[PlainRoute]>) -> Self {
        let bounds = Bounds {
            max_connections: limits.max_connections,
            max_connections_per_shard: limits.max_connections_per_shard,
            max_handshakes: limits.max_handshakes,
            max_partial_bytes: limits.max_partial_bytes,
            max_head_size: limits.max_head_size,
            max_json_depth: limits.max_json_depth,
            websocket: crate::protocol::websocket::Limits {
                max_frame_size: limits.max_frame_size,
                max_message_size: limits.max_message_size,
            },
            idle_timeout: ceil_seconds(limits.idle_timeout),
            head_timeout: ceil_seconds(limits.head_timeout),
            close_timeout: ceil_seconds(limits.close_timeout),
        };
        Self {
            arriving: Table::default(),
            leaving: Table::default(),
            admissions: Admissions::default(),
            unfinished: Unfinished::default(),
            deadlines: Deadlines::new(),
            routes,
            bounds,
            ending: Vec::new(),
            last: Last::default(),
            draining: None,
            dead: Vec::new(),
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
        match hub.lines.hear(id.into(), hub.clock.seconds_begun())? {
            Place::Open(session) => {
                let line = LineId::from(id);
                let encoding = hub.lines.encoding(line).expect("it is open");
                let begun = self.unfinished.take_message(id);
                let limits = self.bounds.websocket;
                Some(Reading::Frames(Frames::new(line, session, encoding, begun, bytes, limits)))
            }
            Place::Arriving(place) => self.begin_head(hub, place, bytes),
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
    #[inline]
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

    /// The kernel takes more of a connection's bytes.
    pub(crate) fn writable(&mut self, hub: &mut Hub, id: ConnectionId) {
        hub.lines.unblock(id.into());
        if let Some(Place::Leaving(_)) = hub.lines.place(id.into()) {
            self.ending.push(id);
        }
    }

    /// Nothing more will come from this connection.
    pub(crate) fn ended(&mut self, hub: &mut Hub, id: ConnectionId, error: Option<std::io::Error>) {
        if let Some(error) = error {
            return self.end(hub, id, EndReason::Broken(error));
        }
        match hub.lines.place(id.into()) {
            None => {}
            // No socket can come of it, so nobody need wait for `connect`.
            Some(Place::Arriving(place)) if !self.arriving[place as usize].awaits_request() => {
                self.drop_connection(hub, id);
            }
            // A half-closed client still reads what is under way, but it can neither answer a Close
            // nor send a heartbeat: what is queued goes out, and that was it.
            Some(_) => self.leave(hub, id, Step::Close, &crate::message::Stop::Closed),
        }
    }

    /// Ends the connections that the owners below have noted.
    pub(crate) fn do_chores(&mut self, hub: &mut Hub) {
        for (line, reason) in hub.chores.take_ends() {
            self.end(hub, line.connection(), reason);
        }
    }

    /// Closes everybody, once. Who was accepted too late to be among them is closed then and there.
    pub(crate) fn drain(&mut self, hub: &mut Hub) {
        self.draining = Some(hub.clock.now());
        let places: Vec<_> = hub.lines.places().collect();
        for (line, place) in places {
            let id = line.connection();
            match place {
                Place::Open(_) => self.end(hub, id, EndReason::Draining),
                Place::Leaving(place) if self.leaving[place as usize].step != Step::Refuse => {}
                Place::Arriving(_) | Place::Leaving(_) => self.drop_connection(hub, id),
                Place::Empty => unreachable!("whoever is there has a place"),
            }
        }
    }

    /// Since when the server ends.
    #[inline]
    pub(crate) fn draining(&self) -> Option<Instant> {
        self.draining
    }

    /// When somebody's time may be over.
    pub(crate) fn next_tick(&self, clock: &Clock) -> Option<Instant> {
        let waits = !self.deadlines.is_empty() || self.draining.is_some();
        waits.then(|| clock.next_second())
    }

    /// What is to be dropped while no table is borrowed.
    pub(crate) fn take_dead(&mut self) -> Vec<Connect> {
        std::mem::take(&mut self.dead)
    }

    /// Empties all tables, when the shard ends.
    pub(crate) fn take_all(&mut self) -> Vec<Connect> {
        let mut dead = self.take_dead();
        for arriving in std::mem::take(&mut self.arriving).into_entries() {
            if let Stage::Connecting(connecting) = arriving.stage {
                dead.push(connecting.connect);
            }
        }
        dead
    }

    /// Whether the next turn has something to do.
    pub(crate) fn has_more(&self) -> bool {
        !self.ending.is_empty() || !self.dead.is_empty()
    }

    /// Somebody arrives, and stands where this says.
    fn arrive(&mut self, arriving: Arriving) -> Place {
        Place::Arriving(u32::try_from(self.arriving.insert(arriving)).expect("places fit u32"))
    }

    /// Takes somebody out of those who arrive, with all that is kept of him but what he has begun to
    /// say.
    fn take_arriving(&mut self, place: u32) -> Arriving {
        let arriving = self.arriving.remove(place as usize);
        if let Stage::Head(mark) = arriving.stage {
            self.unfinished.forget_head(mark);
        }
        arriving
    }
}

impl Arriving {
    fn awaits_request(&self) -> bool {
        matches!(self.stage, Stage::Head(_))
    }
}

/// For tests.
#[cfg(any(test, feature = "testing"))]
impl Transport {
    /// Places that connections have been given, of those that the limits allow.
    pub(crate) fn admissions(&self) -> usize {
        self.admissions.len()
    }

    /// Connections on their way to a socket.
    pub(crate) fn handshakes(&self) -> usize {
        self.arriving.len()
    }

    /// Bytes of requests and messages that are not whole.
    pub(crate) fn unfinished_bytes(&self) -> usize {
        self.unfinished.bytes()
    }

    /// Entries of the wheel of deadlines.
    pub(crate) fn deadlines(&self) -> usize {
        self.deadlines.len()
    }

    /// What is noted to be done and not done yet.
    pub(crate) fn notes(&self) -> usize {
        self.ending.len() + self.last.len() + self.dead.len()
    }
}

#[cfg(any(test, debug_assertions))]
impl Transport {
    /// How many stand in lines by what they have begun.
    #[cfg(test)]
    pub(crate) fn marks(&self) -> usize {
        self.unfinished.marks()
    }

    /// Asserts what is promised.
    pub(crate) fn check(&self, hub: &Hub) {
        let (mut arriving, mut leaving, mut heads) = (0, 0, 0);
        for (line, place) in hub.lines.places() {
            match place {
                Place::Arriving(place) => {
                    let its = self.arriving.get(place as usize).expect("it stands there");
                    assert_eq!(LineId::from(its.id), line);
                    arriving += 1;
                    if let Stage::Head(mark) = its.stage {
                        assert!(self.unfinished.has_head(mark, its.id), "{line:?} stands in line");
                        heads += 1;
                    }
                }
                Place::Leaving(place) => {
                    let its = self.leaving.get(place as usize).expect("it stands there");
                    assert_eq!(LineId::from(its.id), line);
                    leaving += 1;
                }
                Place::Open(_) => {}
                Place::Empty => panic!("{line:?} has no place"),
            }
        }
        assert_eq!((arriving, leaving), (self.arriving.len(), self.leaving.len()), "places");
        assert_eq!(self.admissions.len(), hub.lines.len(), "admitted and refused");
        let refused = self.leaving.iter().filter(|(_, leaving)| leaving.was_refused).count();
        assert_eq!(self.admissions.refused(), refused, "refused");
        self.unfinished.check(heads);
    }
}

/// Asks that a connection end: the one way to go for whatever reason of ours.
impl Transport {
    pub(crate) fn end(&mut self, hub: &mut Hub, id: ConnectionId, reason: EndReason) {
        use crate::message::{Farewell, Stop};
        let Some(place) = hub.lines.place(id.into()) else { return };
        let stop =
            if matches!(reason, EndReason::Draining) { Stop::Draining } else { Stop::Closed };
        match (reason.farewell(), place) {
            (Farewell::Close(code), Place::Open(_)) => {
                hub.telemetry.tell(Event::Ending(&reason));
                self.close(hub, id, code, Step::AwaitClose, &stop);
            }
            (Farewell::Fail(code), Place::Open(_)) => {
                hub.telemetry.tell(Event::Ending(&reason));
                self.close(hub, id, code, Step::Shutdown, &stop);
            }
            // It is on its way out already, and what it is told there stands.
            (Farewell::Close(_), Place::Leaving(_)) => {}
            _ => {
                hub.telemetry.tell(Event::Ending(&reason));
                self.drop_connection(hub, id);
            }
        }
    }
}
