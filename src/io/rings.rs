//! A shard's rings: the kernel as the shard sees it.
//!
//! A ring's table holds as many connections as a process may open files, so a shard has as many
//! rings as its clients need. All of them belong to its thread, and a connection stays on the ring
//! that accepted it.
//!
//! ```text
//!    listener                 other threads
//!       │ accepts (some 64)        │ ring
//!       ▼                          ▼
//!   the first ring            doorbell's eventfd ◀── rings 1, 2, … when work arrives
//!   with a free slot               │ polled by
//!                                  ▼
//!                                ring 0, in which the shard sleeps
//! ```
//!
//! **Sleeping** is the first ring's own wait: one system call sends what the turn has to send, sleeps,
//! does the deferred work and makes completions ready. To sleep in the executor instead, with every ring
//! ringing an eventfd that it reads, was tried: 44.8 µs of CPU an echo for a single client against
//! 24.6, 5.30 against 5.12 for a hundred in a closed loop (100 bytes, client on the other core of a
//! busy virtual machine, medians of 15 interleaved rounds).
//!
//! **A slot's life**: an accept takes it and names it as its target; the client that comes is
//! received from at once. [`close`](Io::close) ends its generation, cancels what waits on it and
//! takes it out of the kernel's table. When the last completion has come, it is free.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::cqueue;

#[cfg(feature = "testing")]
use super::Taken;
use super::accept::Peers;
use super::buffers::Filled;
use super::doorbell::Doorbell;
use super::ebb::{Ebb, MANY_CONNECTIONS, give_memory_back};
use super::gate::{Gate, Why};
use super::growth::Growth;
use super::operation::{Kind, Lending, Operation, Token};
use super::patience::{self, with_patience};
use super::ring::{Ring, USUAL};
use super::send::Batch;
use super::trouble::{Troubles, is_of_one_client};
use super::turning_away::{HopOptions, hear, turn_away};
use super::{Completion, Config, ConnectionId, Error, Io, Rest, Unsent};

/// A shard's rings, and its listener.
pub(crate) struct Rings {
    /// Never empty. Dropped before `peers`, which are lent to it.
    rings: Vec<Ring>,
    peers: Peers,
    /// `None` after `stop_accepting`.
    listener: Option<TcpListener>,
    /// Where this shard stands aside when it can't accept, and by which number.
    gate: Option<(Arc<Gate>, usize)>,
    stands_aside: bool,
    /// How the listener turns clients away, if it does. Those who come of it have to hear first.
    turned_away: Option<HopOptions>,
    /// Accepting rests until then, because it failed.
    accepting_rests_until: Option<Instant>,
    growth: Growth,
    ebb: Ebb,
    /// Why another ring could not be set up, until the shard is told.
    failure: Option<std::io::Error>,
    troubles: Troubles,
    doorbell: Arc<Doorbell>,
    now: Instant,
    /// All that had come when the last `gather` began was gathered.
    has_all: bool,
    /// The ring whose completions are being handed out; those before it have no more.
    cursor: usize,
    /// What the shard looks at since the last completion.
    lent: Option<(usize, Filled)>,
    /// What `send` could not write whole, by position; empty in between, and kept for its memory.
    refused: Vec<(u32, Unsent)>,
    config: Config,
}

impl Rings {
    /// Sets up the first ring, on the thread that will use it, and begins to accept.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a ring. `kernel::check` knows why, before it is tried.
    pub(crate) fn new(
        config: &Config,
        listener: TcpListener,
        doorbell: Arc<Doorbell>,
    ) -> Result<Self, Error> {
        let set_up = || Ring::new(config, config.first_queues, 1);
        let mut first =
            with_patience(libc::ENOMEM, patience::MEMORY, set_up).map_err(Error::ring)?;
        first.push(&Operation::hear(doorbell.eventfd()));
        let mut rings = Self {
            rings: vec![first],
            peers: Peers::new(config.accepts),
            listener: Some(listener),
            gate: None,
            stands_aside: false,
            turned_away: None,
            accepting_rests_until: None,
            doorbell,
            now: Instant::now(),
            has_all: true,
            cursor: 0,
            lent: None,
            refused: Vec::new(),
            growth: Growth::default(),
            ebb: Ebb::new(MANY_CONNECTIONS),
            failure: None,
            troubles: Troubles::default(),
            config: config.clone(),
        };
        rings.accept_more();
        rings.rings[0].submit();
        Ok(rings)
    }

    /// Stands aside at this gate, as the shard with this number, while it can't accept.
    pub(crate) fn behind(mut self, gate: Arc<Gate>, shard: usize) -> Self {
        self.gate = Some((gate, shard));
        self
    }

    /// Leaves new clients to other shards while there is no accept under way.
    fn stand_aside_if_full(&mut self) {
        let is_full = self.peers.lent() == 0 && self.listener.is_some();
        if is_full != std::mem::replace(&mut self.stands_aside, is_full)
            && let Some((gate, shard)) = &self.gate
        {
            gate.set(*shard, Why::Full, is_full);
        }
    }

    /// What is to be done before the shard may sleep. False: there is more to do.
    fn prepare_to_rest(&mut self) -> bool {
        self.return_lent();
        // A slot that was freed since the last turn may be what accepting waits for, and a ring that
        // nobody needs is not to be slept with for ever.
        self.accept_more();
        self.stand_aside_if_full();
        let is_smaller = self.take_down();
        if self.ebb.is_over(self.open_connections(), self.now) {
            self.settle_down();
        }
        !is_smaller && self.failure.is_none()
    }

    /// Sleeps as [`send`](Io::send) does, with nothing to send.
    #[cfg(test)]
    pub(crate) fn park(&mut self, until: Option<Instant>, is_idle: impl Fn() -> bool) {
        let rest = Rest { until, is_idle: &is_idle };
        self.send(std::iter::empty(), &mut Vec::new(), Some(rest));
    }

    /// How many connections are open.
    pub(crate) fn open_connections(&self) -> usize {
        self.rings.iter().map(|ring| ring.slots.open()).sum()
    }

    /// How many rings there are.
    #[cfg(test)]
    pub(crate) fn ring_count(&self) -> usize {
        self.rings.len()
    }

    /// How many slots are taken: by a connection, by an accept under way, or by one closed of which
    /// the kernel has not let go yet.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn taken_slots(&self) -> usize {
        self.rings.iter().map(|ring| ring.slots.taken()).sum()
    }

    /// How many connections wait for a buffer.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn starved(&self) -> usize {
        self.rings.iter().map(|ring| ring.starved.len() + ring.passed_over.len()).sum()
    }

    /// The last slot of the first ring that is taken.
    #[cfg(test)]
    pub(crate) fn last_taken_slot(&self) -> Option<usize> {
        self.rings[0].slots.last_taken()
    }

    /// Whether a completion queue is full, and more waits in the kernel.
    #[cfg(test)]
    pub(crate) fn has_overflow(&mut self) -> bool {
        self.rings.iter_mut().any(Ring::has_overflow)
    }

    /// How many accepts are under way.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn accepts_under_way(&self) -> usize {
        self.peers.lent()
    }

    /// Keeps accepts under way, as many as there are slots for and the configuration says.
    fn accept_more(&mut self) {
        if self.listener.is_none() || self.peers.lent() >= self.config.accepts {
            return;
        }
        if self.accepting_rests_until.is_some_and(|until| self.now < until) {
            return;
        }
        self.accepting_rests_until = None;
        let room = self.config.max_connections.saturating_sub(self.open_connections());
        while self.peers.lent() < self.config.accepts.min(room) {
            let Self { rings, growth, config, doorbell, now, .. } = self;
            match growth.ring_with_room(rings, config, doorbell, *now) {
                Ok(Some(ring)) => self.accept_on(ring),
                Ok(None) => return,
                Err(error) => {
                    self.failure = Some(error);
                    return;
                }
            }
        }
    }

    /// Takes down rings that nobody needs any more, and says whether there were any.
    fn take_down(&mut self) -> bool {
        let Self { rings, growth, listener, config, now, .. } = self;
        growth.take_down(rings, listener.as_ref(), config, *now)
    }

    /// After a storm: memory goes back, and those who come next go to the front of the tables,
    /// rather than to the slots that were free when all others were taken.
    fn settle_down(&mut self) {
        if let Some(listener) = &self.listener {
            for ring in &mut self.rings {
                ring.push(&Operation::cancel_accepts(listener));
            }
        }
        give_memory_back();
        tracing::debug!("many clients have gone: memory was given back");
    }

    /// When there is something to do that nobody asks for.
    fn next_errand(&self) -> Option<Instant> {
        let accepting = self.listener.is_some().then_some(self.accepting_rests_until).flatten();
        let growing = self.listener.is_some().then_some(self.growth.rests_until()).flatten();
        let spare = self.growth.spare_until(&self.rings, &self.config);
        // What is past was done, or is not wanted any more.
        [accepting, growing, spare, self.ebb.until()]
            .into_iter()
            .flatten()
            .filter(|at| *at > self.now)
            .min()
    }

    fn accept_on(&mut self, ring: usize) {
        let Some(listener) = &self.listener else { return };
        let Some(tag) = self.peers.take() else { return };
        let ring = &mut self.rings[ring];
        let (slot, generation) = ring.slots.reserve(Kind::Accept).expect("the ring has room");
        let direct = ring.sockets.are_direct();
        let peer = self.peers.peer(tag);
        let accept = Lending::accept(listener, direct, slot, generation, tag, peer);
        // SAFETY: the peer is boxed and dropped after the ring; nobody looks at it before it is
        // given back, which is when this accept has completed.
        unsafe { ring.push_lending(&accept) };
    }

    /// What a completion means to the shard, if anything.
    fn understand(&mut self, index: usize, completion: &cqueue::Entry) -> Option<News> {
        let token = Token::unpack(completion.user_data());
        let Token { kind, tag, slot, stamp } = token;
        let id = ConnectionId::new(index, slot as usize, stamp);
        let ring = &mut self.rings[index];
        match kind {
            Kind::Accept => {
                let peer = self.peers.peer(tag).read();
                self.peers.give_back(tag);
                if completion.result() < 0 {
                    ring.slots.end(slot, Kind::Accept);
                    return self.accept_failed(-completion.result());
                }
                ring.sockets.accepted(slot, completion);
                ring.slots.open_slot(slot);
                if let Some(options) = self.turned_away {
                    hear(ring, slot, stamp, options);
                }
                ring.arm(slot, stamp);
                ring.slots.end(slot, Kind::Accept);
                Some(News::Accepted { id, peer })
            }
            Kind::Receive => received(ring, id, completion),
            Kind::Writable => {
                ring.slots.end(slot, Kind::Writable);
                ring.is_open(id).then_some(News::Writable { id })
            }
            // A connection that goes on hearing nothing, and is closed for it in time.
            Kind::Hops => None,
            Kind::HandOver => {
                // What nobody wants any more is closed by being dropped.
                let socket = ring.sockets.installed(slot, completion);
                let news = socket.filter(|_| ring.is_open(id)).map(|socket| {
                    if socket.is_ok() {
                        ring.give_up(slot, stamp);
                    }
                    News::HandedOver { id, socket }
                });
                ring.slots.end(slot, kind);
                news
            }
            Kind::Shutdown | Kind::Close => {
                ring.slots.end(slot, kind);
                None
            }
            Kind::Cancel => {
                // The operation was not found because it was just being run, or it has ended. If its
                // last completion is still to come, it may have gone back to waiting: that of a
                // connection which is closed, or is to be held.
                let target = match tag {
                    _ if tag == Kind::Receive as u8 => Kind::Receive,
                    _ if tag == Kind::Writable as u8 => Kind::Writable,
                    _ => return None,
                };
                let is_held = ring.is_open(id) && ring.slots.is_held(slot);
                let is_to_end = is_held && target == Kind::Receive && ring.slots.has(slot, target);
                if is_to_end || ring.slots.lingers(slot, stamp, target) {
                    ring.push(&Operation::cancel(Token { kind: target, tag: 0, ..token }));
                }
                None
            }
            Kind::Doorbell => {
                if !cqueue::more(completion.flags()) {
                    // When a ring of ours has rung it, the kernel ends the poll, lest the two ring
                    // each other forever. It must be silent before it is listened to again; what
                    // was asked for before is looked at in this turn.
                    self.doorbell.quieten();
                    ring.push(&Operation::hear(self.doorbell.eventfd()));
                }
                None
            }
            Kind::Send => unreachable!("sends are settled by `send`"),
        }
    }

    fn accept_failed(&mut self, errno: i32) -> Option<News> {
        // It was us who ended the accept, and nobody has to know.
        if errno == libc::ECANCELED || self.listener.is_none() {
            return None;
        }
        if !is_of_one_client(errno) {
            self.accepting_rests_until = Some(self.now + REST);
        }
        let is_news = self.troubles.is_news(("accept", errno), self.now);
        Some(News::AcceptFailed { error: std::io::Error::from_raw_os_error(errno), is_news })
    }

    /// The buffer that the last completion lent goes back to its ring.
    fn return_lent(&mut self) {
        if let Some((ring, filled)) = self.lent.take() {
            self.rings[ring].buffers.give_back(filled);
        }
    }

    /// The ring of an open connection.
    fn ring_of(&mut self, id: ConnectionId) -> Option<&mut Ring> {
        self.rings.get_mut(id.ring()).filter(|ring| ring.is_open(id))
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        // The gate may have it open too, and nobody is accepted any more.
        if let Some(listener) = &self.listener {
            let _ = socket2::SockRef::from(listener).shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Io for Rings {
    fn now(&self) -> Instant {
        self.now
    }

    fn clock(&self) -> Instant {
        Instant::now()
    }

    fn gather(&mut self) {
        self.now = Instant::now();
        self.return_lent();
        self.accept_more();
        self.stand_aside_if_full();
        self.take_down();
        self.has_all = true;
        for ring in &mut self.rings {
            ring.feed_starved();
            self.has_all &= ring.gather();
        }
        self.cursor = 0;
    }

    fn has_told_all(&self) -> bool {
        self.has_all
    }

    fn is_starved(&self, id: ConnectionId) -> bool {
        let ring = self.rings.get(id.ring()).filter(|ring| ring.is_open(id));
        ring.is_some_and(|ring| ring.slots.is_starved(id.slot() as u32))
    }

    fn next_completion(&mut self) -> Option<Completion<'_>> {
        self.return_lent();
        if let Some(error) = self.failure.take() {
            let errno = error.raw_os_error().unwrap_or_default();
            let is_news = self.troubles.is_news(("ring", errno), self.now);
            let error = std::io::Error::other(Error::ring(error));
            return Some(Completion::AcceptFailed { error, is_news });
        }
        let news = loop {
            let index = self.cursor;
            let Some(completion) = self.rings.get_mut(index)?.next() else {
                self.cursor += 1;
                continue;
            };
            if let Some(news) = self.understand(index, &completion) {
                break news;
            }
        };
        Some(match news {
            News::Accepted { id, peer } => Completion::Accepted { id, peer },
            News::AcceptFailed { error, is_news } => Completion::AcceptFailed { error, is_news },
            News::Received { id, filled } => {
                self.lent = Some((id.ring(), filled));
                let bytes = self.rings[id.ring()].buffers.bytes(filled);
                Completion::Received { id, bytes }
            }
            News::Ended { id, error } => Completion::Ended { id, error },
            News::HandedOver { id, socket } => Completion::HandedOver { id, socket },
            News::Writable { id } => Completion::Writable { id },
        })
    }

    fn send<'a>(
        &mut self,
        sends: impl Iterator<Item = (ConnectionId, &'a [u8])>,
        unsent: &mut Vec<Unsent>,
        rest: Option<Rest<'_>>,
    ) {
        let rest = rest.filter(|_| self.prepare_to_rest());
        let errand = rest.as_ref().and_then(|_| self.next_errand());
        let mut refused = std::mem::take(&mut self.refused);
        let mut batch = Batch::new(&mut self.rings, &mut refused);
        for (id, bytes) in sends {
            batch.push(id, bytes);
        }
        if let Some(Rest { until, is_idle }) = rest {
            batch.rest(&self.doorbell, until.into_iter().chain(errand).min(), is_idle);
        }
        drop(batch);
        // Each ring has its own in order; this puts them together.
        refused.sort_unstable_by_key(|&(position, _)| position);
        unsent.extend(refused.drain(..).map(|(_, unsent)| unsent));
        // A storm's memory goes back.
        refused.shrink_to(USUAL);
        self.refused = refused;
    }

    fn hold(&mut self, id: ConnectionId) {
        let (slot, stamp) = (id.slot() as u32, id.generation());
        let Some(ring) = self.ring_of(id) else { return };
        if !ring.slots.is_held(slot) {
            ring.slots.set_held(slot, true);
            if ring.slots.has(slot, Kind::Receive) {
                ring.push(&Operation::cancel(Token { kind: Kind::Receive, tag: 0, slot, stamp }));
            }
        }
    }

    fn release(&mut self, id: ConnectionId) {
        let slot = id.slot() as u32;
        let Some(ring) = self.ring_of(id) else { return };
        if ring.slots.is_held(slot) && !ring.slots.has(slot, Kind::HandOver) {
            ring.slots.set_held(slot, false);
            // One whose cancelling is still under way is armed when that has ended.
            ring.arm(slot, id.generation());
        }
    }

    fn await_writable(&mut self, id: ConnectionId) {
        let slot = id.slot() as u32;
        let Some(ring) = self.ring_of(id) else { return };
        if !ring.slots.has(slot, Kind::Writable) {
            ring.slots.begin(slot, Kind::Writable);
            let socket = ring.sockets.socket(slot);
            ring.push(&Operation::await_writable(socket, slot, id.generation()));
        }
    }

    fn shutdown(&mut self, id: ConnectionId) {
        let slot = id.slot() as u32;
        let Some(ring) = self.ring_of(id) else { return };
        if !ring.slots.has(slot, Kind::Shutdown) {
            ring.slots.begin(slot, Kind::Shutdown);
            let socket = ring.sockets.socket(slot);
            ring.push(&Operation::shutdown(socket, slot, id.generation()));
        }
    }

    fn close(&mut self, id: ConnectionId) {
        let (slot, stamp) = (id.slot() as u32, id.generation());
        let Some(ring) = self.ring_of(id) else { return };
        for kind in [Kind::Receive, Kind::Writable] {
            if ring.slots.has(slot, kind) {
                ring.push(&Operation::cancel(Token { kind, tag: 0, slot, stamp }));
            }
        }
        if ring.slots.has(slot, Kind::HandOver) && ring.slots.has(slot, Kind::Receive) {
            // It was to be given away when the receive has ended, and is not.
            ring.slots.end(slot, Kind::HandOver);
        }
        ring.slots.begin(slot, Kind::Close);
        ring.slots.close_slot(slot);
        let socket = ring.sockets.release(slot);
        ring.push(&Operation::close(socket, slot, stamp));
    }

    fn turn_away(&mut self) -> bool {
        let Some(listener) = self.listener.as_ref().filter(|_| self.config.shares_address) else {
            return false;
        };
        match turn_away(listener) {
            Ok(options) => self.turned_away = Some(options),
            Err(error) => {
                tracing::warn!(%error, "those who are just connecting will be cut off");
            }
        }
        self.turned_away.is_some()
    }

    fn hand_over(&mut self, id: ConnectionId) {
        let (slot, stamp) = (id.slot() as u32, id.generation());
        self.hold(id);
        let Some(ring) = self.ring_of(id) else { return };
        if !ring.slots.has(slot, Kind::HandOver) {
            ring.slots.begin(slot, Kind::HandOver);
            // A receive takes bytes from whoever has the socket next until it has ended: so that comes
            // first.
            if !ring.slots.has(slot, Kind::Receive) {
                ring.push(&Operation::install(ring.sockets.socket(slot), slot, stamp));
            }
        }
    }

    fn stop_accepting(&mut self) {
        let Some(listener) = self.listener.take() else { return };
        // Accepts that are still to be submitted name it by its number, which is void afterwards.
        self.rings.iter_mut().for_each(Ring::submit);
        // Those under way hold the listener; shutting it down ends them.
        let socket = socket2::Socket::from(listener);
        if let Err(error) = socket.shutdown(std::net::Shutdown::Both) {
            tracing::warn!(%error, "the listener could not be shut down");
        }
    }

    #[cfg(feature = "testing")]
    fn taken(&self) -> Taken {
        Taken {
            slots: self.taken_slots() - self.accepts_under_way(),
            starved: self.starved(),
            buffers: self.rings.iter().map(|ring| ring.buffers.kept()).sum(),
        }
    }
}

/// What a completion of a receive means.
fn received(ring: &mut Ring, id: ConnectionId, completion: &cqueue::Entry) -> Option<News> {
    let (slot, result) = (id.slot() as u32, completion.result());
    let filled = ring.buffers.filled(completion);
    let more = cqueue::more(completion.flags());
    if !more {
        ring.slots.end(slot, Kind::Receive);
        if ring.is_open(id) && ring.slots.has(slot, Kind::HandOver) {
            ring.push(&Operation::install(ring.sockets.socket(slot), slot, id.generation()));
        }
    }
    if !ring.is_open(id) {
        if let Some(filled) = filled {
            ring.buffers.give_back(filled);
        }
        return None;
    }
    if result > 0 {
        ring.slots.set_hungry(slot, false);
    }
    if !more && !ring.slots.is_held(slot) {
        if result > 0 || result == -libc::ENOBUFS {
            // The kernel has ended the receive, not the client. It is armed again when the buffers of
            // this turn are back.
            ring.starve(slot, id.generation());
        } else if result == -libc::ECANCELED {
            // It was held, and is no more.
            ring.arm(slot, id.generation());
        }
    }
    match (result, filled) {
        (1.., Some(filled)) => Some(News::Received { id, filled }),
        (1.., None) => panic!("{result} bytes were received into no buffer"),
        (_, filled) => {
            if let Some(filled) = filled {
                ring.buffers.give_back(filled);
            }
            match -result {
                libc::ENOBUFS | libc::ECANCELED => None,
                0 => Some(News::Ended { id, error: None }),
                errno => {
                    let error = Some(std::io::Error::from_raw_os_error(errno));
                    Some(News::Ended { id, error })
                }
            }
        }
    }
}

/// What a completion means to the shard, before its bytes are lent.
enum News {
    Accepted { id: ConnectionId, peer: std::net::SocketAddr },
    AcceptFailed { error: std::io::Error, is_news: bool },
    Received { id: ConnectionId, filled: Filled },
    Ended { id: ConnectionId, error: Option<std::io::Error> },
    HandedOver { id: ConnectionId, socket: std::io::Result<OwnedFd> },
    Writable { id: ConnectionId },
}

/// How long accepting rests when it can't go on.
const REST: Duration = Duration::from_millis(100);
