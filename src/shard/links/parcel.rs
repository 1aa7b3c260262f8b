//! Parcels: what crosses from one thread to a shard, over the mesh or by its inbox.

use std::any::Any;
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
    /// A test wants to know what the shard holds.
    #[cfg(feature = "testing")]
    Holdings(Box<SyncSender<Holdings>>),
}

/// A message of the application's to one of its processes.
pub(crate) struct Info {
    pub(crate) process: ProcessId,
    pub(crate) info: Box<dyn Any + Send>,
}

/// A process' late reply, finished.
pub(crate) struct LateFrame {
    pub(crate) process: ProcessId,
    pub(crate) line: LineId,
    pub(crate) frame: Bytes,
}

impl Parcel {
    /// About how many bytes of memory it holds. What an application's message points to is not
    /// seen.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Broadcast(broadcast) => broadcast.size(),
            Self::Info(info) => size_of_val(&*info.info),
            Self::Reply(reply) => reply.frame.len(),
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
