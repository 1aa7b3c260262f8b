//! What does a second shard cost?
//!
//! A broadcast to the same clients, all on one shard or half of them on a second one. Both shards
//! are on one core, so that it is their work that is compared and not the cores they have. See
//! `README.md` beside this file.

use std::process::ExitCode;

mod baseline;
mod harness;

use harness::Case;
use harness::script::{Answer, SHOUT, Script};
use harness::subject::Subject;
use harness::table::{Figures, head};

fn main() -> ExitCode {
    harness::run("mesh", &Script::new(1, SHOUT, Answer::Room), |bench| {
        let quick = if bench.arguments.quick { 1_000 } else { 10_000 };
        let clients = bench.arguments.clients.unwrap_or(quick);
        let subjects = [Subject::Simurgh, Subject::TwoShards, Subject::Bare];
        let case = Case {
            name: format!("{clients} joined"),
            clients,
            load: &|load, _, length| load.broadcast(SHOUT, 1, length),
        };
        let outcome = bench.compare(&subjects, &case)?;

        println!();
        head("| server | sleeps of all shards for each broadcast | from – to |");
        let sets = if outcome.counted.is_empty() { &outcome.void } else { &outcome.counted };
        for (place, subject) in subjects.iter().enumerate() {
            let sleeps = Figures::new(sets.iter().map(|set| {
                let round = &set[place];
                round.spent.sleeps as f64 / round.report.sent as f64
            }));
            println!("| {} | {:.2} | {} |", subject.name(), sleeps.median(), sleeps.range(2));
        }
        Ok(())
    })
}
