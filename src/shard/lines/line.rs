//! Lines: a hot one for each client, in tables as the kernel numbers their connections.

use super::outbox::Outbox;
use crate::io::{self, ConnectionId};
use crate::message::{Encoding, LineId};

impl From<ConnectionId> for LineId {
    fn from(id: ConnectionId) -> Self {
        Self::from_bits(id.pack())
    }
}

/// The connection that carries a line's frames.
impl From<LineId> for ConnectionId {
    fn from(line: LineId) -> Self {
        Self::unpack(line.to_bits())
    }
}

/// What a fan-out looks at of one client.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Zero: the slot is empty.
    generation: u32,
    /// Seconds from the shard's start to the last byte received, rounded up.
    pub(super) heard: u32,
    pub(super) outbox: Outbox,
    /// The turn in which its messages were read last, and how many.
    pub(super) read_turn: u32,
    pub(super) read: u16,
    pub(super) place: Place,
    /// How its messages are written, while it is open.
    pub(super) encoding: Option<Encoding>,
}

/// How far a client has come, and where the rest of what is known of it lies: its place in the
/// table of those who have come as far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    #[default]
    Empty,
    /// A request is awaited, or `connect` runs.
    Arriving(u32),
    /// A Phoenix socket: its session, and its mount, by whose bounds it is read.
    Open(u32, u8),
    /// On its way out.
    Leaving(u32),
}

/// The lines of a shard, by ring and slot.
#[derive(Debug, Default)]
pub(super) struct LineTable {
    rings: Vec<Vec<Line>>,
    taken: usize,
}

impl LineTable {
    /// How many there are, in any place.
    pub(super) fn len(&self) -> usize {
        self.taken
    }

    #[inline]
    pub(super) fn find(&mut self, id: LineId) -> Option<&mut Line> {
        let id = ConnectionId::from(id);
        let line = self.rings.get_mut(id.ring())?.get_mut(id.slot())?;
        (line.generation == id.generation()).then_some(line)
    }

    /// Has the processor fetch a line, which is soon to be looked at.
    #[inline]
    pub(super) fn prefetch(&self, id: LineId) {
        let id = ConnectionId::from(id);
        if let Some(line) = self.rings.get(id.ring()).and_then(|slots| slots.get(id.slot())) {
            io::prefetch(line);
        }
    }

    /// Takes the slot for a new client, who has no place yet.
    pub(super) fn insert(&mut self, id: LineId, heard: u32) {
        let id = ConnectionId::from(id);
        while self.rings.len() <= id.ring() {
            self.rings.push(Vec::new());
        }
        let slots = &mut self.rings[id.ring()];
        if slots.len() <= id.slot() {
            slots.resize_with(id.slot() + 1, Line::default);
        }
        let slot = &mut slots[id.slot()];
        assert_eq!(slot.generation, 0, "slot {id:?} is taken");
        *slot = Line { generation: id.generation(), heard, ..Line::default() };
        self.taken += 1;
    }

    /// Empties the slot and gives back what it held.
    pub(super) fn remove(&mut self, id: LineId) -> Option<Line> {
        let removed = std::mem::take(self.find(id)?);
        self.taken -= 1;
        self.shrink(ConnectionId::from(id).ring());
        Some(removed)
    }

    /// Every line, in the order of the slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (LineId, &Line)> {
        self.rings.iter().enumerate().flat_map(|(ring, slots)| {
            let taken = slots.iter().enumerate().filter(|(_, line)| line.generation != 0);
            taken.map(move |(slot, line)| {
                (ConnectionId::new(ring, slot, line.generation).into(), line)
            })
        })
    }

    /// Gives back the empty end of a ring's table, once it is most of it: the kernel hands out the
    /// lowest free slot, so the end stays empty.
    fn shrink(&mut self, ring: usize) {
        if self.taken == 0 {
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

    fn id(slot: usize, generation: u32) -> LineId {
        ConnectionId::new(0, slot, generation).into()
    }

    fn ids(table: &LineTable) -> Vec<LineId> {
        table.iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn a_connection_is_one_hot_line() {
        assert!(size_of::<Line>() <= 64, "{} bytes", size_of::<Line>());
    }

    #[test]
    fn an_id_of_an_earlier_generation_finds_nothing() {
        let mut lines = LineTable::default();
        let first = id(3, 1);
        lines.insert(first, 0);
        assert!(lines.remove(first).is_some());
        let second = id(3, 2);
        lines.insert(second, 0);
        assert!(lines.find(first).is_none());
        assert!(lines.remove(first).is_none());
        assert_eq!(ids(&lines), [second]);
    }

    #[test]
    fn the_table_shrinks_when_its_end_is_empty() {
        let mut lines = LineTable::default();
        let ids: Vec<_> = (0..10_000).map(|slot| id(slot, 1)).collect();
        for &id in &ids {
            lines.insert(id, 0);
        }
        for &id in ids[1..].iter().rev() {
            lines.remove(id);
        }
        assert!(lines.rings[0].capacity() <= 2_500, "{}", lines.rings[0].capacity());
        assert_eq!(lines.len(), 1);
    }
}
