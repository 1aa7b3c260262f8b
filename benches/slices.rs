//! How long does a small topic wait beside a fan-out to a big one?
//!
//! Somebody broadcasts to a crowd, and again when the last of it has heard, while a few clients in
//! a room of their own speak at a fixed rate. See `README.md` beside this file.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use simurgh::load::{Load, Options};

mod baseline;
mod harness;

use harness::Bench;
use harness::beside::{self, Round};
use harness::crowd::{Crowd, Guests};
use harness::script::{Answer, PATH, SHOUT, Script, topic};
use harness::subject::{Server, Subject};
use harness::table::head;
use harness::usage::Core;

fn main() -> ExitCode {
    harness::run("slices", &Script::new(ROOMS, SHOUT, Answer::Room), |bench| {
        head(&format!("| in the big topic | server | {}", beside::columns("big broadcasts/s")));
        let usual = if bench.arguments.quick { 2_000 } else { 50_000 };
        let clients = bench.arguments.clients.unwrap_or(usual);
        // The bare server has a descriptor for each client.
        let bare_holds_them = clients + FEW < Load::max_connections();
        let bare = bare_holds_them.then_some(Subject::Bare);
        let subjects: Vec<_> = bare.into_iter().chain([bench.arguments.server]).collect();
        let mut rounds: Vec<Vec<Round>> = subjects.iter().map(|_| Vec::new()).collect();
        for _ in 0..bench.rounds() {
            for (&subject, rounds) in subjects.iter().zip(&mut rounds) {
                rounds.push(round(bench, subject, clients)?);
            }
        }
        for (subject, rounds) in subjects.iter().zip(rounds) {
            beside::print(&format!("{clients} | {}", subject.name()), rounds);
        }
        Ok(())
    })
}

fn round(bench: &Bench, subject: Subject, clients: usize) -> Result<Round, Box<dyn Error>> {
    let (cpu, length) = (bench.arguments.client_cpu, bench.length());
    let server = Server::spawn(subject, bench.arguments.server_cpu)?;
    let address = server.address();
    let guests = Guests { server: address, clients: FEW, rooms: SMALL..ROOMS, cpu, nice: 0 };
    let mut few = Crowd::gather(&guests)?;
    // The few whose latency is measured go first wherever both want the core.
    let mut crowd = Crowd::gather(&Guests { clients, rooms: BIG..SMALL, nice: 15, ..guests })?;
    let mut speaker = Load::new(Options { cpu: Some(cpu), ..Options::default() })?;
    speaker.connect(address, PATH, 1)?.clean()?;
    speaker.join(|_| topic(BIG), "{}", "{}")?.clean()?;
    server.rest()?;

    few.speak(RATE, length)?;
    let alone = few.await_spoken()?;

    few.speak(RATE, length)?;
    let (started, core) = (Instant::now(), Core::read(cpu)?);
    let mut broadcasts = 0;
    let beside = loop {
        crowd.hear()?;
        speaker.broadcast(SHOUT, 1, Duration::ZERO)?.clean()?;
        crowd.await_heard()?;
        broadcasts += 1;
        if let Some(spoken) = few.spoken()? {
            break spoken;
        }
    };
    let client_core = Core::read(cpu)?.busy_since(&core);
    let elapsed = started.elapsed();
    let per_second = f64::from(broadcasts) / elapsed.as_secs_f64();
    let round = Round { alone, beside, elapsed, per_second, client_core };
    if bench.arguments.verbose {
        let Round { alone, beside, .. } = &round;
        eprintln!(
            "{clients}, {}: alone {alone:?}, beside {beside:?}, {broadcasts} in {elapsed:?}, \
             client core {client_core:.2}{}",
            subject.name(),
            if round.is_void() { ", void" } else { "" }
        );
    }
    Ok(round)
}

/// The rooms: the crowd's, and that of the few.
const BIG: usize = 0;
const SMALL: usize = 1;
const ROOMS: usize = 2;

const FEW: usize = 10;

/// Broadcasts a second among the few: so many that hundreds fall into every round, so few that they
/// are no load themselves.
const RATE: f64 = 200.0;
