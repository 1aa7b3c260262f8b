//! Clients by the thousand, in a process of their own: an actor's part.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use simurgh::load::{Load, Options, Push};

use crate::actor::{self, Actor};

/// So many clients, in a process of their own.
pub(crate) struct Crowd(Actor);

impl Crowd {
    /// Begins to connect `count` clients to `server` and to have each join one of 1,000 topics, for
    /// a test that calls [`play`] first thing. Crowds of one server have different numbers.
    pub(crate) fn gather(test: &str, server: SocketAddr, number: u8, count: usize) -> Self {
        let part = format!("{CROWD}{server} {number} {count}");
        // Its soft limit is raised, as every process may: each client takes a descriptor.
        let limit = format!("--nofile={}:", count + 1_000);
        Self(Actor::start(actor::command(&[&limit], test, &part)))
    }

    /// Waits until all have joined.
    pub(crate) fn await_joined(&mut self) {
        assert_eq!(self.0.hear(), "joined");
    }

    /// Has each push once, and waits until each is answered.
    pub(crate) fn speak(&mut self) {
        self.begin_to_speak();
        self.await_answers();
    }

    /// Has each push once.
    pub(crate) fn begin_to_speak(&mut self) {
        self.0.tell("speak");
    }

    /// Waits until each is answered.
    pub(crate) fn await_answers(&mut self) {
        assert_eq!(self.0.hear(), "answered");
    }

    /// Waits until they have gone.
    pub(crate) fn leave(mut self) {
        self.0.tell("leave");
        self.0.end();
    }
}

/// Plays a crowd, if that is this process' part, and says whether it was.
pub(crate) fn play() -> bool {
    let Some(part) = actor::part() else { return false };
    let Some(part) = part.strip_prefix(CROWD) else { return false };
    let mut words = part.split(' ');
    let mut next = || words.next().expect("server, number and count");
    let server: SocketAddr = next().parse().expect("an address");
    let number: u8 = next().parse().expect("a number");
    let count: usize = next().parse().expect("a count");

    let source = Ipv4Addr::new(127, 0, 1 + number, 1);
    // The server may be starved of CPU by the other crowds, or be stopped for a while.
    let patience = Duration::from_secs(100);
    let mut load = Load::new(Options { source, patience, ..Options::default() }).unwrap();
    load.connect(server, "/socket/websocket?vsn=2.0.0", count).unwrap().clean().unwrap();
    load.join(|client| format!("room:{}", client % 1_000), "{}", "{}").unwrap().clean().unwrap();
    actor::say("joined");
    while actor::hear() == "speak" {
        let push = Push { event: "said", payload: r#"{"a":1}"# };
        let report = load.push_in_turn(push, push.payload, 1, Duration::ZERO).unwrap();
        assert_eq!(report.clean().unwrap().received, count as u64);
        actor::say("answered");
    }
    true
}

const CROWD: &str = "crowd ";
