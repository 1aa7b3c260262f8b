//! Why a load fails.

use std::io;

use super::Errors;

/// Why a load cannot begin, or was not clean.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More clients than this process may have descriptors.
    #[error(
        "{wanted} clients need more descriptors than this process may open: {max} clients at most \
         (RLIMIT_NOFILE); start further loads as processes of their own"
    )]
    TooMany {
        /// All that this load would have then.
        wanted: usize,
        /// What [`Load::max_connections`](super::Load::max_connections) says.
        max: usize,
    },
    /// The thread could not be pinned.
    #[error("the load's thread cannot be pinned to core {0}")]
    Pin(usize),
    /// The kernel refused something that is no client's fault.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The load went wrong; see [`Report::clean`](super::Report::clean).
    #[error("the load was not clean: {0}")]
    Failed(Errors),
}
