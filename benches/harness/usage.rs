//! What a process and a core have spent, as the kernel counts it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

/// The CPU time of a process: all its threads, those of io_uring that work for it included.
pub(crate) struct Usage {
    /// To the nanosecond, by thread id.
    threads: BTreeMap<u32, Duration>,
    user: Duration,
    system: Duration,
    /// How often a thread that serves clients gave up its core because it had nothing to do, all of
    /// them together.
    sleeps: u64,
}

/// What a process spent between two looks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    pub(crate) total: Duration,
    /// `user` and `system` are estimates: the kernel looks four times in 16 ms where the process
    /// is. A sum over many rounds says more than a round.
    pub(crate) user: Duration,
    pub(crate) system: Duration,
    /// How often one of the threads that serve clients went to sleep.
    pub(crate) sleeps: u64,
}

impl Usage {
    /// What process `id` has spent so far. It should be at rest: a thread that is running is
    /// counted up to the last tick.
    pub(crate) fn of(id: u32) -> io::Result<Self> {
        let mut threads = BTreeMap::new();
        let mut sleeps = 0;
        for entry in fs::read_dir(format!("/proc/{id}/task"))? {
            let entry = entry?;
            let thread = entry.file_name().to_string_lossy().parse().map_err(io::Error::other)?;
            // A thread may end between being listed and being read.
            let Ok(times) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
            threads.insert(thread, Duration::from_nanos(number(times.split(' ').next())?));
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
            if serves(field("Name:").unwrap_or_default().trim()) {
                sleeps += number(field("voluntary_ctxt_switches:")).unwrap_or(0);
            }
        }
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The second field is the command, in brackets, and may hold anything.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let mut times = fields.split_whitespace().skip(11).map(|ticks| ticks_of(Some(ticks)));
        let user = times.next().unwrap_or_else(|| ticks_of(None))?;
        let system = times.next().unwrap_or_else(|| ticks_of(None))?;
        Ok(Self { threads, user, system, sleeps })
    }

    /// What was spent since an `earlier` look.
    pub(crate) fn since(&self, earlier: &Self) -> Spent {
        let user = self.user.saturating_sub(earlier.user);
        let system = self.system.saturating_sub(earlier.system);
        let all_live = earlier.threads.keys().all(|thread| self.threads.contains_key(thread));
        let total = if all_live {
            let sum = |usage: &Self| usage.threads.values().sum::<Duration>();
            sum(self).saturating_sub(sum(earlier))
        } else {
            // A thread has taken its time with it; the process' own count, in ticks, still has it.
            user + system
        };
        Spent { total, user, system, sleeps: self.sleeps.saturating_sub(earlier.sleeps) }
    }
}

/// How busy a core has been, whoever kept it so.
pub(crate) struct Core {
    busy: u64,
    total: u64,
}

impl Core {
    /// The counts of core `id` since the machine was started.
    pub(crate) fn read(id: usize) -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let name = format!("cpu{id} ");
        let line = stat.lines().find_map(|line| line.strip_prefix(&name));
        let line = line.ok_or_else(|| io::Error::other(format!("there is no core {id}")))?;
        // user nice system idle iowait irq softirq steal; what follows is in these already.
        let times: Vec<u64> =
            line.split(' ').take(8).map(|ticks| number(Some(ticks))).collect::<io::Result<_>>()?;
        let total = times.iter().sum();
        Ok(Self { busy: total - times[3] - times[4], total })
    }

    /// The share of the time since an `earlier` look in which the core was not idle, from 0 to 1.
    pub(crate) fn busy_since(&self, earlier: &Self) -> f64 {
        (self.busy - earlier.busy) as f64 / (self.total - earlier.total).max(1) as f64
    }
}

/// Whether a thread of this name serves clients: Simurgh's shards are called by their number, and
/// the bare server's only thread like its program.
fn serves(name: &str) -> bool {
    let number = name.strip_prefix("simurgh-");
    number.is_none_or(|number| number.starts_with(|first: char| first.is_ascii_digit()))
}

fn ticks_of(field: Option<&str>) -> io::Result<Duration> {
    Ok(Duration::from_secs(1) / USER_HZ * number(field)? as u32)
}

fn number(field: Option<&str>) -> io::Result<u64> {
    field.unwrap_or_default().trim().parse().map_err(io::Error::other)
}

/// What `/proc` counts in, on every architecture, whatever the kernel's own tick is.
const USER_HZ: u32 = 100;
