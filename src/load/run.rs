//! A run: one scenario, from its first send to its last receipt.
//!
//! ```text
//!  ┌─▶ send_due ─▶ over? ─▶ wait ─▶ handle_ready, of each who is ready ─▶ still patient? ─┐
//!  └──────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! It ends when the scenario has no more to send and nothing is owed, or when nothing comes of what
//! is owed.

use std::io;
use std::time::{Duration, Instant};

use super::poller::Poller;
use super::scenarios::Scenario;
use super::stopwatch::Stopwatch;
use super::{Options, Report};

/// What a scenario has of its run: where it waits, what it reads into, what it counts.
pub(super) struct Run<'a> {
    pub(super) poller: &'a Poller,
    /// Every read goes here: between two of them a connection keeps nothing but a header.
    pub(super) buffer: Box<[u8]>,
    /// How long the server may owe something without anything owed coming.
    pub(super) patience: Duration,
    pub(super) report: Report,
    stopwatch: Stopwatch,
    /// How much is still to come: frames, or connections that are to open, or to end.
    owed: u64,
    /// When something was last asked for, or something owed last came.
    progress: Instant,
}

impl<'a> Run<'a> {
    pub(super) fn begin(poller: &'a Poller, options: &Options) -> Self {
        let stopwatch = Stopwatch::start();
        Self {
            poller,
            buffer: vec![0; READ_BUFFER].into(),
            patience: options.patience,
            report: Report::new(),
            progress: stopwatch.started,
            stopwatch,
            owed: 0,
        }
    }

    pub(super) fn started(&self) -> Instant {
        self.stopwatch.started
    }

    /// Drives the scenario until it is over, or until patience ends: what is still owed is counted
    /// then.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub(super) fn drive(mut self, mut scenario: impl Scenario) -> io::Result<Report> {
        let mut ready = Vec::new();
        loop {
            let pause = scenario.send_due(&mut self)?;
            if self.owed == 0 && scenario.is_over() {
                break;
            }
            let received = self.report.received;
            self.poller.wait(&mut ready, pause)?;
            for event in &ready {
                scenario.handle_ready(&mut self, event.data.u64() as usize)?;
            }
            if self.is_stuck(received) {
                break;
            }
        }
        self.stopwatch.stop(&mut self.report);
        Ok(self.report)
    }

    /// Counts what the scenario asks for at this instant.
    pub(super) fn ask(&mut self, count: u32, now: Instant) {
        self.report.sent += u64::from(count);
        self.progress = now;
    }

    /// Waits for so much more.
    pub(super) fn expect(&mut self, count: u32) {
        self.owed += u64::from(count);
    }

    /// So much of what was owed has come.
    pub(super) fn settle(&mut self, count: u32) {
        self.owed -= u64::from(count);
        self.report.received += u64::from(count);
    }

    /// So much of what was owed will not come. The errors say why: to count that is the caller's.
    pub(super) fn write_off(&mut self, count: u32) {
        self.owed -= u64::from(count);
    }

    /// How much is still to come.
    pub(super) fn owed(&self) -> u64 {
        self.owed
    }

    /// Whether patience has ended without anything owed having come, since `received` before the
    /// last wait. A server that says the wrong thing for ever is as silent as one that says
    /// nothing.
    fn is_stuck(&mut self, received: u64) -> bool {
        let now = Instant::now();
        if self.report.received > received {
            self.progress = now;
        }
        let is_stuck = self.owed > 0 && now - self.progress >= self.patience;
        if is_stuck {
            self.report.errors.unanswered += self.owed;
            self.report.errors.note(|| "nothing that was owed came any more".into());
        }
        is_stuck
    }
}

/// Room for hundreds of small frames a read.
const READ_BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::super::poller::Interest;
    use super::super::test_server::{Answers, LENGTH, PING, joined, phoenix, server};
    use super::*;

    /// Asks so often for one thing, and does this when something is ready.
    struct Toy {
        asks: u32,
        when_ready: fn(&mut Run<'_>, usize),
    }

    impl Scenario for Toy {
        fn send_due(&mut self, run: &mut Run<'_>) -> io::Result<Duration> {
            if self.is_over() {
                return Ok(run.patience);
            }
            self.asks -= 1;
            run.ask(1, Instant::now());
            run.expect(1);
            Ok(Duration::ZERO)
        }

        fn handle_ready(&mut self, run: &mut Run<'_>, number: usize) -> io::Result<()> {
            (self.when_ready)(run, number);
            Ok(())
        }

        fn is_over(&self) -> bool {
            self.asks == 0
        }
    }

    /// What comes of it where something is ready all the time, if anything is, under number 7.
    fn drive(toy: Toy, is_ready: bool) -> Report {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let near = listener.accept().unwrap().0.into();
        let poller = Poller::new().unwrap();
        poller.add(&near, 7, Interest::IN).unwrap();
        if is_ready {
            far.write_all(b"hello").unwrap();
        }
        let options = Options { patience: Duration::from_millis(50), ..Options::default() };
        Run::begin(&poller, &options).drive(toy).unwrap()
    }

    #[test]
    fn nothing_to_do_is_over_at_once() {
        let report = drive(Toy { asks: 0, when_ready: |_, _| unreachable!() }, true);
        assert_eq!((report.sent, report.received, report.errors.count()), (0, 0, 0));
    }

    #[test]
    fn a_run_ends_when_all_that_was_asked_for_has_come() {
        let settle = |run: &mut Run<'_>, number| {
            assert_eq!(number, 7);
            run.settle(1);
        };
        let report = drive(Toy { asks: 3, when_ready: settle }, true);
        assert_eq!((report.sent, report.received, report.errors.count()), (3, 3, 0));
        assert!(report.elapsed < Duration::from_secs(5));
    }

    #[test]
    fn what_is_written_off_is_waited_for_no_longer() {
        let report = drive(Toy { asks: 3, when_ready: |run, _| run.write_off(1) }, true);
        assert_eq!((report.sent, report.received, report.errors.count()), (3, 0, 0));
    }

    #[test]
    fn silence_is_heard_for_as_long_as_patience_lasts() {
        let report = drive(Toy { asks: 1, when_ready: |_, _| unreachable!() }, false);
        assert_eq!((report.received, report.errors.unanswered), (0, 1));
        assert!(report.elapsed >= Duration::from_millis(50), "{:?}", report.elapsed);
    }

    #[test]
    fn what_is_not_owed_is_no_better_than_silence() {
        let report = drive(Toy { asks: 1, when_ready: |_, _| () }, true);
        assert_eq!((report.received, report.errors.unanswered), (0, 1));
        assert!(report.elapsed >= Duration::from_millis(50), "{:?}", report.elapsed);
    }

    #[test]
    fn a_server_that_says_nothing_does_not_hold_the_load() {
        let silent: Answers =
            |said| if said.contains("ping") { Some(Default::default()) } else { phoenix(said) };
        let mut load = joined(server(silent), 2);
        let report = load.push_in_turn(PING, PING.payload, 5, LENGTH).unwrap();
        assert_eq!((report.sent, report.received, report.errors.unanswered), (10, 0, 10));
    }
}
