//! What a load takes: the time that passes, and the time that its thread runs.

use std::time::{Duration, Instant};

use rustix::time::ClockId;

use super::Report;

/// The time and the CPU time of the thread since its start.
pub(super) struct Stopwatch {
    pub(super) started: Instant,
    cpu: Duration,
}

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self { started: Instant::now(), cpu: thread_cpu() }
    }

    pub(super) fn stop(&self, report: &mut Report) {
        report.elapsed = self.started.elapsed();
        report.cpu = thread_cpu().saturating_sub(self.cpu);
    }
}

fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_that_sleeps_takes_time_and_one_that_works_takes_cpu() {
        let length = Duration::from_millis(20);
        let mut report = Report::new();

        let stopwatch = Stopwatch::start();
        thread::sleep(length);
        stopwatch.stop(&mut report);
        assert!(report.elapsed >= length && report.cpu < length, "{report:?}");

        let stopwatch = Stopwatch::start();
        let before = thread_cpu();
        while thread_cpu() < before + length {}
        stopwatch.stop(&mut report);
        assert!(report.cpu >= length, "{report:?}");
    }
}
