//! What a shard counts of itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// Names the figures once.
macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A shard's figures: what there is now, as of the end of some turn not long ago, then what
        /// has happened since the start. Each is right by itself; two of them may be of different
        /// turns.
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

        /// Where a shard counts. It alone writes, and others read.
        #[derive(Debug, Default)]
        pub(crate) struct Tally {
            $(pub(crate) $name: Figure,)*
        }

        impl Tally {
            /// What the figures are now, each by itself.
            pub(crate) fn load(&self) -> ShardCounts {
                ShardCounts { $($name: self.$name.load(),)* }
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
    /// Connections closed because all clients together had too much of the memory that is kept for
    /// them, and these the most.
    shed,
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
    /// Callbacks that failed or panicked since the start, and channels that ended by an error of
    /// another kind: [`Stop::Error`](crate::Stop::Error), a mailbox that was full.
    crashes,
    /// Callbacks, and handlers of plain routes, that held up the shard for more than 100 ms.
    holds,
    /// Messages and blocking work refused, and channels ended, because a queue was full.
    overloaded,
    /// Connections closed because their reader did not read.
    slow_readers,
    /// Connections that the kernel has broken because their reader took nothing for `send_timeout`.
    stuck_readers,
    /// Frames of broadcasts dropped because their reader did not read.
    dropped,
    /// What another shard's queue had no room for: broadcasts, messages to channels, late replies.
    mesh_full,
    /// What other threads sent and the shard's inbox had no room for.
    inbox_full,
    /// Broadcasts, messages and late replies pushed to other shards.
    mesh_pushes,
    /// Broadcast frames queued for clients.
    deliveries,
    /// Writes handed to the kernel.
    writes,
}

/// One figure. It has one writer, so that to add to it takes no more than to add.
#[derive(Debug, Default)]
pub(crate) struct Figure(AtomicU64);

impl Figure {
    #[inline]
    pub(crate) fn add(&self, more: u64) {
        self.set(self.load().wrapping_add(more));
    }

    #[inline]
    pub(crate) fn set(&self, value: u64) {
        // Nobody concludes anything from one figure about another.
        self.0.store(value, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_they_were_counted() {
        let tally = Tally::default();
        tally.crashes.add(2);
        tally.crashes.add(1);
        tally.topics.set(7);
        let counts = ShardCounts { crashes: 3, topics: 7, ..ShardCounts::default() };
        assert_eq!(tally.load(), counts);
    }
}
