//! What does a client cost the server that comes, joins and goes?
//!
//! Visitors connect, ask for a WebSocket, join a room, close, and see the server end the
//! connection: in turn, and at a fixed rate that leaves both sides air. See `README.md` beside this
//! file.

use std::net::SocketAddr;
use std::process::ExitCode;

use simurgh::load::Visit;

mod baseline;
mod harness;

use harness::script::{Answer, PATH, SHOUT, Script, topic};
use harness::{Case, SHARE_OF_HIGHEST_RATE};

fn main() -> ExitCode {
    harness::run("connect", &Script::new(1, SHOUT, Answer::Sender), |bench| {
        let room = topic(0);
        let visit = |server: SocketAddr| Visit { server, path: PATH, topic: &room };
        let at_once = bench.arguments.clients.unwrap_or(100);
        let in_turn = Case {
            name: format!("{at_once} visitors in turn"),
            clients: RESIDENTS,
            load: &|load, server, length| load.visit_in_turn(visit(server), at_once, length),
        };
        let rate = bench.highest_rate(&in_turn)? * SHARE_OF_HIGHEST_RATE;
        bench.measure(&Case {
            name: format!("{rate:.0} visitors/s"),
            clients: RESIDENTS,
            load: &|load, server, length| load.visit_at_rate(visit(server), rate, length),
        })?;
        bench.measure(&in_turn)
    })
}

/// Somebody is always there, so that it is not the room that comes and goes.
const RESIDENTS: usize = 1;
