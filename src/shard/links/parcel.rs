//! Parcels: what crosses from one thread to a shard, over the mesh or by its inbox.

use std::any::Any;
use std::sync::Arc;
#[cfg(feature = "testing")]
use std::sync::mpsc::SyncSender;

use bytes::Bytes;

use crate::message::{Broadcast, LineId, ProcessId};
#[cfg(feature = "testing")]
use crate::telemetry::Holdings;

/// Something for a shard, from another or from a thread that is none. Two words, because the queues
/// between shards have thousands of places each.
pub(crate) enum Parcel {
    /// For the subscribers of its topic.
    Broadcast(Broadcast),
    /// For a process' `handle_info`.
    Info(Box<Info>),
    /// For a client.
    Reply(Box<LateFrame>),
    /// For a process whose broadcast can't be encoded for somebody on another shard.
    Unencoded(Box<Unencoded>),
    /// A test wants to know what the shard holds.
    #[cfg(feature = "testing")]
    Holdings(Box<SyncSender<Holdings>>),
}

/// A message of the application's to one of its processes.
pub(crate) struct Info {
    pub(crate) process: ProcessId,
    pub(crate) info: Box<dyn Any + Send>,
    /// Who waits for an answer to it, to be told if it is refused.
    pub(crate) call: Option<Arc<dyn Refuse>>,
}

/// Somebody who has asked a process something.
pub(crate) trait Refuse: Send + Sync {
    /// The mailbox is full. To be called while the tables are borrowed: it does no more than note it,
    /// and whoever waits is woken when the question is dropped.
    fn note_full(&self);
}

/// Why somebody did not get what a process has broadcast.
pub(crate) struct Unencoded {
    pub(crate) process: ProcessId,
    pub(crate) error: String,
}

/// A process' late reply, finished.
pub(crate) struct LateFrame {
    pub(crate) process: ProcessId,
    pub(crate) line: LineId,
    pub(crate) frame: Bytes,
}

impl Parcel {
    /// It is refused because a queue is full; whoever waits for an answer to it is to know.
    pub(crate) fn note_full(&self) {
        if let Self::Info(info) = self
            && let Some(call) = &info.call
        {
            call.note_full();
        }
    }

    /// About how many bytes of memory it holds. What an application's message points to is not
    /// seen.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Broadcast(broadcast) => broadcast.size(),
            Self::Info(info) => size_of_val(&*info.info),
            Self::Reply(reply) => reply.frame.len(),
            Self::Unencoded(unencoded) => unencoded.error.len(),
            #[cfg(feature = "testing")]
            Self::Holdings(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_is_two_words() {
        assert_eq!(size_of::<Parcel>(), 16);
    }
}
