//! Lines: what each client is owed, and the one door to it.
//!
//! A client's frames are queued on its [`Line`] and written once, at the end of the turn.
//! Who may be told what, and when, is for those above to say. Here is known how a line's messages
//! are encoded, how much waits for it, and how much it has not taken although it was asked to.
//!
//! **Promises**: a line has one entry in a turn's batch at most, and none while it is blocked (a
//! model test holds that against the sockets); what it owes is the sum of what waits in its outbox,
//! and one that is open has its encoding (`check` looks at both). Whoever queues something is told
//! at once when the line has more than it may ([`Room`]): nobody forgets to look, for it is what
//! queueing returns.

mod line;
mod outbox;
mod send_queue;

#[cfg(test)]
mod model;

use crate::io::{Io, Rest};
use crate::message::{Encoding, LineId};
use crate::protocol::phoenix::EncodeError;
use crate::telemetry::{Event, Telemetry};
use line::{Line, LineTable};
use outbox::Pending;
use send_queue::SendQueue;

pub(crate) use line::Place;
pub(crate) use outbox::Frame;
pub(crate) use send_queue::{MAX_WRITE, Unsettled};

/// What a shard's clients are owed.
pub(crate) struct Lines {
    table: LineTable,
    queue: SendQueue,
    bounds: Bounds,
    telemetry: Telemetry,
}

/// How much may wait for a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes that its reader has not taken although he was asked to.
    pub(crate) max_owed: usize,
    /// The same, with what the kernel has not been offered yet: one message of the largest size
    /// more. A turn reads ten thousand small requests of one client; were each answer a large one,
    /// memory would be gone before the turn is.
    pub(crate) max_queued: usize,
}

/// Whether a line has room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a line that has more than it may is to be seen to"]
pub(crate) enum Room {
    Left,
    /// It owes more than it may.
    Exceeded,
    /// It had so much already that nothing was queued.
    Flooded,
}

impl Lines {
    pub(crate) fn new(bounds: Bounds, telemetry: Telemetry) -> Self {
        Self { table: LineTable::default(), queue: SendQueue::new(), bounds, telemetry }
    }

    /// Bytes that a client may owe.
    pub(crate) fn max_owed(&self) -> usize {
        self.bounds.max_owed
    }

    /// How many lines there are, in any place.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Every line, and its place.
    pub(crate) fn places(&self) -> impl Iterator<Item = (LineId, Place)> {
        self.table.iter().map(|(id, line)| (id, line.place))
    }

    /// A client has come. It was last heard in this second, which is that of its coming.
    pub(crate) fn insert(&mut self, id: LineId, heard: u32, place: Place) {
        self.table.insert(id, heard);
        self.set_place(id, place, None);
    }

    /// A client has gone, and what waits for it with it. Says where it was.
    pub(crate) fn remove(&mut self, id: LineId) -> Option<Place> {
        let line = self.table.remove(id)?;
        self.queue.forget(line.outbox.backlog.len());
        Some(line.place)
    }

    /// Where a client stands; `None` if it is gone.
    #[inline]
    pub(crate) fn place(&mut self, id: LineId) -> Option<Place> {
        self.table.find(id).map(|line| line.place)
    }

    /// Writes down where a client stands now, and how its messages are written if it is open.
    pub(crate) fn set_place(&mut self, id: LineId, place: Place, encoding: Option<Encoding>) {
        debug_assert_eq!(matches!(place, Place::Open(..)), encoding.is_some(), "{place:?}");
        let line = self.table.find(id).expect("whoever is placed is there");
        (line.place, line.encoding) = (place, encoding);
    }

    /// Something has come from a client: notes when, and says where it stands.
    #[inline]
    pub(crate) fn hear(&mut self, id: LineId, second: u32) -> Option<Heard> {
        let turn = self.queue.turn();
        let line = self.table.find(id)?;
        line.heard = second;
        if line.read_turn != turn {
            (line.read_turn, line.read) = (turn, 0);
        }
        Some(Heard { place: line.place, encoding: line.encoding, read: line.read })
    }

    /// So many messages of a client have been read.
    #[inline]
    pub(crate) fn count_read(&mut self, id: LineId, messages: u16) {
        if let Some(line) = self.table.find(id) {
            line.read = line.read.saturating_add(messages);
        }
    }

    /// Whether so much is to be written at the end of the turn that the rest waits for the next.
    #[inline]
    pub(crate) fn is_turn_full(&self) -> bool {
        self.queue.is_full()
    }

    /// A second has passed: memory goes back that the last ones have not needed.
    pub(crate) fn ease(&mut self) {
        self.queue.ease();
    }

    /// Whether there is memory to be given back.
    pub(crate) fn is_large(&self) -> bool {
        self.queue.is_large()
    }

    /// Bytes of memory by which clients' frames are known that wait; the frames themselves are
    /// [kept](crate::message::kept).
    pub(crate) fn bytes(&self) -> usize {
        self.queue.waiting * BYTES_OF_A_FRAME
    }

    /// Every client to whom something is owed, and how much.
    pub(crate) fn debtors(&self) -> impl Iterator<Item = (LineId, usize)> {
        let owed = |(id, line): (LineId, &Line)| (id, line.outbox.backlog_bytes as usize);
        self.table.iter().map(owed).filter(|(_, bytes)| *bytes > 0)
    }

    /// How many lines are to be written to at the end of the turn.
    pub(crate) fn writes(&self) -> usize {
        self.queue.batched()
    }

    /// When something last came from a client, and where it stands.
    pub(crate) fn heard(&mut self, id: LineId) -> Option<(u32, Place)> {
        self.table.find(id).map(|line| (line.heard, line.place))
    }

    /// How messages to and from an open socket are written.
    #[inline]
    pub(crate) fn encoding(&mut self, id: LineId) -> Option<Encoding> {
        self.table.find(id)?.encoding
    }

    /// Has the processor fetch a line, which is soon to be looked at.
    #[inline]
    pub(crate) fn prefetch(&self, id: LineId) {
        self.table.prefetch(id);
    }

    /// Queues the frame that `encode` appends, for an open socket. Nothing happens if there is none.
    ///
    /// # Errors
    ///
    /// Those of `encode`; nothing is queued then.
    #[inline]
    pub(crate) fn write(
        &mut self,
        id: LineId,
        encode: impl FnOnce(Encoding, &mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<Room, EncodeError> {
        let Self { table, queue, bounds, .. } = self;
        let Some(line) = table.find(id) else { return Ok(Room::Left) };
        let Some(encoding) = line.encoding else { return Ok(Room::Left) };
        write(id, line, queue, bounds, |out| encode(encoding, out))
    }

    /// Queues bytes that are no message: an HTTP answer, a control frame.
    pub(crate) fn write_bytes(&mut self, id: LineId, append: impl FnOnce(&mut Vec<u8>)) -> Room {
        let Self { table, queue, bounds, .. } = self;
        let Some(line) = table.find(id) else { return Room::Left };
        let append = |out: &mut Vec<u8>| {
            append(out);
            Ok(())
        };
        write(id, line, queue, bounds, append).expect("what can't fail has not failed")
    }

    /// Queues a finished frame for an open socket.
    pub(crate) fn push(&mut self, id: LineId, frame: Frame) -> Room {
        let Self { table, queue, bounds, .. } = self;
        let Some(line) = table.find(id).filter(|line| line.encoding.is_some()) else {
            return Room::Left;
        };
        if is_flooded(line, queue, bounds) {
            return Room::Flooded;
        }
        queue.push(id, &mut line.outbox, Pending::Frame(frame));
        room(line, bounds)
    }

    /// Queues the finished frame of one broadcast, or those of several in one, for the channel at
    /// this place of the table of processes.
    #[inline]
    pub(crate) fn push_broadcasts(
        &mut self,
        id: LineId,
        process: u32,
        frame: &Frame,
        broadcasts: usize,
    ) -> Room {
        let Some(line) = self.table.find(id) else { return Room::Left };
        self.telemetry.tell(Event::Delivered(broadcasts));
        let pending = Pending::Broadcast { frame: frame.clone(), process };
        self.queue.push(id, &mut line.outbox, pending);
        room(line, &self.bounds)
    }

    /// Drops broadcasts that wait for a line, whole ones and the oldest first, until it owes no more
    /// than half of what it may or none is left that `may_drop` says may go, by the place of its
    /// process. Says whether that was enough.
    ///
    /// Half, not just the excess: otherwise each further broadcast would look through all that waits
    /// for one to drop. For the same reason it is not enough when hardly anything could be dropped
    /// of much.
    pub(crate) fn drop_broadcasts(
        &mut self,
        id: LineId,
        may_drop: impl FnMut(u32) -> bool,
    ) -> bool {
        let max = self.bounds.max_owed;
        let Some(line) = self.table.find(id) else { return true };
        let before = line.outbox.owes();
        let frames = line.outbox.backlog.len();
        line.outbox.drop_broadcasts(max / 2, may_drop);
        self.queue.forget(frames - line.outbox.backlog.len());
        let owes = line.outbox.owes();
        owes <= max / 2 || (owes <= max && before - owes >= max / 16)
    }

    /// Bytes that a client has not taken although it was asked to.
    pub(crate) fn owes(&mut self, id: LineId) -> usize {
        self.table.find(id).map_or(0, |line| line.outbox.owes())
    }

    /// Whether a line owes more than it may.
    pub(crate) fn room(&mut self, id: LineId) -> Room {
        let bounds = &self.bounds;
        self.table.find(id).map_or(Room::Left, |line| room(line, bounds))
    }

    /// A client takes bytes again: what waits for it goes out with this turn.
    pub(crate) fn unblock(&mut self, id: LineId) {
        if let Some(line) = self.table.find(id) {
            self.queue.unblock(id, &mut line.outbox);
        }
    }

    /// Whether all that was queued for a client before this turn has been written.
    pub(crate) fn progress(&mut self, id: LineId) -> Progress {
        match self.table.find(id).map(|line| &line.outbox) {
            None => Progress::Drained,
            Some(outbox) if outbox.goes_on() => Progress::GoesOn,
            Some(outbox) if outbox.is_drained() => Progress::Drained,
            Some(_) => Progress::Blocked,
        }
    }

    /// Writes everything queued; see [`SendQueue::flush`].
    pub(crate) fn flush<I: Io>(
        &mut self,
        io: &mut I,
        unsettled: &mut Unsettled,
        rest: Option<Rest<'_>>,
    ) {
        self.queue.flush(io, &mut self.table, unsettled, rest);
        self.telemetry.tally().writes.set(self.queue.writes);
    }

    /// Whether something waits that was to be written in more than one write.
    pub(crate) fn goes_on(&self) -> bool {
        self.queue.goes_on()
    }

    /// How many lines a flush would write to.
    #[cfg(feature = "testing")]
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Asserts what is promised, between two turns.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn check(&self) {
        assert_eq!(self.table.iter().count(), self.table.len(), "lines and their number");
        let frames = self.table.iter().map(|(_, line)| line.outbox.backlog.len()).sum::<usize>();
        assert_eq!(self.queue.waiting, frames, "frames that wait");
        for (id, line) in self.table.iter() {
            line.outbox.check(id, self.queue.has_more());
            let is_open = matches!(line.place, Place::Open(..));
            assert_eq!(is_open, line.encoding.is_some(), "{id:?} is open and has an encoding");
        }
    }
}

/// A client of whom something has come.
pub(crate) struct Heard {
    pub(crate) place: Place,
    /// How its messages are written, if it is open.
    pub(crate) encoding: Option<Encoding>,
    /// Messages of it that were read in this turn.
    pub(crate) read: u16,
}

/// How far a line is with what was queued for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All is written.
    Drained,
    /// More is written next turn, without waiting for anything.
    GoesOn,
    /// The kernel takes no more.
    Blocked,
}

#[inline]
fn write(
    id: LineId,
    line: &mut Line,
    queue: &mut SendQueue,
    bounds: &Bounds,
    append: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<Room, EncodeError> {
    if is_flooded(line, queue, bounds) {
        return Ok(Room::Flooded);
    }
    let arena = queue.arena();
    let start = arena.len();
    append(arena)?;
    queue.queue_written(id, &mut line.outbox, start);
    Ok(room(line, bounds))
}

#[inline]
fn is_flooded(line: &Line, queue: &SendQueue, bounds: &Bounds) -> bool {
    line.outbox.owes() > bounds.max_owed || queue.waiting(&line.outbox) > bounds.max_queued
}

#[inline]
fn room(line: &Line, bounds: &Bounds) -> Room {
    if line.outbox.owes() > bounds.max_owed { Room::Exceeded } else { Room::Left }
}

/// An entry of a list that has grown by doubling.
const BYTES_OF_A_FRAME: usize = 2 * size_of::<Pending>();

/// What a client at rest takes, to be told with all else that it does.
#[cfg(test)]
pub(crate) const LINE_SIZE: usize = size_of::<Line>();
