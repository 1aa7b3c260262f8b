//! What a shard counts of itself.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Core;

/// Names the figures once.
macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A shard's figures, as of some turn not long ago: what there is now, then what has
        /// happened since the start. Each is right by itself; two of them may be of different turns.
        ///
        /// # Example
        ///
        /// ```
        /// let running = simurgh::demo::endpoint().listen("127.0.0.1:0").start()?;
        /// let counts = running.handle().counts();
        /// let crashes: u64 = counts.iter().map(|shard| shard.crashes).sum();
        /// assert_eq!(crashes, 0);
        /// # Ok::<(), simurgh::Error>(())
        /// ```
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct ShardCounts {
            $($(#[$doc])* pub $name: u64,)*
        }

        const FIELDS: usize = [$(stringify!($name)),*].len();

        impl ShardCounts {
            fn to_array(self) -> [u64; FIELDS] {
                [$(self.$name),*]
            }

            fn from_array([$($name),*]: [u64; FIELDS]) -> Self {
                Self { $($name),* }
            }
        }
    };
}

figures! {
    /// TCP connections open now, in any state.
    connections,
    /// Channels joined, joining or ending now.
    processes,
    /// Topics that somebody holds now.
    topics,
    /// Timers waiting now.
    timers,
    /// Clients accepted since the start.
    accepted,
    /// Failures to accept one since the start.
    accepts_failed,
    /// Clients refused because there were too many connections.
    refused_connections,
    /// Connections closed because the shard had too much that was unfinished.
    unfinished,
    /// Connections closed because no whole request came in its time.
    slow_requests,
    /// Requests refused and sockets closed for a head, a frame or a message that was too large.
    oversized,
    /// Requests refused and sockets closed for what could not be read; what is nested too deep or
    /// has too long a name is among it.
    malformed,
    /// Sockets opened since the start.
    connected,
    /// Sockets ended since the start.
    disconnected,
    /// Joins refused because the socket had as many channels as it may.
    refused_joins,
    /// Sockets closed because nothing came from them.
    idle,
    /// Channels and connections dropped because they did not end in their time.
    overdue,
    /// Callbacks that failed or panicked since the start.
    crashes,
    /// Callbacks that held up the shard for more than 100 ms.
    holds,
    /// Messages and blocking work refused, and channels ended, because a queue was full.
    overloaded,
    /// Connections closed because their reader did not read.
    slow_readers,
    /// Frames of broadcasts dropped because their reader did not read.
    dropped,
    /// Broadcasts that another shard's queue had no room for.
    mesh_full,
    /// What other threads sent and the shard's inbox had no room for.
    inbox_full,
    /// Broadcasts pushed to other shards.
    mesh_pushes,
    /// Broadcast frames queued for clients.
    deliveries,
    /// Writes handed to the kernel.
    writes,
}

/// Where others can read a shard's figures.
#[derive(Default)]
pub(crate) struct Published([AtomicU64; FIELDS]);

impl Published {
    fn store(&self, counts: ShardCounts) {
        for (place, value) in self.0.iter().zip(counts.to_array()) {
            // Each figure by itself; together they may be of two turns.
            place.store(value, Ordering::Relaxed);
        }
    }

    pub(crate) fn load(&self) -> ShardCounts {
        ShardCounts::from_array(std::array::from_fn(|place| self.0[place].load(Ordering::Relaxed)))
    }
}

impl Core {
    pub(crate) fn publish_counters(&self) {
        self.shared.counters[self.shard].store(self.counts());
    }

    /// What was counted on the way, with what there is now.
    pub(crate) fn counts(&self) -> ShardCounts {
        ShardCounts {
            connections: self.connections.len() as u64,
            processes: self.processes.len() as u64,
            topics: self.topics.len() as u64,
            timers: self.timers.len() as u64,
            inbox_full: self.remote.refused(),
            mesh_pushes: self.mesh.pushes,
            writes: self.send_queue.writes,
            ..self.counters
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_they_were_stored() {
        let published = Published::default();
        let counts = ShardCounts::from_array(std::array::from_fn(|place| place as u64 * 7));
        published.store(counts);
        assert_eq!(published.load(), counts);
    }
}
