//! The table of connections on their way in or out.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admissions::Admissions;
use super::errand::Connecting;
use super::hearing::Hearing;
use super::last::Last;
use super::unfinished::{Mark, Unfinished};
use super::waiting::{LOOK, Waiting};
use super::wheel::Deadlines;
use crate::config::Limits;
use crate::io::{ConnectionId, Io};
use crate::message::Routes;
use crate::protocol::websocket;
use crate::shard::channels::{Connect, Hub};
use crate::shard::clock::{Clock, ceil_seconds};
use crate::shard::lines::Place;
use crate::shard::pace::Paces;
use crate::shard::table::Table;

/// The connections of a shard that are on their way in or out, and the bytes of all.
pub(crate) struct Transport {
    pub(super) arriving: Table<Arriving>,
    pub(super) leaving: Table<Leaving>,
    pub(super) admissions: Admissions,
    pub(super) unfinished: Unfinished,
    pub(super) waiting: Waiting,
    /// Addresses of clients who are refused again and again.
    pub(super) paces: Paces<IpAddr>,
    pub(super) deadlines: Deadlines,
    pub(super) hearing: Hearing,
    pub(super) routes: Arc<Routes>,
    pub(super) bounds: Bounds,
    /// Connections on their way out, to be looked at when all is written.
    pub(super) ending: Vec<ConnectionId>,
    pub(super) last: Last,
    /// Connections on their way to the application, to be looked at when all is written.
    pub(super) handing_over: Vec<ConnectionId>,
    /// Since when the server ends.
    pub(super) draining: Option<Instant>,
    /// Futures of the application's that nobody waits for any more.
    pub(super) dead: Vec<Connect>,
}

/// What connections are bounded by; times in seconds.
pub(super) struct Bounds {
    pub(super) max_connections: usize,
    pub(super) max_connections_per_shard: usize,
    pub(super) max_handshakes: usize,
    pub(super) max_partial_bytes: usize,
    pub(super) max_head_size: usize,
    /// Of what is no socket.
    pub(super) websocket: websocket::Limits,
    pub(super) idle_timeout: u32,
    /// The shortest of that and of all mounts'.
    pub(super) shortest_idle: u32,
    pub(super) head_timeout: u32,
    pub(super) close_timeout: u32,
    /// The kernel's, and of its accuracy.
    pub(super) send_timeout: Duration,
    mounts: Box<[SocketBounds]>,
}

/// What the sockets of a mount are bounded by.
#[derive(Clone, Copy)]
pub(super) struct SocketBounds {
    pub(super) max_json_depth: usize,
    pub(super) websocket: websocket::Limits,
    pub(super) idle_timeout: u32,
}

impl Bounds {
    /// Those of a mount.
    #[inline]
    pub(super) fn of(&self, mount: u8) -> &SocketBounds {
        &self.mounts[usize::from(mount)]
    }
}

/// A connection that is no socket yet.
pub(super) struct Arriving {
    pub(super) id: ConnectionId,
    pub(super) peer: SocketAddr,
    /// By when its request must be whole, in the shard's seconds.
    pub(super) deadline: u32,
    /// An answer has been given, and this is about the next request.
    pub(super) was_answered: bool,
    pub(super) stage: Stage,
}

pub(super) enum Stage {
    /// A request is awaited. It stands in line by this.
    Head(Mark),
    /// `connect` waits.
    Connecting(Box<Connecting>),
    /// `connect` is being polled.
    Deciding,
    /// It is on its way to the application.
    HandingOver,
}

/// A connection that is a socket no more, or never was one.
pub(super) struct Leaving {
    /// Whose place it is, to be looked at by [`check`](Transport::check).
    #[cfg_attr(not(any(test, debug_assertions)), allow(dead_code, reason = "see above"))]
    pub(super) id: ConnectionId,
    pub(super) step: Step,
    /// When it is closed whatever has happened, in the shard's seconds.
    pub(super) deadline: u32,
    /// What bounds the frames that still come.
    pub(super) websocket: websocket::Limits,
    /// There was no room for it from the first.
    pub(super) was_refused: bool,
    /// In how many seconds past its deadline some of what it has sent could not be read.
    pub(super) spared: u32,
}

/// What is left to do before the TCP connection can be closed. See `endings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
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

impl Transport {
    /// `mounts` has the limits of each mount's sockets.
    pub(crate) fn new(limits: &Limits, mounts: &[Limits], routes: Arc<Routes>) -> Self {
        let websocket = |limits: &Limits| websocket::Limits {
            max_frame_size: limits.max_frame_size,
            max_message_size: limits.max_message_size,
        };
        let of_mount = |limits: &Limits| SocketBounds {
            max_json_depth: limits.max_json_depth,
            websocket: websocket(limits),
            idle_timeout: ceil_seconds(limits.idle_timeout),
        };
        let idle = mounts.iter().chain([limits]).map(|limits| limits.idle_timeout).min();
        let bounds = Bounds {
            max_connections: limits.max_connections,
            max_connections_per_shard: limits.max_connections_per_shard,
            max_handshakes: limits.max_handshakes,
            max_partial_bytes: limits.max_partial_bytes,
            max_head_size: limits.max_head_size,
            websocket: websocket(limits),
            idle_timeout: ceil_seconds(limits.idle_timeout),
            shortest_idle: ceil_seconds(idle.unwrap_or(limits.idle_timeout)),
            head_timeout: ceil_seconds(limits.head_timeout),
            close_timeout: ceil_seconds(limits.close_timeout),
            send_timeout: limits.send_timeout,
            mounts: mounts.iter().map(of_mount).collect(),
        };
        Self {
            arriving: Table::default(),
            leaving: Table::default(),
            admissions: Admissions::default(),
            unfinished: Unfinished::default(),
            waiting: Waiting::default(),
            paces: Paces::default(),
            deadlines: Deadlines::new(),
            hearing: Hearing::default(),
            routes,
            bounds,
            ending: Vec::new(),
            last: Last::default(),
            handing_over: Vec::new(),
            draining: None,
            dead: Vec::new(),
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
    pub(crate) fn has_more(&self, hub: &mut Hub) -> bool {
        // The kernel is asked when all is written, and not before the shard would rest.
        let has_to_ask = self.waiting.has_to_tell() || !self.last.is_empty();
        let has_ends = !self.ending.is_empty() || !self.handing_over.is_empty();
        let has_work = has_ends || !self.dead.is_empty();
        has_to_ask || has_work || self.waiting.has_turns(hub)
    }

    /// When to look again, if nothing else happens, whether those who wait can go on.
    pub(crate) fn next_look(&self, hub: &Hub) -> Option<Instant> {
        let now = hub.clock.now();
        let pressed = hub.links.is_nearly_full().then(|| now + LOOK);
        self.waiting.next_look(now).into_iter().chain(pressed).min()
    }

    /// Those who are not read further for a while.
    #[inline]
    pub(crate) fn waiting(&mut self) -> &mut Waiting {
        &mut self.waiting
    }

    /// Asks the kernel for what is to be done last.
    pub(crate) fn tell(&mut self, io: &mut impl Io) {
        self.waiting.tell(io);
        self.last.tell(io);
    }

    /// Somebody arrives, and stands where this says.
    pub(super) fn arrive(&mut self, arriving: Arriving) -> Place {
        Place::Arriving(u32::try_from(self.arriving.insert(arriving)).expect("places fit u32"))
    }

    /// Somebody who arrives has come to another stage; gives back the one before.
    pub(super) fn set_stage(&mut self, place: u32, stage: Stage) -> Stage {
        let before = std::mem::replace(&mut self.arriving[place as usize].stage, stage);
        if let Stage::Head(mark) = before {
            self.unfinished.forget_head(mark);
        }
        before
    }

    /// Takes somebody out of those who arrive, and gives back the stage he had come to.
    pub(super) fn take_arriving(&mut self, place: u32) -> Stage {
        let stage = self.set_stage(place, Stage::Deciding);
        self.arriving.remove(place as usize);
        stage
    }
}

impl Arriving {
    pub(super) fn awaits_request(&self) -> bool {
        matches!(self.stage, Stage::Head(_))
    }
}

/// For tests.
#[cfg(any(test, feature = "testing"))]
impl Transport {
    /// Places that connections have been given, those for whom there is no room among them.
    pub(crate) fn admissions(&self) -> usize {
        self.admissions.len()
    }

    /// Connections on their way to a socket.
    pub(crate) fn handshakes(&self) -> usize {
        self.arriving.len()
    }

    /// Bytes of requests and messages that are not whole, or wait to be read.
    pub(crate) fn unfinished_bytes(&self) -> usize {
        self.unfinished.bytes() + self.waiting.bytes()
    }

    /// Entries of the wheel of deadlines.
    pub(crate) fn deadlines(&self) -> usize {
        self.deadlines.len()
    }

    /// What is noted to be done and not done yet.
    pub(crate) fn notes(&self) -> usize {
        self.ending.len()
            + self.handing_over.len()
            + self.last.len()
            + self.dead.len()
            + self.waiting.notes()
    }
}

#[cfg(any(test, debug_assertions))]
impl Transport {
    /// How many stand in lines by what they have begun.
    #[cfg(test)]
    pub(crate) fn marks(&self) -> usize {
        self.unfinished.marks()
    }
}
