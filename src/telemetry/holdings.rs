//! Holdings: everything that a shard has in its hands, counted when a test asks.
//!
//! The figures that a shard [counts](super::ShardCounts) are few, because they cost each turn. These
//! cost nothing until somebody asks, by a message that comes in like any other from outside, and so
//! they can be all there are.

/// What a shard holds at one moment between two of its deeds. At rest all of it is nothing, but for
/// [`deadlines`](Self::deadlines).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holdings {
    /// TCP connections, in any state.
    pub connections: usize,
    /// Places that connections have been given, those for whom there is no room among them.
    pub admissions: usize,
    /// Connections on their way to a socket: their request is awaited, or `connect` runs.
    pub handshakes: usize,
    /// Bytes of requests and messages that are not whole.
    pub unfinished_bytes: usize,
    /// Channels joined, joining or ending.
    pub processes: usize,
    /// Topics that somebody holds.
    pub topics: usize,
    /// Entries of all topics' subscribers.
    pub subscribers: usize,
    /// Parts of the interest table that this shard has marked; none where there is one shard.
    pub interests: usize,
    /// Timers waiting, and deadlines of those who have asked a channel something.
    pub timers: usize,
    /// Topics whose broadcasts are on their way in slices.
    pub fanouts: usize,
    /// Bytes of those broadcasts.
    pub fanout_bytes: usize,
    /// Bytes that other threads have sent to this shard and it has not taken.
    pub inbox_bytes: usize,
    /// Bytes that this shard has sent to others and they have not taken.
    pub mesh_bytes: usize,
    /// Entries of the wheel of deadlines. A connection that has gone leaves its own behind until
    /// its second comes.
    pub deadlines: usize,
    /// What the turn has noted to be done and not done yet: callbacks to run, connections to close
    /// or to write to, values to drop.
    pub chores: usize,
    /// Slots of the rings' tables that are taken, by more than an accept under way.
    pub slots: usize,
    /// Connections that wait for a buffer to receive into.
    pub starved: usize,
    /// Buffers that the kernel has filled and not been given back.
    pub buffers: usize,
}

impl Holdings {
    /// Whether nothing is left but deadlines of connections that have gone.
    pub fn is_rest(&self) -> bool {
        *self == Self { deadlines: self.deadlines, ..Self::default() }
    }
}
