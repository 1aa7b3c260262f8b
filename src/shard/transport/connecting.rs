//! Connecting: what `connect` has decided, and then the client is refused or has a socket.

use std::net::SocketAddr;

use super::errand::Connecting;
use super::table::{Stage, Transport};
use crate::io::ConnectionId;
use crate::message::Response;
use crate::protocol::http::{self, Afterwards};
use crate::shard::channels::{ConnectFailure, Connected, Hub, Opening};
use crate::shard::lines::Place;
use crate::telemetry::{Event, Who};

/// What `connect` has decided.
pub(crate) type Decision = Result<Connected, ConnectFailure>;

impl Transport {
    /// Takes a `connect` that waited, if it is there.
    pub(crate) fn resume(&mut self, hub: &mut Hub, id: ConnectionId) -> Option<Box<Connecting>> {
        let Some(Place::Arriving(place)) = hub.lines.place(id.into()) else { return None };
        let stage = &mut self.arriving[place as usize].stage;
        match std::mem::replace(stage, Stage::Deciding) {
            Stage::Connecting(connecting) => Some(connecting),
            other => {
                *stage = other;
                None
            }
        }
    }

    /// A `connect` waits.
    pub(crate) fn wait(&mut self, hub: &mut Hub, connecting: Box<Connecting>) {
        match self.deciding(hub, connecting.id) {
            Some(place) => self.arriving[place as usize].stage = Stage::Connecting(connecting),
            // Gone while it was polled.
            None => self.dead.push(connecting.connect),
        }
    }

    /// Acts on what `connect` has decided. Gives back what the client sent meanwhile, if it is to be
    /// read now.
    pub(crate) fn decide(
        &mut self,
        hub: &mut Hub,
        connecting: Box<Connecting>,
        decision: Decision,
    ) -> Option<Vec<u8>> {
        match decision {
            Ok(connected) => self.accept(hub, connecting, connected),
            Err(failure) => {
                self.paces.count(connecting.peer.ip(), hub.clock.now());
                let response = refusal(hub, connecting.peer, failure);
                let early = self.respond_and_go_on(hub, &connecting, &response);
                self.dead.push(connecting.connect);
                early
            }
        }
    }

    /// The handler of a mount.
    pub(crate) fn handler_name(&self, hub: &Hub, connecting: &Connecting) -> &'static str {
        hub.channels.mounts()[usize::from(connecting.mount)].handler.name()
    }

    /// The application accepts: upgrades, if the request can be.
    fn accept(
        &mut self,
        hub: &mut Hub,
        connecting: Box<Connecting>,
        connected: Connected,
    ) -> Option<Vec<u8>> {
        let (id, line) = (connecting.id, connecting.id.into());
        let Connected { socket, id: name } = connected;
        let key = match &connecting.upgrade {
            Ok(key) => key,
            Err(error) => {
                hub.channels.bury_socket(socket);
                let response = Response::new(400).text(error.to_string());
                return self.respond_and_go_on(hub, &connecting, &response);
            }
        };
        let Some(place) = self.deciding(hub, id) else {
            hub.channels.bury_socket(socket);
            return None;
        };
        hub.write_bytes(line, |out| http::write_switching_protocols(out, key, &[]));
        let (mount, encoding) = (connecting.mount, connecting.encoding);
        let session = hub.open_session(Opening { line, mount, encoding, socket, id: name });
        self.take_arriving(place);
        hub.lines.set_place(line, Place::Open(session, mount), Some(encoding));
        hub.telemetry.tell_of(&hub.who(session, line), Event::Connected);
        self.dead.push(connecting.connect);
        self.unfinished.take_bytes(id).map(|(_, early)| early)
    }

    /// Answers instead of upgrading. The client may send another request, or have sent it already,
    /// which is given back to be read. If it has sent frames of an upgrade that it took for granted,
    /// that is its end.
    fn respond_and_go_on(
        &mut self,
        hub: &mut Hub,
        connecting: &Connecting,
        response: &Response,
    ) -> Option<Vec<u8>> {
        let id = connecting.id;
        self.deciding(hub, id)?;
        let early = self.unfinished.take_bytes(id).map(|(_, early)| early);
        let is_request = early.as_deref().is_none_or(http::may_begin_request);
        let afterwards = if is_request { connecting.afterwards } else { Afterwards::Close };
        self.answer(hub, id, response, false, afterwards);
        early.filter(|_| afterwards != Afterwards::Close)
    }

    /// Where a client stands whose `connect` was polled.
    fn deciding(&mut self, hub: &mut Hub, id: ConnectionId) -> Option<u32> {
        match hub.lines.place(id.into())? {
            Place::Arriving(place) => Some(place),
            _ => None,
        }
    }
}

/// How a client is told that `connect` has refused it, or failed.
fn refusal(hub: &Hub, peer: SocketAddr, failure: ConnectFailure) -> Response {
    let who = Who::peer(peer);
    match failure {
        ConnectFailure::Params(error) => {
            hub.telemetry.tell_of(&who, Event::ParamsRefused { error: &error });
            Response::new(403)
        }
        ConnectFailure::Refused(response) => {
            hub.telemetry.tell_of(&who, Event::ConnectRefused { status: response.status });
            response
        }
        ConnectFailure::Crash(error) => {
            hub.telemetry.tell_of(&who, Event::ConnectCrashed { error: &error });
            Response::new(500)
        }
    }
}
