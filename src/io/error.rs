//! Why a shard, or its share of the kernel, could not be had.

use std::io;
use std::net::SocketAddr;

use super::kernel::Unfit;

/// Why a shard could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The kernel, or what the process is allowed, does not suffice.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot set up a ring: {source}")]
    Ring { source: io::Error },
    #[error("cannot start the thread of shard {name}: {reason}")]
    Thread { name: String, reason: String },
    #[error("shard {name} panicked: {message}")]
    Panicked { name: String, message: String },
}

impl Error {
    /// Why a ring could not be set up; with how to mend it, where that is known.
    pub(super) fn ring(source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => Unfit::OpenFiles.into(),
            Some(libc::ENOMEM) => Unfit::NoMemory.into(),
            _ => Self::Ring { source },
        }
    }
}
