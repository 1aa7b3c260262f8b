//! What does a client cost in memory that has joined and is silent?
//!
//! Clients connect, join one of 1,000 rooms each, and say nothing more; then they leave. The server
//! is looked at before, meanwhile and after. See `README.md` beside this file.

use std::error::Error;
use std::process::ExitCode;

mod baseline;
mod harness;

use harness::Bench;
use harness::crowd::{Crowd, Guests};
use harness::memory::{self, Memory};
use harness::script::{Answer, SHOUT, Script};
use harness::subject::{Server, Subject};
use harness::table::{Figures, head};

fn main() -> ExitCode {
    harness::run("idle", &Script::new(ROOMS, SHOUT, Answer::Room), |bench| {
        head(
            "| clients | server | resident at start, KiB | joined, KiB | after, KiB | \
             bytes a client: anonymous | from – to | all resident | from – to | \
             kernel, both ends | from – to | rounds |",
        );
        let usual = if bench.arguments.quick { vec![1_000] } else { vec![10_000, 15_000] };
        let subjects = [Subject::Bare, bench.arguments.server];
        for clients in bench.arguments.clients.map_or(usual, |clients| vec![clients]) {
            let mut rounds: [Vec<Round>; 2] = Default::default();
            for _ in 0..bench.rounds() {
                for (subject, rounds) in subjects.into_iter().zip(&mut rounds) {
                    rounds.push(round(bench, subject, clients)?);
                }
            }
            for (subject, rounds) in subjects.into_iter().zip(&rounds) {
                print(subject, clients, rounds);
            }
        }
        Ok(())
    })
}

/// What a round has seen of the server.
struct Round {
    start: Memory,
    joined: Memory,
    after: Memory,
    /// What all clients added to the kernel's slabs: the server's ends and their own.
    slabs: f64,
}

fn round(bench: &Bench, subject: Subject, clients: usize) -> Result<Round, Box<dyn Error>> {
    let server = Server::spawn(subject, bench.arguments.server_cpu)?;
    server.rest()?;
    let (start, slabs) = (server.memory()?, memory::slabs()?);
    let (address, cpu) = (server.address(), bench.arguments.client_cpu);
    let guests = Guests { server: address, clients, rooms: 0..ROOMS, cpu, nice: 0 };
    let crowd = Crowd::gather(&guests)?;
    server.rest()?;
    let (joined, slabs) = (server.memory()?, memory::slabs()? as f64 - slabs as f64);
    drop(crowd);
    server.rest()?;
    let after = server.memory()?;
    if bench.arguments.verbose {
        eprintln!("{clients}, {}: {start:?}, {joined:?}, {after:?}, {slabs}", subject.name());
    }
    Ok(Round { start, joined, after, slabs })
}

fn print(subject: Subject, clients: usize, rounds: &[Round]) {
    let kib = |figure: fn(&Round) -> u64| {
        Figures::new(rounds.iter().map(|round| figure(round) as f64 / 1024.0)).median()
    };
    let for_each = |figure: fn(&Round) -> f64| {
        let figures = Figures::new(rounds.iter().map(|round| figure(round) / clients as f64));
        format!("{:.0} | {}", figures.median(), figures.range(0))
    };
    println!(
        "| {clients} | {} | {:.0} | {:.0} | {:.0} | {} | {} | {} | {} |",
        subject.name(),
        kib(|round| round.start.resident),
        kib(|round| round.joined.resident),
        kib(|round| round.after.resident),
        for_each(|round| round.joined.anonymous as f64 - round.start.anonymous as f64),
        for_each(|round| round.joined.resident as f64 - round.start.resident as f64),
        for_each(|round| round.slabs),
        rounds.len(),
    );
}

const ROOMS: usize = 1_000;
