//! Sessions: what the shard knows of each open socket.

use std::rc::Rc;

use smallvec::SmallVec;

use super::mount::AnySocket;
use crate::message::{LineId, ProcessId};
use crate::shard::table::Table;
use crate::shard::topics::{Seat, TopicIndex};

/// A Phoenix socket on its shard.
pub(super) struct Session {
    pub(super) line: LineId,
    /// The application's value; its type is the mount's.
    pub(super) socket: Rc<dyn AnySocket>,
    /// Topics that are joining or joined.
    pub(super) channels: SmallVec<[(TopicIndex, ProcessId); 1]>,
    /// Where it stands in the topic of its id.
    pub(super) id: Option<Seat>,
    pub(super) mount: u8,
}

impl Session {
    pub(super) fn channel(&self, topic: TopicIndex) -> Option<ProcessId> {
        self.channels.iter().find(|(held, _)| *held == topic).map(|(_, process)| *process)
    }

    /// A channel has ended: what comes for its topic is unmatched.
    pub(super) fn forget(&mut self, process: ProcessId) {
        self.channels.retain(|(_, its)| *its != process);
        if self.channels.len() <= 1 {
            self.channels.shrink_to_fit();
        }
    }
}

/// The sessions of a shard.
#[derive(Default)]
pub(super) struct Sessions(Table<Session>);

impl Sessions {
    pub(super) fn insert(&mut self, session: Session) -> u32 {
        u32::try_from(self.0.insert(session)).expect("sessions fit u32")
    }

    /// The session at a place, if it is still this client's.
    #[inline]
    pub(super) fn find(&mut self, place: u32, line: LineId) -> Option<&mut Session> {
        self.0.get_mut(place as usize).filter(|session| session.line == line)
    }

    /// The same, only to be looked at.
    pub(super) fn get(&self, place: u32, line: LineId) -> Option<&Session> {
        self.0.get(place as usize).filter(|session| session.line == line)
    }

    /// Takes out the session at a place where one is.
    pub(super) fn remove(&mut self, place: u32) -> Session {
        self.0.remove(place as usize)
    }

    /// Every session, and its place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Session)> {
        self.0.iter().map(|(place, session)| (place as u32, session))
    }
}

/// What a client at rest takes, to be told with all else that it does.
#[cfg(test)]
pub(crate) const SESSION_SIZE: usize = size_of::<Session>();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_socket_costs_what_it_did() {
        assert_eq!(size_of::<Session>(), 64);
    }

    /// A table's entry is no larger than what is in it.
    #[test]
    fn a_place_for_a_session_costs_no_more_than_the_session() {
        assert_eq!(size_of::<Option<Session>>(), 64);
    }
}
