//! A thread as another sees it: how much of a CPU it has had, and whether it waits for something.

use std::time::Duration;

/// A thread of this process, by its number and its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThreadNumber {
    thread: i32,
    clock: libc::clockid_t,
}

/// What a thread does at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThreadState {
    /// It runs, or would if it had a CPU.
    Running,
    /// It waits in the kernel: for a lock, a file, a sleep to be over.
    Waiting,
    /// It was stopped, or is being traced.
    Stopped,
}

impl ThreadNumber {
    /// The thread that asks.
    pub(crate) fn current() -> Self {
        // SAFETY: it has no arguments and cannot fail.
        let thread = unsafe { libc::gettid() };
        // SAFETY: likewise.
        let this = unsafe { libc::pthread_self() };
        let mut clock = libc::CLOCK_THREAD_CPUTIME_ID;
        // SAFETY: this thread lives while it asks, and `clock` is written within the call. Should it
        // fail, the clock is that of whoever looks, which has had none: nobody is blamed.
        unsafe { libc::pthread_getcpuclockid(this, &mut clock) };
        Self { thread, clock }
    }

    pub(crate) fn pack(self) -> u64 {
        u64::from(self.thread as u32) << 32 | u64::from(self.clock as u32)
    }

    /// Nothing of zero, which stands for no thread.
    pub(crate) fn unpack(packed: u64) -> Option<Self> {
        (packed != 0).then_some(Self { thread: (packed >> 32) as i32, clock: packed as i32 })
    }

    /// How long it has run. None when it has ended.
    pub(crate) fn cpu_time(self) -> Option<Duration> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is written within the call. The clock of a thread that has ended is none.
        let result = unsafe { libc::clock_gettime(self.clock, &mut time) };
        (result == 0).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }

    /// What it does now. None when it has ended, or no file may be opened.
    pub(crate) fn state(self) -> Option<ThreadState> {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{}/stat", self.thread)).ok()?;
        // The name before it, in brackets, may have brackets of its own.
        match stat.rsplit_once(") ")?.1.chars().next()? {
            'R' => Some(ThreadState::Running),
            'T' | 't' => Some(ThreadState::Stopped),
            _ => Some(ThreadState::Waiting),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_that_works_is_told_from_one_that_waits() {
        let (number, numbers) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let waiting = std::thread::spawn(move || {
            number.send(ThreadNumber::current()).unwrap();
            let _ = ended.recv();
        });
        let waits = numbers.recv().unwrap();
        assert_eq!(ThreadNumber::unpack(waits.pack()), Some(waits));
        while waits.state() != Some(ThreadState::Waiting) {
            std::thread::yield_now();
        }
        let works = ThreadNumber::current();
        assert_eq!(works.state(), Some(ThreadState::Running));
        let (before, idle) = (works.cpu_time().unwrap(), waits.cpu_time().unwrap());
        while works.cpu_time().unwrap() < before + Duration::from_millis(20) {}
        assert!(waits.cpu_time().unwrap() < idle + Duration::from_millis(20));
        drop(end);
        waiting.join().unwrap();
        assert_eq!(waits.cpu_time(), None);
    }
}
