//! Clients in processes of their own: as many as it takes, whatever one may open.

use std::error::Error;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Signal, nice, set_parent_process_death_signal};
use simurgh::load::{Load, Options};

use super::{Arguments, PATH, topic};

/// Clients that have joined. Dropped, they are gone at once, without a word.
pub(crate) struct Crowd {
    processes: Vec<Process>,
}

struct Process {
    child: Child,
    reports: BufReader<ChildStdout>,
}

impl Crowd {
    /// Starts this very program as so many clients of `server`, spread over the rooms, and waits
    /// until all have joined.
    pub(crate) fn gather(server: SocketAddr, clients: usize, cpu: usize) -> io::Result<Self> {
        let processes = clients.div_ceil(Load::max_connections().min(MAX_CLIENTS)).max(1);
        let mut crowd = Self { processes: Vec::new() };
        for process in 0..processes {
            // One after the other, so that a listener's queue does not overflow.
            crowd.processes.push(Process::start(
                server,
                (clients + process) / processes,
                // An address has ports for all clients of one process.
                Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + process as u32),
                cpu,
            )?);
        }
        Ok(crowd)
    }
}

impl Process {
    fn start(server: SocketAddr, clients: usize, source: Ipv4Addr, cpu: usize) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--crowd", &server.to_string(), "--source", &source.to_string()])
            .args(["--clients", &clients.to_string(), "--client-cpu", &cpu.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let reports = BufReader::new(child.stdout.take().expect("stdout was asked for"));
        let mut process = Self { child, reports };
        process.await_report(JOINED)?;
        Ok(process)
    }

    fn await_report(&mut self, wanted: &str) -> io::Result<()> {
        let mut line = String::new();
        self.reports.read_line(&mut line)?;
        if line.trim() == wanted {
            return Ok(());
        }
        Err(io::Error::other("a process of clients has failed"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It fails only when the process has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Is some of the clients, in the process that was spawned to be them, until it is killed.
pub(crate) fn be(
    server: SocketAddr,
    arguments: &Arguments,
    rooms: usize,
) -> Result<(), Box<dyn Error>> {
    // So that a bench that is interrupted leaves nobody behind.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Whoever measures latencies on the same core goes first.
    nice(CROWD_NICE)?;
    let cpu = Some(arguments.client_cpu);
    let mut load = Load::new(Options { cpu, source: arguments.source, ..Options::default() })?;
    load.connect(server, PATH, arguments.clients.unwrap_or(0))?.clean()?;
    load.join(|client| topic(client % rooms), "{}", "{}")?.clean()?;
    println!("{JOINED}");
    io::stdin().lines().for_each(drop);
    Ok(())
}

const JOINED: &str = "joined";

/// Of one process: fewer than an address has ports.
const MAX_CLIENTS: usize = 18_000;

const CROWD_NICE: i32 = 15;
