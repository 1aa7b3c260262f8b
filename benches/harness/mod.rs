//! What the benches share: the command line, the rounds and how they are judged.
//!
//! A **round** starts a server as a process of its own on its core, connects and joins the clients
//! from another core, warms up, and measures one load. Rounds come in **sets**, nearly always pairs:
//! one of the bare kernel and one of each server in question, so that all see the machine in the
//! same mood; which goes first changes from set to set. A set counts only if none of its rounds is
//! **void**.

#![allow(dead_code, reason = "each bench uses its part of what all share")]
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::error::Error;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use simurgh::load::{self, Load, Options, Report};

pub(crate) mod beside;
pub(crate) mod crowd;
mod lobby;
pub(crate) mod memory;
pub(crate) mod script;
pub(crate) mod subject;
pub(crate) mod table;
pub(crate) mod usage;

use script::{PATH, Script, topic};
use subject::{Server, Subject};
use table::Table;
use usage::{Core, Spent};

/// The arguments of a bench.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// Few and short rounds, to see that all works. The figures mean little.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Pairs of rounds that must count [default: 7]
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds a round measures, after a warm-up of a quarter of it [default: 2]
    #[arg(long)]
    seconds: Option<f64>,
    /// The server to hold against the bare kernel
    #[arg(long, default_value = "simurgh")]
    pub(crate) server: Subject,
    /// The core the servers are pinned to
    #[arg(long, default_value_t = 1)]
    pub(crate) server_cpu: usize,
    /// The core the clients are pinned to
    #[arg(long, default_value_t = 0)]
    pub(crate) client_cpu: usize,
    /// How many clients [default: the bench's own]
    #[arg(long)]
    pub(crate) clients: Option<usize>,
    /// Tell of each round on standard error, void ones too
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Be this server: how the bench starts it.
    #[arg(long, hide = true)]
    serve: Option<Subject>,
    /// Be clients of the server at this address.
    #[arg(long, hide = true)]
    crowd: Option<SocketAddr>,
    /// The first address from which those clients connect.
    #[arg(long, hide = true, default_value = "127.0.0.1")]
    source: Ipv4Addr,
    /// The first room of those clients, and the one behind their last.
    #[arg(long, hide = true, num_args = 2)]
    rooms: Vec<usize>,
    /// How far they stand back where others want their core.
    #[arg(long, hide = true, default_value_t = 0)]
    nice: i32,
    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A row of the result: so many clients, spread over the rooms, and what they do.
pub(crate) struct Case<'a> {
    pub(crate) name: String,
    pub(crate) clients: usize,
    /// Given the clients, the server's address, and for how long.
    pub(crate) load: &'a dyn Fn(&mut Load, SocketAddr, Duration) -> Result<Report, load::Error>,
}

/// What a round has measured.
pub(crate) struct Round {
    pub(crate) report: Report,
    /// By the server.
    pub(crate) spent: Spent,
    /// The share of the round in which each side's core was not idle, whoever kept it so.
    server_core: f64,
    client_core: f64,
}

impl Round {
    /// CPU time of the server for each message that came back.
    pub(crate) fn cost(&self) -> f64 {
        micros(self.spent.total) / self.report.received as f64
    }

    /// The share of the round in which the server was running.
    pub(crate) fn server_busy(&self) -> f64 {
        self.spent.total.as_secs_f64() / self.report.elapsed.as_secs_f64()
    }

    /// Why this round says nothing about the server, if so.
    fn void(&self) -> Option<Void> {
        if self.report.behind > self.report.elapsed / 100 {
            Some(Void::RateMissed)
        } else if self.client_core > MAX_CLIENT_BUSY {
            Some(Void::ClientBusy)
        } else {
            None
        }
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| (100.0 * share).round();
        write!(
            f,
            "{:.3} µs, {:.0}/s, server busy {} % (its core {} %), client busy {} % (its core {} %)",
            self.cost(),
            self.report.rate(),
            percent(self.server_busy()),
            percent(self.server_core),
            percent(self.report.busy()),
            percent(self.client_core),
        )?;
        match self.void() {
            Some(Void::RateMissed) => write!(f, ", void: {:?} late", self.report.behind),
            Some(Void::ClientBusy) => write!(f, ", void: the client was busy"),
            None => Ok(()),
        }
    }
}

/// Why a round does not count.
enum Void {
    /// The client could not send as often as it should.
    RateMissed,
    /// The client's core had nothing to spare, so the client may be what was measured.
    ClientBusy,
}

/// All sets of rounds of a case. In each, the servers stand in the order they were named in.
pub(crate) struct Outcome {
    pub(crate) counted: Vec<Vec<Round>>,
    pub(crate) void: Vec<Vec<Round>>,
}

/// A bench: its arguments, and the table it fills.
pub(crate) struct Bench {
    pub(crate) arguments: Arguments,
    /// How many rooms the clients are spread over.
    rooms: usize,
    table: Table,
}

impl Bench {
    /// Measures a case with the bare kernel and the server in question, and prints its rows.
    pub(crate) fn measure(&mut self, case: &Case<'_>) -> Result<(), Box<dyn Error>> {
        self.compare(&[Subject::Bare, self.arguments.server], case)?;
        Ok(())
    }

    /// Measures a case with several servers, the others to be held against the first, and prints
    /// its rows.
    pub(crate) fn compare(
        &mut self,
        subjects: &[Subject],
        case: &Case<'_>,
    ) -> Result<Outcome, Box<dyn Error>> {
        let wanted = self.rounds();
        let mut outcome = Outcome { counted: Vec::new(), void: Vec::new() };
        // A machine that is always disturbed must not keep the bench for ever.
        for attempt in 0..2 * wanted {
            if outcome.counted.len() == wanted {
                break;
            }
            let mut set = Vec::new();
            let first = attempt % subjects.len();
            for &subject in subjects.iter().cycle().skip(first).take(subjects.len()) {
                set.push(self.round(subject, case)?);
            }
            set.rotate_right(first);
            let is_void = set.iter().any(|round| round.void().is_some());
            if is_void { &mut outcome.void } else { &mut outcome.counted }.push(set);
        }
        self.table.print(&case.name, subjects, &outcome);
        Ok(outcome)
    }

    /// One round of one server.
    pub(crate) fn round(&self, subject: Subject, case: &Case<'_>) -> Result<Round, Box<dyn Error>> {
        let Arguments { server_cpu, client_cpu, .. } = self.arguments;
        let server = Server::spawn(subject, server_cpu)?;
        let mut load = Load::new(Options { cpu: Some(client_cpu), ..Options::default() })?;
        let ports = server.addresses.len();
        for (port, &address) in server.addresses.iter().enumerate() {
            load.connect(address, PATH, (case.clients + port) / ports)?.clean()?;
        }
        load.join(|client| topic(client % self.rooms), "{}", "{}")?.clean()?;
        let (address, length) = (server.address(), self.length());
        (case.load)(&mut load, address, length / 4)?.clean()?;

        // All replies have come, so the server is at rest and its counts are up to date.
        let before = server.usage()?;
        let cores = (Core::read(server_cpu)?, Core::read(client_cpu)?);
        let report = (case.load)(&mut load, address, length)?.clean()?;
        let server_core = Core::read(server_cpu)?.busy_since(&cores.0);
        let client_core = Core::read(client_cpu)?.busy_since(&cores.1);
        let spent = server.usage()?.since(&before);
        let round = Round { report, spent, server_core, client_core };
        if self.arguments.verbose {
            eprintln!("{}, {}: {round}", case.name, subject.name());
        }
        Ok(round)
    }

    /// The highest rate that the bare kernel reached in a few rounds of a load that knows no pause.
    /// None of them is void: a rate that the clients reached at their own limit is one they can be
    /// asked for.
    pub(crate) fn highest_rate(&self, case: &Case<'_>) -> Result<f64, Box<dyn Error>> {
        let mut highest = 0.0_f64;
        for _ in 0..3 {
            highest = highest.max(self.round(Subject::Bare, case)?.report.rate());
        }
        Ok(highest)
    }

    pub(crate) fn rounds(&self) -> usize {
        self.arguments.rounds.unwrap_or(if self.arguments.quick { 3 } else { 7 })
    }

    pub(crate) fn length(&self) -> Duration {
        let seconds = if self.arguments.quick { 0.3 } else { 2.0 };
        Duration::from_secs_f64(self.arguments.seconds.unwrap_or(seconds))
    }
}

/// Runs a bench, or is one of its servers, or some of its clients, if the arguments say so.
///
/// `script` is what the bare server knows of the bench; `measure` takes the cases through
/// [`Bench::measure`].
pub(crate) fn run(
    name: &str,
    script: &Script,
    measure: impl FnOnce(&mut Bench) -> Result<(), Box<dyn Error>>,
) -> ExitCode {
    let arguments = Arguments::parse();
    let result = if let Some(subject) = arguments.serve {
        subject.serve(arguments.server_cpu, script)
    } else if let Some(server) = arguments.crowd {
        crowd::be(server, &arguments)
    } else {
        table::announce(name);
        let mut bench = Bench { arguments, rooms: script.rooms(), table: Table::default() };
        measure(&mut bench)
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Of the highest rate: far enough below what the bare kernel can do that neither side is ever at
/// its limit.
pub(crate) const SHARE_OF_HIGHEST_RATE: f64 = 0.6;

/// Beyond it the client may be what is measured.
pub(crate) const MAX_CLIENT_BUSY: f64 = 0.95;
