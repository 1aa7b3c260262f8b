//! Why a server does not start, or ends.

use std::io;
use std::net::SocketAddr;

/// Why an endpoint can't be built, started or kept running. Each message says how to mend it where
/// that is known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A mount, route or setting is wrong.
    #[error("{0}")]
    Configuration(String),
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The address to listen on can't be understood or resolved.
    #[error("can't listen on \"{address}\": {reason}; an address and port is like 127.0.0.1:4000")]
    Address {
        /// The text that was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// This kernel, or the limits of this process, can't run a shard.
    #[error("{0}")]
    Unfit(String),
    /// A shard's thread could not be started, or has ended.
    #[error("shard {shard}: {reason}")]
    Shard {
        /// Which shard.
        shard: usize,
        /// What happened.
        reason: String,
    },
    /// A panic in a channel must end that channel alone, which `panic = "abort"` makes impossible.
    #[error(
        "built with panic = \"abort\": a panic in one channel would end the whole server; remove \
         it from the profile in Cargo.toml"
    )]
    PanicAbort,
    /// The thread that sees when a shard is held up could not be started.
    #[error("can't start the thread that watches the shards: {0}")]
    Watch(io::Error),
    /// A signal handler could not be installed.
    #[error("can't handle signals: {0}")]
    Signals(io::Error),
}
