//! A broadcast as a shard hands it out.

use std::rc::Rc;

use smallvec::SmallVec;

use crate::message::{Broadcast, Encoding};
use crate::protocol::phoenix::EncodeError;
use crate::shard::lines::Frame;

/// A broadcast on its way to a topic's subscribers, or the word that they missed it.
pub(super) struct Outgoing {
    pub(super) message: Broadcast,
    /// It was missed, and that is what its subscribers are told.
    pub(super) is_gap: bool,
    /// It could not be encoded for somebody, and that was said.
    pub(super) has_failed: bool,
    /// Which of its topic's it is, while it is on its way in slices.
    pub(super) number: u64,
    frames: ShardFrames,
}

impl Outgoing {
    pub(super) fn new(message: &Broadcast) -> Self {
        Self {
            message: message.clone(),
            is_gap: false,
            has_failed: false,
            number: 0,
            frames: ShardFrames::default(),
        }
    }

    pub(super) fn gap(missed: &Broadcast) -> Self {
        Self { is_gap: true, ..Self::new(missed) }
    }

    /// Says which of its topic's it is.
    pub(super) fn numbered(self, number: u64) -> Self {
        Self { number, ..self }
    }

    #[inline]
    pub(super) fn frame(&mut self, encoding: Encoding) -> Result<&Frame, EncodeError> {
        let Self { message, frames, .. } = self;
        frames.of(encoding, || Ok(Rc::new(message.frame(encoding)?)))
    }

    pub(super) fn size(&self) -> usize {
        self.message.size()
    }
}

/// Frames as a shard hands them out, one for each encoding that somebody has wanted: counted without
/// atomics.
#[derive(Default)]
pub(super) struct ShardFrames(SmallVec<[(Encoding, Frame); 1]>);

impl ShardFrames {
    #[inline]
    pub(super) fn of(
        &mut self,
        encoding: Encoding,
        make: impl FnOnce() -> Result<Frame, EncodeError>,
    ) -> Result<&Frame, EncodeError> {
        let place = match self.0.iter().position(|(its, _)| *its == encoding) {
            Some(place) => place,
            None => {
                self.0.push((encoding, make()?));
                self.0.len() - 1
            }
        };
        Ok(&self.0[place].1)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
