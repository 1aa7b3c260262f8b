//! The mesh: a bounded queue for each ordered pair of shards, and the doorbells after them.
//!
//! Nothing on a shard ever waits: it pushes or is told that the queue is full. What crosses is a
//! [`Broadcast`], one pointer. Doorbells are rung once a turn, when all is queued.
//!
//! A queue is bounded in number and in bytes. The pushing end knows how many bytes it has ever
//! pushed and the other writes down how many it has ever taken; so each number has one writer, and
//! a push costs a look at the other's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender};

use crate::message::Broadcast;
use crate::shard::links::remote::Remote;

/// One shard's end of the mesh.
pub(crate) struct Mesh {
    /// By destination; none to itself.
    outgoing: Vec<Option<Outgoing>>,
    /// By origin; none from itself.
    incoming: Vec<Option<Incoming>>,
    max_bytes: usize,
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
    /// Bytes pushed since the start.
    pushed: u64,
    /// Bytes that the other end has taken since the start. Behind what it has taken at most, so
    /// that the queue seems fuller than it is and never emptier.
    taken: Arc<AtomicU64>,
}

struct Incoming {
    queue: Receiver<Broadcast>,
    taken: Arc<AtomicU64>,
}

/// The queues' ends for every shard.
pub(crate) fn connect(remotes: &[Arc<Remote>], max_queue: usize, max_bytes: usize) -> Vec<Mesh> {
    let shards = remotes.len();
    let mut meshes: Vec<_> = (0..shards)
        .map(|first| Mesh {
            outgoing: (0..shards).map(|_| None).collect(),
            incoming: (0..shards).map(|_| None).collect(),
            max_bytes,
            first,
            pushes: 0,
        })
        .collect();
    for from in 0..shards {
        for to in (0..shards).filter(|&to| to != from) {
            let (queue, incoming) = crossbeam_channel::bounded(max_queue);
            let taken = Arc::new(AtomicU64::new(0));
            meshes[to].incoming[from] = Some(Incoming { queue: incoming, taken: taken.clone() });
            let remote = remotes[to].clone();
            let outgoing = Outgoing { queue, remote, unrung: false, pushed: 0, taken };
            meshes[from].outgoing[to] = Some(outgoing);
        }
    }
    meshes
}

impl Mesh {
    /// Queues a broadcast for another shard; false when its queue is full. To itself: nothing.
    ///
    /// One that is larger than all of them together may be still finds its way when none waits.
    pub(crate) fn push(&mut self, shard: usize, broadcast: &Broadcast) -> bool {
        let Some(outgoing) = &mut self.outgoing[shard] else { return true };
        let size = broadcast.size() as u64;
        // Relaxed: the queue itself says what can be taken. This is about memory only.
        let waiting = outgoing.pushed - outgoing.taken.load(Ordering::Relaxed);
        if waiting > 0 && waiting + size > self.max_bytes as u64 {
            return false;
        }
        let pushed = outgoing.queue.try_send(broadcast.clone()).is_ok();
        if pushed {
            outgoing.pushed += size;
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
                let before = broadcasts.len();
                broadcasts.extend(incoming.queue.try_iter().take(max));
                let bytes: usize = broadcasts[before..].iter().map(Broadcast::size).sum();
                if bytes > 0 {
                    // No other shard writes here, so nothing comes between the two.
                    let taken = incoming.taken.load(Ordering::Relaxed);
                    incoming.taken.store(taken + bytes as u64, Ordering::Relaxed);
                }
            }
        }
        self.first = (self.first + 1) % shards;
    }

    /// Bytes that wait for others to take them.
    #[cfg(feature = "testing")]
    pub(crate) fn bytes(&self) -> usize {
        let waiting = |to: &Outgoing| to.pushed - to.taken.load(Ordering::Relaxed);
        self.outgoing.iter().flatten().map(|to| waiting(to) as usize).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.incoming.iter().flatten().all(|incoming| incoming.queue.is_empty())
    }
}
