//! A kernel whose every move the test decides, or a seed.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::io::{Completion, ConnectionId, Doorbell, Io, Rest, Taken, Unsent};
use crate::testing::Random;

/// One TCP connection, seen from between its two ends.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// Sent by the client and not yet received by the shard.
    pub(super) inbound: VecDeque<u8>,
    /// Nothing follows `inbound`: the client has ended its side, or the connection is broken.
    pub(super) end: Option<End>,
    /// Taken from the shard.
    pub(super) outbound: Vec<u8>,
    /// How many more bytes the socket takes; without bound if absent.
    pub(super) room: Option<usize>,
    /// How much of each of the next sends the socket takes, whatever room it has.
    pub(super) takes: VecDeque<usize>,
    /// The socket never says that it is writable.
    pub(super) is_mute: bool,
    /// Sends fail.
    pub(super) is_broken: bool,
    /// The shard has ended its side.
    pub(super) is_shut_down: bool,
    /// The shard has closed it.
    pub(super) is_closed: bool,
    /// The shard has asked to be told when it is writable, and was not told yet.
    pub(super) awaits_writable: bool,
    /// There is no buffer for what comes.
    pub(super) is_starved: bool,
    /// Sends that the shard has tried.
    pub(super) sends: usize,
    end_was_told: bool,
    /// The shard receives nothing from it for a while.
    pub(super) is_held: bool,
    /// By which name the shard knows it.
    pub(super) id: Option<ConnectionId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// No more will come; the client may still read.
    Finished,
    Broken,
}

pub(super) type SharedPipe = Rc<RefCell<Pipe>>;

impl Pipe {
    fn is_writable(&self) -> bool {
        self.awaits_writable && !self.is_mute && (self.is_broken || self.room != Some(0))
    }

    fn has_end_to_tell(&self) -> bool {
        let is_at_end = self.inbound.is_empty() && self.end.is_some() && !self.end_was_told;
        is_at_end && !self.is_held && !self.is_starved
    }

    fn has_bytes_to_tell(&self) -> bool {
        !self.inbound.is_empty() && !self.is_held && !self.is_starved
    }

    /// Takes what it can of `bytes`; `Err` if it is broken.
    fn take(&mut self, bytes: &[u8], faults: &Faults, random: &mut Random) -> Result<usize, ()> {
        assert!(!bytes.is_empty(), "an empty send to {:?}", self.id);
        assert!(!self.is_shut_down, "a send to {:?} after its shutdown", self.id);
        assert!(!self.awaits_writable, "a send to {:?}, which was found full", self.id);
        self.sends += 1;
        if self.is_broken {
            return Err(());
        }
        let mut taken = self.takes.pop_front().unwrap_or(bytes.len()).min(bytes.len());
        if random.chance(faults.short_sends) {
            taken = random.below(bytes.len() + 1).min(taken);
        }
        if let Some(room) = &mut self.room {
            taken = taken.min(*room);
            *room -= taken;
        }
        self.outbound.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }
}

/// What goes wrong by itself, in so many cases of a hundred.
#[derive(Debug, Default, Clone)]
pub(super) struct Faults {
    /// What has arrived is handed out in pieces.
    pub(super) cuts: u64,
    /// Something that could be told is told in a later turn.
    pub(super) delays: u64,
    /// A socket takes less than it is given.
    pub(super) short_sends: u64,
    /// A turn in which the kernel speaks of a connection that is long closed.
    pub(super) stale: u64,
    /// Accepting fails.
    pub(super) failed_accepts: u64,
}

/// One shard's kernel, as the test sees it.
pub(super) struct Kernel {
    clock: Rc<Cell<Instant>>,
    random: Random,
    pub(super) faults: Faults,
    dialing: VecDeque<SharedPipe>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    gathered: VecDeque<Event>,
    /// Void ids, which nothing must ever come of again.
    void: Vec<ConnectionId>,
    /// A turn is told of so many connections at most.
    pub(super) enough: Option<usize>,
    /// There is always more to come.
    pub(super) is_flooded: bool,
    /// The last turn has got everything there was.
    told_all: bool,
    /// Another server may listen at the address.
    pub(super) shares_address: bool,
    /// What there is still to say of connections that are given away.
    handed_over: Vec<Event>,
    is_accepting: bool,
    /// Accepts that were under way when accepting stopped still find their clients.
    pub(super) accepts_late: bool,
    /// How often the kernel was asked for anything that costs a system call for a batch.
    pub(super) batches: usize,
    /// The shard sleeps, and until when.
    pub(super) asleep: Option<Option<Instant>>,
}

struct Slot {
    generation: u32,
    pipe: Option<SharedPipe>,
}

enum Event {
    Accepted(ConnectionId),
    AcceptFailed,
    Received(ConnectionId, Vec<u8>),
    Ended(ConnectionId, End),
    Writable(ConnectionId),
    HandedOver(ConnectionId),
}

impl Kernel {
    fn new(clock: Rc<Cell<Instant>>, seed: u64) -> Self {
        Self {
            clock,
            random: Random::new(seed),
            faults: Faults::default(),
            dialing: VecDeque::new(),
            slots: Vec::new(),
            free: Vec::new(),
            gathered: VecDeque::new(),
            void: Vec::new(),
            enough: None,
            is_flooded: false,
            told_all: true,
            shares_address: false,
            handed_over: Vec::new(),
            is_accepting: true,
            accepts_late: false,
            batches: 0,
            asleep: None,
        }
    }

    /// A client connects.
    pub(super) fn dial(&mut self) -> SharedPipe {
        let pipe = SharedPipe::default();
        self.dialing.push_back(pipe.clone());
        pipe
    }

    /// Whether a thread that waits for this kernel would be woken.
    pub(super) fn has_news(&self) -> bool {
        let pipes = self.slots.iter().filter_map(|slot| slot.pipe.as_ref());
        let mut pipes = pipes.map(|pipe| pipe.borrow());
        !self.gathered.is_empty()
            || !self.handed_over.is_empty()
            || (self.accepts() && !self.dialing.is_empty())
            || pipes.any(|pipe| {
                pipe.has_bytes_to_tell() || pipe.has_end_to_tell() || pipe.is_writable()
            })
    }

    fn accepts(&self) -> bool {
        self.is_accepting || self.accepts_late
    }

    /// What happens, in an order that is kept for each connection and is chance between them.
    fn gather(&mut self) {
        let mut stories: Vec<VecDeque<Event>> = Vec::new();
        let mut accepted = Vec::new();
        let mut has_told_all = true;
        while self.accepts() && !self.dialing.is_empty() {
            if self.random.chance(self.faults.delays) {
                break;
            }
            if self.random.chance(self.faults.failed_accepts) {
                stories.push([Event::AcceptFailed].into());
            }
            let Some(pipe) = self.dialing.pop_front() else { break };
            accepted.push(self.open(pipe));
        }
        for index in 0..self.slots.len() {
            let Some(pipe) = self.slots[index].pipe.clone() else { continue };
            let mut pipe = pipe.borrow_mut();
            let id = pipe.id.expect("it was accepted");
            let mut story = VecDeque::new();
            if accepted.contains(&id) {
                story.push_back(Event::Accepted(id));
            }
            let told = stories.iter().filter(|story| !story.is_empty()).count();
            if self.enough.is_none_or(|enough| told < enough) {
                self.tell(id, &mut pipe, &mut story);
            }
            has_told_all &= !pipe.has_bytes_to_tell() && !pipe.has_end_to_tell();
            stories.push(story);
        }
        self.told_all = has_told_all && !self.is_flooded;
        self.gathered.extend(self.handed_over.drain(..));
        while !stories.is_empty() {
            let index = self.random.below(stories.len());
            match stories[index].pop_front() {
                Some(event) => self.gathered.push_back(event),
                None => drop(stories.swap_remove(index)),
            }
        }
        if self.random.chance(self.faults.stale) {
            self.speak_of_the_void();
        }
    }

    /// What there is to say of one connection.
    fn tell(&mut self, id: ConnectionId, pipe: &mut Pipe, story: &mut VecDeque<Event>) {
        if pipe.is_writable() && !self.random.chance(self.faults.delays) {
            pipe.awaits_writable = false;
            story.push_back(Event::Writable(id));
        }
        while pipe.has_bytes_to_tell() && !self.random.chance(self.faults.delays) {
            let all = pipe.inbound.len();
            let is_cut = self.random.chance(self.faults.cuts);
            let size = if is_cut { 1 + self.random.below(all.min(64)) } else { all };
            story.push_back(Event::Received(id, pipe.inbound.drain(..size).collect()));
        }
        if pipe.has_end_to_tell() && !self.random.chance(self.faults.delays) {
            pipe.end_was_told = true;
            story.push_back(Event::Ended(id, pipe.end.expect("it is to be told")));
        }
    }

    /// Events of connections that are closed, some of whose slots have others in them by now.
    fn speak_of_the_void(&mut self) {
        for _ in 0..4 {
            let Some(&id) = self.random.pick(&self.void) else { return };
            let event = match self.random.below(4) {
                0 => Event::Received(id, b"\x81\x80\0\0\0\0".to_vec()),
                1 => Event::Ended(id, End::Finished),
                2 => Event::Ended(id, End::Broken),
                _ => Event::Writable(id),
            };
            let place = self.random.below(self.gathered.len() + 1);
            self.gathered.insert(place, event);
        }
    }

    fn open(&mut self, pipe: SharedPipe) -> ConnectionId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 1, pipe: None });
            self.slots.len() - 1
        });
        let slot = &mut self.slots[index];
        let id = ConnectionId::new(0, index, slot.generation);
        pipe.borrow_mut().id = Some(id);
        slot.pipe = Some(pipe);
        id
    }

    fn find(&self, id: ConnectionId) -> Option<&SharedPipe> {
        let slot = self.slots.get(id.slot())?;
        slot.pipe.as_ref().filter(|_| slot.generation == id.generation())
    }

    /// A connection is not the shard's any more. The next client gets this very slot.
    fn free(&mut self, id: ConnectionId) {
        let slot = &mut self.slots[id.slot()];
        if slot.generation == id.generation() {
            slot.pipe = None;
            slot.generation += 1;
            self.free.push(id.slot());
            self.void.push(id);
        }
    }

    /// Connections that the shard has not closed.
    pub(super) fn open_connections(&self) -> usize {
        self.slots.iter().filter(|slot| slot.pipe.is_some()).count()
    }
}

/// The kernel as the shard sees it.
pub(super) struct SimulatedIo {
    kernel: Rc<RefCell<Kernel>>,
    doorbell: Arc<Doorbell>,
    now: Instant,
    lent: Vec<u8>,
}

impl SimulatedIo {
    pub(super) fn new(
        clock: &Rc<Cell<Instant>>,
        doorbell: Arc<Doorbell>,
        seed: u64,
    ) -> (Self, Rc<RefCell<Kernel>>) {
        let kernel = Rc::new(RefCell::new(Kernel::new(clock.clone(), seed)));
        (Self { kernel: kernel.clone(), doorbell, now: clock.get(), lent: Vec::new() }, kernel)
    }
}

impl SimulatedIo {
    fn set_held(&self, id: ConnectionId, is_held: bool) {
        let kernel = self.kernel.borrow();
        if let Some(pipe) = kernel.find(id) {
            pipe.borrow_mut().is_held = is_held;
        }
    }
}

impl Io for SimulatedIo {
    fn now(&self) -> Instant {
        self.now
    }

    fn clock(&self) -> Instant {
        self.kernel.borrow().clock.get()
    }

    fn gather(&mut self) {
        let mut kernel = self.kernel.borrow_mut();
        assert!(kernel.gathered.is_empty(), "completions were not taken before the next gather");
        self.now = kernel.clock.get();
        kernel.gather();
    }

    fn next_completion(&mut self) -> Option<Completion<'_>> {
        let event = self.kernel.borrow_mut().gathered.pop_front()?;
        Some(match event {
            Event::Accepted(id) => {
                let peer = SocketAddr::from(([127, 0, 0, 1], 1024 + id.slot() as u16));
                Completion::Accepted { id, peer }
            }
            Event::AcceptFailed => {
                Completion::AcceptFailed { error: ErrorKind::OutOfMemory.into(), is_news: true }
            }
            Event::Received(id, bytes) => {
                self.lent = bytes;
                Completion::Received { id, bytes: &mut self.lent }
            }
            Event::Ended(id, end) => {
                let error = (end == End::Broken).then(|| ErrorKind::ConnectionReset.into());
                Completion::Ended { id, error }
            }
            Event::Writable(id) => Completion::Writable { id },
            Event::HandedOver(id) => {
                self.kernel.borrow_mut().free(id);
                let socket = std::net::TcpListener::bind("127.0.0.1:0").map(Into::into);
                Completion::HandedOver { id, socket }
            }
        })
    }

    fn has_told_all(&self) -> bool {
        self.kernel.borrow().told_all
    }

    fn is_starved(&self, id: ConnectionId) -> bool {
        self.kernel.borrow().find(id).is_some_and(|pipe| pipe.borrow().is_starved)
    }

    fn send<'a>(
        &mut self,
        sends: impl Iterator<Item = (ConnectionId, &'a [u8])>,
        unsent: &mut Vec<Unsent>,
        rest: Option<Rest<'_>>,
    ) {
        let mut kernel = self.kernel.borrow_mut();
        let kernel = &mut *kernel;
        assert!(kernel.gathered.is_empty(), "a send before all completions were taken");
        let mut sent = HashSet::new();
        for (id, bytes) in sends {
            assert!(sent.insert(id), "{id:?} twice in one batch");
            let Some(pipe) = kernel.find(id).cloned() else {
                unsent.push(Unsent { id, written: 0, broken: true });
                continue;
            };
            match pipe.borrow_mut().take(bytes, &kernel.faults, &mut kernel.random) {
                Ok(written) if written == bytes.len() => {}
                Ok(written) => unsent.push(Unsent { id, written, broken: false }),
                Err(()) => unsent.push(Unsent { id, written: 0, broken: true }),
            }
        }
        kernel.batches += usize::from(!sent.is_empty());
        if let Some(Rest { until, is_idle }) = rest.filter(|_| unsent.is_empty()) {
            // As the rings do it: whoever has something for the shard knows that it must be woken,
            // and then it looks once more.
            self.doorbell.announce();
            kernel.asleep = is_idle().then_some(until);
        }
    }

    fn hold(&mut self, id: ConnectionId) {
        self.set_held(id, true);
    }

    fn release(&mut self, id: ConnectionId) {
        self.set_held(id, false);
    }

    fn await_writable(&mut self, id: ConnectionId) {
        let kernel = self.kernel.borrow();
        let Some(pipe) = kernel.find(id) else { return };
        let awaited = std::mem::replace(&mut pipe.borrow_mut().awaits_writable, true);
        assert!(!awaited, "{id:?} is to tell twice that it is writable");
    }

    fn shutdown(&mut self, id: ConnectionId) {
        let kernel = self.kernel.borrow();
        let pipe = kernel.find(id).expect("only an open connection is shut down");
        pipe.borrow_mut().is_shut_down = true;
    }

    fn hand_over(&mut self, id: ConnectionId) {
        let mut kernel = self.kernel.borrow_mut();
        let pipe = kernel.find(id).expect("only an open connection is given away").clone();
        let mut pipe = pipe.borrow_mut();
        // What has arrived comes first, and nothing after it.
        let arrived: Vec<_> = pipe.inbound.drain(..).collect();
        (pipe.is_closed, pipe.end_was_told) = (true, true);
        if !arrived.is_empty() {
            kernel.handed_over.push(Event::Received(id, arrived));
        }
        kernel.handed_over.push(Event::HandedOver(id));
    }

    fn close(&mut self, id: ConnectionId) {
        let mut kernel = self.kernel.borrow_mut();
        let pipe = kernel.find(id).expect("a connection is closed once").clone();
        pipe.borrow_mut().is_closed = true;
        kernel.free(id);
    }

    fn turn_away(&mut self) -> bool {
        self.kernel.borrow().shares_address
    }

    fn stop_accepting(&mut self) {
        self.kernel.borrow_mut().is_accepting = false;
    }

    fn taken(&self) -> Taken {
        let slots = self.kernel.borrow().open_connections();
        Taken { slots, ..Taken::default() }
    }
}
