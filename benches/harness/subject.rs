//! The servers that are measured, each in a process of its own.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::lobby;
use super::memory::Memory;
use super::script::Script;
use super::usage::Usage;
use crate::baseline;

/// A server that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// The bare kernel.
    Bare,
    /// Simurgh, with one shard.
    Simurgh,
    /// Simurgh, with two shards on the one core, each at a port of its own.
    TwoShards,
}

impl Subject {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Simurgh => "simurgh",
            Self::TwoShards => "two-shards",
        }
    }

    /// Is the server, in the process that was spawned to be it, until it is killed.
    ///
    /// The whole process is pinned before anything else is started, so that every thread of it
    /// stays on the core it is measured on.
    pub(crate) fn serve(self, cpu: usize, script: &Script) -> Result<(), Box<dyn Error>> {
        // So that a bench that is interrupted leaves no server behind.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        if !core_affinity::set_for_current(core_affinity::CoreId { id: cpu }) {
            return Err(format!("cannot be pinned to core {cpu}").into());
        }
        match self {
            Self::Bare => Ok(baseline::serve(script, |address| announce(&[address]))?),
            Self::Simurgh => lobby::serve(&[cpu], announce),
            Self::TwoShards => lobby::serve(&[cpu, cpu], announce),
        }
    }
}

/// A server, running. It is killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    /// One, or one for each shard.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Server {
    /// Starts this very program as the server and waits until it listens.
    pub(crate) fn spawn(subject: Subject, cpu: usize) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve", subject.name(), "--server-cpu", &cpu.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout was asked for");
        let read = BufReader::new(stdout).read_line(&mut line);
        // Made before the line is looked at, so that a child that says something else is killed.
        let mut server = Self { child, addresses: Vec::new() };
        read?;
        let addresses: Result<Vec<_>, _> = line.split_whitespace().map(str::parse).collect();
        server.addresses = addresses.unwrap_or_default();
        if server.addresses.is_empty() {
            return Err(io::Error::other(format!("the {} server did not start", subject.name())));
        }
        Ok(server)
    }

    /// Where its first shard listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub(crate) fn usage(&self) -> io::Result<Usage> {
        Usage::of(self.child.id())
    }

    pub(crate) fn memory(&self) -> io::Result<Memory> {
        Memory::of(self.child.id())
    }

    /// Waits until it has nothing to do any more.
    ///
    /// # Errors
    ///
    /// It has not come to rest in half a minute.
    pub(crate) fn rest(&self) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let before = self.usage()?;
            std::thread::sleep(Duration::from_millis(250));
            if self.usage()?.since(&before).total < Duration::from_micros(500) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(io::Error::other("the server does not come to rest"));
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It fails only when the server has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tells the bench where the server listens.
fn announce(addresses: &[SocketAddr]) {
    let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    println!("{}", addresses.join(" "));
    // Nobody reads on: what comes later would be lost in a pipe.
    let _ = io::stdout().flush();
}
