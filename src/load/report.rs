//! What a load says of itself when it is over.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::Error;

/// What was asked of the server, what came of it, and what it took.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was sent: connections begun, joins, pushes.
    pub sent: u64,
    /// What came back as it should: connections open, replies, broadcasts delivered.
    pub received: u64,
    /// From the first send to the last receipt.
    pub elapsed: Duration,
    /// CPU time of the load's own thread in `elapsed`.
    pub cpu: Duration,
    /// How much later than planned the last push of a load at a fixed rate went out; zero for other
    /// loads. A client that cannot keep its rate up shows it here.
    pub behind: Duration,
    /// Nanoseconds; the methods say from when to when.
    pub latency: Histogram<u64>,
    /// What went wrong.
    pub errors: Errors,
}

impl Report {
    pub(super) fn new() -> Self {
        Self {
            sent: 0,
            received: 0,
            elapsed: Duration::ZERO,
            cpu: Duration::ZERO,
            behind: Duration::ZERO,
            latency: Histogram::new_with_bounds(1, HIGHEST_LATENCY, 3).expect("valid bounds"),
            errors: Errors::default(),
        }
    }

    /// The report, if nothing went wrong.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] with the counts, if anything did.
    pub fn clean(self) -> Result<Self, Error> {
        if self.errors.count() == 0 { Ok(self) } else { Err(Error::Failed(self.errors)) }
    }

    /// Receipts per second.
    pub fn rate(&self) -> f64 {
        self.received as f64 / self.elapsed.as_secs_f64()
    }

    /// The share of the time in which the load's own thread was running, from 0 to 1.
    pub fn busy(&self) -> f64 {
        self.cpu.as_secs_f64() / self.elapsed.as_secs_f64()
    }

    #[inline]
    pub(super) fn record(&mut self, latency: Duration) {
        self.latency.saturating_record(latency.as_nanos() as u64);
    }
}

/// How often something went wrong, by what it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Errors {
    /// Connections refused, or not upgraded to a WebSocket.
    pub refused: u64,
    /// Connections the server ended, or that broke.
    pub closed: u64,
    /// Frames that were not what the server should have said.
    pub unexpected: u64,
    /// Sends that a full socket did not take whole. Its connection is given up: half a frame cannot
    /// be taken back.
    pub unsent: u64,
    /// What was still owed when patience ended.
    pub unanswered: u64,
    /// The first of them, in words.
    pub first: Option<String>,
}

impl Errors {
    /// All of them.
    pub fn count(&self) -> u64 {
        self.refused + self.closed + self.unexpected + self.unsent + self.unanswered
    }

    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        if self.first.is_none() {
            self.first = Some(what());
        }
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { refused, closed, unexpected, unsent, unanswered, first } = self;
        write!(
            f,
            "{refused} refused, {closed} closed, {unexpected} unexpected, {unsent} unsent, \
             {unanswered} unanswered"
        )?;
        match first {
            Some(first) => write!(f, "; the first: {first}"),
            None => Ok(()),
        }
    }
}

/// A minute, in nanoseconds: beyond every patience.
const HIGHEST_LATENCY: u64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_clean_until_anything_at_all_goes_wrong() {
        assert!(Report::new().clean().is_ok());
        let mishaps: [fn(&mut Errors) -> &mut u64; 5] = [
            |errors| &mut errors.refused,
            |errors| &mut errors.closed,
            |errors| &mut errors.unexpected,
            |errors| &mut errors.unsent,
            |errors| &mut errors.unanswered,
        ];
        for mishap in mishaps {
            let mut report = Report::new();
            *mishap(&mut report.errors) = 1;
            let Err(Error::Failed(errors)) = report.clone().clean() else { panic!("clean") };
            assert_eq!(errors, report.errors);
        }
    }

    #[test]
    fn the_first_error_is_told_with_how_many_there_were() {
        let mut errors = Errors { closed: 2, unanswered: 7, ..Errors::default() };
        let counts = "0 refused, 2 closed, 0 unexpected, 0 unsent, 7 unanswered";
        assert_eq!(errors.to_string(), counts);
        errors.note(|| "a mishap".into());
        errors.note(|| "another".into());
        assert_eq!(errors.to_string(), format!("{counts}; the first: a mishap"));
    }

    #[test]
    fn rates_are_by_the_time_that_passed() {
        let elapsed = Duration::from_secs(4);
        let report = Report { received: 8, elapsed, cpu: elapsed / 2, ..Report::new() };
        assert_eq!((report.rate(), report.busy()), (2.0, 0.5));
    }
}
