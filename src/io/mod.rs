//! The kernel: rings of direct descriptors, and what a shard needs of them.
//!
//! A shard sees its connections through [`Io`], at the level of completions: a connection is a
//! [`ConnectionId`], received bytes are lent, and no descriptor and no pointer appears. The rings
//! implement it here; the tests of `shard` implement it with sockets that misbehave on purpose.

#![expect(clippy::disallowed_methods, reason = "a shard's clock, sleep and thread are made here")]
#![expect(unsafe_code, reason = "the kernel takes pointers and descriptors, here and nowhere else")]

mod config;
mod rings;

mod ebb;
mod growth;
mod ring;
mod send;

mod accept;
mod buffers;
mod operation;
mod slots;
mod sockets;
mod trouble;
mod turning_away;

mod doorbell;
pub(crate) mod gate;
pub(crate) mod listener;
mod thread;
mod thread_sample;

pub(crate) mod ceiling;
mod cgroup;
pub(crate) mod cpu;
mod error;
pub(crate) mod kernel;
mod no_thread;
mod patience;
mod peer;
mod prefetch;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Instant;

pub(crate) use config::Config;
pub(crate) use doorbell::Doorbell;
pub(crate) use ebb::{Ebb, give_memory_back};
pub(crate) use error::Error;
pub(crate) use no_thread::no_thread;
pub(crate) use peer::Peer;
pub(crate) use prefetch::prefetch;
pub(crate) use rings::Rings;
pub(crate) use thread::{ShardThread, spawn_shard};
pub(crate) use thread_sample::{ThreadNumber, ThreadState};

/// What a shard asks of the kernel, and how the kernel answers.
///
/// Between two calls of [`gather`](Io::gather) a shard first takes every completion, then sends and,
/// with the same call, rests; no send is ever in flight while completions are looked at.
pub(crate) trait Io {
    /// The instant of the last [`gather`](Io::gather): the clock is read once a turn.
    fn now(&self) -> Instant;

    /// The instant it is: for whoever has to know how long something takes within a turn.
    fn clock(&self) -> Instant;

    /// Submits what was asked for, runs what the kernel deferred and makes completions ready.
    ///
    /// Never waits.
    fn gather(&mut self);

    /// The next thing that happened; `None` when all that was gathered has been handed out.
    ///
    /// Completions of an earlier generation never appear here.
    fn next_completion(&mut self) -> Option<Completion<'_>>;

    /// Whether all that had come when the last [`gather`](Io::gather) began has been handed out. If
    /// not, the next one has more.
    ///
    /// What there was no buffer for is not counted: [`is_starved`](Io::is_starved) tells of whom.
    fn has_told_all(&self) -> bool;

    /// Whether bytes of a connection may be waiting for a buffer, when all has been told.
    fn is_starved(&self, id: ConnectionId) -> bool;

    /// Sends `sends`, at most one item for a connection, and settles all of them before it returns.
    ///
    /// What was not written whole is appended to `unsent`, in the order of `sends`.
    ///
    /// With a `rest`, it then sleeps until something happens, unless something was not written: one
    /// system call can do both.
    fn send<'a>(
        &mut self,
        sends: impl Iterator<Item = (ConnectionId, &'a [u8])>,
        unsent: &mut Vec<Unsent>,
        rest: Option<Rest<'_>>,
    );

    /// Receives nothing more from the connection for a while: what its client sends waits in the
    /// kernel, and then at the client. What had arrived is still handed out.
    fn hold(&mut self, id: ConnectionId);

    /// Receives from it again.
    fn release(&mut self, id: ConnectionId);

    /// Asks for one [`Completion::Writable`] when the connection takes bytes again.
    fn await_writable(&mut self, id: ConnectionId);

    /// Ends the sending direction, so that the peer reads what was sent and then the end.
    fn shutdown(&mut self, id: ConnectionId);

    /// Closes the connection. Its id is void from here on; the slot is free for another client
    /// when its last completion has come.
    fn close(&mut self, id: ConnectionId);

    /// Gives the connection away, when everything that was sent is written: what still arrives is
    /// handed out as before, then [`Completion::HandedOver`] has the socket. Nothing is received from
    /// it from then on, and its id is void. It can't be taken back, but the connection may be closed
    /// meanwhile.
    fn hand_over(&mut self, id: ConnectionId);

    /// Leaves new clients to other processes that listen at the address; who has begun to connect is
    /// still accepted. False: there are none, or they can't be left to them.
    fn turn_away(&mut self) -> bool;

    /// Takes no further clients. Who has begun to connect is cut off.
    fn stop_accepting(&mut self);

    /// For tests that look for leaks.
    #[cfg(feature = "testing")]
    fn taken(&self) -> Taken;
}

/// Leave to sleep until something happens. Nothing else runs on the thread meanwhile, and it may end
/// for nothing.
pub(crate) struct Rest<'a> {
    /// It ends then at the latest.
    pub(crate) until: Option<Instant>,
    /// Asked once more when whoever has something for the shard knows that it must be woken. If it
    /// says false, the shard does not sleep.
    pub(crate) is_idle: &'a dyn Fn() -> bool,
}

/// What is taken of the kernel's tables and buffers.
#[cfg(feature = "testing")]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Slots of the rings' tables, but for those of accepts under way.
    pub(crate) slots: usize,
    /// Connections that wait for a buffer.
    pub(crate) starved: usize,
    /// Buffers filled and not given back.
    pub(crate) buffers: usize,
}

/// Something that happened to the listener or to a connection.
#[derive(Debug)]
pub(crate) enum Completion<'a> {
    /// A client has connected; receiving has begun.
    Accepted { id: ConnectionId, peer: SocketAddr },
    /// The kernel could not accept a client, or set up another ring. Accepting goes on by itself.
    /// The same trouble is news once a minute.
    AcceptFailed { error: std::io::Error, is_news: bool },
    /// Bytes have arrived. They are lent until the next call, and may be changed in place.
    Received { id: ConnectionId, bytes: &'a mut [u8] },
    /// Nothing more will arrive: the peer has ended its side (`None`) or the connection is broken.
    /// Sending may still work in the first case. The shard answers with [`Io::close`], at a time of
    /// its choice.
    Ended { id: ConnectionId, error: Option<std::io::Error> },
    /// The connection is not ours any more. Or it could not be given away, most likely because the
    /// process has no descriptor left: then it is to be closed.
    HandedOver { id: ConnectionId, socket: std::io::Result<OwnedFd> },
    /// The connection takes bytes again, or is broken; the next send tells which.
    Writable { id: ConnectionId },
}

/// A send that was not written whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unsent {
    pub(crate) id: ConnectionId,
    /// How many bytes the kernel has taken.
    pub(crate) written: usize,
    /// The connection is broken: nothing more can be sent.
    pub(crate) broken: bool,
}

/// A connection, for as long as it lives: its ring, its slot in the ring's table of direct
/// descriptors, and the slot's generation, so that what comes late never reaches a stranger. No
/// generation is zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnectionId(u64);

impl ConnectionId {
    /// More rings than these have no name.
    pub(crate) const MAX_RINGS: usize = 1 << RING_BITS;

    pub(crate) fn new(ring: usize, slot: usize, generation: u32) -> Self {
        assert!(ring < 1 << RING_BITS && slot < 1 << SLOT_BITS, "ring {ring}, slot {slot}");
        Self((ring as u64) << (32 + SLOT_BITS) | (slot as u64) << 32 | u64::from(generation))
    }

    pub(crate) fn ring(self) -> usize {
        (self.0 >> (32 + SLOT_BITS)) as usize
    }

    pub(crate) fn slot(self) -> usize {
        (self.0 >> 32) as usize & ((1 << SLOT_BITS) - 1)
    }

    pub(crate) fn generation(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn pack(self) -> u64 {
        self.0
    }

    pub(crate) fn unpack(packed: u64) -> Self {
        Self(packed)
    }
}

impl std::fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}#{}", self.ring(), self.slot(), self.generation())
    }
}

/// A ring's table has at most 1,048,576 entries.
const SLOT_BITS: u32 = 20;
const RING_BITS: u32 = 12;
