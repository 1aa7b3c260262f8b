//! The unfinished: what clients have begun to say, and how much of it a shard puts up with.
//!
//! A request that is not whole and a message that is not whole cost memory until the rest of them
//! comes, and nothing makes a client send the rest. So there is a bound on how many connections may
//! be on their way to a socket, and one on the bytes that are kept of anything unfinished. At
//! either bound the oldest goes: an honest client is done in the time that its network takes, and
//! those that pile up are the ones that never finish. Were the newest refused instead, whoever
//! holds all places once would lock everybody out.
//!
//! Each beginning gets a mark, and stands in line by it. What is finished, or gone, leaves its mark
//! behind in the line, where it is known by standing on no connection any more. So does what is
//! taken out to be worked with; but a line is looked through only when something is put down, and
//! whatever was taken out is put down before anything of another connection is.

use std::collections::VecDeque;

use crate::io::ConnectionId;
use crate::protocol::websocket::{CloseCode, Partial};
use crate::shard::connection::{Connections, Phase};
use crate::shard::{Core, Dead};

/// What a shard has of unfinished things.
#[derive(Debug, Default)]
pub(crate) struct Unfinished {
    /// Connections of which a request is awaited.
    awaited: usize,
    /// Those whose `connect` runs.
    connecting: usize,
    /// Those of which anything is kept, and the bytes of memory that it takes.
    keeping: usize,
    bytes: usize,
    /// Connections of which a request is awaited, the oldest first.
    heads: Line,
    /// Connections of which something is kept, the oldest first.
    kept: Line,
    last_mark: Mark,
}

/// Numbers the beginnings of a shard. Zero is none: what has it gets one when it is kept.
pub(crate) type Mark = u64;

impl Unfinished {
    /// On the way to a socket.
    pub(crate) fn handshakes(&self) -> usize {
        self.awaited + self.connecting
    }

    fn add(&mut self, phase: &Phase) {
        let bytes = phase.kept();
        self.bytes += bytes;
        self.keeping += usize::from(bytes > 0);
        match phase {
            Phase::Head(_) => self.awaited += 1,
            Phase::Connecting(_) => self.connecting += 1,
            Phase::Open(_) | Phase::Ending(_) | Phase::Empty => {}
        }
    }

    pub(super) fn remove(&mut self, phase: &Phase) {
        let bytes = phase.kept();
        self.bytes -= bytes;
        self.keeping -= usize::from(bytes > 0);
        match phase {
            Phase::Head(_) => self.awaited -= 1,
            Phase::Connecting(_) => self.connecting -= 1,
            Phase::Open(_) | Phase::Ending(_) | Phase::Empty => {}
        }
    }

    fn next_mark(&mut self) -> Mark {
        self.last_mark += 1;
        self.last_mark
    }

    /// Bytes of memory that are kept.
    #[cfg(feature = "testing")]
    pub(crate) fn bytes(&self) -> usize {
        assert_eq!(
            self.keeping == 0,
            self.bytes == 0,
            "somebody keeps nothing, or nobody something"
        );
        self.bytes
    }

    /// How many marks stand in the lines.
    #[cfg(test)]
    pub(crate) fn marks(&self) -> usize {
        self.heads.0.len() + self.kept.0.len()
    }
}

impl Core {
    /// Puts a connection into the phase that it has come to, or back into the one it was taken out
    /// of to be worked with.
    pub(super) fn put(&mut self, id: ConnectionId, mut phase: Phase) {
        let Some(connection) = self.connections.find(id) else {
            self.dead.push(Dead::Phase(phase));
            return;
        };
        let unfinished = &mut self.unfinished;
        let is_kept = phase.kept() > 0;
        let is_head = matches!(phase, Phase::Head(_));
        let mut new_mark = None;
        if let Some(mark) = phase.mark()
            && *mark == 0
            && (is_head || is_kept)
        {
            *mark = unfinished.next_mark();
            new_mark = Some(*mark);
        }
        unfinished.remove(&connection.phase);
        unfinished.add(&phase);
        let before = std::mem::replace(&mut connection.phase, phase);
        if !matches!(before, Phase::Empty) {
            self.dead.push(Dead::Phase(before));
        }
        if let Some(mark) = new_mark {
            if is_head {
                unfinished.heads.push(mark, id, unfinished.awaited, &mut self.connections);
            }
            if is_kept {
                unfinished.kept.push(mark, id, unfinished.keeping, &mut self.connections);
            }
        }
        if is_kept {
            self.close_unfinished();
        }
    }

    /// Takes a connection's phase out, to be worked with.
    pub(super) fn take_phase(&mut self, id: ConnectionId) -> Phase {
        let Some(connection) = self.connections.find(id) else { return Phase::Empty };
        self.unfinished.remove(&connection.phase);
        std::mem::take(&mut connection.phase)
    }

    /// Takes out what is kept of an unfinished message.
    pub(super) fn take_partial(&mut self, id: ConnectionId) -> Option<Box<Partial>> {
        let phase = &mut self.connections.find(id)?.phase;
        if phase.kept() == 0 {
            return None;
        }
        self.unfinished.remove(phase);
        let partial = phase.partial().and_then(Option::take);
        self.unfinished.add(phase);
        partial
    }

    /// Keeps what has come of an unfinished message.
    pub(super) fn keep_partial(&mut self, id: ConnectionId, mut partial: Box<Partial>) {
        let Some(connection) = self.connections.find(id) else { return };
        let unfinished = &mut self.unfinished;
        let is_new = partial.mark == 0;
        if is_new {
            partial.mark = unfinished.next_mark();
        }
        let mark = partial.mark;
        unfinished.remove(&connection.phase);
        if let Some(place) = connection.phase.partial() {
            *place = Some(partial);
        }
        unfinished.add(&connection.phase);
        if is_new {
            unfinished.kept.push(mark, id, unfinished.keeping, &mut self.connections);
        }
        self.close_unfinished();
    }

    /// Closes the oldest of the unfinished while they have too many bytes.
    fn close_unfinished(&mut self) {
        while self.unfinished.bytes > self.limits.max_partial_bytes {
            let kept = &mut self.unfinished.kept;
            let Some(id) = kept.pop(&mut self.connections) else { return };
            self.counters.unfinished += 1;
            let max_partial_bytes = self.limits.max_partial_bytes;
            tracing::debug!(max_partial_bytes, "closing the oldest that is unfinished");
            if self.connections.session(id).is_some() {
                drop(self.take_partial(id));
                // It has done nothing that another client may not do, and is to try again.
                self.fail_socket(id, CloseCode::TRY_AGAIN_LATER);
            } else {
                self.close_now(id);
            }
        }
    }

    /// Makes room for one more connection on its way to a socket. False: there is none to be made,
    /// for all that are on their way have asked and wait for us.
    pub(super) fn make_room_for_handshake(&mut self) -> bool {
        let max_handshakes = self.limits.max_handshakes;
        while self.unfinished.handshakes() >= max_handshakes {
            let heads = &mut self.unfinished.heads;
            let Some(id) = heads.pop(&mut self.connections) else { return false };
            self.counters.unfinished += 1;
            tracing::debug!(max_handshakes, "closing the oldest that has not asked");
            self.close_now(id);
        }
        true
    }
}

impl Phase {
    /// Bytes of memory that are kept of something unfinished.
    fn kept(&self) -> usize {
        let partial = |partial: &Option<Box<Partial>>| partial.as_ref().map_or(0, |p| p.buffered());
        match self {
            Self::Head(head) => head.bytes.capacity(),
            Self::Connecting(connecting) => connecting.early.capacity(),
            Self::Open(session) => partial(&session.partial),
            Self::Ending(ending) => partial(&ending.partial),
            Self::Empty => 0,
        }
    }

    fn partial(&mut self) -> Option<&mut Option<Box<Partial>>> {
        match self {
            Self::Open(session) => Some(&mut session.partial),
            Self::Ending(ending) => Some(&mut ending.partial),
            Self::Head(_) | Self::Connecting(_) | Self::Empty => None,
        }
    }

    /// Where the mark of what is unfinished stands.
    fn mark(&mut self) -> Option<&mut Mark> {
        match self {
            Self::Head(head) => Some(&mut head.mark),
            Self::Connecting(connecting) => Some(&mut connecting.mark),
            Self::Open(_) | Self::Ending(_) | Self::Empty => {
                self.partial()?.as_mut().map(|partial| &mut partial.mark)
            }
        }
    }
}

/// Connections by their marks, the oldest first.
#[derive(Debug, Default)]
struct Line(VecDeque<(Mark, ConnectionId)>);

impl Line {
    /// Lines a connection up behind the others, of whom, with it, `standing` have not left.
    fn push(&mut self, mark: Mark, id: ConnectionId, standing: usize, all: &mut Connections) {
        self.0.push_back((mark, id));
        // Those who have left are taken out when they are most of the line, so that each costs one
        // more look, whenever that is.
        if self.0.len() > 2 * standing + SLACK {
            self.0.retain(|&(mark, id)| stands(mark, id, all));
            self.0.shrink_to(2 * standing + SLACK);
        }
    }

    /// Takes the oldest that has not left.
    fn pop(&mut self, all: &mut Connections) -> Option<ConnectionId> {
        std::iter::from_fn(|| self.0.pop_front())
            .find(|&(mark, id)| stands(mark, id, all))
            .map(|(_, id)| id)
    }
}

fn stands(mark: Mark, id: ConnectionId, all: &mut Connections) -> bool {
    all.find(id).and_then(|connection| connection.phase.mark()).is_some_and(|own| *own == mark)
}

/// A line so short is not looked through.
const SLACK: usize = 64;
