//! Mounts and routes as a shard holds them: the application's types behind traits.

use std::any::Any;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use super::cell::Cell;
use crate::io::Peer;
use crate::message::{DecodeError, Encoding, ProcessId, Request, Response, Topic};
use crate::protocol::http::Params;
use crate::protocol::phoenix::{self, VersionError};

/// A socket handler with its routes, on this shard.
pub(crate) struct Mount {
    /// Its path in segments; those that begin with `:` are variables.
    pub(crate) path: Vec<String>,
    /// What follows it for a WebSocket, likewise.
    pub(crate) websocket_path: Vec<String>,
    pub(crate) max_topics: usize,
    pub(crate) handler: Box<dyn Handler>,
    pub(crate) routes: Vec<(Pattern, Box<dyn RouteHandler>)>,
}

impl Mount {
    /// The first route for a topic, and where the part begins that its `*` stands for.
    pub(crate) fn route(&self, topic: &str) -> Option<(u8, usize)> {
        self.routes.iter().enumerate().find_map(|(index, (pattern, _))| {
            Some((u8::try_from(index).ok()?, pattern.matches(topic)?))
        })
    }

    /// How messages are written of a client that asks for this version, of what the mount offers.
    pub(crate) fn encoding(&self, vsn: Option<Option<&str>>) -> Result<Encoding, VersionError> {
        phoenix::negotiate(vsn).map(Encoding::phoenix)
    }
}

/// The channel that a process or a subscriber says it has.
#[inline]
pub(crate) fn handler(mounts: &[Mount], mount: u8, route: u8) -> &dyn RouteHandler {
    &*mounts[usize::from(mount)].routes[usize::from(route)].1
}

/// A socket handler of the application.
pub(crate) trait Handler {
    /// `connect`, ready to be polled.
    fn connect(&self, params: Params, request: Request) -> Connect;

    fn name(&self) -> &'static str;
}

pub(crate) type Connect = Pin<Box<dyn Future<Output = Result<Connected, ConnectFailure>>>>;

/// A client that was accepted.
pub(crate) struct Connected {
    pub(crate) socket: Rc<dyn AnySocket>,
    pub(crate) id: Option<String>,
}

/// The application's value of a socket, and whose it is: in one block, for every client has one.
pub(crate) struct SocketValue<S> {
    peer: Peer,
    pub(crate) value: S,
}

impl<S> SocketValue<S> {
    pub(crate) fn new(peer: SocketAddr, value: S) -> Self {
        Self { peer: Peer::new(peer), value }
    }
}

/// A socket's value, of whichever type.
pub(crate) trait AnySocket: Any {
    /// Whose it is.
    fn peer(&self) -> &Peer;
}

impl<S: 'static> AnySocket for SocketValue<S> {
    fn peer(&self) -> &Peer {
        &self.peer
    }
}

/// Why a client was not accepted.
pub(crate) enum ConnectFailure {
    Params(DecodeError),
    Refused(Response),
    /// What the application's error said.
    Crash(String),
}

/// A channel of the application, for the topics of one route.
pub(crate) trait RouteHandler {
    fn spawn(&self, process: ProcessId, socket: &Rc<dyn AnySocket>, topic: Topic) -> Box<dyn Cell>;

    fn intercepts(&self, event: &str) -> bool;

    /// It intercepts anything at all.
    fn is_intercepting(&self) -> bool;

    /// Broadcasts may be dropped rather than a client that does not read be closed.
    fn is_lossy(&self) -> bool;

    fn name(&self) -> &'static str;
}

/// Which topics a route takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    Exact(String),
    /// Without its star.
    Prefix(String),
}

impl Pattern {
    /// `None`: a star anywhere but at the end.
    pub(crate) fn parse(pattern: &str) -> Option<Self> {
        let (head, is_prefix) = match pattern.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (pattern, false),
        };
        if head.contains('*') {
            return None;
        }
        Some(if is_prefix { Self::Prefix(head.to_owned()) } else { Self::Exact(head.to_owned()) })
    }

    /// Where in the topic the part begins that the star stands for; its end for an exact route.
    fn matches(&self, topic: &str) -> Option<usize> {
        match self {
            Self::Exact(name) => (topic == name).then_some(topic.len()),
            Self::Prefix(prefix) => topic.starts_with(prefix.as_str()).then_some(prefix.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_only_at_the_end() {
        assert_eq!(Pattern::parse("room:*"), Some(Pattern::Prefix("room:".to_owned())));
        assert_eq!(Pattern::parse("*"), Some(Pattern::Prefix(String::new())));
        assert_eq!(Pattern::parse("room:1"), Some(Pattern::Exact("room:1".to_owned())));
        for wrong in ["ro*m:1", "*room", "room:**", "*:*"] {
            assert_eq!(Pattern::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn patterns_match_by_bytes() {
        let prefix = Pattern::parse("foo*").expect("valid");
        assert_eq!(prefix.matches("foo"), Some(3));
        assert_eq!(prefix.matches("food"), Some(3));
        assert_eq!(prefix.matches("Foo"), None);
        let exact = Pattern::parse("room:1").expect("valid");
        assert_eq!((exact.matches("room:1"), exact.matches("room:12")), (Some(6), None));
    }
}
