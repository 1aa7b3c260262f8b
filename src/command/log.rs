//! The log's way out: over a thread of its own, so that nobody waits for whoever reads it.
//!
//! A shard writes its lines itself, and with it all its clients would wait for a terminal that is
//! halted or a pipe that is full. So lines are queued, and where there is no room for more they are
//! dropped and counted; the log says how many when it goes on.

#![expect(clippy::disallowed_methods, reason = "a thread that waits, so that no shard does")]

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;

/// The log, while the command runs. Dropped, it writes what is left, unless that takes too long.
pub(crate) struct Log {
    lines: Lines,
    has_ended: Receiver<()>,
}

impl Log {
    /// Starts the thread and makes it the log of this process.
    pub(crate) fn start(filter: EnvFilter) -> io::Result<Self> {
        // Not the standard library's own: that is locked while it writes, and whoever else had
        // something to say there would wait for the thread.
        let out = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let log = Self::over(out)?;
        let lines = log.lines.clone();
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(has_colours())
            .with_writer(move || lines.clone())
            // It would say on stderr that stderr takes nothing, and panic when that fails too.
            .log_internal_errors(false)
            .init();
        Ok(log)
    }

    fn over(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, queued) = mpsc::sync_channel(MAX_LINES);
        let lines = Lines { queue, dropped: Arc::default() };
        let dropped = lines.dropped.clone();
        let (ending, has_ended) = mpsc::channel();
        thread::Builder::new().name("simurgh-log".to_owned()).spawn(move || {
            let _ending: mpsc::Sender<()> = ending;
            write_out(&queued, &dropped, out);
        })?;
        Ok(Self { lines, has_ended })
    }

    /// Writes a line that is no event.
    pub(crate) fn say(&self, line: &str) {
        let mut lines = self.lines.clone();
        let _ = lines.write_all(format!("{line}\n").as_bytes());
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let mut end = Vec::new();
        while let Err(TrySendError::Full(line)) = self.lines.queue.try_send(end) {
            if Instant::now() >= deadline {
                return;
            }
            end = line;
            thread::sleep(Duration::from_millis(10));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let ended = self.has_ended.recv_timeout(left);
        debug_assert_ne!(ended, Ok(()), "it says nothing and goes");
        let (Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) = ended;
    }
}

/// The writer's end: each write is a line.
#[derive(Clone)]
struct Lines {
    /// An empty line is the last.
    queue: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !line.is_empty() && self.queue.try_send(line.to_vec()).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes lines as they come. What can't be written is nobody's affair: whoever read it has gone.
fn write_out(lines: &Receiver<Vec<u8>>, dropped: &AtomicU64, mut out: impl Write) {
    for line in lines {
        let missed = dropped.swap(0, Ordering::Relaxed);
        if missed > 0 {
            let _ = writeln!(out, "simurgh: {} lines dropped: nobody read them", grouped(missed));
        }
        if line.is_empty() {
            return;
        }
        let _ = out.write_all(&line);
    }
}

/// Whether whoever reads standard error sees colours, and wants them (no-color.org).
fn has_colours() -> bool {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !is_unwanted
}

/// 1,204.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// Lines that wait. A line is of one or two KiB at most, nearly always of a tenth of that.
const MAX_LINES: usize = 8_192;

/// How long the end waits for what is left.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A reader that says when it is given something, and waits until it is let read.
    struct Slow(mpsc::Sender<()>, Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(());
            // When the other end has gone, it reads as it comes.
            let _ = self.1.recv();
            self.2.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_writes_never_waits_and_what_was_dropped_is_told() {
        let (given, was_given) = mpsc::channel();
        let (read, may_read) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let log = Log::over(Slow(given, may_read, written.clone())).unwrap();
        let mut lines = log.lines.clone();
        log.say("in its hands");
        was_given.recv().unwrap();
        for number in 0..MAX_LINES + 1_204 {
            lines.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        assert_eq!(lines.dropped.load(Ordering::Relaxed), 1_204);
        drop(read);
        // The last; all that was queued before it is written, however long that takes.
        log.lines.queue.send(Vec::new()).unwrap();
        assert!(log.has_ended.recv().is_err(), "it says nothing and goes");
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert!(written.contains("simurgh: 1,204 lines dropped"), "{written}");
        assert!(written.contains("\n8191\n"), "what was queued is written");
    }

    #[test]
    fn the_end_does_not_wait_for_a_reader_that_has_stopped() {
        let (given, _) = mpsc::channel();
        let (_read, may_read) = mpsc::channel();
        let log = Log::over(Slow(given, may_read, Arc::default())).unwrap();
        log.say("nobody reads this");
        drop(log);
    }
}
