//! A load of Phoenix clients: thousands of connections driven by one thread.
//!
//! The thread stands on a core of its own and does as little as it can for each message, so that it
//! is the server that is measured: what is sent was finished and masked beforehand, of what comes
//! back the frame headers are read and counted (`frame`), each is held against the length it should
//! have, and one in a thousand against its content (`message`).
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
//! Each of these runs to its end, waits for what is still owed, and gives a [`Report`]. Nothing
//! that goes wrong is passed over: it is in the report's [`Errors`].
//!
//! What a load never does: answer pings, send heartbeats (so it is no client for more than a minute
//! of silence), reconnect.

use std::io;
use std::mem;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::Timespec;

mod client;
mod error;
mod frame;
pub mod message;
mod options;
mod pace;
mod report;
mod run;
mod scenarios;
mod script;
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

use client::Client;
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
    epoll: OwnedFd,
    clients: Vec<Client>,
    /// The topics joined, each once; clients name them by index.
    topics: Vec<String>,
    /// What the last wait has brought; taken out while it is worked through.
    events: Vec<epoll::Event>,
    /// Every read goes here: between two of them a connection keeps nothing but a header.
    buffer: Box<[u8]>,
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
        Ok(Self {
            options,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?,
            clients: Vec::new(),
            topics: Vec::new(),
            events: Vec::with_capacity(MAX_EVENTS),
            buffer: vec![0; READ_BUFFER].into(),
        })
    }

    /// How many clients a load of this process can have: its soft limit of open descriptors, less a
    /// few for the process itself.
    pub fn max_connections() -> usize {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        limit.map_or(usize::MAX, |limit| (limit as usize).saturating_sub(SPARE_DESCRIPTORS))
    }

    fn scripts(
        &self,
        at_once: u32,
        sent: impl Fn(&str) -> String,
        expected: impl Fn(&str) -> String,
    ) -> Vec<Script> {
        let script = |topic: &String| Script::new(&sent(topic), at_once as usize, &expected(topic));
        self.topics.iter().map(script).collect()
    }

    /// Waits once and takes what has come; `and_then` is called for each client that was answered.
    ///
    /// `false` when patience has ended: what is still owed is counted, and the load is over.
    fn take_replies(
        &mut self,
        run: &mut Run,
        scripts: &mut [Script],
        mut and_then: impl FnMut(&mut Run, &mut Client, &[Script]),
    ) -> Result<bool, Error> {
        let received = run.report.received;
        let events = self.wait(Some(self.options.patience))?;
        for event in &events {
            let client = &mut self.clients[event.data.u64() as usize];
            let owed = client.owed;
            run.receive(client, scripts, &mut self.buffer);
            if owed > 0 && client.owed == 0 {
                run.report.record(client.asked.elapsed());
            }
            and_then(run, client, scripts);
        }
        self.events = events;
        Ok(!run.is_stuck(received, self.options.patience))
    }

    /// What is ready; nothing when `timeout` has passed. Given back to `self.events` after use.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Vec<epoll::Event>> {
        wait(&self.epoll, &mut self.events, timeout)
    }

    fn source_of(&self, index: usize) -> Ipv4Addr {
        let step = (index / CLIENTS_PER_SOURCE) as u32;
        Ipv4Addr::from_bits(self.options.source.to_bits() + step)
    }
}

/// What is ready, in the memory of `spare`; nothing when `timeout` has passed.
fn wait(
    epoll: &OwnedFd,
    spare: &mut Vec<epoll::Event>,
    timeout: Option<Duration>,
) -> io::Result<Vec<epoll::Event>> {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    let mut events = mem::take(spare);
    events.clear();
    events.reserve(MAX_EVENTS);
    loop {
        match epoll::wait(epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) => return Ok(events),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn event_data(index: usize) -> epoll::EventData {
    epoll::EventData::new_u64(index as u64)
}

/// Of one wait. Few enough that the first of them is not stale when the last is looked at.
const MAX_EVENTS: usize = 256;

/// Room for hundreds of small frames a read.
const READ_BUFFER: usize = 64 << 10;

/// Of 28,232 ports (`net.ipv4.ip_local_port_range`). `bind` tries the 14,116 odd ones first, and
/// who comes when they are taken looks at each of them: 40 s of CPU for four times 15,000 clients.
const CLIENTS_PER_SOURCE: usize = 10_000;

/// For the standard streams, epoll, a child's pipes and what the libraries open.
const SPARE_DESCRIPTORS: usize = 64;
