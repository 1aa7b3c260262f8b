//! How large a shard's rings are, and how many connections they may hold.

use std::time::Duration;

use super::kernel::{self, Abilities};

/// How many entries a ring's queues have, powers of two.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queues {
    /// What is asked for and not submitted yet. 256 are sixteen kilobytes, which stay in the first
    /// cache while a broadcast fills them again and again; a system call for so many sends is less
    /// than half a nanosecond each.
    pub(crate) submission: u32,
    /// What has completed and was not looked at yet. What finds it full waits in the kernel.
    pub(crate) completion: u32,
}

/// How large a shard's rings are.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The first ring's queues, in which the shard sleeps. Default 256 and 4,096 entries: 84 KiB.
    pub(crate) first_queues: Queues,
    /// The queues of every further ring. Default 64 and 1,024 entries: 24 KiB, so that a small
    /// `RLIMIT_MEMLOCK` holds many of them.
    pub(crate) further_queues: Queues,
    /// Entries of a ring's table. Default: what `RLIMIT_NOFILE` allows, at most 65,536, because the
    /// kernel finds what it is to cancel through 128 buckets.
    pub(crate) connections_per_ring: usize,
    /// Connections of the shard. Further clients wait in the listener's backlog. Default 2²⁴,
    /// more than memory.
    pub(crate) max_connections: usize,
    /// Buffers of a ring, a power of two. Default 32 incremental ones or 256 of the other kind.
    pub(crate) buffers_per_ring: u16,
    /// Bytes of a buffer. Default 16 KiB incremental or 2 KiB, half a megabyte a ring in both
    /// cases: ten thousand heartbeats at once fit, and it stays in the second cache.
    pub(crate) buffer_size: u32,
    /// Whether receives share buffers. Default false; see `kernel::Abilities`.
    pub(crate) incremental_buffers: bool,
    /// Whether connections are direct descriptors, in the ring's table instead of the process'.
    /// Default false; see `kernel::Abilities`.
    pub(crate) direct_descriptors: bool,
    /// Whether other processes may listen at the same address, so that clients can be left to them.
    /// Default false.
    pub(crate) shares_address: bool,
    /// Accepts under way at a time, at most 256. Default 64: so many clients come with one wake-up.
    pub(crate) accepts: usize,
    /// How long a ring stays that nobody needs. Default 5 s: to set one up takes less than a
    /// millisecond, and clients who come and go in waves should not cost one each.
    pub(crate) spare_ring_stays: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            first_queues: Queues { submission: 256, completion: 4_096 },
            further_queues: Queues { submission: 64, completion: 1_024 },
            connections_per_ring: kernel::open_files_limit().min(65_536),
            max_connections: 1 << 24,
            buffers_per_ring: 256,
            buffer_size: 2 << 10,
            incremental_buffers: false,
            direct_descriptors: false,
            shares_address: false,
            accepts: 64,
            spare_ring_stays: Duration::from_secs(5),
        }
    }
}

impl Config {
    /// The defaults for a kernel with these abilities.
    pub(crate) fn for_kernel(abilities: &Abilities) -> Self {
        let mut config =
            Self { direct_descriptors: abilities.direct_descriptors, ..Self::default() };
        if abilities.incremental_buffers {
            config.incremental_buffers = true;
            config.buffers_per_ring = 32;
            config.buffer_size = 16 << 10;
        }
        config
    }

    /// How many bytes a ring beyond the first counts for `RLIMIT_MEMLOCK`: pages of its queues and
    /// of the entries by which buffers are handed over. Older kernels count less.
    pub(super) fn memlock_of_a_further_ring(&self) -> u64 {
        let Queues { submission, completion } = self.further_queues;
        // Behind a head, 16 bytes a completion and an index of four for each entry of 64.
        let both = (HEAD_OF_QUEUES + completion * 16 + submission * 4).next_multiple_of(PAGE);
        let entries = (submission * 64).next_multiple_of(PAGE);
        let buffers = (u32::from(self.buffers_per_ring) * 16).next_multiple_of(PAGE);
        u64::from(both + entries + buffers)
    }
}

/// What the kernel keeps before the entries of a ring's queues; it is less.
const HEAD_OF_QUEUES: u32 = 512;
const PAGE: u32 = 4_096;
