//! An endpoint that runs, and its end.

use std::fmt;
use std::net::SocketAddr;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle as SignalsHandle, Signals};

use crate::channel::Handle;
use crate::error::Error;
use crate::io::ceiling::Ceiling;
use crate::shard::start::Shards;

/// An endpoint that runs. Dropped, it shuts down as by [`Handle::shutdown`], and the drop returns
/// when it has ended.
#[must_use = "the endpoint ends when this is dropped"]
pub struct Running {
    shards: Shards,
    addresses: Vec<SocketAddr>,
    cpus: Vec<usize>,
    ceiling: Ceiling,
}

impl Running {
    pub(crate) fn new(
        shards: Shards,
        addresses: Vec<SocketAddr>,
        cpus: Vec<usize>,
        ceiling: Ceiling,
    ) -> Self {
        Self { shards, addresses, cpus, ceiling }
    }

    /// The address that clients connect to, with the real port if 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// The address of each shard. They differ only with a port per shard.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The CPU that each shard runs on.
    pub fn cpus(&self) -> &[usize] {
        &self.cpus
    }

    /// How many connections this process can hold, as of the start.
    pub fn ceiling(&self) -> Ceiling {
        self.ceiling
    }

    /// A handle for any thread.
    pub fn handle(&self) -> Handle {
        Handle::new(self.shards.shared.clone())
    }

    /// Waits until the endpoint has ended.
    ///
    /// # Errors
    ///
    /// When a shard has failed.
    pub fn join(mut self) -> Result<(), Error> {
        self.shards.join()
    }

    /// Waits until the endpoint has ended, which SIGINT and SIGTERM make it do.
    ///
    /// # Errors
    ///
    /// When signals can't be handled, or a shard has failed.
    pub fn run(self) -> Result<(), Error> {
        let signals = SignalThread::start(self.handle())?;
        let result = self.join();
        signals.stop();
        result
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shards.shared.stop();
        let _ = self.shards.join();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Shuts the endpoint down on SIGINT and SIGTERM; a second one ends the process at once.
struct SignalThread {
    handle: SignalsHandle,
    thread: std::thread::JoinHandle<()>,
}

impl SignalThread {
    #[expect(clippy::disallowed_methods, reason = "signals are waited for")]
    fn start(endpoint: Handle) -> Result<Self, Error> {
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Error::Signals)?;
        let handle = signals.handle();
        let thread = std::thread::Builder::new()
            .name("simurgh-signals".to_owned())
            .spawn(move || {
                let mut asked = false;
                for signal in signals.forever() {
                    if asked {
                        let _ = signal_hook::low_level::emulate_default_handler(signal);
                    }
                    asked = true;
                    // First: whatever becomes of the log, the server is to end.
                    endpoint.shutdown();
                    tracing::info!("shutting down");
                }
            })
            .map_err(Error::Signals)?;
        Ok(Self { handle, thread })
    }

    fn stop(self) {
        self.handle.close();
        let _ = self.thread.join();
    }
}
