//! Holdings: everything that a shard has in its hands, counted when a test asks.
//!
//! The figures that a shard [publishes](super::counters) every turn are few, because they cost each
//! turn. These cost nothing until somebody asks, by a message that comes in like any other from
//! outside, and so they can be all there are.

#![expect(clippy::disallowed_methods, reason = "whoever asks waits, on a thread of his own")]

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::remote::{Outside, Remote};
use super::{Core, Shard};
use crate::io::{Io, Taken};

/// What a shard holds at one moment between two of its deeds. At rest all of it is nothing, but for
/// [`deadlines`](Self::deadlines).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holdings {
    /// TCP connections, in any state.
    pub connections: usize,
    /// Places that connections have been given, of those that the limits allow.
    pub admissions: usize,
    /// Connections on their way to a socket: their request is awaited, or `connect` runs.
    pub handshakes: usize,
    /// Bytes of requests and messages that are not whole.
    pub unfinished_bytes: usize,
    /// Channels joined, joining or ending.
    pub processes: usize,
    /// Topics that somebody holds.
    pub topics: usize,
    /// Entries of all topics' subscribers.
    pub subscribers: usize,
    /// Parts of the interest table that this shard has marked; none where there is one shard.
    pub interests: usize,
    /// Timers waiting.
    pub timers: usize,
    /// Topics whose broadcasts are on their way in slices.
    pub fanouts: usize,
    /// Bytes of those broadcasts.
    pub fanout_bytes: usize,
    /// Bytes that other threads have sent to this shard and it has not taken.
    pub inbox_bytes: usize,
    /// Bytes that this shard has sent to others and they have not taken.
    pub mesh_bytes: usize,
    /// Entries of the wheel of deadlines. A connection that has gone leaves its own behind until
    /// its second comes.
    pub deadlines: usize,
    /// What the turn has noted to be done and not done yet: callbacks to run, connections to close
    /// or to write to, values to drop.
    pub chores: usize,
    /// Slots of the rings' tables that are taken, by more than an accept under way.
    pub slots: usize,
    /// Connections that wait for a buffer to receive into.
    pub starved: usize,
    /// Buffers that the kernel has filled and not been given back.
    pub buffers: usize,
}

impl Holdings {
    /// Whether nothing is left but deadlines of connections that have gone.
    pub fn is_rest(&self) -> bool {
        *self == Self { deadlines: self.deadlines, ..Self::default() }
    }
}

impl<I: Io> Shard<I> {
    pub(crate) fn holdings(&self) -> Holdings {
        let Taken { slots, starved, buffers } = self.io.taken();
        let woken = self.local.woken.borrow().len();
        let core = self.local.core.borrow();
        Holdings {
            connections: core.connections.len(),
            admissions: core.admissions.len(),
            handshakes: core.unfinished.handshakes(),
            unfinished_bytes: core.unfinished.bytes(),
            processes: core.processes.len(),
            topics: core.topics.len(),
            subscribers: core.subscribers(),
            interests: core.interest.len(),
            timers: core.timers.len(),
            fanouts: core.slices.len(),
            fanout_bytes: core.slices.bytes(),
            inbox_bytes: core.remote.waiting(),
            mesh_bytes: core.mesh.bytes(),
            deadlines: core.deadlines.len(),
            chores: core.chores() + woken,
            slots,
            starved,
            buffers,
        }
    }
}

impl Core {
    fn subscribers(&self) -> usize {
        let topics = self.topics.indices().into_iter();
        topics.map(|topic| self.topics.subscribers(topic).len()).sum()
    }

    fn chores(&self) -> usize {
        self.ready.len()
            + self.wakes.len()
            + self.disconnecting.len()
            + self.overdue_readers.len()
            + self.ending.len()
            + self.shut_down.len()
            + self.closed.len()
            + self.dead.len()
            + self.send_queue.len()
    }
}

impl Remote {
    /// Asks the shard what it holds. Nothing, if it has ended.
    ///
    /// # Panics
    ///
    /// When it does not answer within ten seconds.
    pub(crate) fn ask_holdings(&self) -> Holdings {
        let deadline = Instant::now() + PATIENCE;
        let (answer, answered) = mpsc::sync_channel(1);
        while let Err(error) = self.send(Outside::Holdings(answer.clone())) {
            if !error.is_full() {
                return Holdings::default();
            }
            assert!(Instant::now() < deadline, "shard {}'s inbox is full", self.shard);
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(answer);
        match answered.recv_timeout(PATIENCE) {
            Ok(holdings) => holdings,
            // Its inbox has gone with it.
            Err(mpsc::RecvTimeoutError::Disconnected) => Holdings::default(),
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("shard {} is stuck", self.shard),
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
