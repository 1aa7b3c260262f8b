//! Clients in processes of their own: as many as it takes, whatever one may open.
//!
//! Each is told by a line what to do, and reports with one when it is done: `hear`, answered with
//! `heard`, or `RATE SECONDS`, to speak so, answered with what came of it.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, nice, set_parent_process_death_signal};
use simurgh::load::{Load, Options, Report};

use super::Arguments;
use super::script::{PATH, SHOUT, topic};

/// Clients that have joined. Dropped, they are gone at once, without a word.
pub(crate) struct Crowd {
    processes: Vec<Process>,
}

/// Who is to come.
#[derive(Debug, Clone)]
pub(crate) struct Guests {
    pub(crate) server: SocketAddr,
    pub(crate) clients: usize,
    /// They are spread over these.
    pub(crate) rooms: Range<usize>,
    /// The core they are on.
    pub(crate) cpu: usize,
    /// How far they stand back there: 0 to 19.
    pub(crate) nice: i32,
}

/// What came of speaking at a fixed rate: the latencies from when a broadcast was due to each client
/// that heard it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spoken {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) longest: Duration,
    /// How much later than planned the last one went out.
    pub(crate) behind: Duration,
}

struct Process {
    child: Child,
    orders: ChildStdin,
    reports: Receiver<String>,
}

impl Crowd {
    /// Starts this very program as these clients, and waits until all have joined.
    pub(crate) fn gather(guests: &Guests) -> io::Result<Self> {
        let clients = guests.clients;
        let processes = clients.div_ceil(Load::max_connections().min(MAX_CLIENTS)).max(1);
        let mut crowd = Self { processes: Vec::new() };
        for place in 0..processes {
            // One after the other, so that a listener's queue does not overflow.
            let guests = Guests { clients: (clients + place) / processes, ..guests.clone() };
            // No two processes share an address: its ports would be slow to find.
            let source = Ipv4Addr::from_bits(SOURCE.to_bits() + ADDRESSES * place as u32);
            crowd.processes.push(Process::start(&guests, source)?);
        }
        Ok(crowd)
    }

    /// All begin to wait for one broadcast in their room.
    pub(crate) fn hear(&mut self) -> io::Result<()> {
        self.order(HEAR)
    }

    /// Waits until all have heard it.
    pub(crate) fn await_heard(&mut self) -> io::Result<()> {
        self.processes.iter().try_for_each(|process| process.await_report(HEARD))
    }

    /// All begin to speak in turn, so many times a second, for so long.
    pub(crate) fn speak(&mut self, rate: f64, length: Duration) -> io::Result<()> {
        self.order(&format!("{rate} {}", length.as_secs_f64()))
    }

    /// What came of it; `None` while they still speak.
    pub(crate) fn spoken(&mut self) -> io::Result<Option<Spoken>> {
        match self.processes[0].reports.try_recv() {
            Ok(line) => Spoken::parse(&line).map(Some).ok_or_else(failed),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(failed()),
        }
    }

    /// Waits for what comes of it.
    pub(crate) fn await_spoken(&mut self) -> io::Result<Spoken> {
        let line = self.processes[0].reports.recv().map_err(|_| failed())?;
        Spoken::parse(&line).ok_or_else(failed)
    }

    fn order(&mut self, order: &str) -> io::Result<()> {
        self.processes.iter_mut().try_for_each(|process| writeln!(process.orders, "{order}"))
    }
}

impl Process {
    fn start(guests: &Guests, source: Ipv4Addr) -> io::Result<Self> {
        let Guests { server, clients, rooms, cpu, nice } = guests;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--crowd", &server.to_string(), "--source", &source.to_string()])
            .args(["--clients", &clients.to_string()])
            .args(["--rooms", &rooms.start.to_string(), &rooms.end.to_string()])
            .args(["--client-cpu", &cpu.to_string(), "--nice", &nice.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().expect("stdin was asked for");
        let stdout = child.stdout.take().expect("stdout was asked for");
        let (sender, reports) = mpsc::channel();
        // Ends with the process, or with whom it reports to.
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.map(|line| sender.send(line)).take_while(Result::is_ok).for_each(drop);
        });
        let process = Self { child, orders, reports };
        process.await_report(JOINED)?;
        Ok(process)
    }

    fn await_report(&self, wanted: &str) -> io::Result<()> {
        match self.reports.recv() {
            Ok(line) if line == wanted => Ok(()),
            _ => Err(failed()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It fails only when the process has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Spoken {
    fn of(report: &Report) -> Self {
        let latency = |quantile| Duration::from_nanos(report.latency.value_at_quantile(quantile));
        Self { p50: latency(0.5), p99: latency(0.99), longest: latency(1.0), behind: report.behind }
    }

    fn print(&self) {
        let Self { p50, p99, longest, behind } = self;
        let nanos = [p50, p99, longest, behind].map(|time| time.as_nanos().to_string());
        println!("{}", nanos.join(" "));
    }

    fn parse(line: &str) -> Option<Self> {
        let mut nanos = line.split(' ').map(|nanos| nanos.parse().ok().map(Duration::from_nanos));
        let mut next = || nanos.next().flatten();
        Some(Self { p50: next()?, p99: next()?, longest: next()?, behind: next()? })
    }
}

/// Is some of the clients, in the process that was spawned to be them, until it is killed.
pub(crate) fn be(server: SocketAddr, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    // So that a bench that is interrupted leaves nobody behind.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    nice(arguments.nice)?;
    let [first, end] = arguments.rooms[..] else { return Err("clients need rooms".into()) };
    let cpu = Some(arguments.client_cpu);
    let mut load = Load::new(Options { cpu, source: arguments.source, ..Options::default() })?;
    load.connect(server, PATH, arguments.clients.unwrap_or(0))?.clean()?;
    load.join(|client| topic(first + client % (end - first)), "{}", "{}")?.clean()?;
    println!("{JOINED}");
    for order in io::stdin().lines() {
        let order = order?;
        if order == HEAR {
            load.hear(SHOUT)?.clean()?;
            println!("{HEARD}");
        } else {
            let (rate, seconds) = order.split_once(' ').ok_or("an order nobody gives")?;
            let length = Duration::from_secs_f64(seconds.parse()?);
            let report = load.speak_at_rate(SHOUT, rate.parse()?, length)?.clean()?;
            Spoken::of(&report).print();
        }
    }
    Ok(())
}

fn failed() -> io::Error {
    io::Error::other("a process of clients has failed")
}

const JOINED: &str = "joined";
const HEAR: &str = "hear";
const HEARD: &str = "heard";

/// Of one process, and the addresses it needs for them.
const MAX_CLIENTS: usize = 18_000;
const ADDRESSES: u32 = 2;

/// The first of those addresses: away from the one that everybody else on the machine uses.
const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);
