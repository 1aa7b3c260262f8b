//! Broadcasts: one message for everyone who subscribed to its topic.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::encoding::{Encoding, Frames};
use super::ids::GlobalProcessId;
use super::kept::keep;
use super::payload::Payload;
use crate::protocol::phoenix::EncodeError;

/// A broadcast on its way: topic, event, payload, and the frames that clients get.
///
/// Cheap to clone; the same one is handed from shard to shard.
#[derive(Clone)]
pub struct Broadcast(Arc<Inner>);

struct Inner {
    topic: Box<str>,
    event: Box<str>,
    payload: Payload,
    /// Who made it, to be told should somebody not be able to get it.
    maker: Option<GlobalProcessId>,
    /// He gets it too (not so by `broadcast_from`).
    is_for_maker: bool,
    frames: Frames,
}

impl Broadcast {
    pub(crate) fn new(
        topic: &str,
        event: &str,
        payload: Payload,
        from: Option<GlobalProcessId>,
    ) -> Self {
        Self::make(topic, event, payload, (from, false))
    }

    /// One that a channel made.
    pub(crate) fn by(
        maker: GlobalProcessId,
        is_for_maker: bool,
        topic: &str,
        event: &str,
        payload: Payload,
    ) -> Self {
        Self::make(topic, event, payload, (Some(maker), is_for_maker))
    }

    fn make(
        topic: &str,
        event: &str,
        payload: Payload,
        (maker, is_for_maker): (Option<GlobalProcessId>, bool),
    ) -> Self {
        Self(Arc::new(Inner {
            topic: topic.into(),
            event: event.into(),
            payload,
            maker,
            is_for_maker,
            frames: Frames::default(),
        }))
    }

    /// The same from nobody.
    #[cold]
    pub(crate) fn unsigned(&self) -> Self {
        Self::make(self.topic(), self.event(), self.payload().clone(), (None, false))
    }

    /// One without payload, of which only topic and event matter.
    pub(crate) fn bare(topic: &str, event: &str) -> Self {
        Self::new(topic, event, Payload::empty(), None)
    }

    /// The event that closes a socket, broadcast on its id.
    pub(crate) const DISCONNECT: &str = "disconnect";

    /// Whether it closes the sockets whose id its topic is.
    pub(crate) fn is_disconnect(&self) -> bool {
        self.event() == Self::DISCONNECT
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

    /// Who does not get it, because he made it.
    pub(crate) fn from(&self) -> Option<GlobalProcessId> {
        self.0.maker.filter(|_| !self.0.is_for_maker)
    }

    /// The channel that made it, if one did.
    pub(crate) fn maker(&self) -> Option<GlobalProcessId> {
        self.0.maker
    }

    /// The finished frame that clients of this encoding get, WebSocket header included.
    pub(crate) fn frame(&self, encoding: Encoding) -> Result<Bytes, EncodeError> {
        self.0.frames.of(encoding, || {
            let mut frame = Vec::with_capacity(self.size());
            encoding.broadcast(&mut frame, self.topic(), self.event(), self.payload())?;
            Ok(keep(frame))
        })
    }

    /// About how many bytes a frame of it has, of any version.
    pub(crate) fn size(&self) -> usize {
        let payload = self.payload().as_bytes().len();
        self.topic().len() + self.event().len() + payload + FRAME_OVERHEAD
    }

    /// Whether clients of the current version can be told at all: found out before it is on its
    /// way, where nobody is left to hear of it.
    pub(crate) fn check(&self) -> Result<(), BroadcastError> {
        self.frame(Encoding::V2)?;
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
    /// taken ([`max_fanout_queue`](crate::Limits::max_fanout_queue)), or the callbacks of this turn
    /// have made as many as they may ([`max_mesh_queue`](crate::Limits::max_mesh_queue)): one that
    /// has more to say waits in between, `cx.sleep(Duration::ZERO).await`. Nobody got it.
    #[error("too much is on its way to subscribers already: nobody got it")]
    Backlog,
    /// It can't be encoded for some of its subscribers, who did not get it, while all others did:
    /// binary for clients of the first version, what is neither an object nor binary for those of the
    /// second. Of subscribers on other shards it is logged.
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
