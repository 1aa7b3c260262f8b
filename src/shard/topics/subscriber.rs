//! Subscribers: who stands in a topic, and where.

use crate::message::{Encoding, LineId};

/// A topic of this shard, for as long as somebody holds it (see [`Topics::hold`](super::Topics::hold)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TopicIndex(pub(super) u32);

#[cfg(test)]
impl TopicIndex {
    /// The first that there is in a table.
    pub(crate) const FIRST: Self = Self(0);
}

/// A subscriber's place: in which topic, and where among those who stand there.
pub(crate) type Seat = (TopicIndex, u32);

/// One entry of a topic's array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subscriber {
    /// The client who gets the frame, or whose channel gets the broadcast.
    pub(crate) line: LineId,
    /// The process in its table; [`Subscriber::NO_PROCESS`] for [`Kind::Socket`].
    pub(crate) process: u32,
    pub(crate) mount: u8,
    pub(crate) route: u8,
    pub(crate) kind: Kind,
    pub(crate) encoding: Encoding,
}

/// How a subscriber takes a broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A joined channel: the finished frame goes to its connection, past the channel.
    Fastlane,
    /// The same, but the channel intercepts some events.
    Intercepting,
    /// A channel that subscribed to a topic besides its own: its callback gets it.
    Plain,
    /// A socket, subscribed to its id: the event `disconnect` closes it.
    Socket,
    /// One of the above, of which the topic's [`Fanout`](super::fanout::Fanout) says more: it has had broadcasts, or is not
    /// to have some, that others are still to get.
    Ahead,
}

impl Subscriber {
    /// In the place of a process, for a socket that stands in the topic of its id.
    pub(crate) const NO_PROCESS: u32 = u32::MAX;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_is_sixteen_bytes() {
        assert_eq!(size_of::<Subscriber>(), 16);
    }
}
