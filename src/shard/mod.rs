//! One core: what it owns, and its loop.
//!
//! A message goes down the modules in the order of their lines below. [`Shard::turn`] is the loop's
//! one pass: it gathers what happened, acts on it, writes once, and says how long it may sleep. It
//! reads no clock and makes no system call by itself; both are the [`Io`]'s, which the tests of this
//! folder replace by one that misbehaves on purpose.
//!
//! A shard's tables are its [`Core`]. The application's code runs only while they are not borrowed:
//! from a callback it comes back into them for each push and broadcast, through [`Local`].
//!
//! Nothing here waits, and nothing here is shared but what `remote`, `mesh` and `interest` say.

pub(crate) mod transport;

pub(crate) mod connection;
pub(crate) mod session;

pub(crate) mod process;
pub(crate) mod run;

pub(crate) mod broadcast;
pub(crate) mod calls;

pub(crate) mod fanout;
pub(crate) mod slices;
pub(crate) mod topics;

pub(crate) mod send_queue;

pub(crate) mod gaps;
pub(crate) mod interest;
pub(crate) mod mesh;
pub(crate) mod remote;

pub(crate) mod blocking;
pub(crate) mod deadlines;
#[cfg(feature = "testing")]
pub(crate) mod holdings;
pub(crate) mod mount;
pub(crate) mod panics;
pub(crate) mod start;
pub(crate) mod table;
pub(crate) mod timers;
pub(crate) mod wakers;
pub(crate) mod watch;

#[cfg(all(test, feature = "testing"))]
mod simulation;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::channel::Stop;
use crate::config::Limits;
use crate::io::{Completion, ConnectionId, Io};
use crate::protocol::websocket::CloseCode;
use crate::pubsub::Broadcast;
use crate::response::Route;

use blocking::Pool;
use connection::{Connections, EndingStep, Phase};
use deadlines::Deadlines;
use interest::{Interest, OwnInterest};
use mesh::Mesh;
use mount::{Blueprint, Mount};
use process::{Mail, Process, ProcessId, Processes};
use remote::{Inbox, Outside, Remote};
use send_queue::SendQueue;
use slices::Slices;
use timers::{Due, Timers, later};
use topics::Topics;
use transport::{Admissions, Unfinished};
use wakers::{Alarm, Woken};

/// What all shards of an endpoint share.
pub(crate) struct Shared {
    pub(crate) remotes: Vec<Arc<Remote>>,
    pub(crate) interest: Interest,
    pub(crate) blocking: Pool,
    /// The server is to end. Each shard sees it in its next turn.
    pub(crate) stopping: AtomicBool,
    /// Connections that all shards have admitted.
    pub(crate) connections: AtomicUsize,
    /// What each shard has counted, as of its last turn.
    pub(crate) counters: Vec<counters::Published>,
}

pub(crate) mod counters;
use counters::ShardCounts;

impl Shared {
    /// Tells every shard to close its sockets and to end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        for remote in &self.remotes {
            remote.doorbell.ring();
        }
    }
}

/// A shard as the code on its thread sees it.
pub(crate) struct Local {
    pub(crate) core: RefCell<Core>,
    pub(crate) remote: Arc<Remote>,
    pub(crate) shared: Arc<Shared>,
    /// Futures woken on this thread. Apart from the tables, because a waker may ring while they
    /// are borrowed.
    pub(crate) woken: RefCell<Vec<Woken>>,
    spare_alarm: Cell<Option<Alarm>>,
}

/// A shard's tables.
pub(crate) struct Core {
    pub(crate) shard: usize,
    pub(crate) limits: Limits,
    pub(crate) shared: Arc<Shared>,
    pub(crate) remote: Arc<Remote>,
    pub(crate) mounts: Rc<[Mount]>,
    pub(crate) routes: Arc<[Route]>,
    pub(crate) connections: Connections,
    pub(crate) admissions: Admissions,
    pub(crate) unfinished: Unfinished,
    pub(crate) processes: Processes,
    pub(crate) topics: Topics,
    pub(crate) slices: Slices,
    pub(crate) interest: OwnInterest,
    pub(crate) send_queue: SendQueue,
    pub(crate) mesh: Mesh,
    pub(crate) timers: Timers,
    pub(crate) deadlines: Deadlines,
    pub(crate) counters: ShardCounts,
    started: Instant,
    /// The instant of this turn.
    pub(crate) now: Instant,
    /// Since when the server ends.
    draining: Option<Instant>,

    // What the turn has still to do.
    /// Processes at rest with mail, or that end.
    pub(crate) ready: VecDeque<ProcessId>,
    /// Futures whose timer was due.
    pub(crate) wakes: Vec<Waker>,
    /// Sockets to be closed because of their id.
    pub(crate) disconnecting: Vec<ConnectionId>,
    /// Connections that owe more than they may.
    pub(crate) overdue_readers: Vec<ConnectionId>,
    /// Connections on their way out, to be looked at when all is written.
    pub(crate) ending: Vec<ConnectionId>,
    pub(crate) shut_down: Vec<ConnectionId>,
    pub(crate) closed: Vec<ConnectionId>,
    /// What holds the application's values and is no longer needed. Dropped when the tables are not
    /// borrowed, because the application's code runs in it.
    pub(crate) dead: Vec<Dead>,
}

/// See [`Core::dead`].
#[allow(dead_code, reason = "held only to be dropped at the right time")]
pub(crate) enum Dead {
    Process(Process),
    Phase(Phase),
    Socket(Rc<dyn Any>),
    Mail(Mail),
    Due(Due),
}

impl Dead {
    /// The application's own `drop` may panic, and that must not be the server's end. Each value
    /// by itself: a second panic while the first unwinds would be.
    fn discard(self) {
        if let Err(panic) = panics::catch(|| drop(self)) {
            tracing::error!(error = panic, "a drop of the application's panicked");
        }
    }
}

impl Core {
    /// The seconds since the shard has started that are over.
    pub(crate) fn seconds(&self) -> u32 {
        u32::try_from((self.now - self.started).as_secs()).unwrap_or(u32::MAX / 2)
    }

    /// The same, but one that has begun counts too. Time-outs are measured from here, so that they
    /// may be up to a second long but never short.
    pub(crate) fn seconds_begun(&self) -> u32 {
        let has_begun = (self.now - self.started).subsec_nanos() > 0;
        self.seconds() + u32::from(has_begun)
    }
}

/// A shard and its kernel.
pub(crate) struct Shard<I> {
    pub(crate) io: I,
    pub(crate) local: Rc<Local>,
    inbox: Inbox,
    broken: Vec<ConnectionId>,
    broadcasts: Vec<Broadcast>,
    batch: Vec<Woken>,
}

/// What follows a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// There is more to do.
    Turn,
    /// Nothing to do before something happens, or until then.
    Sleep(Option<Instant>),
    /// The shard has ended.
    End,
}

/// What a shard is made of besides its kernel.
pub(crate) struct Parts {
    pub(crate) shard: usize,
    pub(crate) limits: Limits,
    pub(crate) shared: Arc<Shared>,
    pub(crate) inbox: Inbox,
    pub(crate) mesh: Mesh,
    pub(crate) routes: Arc<[Route]>,
    /// See [`slices::SLICE`].
    pub(crate) slice: usize,
}

impl<I: Io> Shard<I> {
    pub(crate) fn new(io: I, parts: Parts, mounts: &[Arc<dyn Blueprint>]) -> Self {
        let Parts { shard, limits, shared, inbox, mesh, routes, slice } = parts;
        let now = io.now();
        let remote = shared.remotes[shard].clone();
        let core = Core {
            shard,
            limits,
            shared: shared.clone(),
            remote: remote.clone(),
            mounts: Rc::new([]),
            routes,
            connections: Connections::default(),
            admissions: Admissions::default(),
            unfinished: Unfinished::default(),
            processes: Processes::default(),
            topics: Topics::new(),
            slices: Slices::new(slice),
            interest: OwnInterest::new(shard),
            send_queue: SendQueue::new(),
            mesh,
            timers: Timers::default(),
            deadlines: Deadlines::new(),
            counters: ShardCounts::default(),
            started: now,
            now,
            draining: None,
            ready: VecDeque::new(),
            wakes: Vec::new(),
            disconnecting: Vec::new(),
            overdue_readers: Vec::new(),
            ending: Vec::new(),
            shut_down: Vec::new(),
            closed: Vec::new(),
            dead: Vec::new(),
        };
        let local = Rc::new(Local {
            core: RefCell::new(core),
            remote,
            shared,
            woken: RefCell::new(Vec::new()),
            spare_alarm: Cell::new(None),
        });
        let mounts: Rc<[Mount]> = mounts.iter().map(|mount| mount.build(&local)).collect();
        local.core.borrow_mut().mounts = mounts;
        Self { io, local, inbox, broken: Vec::new(), broadcasts: Vec::new(), batch: Vec::new() }
    }

    /// One pass of the loop.
    pub(crate) fn turn(&mut self) -> Next {
        let _current = Entered::new(&self.local);
        self.local.remote.watched.count();
        self.io.gather();
        self.local.core.borrow_mut().now = self.io.now();

        self.take_completions();
        self.take_mesh();
        self.take_due();
        self.take_woken();
        self.run_ready();
        self.take_outside();
        // Behind what was queued before it.
        self.local.core.borrow_mut().take_gaps(&self.inbox.gaps);
        self.begin_drain();
        self.run_ready();
        self.local.core.borrow_mut().serve_slices();
        self.flush();
        self.drop_dead();
        self.local.remote.watched.count();
        if self.local.remote.watched.take_report() {
            tracing::warn!(
                shard = self.local.remote.shard,
                "a turn held up its shard, but no single callback in it"
            );
        }
        self.next()
    }

    /// Whether nothing has come by the queues since the turn: asked before the shard sleeps.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.inbox.is_idle(&self.local)
    }

    /// The kernel, and the question whether the shard may sleep.
    pub(crate) fn parts_to_sleep(&mut self) -> (&mut I, impl FnOnce() -> bool) {
        let Self { io, local, inbox, .. } = self;
        (io, || inbox.is_idle(local))
    }

    fn take_completions(&mut self) {
        while let Some(completion) = self.io.next_completion() {
            let mut core = self.local.core.borrow_mut();
            match completion {
                Completion::Received { id, bytes } => {
                    drop(core);
                    self.local.receive(id, bytes);
                }
                Completion::Accepted { id, peer } => core.accepted(id, peer),
                Completion::AcceptFailed { error, is_news } => {
                    core.counters.accepts_failed += 1;
                    if is_news {
                        tracing::warn!(%error, "can't accept clients: they wait");
                    }
                }
                Completion::Ended { id, error } => {
                    if let Some(error) = error {
                        tracing::debug!(%error, "a connection broke");
                        core.close_now(id);
                    } else {
                        core.ended(id);
                    }
                }
                Completion::Writable { id } => {
                    let Core { connections, send_queue, ending, .. } = &mut *core;
                    if let Some(connection) = connections.find(id) {
                        send_queue.unblock(id, &mut connection.outbox);
                        if matches!(connection.phase, Phase::Ending(_)) {
                            ending.push(id);
                        }
                    }
                }
            }
        }
    }

    fn take_mesh(&mut self) {
        let mut core = self.local.core.borrow_mut();
        core.mesh.receive(MESH_BATCH, &mut self.broadcasts);
        for broadcast in self.broadcasts.drain(..) {
            core.receive_broadcast(&broadcast);
        }
    }

    fn take_due(&mut self) {
        let mut core = self.local.core.borrow_mut();
        let now = core.now;
        while let Some((timer, due)) = core.timers.next_due(now) {
            core.handle_due(timer, due);
        }
        let seconds = core.seconds();
        while let Some(ids) = core.deadlines.next_due(seconds) {
            for id in ids {
                if let Some(deadline) = core.check_deadline(id) {
                    core.deadlines.insert(id, seconds, deadline);
                }
            }
        }
        let wakes = std::mem::take(&mut core.wakes);
        drop(core);
        for waker in wakes {
            // A runtime's own waker may have come here by a future that lends it on.
            let _ = panics::catch(|| waker.wake());
        }
    }

    fn take_woken(&mut self) {
        self.batch.extend(self.inbox.woken.try_iter());
        self.batch.append(&mut self.local.woken.borrow_mut());
        for woken in self.batch.drain(..) {
            match woken {
                Woken::Process(process) => self.local.resume(process),
                Woken::Connect(connection) => self.local.resume_connect(connection),
            }
        }
    }

    /// Runs what is ready now; what becomes ready meanwhile has its turn after it, up to a bound
    /// that lets the kernel have its say in between.
    fn run_ready(&mut self) {
        for _ in 0..READY_BATCH {
            let Some(process) = self.local.core.borrow_mut().ready.pop_front() else { return };
            self.local.run_ready(process);
        }
    }

    fn take_outside(&mut self) {
        for message in self.inbox.outside.try_iter().take(OUTSIDE_BATCH) {
            self.local.remote.took(&message);
            let mut core = self.local.core.borrow_mut();
            match message {
                Outside::Broadcast(broadcast) => core.receive_broadcast(&broadcast),
                Outside::Info { process, info } => {
                    if core.deliver(process, Mail::Info(info)).is_err() {
                        core.counters.overloaded += 1;
                    }
                }
                Outside::Reply { process, connection, frame } => {
                    core.send_late(process, connection, frame);
                }
                #[cfg(feature = "testing")]
                Outside::Holdings(answer) => {
                    drop(core);
                    // Whoever asked may have given up.
                    let _ = answer.send(self.holdings());
                }
            }
        }
    }

    /// Acts on what the turn noted on its way.
    fn settle(&mut self) {
        let mut core = self.local.core.borrow_mut();
        for id in std::mem::take(&mut core.disconnecting) {
            core.close_socket(id, CloseCode::GOING_AWAY, &Stop::Closed);
        }
        core.close_readers();
    }

    /// Closes everybody, once. Who was accepted too late to be among them is closed then and there.
    fn begin_drain(&mut self) {
        let mut core = self.local.core.borrow_mut();
        if core.draining.is_some() || !self.local.shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        core.draining = Some(core.now);
        self.io.stop_accepting();
        for id in core.connections.ids() {
            match core.connections.find(id).map(|connection| &connection.phase) {
                Some(Phase::Open(_)) => {
                    core.close_socket(id, CloseCode::SERVICE_RESTART, &Stop::Draining);
                }
                Some(Phase::Head(_) | Phase::Connecting(_)) => core.close_now(id),
                Some(Phase::Ending(ending)) if ending.step == EndingStep::Refuse => {
                    core.close_now(id);
                }
                Some(Phase::Ending(_) | Phase::Empty) | None => {}
            }
        }
    }

    fn flush(&mut self) {
        self.settle();
        let mut core = self.local.core.borrow_mut();
        let Core { connections, send_queue, .. } = &mut *core;
        send_queue.flush(&mut self.io, connections, &mut self.broken);
        for id in self.broken.drain(..) {
            core.close_now(id);
        }
        // What one turn has queued is not held against anybody before he had a chance to take it.
        for id in std::mem::take(&mut core.send_queue.refused) {
            core.check_backlog(id);
        }
        core.close_readers();
        core.advance_endings();
        for id in core.shut_down.drain(..) {
            self.io.shutdown(id);
        }
        for id in core.closed.drain(..) {
            self.io.close(id);
        }
    }

    fn drop_dead(&mut self) {
        let dead = std::mem::take(&mut self.local.core.borrow_mut().dead);
        dead.into_iter().for_each(Dead::discard);
    }

    fn next(&mut self) -> Next {
        let mut core = self.local.core.borrow_mut();
        let core = &mut *core;
        // Last, because what was dropped may have broadcast too.
        core.mesh.ring();
        core.publish_counters();
        if let Some(since) = core.draining {
            let is_over = core.connections.len() == 0 && core.processes.len() == 0;
            let Limits { terminate_timeout, close_timeout, .. } = core.limits;
            let patience = terminate_timeout.saturating_add(close_timeout);
            if is_over || core.now > later(since, patience) + Duration::from_secs(1) {
                return Next::End;
            }
        }
        let has_more = !core.ready.is_empty()
            || !core.disconnecting.is_empty()
            || !core.overdue_readers.is_empty()
            || !core.dead.is_empty()
            || core.send_queue.has_more()
            || !core.slices.is_empty()
            || !self.local.woken.borrow().is_empty();
        if has_more {
            return Next::Turn;
        }
        let tick = (!core.deadlines.is_empty() || core.draining.is_some())
            .then(|| core.started + Duration::from_secs(u64::from(core.seconds()) + 1));
        Next::Sleep(core.timers.next_instant().into_iter().chain(tick).min())
    }
}

impl<I> Drop for Shard<I> {
    fn drop(&mut self) {
        // Routes hold the shard that holds them; and what is left holds the application's values.
        let _current = Entered::new(&self.local);
        let mut core = self.local.core.borrow_mut();
        let mounts = std::mem::replace(&mut core.mounts, Rc::new([]));
        let ids = core.processes.ids();
        let processes: Vec<_> = ids.iter().filter_map(|id| core.processes.remove(*id)).collect();
        let mut dead = std::mem::take(&mut core.dead);
        dead.extend(processes.into_iter().map(Dead::Process));
        dead.extend(core.timers.take().map(Dead::Due));
        let ids = core.connections.ids();
        let connections = ids.iter().filter_map(|id| core.connections.remove(*id));
        dead.extend(connections.map(|connection| Dead::Phase(connection.phase)));
        drop(core);
        dead.into_iter().for_each(Dead::discard);
        if let Err(panic) = panics::catch(|| drop(mounts)) {
            tracing::error!(error = panic, "a drop of the application's panicked");
        }
    }
}

impl Inbox {
    /// Whether nothing waits for the shard: here, in the mesh, or as the word to end.
    fn is_idle(&self, local: &Local) -> bool {
        let core = local.core.borrow();
        self.outside.is_empty()
            && self.woken.is_empty()
            && self.gaps.is_empty()
            && core.mesh.is_empty()
            && (core.draining.is_some() || !local.shared.stopping.load(Ordering::SeqCst))
    }
}

thread_local! {
    /// The shard whose turn it is on this thread.
    static CURRENT: RefCell<Option<Rc<Local>>> = const { RefCell::new(None) };
}

/// Makes a shard the thread's own for a while.
struct Entered(Option<Rc<Local>>);

impl Entered {
    fn new(local: &Rc<Local>) -> Self {
        Self(CURRENT.replace(Some(local.clone())))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// Calls `f` with the shard of this thread, if it is the one that `remote` means.
pub(crate) fn with_current<R>(remote: &Arc<Remote>, f: impl FnOnce(&Local) -> R) -> Option<R> {
    current().filter(|local| Arc::ptr_eq(&local.remote, remote)).map(|local| f(&local))
}

/// The shard whose turn it is on this thread.
pub(crate) fn current() -> Option<Rc<Local>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Broadcasts taken from each other shard in a turn.
const MESH_BATCH: usize = 256;
/// Messages taken from other threads in a turn.
const OUTSIDE_BATCH: usize = 1_024;
/// Callbacks run from mailboxes before the kernel has its say again.
const READY_BATCH: usize = 4_096;
