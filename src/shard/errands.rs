//! Errands: the one place where the application's code runs.
//!
//! ```text
//!   what is due, with what it needs ──▶ run: no table borrowed, panics caught, the watch asked
//!            ▲                                            │
//!            └──────────── what follows ◀── how it ended ◀┘
//! ```
//!
//! While it runs no connection, session or process goes, although the code may push, broadcast and
//! subscribe as it likes: whatever would have to end is noted (`chores`), or waits for its turn.

use std::task::{Context, Poll};

use super::channels::{Behind, Callback, ConnectFailure, Polled, Pressure, Turn};
use super::core::Core;
use super::links::{Code, Woken};
use super::local::Local;
use super::panics;
use super::transport::{Connecting, Errand, HandOver, Read, RouteCall, Stopped};
use crate::io::ConnectionId;
use crate::message::Response;
use crate::telemetry::{Event, Held, Who};

/// What follows a callback.
enum Next {
    Nothing,
    Callback(Callback<'static>),
    /// A message that waited behind a join.
    Behind(Behind),
}

impl Local {
    /// Takes what a client has sent.
    pub(super) fn receive(&self, id: ConnectionId, bytes: &mut [u8]) {
        let mut core = self.core.borrow_mut();
        if core.transport.waiting().has(id) {
            return core.transport.waiting().add(id, bytes);
        }
        drop(core);
        let Some(Stopped { left, why }) = self.read(id, bytes) else { return };
        let rest = &bytes[bytes.len() - left..];
        self.core.borrow_mut().transport.waiting().begin(id, rest, why);
    }

    /// Reads on of those who wait and can go on, each his share, while there is time.
    pub(super) fn serve_waiting(&self, has_time: impl Fn() -> bool) {
        let mut core = self.core.borrow_mut();
        for _ in 0..core.transport.waiting().len() {
            if !has_time() || core.hub.lines.writes() > WAITING_WRITES {
                return;
            }
            let Core { transport, hub } = &mut *core;
            let Some(mut resumed) = transport.waiting().next(hub) else { continue };
            drop(core);
            let id = resumed.id;
            let stopped = self.read(id, &mut resumed.bytes[resumed.position..]);
            core = self.core.borrow_mut();
            let Core { transport, hub } = &mut *core;
            if hub.lines.place(id.into()).is_none() {
                continue;
            }
            match stopped {
                Some(Stopped { left, why }) => {
                    resumed.position = resumed.bytes.len() - left;
                    transport.waiting().go_on(resumed, why);
                }
                None if transport.waiting().end(&resumed) => transport.ended(hub, id, None),
                None => {}
            }
        }
    }

    /// Reads what a client has sent, and runs what it asks for. Says where that has stopped, if not at
    /// the end.
    fn read(&self, id: ConnectionId, bytes: &mut [u8]) -> Option<Stopped> {
        let mut core = self.core.borrow_mut();
        let Core { transport, hub } = &mut *core;
        if let Some(until) = transport.paced_until(hub, id) {
            return Some(Stopped { left: bytes.len(), why: Pressure::Pace(until) });
        }
        let mut reading = transport.begin(hub, id, bytes)?;
        let how = loop {
            let Core { transport, hub } = &mut *core;
            match transport.read(hub, &mut reading) {
                Read::More => {}
                Read::Over(how) => break how,
                Read::Errand(errand) => {
                    drop(core);
                    self.run(errand);
                    core = self.core.borrow_mut();
                }
            }
        };
        let Core { transport, hub } = &mut *core;
        transport.end_reading(hub, reading, how)
    }

    /// Goes on with what a waker has rung for.
    pub(super) fn resume(&self, woken: Woken) {
        let mut core = self.core.borrow_mut();
        let Core { transport, hub } = &mut *core;
        let errand = match woken {
            Woken::Process(process) => hub.resume(process).map(Errand::Callback),
            Woken::Connect(id) => transport.resume(hub, id).map(Errand::Connect),
        };
        drop(core);
        if let Some(errand) = errand {
            self.run(errand);
        }
    }

    /// Lets processes have their turns, `most` at most. Whoever stands in line meanwhile has his
    /// after them.
    pub(super) fn run_turns(&self, most: usize) {
        for _ in 0..most {
            let mut core = self.core.borrow_mut();
            if core.hub.is_shard_pressed() {
                return;
            }
            match core.hub.next_turn() {
                None => return,
                Some(Turn::Callback(callback)) => {
                    drop(core);
                    self.run(Errand::Callback(callback));
                }
                Some(Turn::Event(process, mut mail)) => {
                    let callback = core.hub.begin_event(process, &mut mail);
                    drop(core);
                    if let Some(callback) = callback {
                        self.run(Errand::Callback(callback));
                    }
                }
            }
        }
    }

    /// Runs an errand, and whatever must follow it at once.
    #[inline(always)]
    fn run(&self, errand: Errand<'_>) {
        match errand {
            Errand::Callback(callback) => self.run_callback(callback),
            Errand::Connect(connecting) => self.run_connect(connecting),
            Errand::Route(call) => self.run_route(&call),
        }
    }

    #[inline(always)]
    fn run_callback(&self, callback: Callback<'_>) {
        let mut next = self.poll(callback);
        loop {
            next = match next {
                Next::Nothing => return,
                Next::Callback(callback) => self.poll(callback),
                Next::Behind(behind) => {
                    let mut core = self.core.borrow_mut();
                    match core.hub.take_behind(behind.client, behind.message()) {
                        Some(callback) => {
                            drop(core);
                            self.poll(callback)
                        }
                        None => core.hub.next_behind().map_or(Next::Nothing, Next::Behind),
                    }
                }
            };
        }
    }

    /// Polls a callback.
    #[inline]
    fn poll(&self, callback: Callback<'_>) -> Next {
        let Callback { process, mount, route, mut cell, alarm, call } = callback;
        let (code, event) = (call.code(), call.event());
        let (polled, has_held) = self.remote().watched.run(code, mount, route, || {
            let cx = &mut Context::from_waker(&alarm.waker);
            match panics::catch(|| cell.poll(call, cx)) {
                Ok(Poll::Ready(outcome)) => Polled::Ready(cell, outcome),
                Ok(Poll::Pending) => Polled::Pending(cell),
                Err(panic) => {
                    // Its drop may panic too, and that must not be the server's end either.
                    let _ = panics::catch(|| drop(cell));
                    Polled::Panicked(panic)
                }
            }
        });
        let mut core = self.core.borrow_mut();
        if has_held {
            core.hub.tell_hold(process, code, event);
        }
        match core.hub.finish(process, alarm, polled) {
            Some(callback) => Next::Callback(callback),
            None => core.hub.next_behind().map_or(Next::Nothing, Next::Behind),
        }
    }

    /// Polls a `connect`.
    fn run_connect(&self, mut connecting: Box<Connecting>) {
        let Connecting { id, connect, alarm, mount, .. } = &mut *connecting;
        let id = *id;
        alarm.prepare();
        let cx = &mut Context::from_waker(&alarm.waker);
        let poll = || panics::catch(|| connect.as_mut().poll(cx));
        let (polled, has_held) = self.remote().watched.run(Code::Connect, *mount, 0, poll);
        let mut core = self.core.borrow_mut();
        let Core { transport, hub } = &mut *core;
        if has_held {
            let handler = transport.handler_name(hub, &connecting);
            let who = Who::peer(connecting.peer);
            hub.telemetry.tell_of(&who, Event::Held(Held::Connect { handler }));
        }
        let early = match polled {
            Ok(Poll::Pending) => {
                transport.wait(hub, connecting);
                None
            }
            Ok(Poll::Ready(decision)) => transport.decide(hub, connecting, decision),
            Err(panic) => transport.decide(hub, connecting, Err(ConnectFailure::Crash(panic))),
        };
        if let Some(early) = early {
            // Read when its turn comes, since it may be another request that leads here again.
            transport.waiting().begin_early(id, early);
        }
    }

    /// Gives a connection to the application.
    pub(super) fn run_hand_over(&self, hand_over: HandOver) {
        let HandOver { stream, fallback } = hand_over;
        let who = Who::peer(stream.peer_addr());
        // A panic has been told, and the connection has gone with it.
        let _ = self.run_handler(&who, "(the fallback)", || fallback.take(stream));
    }

    /// Calls a plain route's handler.
    fn run_route(&self, call: &RouteCall) {
        let who = Who::peer(call.request.peer);
        let answered = self.run_handler(&who, call.request.path(), || (call.handle)(&call.request));
        let mut core = self.core.borrow_mut();
        let Core { transport, hub } = &mut *core;
        let response = answered.unwrap_or_else(|| Response::new(500));
        transport.answer_route(hub, call, &response);
    }

    /// Runs what is for no socket, and tells whether it held up the shard, and that it panicked.
    fn run_handler<T>(&self, who: &Who, path: &str, handler: impl FnOnce() -> T) -> Option<T> {
        let watched = &self.remote().watched;
        let (done, has_held) = watched.run(Code::Route, 0, 0, || panics::catch(handler));
        let telemetry = &self.core.borrow().hub.telemetry;
        if has_held {
            telemetry.tell_of(who, Event::Held(Held::Route { path }));
        }
        done.map_err(|error| {
            telemetry.tell_of(who, Event::RouteCrashed { path, error: &error });
        })
        .ok()
    }
}

/// With so many clients to write to, a turn reads no further of those who have had their share: about
/// two milliseconds of the kernel's time.
const WAITING_WRITES: usize = 512;
