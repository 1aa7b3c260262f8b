//! The audience: whoever may stand in a topic.

use smallvec::SmallVec;

use super::subscriber::{Seat, Subscriber, TopicIndex};
use crate::message::{Broadcast, LineId, ProcessId};
use crate::shard::lines::Frame;

/// Whoever may stand in a topic, as the topics see them.
pub(crate) trait Audience {
    /// Queues a finished frame, or those of several broadcasts in one, past the channel.
    fn frame(&mut self, to: Subscriber, frame: &Frame, broadcasts: usize);

    /// Puts the message itself into a mailbox.
    fn mail(&mut self, to: Subscriber, how: Delivery, message: &Broadcast);

    /// Whether an intercepting channel wants this event for itself.
    fn intercepts(&self, who: Subscriber, event: &str) -> bool;

    /// Closes a socket that stands in the topic of its id.
    fn disconnect(&mut self, line: LineId);

    /// The channels of a client.
    fn channels(&mut self, line: LineId) -> SmallVec<[ProcessId; 4]>;

    /// Where a channel stands: in its own topic, and in those it has subscribed to.
    fn seats(&mut self, process: ProcessId) -> SmallVec<[Seat; 2]>;

    /// A subscriber stands somewhere else from here on.
    fn moved(&mut self, who: Subscriber, topic: TopicIndex, from: u32, to: u32);

    /// Has the processor fetch what it will take to serve a client, which is soon.
    fn prefetch(&self, line: LineId);
}

/// How a message comes into a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The channel intercepts it.
    Out,
    /// It is of another topic, which the channel has subscribed to.
    Broadcast,
    /// It was missed.
    Gap,
}
