//! What goes out: one write per connection, at the end of the turn.
//!
//! While a turn acts, frames are only queued. A connection's first frame of a turn goes straight
//! into the batch, so that a fan-out touches each connection's line once and the flush walks plain
//! memory. Frames made for one connection (replies, pushes) are encoded into the turn's arena; when
//! they lie behind one another, as the answers to a burst of requests do, they are one write
//! without being copied. Whatever else a connection gets in the same turn is gathered before the
//! flush.
//!
//! A write that the kernel does not take whole leaves the rest in the connection's backlog, and
//! the connection blocked until it is writable.

use std::rc::Rc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::io::{ConnectionId, Io, Unsent};
use crate::shard::lines::connection::Connections;

/// A finished frame that several connections share.
pub(crate) type Frame = Rc<Bytes>;

/// Bytes waiting to be written to one connection.
#[derive(Debug)]
pub(crate) enum Pending {
    Frame(Frame),
    /// A broadcast that none of has been written, for the channel at this place of the table.
    Broadcast {
        frame: Frame,
        process: u32,
    },
    /// A place in the turn's arena.
    Turn {
        start: u32,
        end: u32,
    },
}

/// A connection's part of the queue, inside its hot line.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// The turn in which this connection last entered the batch, and its place there.
    turn: u32,
    place: u32,
    /// What follows the batch's entry, or waits while the connection is not [`Flow::Open`].
    backlog: SmallVec<[Pending; 1]>,
    backlog_bytes: u32,
    flow: Flow,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// Takes frames.
    #[default]
    Open,
    /// More was queued than one write takes: goes on next turn.
    Later,
    /// The kernel took no more: goes on when it is writable.
    Blocked,
}

impl Outbox {
    /// Nothing is waiting: what was queued before this turn has been written.
    pub(crate) fn is_drained(&self) -> bool {
        self.backlog.is_empty() && self.flow == Flow::Open
    }

    /// More is written next turn without waiting for anything.
    pub(crate) fn goes_on(&self) -> bool {
        self.flow == Flow::Later
    }

    /// Bytes that a reader has not taken although he was asked to.
    #[inline]
    pub(crate) fn owes(&self) -> usize {
        if self.flow == Flow::Open { 0 } else { self.backlog_bytes as usize }
    }

    /// Drops broadcasts that wait, whole ones and the oldest first, until no more than `max` bytes
    /// wait or none is left that `may_drop` says may go.
    pub(crate) fn drop_broadcasts(&mut self, max: usize, mut may_drop: impl FnMut(u32) -> bool) {
        let mut bytes = self.backlog_bytes as usize;
        self.backlog.retain(|pending| match pending {
            Pending::Broadcast { frame, process } if bytes > max && may_drop(*process) => {
                bytes -= frame.len();
                false
            }
            _ => true,
        });
        self.backlog_bytes = bytes as u32;
    }

    fn push_back(&mut self, pending: Pending) {
        self.backlog_bytes = self.backlog_bytes.saturating_add(pending.len() as u32);
        self.backlog.push(pending);
    }

    fn push_front(&mut self, pending: Pending) {
        self.backlog_bytes = self.backlog_bytes.saturating_add(pending.len() as u32);
        self.backlog.insert(0, pending);
    }
}

impl Pending {
    fn len(&self) -> usize {
        match self {
            Self::Frame(frame) | Self::Broadcast { frame, .. } => frame.len(),
            Self::Turn { start, end } => (end - start) as usize,
        }
    }

    fn bytes<'a>(&'a self, arena: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Frame(frame) | Self::Broadcast { frame, .. } => frame,
            Self::Turn { start, end } => &arena[*start as usize..*end as usize],
        }
    }

    /// What is left from `written` on, independent of the arena.
    fn rest(&self, arena: &[u8], written: usize) -> Self {
        match self {
            Self::Broadcast { frame, process } if written == 0 => {
                Self::Broadcast { frame: frame.clone(), process: *process }
            }
            Self::Frame(frame) | Self::Broadcast { frame, .. } => {
                Self::Frame(Rc::new(frame.slice(written..)))
            }
            Self::Turn { .. } => {
                Self::Frame(Rc::new(Bytes::copy_from_slice(&self.bytes(arena)[written..])))
            }
        }
    }
}

/// What this turn sends.
#[derive(Default)]
pub(crate) struct SendQueue {
    turn: u32,
    arena: Vec<u8>,
    batch: Vec<(ConnectionId, Pending)>,
    /// Connections with more than their batch entry this turn.
    crowded: Vec<ConnectionId>,
    /// Connections that are [`Flow::Later`].
    later: Vec<ConnectionId>,
    unsent: Vec<Unsent>,
    /// Connections that took less than their write of the last flush.
    pub(crate) refused: Vec<ConnectionId>,
    /// Bytes of arena that the last turns needed, to give memory back after a storm.
    used: usize,
    /// Writes handed to the kernel since the start.
    pub(crate) writes: u64,
}

impl SendQueue {
    pub(crate) fn new() -> Self {
        Self { turn: 1, ..Self::default() }
    }

    /// Where frames for single connections are encoded; see [`queue_written`](Self::queue_written).
    pub(crate) fn arena(&mut self) -> &mut Vec<u8> {
        &mut self.arena
    }

    /// Bytes waiting for one connection: those it has not taken, and what this turn has queued.
    #[inline]
    pub(crate) fn waiting(&self, outbox: &Outbox) -> usize {
        let first = match self.batch.get(outbox.place as usize) {
            Some((_, first)) if outbox.turn == self.turn => first.len(),
            _ => 0,
        };
        first + outbox.backlog_bytes as usize
    }

    /// Queues what was appended to the arena from `start` on.
    pub(crate) fn queue_written(&mut self, id: ConnectionId, outbox: &mut Outbox, start: usize) {
        let end = self.arena.len();
        if outbox.flow == Flow::Open && end <= ARENA_MAX {
            let (start, end) = (start as u32, end as u32);
            return self.queue(id, outbox, Pending::Turn { start, end });
        }
        let frame = Bytes::copy_from_slice(&self.arena[start..]);
        self.arena.truncate(start);
        self.push(id, outbox, Pending::Frame(Rc::new(frame)));
    }

    /// Queues a finished frame, or several in one, for a connection or, if it is a broadcast, for
    /// one of its channels.
    #[inline]
    pub(crate) fn push(&mut self, id: ConnectionId, outbox: &mut Outbox, pending: Pending) {
        if outbox.flow == Flow::Open {
            self.queue(id, outbox, pending);
        } else {
            outbox.push_back(pending);
        }
    }

    #[inline]
    fn queue(&mut self, id: ConnectionId, outbox: &mut Outbox, pending: Pending) {
        // The turns' numbers come round after hours of a busy shard, and a connection to which
        // nothing was written all that time must not be taken for whoever has its place now.
        let place = outbox.place as usize;
        let is_in_batch =
            outbox.turn == self.turn && self.batch.get(place).is_some_and(|(at, _)| *at == id);
        if !is_in_batch {
            outbox.turn = self.turn;
            outbox.place = self.batch.len() as u32;
            self.batch.push((id, pending));
            return;
        }
        if outbox.backlog.is_empty() {
            let (_, first) = &mut self.batch[place];
            if let (Pending::Turn { end, .. }, Pending::Turn { start, end: new_end }) =
                (first, &pending)
                && end == start
            {
                *end = *new_end;
                return;
            }
            self.crowded.push(id);
        }
        outbox.push_back(pending);
    }

    /// A blocked connection takes bytes again: its backlog goes out with this turn.
    pub(crate) fn unblock(&mut self, id: ConnectionId, outbox: &mut Outbox) {
        if outbox.flow == Flow::Blocked {
            outbox.flow = Flow::Later;
            self.later.push(id);
        }
    }

    /// Whether the next turn has something to write although the kernel tells of nothing: more than
    /// one write takes, or what was queued after the flush.
    pub(crate) fn has_more(&self) -> bool {
        !self.later.is_empty() || !self.batch.is_empty()
    }

    /// How many connections a flush would write to.
    #[cfg(feature = "testing")]
    pub(crate) fn len(&self) -> usize {
        self.batch.len() + self.crowded.len() + self.later.len()
    }

    /// Writes everything queued; names connections that are broken, and asks to be told when those
    /// that are full can be written again.
    pub(crate) fn flush<I: Io>(
        &mut self,
        io: &mut I,
        connections: &mut Connections,
        broken: &mut Vec<ConnectionId>,
    ) {
        let mut more = Vec::new();
        for id in std::mem::take(&mut self.later) {
            let Some(connection) = connections.find(id) else { continue };
            let outbox = &mut connection.outbox;
            if outbox.flow == Flow::Later {
                outbox.flow = Flow::Open;
                if let Some(pending) = self.gather(outbox) {
                    if !outbox.backlog.is_empty() {
                        more.push(id);
                    }
                    self.batch.push((id, pending));
                }
            }
        }
        for id in std::mem::take(&mut self.crowded) {
            let Some(connection) = connections.find(id) else { continue };
            let outbox = &mut connection.outbox;
            let place = outbox.place as usize;
            let first =
                std::mem::replace(&mut self.batch[place].1, Pending::Turn { start: 0, end: 0 });
            outbox.push_front(first);
            self.batch[place].1 = self.gather(outbox).expect("something was just put in front");
            if !outbox.backlog.is_empty() {
                more.push(id);
            }
        }
        if self.batch.is_empty() {
            self.end_turn();
            return;
        }

        self.writes += self.batch.len() as u64;
        let arena = &self.arena;
        let sends = self.batch.iter().map(|(id, pending)| (*id, pending.bytes(arena)));
        io.send(sends, &mut self.unsent);

        // What was not written stands in the order of the batch.
        let mut place = 0;
        for unsent in self.unsent.drain(..) {
            place += self.batch[place..]
                .iter()
                .position(|(id, _)| *id == unsent.id)
                .expect("only what was sent can be left unsent");
            let Some(connection) = connections.find(unsent.id) else { continue };
            if unsent.broken {
                broken.push(unsent.id);
                continue;
            }
            let rest = self.batch[place].1.rest(&self.arena, unsent.written);
            connection.outbox.push_front(rest);
            connection.outbox.flow = Flow::Blocked;
            io.await_writable(unsent.id);
            self.refused.push(unsent.id);
        }
        for id in more {
            let Some(connection) = connections.find(id) else { continue };
            let outbox = &mut connection.outbox;
            for pending in &mut outbox.backlog {
                // The arena ends with the turn.
                if matches!(pending, Pending::Turn { .. }) {
                    *pending = pending.rest(&self.arena, 0);
                }
            }
            if outbox.flow == Flow::Open {
                outbox.flow = Flow::Later;
                self.later.push(id);
            }
        }
        self.end_turn();
    }

    /// Takes from the front of the backlog what one write takes: one frame, or several joined.
    fn gather(&mut self, outbox: &mut Outbox) -> Option<Pending> {
        let backlog = &mut outbox.backlog;
        let mut size = 0;
        let count = backlog
            .iter()
            .take_while(|pending| {
                size += pending.len();
                size <= MAX_WRITE
            })
            .count();
        // What does not fit into the arena any more goes out frame by frame.
        let gathered = if count <= 1 || self.arena.len() + MAX_WRITE > ARENA_MAX {
            (!backlog.is_empty()).then(|| backlog.remove(0))?
        } else {
            let start = self.arena.len() as u32;
            for pending in backlog.drain(..count) {
                match pending {
                    Pending::Frame(frame) | Pending::Broadcast { frame, .. } => {
                        self.arena.extend_from_slice(&frame);
                    }
                    Pending::Turn { start, end } => {
                        self.arena.extend_from_within(start as usize..end as usize);
                    }
                }
            }
            Pending::Turn { start, end: self.arena.len() as u32 }
        };
        if backlog.is_empty() {
            // Back to the inline place: a connection at rest owns no heap.
            backlog.shrink_to_fit();
        }
        outbox.backlog_bytes = outbox.backlog_bytes.saturating_sub(gathered.len() as u32);
        Some(gathered)
    }

    fn end_turn(&mut self) {
        self.batch.clear();
        self.used = (self.used - self.used / 16).max(self.arena.len());
        self.arena.clear();
        if self.arena.capacity() > ARENA_KEPT && self.arena.capacity() > self.used * 4 {
            self.arena.shrink_to(self.used.max(ARENA_KEPT));
        }
        if self.batch.capacity() > BATCH_KEPT {
            self.batch.shrink_to(BATCH_KEPT);
        }
        self.turn = self.turn.wrapping_add(1).max(1);
    }
}

/// Bytes joined for one write. More than a socket's usual room, so that joining pays; little
/// enough to be copied within a turn.
pub(crate) const MAX_WRITE: usize = 64 << 10;
/// Bytes of arena that one turn uses. Places in it are 32 bits, and a fan-out to a million that
/// joins a few frames for each would need more than these say.
const ARENA_MAX: usize = 256 << 20;
/// What arena and batch keep over a quiet time.
const ARENA_KEPT: usize = 64 << 10;
const BATCH_KEPT: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns are counted in 32 bits. When the count had come round, a connection that was last
    /// written to in a turn of the same number would have been given a stranger's write, or one
    /// that is not there.
    #[test]
    fn a_turn_of_the_same_number_is_another_turn() {
        let mut queue = SendQueue::new();
        let frame = Rc::new(Bytes::from_static(b"frame"));
        let (late, id) = (ConnectionId::new(0, 1, 1), ConnectionId::new(0, 2, 1));
        for place in [0, 5] {
            queue.push(id, &mut Outbox::default(), Pending::Frame(frame.clone()));
            let mut outbox = Outbox { turn: queue.turn, place, ..Outbox::default() };
            queue.push(late, &mut outbox, Pending::Frame(frame.clone()));
            assert_eq!(queue.batch.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [id, late]);
            assert!(outbox.backlog.is_empty() && queue.crowded.is_empty());
            queue.end_turn();
        }
    }
}
