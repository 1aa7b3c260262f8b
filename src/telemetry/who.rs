//! Who an event is about.

use std::net::SocketAddr;
use std::rc::Rc;

use super::rates::Subject;

/// Whom an event is about, as far as that is known.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) peer: Option<SocketAddr>,
    /// The socket's id, by which the application calls it.
    pub(crate) id: Option<Rc<str>>,
    pub(crate) topic: Option<Rc<str>>,
}

impl Who {
    pub(crate) const NOBODY: Self = Self { peer: None, id: None, topic: None };

    pub(crate) fn peer(peer: SocketAddr) -> Self {
        Self { peer: Some(peer), ..Self::NOBODY }
    }

    pub(crate) fn topic(topic: impl Into<Rc<str>>) -> Self {
        Self::NOBODY.at(topic)
    }

    /// The same, at a topic.
    pub(crate) fn at(self, topic: impl Into<Rc<str>>) -> Self {
        Self { topic: Some(topic.into()), ..self }
    }

    /// Whom lines are counted for.
    pub(super) fn subject(&self) -> Subject {
        match (self.peer, &self.topic) {
            (Some(peer), _) => Subject::peer(peer.ip()),
            (None, Some(topic)) => Subject::name(topic),
            (None, None) => Subject::Nobody,
        }
    }
}
