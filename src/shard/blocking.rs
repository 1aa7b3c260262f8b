//! The blocking pool: threads for work that would hold up a shard.
//!
//! One for each endpoint, bounded in threads and queue. Threads start when they are needed and end
//! when they were idle for a while. A panic of the work is its caller's error, not the pool's end.

#![expect(clippy::disallowed_methods, reason = "its threads wait so that shards need not")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};

use super::panics;
use super::promise::Promise;
use crate::runtime::{EnterRuntime, within};

/// A pool of threads.
pub(crate) struct Pool {
    queue: Sender<Work>,
    shared: Arc<Shared>,
    max_threads: usize,
    /// The CPUs that its threads may use: those without a shard where there are any, else all.
    cpus: Vec<usize>,
    runtime: Option<Arc<dyn EnterRuntime>>,
}

struct Shared {
    queue: Receiver<Work>,
    threads: AtomicUsize,
    /// Threads that wait for work.
    idle: AtomicUsize,
}

type Work = Box<dyn FnOnce() + Send>;

/// Why blocking work gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockingError {
    /// The pool's queue was full.
    #[error("the blocking pool's queue is full")]
    Full,
    /// The work panicked.
    #[error("blocking work {0}")]
    Panicked(String),
    /// No thread could be started.
    #[error("no thread could be started for blocking work: see ulimit -u, pids.max")]
    NoThread,
}

impl Pool {
    pub(crate) fn new(
        max_threads: usize,
        max_queue: usize,
        cpus: Vec<usize>,
        runtime: Option<Arc<dyn EnterRuntime>>,
    ) -> Self {
        let (queue, receiver) = crossbeam_channel::bounded(max_queue);
        let shared =
            Shared { queue: receiver, threads: AtomicUsize::new(0), idle: AtomicUsize::new(0) };
        Self { queue, shared: Arc::new(shared), max_threads, cpus, runtime }
    }

    fn run(&self, work: Work) -> Result<(), BlockingError> {
        self.queue.try_send(work).map_err(|error| match error {
            TrySendError::Full(_) => BlockingError::Full,
            TrySendError::Disconnected(_) => unreachable!("the pool holds the other end"),
        })?;
        let threads = self.shared.threads.load(Ordering::Acquire);
        let is_busy = self.shared.idle.load(Ordering::Acquire) < self.queue.len();
        if threads == 0 || (is_busy && threads < self.max_threads) {
            self.start_thread()?;
        }
        Ok(())
    }

    fn start_thread(&self) -> Result<(), BlockingError> {
        if self.shared.threads.fetch_add(1, Ordering::AcqRel) >= self.max_threads {
            self.shared.threads.fetch_sub(1, Ordering::AcqRel);
            return Ok(());
        }
        let shared = self.shared.clone();
        let (cpus, runtime) = (self.cpus.clone(), self.runtime.clone());
        let thread = std::thread::Builder::new().name("simurgh-blocking".to_owned());
        let started = thread.spawn(move || {
            crate::io::cpu::allow(&cpus);
            within(runtime.as_deref(), || shared.work());
        });
        if started.is_err() {
            // The others, if there are any, will come to it.
            let others = self.shared.threads.fetch_sub(1, Ordering::AcqRel) - 1;
            return if others == 0 { Err(BlockingError::NoThread) } else { Ok(()) };
        }
        Ok(())
    }
}

impl Shared {
    fn work(&self) {
        loop {
            self.idle.fetch_add(1, Ordering::AcqRel);
            let next = self.queue.recv_timeout(IDLE);
            self.idle.fetch_sub(1, Ordering::AcqRel);
            match next {
                Ok(work) => work(),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.threads.fetch_sub(1, Ordering::AcqRel);
                    // Whoever queued before that saw a thread; so look once more.
                    if self.queue.is_empty() {
                        return;
                    }
                    self.threads.fetch_add(1, Ordering::AcqRel);
                }
            }
        }
        self.threads.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The future of blocking work.
pub(crate) struct Blocking<T>(Arc<Promise<Result<T, BlockingError>>>);

impl<T: Send + 'static> Blocking<T> {
    pub(crate) fn new<W>(pool: &Pool, work: W) -> Self
    where
        W: FnOnce() -> T + Send + 'static,
    {
        let promise = Arc::new(Promise::new());
        let done = promise.clone();
        let started = pool.run(Box::new(move || {
            done.keep(panics::catch(work).map_err(BlockingError::Panicked));
        }));
        if let Err(error) = started {
            promise.keep(Err(error));
        }
        Self(promise)
    }

    /// Whether it has failed already, because there was no room for it or no thread.
    pub(crate) fn was_refused(&self) -> bool {
        let is_refusal = |result: &Result<T, BlockingError>| {
            matches!(result, Err(BlockingError::Full | BlockingError::NoThread))
        };
        self.0.peek(is_refusal) == Some(true)
    }
}

impl<T> Future for Blocking<T> {
    type Output = Result<T, BlockingError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::shard::promise::block_on;

    /// Waits on this thread.
    fn wait<T>(mut blocking: Blocking<T>) -> Result<T, BlockingError> {
        block_on(None, |cx| Pin::new(&mut blocking).poll(cx)).expect("without a deadline")
    }

    #[test]
    fn work_gives_its_result_and_a_panic_is_an_error() {
        let pool = Pool::new(2, 16, Vec::new(), None);
        assert_eq!(wait(Blocking::new(&pool, || 6 * 7)), Ok(42));
        let panicked = wait(Blocking::new(&pool, || -> u8 { panic!("no luck") }));
        assert!(
            matches!(&panicked, Err(BlockingError::Panicked(why)) if why.ends_with("no luck")),
            "{panicked:?}"
        );
        assert_eq!(wait(Blocking::new(&pool, || 1)), Ok(1));
    }

    #[test]
    fn threads_and_queue_are_bounded() {
        let pool = Pool::new(1, 1, Vec::new(), None);
        let (release, gate) = mpsc::channel::<()>();
        let (started, has_started) = mpsc::channel();
        let first = Blocking::new(&pool, move || {
            started.send(()).expect("the test waits");
            gate.recv().is_ok()
        });
        has_started.recv().expect("the work runs");
        let second = Blocking::new(&pool, || 2);
        assert_eq!(wait(Blocking::new(&pool, || 3)), Err(BlockingError::Full));
        release.send(()).expect("the work waits");
        assert_eq!((wait(first), wait(second)), (Ok(true), Ok(2)));
        assert_eq!(pool.shared.threads.load(Ordering::Acquire), 1);
    }
}
