//! What does a broadcast cost the server, for each client that hears it?
//!
//! One client speaks in the lobby, all hear it, and when the last has heard it he speaks again. See
//! `README.md` beside this file.

use std::process::ExitCode;

use simurgh::load::{Push, message};

mod baseline;
mod harness;

use baseline::{Answer, Script};
use harness::{Case, TOPIC};

fn main() -> ExitCode {
    let broadcast = message::broadcast(TOPIC, SHOUT.event, SHOUT.payload);
    let answer = Answer { message: broadcast, to_everyone: true };
    harness::run("fanout", &Script::new(TOPIC, SHOUT, &answer), |bench| {
        let quick = if bench.arguments.quick { 1_000 } else { 10_000 };
        let clients = bench.arguments.clients.unwrap_or(quick);
        for at_once in [1, 8] {
            bench.measure(&Case {
                name: format!("{clients} joined, {at_once} at once"),
                clients,
                load: &|load, length| load.broadcast(SHOUT, at_once, length),
            })?;
        }
        Ok(())
    })
}

/// The payload is 100 bytes long, and the message in which it is broadcast 133.
const SHOUT: Push<'_> = Push {
    event: "shout",
    payload: concat!(
        r#"{"body":"They crossed seven valleys, and when they had come "#,
        r#"to the end, there were thirty of them."}"#
    ),
};
