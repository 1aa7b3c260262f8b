//! What a load can do: one file a scenario.
//!
//! Each is a method of `Load`, and behind it a [`Scenario`] that a [`Run`] drives to its end. Where
//! there are two of a kind, in one of them who has been answered sends again, so that the server
//! sets the pace; the other sends at a fixed rate, whatever the server does.

use std::io;
use std::time::Duration;

use super::run::Run;

mod connections;
mod joins;

mod pushes;

mod broadcasts;
mod listeners;

mod visits;

pub use visits::Visit;

/// When clients send, and what they make of what comes.
///
/// Whoever sends tells the run what was asked for and what is owed for it, and whoever reads tells
/// it what has come of that. For clients that follow scripts the `Cast` does both.
pub(super) trait Scenario {
    /// Sends what is due before the next wait, and says how long that may be: until more is due, or
    /// as long as patience lasts.
    ///
    /// # Errors
    ///
    /// The kernel refused something that is no client's fault.
    fn send_due(&mut self, run: &mut Run<'_>) -> io::Result<Duration> {
        Ok(run.patience)
    }

    /// Something has come for the connection that the poller has under this number, or it can be
    /// written to.
    ///
    /// # Errors
    ///
    /// As for [`send_due`](Self::send_due).
    fn handle_ready(&mut self, run: &mut Run<'_>, number: usize) -> io::Result<()>;

    /// Whether `send_due` has no more to send unless something comes. When nothing is owed either,
    /// the run is over.
    fn is_over(&self) -> bool {
        true
    }
}
