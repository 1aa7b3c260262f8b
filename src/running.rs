//! An endpoint that runs, and its end.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, io};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_default;
use signal_hook::iterator::{Handle as SignalsHandle, Signals};

use crate::channel::Handle;
use crate::error::Error;
use crate::io::ceiling::Ceiling;
use crate::shard::start::Shards;

/// An endpoint that runs. Dropped, it shuts down as by [`Handle::shutdown`], and the drop returns
/// when it has ended.
///
/// Nothing here waits for ever once the end is asked for, by whomever: a callback that never returns
/// can't be ended, so its shard's thread is left to itself when
/// [`terminate_timeout`](crate::Limits::terminate_timeout),
/// [`close_timeout`](crate::Limits::close_timeout) and two seconds are over. It goes with the process.
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
    /// When a shard has failed, or when one that was to end has not ([`Error::Stuck`]), because a
    /// callback does not return.
    pub fn join(mut self) -> Result<(), Error> {
        self.shards.join()
    }

    /// Waits until the endpoint has ended, which SIGINT and SIGTERM make it do.
    ///
    /// The first signal asks for the end. The second hurries it: what still runs is dropped at once,
    /// as if the times for it were over. The third ends the process, whatever holds it.
    ///
    /// # Errors
    ///
    /// When signals can't be handled, and as for [`join`](Self::join).
    pub fn run(self) -> Result<(), Error> {
        self.run_with(|_| {})
    }

    /// Like [`run`](Self::run), and calls `begun` as soon as signals are heard: to tell a service
    /// manager, or whoever waits, that there is a server which can be told to end.
    ///
    /// # Errors
    ///
    /// As for [`run`](Self::run).
    pub fn run_with(self, begun: impl FnOnce(&Self)) -> Result<(), Error> {
        let signals = SignalThread::start(self.handle())?;
        begun(&self);
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

/// Shuts the endpoint down on SIGINT and SIGTERM, hurries on the second and ends the process on the
/// third.
///
/// It logs nothing: whoever takes the log may hold it up, and the next signal must be heard.
struct SignalThread {
    handle: SignalsHandle,
    thread: std::thread::JoinHandle<()>,
    is_last: Arc<AtomicBool>,
}

impl SignalThread {
    #[expect(clippy::disallowed_methods, reason = "signals are waited for")]
    fn start(endpoint: Handle) -> Result<Self, Error> {
        let is_last = is_last().map_err(Error::Signals)?;
        is_last.store(false, Ordering::SeqCst);
        let mut signals = Signals::new(SIGNALS).map_err(Error::Signals)?;
        let handle = signals.handle();
        let thread = std::thread::Builder::new()
            .name("simurgh-signals".to_owned())
            .spawn({
                let is_last = is_last.clone();
                move || {
                    let mut asked = false;
                    for _ in signals.forever() {
                        if asked {
                            is_last.store(true, Ordering::SeqCst);
                            endpoint.hurry();
                        } else {
                            endpoint.shutdown();
                        }
                        asked = true;
                    }
                }
            })
            .map_err(Error::Signals)?;
        Ok(Self { handle, thread, is_last })
    }

    fn stop(self) {
        // From here on a signal does what it does by itself: whatever the program still has to do.
        self.is_last.store(true, Ordering::SeqCst);
        self.handle.close();
        let _ = self.thread.join();
    }
}

/// Whether the next signal ends the process. It is acted on where the signal arrives, which takes no
/// thread that has time for it; and for good, for the system's own way with a signal is not had back.
fn is_last() -> io::Result<Arc<AtomicBool>> {
    static IS_LAST: Mutex<Option<Arc<AtomicBool>>> = Mutex::new(None);
    let mut registered = IS_LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(is_last) = &*registered {
        return Ok(is_last.clone());
    }
    let is_last = Arc::new(AtomicBool::new(false));
    for signal in SIGNALS {
        register_conditional_default(signal, is_last.clone())?;
    }
    *registered = Some(is_last.clone());
    Ok(is_last)
}

const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];
