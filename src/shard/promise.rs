//! Promises: a value that one thread is to give and another waits for, in a task or by blocking.
//!
//! No runtime has a part in it: whoever waits in a task is woken by his task's waker, and whoever
//! blocks parks his thread.

#![expect(
    clippy::disallowed_methods,
    reason = "whoever blocks waits, on a thread that is no shard's"
)]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

/// A value that is given once and taken once.
pub(crate) struct Promise<T>(Mutex<State<T>>);

enum State<T> {
    Waiting(Option<Waker>),
    Kept(T),
    Taken,
}

impl<T> Promise<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State::Waiting(None)))
    }

    /// Gives the value, unless one was given before. Wakes whoever waits, so it is not to be called
    /// while a shard's tables are borrowed.
    pub(crate) fn keep(&self, value: T) {
        let mut state = self.lock();
        let State::Waiting(waker) = &mut *state else { return };
        let waker = waker.take();
        *state = State::Kept(value);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Looks at the value without taking it.
    pub(crate) fn peek<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        match &*self.lock() {
            State::Kept(value) => Some(look(value)),
            State::Waiting(_) | State::Taken => None,
        }
    }

    /// Takes the value, or leaves the waker.
    ///
    /// # Panics
    ///
    /// When it was taken before.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<T> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Kept(value) => Poll::Ready(value),
            State::Waiting(before) => {
                *state = State::Waiting(Some(cx.waker().clone()));
                drop(state);
                // A waker is somebody's code, and is dropped while nothing is locked.
                drop(before);
                Poll::Pending
            }
            State::Taken => panic!("polled after it was ready"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Blocks this thread until `poll` is ready, or until the deadline, if there is one: then `None`.
pub(crate) fn block_on<T>(
    deadline: Option<Instant>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(value) = poll(&mut Context::from_waker(&waker)) {
            return Some(value);
        }
        match deadline {
            None => thread::park(),
            Some(deadline) => {
                let left = deadline.checked_duration_since(Instant::now())?;
                thread::park_timeout(left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_value_is_the_one_that_is_taken() {
        let promise = Arc::new(Promise::new());
        let giver = promise.clone();
        let thread = thread::spawn(move || {
            giver.keep(1);
            giver.keep(2);
        });
        assert_eq!(block_on(None, |cx| promise.poll(cx)), Some(1));
        thread.join().unwrap();
    }

    #[test]
    fn whoever_blocks_does_so_until_his_deadline() {
        let promise = Promise::<()>::new();
        let deadline = Instant::now() + Duration::from_millis(5);
        assert_eq!(block_on(Some(deadline), |cx| promise.poll(cx)), None);
        assert!(Instant::now() >= deadline);
    }
}
