//! Pushes, each answered by a reply.

use std::io;
use std::time::{Duration, Instant};

use super::Scenario;
use crate::load::cast::Cast;
use crate::load::pace::Pace;
use crate::load::run::Run;
use crate::load::script::Script;
use crate::load::{Error, Load, Push, Report, message};

impl Load {
    /// Every client pushes `at_once` times in one write, waits for all the replies, and pushes
    /// again, for as long as `length`. Each must be answered with `response` (JSON).
    ///
    /// The server sets the pace. The latencies reach from a write to the last reply to it.
    ///
    /// # Errors
    ///
    /// The kernel's; what the server does wrong is in the report.
    pub fn push_in_turn(
        &mut self,
        push: Push<'_>,
        response: &str,
        at_once: u32,
        length: Duration,
    ) -> Result<Report, Error> {
        let scripts = self.pushes(push, response, at_once);
        let (mut run, mut cast) = self.begin(scripts);
        let end = run.started() + length;
        for client in 0..cast.len() {
            cast.ask(&mut run, client);
        }
        Ok(run.drive(InTurn { cast, end })?)
    }

    /// The clients take turns to push, `at_once` times in one write, so that there are `rate`
    /// pushes a second in all, for as long as `length`, whether or not the replies to earlier ones
    /// have come. Each must be answered with `response` (JSON).
    ///
    /// The latencies reach from the instant a push was due, not from when it was sent, to its
    /// reply: if the server holds its client up, that counts against the server.
    ///
    /// # Errors
    ///
    /// The kernel's; what the server does wrong is in the report, and so is what this client did
    /// not manage to send in time ([`Report::behind`]).
    pub fn push_at_rate(
        &mut self,
        push: Push<'_>,
        response: &str,
        at_once: u32,
        rate: f64,
        length: Duration,
    ) -> Result<Report, Error> {
        let scripts = self.pushes(push, response, at_once);
        let (run, cast) = self.begin(scripts);
        let length = if cast.is_empty() { Duration::ZERO } else { length };
        let pace = Pace::new(run.started(), rate / f64::from(at_once), length);
        Ok(run.drive(AtRate { cast, at_once: u64::from(at_once), pace })?)
    }

    fn pushes(&self, push: Push<'_>, response: &str, at_once: u32) -> Vec<Script> {
        let Push { event, payload } = push;
        self.scripts(
            at_once,
            |topic| message::push(topic, event, payload),
            |topic| message::reply(topic, response),
        )
    }
}

/// Each client by itself.
struct InTurn<'a> {
    cast: Cast<'a>,
    /// Nobody pushes again from then on.
    end: Instant,
}

impl Scenario for InTurn<'_> {
    fn handle_ready(&mut self, run: &mut Run<'_>, client: usize) -> io::Result<()> {
        let answered = self.cast.receive_last(run, client);
        if answered.is_some_and(|now| now < self.end) && self.cast[client].is_open() {
            self.cast.ask(run, client);
        }
        Ok(())
    }
}

/// One client after the other.
struct AtRate<'a> {
    cast: Cast<'a>,
    at_once: u64,
    /// Of the writes.
    pace: Pace,
}

impl Scenario for AtRate<'_> {
    fn send_due(&mut self, run: &mut Run<'_>) -> io::Result<Duration> {
        let clients = self.cast.len() as u64;
        for (write, _) in self.pace.take_some() {
            self.cast.ask(run, (write % clients) as usize);
        }
        run.report.behind = self.pace.behind;
        Ok(self.pace.pause(run.patience))
    }

    fn handle_ready(&mut self, run: &mut Run<'_>, client: usize) -> io::Result<()> {
        let before = self.cast[client].answered;
        self.cast.receive(run, client);
        let now = Instant::now();
        for reply in before..self.cast[client].answered {
            // The replies to a client come in order, so it is known which write each is to.
            let write = reply / self.at_once * self.cast.len() as u64 + client as u64;
            run.report.record(now - self.pace.due_at(write));
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.pace.is_over()
    }
}

#[cfg(test)]
mod tests {
    use crate::load::test_server::{LENGTH, PING, joined, phoenix, server};

    #[test]
    fn every_push_in_turn_is_answered() {
        let mut load = joined(server(phoenix), 7);
        for at_once in [1, 10] {
            let report = load.push_in_turn(PING, PING.payload, at_once, LENGTH).unwrap();
            let report = report.clean().unwrap();
            assert_eq!(report.sent, report.received);
            assert_eq!(report.received, report.latency.len() * u64::from(at_once));
            assert!(report.received >= 7 * u64::from(at_once), "each client pushed at least once");
        }
    }

    #[test]
    fn a_fixed_rate_sends_what_was_planned() {
        let mut load = joined(server(phoenix), 3);
        let report = load.push_at_rate(PING, PING.payload, 2, 2_000.0, LENGTH).unwrap();
        let report = report.clean().unwrap();
        assert_eq!((report.sent, report.received, report.latency.len()), (40, 40, 40));
    }
}
