//! One load, from its first send to its last receipt.

use std::time::{Duration, Instant};

use super::Report;
use super::client::Client;
use super::script::Script;
use super::stopwatch::Stopwatch;

/// One load, from its first send to its last receipt.
pub(super) struct Run {
    pub(super) report: Report,
    pub(super) stopwatch: Stopwatch,
    /// The frames all clients are owed.
    pub(super) owed: u64,
    /// When something was last asked for, or something owed last came.
    progress: Instant,
}

impl Run {
    pub(super) fn begin(clients: &mut [Client]) -> Self {
        for client in clients {
            client.owed = 0;
            client.answered = 0;
        }
        let stopwatch = Stopwatch::start();
        Self { report: Report::new(), progress: stopwatch.started, stopwatch, owed: 0 }
    }

    /// Sends what the client's script says, for which `frames` frames should come back. A client
    /// whose connection is over counts as one that got no answer.
    pub(super) fn ask(&mut self, client: &mut Client, scripts: &[Script], frames: u32) -> bool {
        self.report.sent += u64::from(frames);
        client.asked = Instant::now();
        self.progress = client.asked;
        let sent = client.is_open()
            && client.send(&scripts[client.topic as usize].sent, &mut self.report.errors);
        if sent {
            client.owed += frames;
            self.owed += u64::from(frames);
        } else {
            self.report.errors.unanswered += u64::from(frames);
            self.forget(client);
        }
        sent
    }

    /// Expects `frames` broadcasts at a client that has not asked for them itself.
    pub(super) fn await_broadcast(&mut self, client: &mut Client, frames: u32, asked: Instant) {
        if client.is_open() {
            client.asked = asked;
            client.owed += frames;
            self.owed += u64::from(frames);
        } else {
            self.report.errors.unanswered += u64::from(frames);
        }
    }

    pub(super) fn receive(
        &mut self,
        client: &mut Client,
        scripts: &mut [Script],
        buffer: &mut [u8],
    ) {
        let expected = &mut scripts[client.topic as usize].expected;
        let frames = client.receive(buffer, expected, &mut self.report.errors);
        let owed = frames.min(client.owed);
        if owed < frames {
            self.report.errors.unexpected += u64::from(frames - owed);
            self.report.errors.note(|| "a message came more often than it should".into());
        }
        client.owed -= owed;
        self.owed -= u64::from(owed);
        self.report.received += u64::from(owed);
        if !client.is_open() {
            self.forget(client);
        }
    }

    /// Waits no longer for what a connection that is over owes.
    fn forget(&mut self, client: &mut Client) {
        self.report.errors.unanswered += u64::from(client.owed);
        self.owed -= u64::from(client.owed);
        client.owed = 0;
    }

    /// Whether patience has ended without anything owed having come, since `received` before the
    /// last wait. A server that says the wrong thing for ever is as silent as one that says
    /// nothing.
    ///
    /// What is still owed is counted then.
    pub(super) fn is_stuck(&mut self, received: u64, patience: Duration) -> bool {
        let now = Instant::now();
        if self.report.received > received {
            self.progress = now;
        }
        let stuck = self.owed > 0 && now - self.progress >= patience;
        if stuck {
            self.report.errors.unanswered += self.owed;
            self.report.errors.note(|| "nothing that was owed came any more".into());
        }
        stuck
    }

    pub(super) fn end(mut self) -> Report {
        self.stopwatch.stop(&mut self.report);
        self.report
    }
}
