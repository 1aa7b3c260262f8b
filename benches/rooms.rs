//! What does a broadcast cost the server in one of many small rooms, for each client that hears it?
//!
//! A thousand rooms of ten clients. In each the clients speak one after the other: in turn, and at a
//! fixed rate that leaves both sides air. See `README.md` beside this file.

use std::process::ExitCode;

mod baseline;
mod harness;

use harness::script::{Answer, SHOUT, Script};
use harness::{Case, SHARE_OF_HIGHEST_RATE};

fn main() -> ExitCode {
    harness::run("rooms", &Script::new(ROOMS, SHOUT, Answer::Room), |bench| {
        let clients = bench.arguments.clients.unwrap_or(ROOMS * MEMBERS);
        let in_turn = Case {
            name: format!("{ROOMS} rooms, {clients} clients in turn"),
            clients,
            load: &|load, _, length| load.speak_in_turn(SHOUT, length),
        };
        let heard = bench.highest_rate(&in_turn)? * SHARE_OF_HIGHEST_RATE;
        let said = heard * ROOMS as f64 / clients as f64;
        bench.measure(&Case {
            name: format!("{ROOMS} rooms, {clients} clients, {said:.0} said/s"),
            clients,
            load: &|load, _, length| load.speak_at_rate(SHOUT, said, length),
        })?;
        bench.measure(&in_turn)
    })
}

const ROOMS: usize = 1_000;
const MEMBERS: usize = 10;
