//! Waiting: clients that are not read further for a while.
//!
//! Whoever floods pays, and nobody else. A client has its share of a turn; what it sends beyond that
//! lies here until the others have had theirs, and so does what would go where something is full
//! ([`Pressure`]). Those who wait are looked at in turn. While much lies here of one, the kernel
//! receives no more from it, and so its sender is slowed by TCP: what is held of a client is
//! bounded by [`MUCH`] and what was under way when the kernel was told.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::io::{ConnectionId, Io};
use crate::shard::channels::{Hub, Pressure};

/// The clients that wait.
#[derive(Default)]
pub(crate) struct Waiting {
    clients: HashMap<ConnectionId, Waiter>,
    /// Each of them once, but for those who have gone since.
    line: VecDeque<ConnectionId>,
    /// Bytes of memory that all of them take.
    bytes: usize,
    /// From whom the kernel is to receive no more, or something again, in this order.
    held: Vec<(ConnectionId, bool)>,
}

/// One who waits.
struct Waiter {
    bytes: Vec<u8>,
    /// So many of them have been read.
    position: usize,
    why: Pressure,
    /// Nothing follows the bytes.
    has_ended: bool,
    /// The kernel receives no more from it.
    is_held: bool,
}

/// Whose turn it is.
pub(crate) struct Resumed {
    pub(crate) id: ConnectionId,
    pub(crate) bytes: Vec<u8>,
    pub(crate) position: usize,
    has_ended: bool,
    is_held: bool,
}

/// Why reading has stopped before the end of the bytes, and how many are left.
pub(crate) struct Stopped {
    pub(crate) left: usize,
    pub(crate) why: Pressure,
}

impl Waiting {
    /// Whether a client waits, so that what comes of it comes behind that.
    #[inline]
    pub(crate) fn has(&self, id: ConnectionId) -> bool {
        !self.clients.is_empty() && self.clients.contains_key(&id)
    }

    /// More has come of a client that waits.
    pub(crate) fn add(&mut self, id: ConnectionId, bytes: &[u8]) {
        let Some(waiter) = self.clients.get_mut(&id) else { return };
        self.bytes -= waiter.bytes.capacity();
        waiter.bytes.drain(..std::mem::take(&mut waiter.position));
        waiter.bytes.extend_from_slice(bytes);
        self.bytes += waiter.bytes.capacity();
        if waiter.bytes.len() > MUCH && !std::mem::replace(&mut waiter.is_held, true) {
            self.held.push((id, true));
        }
    }

    /// A client waits from here on, with bytes that were not read.
    pub(crate) fn begin(&mut self, id: ConnectionId, bytes: &[u8], why: Pressure) {
        let bytes = bytes.to_vec();
        let resumed = Resumed { id, bytes, position: 0, has_ended: false, is_held: false };
        self.go_on(resumed, why);
    }

    /// A client waits from here on with what it has sent behind a request that was answered just now;
    /// before all that waits of it already.
    pub(crate) fn begin_early(&mut self, id: ConnectionId, mut early: Vec<u8>) {
        let Some(waiter) = self.clients.get_mut(&id) else {
            return self.begin(id, &early, Pressure::Share);
        };
        self.bytes -= waiter.bytes.capacity();
        early.extend_from_slice(&waiter.bytes[waiter.position..]);
        (waiter.bytes, waiter.position) = (early, 0);
        self.bytes += waiter.bytes.capacity();
    }

    /// A client whose turn it was waits again.
    pub(crate) fn go_on(&mut self, resumed: Resumed, why: Pressure) {
        let Resumed { id, bytes, position, has_ended, mut is_held } = resumed;
        // Who waits for more than his turn sends nothing of use meanwhile.
        if !is_held && (!matches!(why, Pressure::Share) || bytes.len() - position > MUCH) {
            is_held = true;
            self.held.push((id, true));
        }
        self.bytes += bytes.capacity();
        self.line.push_back(id);
        let waiter = Waiter { bytes, position, why, has_ended, is_held };
        let before = self.clients.insert(id, waiter);
        assert!(before.is_none(), "{id:?} waits once");
    }

    /// A client whose turn it was has been read to the end. Says whether that was the end of all.
    pub(crate) fn end(&mut self, resumed: &Resumed) -> bool {
        let waits_anew = self.clients.get_mut(&resumed.id);
        if resumed.is_held && waits_anew.as_ref().is_none_or(|waiter| !waiter.is_held) {
            self.held.push((resumed.id, false));
        }
        if let Some(waiter) = waits_anew {
            // With what it had sent behind a request: the end comes behind that.
            waiter.has_ended |= resumed.has_ended;
            return false;
        }
        resumed.has_ended
    }

    /// Nothing more is to be received from a client, who does not wait.
    pub(super) fn stop(&mut self, id: ConnectionId) {
        self.held.push((id, true));
    }

    /// Nothing more comes from a client. Whether it waits, so that this is told when its turn comes.
    pub(super) fn end_behind(&mut self, id: ConnectionId) -> bool {
        self.clients.get_mut(&id).map(|waiter| waiter.has_ended = true).is_some()
    }

    /// Nothing of a client will be read any more.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        if let Some(waiter) = self.clients.remove(&id) {
            self.bytes -= waiter.bytes.capacity();
            if self.clients.is_empty() {
                self.clients = HashMap::new();
                self.line = VecDeque::new();
            }
        }
    }

    /// How many stand in line.
    pub(crate) fn len(&self) -> usize {
        self.line.len()
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Takes the first of those who wait out of the line, if it can go on; if not, it stands at its
    /// end.
    pub(crate) fn next(&mut self, hub: &mut Hub) -> Option<Resumed> {
        let id = self.line.pop_front()?;
        if !hub.is_over(&self.clients.get(&id)?.why) {
            self.line.push_back(id);
            return None;
        }
        let waiter = self.clients.remove(&id).expect("just looked at");
        let Waiter { bytes, position, has_ended, is_held, .. } = waiter;
        self.bytes -= bytes.capacity();
        Some(Resumed { id, bytes, position, has_ended, is_held })
    }

    /// Whether the kernel is to be told something.
    pub(super) fn has_to_tell(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether somebody waits for nothing but his turn.
    pub(super) fn has_turns(&self, hub: &mut Hub) -> bool {
        self.clients.values().any(|waiter| hub.is_over(&waiter.why))
    }

    /// When to look again whether those who wait can go on, if nothing else happens.
    pub(super) fn next_look(&self, now: Instant) -> Option<Instant> {
        let look = |waiter: &Waiter| match waiter.why {
            Pressure::Share | Pressure::Shard | Pressure::Mesh(_) | Pressure::Topic(_) => {
                now + LOOK
            }
            Pressure::Mailbox(_, until) | Pressure::Pace(until) => until,
        };
        self.clients.values().map(look).min()
    }

    /// Bytes that the clients take who wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.clients.len() * size_of::<Waiter>()
    }

    /// The same for each of them.
    pub(super) fn sizes(&self) -> impl Iterator<Item = (ConnectionId, usize)> {
        self.clients.iter().map(|(id, waiter)| (*id, waiter.bytes.capacity()))
    }

    /// Tells the kernel from whom it is to receive no more, and from whom again.
    pub(super) fn tell(&mut self, io: &mut impl Io) {
        for (id, is_held) in self.held.drain(..) {
            if is_held { io.hold(id) } else { io.release(id) }
        }
    }

    /// What is noted to be done and not done yet.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn notes(&self) -> usize {
        self.held.len()
    }

    /// Asserts what is promised: who waits stands in line, once, and the bytes add up.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn check(&self) {
        for id in self.clients.keys() {
            assert_eq!(self.line.iter().filter(|its| *its == id).count(), 1, "{id:?} in line");
        }
        let all: usize = self.clients.values().map(|waiter| waiter.bytes.capacity()).sum();
        assert_eq!(self.bytes, all, "bytes of those who wait");
    }
}

/// Of a client of which more than this waits the kernel receives no more. As much as one receive
/// brings several times over, so that who is slightly over his share goes on undisturbed.
const MUCH: usize = 64 << 10;

/// How often it is looked whether another shard has room again, of which nobody is told.
pub(crate) const LOOK: Duration = Duration::from_millis(1);
