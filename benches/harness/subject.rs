//! The servers that are measured, each in a process of its own.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use clap::ValueEnum;

use super::lobby;
use super::usage::Usage;
use crate::baseline;

/// A server that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// The bare kernel.
    Bare,
    /// Simurgh, with one shard.
    Simurgh,
}

impl Subject {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Simurgh => "simurgh",
        }
    }

    /// Is the server, in the process that was spawned to be it, until it is killed.
    ///
    /// The whole process is pinned before anything else is started, so that every thread of it
    /// stays on the core it is measured on.
    pub(crate) fn serve(self, cpu: usize, script: &baseline::Script) -> Result<(), Box<dyn Error>> {
        // So that a bench that is interrupted leaves no server behind.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        if !core_affinity::set_for_current(core_affinity::CoreId { id: cpu }) {
            return Err(format!("cannot be pinned to core {cpu}").into());
        }
        match self {
            Self::Bare => Ok(baseline::serve(script, announce)?),
            Self::Simurgh => lobby::serve(cpu, announce),
        }
    }
}

/// A server, running. It is killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
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
        let mut server = Self { child, address: ([0, 0, 0, 0], 0).into() };
        read?;
        server.address = line.trim().parse().map_err(|_| {
            io::Error::other(format!("the {} server did not start", subject.name()))
        })?;
        Ok(server)
    }

    pub(crate) fn usage(&self) -> io::Result<Usage> {
        Usage::of(self.child.id())
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
fn announce(address: SocketAddr) {
    println!("{address}");
    // Nobody reads on: what comes later would be lost in a pipe.
    let _ = io::stdout().flush();
}
