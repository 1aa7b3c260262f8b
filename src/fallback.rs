//! What becomes of requests that are for nothing of an endpoint's: they are handed to the application's
//! own server, by a call or by a queue.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::message::Fallback;
use crate::shard;
use crate::shard::promise::block_on;
use crate::stream::Stream;

/// The connections whose requests are for nothing of the endpoint's, one by one; made by
/// [`Builder::fallback_listener`](crate::Builder::fallback_listener).
///
/// Up to [`max_fallback_queue`](crate::Limits::max_fallback_queue) wait; past it, and once this is
/// dropped, clients are answered with 503.
pub struct FallbackListener(Arc<Queue>);

#[derive(Default)]
struct Queue(Mutex<State>);

#[derive(Default)]
struct State {
    streams: VecDeque<Stream>,
    max: usize,
    waker: Option<Waker>,
    address: Option<SocketAddr>,
    /// Nobody puts anything in any more.
    is_over: bool,
    /// Nobody takes anything out any more.
    is_deserted: bool,
}

/// The endpoint's end.
struct Sender(Arc<Queue>);

/// Both ends.
pub(crate) fn listener() -> (Arc<dyn Fallback>, FallbackListener) {
    let queue = Arc::<Queue>::default();
    (Arc::new(Sender(queue.clone())), FallbackListener(queue))
}

/// One that is called.
pub(crate) fn call(handle: impl Fn(Stream) + Send + Sync + 'static) -> Arc<dyn Fallback> {
    Arc::new(Call(handle))
}

impl FallbackListener {
    /// The next connection, in a task of any executor; `None` when the endpoint has ended. Nothing is
    /// lost if the future is dropped before it is ready.
    pub async fn accept(&mut self) -> Option<Stream> {
        poll_fn(|cx| self.0.poll(cx)).await
    }

    /// The same, for which this thread blocks.
    ///
    /// # Panics
    ///
    /// On a shard's thread, where nothing may block.
    pub fn blocking_accept(&mut self) -> Option<Stream> {
        assert!(!shard::is_here(), "a callback can't block");
        block_on(None, |cx| self.0.poll(cx)).expect("without a deadline")
    }

    /// The address that the endpoint listens at.
    ///
    /// # Errors
    ///
    /// `NotConnected` before it has started.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.lock().address.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for FallbackListener {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_deserted = true;
        let left = std::mem::take(&mut state.streams);
        drop(state);
        left.into_iter().for_each(refuse);
    }
}

impl fmt::Debug for FallbackListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.0.lock().streams.len();
        f.debug_struct("FallbackListener").field("waiting", &waiting).finish_non_exhaustive()
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Stream>> {
        let mut state = self.lock();
        if let Some(stream) = state.streams.pop_front() {
            return Poll::Ready(Some(stream));
        }
        if state.is_over {
            return Poll::Ready(None);
        }
        let before = state.waker.replace(cx.waker().clone());
        drop(state);
        // A waker is somebody's code, and is dropped while nothing is locked.
        drop(before);
        Poll::Pending
    }
}

impl State {
    fn has_room(&self) -> bool {
        !self.is_deserted && self.streams.len() < self.max
    }
}

impl Fallback for Sender {
    fn begin(&self, address: SocketAddr, max_queue: usize) {
        let mut state = self.0.lock();
        (state.address, state.max) = (Some(address), max_queue);
    }

    fn has_room(&self) -> bool {
        self.0.lock().has_room()
    }

    fn take(&self, stream: Stream) {
        let mut state = self.0.lock();
        if !state.has_room() {
            // Other shards have filled it meanwhile.
            drop(state);
            return refuse(stream);
        }
        state.streams.push_back(stream);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_over = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

struct Call<F>(F);

impl<F: Fn(Stream) + Send + Sync + 'static> Fallback for Call<F> {
    fn take(&self, stream: Stream) {
        (self.0)(stream);
    }
}

fn refuse(stream: Stream) {
    stream.refuse(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
}
