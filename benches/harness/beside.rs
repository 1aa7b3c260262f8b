//! How long a few wait who speak at a fixed rate, alone and beside others.

use std::time::Duration;

use super::MAX_CLIENT_BUSY;
use super::crowd::Spoken;
use super::table::Figures;

pub(crate) struct Round {
    pub(crate) alone: Spoken,
    pub(crate) beside: Spoken,
    /// Time beside the others.
    pub(crate) elapsed: Duration,
    /// What the others did each second of it.
    pub(crate) per_second: f64,
    /// The share of it in which the clients' core was not idle.
    pub(crate) client_core: f64,
}

impl Round {
    /// Says nothing about the server.
    pub(crate) fn is_void(&self) -> bool {
        self.beside.behind > self.elapsed / 100 || self.client_core > MAX_CLIENT_BUSY
    }
}

/// The columns of [`print`] behind the name's.
pub(crate) fn columns(per_second: &str) -> String {
    format!(
        "alone: p50 ms | p99 ms | beside: p50 ms | p99 ms | from – to | longest ms | \
         {per_second} | client core busy | counted | void |"
    )
}

/// A row of the table.
pub(crate) fn print(name: &str, rounds: Vec<Round>) {
    let (void, counted): (Vec<_>, Vec<_>) = rounds.into_iter().partition(Round::is_void);
    let counts = format!("{} | {}", counted.len(), void.len());
    let (mark, rounds) = if counted.is_empty() { ("(void) ", void) } else { ("", counted) };
    let figures = |figure: &dyn Fn(&Round) -> f64| Figures::new(rounds.iter().map(figure));
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let p99 = figures(&|round| millis(round.beside.p99));
    println!(
        "| {mark}{name} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {:.2} | {:.1} | {:.0} % | {counts} |",
        figures(&|round| millis(round.alone.p50)).median(),
        figures(&|round| millis(round.alone.p99)).median(),
        figures(&|round| millis(round.beside.p50)).median(),
        p99.median(),
        p99.range(2),
        figures(&|round| millis(round.beside.longest)).median(),
        figures(&|round| round.per_second).median(),
        figures(&|round| 100.0 * round.client_core).median(),
    );
}
