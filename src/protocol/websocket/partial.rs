//! What a connection keeps of an unfinished frame or message.

use smallvec::SmallVec;

use super::header::OpCode;
use super::mask::Mask;
use super::text::{NotUtf8, Text};

/// What a connection keeps between two receives when a frame or message is incomplete.
#[derive(Debug, Default)]
pub(crate) struct Partial {
    /// The beginning of a frame with which nothing can be done yet: part of a header, or of a
    /// control frame, as it was received. Empty while a data frame is open.
    pub(super) head: Head,
    /// The message of which some frames, or some bytes of one, have been read.
    pub(super) message: Option<Assembly>,
}

/// A frame's first bytes. A header fits in place; a control frame, rarely cut, is allocated.
pub(super) type Head = SmallVec<[u8; 16]>;

impl Partial {
    /// Bytes of memory that this holds.
    pub(crate) fn buffered(&self) -> usize {
        let head = if self.head.spilled() { self.head.capacity() } else { 0 };
        let payload = self.message.as_ref().map_or(0, |message| message.payload.capacity());
        size_of::<Self>() + head + payload
    }

    /// Whether everything received has been handed out, so that nothing need be kept.
    pub(super) fn is_at_rest(&self) -> bool {
        self.head.is_empty() && self.message.is_none()
    }
}

/// A message being put together.
#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) payload: Payload,
    /// The frame whose payload is arriving; absent between two fragments.
    pub(super) open_frame: Option<OpenFrame>,
}

/// A data frame of which the header has been read, and not all of the payload.
#[derive(Debug)]
pub(super) struct OpenFrame {
    pub(super) is_final: bool,
    pub(super) mask: Mask,
    /// Payload bytes still to come.
    pub(super) remaining: usize,
}

/// A message's payload so far, unmasked, and checked if it is text.
#[derive(Debug)]
pub(super) enum Payload {
    Text(Text),
    Binary(Vec<u8>),
}

impl Assembly {
    /// For a message whose first frame has this opcode.
    pub(super) fn new(opcode: OpCode) -> Self {
        let payload = match opcode {
            OpCode::Text => Payload::Text(Text::default()),
            _ => Payload::Binary(Vec::new()),
        };
        Self { payload, open_frame: None }
    }
}

impl OpenFrame {
    /// Takes what there is of the frame's payload from the start of `ahead`, where it is unmasked,
    /// and appends it to `payload`, of at most `max_size` bytes. Returns how much that was.
    pub(super) fn receive(
        &mut self,
        ahead: &mut [u8],
        payload: &mut Payload,
        max_size: usize,
    ) -> Result<usize, NotUtf8> {
        let count = self.remaining.min(ahead.len());
        let piece = &mut ahead[..count];
        self.mask.apply(piece);
        payload.make_room(count, self.remaining, max_size);
        payload.push(piece)?;
        self.remaining -= count;
        Ok(count)
    }
}

impl Payload {
    fn push(&mut self, piece: &[u8]) -> Result<(), NotUtf8> {
        match self {
            Self::Text(text) => text.push(piece),
            Self::Binary(bytes) => {
                bytes.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    /// Makes room for `arriving` bytes, of a frame of which `remaining` bytes (these included) are
    /// still to come, in a message of at most `max_size` bytes.
    ///
    /// To announce a big frame must cost its sender something: beyond [`FIRST_ROOM`] the room
    /// follows what has arrived, doubling. A frame that fits in it is allocated once, exactly.
    fn make_room(&mut self, arriving: usize, remaining: usize, max_size: usize) {
        let needed = self.len() + arriving;
        let capacity = self.capacity();
        if needed <= capacity {
            return;
        }
        let announced = (self.len() + remaining).min(FIRST_ROOM);
        let grown = needed.max(announced).max((2 * capacity).min(max_size));
        match self {
            Self::Text(text) => text.grow_to(grown),
            Self::Binary(bytes) => bytes.reserve_exact(grown - bytes.len()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    fn capacity(&self) -> usize {
        match self {
            Self::Text(text) => text.capacity(),
            Self::Binary(bytes) => bytes.capacity(),
        }
    }
}

/// The most that is allocated on the word of a header alone, in bytes.
pub(super) const FIRST_ROOM: usize = 64 << 10;
