//! Connections: a hot line for each, in tables as the kernel numbers them.

use std::net::SocketAddr;

use crate::io::{self, ConnectionId};
use crate::protocol::phoenix::Version;
use crate::protocol::websocket::Partial;
use crate::shard::channels::session::Session;
use crate::shard::lines::send_queue::Outbox;
use crate::shard::transport::{Connecting, Mark};

/// One TCP connection: the line that a fan-out looks at.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// Zero: the slot is empty.
    generation: u32,
    /// Seconds from the shard's start to the last byte received, rounded up.
    pub(crate) heard: u32,
    pub(crate) outbox: Outbox,
    pub(crate) phase: Phase,
}

/// How far a connection has come.
#[derive(Debug, Default)]
pub(crate) enum Phase {
    #[default]
    Empty,
    /// A request head is awaited; what has come of one.
    Head(Box<Head>),
    /// `connect` runs.
    Connecting(Box<Connecting>),
    /// A Phoenix socket.
    Open(Box<Session>),
    /// On its way out.
    Ending(Box<Ending>),
}

/// A request that is not whole, or none at all yet.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) peer: SocketAddr,
    pub(crate) bytes: Vec<u8>,
    /// When it must be whole, in the shard's seconds.
    pub(crate) deadline: u32,
    pub(crate) mark: Mark,
}

impl Head {
    /// Nothing has come yet.
    pub(crate) fn new(peer: SocketAddr, deadline: u32) -> Self {
        Self { peer, bytes: Vec::new(), deadline, mark: 0 }
    }
}

/// What is left to do before the TCP connection can be closed.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) step: EndingStep,
    /// When it is closed whatever has happened, in the shard's seconds.
    pub(crate) deadline: u32,
    /// Frames still come until the peer's Close; this is where they are understood.
    pub(crate) partial: Option<Box<Partial>>,
    /// There was no room for it from the first.
    pub(crate) was_refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndingStep {
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

/// The connections of a shard, by ring and slot.
#[derive(Default)]
pub(crate) struct Connections {
    rings: Vec<Vec<Connection>>,
    open: usize,
}

impl Connections {
    /// How many there are, in any phase.
    pub(crate) fn len(&self) -> usize {
        self.open
    }

    #[inline]
    pub(crate) fn find(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let connection = self.rings.get_mut(id.ring())?.get_mut(id.slot())?;
        (connection.generation == id.generation()).then_some(connection)
    }

    /// Has the processor fetch a connection's line, which is soon to be looked at.
    #[inline]
    pub(crate) fn prefetch(&self, id: ConnectionId) {
        if let Some(connection) = self.rings.get(id.ring()).and_then(|slots| slots.get(id.slot())) {
            io::prefetch(connection);
        }
    }

    pub(crate) fn session(&mut self, id: ConnectionId) -> Option<&mut Session> {
        match &mut self.find(id)?.phase {
            Phase::Open(session) => Some(session),
            _ => None,
        }
    }

    /// The version that an open socket speaks.
    pub(crate) fn version(&mut self, id: ConnectionId) -> Option<Version> {
        self.session(id).map(|session| session.version)
    }

    /// Takes the slot for a new connection, which is in no phase yet.
    pub(crate) fn insert(&mut self, id: ConnectionId, heard: u32) {
        while self.rings.len() <= id.ring() {
            self.rings.push(Vec::new());
        }
        let slots = &mut self.rings[id.ring()];
        if slots.len() <= id.slot() {
            slots.resize_with(id.slot() + 1, Connection::default);
        }
        let slot = &mut slots[id.slot()];
        assert_eq!(slot.generation, 0, "slot {id:?} is taken");
        *slot = Connection { generation: id.generation(), heard, ..Connection::default() };
        self.open += 1;
    }

    /// Empties the slot and gives back what it held.
    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let removed = std::mem::take(self.find(id)?);
        self.open -= 1;
        self.shrink(id.ring());
        Some(removed)
    }

    /// Every open connection's id.
    pub(crate) fn ids(&self) -> Vec<ConnectionId> {
        let rings = self.rings.iter().enumerate();
        rings
            .flat_map(|(ring, slots)| {
                let taken = slots.iter().enumerate().filter(|(_, slot)| slot.generation != 0);
                taken.map(move |(slot, c)| ConnectionId::new(ring, slot, c.generation))
            })
            .collect()
    }

    /// Gives back the empty end of a ring's table, once it is most of it: the kernel hands out the
    /// lowest free slot, so the end stays empty.
    fn shrink(&mut self, ring: usize) {
        if self.open == 0 {
            self.rings.clear();
            self.rings.shrink_to_fit();
            return;
        }
        let slots = &mut self.rings[ring];
        if slots.last().is_some_and(|slot| slot.generation != 0) {
            return;
        }
        let used = slots.iter().rposition(|slot| slot.generation != 0).map_or(0, |last| last + 1);
        slots.truncate(used);
        if slots.capacity() > 1024 && used < slots.capacity() / 4 {
            slots.shrink_to(used * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_one_hot_line() {
        assert!(size_of::<Connection>() <= 64, "{} bytes", size_of::<Connection>());
    }

    #[test]
    fn an_id_of_an_earlier_generation_finds_nothing() {
        let mut connections = Connections::default();
        let first = ConnectionId::new(0, 3, 1);
        connections.insert(first, 0);
        assert!(connections.remove(first).is_some());
        let second = ConnectionId::new(0, 3, 2);
        connections.insert(second, 0);
        assert!(connections.find(first).is_none());
        assert!(connections.remove(first).is_none());
        assert_eq!(connections.ids(), [second]);
    }

    #[test]
    fn the_table_shrinks_when_its_end_is_empty() {
        let mut connections = Connections::default();
        let ids: Vec<_> = (0..10_000).map(|slot| ConnectionId::new(0, slot, 1)).collect();
        for &id in &ids {
            connections.insert(id, 0);
        }
        for &id in ids[1..].iter().rev() {
            connections.remove(id);
        }
        assert!(connections.rings[0].capacity() <= 2_500, "{}", connections.rings[0].capacity());
        assert_eq!(connections.len(), 1);
    }
}
