//! Who a client is, for what is told of it.

use super::hub::{Channels, Hub};
use crate::io::Peer;
use crate::message::{LineId, ProcessId};
use crate::telemetry::Who;

impl Hub {
    /// The client of a session.
    pub(crate) fn who(&self, place: u32, line: LineId) -> Who {
        let session = self.channels.sessions.get(place, line);
        Who {
            peer: session.map(|session| session.socket.peer().address()),
            id: session.and_then(|its| its.id).map(|(id, _)| self.topics.name(id).clone()),
            topic: None,
        }
    }

    /// A process' client, and its topic.
    pub(crate) fn who_of(&self, id: ProcessId) -> Who {
        let Some(process) = self.channels.processes.get(id) else { return Who::NOBODY };
        let mut who = self.who(process.session, process.line);
        if who.peer.is_none() {
            let peer = process.rare.as_ref().and_then(|rare| rare.peer.as_ref());
            who.peer = peer.map(Peer::address);
        }
        who.at(self.topics.name(process.topic).clone())
    }
}

impl Channels {
    /// Remembers whose a process is whose session goes before it.
    pub(super) fn remember_peer(&mut self, id: ProcessId, peer: &Peer) {
        if let Some(process) = self.processes.find(id) {
            process.rare().peer = Some(peer.clone());
        }
    }

    /// The same while the session is there.
    pub(super) fn remember_peer_of(&mut self, id: ProcessId) {
        let Self { processes, sessions, .. } = self;
        let process = processes.known(id);
        if let Some(session) = sessions.get(process.session, process.line) {
            process.rare().peer = Some(session.socket.peer().clone());
        }
    }
}
