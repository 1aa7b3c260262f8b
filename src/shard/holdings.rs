//! Asking a shard what it holds.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::Shard;
use super::core::Core;
use super::links::{Parcel, Remote};
use crate::io::{Io, Taken};
use crate::telemetry::Holdings;

impl<I: Io> Shard<I> {
    pub(crate) fn holdings(&self) -> Holdings {
        let Taken { slots, starved, buffers } = self.io.taken();
        let woken = self.local.here.woken.borrow().len();
        let core = self.local.core.borrow();
        let Core { transport, hub } = &*core;
        let (fanouts, fanout_bytes) = hub.topics.fanouts();
        let notes = hub.channels.notes() + transport.notes() + hub.chores.len();
        Holdings {
            connections: hub.lines.len(),
            admissions: transport.admissions(),
            handshakes: transport.handshakes(),
            unfinished_bytes: transport.unfinished_bytes(),
            processes: hub.channels.processes(),
            topics: hub.topics.len(),
            subscribers: hub.topics.subscribers(),
            interests: hub.topics.interests(),
            timers: hub.channels.timers(),
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
}

/// Asks a shard what it holds. Nothing, if it has ended.
///
/// # Panics
///
/// When it does not answer within ten seconds.
pub(crate) fn ask(remote: &Remote) -> Holdings {
    let deadline = Instant::now() + PATIENCE;
    let (answer, answered) = mpsc::sync_channel(1);
    while let Err(error) = remote.send(Parcel::Holdings(Box::new(answer.clone()))) {
        if !error.is_full() {
            return Holdings::default();
        }
        assert!(Instant::now() < deadline, "shard {}'s inbox is full", remote.shard);
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(answer);
    match answered.recv_timeout(PATIENCE) {
        Ok(holdings) => holdings,
        // Its inbox has gone with it.
        Err(mpsc::RecvTimeoutError::Disconnected) => Holdings::default(),
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("shard {} is stuck", remote.shard),
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
