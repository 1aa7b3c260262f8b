//! What the scenarios stand on: a server, its application, and the test's hold on both.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use serde_json::Value;
use simurgh::testing::Server;
use simurgh::{AddressError, Builder, Endpoint, Handle, Limits, ReplyError, SocketRef};

use crate::channels::{Actor, Intercepting, Plain, User};
use crate::script::Step;

/// The application of all tests: how a channel and its test reach each other.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

type BroadcastFrom = Box<dyn Fn(&str, &str) + Send + Sync>;

/// An actor's address, whatever its kind.
pub(crate) struct ActorAddress {
    pub(crate) send: Box<dyn Fn(Vec<Step>) -> Result<(), AddressError> + Send + Sync>,
    /// Broadcasts an event on a topic to all but the actor.
    pub(crate) broadcast_from: BroadcastFrom,
}

struct Inner {
    handle: OnceLock<Handle>,
    notes: Sender<String>,
    replies: Sender<SocketRef>,
    addresses: Sender<ActorAddress>,
    gates: Mutex<HashMap<String, Gate>>,
    kept: Mutex<Option<ActorAddress>>,
    kept_reply: Mutex<Option<SocketRef>>,
}

#[derive(Default)]
struct Gate {
    is_open: bool,
    waiting: Vec<Waker>,
}

impl App {
    /// The endpoint's handle. Absent only while the server starts, when no channel runs.
    pub(crate) fn handle(&self) -> &Handle {
        self.0.handle.get().expect("set before there are clients")
    }

    pub(crate) fn note(&self, text: impl Into<String>) {
        // The test may have seen enough and be gone.
        let _ = self.0.notes.send(text.into());
    }

    pub(crate) fn give_reply(&self, reply: SocketRef) {
        let _ = self.0.replies.send(reply);
    }

    pub(crate) fn give_address(&self, address: ActorAddress) {
        let _ = self.0.addresses.send(address);
    }

    /// Sends to the address that the test has kept for its channels.
    pub(crate) fn send_to_kept(&self, steps: Vec<Step>) -> Result<(), AddressError> {
        let kept = self.0.kept.lock().unwrap();
        (kept.as_ref().expect("the test keeps one first").send)(steps)
    }

    pub(crate) fn answer_kept(&self, response: Value) -> Result<(), ReplyError> {
        let kept = self.0.kept_reply.lock().unwrap();
        kept.as_ref().expect("the test keeps one first").ok(response)
    }

    /// Blocks this thread until the test opens the gate of that name. Not for ever: a test that has
    /// failed opens none, and its server could not be stopped.
    pub(crate) fn hold(&self, name: &str) {
        let deadline = Instant::now() + 2 * PATIENCE;
        let is_open = || self.0.gates.lock().unwrap().get(name).is_some_and(|gate| gate.is_open);
        while !is_open() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the test opens the gate of that name: a future woken by another thread.
    pub(crate) async fn gate(&self, name: &str) {
        poll_fn(|cx| {
            let mut gates = self.0.gates.lock().unwrap();
            let gate = gates.entry(name.to_owned()).or_default();
            if gate.is_open {
                return Poll::Ready(());
            }
            gate.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// A server that runs for one scenario, and the test's ends of what its application holds.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) app: App,
    notes: Receiver<String>,
    replies: Receiver<SocketRef>,
    addresses: Receiver<ActorAddress>,
}

impl World {
    /// The endpoint of most tests: actors at `room:*`, intercepting ones at `secret:*`.
    pub(crate) fn start(shards: usize) -> Self {
        Self::start_with(shards, |endpoint| endpoint)
    }

    pub(crate) fn start_with(
        shards: usize,
        change: impl FnOnce(Builder<App>) -> Builder<App>,
    ) -> Self {
        let (notes_in, notes) = mpsc::channel();
        let (replies_in, replies) = mpsc::channel();
        let (addresses_in, addresses) = mpsc::channel();
        let app = App(Arc::new(Inner {
            handle: OnceLock::new(),
            notes: notes_in,
            replies: replies_in,
            addresses: addresses_in,
            gates: Mutex::default(),
            kept: Mutex::default(),
            kept_reply: Mutex::default(),
        }));
        let endpoint = Endpoint::builder(app.clone()).limits(limits()).socket("/socket", |mount| {
            mount
                .handler::<User>()
                .channel::<Actor<Plain>>("room:*")
                .channel::<Actor<Intercepting>>("secret:*")
                .channel::<Actor<Plain>>("phoenix")
        });
        let endpoint = endpoint.socket("/intercepting", |mount| {
            mount.handler::<User>().channel::<Actor<Intercepting>>("room:*")
        });
        let server = Server::start(change(endpoint), shards);
        assert!(app.0.handle.set(server.handle()).is_ok(), "set once");
        Self { server, app, notes, replies, addresses }
    }

    /// Keeps an address for the channels to send to.
    pub(crate) fn keep(&self, address: ActorAddress) {
        *self.app.0.kept.lock().unwrap() = Some(address);
    }

    /// Keeps an answer for the channels to give.
    pub(crate) fn keep_reply(&self, reply: SocketRef) {
        *self.app.0.kept_reply.lock().unwrap() = Some(reply);
    }

    pub(crate) fn open(&self, gate: &str) {
        let mut gates = self.app.0.gates.lock().unwrap();
        let gate = gates.entry(gate.to_owned()).or_default();
        gate.is_open = true;
        gate.waiting.drain(..).for_each(Waker::wake);
    }

    /// The next thing that a channel noted.
    #[track_caller]
    pub(crate) fn note(&self) -> String {
        self.notes.recv_timeout(PATIENCE).expect("a channel notes something")
    }

    /// The next thing noted must be this.
    #[track_caller]
    pub(crate) fn expect_note(&self, text: &str) {
        assert_eq!(self.note(), text);
    }

    /// Nothing else was noted; speaks for what has ended.
    #[track_caller]
    pub(crate) fn expect_no_note(&self) {
        assert_eq!(self.notes.try_recv().ok(), None);
    }

    /// What was noted until now and not looked at.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.try_iter().collect()
    }

    /// The next answer that a channel left to the test.
    pub(crate) fn reply_later(&self) -> SocketRef {
        self.replies.recv_timeout(PATIENCE).expect("a channel leaves an answer")
    }

    /// The next address that a channel gave away.
    pub(crate) fn address(&self) -> ActorAddress {
        self.addresses.recv_timeout(PATIENCE).expect("a channel gives its address")
    }

    /// Closes every gate and drops what was noted, for the next scenario.
    pub(crate) fn forget(&self) {
        self.app.0.gates.lock().unwrap().clear();
        self.notes();
    }
}

/// The limits of most tests: what must time out does so in a time that a test can wait for.
pub(crate) fn limits() -> Limits {
    Limits { terminate_timeout: Duration::from_secs(1), ..Limits::default() }
}

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(5);
