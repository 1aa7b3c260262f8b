//! What does a broadcast cost the server, for each client that hears it?
//!
//! One client speaks in the lobby, all hear it, and when the last has heard it he speaks again. See
//! `README.md` beside this file.

use std::process::ExitCode;

mod baseline;
mod harness;

use harness::Case;
use harness::script::{Answer, SHOUT, Script};

fn main() -> ExitCode {
    harness::run("fanout", &Script::new(1, SHOUT, Answer::Room), |bench| {
        let quick = if bench.arguments.quick { 1_000 } else { 10_000 };
        let clients = bench.arguments.clients.unwrap_or(quick);
        for at_once in [1, 8] {
            bench.measure(&Case {
                name: format!("{clients} joined, {at_once} at once"),
                clients,
                load: &|load, _, length| load.broadcast(SHOUT, at_once, length),
            })?;
        }
        Ok(())
    })
}
