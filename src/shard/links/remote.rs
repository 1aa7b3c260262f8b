//! A shard as other threads see it: its queues and its doorbell.
//!
//! Whoever calls from the shard's own thread takes the shard's own path instead, so that the order
//! of one sender's messages is kept and nothing goes round by a queue.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
#[cfg(feature = "testing")]
use std::sync::mpsc::SyncSender;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TrySendError};

use crate::channel::{AddressError, ReplyError};
use crate::config::Limits;
use crate::io::{ConnectionId, Doorbell};
use crate::message::{Broadcast, Payload, ProcessId, frame_opcode};
use crate::protocol::phoenix::{RefBuf, Version};
use crate::protocol::websocket;
use crate::shard::channels::process::Mail;
#[cfg(feature = "testing")]
use crate::shard::holdings::Holdings;
use crate::shard::links::gaps::{self, GapInbox, Gaps};
use crate::shard::links::wakers::Woken;
use crate::shard::watch::Watched;
use crate::shard::{Local, with_current};

/// What other threads hold of a shard.
pub(crate) struct Remote {
    pub(crate) shard: usize,
    outside: Sender<Outside>,
    /// Bytes that wait in `outside`, or are about to.
    waiting: AtomicUsize,
    max_bytes: usize,
    /// What found no room, since the start.
    refused: AtomicU64,
    gaps: Gaps,
    /// Bounded by what waits: an alarm lists itself once until it is polled again.
    woken: Sender<Woken>,
    pub(crate) watched: Watched,
    pub(crate) doorbell: Arc<Doorbell>,
}

/// The receiving ends, which are the shard's.
pub(crate) struct Inbox {
    pub(crate) outside: Receiver<Outside>,
    pub(crate) woken: Receiver<Woken>,
    pub(crate) gaps: GapInbox,
}

/// What comes from threads that are no shards, or from another shard but not by the mesh.
pub(crate) enum Outside {
    Broadcast(Broadcast),
    Info {
        process: ProcessId,
        info: Box<dyn Any + Send>,
    },
    /// A process' late reply, finished.
    Reply {
        process: ProcessId,
        connection: ConnectionId,
        frame: Bytes,
    },
    /// A test wants to know what the shard holds.
    #[cfg(feature = "testing")]
    Holdings(SyncSender<Holdings>),
}

impl Outside {
    /// About how many bytes of memory it holds. What an application's message points to is not
    /// seen.
    fn size(&self) -> usize {
        match self {
            Self::Broadcast(broadcast) => broadcast.size(),
            Self::Info { info, .. } => size_of_val(&**info),
            Self::Reply { frame, .. } => frame.len(),
            #[cfg(feature = "testing")]
            Self::Holdings(_) => 0,
        }
    }
}

impl Remote {
    pub(crate) fn new(shard: usize, doorbell: Arc<Doorbell>, limits: &Limits) -> (Self, Inbox) {
        let (outside, outside_inbox) = crossbeam_channel::bounded(limits.max_inbox);
        let (woken, woken_inbox) = crossbeam_channel::unbounded();
        let (gaps, gap_inbox) = gaps::channel();
        let remote = Self {
            shard,
            outside,
            waiting: AtomicUsize::new(0),
            max_bytes: limits.max_inbox_bytes,
            refused: AtomicU64::new(0),
            gaps,
            woken,
            watched: Watched::default(),
            doorbell,
        };
        (remote, Inbox { outside: outside_inbox, woken: woken_inbox, gaps: gap_inbox })
    }

    /// Queues a broadcast and rings. False: the shard misses it, and its channels will be told.
    pub(crate) fn broadcast(&self, broadcast: &Broadcast) -> bool {
        match self.send(Outside::Broadcast(broadcast.clone())) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.miss(broadcast);
                false
            }
            // Nobody is there to miss it.
            Err(TrySendError::Disconnected(_)) => false,
        }
    }

    /// Has the shard's channels told that they miss this broadcast.
    pub(crate) fn miss(&self, broadcast: &Broadcast) {
        self.gaps.note(broadcast);
        self.doorbell.ring();
    }

    /// Queues something and rings. `Err` gives it back: the queue is full, or the shard is gone.
    pub(crate) fn send(&self, message: Outside) -> Result<(), TrySendError<Outside>> {
        let size = message.size();
        // Relaxed: the queue itself says what can be taken. This is about memory only.
        let waiting = self.waiting.fetch_add(size, Ordering::Relaxed);
        // One that is larger than all of them together may be still finds its way when none waits.
        let sent = if waiting > 0 && waiting.saturating_add(size) > self.max_bytes {
            Err(TrySendError::Full(message))
        } else {
            self.outside.try_send(message)
        };
        match &sent {
            Ok(()) => self.doorbell.ring(),
            Err(error) => {
                self.waiting.fetch_sub(size, Ordering::Relaxed);
                self.refused.fetch_add(u64::from(error.is_full()), Ordering::Relaxed);
            }
        }
        sent
    }

    /// The shard has taken a message out of its inbox.
    pub(crate) fn took(&self, message: &Outside) {
        self.waiting.fetch_sub(message.size(), Ordering::Relaxed);
    }

    /// Bytes that wait in the inbox.
    #[cfg(feature = "testing")]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// What found no room in the inbox, since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn wake(self: &Arc<Self>, woken: Woken) {
        if let Some(()) = with_current(self, |local| local.woken.borrow_mut().push(woken)) {
            return;
        }
        // Nobody is there to be woken when the shard has ended.
        if self.woken.send(woken).is_ok() {
            self.doorbell.ring();
        }
    }

    pub(crate) fn send_info(
        self: &Arc<Self>,
        process: ProcessId,
        info: Box<dyn Any + Send>,
    ) -> Result<(), AddressError> {
        let mut info = Some(info);
        let here = with_current(self, |local| {
            let mut core = local.core.try_borrow_mut().ok()?;
            info.take().map(|info| core.deliver(process, Mail::Info(info)))
        });
        if let Some(Some(sent)) = here {
            return sent;
        }
        let info = info.expect("given away only to the shard itself");
        self.send(Outside::Info { process, info }).map_err(|error| match error {
            TrySendError::Full(_) => AddressError::Full,
            TrySendError::Disconnected(_) => AddressError::Gone,
        })
    }
}

/// A client's message that waits for its answer.
pub(crate) struct LateReply {
    pub(crate) remote: Arc<Remote>,
    pub(crate) process: ProcessId,
    pub(crate) connection: ConnectionId,
    pub(crate) version: Version,
    pub(crate) topic: Box<str>,
    pub(crate) join_ref: RefBuf,
    pub(crate) message_ref: RefBuf,
}

impl LateReply {
    pub(crate) fn send(&self, status: &str, response: &Payload) -> Result<(), ReplyError> {
        let mut frame = Vec::new();
        websocket::try_write_frame(&mut frame, frame_opcode(response), |out| {
            self.version.encode_reply(
                out,
                self.join_ref.as_ref(),
                self.message_ref.as_ref(),
                (&*self.topic).into(),
                status,
                response.as_raw(),
            )
        })
        .map_err(|error| ReplyError::Encode(error.to_string()))?;
        let frame = Bytes::from(frame);
        let here = with_current(&self.remote, |local: &Local| {
            let mut core = local.core.try_borrow_mut().ok()?;
            core.send_late(self.process, self.connection, frame.clone());
            Some(())
        });
        if let Some(Some(())) = here {
            return Ok(());
        }
        let (process, connection) = (self.process, self.connection);
        let message = Outside::Reply { process, connection, frame };
        self.remote.send(message).map_err(|error| match error {
            TrySendError::Full(_) => ReplyError::Full,
            TrySendError::Disconnected(_) => ReplyError::Gone,
        })
    }
}
