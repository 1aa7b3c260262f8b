//! What does a push and its reply cost the server?
//!
//! Each client pushes about 100 bytes in the lobby and gets them back in the reply: in turn, one
//! and ten at a time, and at a fixed rate that leaves both sides air. See `README.md` beside this
//! file.

use std::error::Error;
use std::process::ExitCode;

use simurgh::load::{Push, message};

mod baseline;
mod harness;

use baseline::{Answer, Script};
use harness::subject::Subject;
use harness::{Bench, Case, TOPIC};

fn main() -> ExitCode {
    let answer = Answer { message: message::reply(TOPIC, PING.payload), to_everyone: false };
    harness::run("echo", &Script::new(TOPIC, PING, &answer), |bench| {
        for clients in bench.arguments.clients.map_or(vec![100, 1_000], |clients| vec![clients]) {
            for at_once in [1, 10] {
                let in_turn = Case {
                    name: format!("{clients} clients in turn, {at_once} at once"),
                    clients,
                    load: &|load, length| load.push_in_turn(PING, PING.payload, at_once, length),
                };
                let rate = highest_rate(bench, &in_turn)? * SHARE_OF_HIGHEST_RATE;
                bench.measure(&Case {
                    name: format!("{clients} clients, {rate:.0}/s, {at_once} at once"),
                    clients,
                    load: &|load, length| {
                        load.push_at_rate(PING, PING.payload, at_once, rate, length)
                    },
                })?;
                bench.measure(&in_turn)?;
            }
        }
        Ok(())
    })
}

/// The highest rate that the bare kernel reached in a few rounds. None of them is void: a rate that
/// the clients reached at their own limit is one they can be asked for.
fn highest_rate(bench: &Bench, case: &Case<'_>) -> Result<f64, Box<dyn Error>> {
    let mut highest = 0.0_f64;
    for _ in 0..3 {
        highest = highest.max(bench.round(Subject::Bare, case)?.report.rate());
    }
    Ok(highest)
}

/// The message is 82 bytes long, and the reply to it 114.
const PING: Push<'_> =
    Push { event: "ping", payload: r#"{"body":"Thirty birds set out to find the Simurgh."}"# };

/// Far enough below what the bare kernel can do that neither side is ever at its limit.
const SHARE_OF_HIGHEST_RATE: f64 = 0.6;
