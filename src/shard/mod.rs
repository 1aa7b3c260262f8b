//! One core: what it owns, and its loop.
//!
//! ```text
//!  kernel ─▶ transport ─▶ channels ─▶ topics ─▶ lines ─▶ kernel
//!               bytes to    who runs,   who gets   what each client
//!               messages    and when    it         is owed
//!                 └───────────┴── errands: the application's code
//! ```
//!
//! The folders below stand one over the other in the order of their `mod` lines, `links` to other
//! shards and threads beneath them all. Each owns its tables, and nobody else touches them; each says
//! on its front page what it promises. What can be seen of that between two turns is asserted by a
//! `check`, which the simulation calls after every turn, and debug builds while there is little to
//! look at. **Down one calls; up one leaves a chore.**
//!
//! **The law**: while the application's code runs, no table is borrowed, and no connection, session
//! or process goes. Its callbacks run in one place (`errands`); on the shard's own thread they ask by
//! one way (`desk`); what is for a shard from anywhere comes in by one (`entry`). What would have to end meanwhile is noted (`chores`), and
//! what is the application's is buried, to be dropped when nobody stands on it.
//!
//! [`Shard::turn`] is the loop's one pass: it gathers what happened, acts on it, writes once and
//! rests. It reads no clock and makes no system call by itself; both are the [`Io`]'s, which the
//! tests of this folder replace by one that misbehaves on purpose.

pub(crate) mod transport;

pub(crate) mod channels;

pub(crate) mod topics;

pub(crate) mod lines;

pub(crate) mod links;

mod core;
mod desk;
mod entry;
mod errands;
mod local;

pub(crate) mod chores;
mod clock;
mod closing;

pub(crate) mod blocking;
pub(crate) mod deadlines;
mod pace;
mod panics;
pub(crate) mod promise;
mod table;

pub(crate) mod start;
mod watch;

#[cfg(all(test, feature = "testing"))]
mod simulation;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::config::Limits;
#[cfg(feature = "testing")]
use crate::io;
use crate::io::{Completion, Ebb, Io, Rest};
use crate::message::{EndReason, Routes};
#[cfg(feature = "testing")]
use crate::telemetry;
use crate::telemetry::{Event, Held, Telemetry};
use channels::{Channels, Hub, Mount, Spent};
use chores::Chores;
use clock::{Clock, later};
use closing::Closing;
use core::Core;
use lines::{Bounds, Lines, Unsettled};
use links::{Code, Here, Inbox, Interest, Links, Mesh, OwnInterest, Parcel, Shared, Woken};
use local::Local;
use pace::Paces;
use topics::Topics;
use transport::Transport;

pub(crate) use desk::{Blueprint, Desk};
pub(crate) use entry::{answer, broadcast, is_here, send_info};

/// A shard and its kernel.
pub(crate) struct Shard<I> {
    pub(crate) io: I,
    pub(crate) local: Rc<Local>,
    inbox: Inbox,
    telemetry: Telemetry,
    /// How long what ends may take, when the server does.
    patience: Duration,
    /// The server is to end, and the listener is about to be closed.
    closing: Option<Closing>,
    /// Something is left in the queues, or was about to be put there.
    has_mail: bool,
    parcels: Vec<Parcel>,
    woken: Vec<Woken>,
    unsettled: Unsettled,
}

/// What follows a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Turn,
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
    pub(crate) routes: Arc<Routes>,
    /// See [`topics::SLICE`].
    pub(crate) slice: usize,
}

impl<I: Io> Shard<I> {
    pub(crate) fn new(io: I, parts: Parts, mounts: &[Arc<dyn Blueprint>]) -> Self {
        let Parts { shard, limits, shared, inbox, mesh, routes, slice } = parts;
        let telemetry = Telemetry::new(shard, shared.tallies[shard].clone());
        let remote = shared.remotes[shard].clone();
        let bounded: Vec<_> = mounts.iter().map(|mount| mount.limits(&limits)).collect();
        let sizes = bounded.iter().chain([&limits]).map(|limits| limits.max_message_size);
        let max_message_size = sizes.max().unwrap_or_default();
        let bounds = Bounds {
            max_owed: limits.max_send_queue,
            max_queued: limits.max_send_queue.saturating_add(max_message_size),
        };
        let own = |table: &Arc<Interest>| OwnInterest::new(table.clone(), shard);
        let marks = (own(&shared.interest), own(&shared.congestion));
        let max_queue = limits.max_fanout_queue;
        let hub = Hub {
            channels: Channels::new(&limits, remote.clone()),
            topics: Topics::new(slice, max_queue, marks, telemetry.clone()),
            lines: Lines::new(bounds, telemetry.clone()),
            links: Links::new(shared.clone(), shard, mesh, telemetry.clone()),
            chores: Chores::default(),
            clock: Clock::new(io.now()),
            telemetry: telemetry.clone(),
            paces: Paces::default(),
            ebb: Ebb::new(MUCH_KEPT),
            eased_at: 0,
            spent: Spent::default(),
            pressure: None,
        };
        let transport = Transport::new(&limits, &bounded, routes);
        let local = Rc::new(Local {
            core: RefCell::new(Core { transport, hub }),
            shared,
            here: Here::new(remote),
        });
        let desk = Desk::new(&local);
        let mounts: Rc<[Mount]> =
            mounts.iter().zip(&bounded).map(|(mount, limits)| mount.build(&desk, limits)).collect();
        local.core.borrow_mut().hub.channels.set_mounts(mounts);
        Self {
            io,
            local,
            inbox,
            telemetry,
            patience: limits.terminate_timeout.saturating_add(limits.close_timeout),
            closing: None,
            has_mail: false,
            parcels: Vec::new(),
            woken: Vec::new(),
            unsettled: Unsettled::default(),
        }
    }

    /// One pass of the loop. The shard is its thread's own meanwhile ([`Local::enter`]).
    pub(crate) fn turn(&mut self) -> Next {
        self.local.remote().watched.count();
        self.io.gather();
        self.begin_turn();
        self.telemetry.begin_turn(self.io.now());

        self.take_completions();
        let has_mail = self.local.remote().take_news() || std::mem::take(&mut self.has_mail);
        if has_mail {
            self.take_mesh();
        }
        // What was done in time is not overdue because it is looked at late.
        self.take_woken(has_mail);
        self.take_due();
        self.take_woken(false);
        self.local.run_turns(READY_BATCH);
        if has_mail {
            self.take_inbox();
        }
        self.begin_drain();
        self.local.run_turns(READY_BATCH);
        self.serve_waiting();
        self.local.core.borrow_mut().hub.serve_slices();
        let next = self.finish();
        #[cfg(debug_assertions)]
        self.local.core.borrow_mut().check_if_cheap();
        next
    }

    /// Everything that the shard has in its hands.
    #[cfg(feature = "testing")]
    pub(crate) fn holdings(&self) -> telemetry::Holdings {
        let io::Taken { slots, starved, buffers } = self.io.taken();
        let woken = self.local.here.woken.borrow().len();
        let core = self.local.core.borrow();
        let Core { transport, hub } = &*core;
        let (fanouts, fanout_bytes) = hub.topics.fanouts();
        let notes = hub.channels.notes() + transport.notes() + hub.chores.len();
        telemetry::Holdings {
            connections: hub.lines.len(),
            admissions: transport.admissions(),
            handshakes: transport.handshakes(),
            unfinished_bytes: transport.unfinished_bytes(),
            processes: hub.channels.processes(),
            topics: hub.topics.len(),
            subscribers: hub.topics.subscribers(),
            interests: hub.topics.interests(),
            timers: hub.channels.timers() + hub.links.remote().deadlines.len(),
            fanouts,
            fanout_bytes,
            inbox_bytes: hub.links.remote().waiting(),
            mesh_bytes: hub.links.bytes(),
            deadlines: transport.deadlines(),
            chores: notes + hub.lines.queued() + woken,
            slots,
            starved,
            buffers,
        }
    }

    /// Whether nothing has come by the queues since the turn.
    #[cfg(all(test, feature = "testing"))]
    fn is_idle(&self) -> bool {
        self.inbox.is_empty() && self.local.core.borrow().hub.links.is_idle()
    }

    fn begin_turn(&mut self) {
        let hub = &mut self.local.core.borrow_mut().hub;
        hub.clock.set(self.io.now());
        hub.begin_turn();
    }

    /// Reads on of those who wait, when all others have had theirs: for as long as that may take.
    fn serve_waiting(&mut self) {
        if !self.local.core.borrow_mut().transport.waiting().is_empty() {
            let end = self.io.clock() + WAITING_TIME;
            self.local.serve_waiting(|| self.io.clock() < end);
        }
    }

    fn take_completions(&mut self) {
        while let Some(completion) = self.io.next_completion() {
            if let Completion::Received { id, bytes } = completion {
                self.local.receive(id, bytes);
                continue;
            }
            let mut core = self.local.core.borrow_mut();
            let Core { transport, hub } = &mut *core;
            match completion {
                Completion::Received { .. } => unreachable!("just looked at"),
                Completion::Accepted { id, peer } => {
                    if let Some(closing) = &mut self.closing {
                        closing.accepted(hub.clock.now());
                    }
                    transport.accepted(hub, id, peer);
                }
                Completion::AcceptFailed { error, is_news } => {
                    self.telemetry.tell(Event::AcceptFailed { error, is_news });
                }
                Completion::Ended { id, error } => transport.ended(hub, id, error),
                Completion::Writable { id } => transport.writable(hub, id),
                Completion::HandedOver { id, socket } => {
                    let hand_over = transport.handed_over(hub, id, socket);
                    drop(core);
                    if let Some(hand_over) = hand_over {
                        self.local.run_hand_over(hand_over);
                    }
                }
            }
        }
    }

    fn take_mesh(&mut self) {
        let mut core = self.local.core.borrow_mut();
        core.hub.links.receive(MESH_BATCH, &mut self.parcels);
        for parcel in self.parcels.drain(..) {
            core.hub.receive(parcel);
        }
    }

    /// Acts on what is due: timers, and connections whose time may be over.
    fn take_due(&mut self) {
        let mut core = self.local.core.borrow_mut();
        let Core { transport, hub } = &mut *core;
        hub.take_due();
        transport.take_due(hub, &self.io);
        let wakes = hub.channels.take_wakes();
        drop(core);
        wake(wakes);
    }

    fn take_woken(&mut self, has_mail: bool) {
        if has_mail {
            self.woken.extend(self.inbox.woken.try_iter());
        }
        self.woken.append(&mut self.local.here.woken.borrow_mut());
        for woken in self.woken.drain(..) {
            self.local.resume(woken);
        }
    }

    /// Takes what other threads have sent, and then the word of what they could not send.
    fn take_inbox(&mut self) {
        for parcel in self.inbox.outside.try_iter().take(OUTSIDE_BATCH) {
            self.local.remote().took(&parcel);
            let other = self.local.core.borrow_mut().hub.receive(parcel);
            #[cfg(feature = "testing")]
            if let Some(Parcel::Holdings(answer)) = other {
                // Whoever asked may have given up.
                let _ = answer.send(self.holdings());
            }
            #[cfg(not(feature = "testing"))]
            debug_assert!(other.is_none(), "there are no others");
        }
        let mut core = self.local.core.borrow_mut();
        // Behind what was queued before it.
        core.hub.take_gaps(&self.inbox.gaps);
        self.has_mail |= !self.inbox.is_empty() || !core.hub.links.is_idle();
    }

    /// When the server is to end: closes the listener and then everybody, once.
    fn begin_drain(&mut self) {
        let mut core = self.local.core.borrow_mut();
        let Core { transport, hub } = &mut *core;
        let end = &self.local.shared.end;
        if transport.draining().is_some() || !end.is_asked_for() {
            return;
        }
        if self.closing.is_none() && self.local.remote().shard == 0 {
            self.telemetry.tell(Event::ShuttingDown);
        }
        let now = hub.clock.now();
        let closing = self.closing.get_or_insert_with(|| Closing::new(self.io.turn_away(), now));
        if closing.until() <= now || end.is_hurried() {
            self.io.stop_accepting();
            transport.drain(hub, closing.is_patient());
        }
    }

    /// Ends what was noted to end, writes, and rests if there is nothing else to do.
    fn finish(&mut self) -> Next {
        self.do_chores();
        self.drop_dead();
        let mut core = self.local.core.borrow_mut();
        let Core { transport, hub } = &mut *core;
        // Last, because what was dropped may have broadcast too.
        hub.links.ring();
        publish(hub);

        let is_pressed = hub.links.is_nearly_full();
        let has_more = (hub.channels.has_more() && !is_pressed)
            || hub.topics.has_more()
            || hub.lines.goes_on()
            || !hub.chores.is_empty()
            || hub.links.has_wakes()
            || transport.has_more(hub)
            || self.has_mail
            || !self.local.here.woken.borrow().is_empty();
        let tick = transport.next_tick(&hub.clock);
        let look = transport.next_look(hub);
        let is_draining = transport.draining().is_some();
        let closes = self.closing.as_ref().filter(|_| !is_draining).map(Closing::until);
        let told = self.telemetry.next_instant();
        let instants = [hub.channels.next_instant(), hub.next_ease(), tick, look, told, closes];
        let until = instants.into_iter().flatten().min();
        let was_left = Cell::new(false);
        let (inbox, shared, links) = (&self.inbox, &self.local.shared, &hub.links);
        let knows_of_stop = self.closing.is_some();
        let is_idle = || {
            let is_idle =
                inbox.is_empty() && links.is_idle() && !has_end_to_see(shared, knows_of_stop);
            was_left.set(!is_idle);
            is_idle
        };
        let rest = Rest { until, is_idle: &is_idle };
        self.local.remote().watched.count();
        if self.local.remote().watched.take_report() {
            self.telemetry.tell(Event::Held(Held::Turn));
        }
        hub.lines.flush(&mut self.io, &mut self.unsettled, (!has_more).then_some(rest));
        self.has_mail |= was_left.get();

        for line in self.unsettled.broken.drain(..) {
            transport.end(hub, line.into(), EndReason::Unwritable);
        }
        // What one turn has queued is not held against anybody before he had a chance to take it.
        for line in self.unsettled.refused.drain(..) {
            let room = hub.lines.room(line);
            hub.see_to(line, room);
        }
        transport.do_chores(hub);
        transport.shed(hub);
        transport.advance_endings(hub);
        transport.advance_hand_overs(hub);
        transport.tell(&mut self.io);

        match transport.draining() {
            Some(_) if hub.lines.len() == 0 && hub.channels.processes() == 0 => Next::End,
            // What still runs has had its time.
            Some(_) if self.local.shared.end.is_hurried() => Next::End,
            Some(since) => {
                let end = later(since, self.patience) + Duration::from_secs(1);
                if hub.clock.now() > end { Next::End } else { Next::Turn }
            }
            None => Next::Turn,
        }
    }

    fn do_chores(&mut self) {
        let mut core = self.local.core.borrow_mut();
        let Core { transport, hub } = &mut *core;
        if !hub.chores.is_empty() {
            transport.do_chores(hub);
        }
    }

    /// Drops what is the application's, while nothing is borrowed.
    fn drop_dead(&mut self) {
        let mut core = self.local.core.borrow_mut();
        let (values, futures) = (core.hub.channels.take_dead(), core.transport.take_dead());
        let wakes = core.hub.links.take_wakes();
        drop(core);
        wake(wakes);
        if values.is_empty() && futures.is_empty() {
            return;
        }
        self.local.remote().watched.run(Code::Drop, 0, 0, || {
            discard(values, &self.telemetry);
            discard(futures, &self.telemetry);
        });
    }
}

/// Rings wakers, while nothing is borrowed: they may be a runtime's own.
fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        let _ = panics::catch(|| waker.wake());
    }
}

/// Whether the server is asked for its end, or to hurry with it, and the shard has not seen it.
fn has_end_to_see(shared: &Shared, knows_of_stop: bool) -> bool {
    if knows_of_stop { shared.end.is_hurried() } else { shared.end.is_asked_for() }
}

/// Writes down what there is now.
fn publish(hub: &Hub) {
    let tally = hub.telemetry.tally();
    tally.connections.set(hub.lines.len() as u64);
    tally.processes.set(hub.channels.processes() as u64);
    tally.topics.set(hub.topics.len() as u64);
    tally.timers.set(hub.channels.timers() as u64);
    tally.inbox_full.set(hub.links.remote().refused());
}

/// Drops values of the application's. A `drop` of its own may panic, and that must not be the
/// server's end. Each value by itself: a second panic while the first unwinds would be.
fn discard<T>(values: impl IntoIterator<Item = T>, telemetry: &Telemetry) {
    for value in values {
        if let Err(error) = panics::catch(|| drop(value)) {
            telemetry.tell(Event::DropCrashed { error });
        }
    }
}

impl<I> Drop for Shard<I> {
    fn drop(&mut self) {
        // Routes hold the shard that holds them; and what is left holds the application's values.
        let _entered = self.local.enter();
        let mut core = self.local.core.borrow_mut();
        let mounts = core.hub.channels.set_mounts(Rc::new([]));
        let (values, futures) = (core.hub.channels.take_all(), core.transport.take_all());
        drop(core);
        self.local.remote().watched.run(Code::Drop, 0, 0, || {
            discard(values, &self.telemetry);
            discard(futures, &self.telemetry);
            discard([mounts], &self.telemetry);
        });
        self.telemetry.end();
        self.local.shared.count_end();
    }
}

/// How long a turn reads on of clients who have had their share: of what heartbeats may wait, a
/// small part.
const WAITING_TIME: Duration = Duration::from_millis(2);
/// Bytes kept for clients that are a storm: what fewer leave behind is not worth looking for.
const MUCH_KEPT: usize = 2 << 20;
/// Parcels taken from each other shard in a turn.
const MESH_BATCH: usize = 256;
/// Parcels taken from other threads in a turn.
const OUTSIDE_BATCH: usize = 1_024;
/// Callbacks run from mailboxes before the kernel has its say again.
const READY_BATCH: usize = 512;
