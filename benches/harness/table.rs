//! The result, as a table that can be pasted into a page.

use std::fs;

use super::subject::Subject;
use super::{Outcome, Round, Spent, micros};

/// Prints the machine and the command.
pub(crate) fn announce(bench: &str) {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    println!("{}", machine());
    println!();
    println!("    cargo bench --bench {bench} --features testing -- {}", arguments.join(" "));
    println!();
}

/// Prints the head of a table.
pub(crate) fn head(columns: &str) {
    println!("{columns}");
    println!("{}|", "|---".repeat(columns.matches('|').count() - 1));
}

/// Prints rows as their cases are measured.
#[derive(Default)]
pub(crate) struct Table {
    has_head: bool,
}

impl Table {
    /// Prints a row for each server.
    pub(crate) fn print(&mut self, case: &str, subjects: &[Subject], outcome: &Outcome) {
        if !self.has_head {
            self.has_head = true;
            head(
                "| what | server | µs CPU | user | system | from – to | ratio | from – to | \
                 server busy | client busy | per second | p50 µs | p99 µs | counted | void |",
            );
        }
        let Outcome { counted, void } = outcome;
        let counts = format!("{} | {}", counted.len(), void.len());
        // What the void ones say is shown, and called what it is, rather than nothing.
        let (case, sets) = if counted.is_empty() {
            (format!("(void) {case}"), void)
        } else {
            (case.to_owned(), counted)
        };
        for (place, subject) in subjects.iter().enumerate() {
            let rounds: Vec<&Round> = sets.iter().map(|set| &set[place]).collect();
            let ratios = Figures::new(sets.iter().map(|set| set[place].cost() / set[0].cost()));
            let ratio = match place {
                0 => " | ".to_owned(),
                _ => format!("{:.3} | {}", ratios.median(), ratios.range(3)),
            };
            // A server held against itself shows what the machine makes of nothing.
            let again = if subjects[..place].contains(subject) { " again" } else { "" };
            println!(
                "| {case} | {}{again} | {} | {ratio} | {} | {counts} |",
                subject.name(),
                cost(&rounds),
                pace(&rounds)
            );
        }
    }
}

/// CPU a message: median, its parts, and the lowest and highest round.
fn cost(rounds: &[&Round]) -> String {
    let costs = Figures::new(rounds.iter().map(|round| round.cost()));
    // The parts are sampled, so all rounds are taken together before they are told apart.
    let sum = |part: fn(&Spent) -> f64| rounds.iter().map(|round| part(&round.spent)).sum::<f64>();
    let (user, system) = (sum(|spent| micros(spent.user)), sum(|spent| micros(spent.system)));
    let user = costs.median() * user / (user + system).max(1.0);
    let system = costs.median() - user;
    format!("{:.3} | {user:.2} | {system:.2} | {}", costs.median(), costs.range(3))
}

/// How busy both sides were, and how fast it went: medians.
fn pace(rounds: &[&Round]) -> String {
    let median =
        |figure: fn(&Round) -> f64| Figures::new(rounds.iter().map(|r| figure(r))).median();
    let latency = |quantile: f64| {
        let figures = rounds.iter().map(|r| r.report.latency.value_at_quantile(quantile) as f64);
        Figures::new(figures).median() / 1e3
    };
    format!(
        "{:.0} % | {:.0} % | {:.0} | {:.0} | {:.0}",
        100.0 * median(Round::server_busy),
        100.0 * median(|round| round.report.busy()),
        median(|round| round.report.rate()),
        latency(0.5),
        latency(0.99),
    )
}

/// A few figures, in order.
pub(crate) struct Figures(Vec<f64>);

impl Figures {
    pub(crate) fn new(figures: impl Iterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.collect();
        assert!(!figures.is_empty(), "a median of nothing was asked for");
        figures.sort_by(f64::total_cmp);
        Self(figures)
    }

    pub(crate) fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len() % 2 == 1 {
            self.0[middle]
        } else {
            f64::midpoint(self.0[middle - 1], self.0[middle])
        }
    }

    pub(crate) fn range(&self, digits: usize) -> String {
        format!("{:.digits$} – {:.digits$}", self.0[0], self.0[self.0.len() - 1])
    }
}

/// Processor, cores and kernel.
fn machine() -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |model| model.trim_start_matches(['\t', ' ', ':']));
    let cores = processors.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}
