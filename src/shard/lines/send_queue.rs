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

use super::line::LineTable;
use super::outbox::{Flow, Outbox, Pending};
use crate::io::{Io, Rest, Unsent};
use crate::message::{LineId, keep};

/// What this turn sends.
#[derive(Default)]
pub(super) struct SendQueue {
    turn: u32,
    arena: Vec<u8>,
    batch: Vec<(LineId, Pending)>,
    /// Connections with more than their batch entry this turn.
    crowded: Vec<LineId>,
    /// Connections that are [`Flow::Later`].
    later: Vec<LineId>,
    unsent: Vec<Unsent>,
    /// Bytes of arena that the last seconds' turns needed, to give memory back after a storm.
    used: usize,
    /// Writes handed to the kernel since the start.
    pub(super) writes: u64,
    /// Frames, and joined ones, that wait for clients.
    pub(super) waiting: usize,
}

impl SendQueue {
    pub(super) fn new() -> Self {
        Self { turn: 1, ..Self::default() }
    }

    /// The number of this turn.
    #[inline]
    pub(super) fn turn(&self) -> u32 {
        self.turn
    }

    /// Whether this turn has encoded as much as it should.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.arena.len() > TURN_BYTES
    }

    /// How many connections this turn writes to, those aside that have more than one write takes.
    pub(super) fn batched(&self) -> usize {
        self.batch.len()
    }

    /// Where frames for single connections are encoded; see [`queue_written`](Self::queue_written).
    pub(super) fn arena(&mut self) -> &mut Vec<u8> {
        &mut self.arena
    }

    /// Bytes waiting for one connection: those it has not taken, and what this turn has queued.
    #[inline]
    pub(super) fn waiting(&self, outbox: &Outbox) -> usize {
        let first = match self.batch.get(outbox.place as usize) {
            Some((_, first)) if outbox.turn == self.turn => first.len(),
            _ => 0,
        };
        first + outbox.backlog_bytes as usize
    }

    /// Queues what was appended to the arena from `start` on.
    pub(super) fn queue_written(&mut self, id: LineId, outbox: &mut Outbox, start: usize) {
        let end = self.arena.len();
        if outbox.flow == Flow::Open && end <= ARENA_MAX {
            let (start, end) = (start as u32, end as u32);
            return self.queue(id, outbox, Pending::Turn { start, end });
        }
        let frame = keep(self.arena[start..].to_vec());
        self.arena.truncate(start);
        self.push(id, outbox, Pending::Frame(Rc::new(frame)));
    }

    /// Queues a finished frame, or several in one, for a connection or, if it is a broadcast, for
    /// one of its channels.
    #[inline]
    pub(super) fn push(&mut self, id: LineId, outbox: &mut Outbox, pending: Pending) {
        if outbox.flow == Flow::Open {
            self.queue(id, outbox, pending);
        } else {
            self.waiting += 1;
            outbox.push_back(pending);
        }
    }

    #[inline]
    fn queue(&mut self, id: LineId, outbox: &mut Outbox, pending: Pending) {
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
        self.waiting += 1;
        outbox.push_back(pending);
    }

    /// A blocked connection takes bytes again: its backlog goes out with this turn.
    pub(super) fn unblock(&mut self, id: LineId, outbox: &mut Outbox) {
        if outbox.flow == Flow::Blocked {
            outbox.flow = Flow::Later;
            self.later.push(id);
        }
    }

    /// Whether something is queued for the next flush already.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn has_more(&self) -> bool {
        !self.later.is_empty() || !self.batch.is_empty()
    }

    /// A line is gone, or has lost so many frames that waited.
    pub(super) fn forget(&mut self, frames: usize) {
        self.waiting -= frames;
    }

    /// Whether something waits for the next write, because one does not take it all.
    pub(super) fn goes_on(&self) -> bool {
        !self.later.is_empty()
    }

    /// How many connections a flush would write to.
    #[cfg(feature = "testing")]
    pub(super) fn len(&self) -> usize {
        self.batch.len() + self.crowded.len() + self.later.len()
    }

    /// Writes everything queued, and then rests if it may and nothing is left to be written. Names
    /// the lines that are broken, and those that took less than their write; of these the kernel
    /// is asked to tell when they can be written again.
    pub(super) fn flush<I: Io>(
        &mut self,
        io: &mut I,
        lines: &mut LineTable,
        unsettled: &mut Unsettled,
        rest: Option<Rest<'_>>,
    ) {
        let more = self.gather_all(lines);
        let rest = rest.filter(|_| more.is_empty());
        if self.batch.is_empty() && rest.is_none() {
            self.end_turn();
            return;
        }

        self.writes += self.batch.len() as u64;
        let arena = &self.arena;
        let sends = self.batch.iter().map(|(id, pending)| ((*id).into(), pending.bytes(arena)));
        io.send(sends, &mut self.unsent, rest);

        // What was not written stands in the order of the batch.
        let mut place = 0;
        for unsent in self.unsent.drain(..) {
            let id = LineId::from(unsent.id);
            place += self.batch[place..]
                .iter()
                .position(|(at, _)| *at == id)
                .expect("only what was sent can be left unsent");
            let Some(line) = lines.find(id) else { continue };
            if unsent.broken {
                unsettled.broken.push(id);
                continue;
            }
            self.waiting += 1;
            line.outbox.push_front(self.batch[place].1.rest(&self.arena, unsent.written));
            line.outbox.flow = Flow::Blocked;
            io.await_writable(unsent.id);
            unsettled.refused.push(id);
        }
        for id in more {
            let Some(line) = lines.find(id) else { continue };
            let outbox = &mut line.outbox;
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

    /// Gathers one write of each line that has more than its entry of the batch. Says who has still
    /// more than that.
    fn gather_all(&mut self, lines: &mut LineTable) -> Vec<LineId> {
        let mut more = Vec::new();
        if self.later.is_empty() && self.crowded.is_empty() {
            return more;
        }
        for id in std::mem::take(&mut self.later) {
            let Some(line) = lines.find(id) else { continue };
            let outbox = &mut line.outbox;
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
            let Some(line) = lines.find(id) else { continue };
            let outbox = &mut line.outbox;
            let place = outbox.place as usize;
            let first =
                std::mem::replace(&mut self.batch[place].1, Pending::Turn { start: 0, end: 0 });
            self.waiting += 1;
            outbox.push_front(first);
            self.batch[place].1 = self.gather(outbox).expect("something was just put in front");
            if !outbox.backlog.is_empty() {
                more.push(id);
            }
        }
        more
    }

    /// Takes from the front of the backlog what one write takes: one frame, or several joined.
    fn gather(&mut self, outbox: &mut Outbox) -> Option<Pending> {
        let backlog = &mut outbox.backlog;
        let before = backlog.len();
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
        self.waiting -= before - backlog.len();
        if backlog.is_empty() {
            // Back to the inline place: a connection at rest owns no heap.
            backlog.shrink_to_fit();
        }
        outbox.backlog_bytes = outbox.backlog_bytes.saturating_sub(gathered.len() as u32);
        Some(gathered)
    }

    /// A second has passed: memory goes back that the last ones have not needed.
    pub(super) fn ease(&mut self) {
        if self.arena.capacity() > ARENA_KEPT && self.arena.capacity() > self.used * 4 {
            self.arena.shrink_to(self.used.max(ARENA_KEPT));
        }
        self.used /= 2;
    }

    /// Whether it holds more memory than it does at rest.
    pub(super) fn is_large(&self) -> bool {
        self.arena.capacity() > ARENA_KEPT
    }

    fn end_turn(&mut self) {
        self.batch.clear();
        self.used = self.used.max(self.arena.len());
        self.arena.clear();
        if self.batch.capacity() > BATCH_KEPT {
            self.batch.shrink_to(BATCH_KEPT);
        }
        self.turn = self.turn.wrapping_add(1).max(1);
    }
}

/// Lines of which a flush has left something to be seen to.
#[derive(Debug, Default)]
pub(crate) struct Unsettled {
    pub(crate) broken: Vec<LineId>,
    pub(crate) refused: Vec<LineId>,
}

/// Bytes joined for one write. More than a socket's usual room, so that joining pays; little
/// enough to be copied within a turn.
pub(crate) const MAX_WRITE: usize = 64 << 10;
/// Bytes of arena that one turn uses. Places in it are 32 bits, and a fan-out to a million that
/// joins a few frames for each would need more than these say.
const ARENA_MAX: usize = 256 << 20;
/// With so many bytes for single clients in it, a turn reads no more: two of the largest messages.
const TURN_BYTES: usize = 16 << 20;
/// What arena and batch keep over a quiet time.
const ARENA_KEPT: usize = 64 << 10;
const BATCH_KEPT: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::io::ConnectionId;

    fn id(slot: usize) -> LineId {
        ConnectionId::new(0, slot, 1).into()
    }

    /// Turns are counted in 32 bits. When the count had come round, a connection that was last
    /// written to in a turn of the same number would have been given a stranger's write, or one
    /// that is not there.
    #[test]
    fn a_turn_of_the_same_number_is_another_turn() {
        let mut queue = SendQueue::new();
        let frame = Rc::new(Bytes::from_static(b"frame"));
        let (late, id) = (id(1), id(2));
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
