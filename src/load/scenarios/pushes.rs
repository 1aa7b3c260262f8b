//! Pushes, each answered by a reply.

use std::time::{Duration, Instant};

use crate::load::client::Client;
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
        let mut scripts = self.pushes(push, response, at_once);
        let mut run = Run::begin(&mut self.clients);
        let end = Instant::now() + length;
        for client in &mut self.clients {
            run.ask(client, &scripts, at_once);
        }
        while run.owed > 0 {
            let again = |run: &mut Run, client: &mut Client, scripts: &[Script]| {
                if client.owed == 0 && client.is_open() && Instant::now() < end {
                    run.ask(client, scripts, at_once);
                }
            };
            if !self.take_replies(&mut run, &mut scripts, again)? {
                break;
            }
        }
        Ok(run.end())
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
        let mut scripts = self.pushes(push, response, at_once);
        let mut run = Run::begin(&mut self.clients);
        let count = self.clients.len() as u64;
        let length = if count == 0 { Duration::ZERO } else { length };
        let mut pace = Pace::new(run.stopwatch.started, rate / f64::from(at_once), length);
        while !pace.is_over() || run.owed > 0 {
            // Never many at a time, so that replies don't wait behind a backlog of pushes.
            for (write, _) in std::iter::from_fn(|| pace.take()).take(WRITES_BETWEEN_READS) {
                run.ask(&mut self.clients[(write % count) as usize], &scripts, at_once);
            }
            run.report.behind = pace.behind;
            let timeout = pace.pause(self.options.patience);
            let received = run.report.received;
            let events = self.wait(Some(timeout))?;
            for event in &events {
                let index = event.data.u64();
                let client = &mut self.clients[index as usize];
                let answered = client.answered;
                run.receive(client, &mut scripts, &mut self.buffer);
                let now = Instant::now();
                for reply in answered..client.answered {
                    // The replies to a client come in order, so it is known which write each is to.
                    let write = reply / u64::from(at_once) * count + index;
                    run.report.record(now.saturating_duration_since(pace.due_at(write)));
                }
            }
            self.events = events;
            if run.is_stuck(received, self.options.patience) {
                break;
            }
        }
        Ok(run.end())
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

/// At a fixed rate.
pub(super) const WRITES_BETWEEN_READS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::test_server::{LENGTH, PING, answers_to, joined, phoenix, server};
    use crate::load::text;

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

    #[test]
    fn an_answer_of_another_kind_is_an_error() {
        let server = server(|said| {
            let (to_sender, _) = answers_to(said);
            let answer = to_sender?;
            let wrong = if said.contains("ping") { answer.replace("ok", "error") } else { answer };
            Some((text(&wrong), Vec::new()))
        });
        let mut load = joined(server, 2);
        let report = load.push_in_turn(PING, PING.payload, 1, LENGTH).unwrap();
        assert_eq!((report.received, report.errors.unexpected), (0, 2));
        assert_eq!(report.errors.unanswered, 2);
        let Err(Error::Failed(errors)) = report.clean() else { panic!("not clean") };
        assert!(errors.first.unwrap().contains(r#""status":"error""#));
    }

    #[test]
    fn an_answer_that_comes_twice_is_an_error() {
        let server = server(|said| {
            let answer = text(&answers_to(said).0?);
            let times = if said.contains("ping") { 2 } else { 1 };
            Some((answer.repeat(times), Vec::new()))
        });
        let mut load = joined(server, 2);
        let report = load.push_in_turn(PING, PING.payload, 1, LENGTH).unwrap();
        assert!(report.errors.unexpected > 0, "{}", report.errors);
    }

    #[test]
    fn a_server_that_hangs_up_is_counted() {
        let mut load = joined(server(|said| phoenix(said).filter(|_| !said.contains("ping"))), 3);
        let report = load.push_in_turn(PING, PING.payload, 1, LENGTH).unwrap();
        assert_eq!((report.received, report.errors.closed, report.errors.unanswered), (0, 3, 3));
        // It goes on, and counts, when nobody is left.
        let report = load.push_at_rate(PING, PING.payload, 1, 1_000.0, LENGTH).unwrap();
        assert_eq!((report.received, report.errors.unanswered), (0, 20));
        let report = load.broadcast(PING, 1, LENGTH).unwrap();
        assert_eq!((report.received, report.errors.unanswered), (0, 1));
    }

    #[test]
    fn a_server_that_says_nothing_does_not_hold_the_load() {
        let server =
            server(
                |said| if said.contains("ping") { Some(Default::default()) } else { phoenix(said) },
            );
        let mut load = joined(server, 2);
        let report = load.push_in_turn(PING, PING.payload, 5, LENGTH).unwrap();
        assert_eq!((report.sent, report.received, report.errors.unanswered), (10, 0, 10));
    }

    #[test]
    fn frames_nobody_asked_for_are_counted() {
        let server = server(|said| {
            let raving = said.contains("ping").then(|| (text("?").repeat(300), Vec::new()));
            raving.or_else(|| phoenix(said))
        });
        let mut load = joined(server, 1);
        let report = load.push_in_turn(PING, PING.payload, 1, LENGTH).unwrap();
        assert_eq!((report.errors.unexpected, report.errors.unanswered), (300, 1));
    }
}
