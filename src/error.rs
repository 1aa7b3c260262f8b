//! Why a server does not start, or ends.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::io::no_thread;

/// Why an endpoint can't be built, started or kept running. Each message says how to mend it where
/// that is known.
///
/// `Debug` prints the message too, because that is what a `main` that returns this error shows.
///
/// # Example
///
/// ```
/// let error = simurgh::demo::endpoint().listen("127.0.0.1").start().unwrap_err();
/// assert!(matches!(error, simurgh::Error::Address { .. }));
/// assert!(error.to_string().ends_with("an address and port is like 127.0.0.1:4000"));
/// assert_eq!(format!("{error:?}"), error.to_string());
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A mount, route or setting is wrong.
    #[error("{0}")]
    Configuration(String),
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}{}", remedy(source))]
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
    #[error("shard {shard}: {source}")]
    Shard {
        /// Which shard.
        shard: usize,
        /// What happened; its own source is what the kernel said, where it has said something.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A shard has not ended when it was to: a callback has not returned. Its thread still runs, and
    /// nothing but the end of the process ends it.
    #[error(
        "shard {shard} has not ended in its time: {} has not returned",
        callback.as_deref().unwrap_or("what it does")
    )]
    Stuck {
        /// Which shard.
        shard: usize,
        /// The channel or socket handler and its callback, if it is known.
        callback: Option<String>,
    },
    /// A panic in a channel must end that channel alone, which `panic = "abort"` makes impossible.
    #[error(
        "built with panic = \"abort\": a panic in one channel would end the whole server; remove \
         it from the profile in Cargo.toml"
    )]
    PanicAbort,
    /// The thread that sees when a shard is held up could not be started.
    #[error("can't start the thread that watches the shards: {}", no_thread(.0))]
    Watch(io::Error),
    /// A signal handler could not be installed.
    #[error("can't handle signals: {}", no_thread(.0))]
    Signals(io::Error),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What helps against this failure to listen; empty where nothing is known.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; end what listens there (ss -ltnp shows it), or take another port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this host has no such address: 0.0.0.0 and [::] stand for all that it has"
        }
        io::ErrorKind::PermissionDenied => {
            "; a port below 1024 wants CAP_NET_BIND_SERVICE or a lower \
             net.ipv4.ip_unprivileged_port_start"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_to_listen_says_what_helps() {
        for (errno, advice) in [
            (libc::EADDRINUSE, "ss -ltnp"),
            (libc::EADDRNOTAVAIL, "0.0.0.0"),
            (libc::EACCES, "CAP_NET_BIND_SERVICE"),
        ] {
            let source = io::Error::from_raw_os_error(errno);
            let kernel = source.to_string();
            let error = Error::Listen { address: ([127, 0, 0, 1], 80).into(), source };
            let message = error.to_string();
            assert!(message.contains(&kernel) && message.contains(advice), "{message}");
        }
    }

    #[test]
    fn a_thread_that_is_not_to_be_had_is_told_with_what_helps() {
        let none_left = || io::Error::from_raw_os_error(libc::EAGAIN);
        for error in [Error::Watch(none_left()), Error::Signals(none_left())] {
            assert!(error.to_string().contains("ulimit -u"), "{error}");
        }
        let other = Error::Watch(io::Error::from_raw_os_error(libc::ENOMEM));
        assert!(!other.to_string().contains("ulimit -u"), "{other}");
    }

    #[test]
    fn what_became_of_a_shard_stays_behind_its_message() {
        use std::error::Error as _;
        let source = io::Error::from_raw_os_error(libc::EMFILE);
        let kernel = source.to_string();
        let error = Error::Shard { shard: 3, source: source.into() };
        assert_eq!(error.to_string(), format!("shard 3: {kernel}"));
        let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        assert_eq!(source.and_then(io::Error::raw_os_error), Some(libc::EMFILE));
    }

    #[test]
    fn a_main_that_returns_an_error_prints_its_message() {
        let error = Error::Configuration("mount /socket: \"a*b\"".to_owned());
        assert_eq!(format!("{error:?}"), "mount /socket: \"a*b\"");
    }
}
