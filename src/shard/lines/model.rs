//! Random programs over the lines, beside an oracle of plain bytes: each client is written what was
//! queued for it, all of it and in its order, however little its socket takes at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use proptest::prelude::*;

use super::line::Place;
use super::{Bounds, Lines, Room, Unsettled};
use crate::io::{Completion, ConnectionId, Io, Rest, Unsent};
use crate::message::Encoding;
use crate::telemetry::{Tally, Telemetry};

/// A kernel whose sockets take what they have room for.
#[derive(Default)]
struct Sockets {
    room: BTreeMap<ConnectionId, usize>,
    written: BTreeMap<ConnectionId, Vec<u8>>,
    awaited: BTreeSet<ConnectionId>,
    rests: usize,
}

impl Io for Sockets {
    fn send<'a>(
        &mut self,
        sends: impl Iterator<Item = (ConnectionId, &'a [u8])>,
        unsent: &mut Vec<Unsent>,
        rest: Option<Rest<'_>>,
    ) {
        let mut asked = BTreeSet::new();
        for (id, bytes) in sends {
            assert!(asked.insert(id), "{id:?} twice in one batch");
            assert!(!bytes.is_empty() && !self.awaited.contains(&id), "{id:?} is not to be asked");
            let room = self.room.entry(id).or_default();
            let written = bytes.len().min(*room);
            *room -= written;
            self.written.entry(id).or_default().extend(&bytes[..written]);
            if written < bytes.len() {
                unsent.push(Unsent { id, written, broken: false });
            }
        }
        self.rests += usize::from(rest.is_some() && unsent.is_empty());
    }

    fn hold(&mut self, _: ConnectionId) {
        unreachable!("lines only write");
    }

    fn release(&mut self, _: ConnectionId) {
        unreachable!("lines only write");
    }

    fn hand_over(&mut self, _: ConnectionId) {
        unreachable!("lines only write");
    }

    fn await_writable(&mut self, id: ConnectionId) {
        assert!(self.awaited.insert(id), "{id:?} is to tell twice");
    }

    fn now(&self) -> Instant {
        unreachable!("lines have no clock")
    }

    fn clock(&self) -> Instant {
        self.now()
    }

    fn gather(&mut self) {}

    fn has_told_all(&self) -> bool {
        true
    }

    fn is_starved(&self, _: ConnectionId) -> bool {
        false
    }

    fn next_completion(&mut self) -> Option<Completion<'_>> {
        None
    }

    fn shutdown(&mut self, _: ConnectionId) {}

    fn close(&mut self, _: ConnectionId) {}

    fn turn_away(&mut self) -> bool {
        false
    }

    fn stop_accepting(&mut self) {}

    #[cfg(feature = "testing")]
    fn taken(&self) -> crate::io::Taken {
        crate::io::Taken::default()
    }
}

#[derive(Debug, Clone)]
enum Deed {
    /// A reply, made in the turn's arena.
    Write {
        line: usize,
        bytes: usize,
    },
    /// A finished frame for one.
    Push {
        line: usize,
        bytes: usize,
    },
    /// A frame that several share, for a channel that may lose it or not.
    Broadcast {
        bytes: usize,
        is_lossy: bool,
    },
    /// A socket has room for so many bytes more.
    Read {
        line: usize,
        bytes: usize,
    },
    Flush,
}

const LINES: usize = 4;
const MAX_OWED: usize = 300_000;
/// Broadcasts for processes below it may be dropped.
const LOSSY: u32 = 100;

fn deed() -> impl Strategy<Value = Deed> {
    let line = 0..LINES;
    let bytes = prop_oneof![4 => 1..200_usize, 1 => 1..90_000_usize];
    prop_oneof![
        4 => (line.clone(), bytes.clone()).prop_map(|(line, bytes)| Deed::Write { line, bytes }),
        2 => (line.clone(), bytes.clone()).prop_map(|(line, bytes)| Deed::Push { line, bytes }),
        3 => (bytes.clone(), any::<bool>())
            .prop_map(|(bytes, is_lossy)| Deed::Broadcast { bytes, is_lossy }),
        3 => (line, 0..200_000_usize).prop_map(|(line, bytes)| Deed::Read { line, bytes }),
        4 => Just(Deed::Flush),
    ]
}

struct Model {
    lines: Lines,
    sockets: Sockets,
    /// What each is to be written, frame by frame; and which may be dropped.
    owed: Vec<Vec<(Vec<u8>, bool)>>,
    frames: u32,
}

impl Model {
    fn new() -> Self {
        let telemetry = Telemetry::new(0, Arc::new(Tally::default()));
        let bounds = Bounds { max_owed: MAX_OWED, max_queued: 10 * MAX_OWED };
        let mut lines = Lines::new(bounds, telemetry);
        for line in 0..LINES {
            lines.insert(id(line).into(), 0, Place::Arriving(0));
            lines.set_place(id(line).into(), Place::Open(0, 0), Some(Encoding::V2));
        }
        Self { lines, sockets: Sockets::default(), owed: vec![Vec::new(); LINES], frames: 0 }
    }

    fn act(&mut self, deed: &Deed) {
        match *deed {
            Deed::Write { line, bytes } => {
                let frame = self.frame(bytes);
                let written = self.lines.write(id(line).into(), |_, out| {
                    out.extend_from_slice(&frame);
                    Ok(())
                });
                if written.expect("it can be encoded") != Room::Flooded {
                    self.owed[line].push((frame, false));
                }
            }
            Deed::Push { line, bytes } => {
                let frame = self.frame(bytes);
                if self.lines.push(id(line).into(), Rc::new(frame.clone().into())) != Room::Flooded
                {
                    self.owed[line].push((frame, false));
                }
            }
            Deed::Broadcast { bytes, is_lossy } => self.broadcast(bytes, is_lossy),
            Deed::Read { line, bytes } => {
                *self.sockets.room.entry(id(line)).or_default() += bytes;
                if bytes > 0 && self.sockets.awaited.remove(&id(line)) {
                    self.lines.unblock(id(line).into());
                }
            }
            Deed::Flush => self.flush(),
        }
    }

    fn broadcast(&mut self, bytes: usize, is_lossy: bool) {
        let frame = self.frame(bytes);
        let shared = Rc::new(Bytes::from(frame.clone()));
        for line in 0..LINES {
            let process = line as u32 + if is_lossy { 0 } else { LOSSY };
            let room = self.lines.push_broadcasts(id(line).into(), process, &shared, 1);
            self.owed[line].push((frame.clone(), is_lossy));
            if room == Room::Exceeded {
                // Those that none of has been written may go, the oldest first.
                let _ = self.lines.drop_broadcasts(id(line).into(), |process| process < LOSSY);
            }
        }
    }

    fn flush(&mut self) {
        let mut unsettled = Unsettled::default();
        let is_idle = || true;
        let rest = Rest { until: None, is_idle: &is_idle };
        self.lines.flush(&mut self.sockets, &mut unsettled, Some(rest));
        self.lines.check();
        assert!(unsettled.broken.is_empty());
        for line in unsettled.refused {
            assert!(self.sockets.awaited.contains(&line.into()), "{line:?} is told of");
        }
        for line in 0..LINES {
            self.assert_in_order(line);
        }
    }

    /// What was written is what was queued, but for frames that could be dropped.
    fn assert_in_order(&self, line: usize) {
        let none = Vec::new();
        let mut written = self.sockets.written.get(&id(line)).unwrap_or(&none).as_slice();
        for (frame, may_be_dropped) in &self.owed[line] {
            if let Some(rest) = written.strip_prefix(frame.as_slice()) {
                written = rest;
            } else if frame.starts_with(written) && !written.is_empty() {
                // The last so far, and half of it.
                return;
            } else {
                assert!(written.is_empty() || *may_be_dropped, "line {line}: a frame is missing");
            }
        }
        assert!(written.is_empty(), "line {line}: something that nobody queued");
    }

    /// A frame that is like no other.
    fn frame(&mut self, bytes: usize) -> Vec<u8> {
        self.frames += 1;
        let number = self.frames.to_be_bytes();
        number.iter().copied().chain(std::iter::repeat_n(self.frames as u8, bytes)).collect()
    }

    fn finish(&mut self) {
        for turn in 0.. {
            assert!(turn < 10_000, "what waits is never written");
            for line in 0..LINES {
                self.act(&Deed::Read { line, bytes: 100_000 });
            }
            self.flush();
            let drained = |line| self.lines.progress(id(line).into()) == super::Progress::Drained;
            if (0..LINES).all(drained) {
                break;
            }
        }
        for (line, owed) in self.owed.iter().enumerate() {
            let kept: usize =
                owed.iter().filter(|(_, may_go)| !may_go).map(|(frame, _)| frame.len()).sum();
            let written = self.sockets.written.get(&id(line)).map_or(0, Vec::len);
            assert!(written >= kept, "line {line}: {written} bytes of {kept}");
        }
        assert!(self.sockets.rests > 0, "it rests when all is written");
    }
}

fn id(line: usize) -> ConnectionId {
    ConnectionId::new(0, line, 1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn each_client_is_written_what_was_queued_for_it_in_order(
        deeds in proptest::collection::vec(deed(), 1..120),
    ) {
        let mut model = Model::new();
        for deed in &deeds {
            model.act(deed);
        }
        model.finish();
    }
}
