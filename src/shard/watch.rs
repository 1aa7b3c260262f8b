//! The watch: a thread that sees when a shard is held up.
//!
//! A callback that computes for long, or waits without `await`, holds up every client of its shard,
//! and nobody on the shard can say so meanwhile. So each shard counts its turns and notes what runs,
//! and a thread beside them looks now and then whether the count goes on. A turn that does not end is
//! reported while it lasts, with the callback that runs; when that is over, the shard adds for whom it
//! was.
//!
//! It also keeps the deadlines of those who wait for a shard from elsewhere ([`Deadlines`]), and tells
//! them up to [`INTERVAL`] late.
//!
//! A clock on the wall does not tell a callback that takes long from a machine that has stopped or is
//! short of CPUs. So the watch also asks how much of a CPU the shard's thread has had meanwhile, and
//! whether it waits for something: one that would run and may not is no callback's fault.
//!
//! The shard reads no clock for that. It pays two stores a turn, and two stores and a load a callback.

#![expect(clippy::disallowed_methods, reason = "a thread of its own, with a clock of its own")]

use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tracing::Level;

#[cfg(doc)]
use super::deadlines::Deadlines;
use super::links::{Names, Note, Remote};
use crate::io::gate::{self, Gate};
use crate::io::{ThreadNumber, ThreadState};
use crate::telemetry::rates::{Rates, Subject};

/// The thread. It ends when this is dropped.
pub(crate) struct Watch {
    end: Option<mpsc::Sender<()>>,
    has_ended: crossbeam_channel::Receiver<()>,
}

impl Watch {
    /// Watches these shards, from one of these CPUs. Who is held up stands aside at the gate.
    pub(crate) fn start(
        remotes: Vec<Arc<Remote>>,
        (names, gate): (Arc<Names>, Arc<Gate>),
        cpus: Vec<usize>,
    ) -> io::Result<Self> {
        let (end, ended) = mpsc::channel();
        let (ending, has_ended) = crossbeam_channel::bounded(0);
        thread::Builder::new().name("simurgh-watch".to_owned()).spawn(move || {
            let _ending: crossbeam_channel::Sender<()> = ending;
            crate::io::cpu::allow(&cpus);
            let mut shards: Vec<_> = remotes.iter().map(|_| Seen::default()).collect();
            let (mut rest, mut last) = (INTERVAL, Instant::now());
            while ended.recv_timeout(rest) == Err(mpsc::RecvTimeoutError::Timeout) {
                let now = Instant::now();
                // Whatever kept this thread from looking in time has kept the others from running.
                let lost = (now - last).saturating_sub(rest);
                last = now;
                let due = remotes.iter().filter_map(|remote| remote.deadlines.tell_due(now)).min();
                rest = due.map_or(INTERVAL, |due| INTERVAL.min(due - now));
                for (seen, remote) in shards.iter_mut().zip(&remotes) {
                    watch(seen, remote, &names, now, lost);
                    gate.set(remote.shard, gate::Why::Held, seen.is_held());
                }
            }
            remotes.iter().for_each(|remote| remote.deadlines.end());
        })?;
        Ok(Self { end: Some(end), has_ended })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end = None;
        // Not for ever: whoever takes the log may hold it up.
        let _ = self.has_ended.recv_timeout(PATIENCE_FOR_THE_END);
    }
}

/// Looks at one shard, and tells what is to be told.
fn watch(seen: &mut Seen, remote: &Remote, names: &Names, now: Instant, lost: Duration) {
    let (shard, watched) = (remote.shard, &remote.watched);
    for lines in seen.rates.end_minute(now) {
        tracing::warn!(shard, "{lines}");
    }
    let turns = watched.turns();
    let look = Look { turns, running: watched.running(), now, lost };
    let Some((held, why)) = seen.look(look, &Thread(watched.thread())) else { return };
    let held = format!("{} ms", held.as_millis());
    let mut may_tell = |what| seen.rates.may_tell(now, Level::WARN, what, Subject::Nobody);
    let (how, culprit) = match why {
        Why::Machine => {
            if may_tell(WAITS_FOR_CPU) {
                tracing::info!(shard, waited = held, "{WAITS_FOR_CPU}");
            }
            return;
        }
        Why::Computes(culprit) => ("it computes", culprit),
        Why::Blocks(culprit) => ("it waits without await", culprit),
    };
    watched.report(turns, culprit);
    if may_tell(IS_HELD_UP) {
        let (channel, callback) = culprit.and_then(|note| names.of(note)).unzip();
        let channel = channel.flatten();
        tracing::warn!(shard, held, channel, callback, how, "{IS_HELD_UP}");
    }
}

const IS_HELD_UP: &str = "a shard is held up, and its clients wait";
const WAITS_FOR_CPU: &str = "a shard waits for a CPU: the machine is busy, or has stopped it";

/// What was last seen of a shard.
#[derive(Default)]
struct Seen {
    turns: u64,
    running: Option<Note>,
    /// When that turn was seen first, later by the time in which nobody could run.
    since: Option<Instant>,
    /// How much of a CPU the thread had had by then.
    cpu: Option<Duration>,
    /// How long it is to last before it is reported, or reported again.
    patience: Duration,
    /// Looks at which it would have run and had not, one after the other.
    starved: u32,
    rates: Rates,
}

/// What is to be seen of a shard at a look.
#[derive(Clone, Copy)]
struct Look {
    turns: u64,
    running: Note,
    now: Instant,
    /// How much of the time since the look before nobody can answer for.
    lost: Duration,
}

/// Why a turn does not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Its thread has had a CPU for most of it, or for as long as a turn may last. With what has run since the look before.
    Computes(Option<Note>),
    /// Its thread waits for something.
    Blocks(Option<Note>),
    /// Its thread would run and may not.
    Machine,
}

/// A shard's thread.
trait Sample {
    fn cpu_time(&self) -> Option<Duration>;
    fn state(&self) -> Option<ThreadState>;
}

struct Thread(Option<ThreadNumber>);

impl Sample for Thread {
    fn cpu_time(&self) -> Option<Duration> {
        self.0?.cpu_time()
    }

    fn state(&self) -> Option<ThreadState> {
        self.0?.state()
    }
}

impl Seen {
    /// Whether it has been reported, and lasts.
    fn is_held(&self) -> bool {
        self.patience > PATIENCE
    }

    /// Says how long a turn has lasted and why, when that is to be told: at once, and then each time
    /// when it has become twice as long.
    fn look(&mut self, look: Look, thread: &impl Sample) -> Option<(Duration, Why)> {
        let Look { turns, running, now, lost } = look;
        let is_turn = turns % 2 == 1;
        let before = self.running.replace(running);
        let Some(since) = self.since.filter(|_| turns == self.turns) else {
            (self.turns, self.since, self.patience, self.starved) = (turns, Some(now), PATIENCE, 0);
            self.cpu = if is_turn { thread.cpu_time() } else { None };
            return None;
        };
        let since = (since + lost).min(now);
        self.since = Some(since);
        let held = now - since;
        if !is_turn || held < self.patience {
            return None;
        }
        let culprit = before.filter(|before| *before == running && running.code().is_some());
        let used = thread.cpu_time().zip(self.cpu).map(|(now, then)| now.saturating_sub(then));
        let why = match (used, thread.state()) {
            // On a busy machine it takes long to have that much, and is too much all the same.
            (Some(used), _) if used >= PATIENCE || used * 2 >= held => Why::Computes(culprit),
            (_, Some(ThreadState::Waiting)) => Why::Blocks(culprit),
            // It may have been about to wait again.
            _ if self.starved < LOOKS => {
                self.starved += 1;
                return None;
            }
            _ => Why::Machine,
        };
        (self.patience, self.starved) = (held * 2, 0);
        Some((held, why))
    }
}

/// A turn that lasts longer is reported: by then somebody sees that something is slow.
const PATIENCE: Duration = Duration::from_millis(100);

const INTERVAL: Duration = Duration::from_millis(50);

/// Looks at which a thread without a CPU must not be waiting before it is the machine that is told of.
const LOOKS: u32 = 3;

const PATIENCE_FOR_THE_END: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::shard::links::{Code, Watched};

    /// A thread that has had this much of a CPU, and does that.
    struct Pretended {
        cpu: Cell<Duration>,
        state: ThreadState,
    }

    impl Sample for Pretended {
        fn cpu_time(&self) -> Option<Duration> {
            Some(self.cpu.get())
        }

        fn state(&self) -> Option<ThreadState> {
            Some(self.state)
        }
    }

    fn thread(state: ThreadState) -> Pretended {
        Pretended { cpu: Cell::default(), state }
    }

    /// What is told in so many looks at a turn, of a thread that runs for `share` of the time.
    fn told(thread: &Pretended, share: f64, looks: u32) -> Vec<(u128, Why)> {
        let (mut seen, start) = (Seen::default(), Instant::now());
        let running = Watched::default().begin(Code::HandleIn, 0, 0);
        let mut told = Vec::new();
        for number in 0..looks {
            thread.cpu.set((INTERVAL * number).mul_f64(share));
            let now = start + INTERVAL * number;
            told.extend(seen.look(Look { turns: 7, running, now, lost: Duration::ZERO }, thread));
        }
        told.into_iter().map(|(held, why)| (held.as_millis(), why)).collect()
    }

    #[test]
    fn a_turn_that_lasts_is_told_and_told_again_when_it_has_lasted_twice_as_long() {
        let running = Watched::default().begin(Code::HandleIn, 0, 0);
        let computes = Why::Computes(Some(running));
        let expected = [100, 200, 400, 800].map(|held| (held, computes));
        assert_eq!(told(&thread(ThreadState::Running), 0.9, 20), expected);
        let blocks = Why::Blocks(Some(running));
        let expected = [100, 200, 400, 800].map(|held| (held, blocks));
        assert_eq!(told(&thread(ThreadState::Waiting), 0.01, 20), expected);
    }

    #[test]
    fn a_thread_that_would_run_and_may_not_is_the_machines_affair() {
        for state in [ThreadState::Running, ThreadState::Stopped] {
            let told = told(&thread(state), 0.02, 20);
            assert_eq!(told[0], (250, Why::Machine));
            assert!(told.iter().all(|(_, why)| *why == Why::Machine), "{told:?}");
        }
    }

    #[test]
    fn who_computes_for_long_with_a_share_of_a_cpu_computes_for_long() {
        let told = told(&thread(ThreadState::Running), 0.4, 20);
        assert_eq!(
            told[0],
            (250, Why::Computes(Some(Watched::default().begin(Code::HandleIn, 0, 0))))
        );
    }

    /// A machine that was stopped for 150 ms blamed whichever callback ran then.
    #[test]
    fn time_in_which_nobody_could_run_is_held_against_nobody() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        let (thread, running) = (thread(ThreadState::Waiting), Watched::default().running());
        let mut now = start;
        for _ in 0..20 {
            now += INTERVAL;
            let look = Look { turns: 7, running, now, lost: Duration::ZERO };
            assert_eq!(seen.look(look, &thread), None);
            now += INTERVAL + 3 * INTERVAL;
            let look = Look { turns: 7, running, now, lost: 3 * INTERVAL };
            assert_eq!(seen.look(look, &thread), None);
            let look = Look { turns: 8, ..look };
            assert_eq!(seen.look(look, &thread), None);
        }
    }

    #[test]
    fn of_many_callbacks_that_take_long_together_none_is_named() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        let (thread, watched) = (thread(ThreadState::Running), Watched::default());
        let mut told = None;
        for number in 0..3 {
            let running = watched.begin(Code::HandleIn, 0, 0);
            thread.cpu.set(INTERVAL * number);
            let now = start + INTERVAL * number;
            told = seen.look(Look { turns: 7, running, now, lost: Duration::ZERO }, &thread);
        }
        assert_eq!(told.map(|(_, why)| why), Some(Why::Computes(None)));
    }

    #[test]
    fn a_shard_that_sleeps_or_takes_its_turns_is_no_matter() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        let (thread, running) = (thread(ThreadState::Waiting), Watched::default().running());
        let look = |number: u32, turns| {
            let now = start + INTERVAL * number;
            Look { turns, running, now, lost: Duration::ZERO }
        };
        for number in 0..20 {
            assert_eq!(seen.look(look(number, 8), &thread), None);
        }
        for number in 20..40 {
            assert_eq!(seen.look(look(number, 9 + u64::from(number)), &thread), None);
        }
    }
}
