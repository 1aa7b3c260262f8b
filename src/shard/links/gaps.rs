//! Gaps: what a shard's channels are told when a queue to it was full.
//!
//! A broadcast that finds a shard's queue full fails for that shard, and whoever made it is told
//! so. The topic's channels there missed it and must know too, yet the queue that would tell them
//! is the one that is full. So each shard has a second, shorter way in: the broadcasts that were
//! missed, of which only topic and event matter. Should even that be full, a flag says that nobody
//! knows which, and then every channel of the shard is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender};

use crate::message::Broadcast;

/// The way in for those whose broadcast was missed.
pub(crate) struct Gaps {
    missed: Sender<Broadcast>,
    unknown: Arc<AtomicBool>,
}

/// The shard's end of it.
pub(crate) struct GapInbox {
    missed: Receiver<Broadcast>,
    unknown: Arc<AtomicBool>,
}

pub(crate) fn channel() -> (Gaps, GapInbox) {
    let (sender, receiver) = crossbeam_channel::bounded(MAX_MISSED);
    let unknown = Arc::new(AtomicBool::new(false));
    (Gaps { missed: sender, unknown: unknown.clone() }, GapInbox { missed: receiver, unknown })
}

impl Gaps {
    /// Notes that the shard misses this broadcast. Its doorbell is still to be rung.
    pub(crate) fn note(&self, broadcast: &Broadcast) {
        // Without its payload, of which a thousand could be ten gigabytes.
        let missed = Broadcast::bare(broadcast.topic(), broadcast.event());
        if self.missed.try_send(missed).is_err() {
            // Release pairs with the Acquire in `take_unknown`; the doorbell's fence, which
            // follows, lets a shard about to sleep see it.
            self.unknown.store(true, Ordering::Release);
        }
    }
}

impl GapInbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.missed.is_empty() && !self.unknown.load(Ordering::Acquire)
    }

    /// Takes those that are known, and says which.
    pub(crate) fn take(&self) -> impl Iterator<Item = Broadcast> {
        self.missed.try_iter().take(MAX_MISSED)
    }

    /// Whether there were others, of which nobody knows.
    pub(crate) fn take_unknown(&self) -> bool {
        self.unknown.load(Ordering::Relaxed) && self.unknown.swap(false, Ordering::AcqRel)
    }
}

/// Missed broadcasts noted for one shard. More than that, between two of its turns, and every
/// channel is told.
const MAX_MISSED: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Payload;

    #[test]
    fn a_gap_holds_no_payload() {
        let (gaps, inbox) = channel();
        let payload = Payload::binary(vec![0; 1_000]);
        gaps.note(&Broadcast::new("room:1", "shout", payload, None));
        let missed = inbox.missed.try_recv().expect("noted");
        assert_eq!((missed.topic(), missed.event()), ("room:1", "shout"));
        assert!(missed.size() < 1_000);
    }
}
