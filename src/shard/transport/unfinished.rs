//! The unfinished: what clients have begun to say, and how much of it a shard puts up with.
//!
//! A request that is not whole and a message that is not whole cost memory until the rest of them
//! comes, and nothing makes a client send the rest. So there is a bound on how many connections may
//! be on their way to a socket, and one on the bytes that are kept of anything unfinished. At
//! either bound the oldest goes: an honest client is done in the time that its network takes, and
//! those that pile up are the ones that never finish. Were the newest refused instead, whoever
//! holds all places once would lock everybody out.
//!
//! Each beginning gets a mark, and stands in line by it. What is kept lies here and nowhere else, so
//! that the bytes of all of it can't but add up.

use std::collections::{BTreeMap, HashMap};

use crate::io::ConnectionId;
use crate::protocol::websocket::Partial;

/// What a shard has of unfinished things.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    kept: HashMap<ConnectionId, (Mark, Beginning)>,
    /// Connections of which something is kept, the oldest first.
    by_age: BTreeMap<Mark, ConnectionId>,
    /// Connections of which a request is awaited, the oldest first.
    heads: BTreeMap<Mark, ConnectionId>,
    /// Bytes of memory that all that is kept takes.
    bytes: usize,
    last_mark: Mark,
}

/// Numbers the beginnings of a shard.
pub(super) type Mark = u64;

/// What has come of something that is not whole.
#[derive(Debug)]
enum Beginning {
    /// Of a request; or behind one, while `connect` decides.
    Bytes(Vec<u8>),
    Message(Box<Partial>),
}

impl Beginning {
    fn size(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.capacity(),
            Self::Message(partial) => partial.buffered(),
        }
    }
}

impl Unfinished {
    /// A request is awaited from here on.
    pub(super) fn await_head(&mut self, id: ConnectionId) -> Mark {
        let mark = self.next_mark();
        self.heads.insert(mark, id);
        mark
    }

    /// It is awaited no more.
    pub(super) fn forget_head(&mut self, mark: Mark) {
        self.heads.remove(&mark);
    }

    /// The connection that has been waited for longest.
    pub(super) fn oldest_head(&self) -> Option<ConnectionId> {
        self.heads.first_key_value().map(|(_, id)| *id)
    }

    /// The connection that has begun longest ago what is not whole, if all there is has more than so
    /// many bytes.
    pub(super) fn oldest_past(&self, max: usize) -> Option<ConnectionId> {
        if self.bytes <= max {
            return None;
        }
        self.by_age.first_key_value().map(|(_, id)| *id)
    }

    /// Keeps bytes, which are more of what began with `mark`, or have just begun.
    pub(super) fn keep_bytes(&mut self, id: ConnectionId, bytes: Vec<u8>, mark: Option<Mark>) {
        if !bytes.is_empty() {
            self.keep(id, Beginning::Bytes(bytes), mark);
        }
    }

    /// Keeps bytes behind those that are kept of a connection already.
    pub(super) fn keep_more(&mut self, id: ConnectionId, bytes: &[u8]) {
        let (mark, mut all) = match self.take_bytes(id) {
            Some((mark, all)) => (Some(mark), all),
            None => (None, Vec::new()),
        };
        all.extend_from_slice(bytes);
        self.keep_bytes(id, all, mark);
    }

    /// Takes the bytes that are kept of a connection, to go on with them.
    pub(super) fn take_bytes(&mut self, id: ConnectionId) -> Option<(Mark, Vec<u8>)> {
        match self.take(id)? {
            (mark, Beginning::Bytes(bytes)) => Some((mark, bytes)),
            (_, Beginning::Message(_)) => unreachable!("it is no socket yet"),
        }
    }

    /// How many bytes are kept of a connection that is no socket yet.
    pub(super) fn kept_bytes(&self, id: ConnectionId) -> usize {
        match self.kept.get(&id) {
            Some((_, Beginning::Bytes(bytes))) => bytes.len(),
            _ => 0,
        }
    }

    /// Keeps what has come of a message, which is more of what began with `mark`, or has just begun.
    pub(super) fn keep_message(
        &mut self,
        id: ConnectionId,
        partial: Box<Partial>,
        mark: Option<Mark>,
    ) {
        self.keep(id, Beginning::Message(partial), mark);
    }

    /// Takes what is kept of a message, to go on with it.
    #[inline]
    pub(super) fn take_message(&mut self, id: ConnectionId) -> Option<(Mark, Box<Partial>)> {
        if self.kept.is_empty() {
            return None;
        }
        match self.take(id)? {
            (mark, Beginning::Message(partial)) => Some((mark, partial)),
            (_, Beginning::Bytes(_)) => unreachable!("they are taken when it becomes a socket"),
        }
    }

    /// Nothing that a connection has begun will be gone on with.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        if !self.kept.is_empty() {
            drop(self.take(id));
        }
    }

    fn keep(&mut self, id: ConnectionId, beginning: Beginning, mark: Option<Mark>) {
        let mark = mark.unwrap_or_else(|| self.next_mark());
        self.bytes += beginning.size();
        self.by_age.insert(mark, id);
        let before = self.kept.insert(id, (mark, beginning));
        assert!(before.is_none(), "what was kept before is taken out to be gone on with");
    }

    fn take(&mut self, id: ConnectionId) -> Option<(Mark, Beginning)> {
        let (mark, beginning) = self.kept.remove(&id)?;
        self.by_age.remove(&mark);
        self.bytes -= beginning.size();
        if self.kept.len() < self.kept.capacity() / 8 && self.kept.capacity() > KEPT {
            self.kept.shrink_to(KEPT);
        }
        Some((mark, beginning))
    }

    fn next_mark(&mut self) -> Mark {
        self.last_mark += 1;
        self.last_mark
    }
}

/// What it comes to.
impl Unfinished {
    /// Bytes of memory that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The same for each connection of which something is kept.
    pub(super) fn sizes(&self) -> impl Iterator<Item = (ConnectionId, usize)> {
        self.kept.iter().map(|(id, (_, beginning))| (*id, beginning.size()))
    }
}

#[cfg(any(test, debug_assertions))]
impl Unfinished {
    /// How many stand in the lines.
    #[cfg(test)]
    pub(super) fn marks(&self) -> usize {
        self.heads.len() + self.by_age.len()
    }

    /// Whether a connection stands in the line of those whose request is awaited.
    pub(super) fn has_head(&self, mark: Mark, id: ConnectionId) -> bool {
        self.heads.get(&mark) == Some(&id)
    }

    /// Asserts that the sums are those of what is kept, and so many requests are awaited.
    pub(super) fn check(&self, heads: usize) {
        assert_eq!(self.heads.len(), heads, "those whose request is awaited");
        let bytes: usize = self.kept.values().map(|(_, beginning)| beginning.size()).sum();
        assert_eq!(self.bytes, bytes, "bytes of what is unfinished");
        assert_eq!(self.by_age.len(), self.kept.len(), "what is kept stands in line");
        for (mark, id) in &self.by_age {
            assert_eq!(self.kept[id].0, *mark, "the mark of {id:?}");
        }
    }
}

/// Room for so many is kept.
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(slot: usize) -> ConnectionId {
        ConnectionId::new(0, slot, 1)
    }

    #[test]
    fn what_goes_on_keeps_its_age_and_what_begins_anew_is_the_youngest() {
        let mut unfinished = Unfinished::default();
        unfinished.keep_bytes(id(1), vec![0; 10], None);
        unfinished.keep_bytes(id(2), vec![0; 10], None);
        let (mark, bytes) = unfinished.take_bytes(id(1)).expect("kept");
        unfinished.keep_bytes(id(1), bytes, Some(mark));
        assert_eq!(unfinished.by_age.first_key_value().map(|(_, id)| *id), Some(id(1)));
        let (_, bytes) = unfinished.take_bytes(id(1)).expect("kept");
        unfinished.keep_bytes(id(1), bytes, None);
        assert_eq!(unfinished.by_age.first_key_value().map(|(_, id)| *id), Some(id(2)));
        unfinished.check(0);
        (1..3).for_each(|slot| unfinished.forget(id(slot)));
        assert_eq!((unfinished.bytes(), unfinished.marks()), (0, 0));
    }

    #[test]
    fn nothing_is_not_kept() {
        let mut unfinished = Unfinished::default();
        unfinished.keep_bytes(id(1), Vec::new(), None);
        assert!(unfinished.take_bytes(id(1)).is_none() && unfinished.take_message(id(1)).is_none());
        assert_eq!(unfinished.marks(), 0);
    }
}
