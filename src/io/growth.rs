//! How many rings a shard has: as many as its clients need, and a while later no more than that.
//!
//! Accepts go to the first ring that has a free slot, so it is the last rings that empty. One that
//! has no connections while those before it have room is *spare*. When it has been for a while, its
//! accepts are called back, and it is taken down: its descriptor, locked memory, buffers and table
//! go back.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::operation::Operation;
use super::ring::Ring;
use super::{Config, ConnectionId, Doorbell};

/// What has to be known of rings that are not there.
#[derive(Default)]
pub(super) struct Growth {
    /// The generation with which a ring at this index begins, if there was one before: beyond all
    /// that its connections had, whose ids may still be around.
    generations: Vec<u32>,
    /// No further ring is tried before, because the last could not be set up.
    rests_until: Option<Instant>,
}

impl Growth {
    /// The first ring that has a free slot, or a new one. `None` if no more are allowed, or the
    /// last could not be set up just now.
    ///
    /// # Errors
    ///
    /// When the kernel refuses another ring.
    pub(super) fn ring_with_room(
        &mut self,
        rings: &mut Vec<Ring>,
        config: &Config,
        doorbell: &Doorbell,
        now: Instant,
    ) -> std::io::Result<Option<usize>> {
        if let Some(index) = rings.iter().position(|ring| ring.slots.free() > 0) {
            return Ok(Some(index));
        }
        // Slots of connections that are going become free soon enough: they are no reason for a
        // ring more than the connections need.
        let needed = config.max_connections.div_ceil(config.connections_per_ring);
        if rings.len() >= needed.min(ConnectionId::MAX_RINGS) {
            return Ok(None);
        }
        if self.rests_until.is_some_and(|until| now < until) {
            return Ok(None);
        }
        self.rests_until = Some(now + REST);
        let generation = self.generations.get(rings.len()).copied().unwrap_or(1);
        let mut ring = Ring::new(config, config.further_queues, generation)?;
        ring.register_doorbell(doorbell)?;
        self.rests_until = None;
        rings.push(ring);
        Ok(Some(rings.len() - 1))
    }

    /// Takes down the last rings if they have been spare for long enough, and says whether it did.
    ///
    /// What is left of a ring the kernel clears away later, on threads of its own.
    pub(super) fn take_down(
        &mut self,
        rings: &mut Vec<Ring>,
        listener: Option<&TcpListener>,
        config: &Config,
        now: Instant,
    ) -> bool {
        let before = rings.len();
        for ring in &mut rings[1..] {
            let is_empty = ring.slots.open() == 0;
            ring.empty_since = is_empty.then(|| ring.empty_since.unwrap_or(now));
        }
        while self.spare_until(rings, config).is_some_and(|until| until <= now) {
            let last = rings.len() - 1;
            if rings[last].slots.taken() > 0 {
                // Once the last completion has come, it is looked at again.
                if let Some(listener) = listener {
                    rings[last].push(&Operation::cancel_accepts(listener));
                }
                break;
            }
            let Some(generation) = rings[last].slots.beyond() else {
                // A new one could not be told from this.
                rings[last].empty_since = Some(now);
                break;
            };
            rings.pop();
            self.generations.resize(self.generations.len().max(last + 1), 1);
            self.generations[last] = generation;
        }
        rings.len() < before
    }

    /// Until when the last ring stays, if it is spare.
    pub(super) fn spare_until(&self, rings: &[Ring], config: &Config) -> Option<Instant> {
        let (last, others) = rings.split_last()?;
        let since = last.empty_since?;
        let room: usize = others.iter().map(|ring| ring.slots.free()).sum();
        (room >= config.accepts).then(|| since + config.spare_ring_stays)
    }

    /// When another ring may be tried after one could not be set up.
    pub(super) fn rests_until(&self) -> Option<Instant> {
        self.rests_until
    }
}

/// Between two attempts to set up a ring. Clients who find a place on a ring that is there need not
/// wait for it.
const REST: Duration = Duration::from_secs(1);
