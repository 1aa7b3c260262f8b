//! Broadcasts: one message for everyone who subscribed to its topic.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use once_cell::race::OnceBox;

use crate::message::{GlobalProcessId, Payload};
use crate::protocol::phoenix::{EncodeError, Version};
use crate::protocol::websocket::{self, OpCode};

/// A broadcast on its way: topic, event, payload, and the frames that clients get.
///
/// Cheap to clone; the same one is handed from shard to shard.
#[derive(Clone)]
pub struct Broadcast(Arc<Inner>);

struct Inner {
    topic: Box<str>,
    event: Box<str>,
    payload: Payload,
    /// Who made it and does not want it himself (`broadcast_from`).
    from: Option<GlobalProcessId>,
    /// The finished frame for each serializer, made by whoever needs it first and published once;
    /// a shard that finds none makes it, and the one that comes second throws its own away.
    frames: [OnceBox<Bytes>; 2],
}

impl Broadcast {
    pub(crate) fn new(
        topic: &str,
        event: &str,
        payload: Payload,
        from: Option<GlobalProcessId>,
    ) -> Self {
        Self(Arc::new(Inner {
            topic: topic.into(),
            event: event.into(),
            payload,
            from,
            frames: Default::default(),
        }))
    }

    /// The topic it was made on.
    pub fn topic(&self) -> &str {
        &self.0.topic
    }

    /// The event's name.
    pub fn event(&self) -> &str {
        &self.0.event
    }

    /// The payload, unparsed.
    pub fn payload(&self) -> &Payload {
        &self.0.payload
    }

    pub(crate) fn from(&self) -> Option<GlobalProcessId> {
        self.0.from
    }

    /// The finished frame that clients of this version get, WebSocket header included.
    pub(crate) fn frame(&self, version: Version) -> Result<Bytes, EncodeError> {
        let slot = &self.0.frames[version as usize];
        if let Some(frame) = slot.get() {
            return Ok(frame.clone());
        }
        let frame = Bytes::from(self.encode(version)?);
        // Lost to another shard: theirs is as good.
        Ok(slot.set(Box::new(frame.clone())).map_or_else(|_| frame.clone(), |()| frame.clone()))
    }

    /// About how many bytes a frame of it has, of any version.
    pub(crate) fn size(&self) -> usize {
        let payload = self.payload().as_bytes().len();
        self.topic().len() + self.event().len() + payload + FRAME_OVERHEAD
    }

    fn encode(&self, version: Version) -> Result<Vec<u8>, EncodeError> {
        let payload = self.payload().as_raw();
        let mut frame = Vec::with_capacity(self.size());
        websocket::try_write_frame(&mut frame, frame_opcode(self.payload()), |out| {
            version.encode_broadcast(out, self.topic(), self.event(), payload)
        })?;
        Ok(frame)
    }

    /// Whether clients of the current version can be told at all: found out before it is on its
    /// way, where nobody is left to hear of it.
    pub(crate) fn check(&self) -> Result<(), BroadcastError> {
        self.frame(Version::V2)?;
        Ok(())
    }
}

impl fmt::Debug for Broadcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast")
            .field("topic", &self.topic())
            .field("event", &self.event())
            .field("payload", self.payload())
            .finish()
    }
}

/// Whether a message is text or binary depends on its payload alone.
pub(crate) fn frame_opcode(payload: &Payload) -> OpCode {
    if payload.is_binary() { OpCode::Binary } else { OpCode::Text }
}

/// Why a broadcast did not reach everyone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BroadcastError {
    /// The queue to at least one shard was full; that shard's subscribers did not get it, and are
    /// told of the gap ([`handle_gap`](crate::Channel::handle_gap)). All others got it.
    #[error("the queues to other shards are full, {shards} of them: subscribers there got nothing")]
    Overloaded {
        /// How many shards were missed.
        shards: usize,
    },
    /// So many broadcasts of this topic are still on their way to its subscribers that no more is
    /// taken ([`max_fanout_queue`](crate::Limits::max_fanout_queue)). Nobody got it.
    #[error("too much is on its way to this topic's subscribers already: nobody got it")]
    Backlog,
    /// It can't be encoded for some of its subscribers, who did not get it.
    #[error("{0}")]
    Encode(String),
}

impl From<EncodeError> for BroadcastError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error.to_string())
    }
}

/// Header, brackets, quotes, nulls and commas around the three variable parts, for both versions: as
/// much as the encoders ask for, who would otherwise move the frame to one of twice its size.
const FRAME_OVERHEAD: usize = 112;
