//! Transports: from a connection's first byte to an open socket, and what comes and goes after.
//!
//! ```text
//!  Head ──request──▶ plain route ──▶ Head again, or Ending
//!    │
//!    └──mount──▶ Connecting ──connect ok──▶ Open ──close, error, silence──▶ Ending ──▶ gone
//!                    └───────refused──────▶ Head again
//! ```
//!
//! `admission` lets clients in. Their bytes go where the connection has come to: `requests` reads
//! heads, `connecting` runs `connect`, `frames` takes messages out of an open socket's bytes, and
//! `endings` waits for the client's Close. Whose time is over is told by `deadlines`, beside this
//! folder.

mod admission;

mod requests;

mod connecting;

mod frames;

pub(crate) mod deadlines;
mod endings;
mod slow_readers;
mod unfinished;

use std::rc::Rc;

use super::{Core, Local};
use crate::io::ConnectionId;
use crate::protocol::websocket::{Input, Partial};
use crate::shard::lines::connection::{EndingStep, Head, Phase};

pub(crate) use admission::Admissions;
pub(crate) use connecting::Connecting;
pub(crate) use unfinished::{Mark, Unfinished};

/// What to do with bytes that came.
enum Received {
    Head(Box<Head>),
    Socket(Option<Box<Partial>>),
    Ending(Option<Box<Partial>>),
    Refused,
    Nothing,
}

impl Local {
    /// Takes bytes that a client sent.
    pub(crate) fn receive(self: &Rc<Self>, id: ConnectionId, bytes: &mut [u8]) {
        let received = self.core.borrow_mut().begin_receive(id, bytes);
        match received {
            Received::Head(head) => self.receive_head(id, head, bytes),
            Received::Socket(partial) => self.receive_frames(id, partial, bytes),
            Received::Ending(partial) => {
                let limits = self.core.borrow().websocket_limits();
                self.receive_ending(id, Input::new(partial, bytes, limits));
            }
            Received::Refused => self.core.borrow_mut().turn_away(id),
            Received::Nothing => {}
        }
    }
}

impl Core {
    fn begin_receive(&mut self, id: ConnectionId, bytes: &[u8]) -> Received {
        let heard = self.seconds_begun();
        let max_early = self.limits.max_head_size;
        let Some(connection) = self.connections.find(id) else { return Received::Nothing };
        connection.heard = heard;
        match &mut connection.phase {
            Phase::Open(session) if session.partial.is_none() => Received::Socket(None),
            Phase::Open(_) => Received::Socket(self.take_partial(id)),
            Phase::Head(_) => match self.take_phase(id) {
                Phase::Head(head) => Received::Head(head),
                _ => unreachable!("just seen"),
            },
            Phase::Connecting(_) => {
                let Phase::Connecting(mut connecting) = self.take_phase(id) else {
                    unreachable!("just seen");
                };
                let too_much = connecting.early.len() + bytes.len() > max_early;
                if too_much {
                    tracing::info!(peer = %connecting.peer, "refused: too much sent before connect");
                } else {
                    connecting.early.extend_from_slice(bytes);
                }
                self.put(id, Phase::Connecting(connecting));
                if too_much {
                    self.count_unreadable(true);
                    self.close_now(id);
                }
                Received::Nothing
            }
            Phase::Ending(ending) if ending.step == EndingStep::AwaitClose => {
                Received::Ending(self.take_partial(id))
            }
            Phase::Ending(ending) if ending.step == EndingStep::Refuse => Received::Refused,
            Phase::Ending(_) | Phase::Empty => Received::Nothing,
        }
    }

    /// Queues bytes that are no message: an HTTP answer, a control frame.
    fn write_bytes(&mut self, id: ConnectionId, write: impl FnOnce(&mut Vec<u8>)) {
        if self.is_flooded(id) {
            return;
        }
        let Some(connection) = self.connections.find(id) else { return };
        let arena = self.send_queue.arena();
        let start = arena.len();
        write(arena);
        self.send_queue.queue_written(id, &mut connection.outbox, start);
        self.check_backlog(id);
    }
}
