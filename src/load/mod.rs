//! A load of Phoenix clients: thousands of connections driven by one thread.
//!
//! The thread stands on a core of its own and does as little as it can for each message, so that it
//! is the server that is measured: what is sent was finished and masked beforehand, of what comes
//! back the frame headers are read and counted (`frame`), each is held against the length it should
//! have, and one in a thousand against its content (`script`).
//!
//! ```text
//!  Load::connect ─▶ Load::join ─▶ Load::push_in_turn   every client waits for its replies
//!                              ├▶ Load::push_at_rate   a fixed rate, whatever the server does
//!                              ├▶ Load::broadcast      one speaks, all must hear it
//!                              ├▶ Load::speak_in_turn  the same in every room at once
//!                              ├▶ Load::speak_at_rate  the same at a fixed rate
//!                              └▶ Load::hear           others speak
//!
//!  Load::visit_in_turn, Load::visit_at_rate             others come, join and go meanwhile
//! ```
//!
//! Each of these is a scenario (`scenarios`), and one loop (`run`) drives them all. A message goes
//! through these hands:
//!
//! ```text
//!  out   Scenario ─▶ Cast ─▶ Client                                     the Run counts what is owed
//!  back  Run ─▶ Scenario ─▶ Cast ─▶ Client ─▶ FrameReader ─▶ Expected   and what has come of that
//! ```
//!
//! A run waits at its end for what is still owed, and gives a [`Report`]. Nothing that goes wrong
//! is passed over: it is in the report's [`Errors`].
//!
//! What a load never does: answer pings, send heartbeats (so it is no client for more than a minute
//! of silence), reconnect.

#![expect(clippy::disallowed_methods, reason = "a load has a clock, and its tests have threads")]

mod error;
mod options;

mod scenarios;

mod pace;
mod poller;
mod run;

mod cast;
mod client;

mod frame;
pub mod message;
mod script;

mod report;
mod stopwatch;

#[cfg(test)]
mod test_server;

pub use client::{upgrade_request, upgrade_response};
pub use error::Error;
pub use frame::{CLOSE, close, masked_text, text};
pub use message::Push;
pub use options::Options;
pub use report::{Errors, Report};
pub use scenarios::Visit;

use cast::Cast;
use client::Client;
use poller::Poller;
use run::Run;
use script::Script;

/// A thread's worth of Phoenix clients, connected to one server.
///
/// # Example
///
/// ```no_run
/// use std::time::Duration;
///
/// use simurgh::load::{Load, Options, Push};
///
/// let mut load = Load::new(Options { cpu: Some(0), ..Options::default() })?;
/// let server = "127.0.0.1:4000".parse().unwrap();
/// load.connect(server, "/socket/websocket?vsn=2.0.0", 1_000)?.clean()?;
/// load.join(|client| format!("room:{:04}", client % 100), "{}", "{}")?.clean()?;
///
/// let ping = Push { event: "ping", payload: "{}" };
/// let report = load.push_in_turn(ping, "{}", 1, Duration::from_secs(5))?.clean()?;
/// println!("{:.0} replies/s", report.rate());
/// # Ok::<(), simurgh::load::Error>(())
/// ```
pub struct Load {
    options: Options,
    poller: Poller,
    clients: Vec<Client>,
    /// The topics joined, each once; clients name them by index.
    topics: Vec<String>,
}

impl Load {
    /// Pins the calling thread, which is the one that must drive the load.
    ///
    /// # Errors
    ///
    /// The core is not there or not ours, or the process is out of descriptors.
    pub fn new(options: Options) -> Result<Self, Error> {
        if let Some(id) = options.cpu
            && !core_affinity::set_for_current(core_affinity::CoreId { id })
        {
            return Err(Error::Pin(id));
        }
        Ok(Self { options, poller: Poller::new()?, clients: Vec::new(), topics: Vec::new() })
    }

    /// How many clients a load of this process can have: its soft limit of open descriptors, less a
    /// few for the process itself.
    pub fn max_connections() -> usize {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        limit.map_or(usize::MAX, |limit| (limit as usize).saturating_sub(SPARE_DESCRIPTORS))
    }

    /// A run of all clients, each of whom follows the script of its topic.
    fn begin(&mut self, scripts: Vec<Script>) -> (Run<'_>, Cast<'_>) {
        (Run::begin(&self.poller, &self.options), Cast::new(&mut self.clients, scripts))
    }

    /// What is sent in each topic, so many times in one write, and what is expected each time.
    fn scripts(
        &self,
        at_once: u32,
        sent: impl Fn(&str) -> String,
        expected: impl Fn(&str) -> String,
    ) -> Vec<Script> {
        let script = |topic: &String| Script::new(&sent(topic), at_once, &expected(topic));
        self.topics.iter().map(script).collect()
    }
}

/// For the standard streams, epoll, a child's pipes and what the libraries open.
const SPARE_DESCRIPTORS: usize = 64;
