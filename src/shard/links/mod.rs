//! Links: the ways between a shard and what is no client of its own: other shards, other threads.
//!
//! ```text
//!  another shard ── mesh ───┐
//!                           ├─▶ this shard, between its clients' bytes and its timers
//!  any other thread ─ remote┘
//! ```
//!
//! What crosses is a [`Parcel`]. `interest` says which shards want a topic, and
//! [`Shared::forward`] is the one author of "to everyone else on this node". A broadcast that finds
//! a queue full is a gap, of which the shard's channels are told by a way of its own (`gaps`).
//!
//! **Promises**: nobody waits for a queue; each is bounded; what did not fit is counted, and whoever
//! missed a broadcast is told.

mod interest;
mod mesh;
mod parcel;

mod end;
mod gaps;
mod names;
mod remote;
mod subscriptions;
mod wakers;
mod watched;
mod woken;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Instant;

use crossbeam_channel::TrySendError;

use super::blocking::Pool;
use crate::config::Limits;
use crate::message::{Broadcast, BroadcastError, kept};
use crate::telemetry::{Event, Tally, Telemetry};
use subscriptions::Known;

pub(crate) use end::End;
pub(crate) use gaps::GapInbox;
pub(crate) use interest::{Interest, OwnInterest};
pub(crate) use mesh::{Mesh, MeshBounds, connect};
pub(crate) use names::{MountNames, Names};
pub(crate) use parcel::{Info, LateFrame, Parcel, Refuse, Unencoded};
pub(crate) use remote::{Here, Inbox, Remote, Sent};
pub(crate) use subscriptions::{Letter, Letterbox, Subscriptions};
pub(crate) use wakers::Alarm;
#[cfg(test)]
pub(crate) use watched::Watched;
pub(crate) use watched::{Code, Note};
pub(crate) use woken::Woken;

/// What all shards of an endpoint share.
pub(crate) struct Shared {
    pub(crate) remotes: Vec<Arc<Remote>>,
    pub(crate) interest: Arc<Interest>,
    /// Which shards have much of a topic on its way to its subscribers.
    pub(crate) congestion: Arc<Interest>,
    /// Those who hear broadcasts and are no channels.
    pub(crate) subscriptions: Subscriptions,
    pub(crate) blocking: Pool,
    pub(crate) end: End,
    /// Shards that have ended.
    ended: AtomicUsize,
    /// Connections that all shards have admitted.
    pub(crate) connections: AtomicUsize,
    /// Where each shard counts.
    pub(crate) tallies: Vec<Arc<Tally>>,
    /// Bytes that all shards together may keep for clients, and what each says it has of those that
    /// are not [counted](kept) as pieces.
    pub(crate) max_kept_bytes: usize,
    own: Vec<AtomicUsize>,
}

impl Shared {
    pub(crate) fn new(remotes: Vec<Arc<Remote>>, blocking: Pool, limits: &Limits) -> Self {
        let shards = remotes.len();
        Self {
            remotes,
            interest: Arc::new(Interest::new(shards)),
            congestion: Arc::new(Interest::new(shards)),
            subscriptions: Subscriptions::new(limits),
            blocking,
            end: End::default(),
            ended: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            tallies: (0..shards).map(|_| Arc::default()).collect(),
            max_kept_bytes: limits.max_kept_bytes.unwrap_or(usize::MAX),
            own: (0..shards).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    /// Tells every shard to close its sockets and to end.
    pub(crate) fn stop(&self) {
        self.end.ask();
        self.ring();
    }

    /// Tells every shard to end at once, whatever still runs.
    pub(crate) fn hurry(&self) {
        self.end.hurry();
        self.ring();
    }

    fn ring(&self) {
        for remote in &self.remotes {
            remote.ring();
        }
    }

    /// A shard has ended.
    pub(crate) fn count_end(&self) {
        if self.ended.fetch_add(1, Ordering::SeqCst) + 1 >= self.remotes.len() {
            self.subscriptions.end();
        }
    }

    /// Whether no shard is left.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst) >= self.remotes.len()
    }

    /// Hands a broadcast to the shards that have subscribers, but `except`: by `send`, which says
    /// what became of it on its way to one. Those that miss it are told so.
    fn forward(
        &self,
        broadcast: &Broadcast,
        except: Option<usize>,
        mut send: impl FnMut(usize) -> Sent,
    ) -> Result<(), BroadcastError> {
        let mut missed = 0;
        for shard in self.interest.interested(broadcast.topic()) {
            if Some(shard) != except && send(shard) == Sent::Missed {
                self.remotes[shard].miss(broadcast);
                missed += 1;
            }
        }
        if missed == 0 { Ok(()) } else { Err(BroadcastError::Overloaded { shards: missed }) }
    }

    /// Hands a broadcast to every shard that has subscribers, from a thread that is none of them.
    ///
    /// # Errors
    ///
    /// When the inbox of at least one was full. All others have it.
    pub(crate) fn broadcast(&self, broadcast: &Broadcast) -> Result<(), BroadcastError> {
        self.subscriptions.deliver(broadcast);
        self.forward(broadcast, None, |shard| {
            sent(&self.remotes[shard].send(Parcel::Broadcast(broadcast.clone())))
        })
    }
}

fn sent(result: &Result<(), TrySendError<Parcel>>) -> Sent {
    match result {
        Ok(()) => Sent::Queued,
        Err(TrySendError::Full(_)) => Sent::Missed,
        Err(TrySendError::Disconnected(_)) => Sent::Gone,
    }
}

/// A shard's own ways to the others.
pub(crate) struct Links {
    shared: Arc<Shared>,
    remote: Arc<Remote>,
    mesh: Mesh,
    /// What this shard has said that it keeps.
    kept_own: usize,
    known: Known,
    telemetry: Telemetry,
}

impl Links {
    pub(crate) fn new(shared: Arc<Shared>, shard: usize, mesh: Mesh, telemetry: Telemetry) -> Self {
        let remote = shared.remotes[shard].clone();
        let known = Known::default();
        Self { shared, remote, mesh, known, kept_own: 0, telemetry }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// This shard as others see it.
    pub(crate) fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// Hands a broadcast of this shard's to the other shards that have subscribers, and to those who
    /// have subscribed from outside.
    ///
    /// # Errors
    ///
    /// When the queue to at least one was full. All others have it.
    pub(crate) fn forward(&mut self, broadcast: &Broadcast) -> Result<(), BroadcastError> {
        let Self { shared, remote, mesh, known, telemetry, .. } = self;
        known.deliver(&shared.subscriptions, broadcast);
        if shared.remotes.len() == 1 {
            return Ok(());
        }
        shared.forward(broadcast, Some(remote.shard), |shard| {
            let sent = sent(&mesh.push(shard, Parcel::Broadcast(broadcast.clone())));
            if sent == Sent::Missed {
                telemetry.tell(Event::MeshFull);
            }
            sent
        })
    }

    /// Sends a parcel to another shard.
    ///
    /// # Errors
    ///
    /// Gives it back: the queue is full, or the shard is gone.
    pub(crate) fn send(
        &mut self,
        shard: usize,
        parcel: Parcel,
    ) -> Result<(), TrySendError<Parcel>> {
        let sent = self.mesh.push(shard, parcel);
        if sent.as_ref().is_err_and(TrySendError::is_full) {
            self.telemetry.tell(Event::MeshFull);
        }
        sent
    }

    /// A turn begins: looks anew at queues that were nearly full.
    #[inline]
    pub(crate) fn look(&mut self, now: Instant) {
        self.mesh.look(now);
    }

    /// Whether the queue to another shard is nearly full.
    #[inline]
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.mesh.is_nearly_full()
    }

    /// The shard to which there is a queue that has more than it should, if something was put there
    /// since this was asked last.
    #[inline]
    pub(crate) fn take_high(&mut self) -> Option<usize> {
        self.mesh.take_high()
    }

    /// Whether the queue to a shard has more than it should.
    pub(crate) fn is_high(&self, shard: usize) -> bool {
        self.mesh.is_high(shard)
    }

    /// Whether there are other shards.
    #[inline]
    pub(crate) fn is_shared(&self) -> bool {
        self.shared.remotes.len() > 1
    }

    /// Notes how many bytes this shard keeps for clients besides the pieces that count by themselves.
    /// Says how many all shards together are to be rid of, if they keep more than they may.
    pub(crate) fn keep(&mut self, bytes: usize) -> Option<usize> {
        let Self { shared, remote, kept_own, .. } = self;
        // Relaxed: these are sums, and nothing hangs on their order.
        if std::mem::replace(kept_own, bytes) != bytes {
            shared.own[remote.shard].store(bytes, Ordering::Relaxed);
        }
        let max = shared.max_kept_bytes;
        let all = || shared.own.iter().map(|own| own.load(Ordering::Relaxed)).sum::<usize>();
        let pieces = kept();
        let is_near = pieces.saturating_add(bytes.saturating_mul(shared.own.len())) > max / 2;
        let kept = if is_near { pieces + all() } else { 0 };
        // Rid of so much that it is not to be done again at once.
        (kept > max).then(|| kept - max / 8 * 7)
    }

    /// Whether another shard has much of a topic on its way to its subscribers.
    pub(crate) fn is_congested(&self, topic: &str) -> bool {
        let here = self.remote.shard;
        self.is_shared() && self.shared.congestion.interested(topic).any(|shard| shard != here)
    }

    /// Takes what others have sent by the mesh, at most `max` of each.
    pub(crate) fn receive(&mut self, max: usize, parcels: &mut Vec<Parcel>) {
        self.mesh.receive(max, parcels);
    }

    /// Wakes those to whom something was sent. Once, at the end of a turn.
    pub(crate) fn ring(&mut self) {
        self.mesh.ring();
        self.telemetry.tally().mesh_pushes.set(self.mesh.pushes());
    }

    /// Tasks and threads that wait for what was delivered. They are somebody's code, to be rung when
    /// no table is borrowed.
    pub(crate) fn take_wakes(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.known.wakes)
    }

    /// Whether there are any.
    pub(crate) fn has_wakes(&self) -> bool {
        !self.known.wakes.is_empty()
    }

    /// Nothing waits in the mesh for this shard.
    pub(crate) fn is_idle(&self) -> bool {
        self.mesh.is_empty()
    }

    /// Bytes that others have not taken.
    #[cfg(feature = "testing")]
    pub(crate) fn bytes(&self) -> usize {
        self.mesh.bytes()
    }
}
