//! Outboxes: what waits to be written to one client.

use std::rc::Rc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::message::keep;

/// A finished frame that several connections share.
pub(crate) type Frame = Rc<Bytes>;

/// Bytes waiting to be written to one connection.
#[derive(Debug)]
pub(super) enum Pending {
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
pub(super) struct Outbox {
    /// The turn in which this connection last entered the batch, and its place there.
    pub(super) turn: u32,
    pub(super) place: u32,
    /// What follows the batch's entry, or waits while the connection is not [`Flow::Open`].
    pub(super) backlog: SmallVec<[Pending; 1]>,
    /// Their lengths' sum.
    pub(super) backlog_bytes: u32,
    pub(super) flow: Flow,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
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
    pub(super) fn is_drained(&self) -> bool {
        self.backlog.is_empty() && self.flow == Flow::Open
    }

    /// More is written next turn without waiting for anything.
    pub(super) fn goes_on(&self) -> bool {
        self.flow == Flow::Later
    }

    /// Bytes that a reader has not taken although he was asked to.
    #[inline]
    pub(super) fn owes(&self) -> usize {
        if self.flow == Flow::Open { 0 } else { self.backlog_bytes as usize }
    }

    /// Drops broadcasts that wait, whole ones and the oldest first, until no more than `max` bytes
    /// wait or none is left that `may_drop` says may go.
    pub(super) fn drop_broadcasts(&mut self, max: usize, mut may_drop: impl FnMut(u32) -> bool) {
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

    pub(super) fn push_back(&mut self, pending: Pending) {
        self.backlog_bytes = self.backlog_bytes.saturating_add(pending.len() as u32);
        self.backlog.push(pending);
    }

    pub(super) fn push_front(&mut self, pending: Pending) {
        self.backlog_bytes = self.backlog_bytes.saturating_add(pending.len() as u32);
        self.backlog.insert(0, pending);
    }
}

#[cfg(any(test, debug_assertions))]
impl Outbox {
    /// Asserts what holds between two turns, whether or not the next has something queued already.
    pub(super) fn check(&self, id: impl std::fmt::Debug, has_more: bool) {
        let bytes: usize = self.backlog.iter().map(Pending::len).sum();
        assert_eq!(self.backlog_bytes as usize, bytes, "what waits for {id:?}, and its bytes");
        if has_more {
            return;
        }
        let in_arena = |pending: &Pending| matches!(pending, Pending::Turn { .. });
        assert!(
            !self.backlog.iter().any(in_arena),
            "{id:?} waits for bytes of a turn that is over"
        );
        assert!(self.flow != Flow::Open || bytes == 0, "{id:?} waits for nothing");
    }
}

impl Pending {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Frame(frame) | Self::Broadcast { frame, .. } => frame.len(),
            Self::Turn { start, end } => (end - start) as usize,
        }
    }

    pub(super) fn bytes<'a>(&'a self, arena: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Frame(frame) | Self::Broadcast { frame, .. } => frame,
            Self::Turn { start, end } => &arena[*start as usize..*end as usize],
        }
    }

    /// What is left from `written` on, independent of the arena.
    pub(super) fn rest(&self, arena: &[u8], written: usize) -> Self {
        match self {
            Self::Broadcast { frame, process } if written == 0 => {
                Self::Broadcast { frame: frame.clone(), process: *process }
            }
            Self::Frame(frame) | Self::Broadcast { frame, .. } => {
                Self::Frame(Rc::new(frame.slice(written..)))
            }
            Self::Turn { .. } => Self::Frame(Rc::new(keep(self.bytes(arena)[written..].to_vec()))),
        }
    }
}
