//! The mesh: a bounded queue for each ordered pair of shards, and the doorbells after them.
//!
//! Nothing on a shard ever waits: it pushes or is told that the queue is full. What crosses is a
//! [`Broadcast`], one pointer. Doorbells are rung once a turn, when all is queued.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use super::remote::Remote;
use crate::pubsub::Broadcast;

/// One shard's end of the mesh.
pub(crate) struct Mesh {
    /// By destination; none to itself.
    outgoing: Vec<Option<Outgoing>>,
    /// By origin; none from itself.
    incoming: Vec<Option<Receiver<Broadcast>>>,
    /// Where the next [`receive`](Self::receive) begins, so that no origin comes always first.
    first: usize,
    /// Broadcasts pushed to other shards since the start.
    pub(crate) pushes: u64,
}

struct Outgoing {
    queue: Sender<Broadcast>,
    remote: Arc<Remote>,
    /// Something was pushed since its doorbell was rung.
    unrung: bool,
}

/// The queues' ends for every shard.
pub(crate) fn connect(remotes: &[Arc<Remote>], max_queue: usize) -> Vec<Mesh> {
    let shards = remotes.len();
    let mut meshes: Vec<_> = (0..shards)
        .map(|first| Mesh {
            outgoing: (0..shards).map(|_| None).collect(),
            incoming: (0..shards).map(|_| None).collect(),
            first,
            pushes: 0,
        })
        .collect();
    for from in 0..shards {
        for to in (0..shards).filter(|&to| to != from) {
            let (queue, incoming) = crossbeam_channel::bounded(max_queue);
            let remote = remotes[to].clone();
            meshes[from].outgoing[to] = Some(Outgoing { queue, remote, unrung: false });
            meshes[to].incoming[from] = Some(incoming);
        }
    }
    meshes
}

impl Mesh {
    /// Queues a broadcast for another shard; false when its queue is full. To itself: nothing.
    pub(crate) fn push(&mut self, shard: usize, broadcast: &Broadcast) -> bool {
        let Some(outgoing) = &mut self.outgoing[shard] else { return true };
        let pushed = outgoing.queue.try_send(broadcast.clone()).is_ok();
        if pushed {
            self.pushes += 1;
            outgoing.unrung = true;
        }
        pushed
    }

    /// Rings those to whom something was pushed. Once, at the end of a turn.
    pub(crate) fn ring(&mut self) {
        for outgoing in self.outgoing.iter_mut().flatten().filter(|outgoing| outgoing.unrung) {
            outgoing.unrung = false;
            outgoing.remote.doorbell.ring();
        }
    }

    /// Takes what others have queued for this shard, at most `max` of each in one go.
    pub(crate) fn receive(&mut self, max: usize, broadcasts: &mut Vec<Broadcast>) {
        let shards = self.incoming.len();
        for step in 0..shards {
            if let Some(incoming) = &self.incoming[(self.first + step) % shards] {
                broadcasts.extend(incoming.try_iter().take(max));
            }
        }
        self.first = (self.first + 1) % shards;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.incoming.iter().flatten().all(Receiver::is_empty)
    }
}
