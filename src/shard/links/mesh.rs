//! The mesh: a bounded queue for each ordered pair of shards, and the doorbells after them.
//!
//! Nothing on a shard ever waits: it pushes or is told that the queue is full. What crosses is a
//! [`Parcel`], two words. Doorbells are rung once a turn, when all is queued.
//!
//! A queue is bounded in number and in bytes. The pushing end knows how many bytes it has ever
//! pushed and the other writes down how many it has ever taken; so each number has one writer, and
//! a push costs a look at the other's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError};

use super::parcel::Parcel;
use super::remote::Remote;

/// One shard's end of the mesh.
pub(crate) struct Mesh {
    /// By destination; none to itself.
    outgoing: Vec<Option<Outgoing>>,
    /// By origin; none from itself.
    incoming: Vec<Option<Incoming>>,
    max_bytes: usize,
    /// Where the next [`receive`](Self::receive) begins, so that no origin comes always first.
    first: usize,
    /// Some doorbell is still to be rung.
    has_unrung: bool,
    /// Parcels pushed to other shards since the start.
    pushes: u64,
}

struct Outgoing {
    queue: Sender<Parcel>,
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
    queue: Receiver<Parcel>,
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
            has_unrung: false,
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
    /// Queues a parcel for another shard.
    ///
    /// One that is larger than all of them together may be still finds its way when none waits.
    ///
    /// # Errors
    ///
    /// Gives it back when the queue is full, or the shard has ended.
    ///
    /// # Panics
    ///
    /// When it is for the shard itself.
    pub(crate) fn push(
        &mut self,
        shard: usize,
        parcel: Parcel,
    ) -> Result<(), TrySendError<Parcel>> {
        let outgoing = self.outgoing[shard].as_mut().expect("a shard has no queue to itself");
        let size = parcel.size() as u64;
        // Relaxed: the queue itself says what can be taken. This is about memory only.
        let waiting = outgoing.pushed - outgoing.taken.load(Ordering::Relaxed);
        if waiting > 0 && waiting + size > self.max_bytes as u64 {
            return Err(TrySendError::Full(parcel));
        }
        outgoing.queue.try_send(parcel)?;
        outgoing.pushed += size;
        outgoing.unrung = true;
        self.pushes += 1;
        self.has_unrung = true;
        Ok(())
    }

    /// Rings those to whom something was pushed. Once, at the end of a turn.
    pub(crate) fn ring(&mut self) {
        if !std::mem::take(&mut self.has_unrung) {
            return;
        }
        for outgoing in self.outgoing.iter_mut().flatten().filter(|outgoing| outgoing.unrung) {
            outgoing.unrung = false;
            outgoing.remote.ring();
        }
    }

    /// Takes what others have queued for this shard, at most `max` of each in one go.
    pub(crate) fn receive(&mut self, max: usize, parcels: &mut Vec<Parcel>) {
        let shards = self.incoming.len();
        for step in 0..shards {
            if let Some(incoming) = &self.incoming[(self.first + step) % shards] {
                let before = parcels.len();
                parcels.extend(incoming.queue.try_iter().take(max));
                let bytes: usize = parcels[before..].iter().map(Parcel::size).sum();
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

    /// Parcels pushed to other shards since the start.
    pub(crate) fn pushes(&self) -> u64 {
        self.pushes
    }

    /// Nothing waits for this shard.
    pub(crate) fn is_empty(&self) -> bool {
        self.incoming.iter().flatten().all(|incoming| incoming.queue.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::io::Doorbell;
    use crate::message::{Broadcast, Payload};

    /// Two shards' ends.
    fn pair(max_queue: usize, max_bytes: usize) -> [Mesh; 2] {
        let remotes: Vec<_> = (0..2)
            .map(|shard| {
                let doorbell = Arc::new(Doorbell::new().expect("a descriptor is left"));
                Arc::new(Remote::new(shard, doorbell, &Limits::default()).0)
            })
            .collect();
        connect(&remotes, max_queue, max_bytes).try_into().ok().expect("two")
    }

    fn parcel(bytes: usize) -> Parcel {
        Parcel::Broadcast(Broadcast::new("t", "e", Payload::binary(vec![0; bytes]), None))
    }

    fn received(mesh: &mut Mesh) -> usize {
        let mut parcels = Vec::new();
        mesh.receive(usize::MAX, &mut parcels);
        parcels.len()
    }

    #[test]
    fn a_queue_is_bounded_in_number() {
        let [mut from, mut to] = pair(2, usize::MAX);
        assert!(from.push(1, parcel(0)).is_ok() && from.push(1, parcel(0)).is_ok());
        assert!(matches!(from.push(1, parcel(0)), Err(TrySendError::Full(_))));
        assert_eq!((received(&mut to), from.pushes()), (2, 2));
        assert!(from.push(1, parcel(0)).is_ok() && to.incoming[1].is_none());
    }

    #[test]
    fn a_queue_is_bounded_in_bytes_but_for_one_that_is_larger_by_itself() {
        let [mut from, mut to] = pair(16, 1_000);
        assert!(from.push(1, parcel(5_000)).is_ok(), "none waits");
        assert!(matches!(from.push(1, parcel(0)), Err(TrySendError::Full(_))));
        assert_eq!(received(&mut to), 1);
        assert!(from.push(1, parcel(0)).is_ok());
    }

    #[test]
    fn a_shard_that_has_ended_is_not_taken_for_one_that_is_slow() {
        let [mut from, to] = pair(2, 1_000);
        drop(to);
        assert!(matches!(from.push(1, parcel(0)), Err(TrySendError::Disconnected(_))));
    }
}
