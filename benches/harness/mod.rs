//! What the benches share: the command line, the rounds and how they are judged.
//!
//! A **round** starts a server as a process of its own on its core, connects and joins the clients
//! from another core, warms up, and measures one load. Rounds come in **pairs**, one of the bare
//! kernel and one of the server in question, so that both see the machine in the same mood; which
//! goes first alternates. A pair counts only if neither of its rounds is **void**.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use simurgh::load::{self, Load, Options, Report};

use crate::baseline::Script;

mod lobby;
pub(crate) mod subject;
mod table;
mod usage;

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
    server: Subject,
    /// The core the servers are pinned to
    #[arg(long, default_value_t = 1)]
    server_cpu: usize,
    /// The core the clients are pinned to
    #[arg(long, default_value_t = 0)]
    client_cpu: usize,
    /// How many clients [default: 100 and 1000 in echo, 10000 in fanout]
    #[arg(long)]
    pub(crate) clients: Option<usize>,
    /// Tell of each round on standard error, void ones too
    #[arg(long)]
    verbose: bool,
    /// Be this server: how the bench starts it.
    #[arg(long, hide = true)]
    serve: Option<Subject>,
    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A row of the result: so many clients, and what they do.
pub(crate) struct Case<'a> {
    pub(crate) name: String,
    pub(crate) clients: usize,
    pub(crate) load: &'a dyn Fn(&mut Load, Duration) -> Result<Report, load::Error>,
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

/// All pairs of rounds of a case: of the bare kernel, and of the server held against it.
pub(crate) struct Outcome {
    pub(crate) pairs: Vec<(Round, Round)>,
    pub(crate) void: Vec<(Round, Round)>,
}

/// A bench: its arguments, and the table it fills.
pub(crate) struct Bench {
    pub(crate) arguments: Arguments,
    table: Table,
}

impl Bench {
    /// Measures a case and prints its rows.
    pub(crate) fn measure(&mut self, case: &Case<'_>) -> Result<(), Box<dyn Error>> {
        let wanted = self.rounds();
        let mut outcome = Outcome { pairs: Vec::new(), void: Vec::new() };
        // A machine that is always disturbed must not keep the bench for ever.
        for attempt in 0..2 * wanted {
            if outcome.pairs.len() == wanted {
                break;
            }
            let bare_first = attempt % 2 == 0;
            let first = self.round(if bare_first { Subject::Bare } else { self.server() }, case)?;
            let second =
                self.round(if bare_first { self.server() } else { Subject::Bare }, case)?;
            let void = first.void().or(second.void());
            let pair = if bare_first { (first, second) } else { (second, first) };
            if void.is_some() { &mut outcome.void } else { &mut outcome.pairs }.push(pair);
        }
        self.table.print(&case.name, &outcome);
        Ok(())
    }

    /// One round of one server.
    pub(crate) fn round(&self, subject: Subject, case: &Case<'_>) -> Result<Round, Box<dyn Error>> {
        let Arguments { server_cpu, client_cpu, .. } = self.arguments;
        let server = Server::spawn(subject, server_cpu)?;
        let mut load = Load::new(Options { cpu: Some(client_cpu), ..Options::default() })?;
        load.connect(server.address, PATH, case.clients)?.clean()?;
        load.join(|_| TOPIC.to_owned(), "{}", "{}")?.clean()?;
        let length = self.length();
        (case.load)(&mut load, length / 4)?.clean()?;

        // All replies have come, so the server is at rest and its counts are up to date.
        let before = server.usage()?;
        let cores = (Core::read(server_cpu)?, Core::read(client_cpu)?);
        let report = (case.load)(&mut load, length)?.clean()?;
        let server_core = Core::read(server_cpu)?.busy_since(&cores.0);
        let client_core = Core::read(client_cpu)?.busy_since(&cores.1);
        let spent = server.usage()?.since(&before);
        let round = Round { report, spent, server_core, client_core };
        if self.arguments.verbose {
            eprintln!("{}, {}: {round}", case.name, subject.name());
        }
        Ok(round)
    }

    fn server(&self) -> Subject {
        self.arguments.server
    }

    fn rounds(&self) -> usize {
        self.arguments.rounds.unwrap_or(if self.arguments.quick { 3 } else { 7 })
    }

    fn length(&self) -> Duration {
        let seconds = if self.arguments.quick { 0.3 } else { 2.0 };
        Duration::from_secs_f64(self.arguments.seconds.unwrap_or(seconds))
    }
}

/// Runs a bench, or is one of its servers if the arguments say so.
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
    } else {
        let table = Table::begin(name, arguments.server.name());
        let mut bench = Bench { arguments, table };
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

/// Every client of a bench joins this topic.
pub(crate) const TOPIC: &str = "room:lobby";

const PATH: &str = "/socket/websocket?vsn=2.0.0";

/// Beyond it the client may be what is measured.
const MAX_CLIENT_BUSY: f64 = 0.95;
