//! The cast of a run: its clients, each with the script of its topic.

use std::ops::Index;
use std::time::Instant;

use super::client::Client;
use super::run::Run;
use super::script::Script;

/// Clients that say what their scripts say, and that wait for the frames they are owed for it.
///
/// Invariant: the run is owed what they are owed, all together.
pub(super) struct Cast<'a> {
    clients: &'a mut [Client],
    /// One for each topic.
    scripts: Vec<Script>,
}

impl<'a> Cast<'a> {
    /// Nobody is owed anything yet.
    pub(super) fn new(clients: &'a mut [Client], scripts: Vec<Script>) -> Self {
        for client in &mut *clients {
            client.owed = 0;
            client.answered = 0;
        }
        Self { clients, scripts }
    }

    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// The client says what its script says and is owed what that brings. `false` if its connection
    /// is over, which counts as no answer.
    #[inline]
    pub(super) fn ask(&mut self, run: &mut Run<'_>, client: usize) -> bool {
        let client = &mut self.clients[client];
        let script = &self.scripts[client.topic as usize];
        client.asked = Instant::now();
        run.ask(script.frames, client.asked);
        let sent = client.is_open() && client.send(&script.sent, &mut run.report.errors);
        if sent {
            client.owed += script.frames;
            run.expect(script.frames);
        } else {
            run.report.errors.unanswered += u64::from(script.frames);
            forget(run, client);
        }
        sent
    }

    /// The client is owed what its script brings, although it is another who said it, at this
    /// instant. If its connection is over that counts as not heard.
    pub(super) fn await_broadcast(&mut self, run: &mut Run<'_>, client: usize, asked: Instant) {
        let client = &mut self.clients[client];
        let Script { frames, .. } = self.scripts[client.topic as usize];
        if client.is_open() {
            client.asked = asked;
            client.owed += frames;
            run.expect(frames);
        } else {
            run.report.errors.unanswered += u64::from(frames);
        }
    }

    /// Reads once and says how many of the frames that the client is owed have come.
    #[inline]
    pub(super) fn receive(&mut self, run: &mut Run<'_>, client: usize) -> u32 {
        let client = &mut self.clients[client];
        let expected = &mut self.scripts[client.topic as usize].expected;
        let errors = &mut run.report.errors;
        let frames = client.receive(&mut run.buffer, expected, errors);
        let owed = frames.min(client.owed);
        if owed < frames {
            errors.unexpected += u64::from(frames - owed);
            errors.note(|| "a message came more often than it should".into());
        }
        client.owed -= owed;
        client.answered += u64::from(owed);
        run.settle(owed);
        if !client.is_open() {
            forget(run, client);
        }
        owed
    }

    /// Reads once. When with that all has come that the client is owed, records how long it took
    /// since it was asked for, and says when that was.
    #[inline]
    pub(super) fn receive_last(&mut self, run: &mut Run<'_>, client: usize) -> Option<Instant> {
        let owed = self.clients[client].owed;
        let came = self.receive(run, client);
        if came == 0 || came < owed {
            return None;
        }
        let now = Instant::now();
        run.report.record(now - self.clients[client].asked);
        Some(now)
    }
}

impl Index<usize> for Cast<'_> {
    type Output = Client;

    fn index(&self, client: usize) -> &Client {
        &self.clients[client]
    }
}

/// Waits no longer for what a client is owed whose connection is over.
fn forget(run: &mut Run<'_>, client: &mut Client) {
    run.report.errors.unanswered += u64::from(client.owed);
    run.write_off(client.owed);
    client.owed = 0;
}

#[cfg(test)]
mod tests {
    use super::super::test_server::{LENGTH, PING, answers_to, joined, phoenix, server};
    use super::super::{Error, text};

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
    fn frames_nobody_asked_for_are_counted() {
        let server = server(|said| {
            let raving = said.contains("ping").then(|| (text("?").repeat(300), Vec::new()));
            raving.or_else(|| phoenix(said))
        });
        let mut load = joined(server, 1);
        let report = load.push_in_turn(PING, PING.payload, 1, LENGTH).unwrap();
        assert_eq!((report.errors.unexpected, report.errors.unanswered), (300, 1));
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
}
