//! Handing over: a connection whose request is for nothing here becomes the application's.
//!
//! ```text
//!  a request for nobody ─▶ nothing more is read ─▶ all is written ─▶ the kernel lets go ─▶ fallback
//!                          what comes is kept                        of the receive first
//! ```
//!
//! The decision is the connection's, at its first such request, and is not taken back: what it asks
//! for after that is for the application to answer, were it for a mount.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::requests::unavailable;
use super::table::{Stage, Step, Transport};
use crate::io::ConnectionId;
use crate::message::{Fallback, Stop};
use crate::protocol::http::Afterwards;
use crate::shard::channels::Hub;
use crate::shard::lines::{Place, Progress};
use crate::stream::Stream;

/// A connection, and who takes it.
pub(crate) struct HandOver {
    pub(crate) stream: Stream,
    pub(crate) fallback: Arc<dyn Fallback>,
}

impl Transport {
    /// The connection is to be handed over, with these bytes that nobody has read.
    pub(super) fn begin_hand_over(&mut self, id: ConnectionId, place: u32, unread: Vec<u8>) {
        self.unfinished.keep_bytes(id, unread, None);
        self.set_stage(place, Stage::HandingOver);
        // What is sent from here on is better read by who is to have it.
        self.waiting.stop(id);
        self.handing_over.push(id);
    }

    /// More has come of a connection that is handed over.
    pub(super) fn keep_for_hand_over(&mut self, hub: &mut Hub, id: ConnectionId, bytes: &[u8]) {
        self.unfinished.keep_more(id, bytes);
        self.trim_unfinished(hub);
    }

    /// Whether a connection is being handed over.
    pub(super) fn is_handing_over(&self, hub: &mut Hub, id: ConnectionId) -> bool {
        match hub.lines.place(id.into()) {
            Some(Place::Arriving(place)) => {
                matches!(self.arriving[place as usize].stage, Stage::HandingOver)
            }
            _ => false,
        }
    }

    /// After a flush: those that have nothing left to write go.
    pub(crate) fn advance_hand_overs(&mut self, hub: &mut Hub) {
        for id in std::mem::take(&mut self.handing_over) {
            if !self.is_handing_over(hub, id) {
                continue;
            }
            match hub.lines.progress(id.into()) {
                Progress::Drained => self.last.handed_over.push(id),
                Progress::GoesOn => self.handing_over.push(id),
                // Looked at again when it is writable; or it is closed for being idle.
                Progress::Blocked => {}
            }
        }
    }

    /// The kernel has let go of a connection, or can't.
    pub(crate) fn handed_over(
        &mut self,
        hub: &mut Hub,
        id: ConnectionId,
        socket: std::io::Result<OwnedFd>,
    ) -> Option<HandOver> {
        let Some(Place::Arriving(place)) = hub.lines.place(id.into()) else { return None };
        let (peer, fallback) = (self.arriving[place as usize].peer, self.routes.fallback.clone()?);
        let unread = self.unfinished.take_bytes(id).map(|(_, unread)| unread).unwrap_or_default();
        match socket {
            Ok(socket) => {
                self.take_arriving(place);
                hub.lines.remove(id.into());
                self.unfinished.forget(id);
                self.admissions.dismiss(hub.links.shared(), false);
                tracing::debug!(%peer, "handed a connection over");
                Some(HandOver { stream: Stream::new(socket, unread, peer), fallback })
            }
            Err(error) => {
                tracing::warn!(%peer, %error, "a connection could not be handed over");
                self.respond(hub, id, &unavailable(), false, Afterwards::Close);
                self.leave(hub, id, Step::Close, &Stop::Closed);
                None
            }
        }
    }
}
