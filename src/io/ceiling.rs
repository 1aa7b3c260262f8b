//! How many connections a process can hold, and what to raise for more.
//!
//! [`Means::probe`] asks and judges nothing; [`Ceiling::of`] judges and asks nothing.

use std::fmt;

use super::cgroup::Share;
use super::kernel::{self, Abilities, MEMLOCK_OF_A_SHARD};
use super::{Config, ConnectionId};
use crate::config::Limits;

/// How many connections an endpoint can hold at a time, and what keeps it from holding more.
///
/// It is worked out at the start, from what this process may have then: what others use later is
/// not known. Past it nothing breaks: further clients wait in the listener's backlog, or are refused
/// where it is the [`Limits`] that say so.
///
/// # Example
///
/// ```
/// let running = simurgh::demo::endpoint().listen("127.0.0.1:0").start()?;
/// let ceiling = running.ceiling();
/// assert!(ceiling.connections > 0);
/// println!("{ceiling}");
/// # Ok::<(), simurgh::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ceiling {
    /// Connections at a time.
    pub connections: u64,
    /// What there is least of.
    pub bound: Bound,
}

/// What bounds the number of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bound {
    /// Memory: the host's, or what the control group leaves. About 5 KiB a connection at rest, most
    /// of it the kernel's.
    Memory {
        /// How many bytes there were.
        bytes: u64,
    },
    /// What the process may lock of it: every ring takes some (`ulimit -l`).
    LockedMemory {
        /// The limit in bytes.
        bytes: u64,
    },
    /// Descriptors (`ulimit -n`). Before Linux 6.13 each connection takes one, from then on each
    /// ring, whose table has as many places as the limit allows, up to 65,536.
    OpenFiles {
        /// The limit.
        files: u64,
    },
    /// What the [`Limits`] allow.
    Limits,
    /// A shard counts no further. More shards hold more.
    Shards {
        /// How many there are.
        shards: u64,
    },
}

impl Ceiling {
    /// What follows from the means.
    pub(crate) fn of(means: &Means) -> Self {
        let of_rings = |rings: u64| rings.saturating_mul(means.connections_per_ring);
        // Every shard has a ring already.
        let further = |rings: u64| of_rings(means.shards.saturating_add(rings));
        let shards = means.shards;
        let of_a_shard = means.connections_per_shard.min(of_rings(ConnectionId::MAX_RINGS as u64));
        let bounds = [
            Some((shards.saturating_mul(of_a_shard), Bound::Shards { shards })),
            Some((means.limit, Bound::Limits)),
            means.memory.map(|bytes| (bytes / BYTES_OF_A_CONNECTION, Bound::Memory { bytes })),
            means.memlock.map(|bytes| {
                let left = bytes.saturating_sub(shards * MEMLOCK_OF_A_SHARD);
                (further(left / means.memlock_of_a_ring), Bound::LockedMemory { bytes })
            }),
            means.open_files.map(|(files, used)| {
                let left = files.saturating_sub(used);
                let connections = if means.direct_descriptors { further(left) } else { left };
                (connections, Bound::OpenFiles { files })
            }),
        ];
        let least = bounds.into_iter().flatten().min_by_key(|(connections, _)| *connections);
        let (connections, bound) = least.expect("shards are always bounded");
        Self { connections, bound }
    }
}

impl fmt::Display for Ceiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.connections == 1 { "" } else { "s" };
        write!(f, "up to {} connection{plural}", Grouped(self.connections))?;
        match self.bound {
            Bound::Memory { bytes } => {
                let gib = bytes as f64 / f64::from(1 << 30);
                write!(f, ", which is what fits into {gib:.1} GiB of memory")
            }
            Bound::LockedMemory { bytes } => {
                write!(f, "; for more, more locked memory: ulimit -l, now {} KiB", bytes / 1024)
            }
            Bound::OpenFiles { files } => {
                write!(f, "; for more, more open files: ulimit -n, now {files}")
            }
            Bound::Limits => write!(f, ", as the limits say"),
            Bound::Shards { shards: 1 } => write!(f, ", the most a shard counts"),
            Bound::Shards { shards } => write!(f, ", the most {shards} shards count"),
        }
    }
}

/// What a process may have.
#[derive(Debug, Clone)]
pub(crate) struct Means {
    pub(crate) shards: u64,
    /// Places in a ring's table.
    pub(crate) connections_per_ring: u64,
    /// What the limits allow all shards together.
    pub(crate) limit: u64,
    /// What a shard can count.
    pub(crate) connections_per_shard: u64,
    /// Whether connections lie in the rings' tables rather than in the process'.
    pub(crate) direct_descriptors: bool,
    /// What a ring beyond a shard's first locks, in bytes.
    pub(crate) memlock_of_a_ring: u64,
    /// What the process may lock, in bytes; absent if there is no limit.
    pub(crate) memlock: Option<u64>,
    /// How many descriptors it may have, and how many it has; absent if there is no limit.
    pub(crate) open_files: Option<(u64, u64)>,
    /// Bytes that are free, or would be given back; absent if that is not known.
    pub(crate) memory: Option<u64>,
}

impl Means {
    /// Asks for what this process may have, when its shards have started.
    pub(crate) fn probe(
        limits: &Limits,
        config: &Config,
        abilities: &Abilities,
        shards: usize,
    ) -> Self {
        let limit_of_shards = limits.max_connections_per_shard.saturating_mul(shards);
        Self {
            shards: shards as u64,
            limit: limits.max_connections.min(limit_of_shards) as u64,
            connections_per_ring: config.connections_per_ring as u64,
            connections_per_shard: config.max_connections as u64,
            direct_descriptors: config.direct_descriptors,
            memlock_of_a_ring: config.memlock_of_a_further_ring(),
            memlock: abilities.memlock,
            open_files: kernel::open_files(),
            memory: free_memory(),
        }
    }
}

/// Bytes of memory that are free: in the machine, and until the control groups' limit.
pub(crate) fn free_memory() -> Option<u64> {
    kernel::free_memory().into_iter().chain(Share::of_this_process().memory).min()
}

/// A number with its thousands apart.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let first = match digits.len() % 3 {
            0 => 3,
            rest => rest,
        };
        let (head, rest) = digits.split_at(first.min(digits.len()));
        f.write_str(head)?;
        for group in rest.as_bytes().chunks(3) {
            write!(f, ",{}", String::from_utf8_lossy(group))?;
        }
        Ok(())
    }
}

/// A joined client at rest. Measured with sixty thousand on Linux 6.18: 3.7 KB for a socket that
/// was accepted, 0.35 KB for the receive that waits on it, 0.5 KB of ours; and some to spare for
/// what is under way.
const BYTES_OF_A_CONNECTION: u64 = 5 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// So much of everything that it is the shards that bound.
    fn plenty() -> Means {
        Means {
            shards: 2,
            connections_per_ring: 20_000,
            limit: u64::MAX,
            connections_per_shard: 1 << 24,
            direct_descriptors: true,
            memlock_of_a_ring: 28 << 10,
            memlock: None,
            open_files: None,
            memory: None,
        }
    }

    fn says(means: Means) -> String {
        Ceiling::of(&means).to_string()
    }

    #[test]
    fn without_limits_shards_count_no_further() {
        assert_eq!(says(plenty()), "up to 33,554,432 connections, the most 2 shards count");
        let one = Means { shards: 1, connections_per_ring: 100, ..plenty() };
        assert_eq!(says(one), "up to 409,600 connections, the most a shard counts");
    }

    #[test]
    fn the_limits_are_limits() {
        let means = Means { limit: 1_000, ..plenty() };
        assert_eq!(says(means), "up to 1,000 connections, as the limits say");
        let means = Means { limit: 1, ..plenty() };
        assert_eq!(says(means), "up to 1 connection, as the limits say");
    }

    #[test]
    fn memory_is_divided_among_the_connections() {
        let means = Means { memory: Some(5 << 30), ..plenty() };
        assert_eq!(
            says(means),
            "up to 1,048,576 connections, which is what fits into 5.0 GiB of memory"
        );
    }

    #[test]
    fn locked_memory_holds_so_many_rings_besides_the_first() {
        let memlock = 2 * MEMLOCK_OF_A_SHARD + 10 * (28 << 10) + 1;
        let means = Means { memlock: Some(memlock), ..plenty() };
        assert_eq!(
            says(means.clone()),
            "up to 240,000 connections; for more, more locked memory: ulimit -l, now 1304 KiB"
        );
        // No further ring at all: each shard has one.
        let means = Means { memlock: Some(1), ..means };
        assert_eq!(Ceiling::of(&means).connections, 40_000);
    }

    #[test]
    fn a_descriptor_is_a_ring_or_a_connection() {
        let means = Means { open_files: Some((64, 24)), connections_per_ring: 64, ..plenty() };
        assert_eq!(Ceiling::of(&means).connections, (2 + 40) * 64);
        let means = Means { direct_descriptors: false, ..means };
        assert_eq!(
            says(means),
            "up to 40 connections; for more, more open files: ulimit -n, now 64"
        );
    }

    #[test]
    fn the_least_of_all_bounds() {
        let memlock = Some(4 << 20);
        let open_files = Some((20_000, 50));
        let means = Means { memlock, open_files, memory: Some(1 << 30), ..plenty() };
        assert_eq!(Ceiling::of(&means).bound, Bound::Memory { bytes: 1 << 30 });
        let means = Means { memory: Some(64 << 30), ..means };
        assert_eq!(Ceiling::of(&means).bound, Bound::LockedMemory { bytes: 4 << 20 });
        let means = Means { direct_descriptors: false, ..means };
        assert_eq!(Ceiling::of(&means).bound, Bound::OpenFiles { files: 20_000 });
    }

    #[test]
    fn numbers_are_read_in_thousands() {
        let grouped = |number| Grouped(number).to_string();
        assert_eq!([0, 12, 999].map(grouped), ["0", "12", "999"]);
        assert_eq!([1_000, 12_345, 1_234_567].map(grouped), ["1,000", "12,345", "1,234,567"]);
    }
}
