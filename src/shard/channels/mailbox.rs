//! Mailboxes: what waits for a process.

use std::any::Any;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use super::timers::MakeInfo;
use crate::message::{Broadcast, Payload};
use crate::protocol::phoenix::RefBuf;

/// What waits for a process: boxed, because most have nothing most of the time.
#[derive(Default)]
pub(crate) struct Mailbox(Option<Box<Queue>>);

#[derive(Default)]
struct Queue {
    mail: VecDeque<Mail>,
    /// Bytes of it that its client has sent.
    received: usize,
    /// Bytes of it that are broadcasts, which others may hold too.
    shared: usize,
    /// Much waits, and until then the client is held up by it.
    crowded_until: Option<Instant>,
}

impl Mailbox {
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.mail.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Bytes that a client has sent of what waits.
    pub(crate) fn received(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.received)
    }

    /// Whether a broadcast finds room: for so many that wait, and for their bytes. There is always
    /// room for the bytes of one.
    pub(crate) fn has_room_for(&self, mail: &Mail, bounds: MailboxBounds) -> bool {
        self.0.as_ref().is_none_or(|queue| {
            let fits =
                queue.shared == 0 || queue.shared.saturating_add(mail.shared()) <= bounds.max_bytes;
            queue.mail.len() < bounds.max_mail && fits
        })
    }

    /// Whether the last thing that waits is the word of a gap, and this is another of the same
    /// topic.
    pub(crate) fn says_already(&self, mail: &Mail) -> bool {
        let last = self.0.as_ref().and_then(|queue| queue.mail.back());
        match (last, mail) {
            (Some(Mail::Gap(last)), Mail::Gap(missed)) => last.topic() == missed.topic(),
            (Some(Mail::Missed), Mail::Missed) => true,
            _ => false,
        }
    }

    /// Whether more waits than a part of what may.
    pub(super) fn is_fuller_than(&self, bounds: MailboxBounds, part: usize) -> bool {
        self.0.as_ref().is_some_and(|queue| {
            queue.mail.len() > bounds.max_mail / part || queue.received > bounds.max_bytes / part
        })
    }

    /// Until when the client is held up: until then, unless that was said before.
    pub(super) fn crowded_until(&mut self, until: Instant) -> Instant {
        *self.0.get_or_insert_default().crowded_until.get_or_insert(until)
    }

    /// Little waits, and what was said of holding up the client is over.
    pub(super) fn calm(&mut self) {
        if let Some(queue) = &mut self.0 {
            queue.crowded_until = None;
        }
    }

    pub(crate) fn push(&mut self, mail: Mail) {
        let queue = self.0.get_or_insert_default();
        queue.received += mail.received();
        queue.shared += mail.shared();
        queue.mail.push_back(mail);
    }

    pub(crate) fn pop(&mut self) -> Option<Mail> {
        let queue = self.0.as_mut()?;
        let mail = queue.mail.pop_front();
        queue.received -= mail.as_ref().map_or(0, Mail::received);
        queue.shared -= mail.as_ref().map_or(0, Mail::shared);
        if queue.mail.is_empty() {
            self.0 = None;
        }
        mail
    }

    pub(crate) fn take(&mut self) -> VecDeque<Mail> {
        self.0.take().map_or_else(VecDeque::new, |queue| queue.mail)
    }
}

/// Something that waits in a mailbox.
pub(crate) enum Mail {
    /// A client's event.
    Event {
        message_ref: RefBuf,
        event: String,
        payload: Payload,
    },
    /// The client leaves.
    Leave {
        message_ref: RefBuf,
    },
    /// A broadcast to intercept.
    Out(Broadcast),
    /// A broadcast of another topic.
    Broadcast(Broadcast),
    /// A broadcast of another topic that was missed.
    Gap(Broadcast),
    /// Broadcasts of its own topic were missed.
    Missed,
    Info(Box<dyn Any + Send>),
    /// An interval's message, made when its turn comes.
    Tick(MakeInfo),
    /// Whatever the client sent for this topic while it was joining, to be looked at afterwards as
    /// if the join had held it up.
    Behind(Box<OwnedMessage>),
}

impl Mail {
    /// Bytes of the broadcast that it is.
    fn shared(&self) -> usize {
        match self {
            Self::Out(broadcast) | Self::Broadcast(broadcast) | Self::Gap(broadcast) => {
                broadcast.size()
            }
            Self::Event { .. }
            | Self::Leave { .. }
            | Self::Missed
            | Self::Info(_)
            | Self::Tick(_)
            | Self::Behind(_) => 0,
        }
    }

    /// Bytes that a client has sent for it, and that only it holds.
    fn received(&self) -> usize {
        match self {
            Self::Event { message_ref, event, payload } => {
                message_ref.as_ref().as_json().len() + event.len() + payload.as_bytes().len()
            }
            Self::Leave { message_ref } => message_ref.as_ref().as_json().len(),
            Self::Behind(message) => {
                let refs = [&message.join_ref, &message.message_ref];
                refs.map(|part| part.as_ref().as_json().len()).iter().sum::<usize>()
                    + message.topic.len()
                    + message.event.len()
                    + message.payload.as_bytes().len()
            }
            Self::Out(_)
            | Self::Broadcast(_)
            | Self::Gap(_)
            | Self::Missed
            | Self::Info(_)
            | Self::Tick(_) => 0,
        }
    }
}

/// A client's message that outlives its receive buffer.
pub(crate) struct OwnedMessage {
    pub(crate) join_ref: RefBuf,
    pub(crate) message_ref: RefBuf,
    pub(crate) topic: Rc<str>,
    pub(crate) event: String,
    pub(crate) payload: Payload,
}

/// How much may wait in a mailbox.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MailboxBounds {
    pub(crate) max_mail: usize,
    pub(crate) max_bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_a_pointer() {
        assert_eq!(size_of::<Mailbox>(), 8);
    }

    fn info(number: u32) -> Mail {
        Mail::Info(Box::new(number))
    }

    fn number(mail: Option<Mail>) -> Option<u32> {
        match mail? {
            Mail::Info(info) => (info as Box<dyn Any>).downcast().ok().map(|number| *number),
            _ => None,
        }
    }

    #[test]
    fn a_mailbox_gives_back_in_order_and_owns_nothing_when_it_is_empty() {
        let mut mailbox = Mailbox::default();
        assert!(mailbox.is_empty() && mailbox.pop().is_none());
        (0..3).for_each(|it| mailbox.push(info(it)));
        assert_eq!(mailbox.len(), 3);
        let given: Vec<_> = std::iter::from_fn(|| number(mailbox.pop())).collect();
        assert_eq!(given, [0, 1, 2]);
        assert!(mailbox.is_empty() && mailbox.0.is_none());
        (3..5).for_each(|it| mailbox.push(info(it)));
        assert_eq!(mailbox.take().len(), 2);
        assert!(mailbox.is_empty() && mailbox.take().is_empty());
    }
}
