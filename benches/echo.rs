//! What does a push and its reply cost the server?
//!
//! Each client pushes about 100 bytes in the lobby and gets them back in the reply: in turn, one
//! and ten at a time, and at a fixed rate that leaves both sides air. See `README.md` beside this
//! file.

use std::process::ExitCode;

use simurgh::load::Push;

mod baseline;
mod harness;

use harness::script::{Answer, Script};
use harness::{Case, SHARE_OF_HIGHEST_RATE};

fn main() -> ExitCode {
    harness::run("echo", &Script::new(1, PING, Answer::Sender), |bench| {
        for clients in bench.arguments.clients.map_or(vec![100, 1_000], |clients| vec![clients]) {
            for at_once in [1, 10] {
                let in_turn = Case {
                    name: format!("{clients} clients in turn, {at_once} at once"),
                    clients,
                    load: &|load, _, length| load.push_in_turn(PING, PING.payload, at_once, length),
                };
                let rate = bench.highest_rate(&in_turn)? * SHARE_OF_HIGHEST_RATE;
                bench.measure(&Case {
                    name: format!("{clients} clients, {rate:.0}/s, {at_once} at once"),
                    clients,
                    load: &|load, _, length| {
                        load.push_at_rate(PING, PING.payload, at_once, rate, length)
                    },
                })?;
                bench.measure(&in_turn)?;
            }
        }
        Ok(())
    })
}

/// The message is 82 bytes long, and the reply to it 114.
const PING: Push<'_> =
    Push { event: "ping", payload: r#"{"body":"Thirty birds set out to find the Simurgh."}"# };
