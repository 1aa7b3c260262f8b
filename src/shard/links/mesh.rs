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
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};

use super::parcel::Parcel;
use super::remote::Remote;

/// One shard's end of the mesh.
pub(crate) struct Mesh {
    /// By destination; none to itself.
    outgoing: Vec<Option<Outgoing>>,
    /// By origin; none from itself.
    incoming: Vec<Option<Incoming>>,
    bounds: MeshBounds,
    /// A queue had more than it should have had when it was looked at last, or something was put
    /// there since.
    was_high: bool,
    /// A queue to another shard has more than it should have had, since that was taken.
    high: Option<usize>,
    /// A queue to another shard is nearly full, as far as is known.
    is_nearly_full: bool,
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
    /// Pushed since the start.
    pushed: Sum,
    /// What the other end has taken since the start. Behind what it has taken at most, so that the
    /// queue seems fuller than it is and never emptier.
    taken: Arc<Taken>,
    /// Since it was looked at last, nothing was taken of a queue that is nearly full, for so long.
    stuck: Stuck,
}

struct Incoming {
    queue: Receiver<Parcel>,
    taken: Arc<Taken>,
}

/// How much may wait between two shards, and how long one that takes nothing is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MeshBounds {
    pub(crate) max_parcels: usize,
    pub(crate) max_bytes: usize,
    pub(crate) patience: Duration,
}

/// Parcels, and their bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sum {
    parcels: u64,
    bytes: u64,
}

/// The same, written by one shard and read by another. Each number is right by itself.
#[derive(Default)]
struct Taken {
    parcels: AtomicU64,
    bytes: AtomicU64,
}

impl Taken {
    // Relaxed: the queue itself says what can be taken. This is about memory and haste only.
    fn load(&self) -> Sum {
        Sum {
            parcels: self.parcels.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// By the one who takes, so that nothing comes between the two.
    fn add(&self, sum: Sum) {
        let before = self.load();
        self.parcels.store(before.parcels + sum.parcels, Ordering::Relaxed);
        self.bytes.store(before.bytes + sum.bytes, Ordering::Relaxed);
    }
}

/// A queue of which nothing is taken. After some time its shard is stuck, and the others are not to
/// wait for it any longer.
#[derive(Default)]
struct Stuck {
    taken: Sum,
    looked_at: Option<Instant>,
    time: Duration,
}

impl Stuck {
    /// Looks at a queue that has more than it should.
    fn look(&mut self, taken: Sum, now: Instant) {
        if self.taken != taken {
            *self = Self { taken, ..Self::default() };
        }
        // A machine that stood still has held up the other end too.
        let since = self.looked_at.replace(now).map_or(Duration::ZERO, |before| now - before);
        self.time += since.min(STRIDE);
    }
}

/// The queues' ends for every shard.
pub(crate) fn connect(remotes: &[Arc<Remote>], bounds: MeshBounds) -> Vec<Mesh> {
    let shards = remotes.len();
    let mut meshes: Vec<_> = (0..shards)
        .map(|first| Mesh {
            outgoing: (0..shards).map(|_| None).collect(),
            incoming: (0..shards).map(|_| None).collect(),
            bounds,
            was_high: false,
            high: None,
            is_nearly_full: false,
            first,
            has_unrung: false,
            pushes: 0,
        })
        .collect();
    for from in 0..shards {
        for to in (0..shards).filter(|&to| to != from) {
            let (queue, incoming) = crossbeam_channel::bounded(bounds.max_parcels);
            let taken = Arc::new(Taken::default());
            meshes[to].incoming[from] = Some(Incoming { queue: incoming, taken: taken.clone() });
            let remote = remotes[to].clone();
            let (pushed, stuck) = (Sum::default(), Stuck::default());
            let outgoing = Outgoing { queue, remote, unrung: false, pushed, taken, stuck };
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
        let waiting = outgoing.waiting();
        if waiting.bytes > 0 && waiting.bytes + size > self.bounds.max_bytes as u64 {
            return Err(TrySendError::Full(parcel));
        }
        outgoing.queue.try_send(parcel)?;
        outgoing.pushed.bytes += size;
        outgoing.pushed.parcels += 1;
        let waiting = Sum { parcels: waiting.parcels + 1, bytes: waiting.bytes + size };
        if waiting.is_part(1, HIGH, &self.bounds) {
            self.was_high = true;
            if !outgoing.is_stuck(&self.bounds) {
                self.high = Some(shard);
                self.is_nearly_full |= waiting.is_part(3, 4, &self.bounds);
            }
        }
        outgoing.unrung = true;
        self.pushes += 1;
        self.has_unrung = true;
        Ok(())
    }

    /// Looks at the queues anew, if one has had more than it should.
    pub(crate) fn look(&mut self, now: Instant) {
        self.high = None;
        if !std::mem::take(&mut self.was_high) {
            return;
        }
        let Self { bounds, outgoing, .. } = self;
        self.is_nearly_full = false;
        for outgoing in outgoing.iter_mut().flatten() {
            let waiting = outgoing.waiting();
            if waiting.is_part(1, HIGH, bounds) {
                self.was_high = true;
                outgoing.stuck.look(outgoing.taken.load(), now);
                self.is_nearly_full |= waiting.is_part(3, 4, bounds) && !outgoing.is_stuck(bounds);
            } else {
                outgoing.stuck = Stuck::default();
            }
        }
    }

    /// Whether a queue to another shard is nearly full.
    #[inline]
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.is_nearly_full
    }

    /// Which queue was found to have more than it should, since this was asked last.
    pub(crate) fn take_high(&mut self) -> Option<usize> {
        self.high.take()
    }

    /// Whether a queue has more than it should have.
    pub(crate) fn is_high(&self, shard: usize) -> bool {
        let outgoing = self.outgoing[shard].as_ref();
        outgoing.is_some_and(|outgoing| {
            outgoing.waiting().is_part(1, HIGH, &self.bounds) && !outgoing.is_stuck(&self.bounds)
        })
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
                let taken = &parcels[before..];
                if !taken.is_empty() {
                    let bytes = taken.iter().map(Parcel::size).sum::<usize>() as u64;
                    incoming.taken.add(Sum { parcels: taken.len() as u64, bytes });
                }
            }
        }
        self.first = (self.first + 1) % shards;
    }

    /// Bytes that wait for others to take them.
    #[cfg(feature = "testing")]
    pub(crate) fn bytes(&self) -> usize {
        self.outgoing.iter().flatten().map(|to| to.waiting().bytes as usize).sum()
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

impl Outgoing {
    /// What the other end has not taken.
    fn waiting(&self) -> Sum {
        let taken = self.taken.load();
        Sum { parcels: self.pushed.parcels - taken.parcels, bytes: self.pushed.bytes - taken.bytes }
    }

    /// Whether its shard has taken nothing for so long that others are not to wait for it.
    fn is_stuck(&self, bounds: &MeshBounds) -> bool {
        self.stuck.time >= bounds.patience
    }
}

impl Sum {
    /// Whether it is such a part of what may wait, or more.
    fn is_part(self, part: u64, of: u64, bounds: &MeshBounds) -> bool {
        let reaches = |waiting: u64, max: usize| waiting >= (max as u64 / of * part).max(1);
        reaches(self.parcels, bounds.max_parcels) || reaches(self.bytes, bounds.max_bytes)
    }
}

/// More than one of so many parts of a queue means that its shard is slower than those that feed it:
/// some milliseconds' worth, which everyone else's messages wait behind.
const HIGH: u64 = 8;

/// So much of the time between two looks counts.
const STRIDE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::io::Doorbell;
    use crate::message::{Broadcast, Payload};

    /// Two shards' ends.
    fn pair(max_parcels: usize, max_bytes: usize) -> [Mesh; 2] {
        let patience = Duration::from_secs(10);
        let remotes: Vec<_> = (0..2)
            .map(|shard| {
                let doorbell = Arc::new(Doorbell::new().expect("a descriptor is left"));
                Arc::new(Remote::new(shard, doorbell, &Limits::default()).0)
            })
            .collect();
        connect(&remotes, MeshBounds { max_parcels, max_bytes, patience })
            .try_into()
            .ok()
            .expect("two")
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
