//! What a shard counts of itself.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Core;

/// Counted on the shard, without atomics.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) accepted: u64,
    pub(crate) accepts_failed: u64,
    pub(crate) refused_connections: u64,
    pub(crate) unfinished: u64,
    pub(crate) connected: u64,
    pub(crate) disconnected: u64,
    pub(crate) crashes: u64,
    pub(crate) holds: u64,
    pub(crate) overloaded: u64,
    pub(crate) slow_readers: u64,
    pub(crate) dropped: u64,
    pub(crate) mesh_full: u64,
    pub(crate) deliveries: u64,
}

/// A shard's figures, as of some turn not long ago.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardCounts {
    /// TCP connections open now, in any state.
    pub connections: u64,
    /// Channels joined, joining or ending now.
    pub processes: u64,
    /// Topics that somebody holds now.
    pub topics: u64,
    /// Timers waiting now.
    pub timers: u64,
    /// Clients accepted since the start.
    pub accepted: u64,
    /// Failures to accept one since the start.
    pub accepts_failed: u64,
    /// Clients refused because there were too many connections.
    pub refused_connections: u64,
    /// Connections closed because the shard had too much that was unfinished.
    pub unfinished: u64,
    /// Sockets opened since the start.
    pub connected: u64,
    /// Sockets ended since the start.
    pub disconnected: u64,
    /// Callbacks that failed or panicked since the start.
    pub crashes: u64,
    /// Callbacks that held up the shard for more than 100 ms.
    pub holds: u64,
    /// Messages refused, and channels ended, because a queue was full.
    pub overloaded: u64,
    /// Connections closed because their reader did not read.
    pub slow_readers: u64,
    /// Frames of broadcasts dropped because their reader did not read.
    pub dropped: u64,
    /// Broadcasts that another shard's queue had no room for.
    pub mesh_full: u64,
    /// What other threads sent and the shard's inbox had no room for.
    pub inbox_full: u64,
    /// Broadcasts pushed to other shards.
    pub mesh_pushes: u64,
    /// Broadcast frames queued for clients.
    pub deliveries: u64,
    /// Writes handed to the kernel.
    pub writes: u64,
}

/// All of them are numbers of this size.
const FIELDS: usize = size_of::<ShardCounts>() / size_of::<u64>();

/// Where others can read a shard's figures.
#[derive(Default)]
pub(crate) struct Published([AtomicU64; FIELDS]);

impl ShardCounts {
    fn to_array(self) -> [u64; FIELDS] {
        [
            self.connections,
            self.processes,
            self.topics,
            self.timers,
            self.accepted,
            self.accepts_failed,
            self.refused_connections,
            self.unfinished,
            self.connected,
            self.disconnected,
            self.crashes,
            self.holds,
            self.overloaded,
            self.slow_readers,
            self.dropped,
            self.mesh_full,
            self.inbox_full,
            self.mesh_pushes,
            self.deliveries,
            self.writes,
        ]
    }
}

impl Published {
    fn store(&self, counts: ShardCounts) {
        for (place, value) in self.0.iter().zip(counts.to_array()) {
            // Each figure by itself; together they may be of two turns.
            place.store(value, Ordering::Relaxed);
        }
    }

    pub(crate) fn load(&self) -> ShardCounts {
        let mut figures = self.0.iter().map(|place| place.load(Ordering::Relaxed));
        let mut next = || figures.next().expect("as many as fields");
        ShardCounts {
            connections: next(),
            processes: next(),
            topics: next(),
            timers: next(),
            accepted: next(),
            accepts_failed: next(),
            refused_connections: next(),
            unfinished: next(),
            connected: next(),
            disconnected: next(),
            crashes: next(),
            holds: next(),
            overloaded: next(),
            slow_readers: next(),
            dropped: next(),
            mesh_full: next(),
            inbox_full: next(),
            mesh_pushes: next(),
            deliveries: next(),
            writes: next(),
        }
    }
}

impl Core {
    pub(crate) fn publish_counters(&self) {
        self.shared.counters[self.shard].store(self.counts());
    }

    pub(crate) fn counts(&self) -> ShardCounts {
        let counters = &self.counters;
        ShardCounts {
            connections: self.connections.len() as u64,
            processes: self.processes.len() as u64,
            topics: self.topics.len() as u64,
            timers: self.timers.len() as u64,
            accepted: counters.accepted,
            accepts_failed: counters.accepts_failed,
            refused_connections: counters.refused_connections,
            unfinished: counters.unfinished,
            connected: counters.connected,
            disconnected: counters.disconnected,
            crashes: counters.crashes,
            holds: counters.holds,
            overloaded: counters.overloaded,
            slow_readers: counters.slow_readers,
            dropped: counters.dropped,
            mesh_full: counters.mesh_full,
            inbox_full: self.remote.refused(),
            mesh_pushes: self.mesh.pushes,
            deliveries: counters.deliveries,
            writes: self.send_queue.writes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_they_were_stored() {
        let published = Published::default();
        let counts = ShardCounts {
            connections: 1,
            timers: 4,
            mesh_pushes: 13,
            writes: 15,
            ..ShardCounts::default()
        };
        published.store(counts);
        assert_eq!(published.load(), counts);
    }
}
