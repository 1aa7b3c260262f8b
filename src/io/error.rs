//! Why a shard, or its share of the kernel, could not be had.

use std::io;
use std::net::SocketAddr;

/// Why a shard could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The kernel, or what the process is allowed, does not suffice.
    #[error(transparent)]
    Unfit(#[from] super::kernel::Unfit),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot set up a ring: {source}")]
    Ring { source: io::Error },
    #[error("cannot start the thread of shard {name}: {reason}")]
    Thread { name: String, reason: String },
    #[error("shard {name} panicked: {message}")]
    Panicked { name: String, message: String },
}
