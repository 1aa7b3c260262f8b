//! A shard as other threads see it: its queues and its doorbell.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
#[cfg(feature = "testing")]
use std::sync::mpsc;
#[cfg(feature = "testing")]
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};

use super::gaps::{self, GapInbox, Gaps};
use super::parcel::Parcel;
use super::watched::Watched;
use super::woken::Woken;
use crate::config::Limits;
use crate::io::Doorbell;
use crate::message::Broadcast;
use crate::shard::deadlines::Deadlines;
#[cfg(feature = "testing")]
use crate::telemetry::Holdings;

/// What other threads hold of a shard.
pub(crate) struct Remote {
    pub(crate) shard: usize,
    outside: Sender<Parcel>,
    /// Bytes that wait in `outside`, or are about to.
    waiting: AtomicUsize,
    max_bytes: usize,
    /// What found no room, since the start.
    refused: AtomicU64,
    gaps: Gaps,
    /// Bounded by what waits: an alarm lists itself once until it is polled again.
    woken: Sender<Woken>,
    pub(crate) watched: Watched,
    /// Of those who have asked a process of the shard something, and wait elsewhere.
    pub(crate) deadlines: Deadlines,
    /// Something was put where the shard looks, here or in the mesh, since it looked last.
    has_news: AtomicBool,
    pub(crate) doorbell: Arc<Doorbell>,
}

/// The receiving ends, which are the shard's.
pub(crate) struct Inbox {
    pub(crate) outside: Receiver<Parcel>,
    pub(crate) woken: Receiver<Woken>,
    pub(crate) gaps: GapInbox,
}

impl Inbox {
    /// Nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.outside.is_empty() && self.woken.is_empty() && self.gaps.is_empty()
    }
}

/// What became of a parcel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Queued,
    /// There was no room for it.
    Missed,
    /// The shard has ended: nobody is there to miss it.
    Gone,
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
            deadlines: Deadlines::default(),
            has_news: AtomicBool::new(false),
            doorbell,
        };
        (remote, Inbox { outside: outside_inbox, woken: woken_inbox, gaps: gap_inbox })
    }

    /// Has the shard look at its queues. Called after something has been put there.
    pub(crate) fn ring(&self) {
        // Release pairs with the Acquire in `take_news`: who sees it sees what was put there. A
        // shard about to sleep looks at the queues themselves, behind the doorbell's fence.
        self.has_news.store(true, Ordering::Release);
        self.doorbell.ring();
    }

    /// Whether something may wait that was not there when this was asked last. The shard looks at
    /// this each turn, rather than at queues of which each look costs a fence.
    #[inline]
    pub(crate) fn take_news(&self) -> bool {
        self.has_news.load(Ordering::Relaxed) && self.has_news.swap(false, Ordering::AcqRel)
    }

    /// Has the shard's channels told that they miss this broadcast.
    pub(crate) fn miss(&self, broadcast: &Broadcast) {
        self.gaps.note(broadcast);
        self.ring();
    }

    /// Queues something and rings.
    ///
    /// # Errors
    ///
    /// Gives it back: the queue is full, or the shard is gone.
    pub(crate) fn send(&self, parcel: Parcel) -> Result<(), TrySendError<Parcel>> {
        let size = parcel.size();
        // Relaxed: the queue itself says what can be taken. This is about memory only.
        let waiting = self.waiting.fetch_add(size, Ordering::Relaxed);
        // One that is larger than all of them together may be still finds its way when none waits.
        let sent = if waiting > 0 && waiting.saturating_add(size) > self.max_bytes {
            Err(TrySendError::Full(parcel))
        } else {
            self.outside.try_send(parcel)
        };
        match &sent {
            Ok(()) => self.ring(),
            Err(error) => {
                self.waiting.fetch_sub(size, Ordering::Relaxed);
                self.refused.fetch_add(u64::from(error.is_full()), Ordering::Relaxed);
            }
        }
        sent
    }

    /// The shard has taken a parcel out of its inbox.
    pub(crate) fn took(&self, parcel: &Parcel) {
        self.waiting.fetch_sub(parcel.size(), Ordering::Relaxed);
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

    /// Lists somebody to go on: on the shard's own thread without going round by a queue.
    pub(crate) fn wake(self: &Arc<Self>, woken: Woken) {
        let here = HERE.try_with(|here| match &*here.borrow() {
            Some(Here { remote, woken: list }) if Arc::ptr_eq(remote, self) => {
                list.borrow_mut().push(woken);
                true
            }
            _ => false,
        });
        if here == Ok(true) {
            return;
        }
        // Nobody is there to be woken when the shard has ended.
        if self.woken.send(woken).is_ok() {
            self.ring();
        }
    }
}

/// A shard on its own thread, as its wakers find it: they may ring while its tables are borrowed.
#[derive(Clone)]
pub(crate) struct Here {
    pub(crate) remote: Arc<Remote>,
    pub(crate) woken: Rc<RefCell<Vec<Woken>>>,
}

impl Here {
    pub(crate) fn new(remote: Arc<Remote>) -> Self {
        Self { remote, woken: Rc::default() }
    }

    /// Makes this the shard of this thread, and gives back which was.
    pub(crate) fn enter(here: Option<Self>) -> Option<Self> {
        HERE.replace(here)
    }
}

thread_local! {
    /// The shard whose turn it is on this thread.
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

#[cfg(feature = "testing")]
#[expect(clippy::disallowed_methods, reason = "whoever asks waits, on a thread of his own")]
impl Remote {
    /// Asks the shard what it holds. Nothing, if it has ended.
    ///
    /// # Panics
    ///
    /// When it does not answer within ten seconds.
    pub(crate) fn ask_holdings(&self) -> Holdings {
        let deadline = Instant::now() + PATIENCE;
        let (answer, answered) = mpsc::sync_channel(1);
        while let Err(error) = self.send(Parcel::Holdings(Box::new(answer.clone()))) {
            if !error.is_full() {
                return Holdings::default();
            }
            assert!(Instant::now() < deadline, "shard {}'s inbox is full", self.shard);
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(answer);
        match answered.recv_timeout(PATIENCE) {
            Ok(holdings) => holdings,
            // Its inbox has gone with it.
            Err(mpsc::RecvTimeoutError::Disconnected) => Holdings::default(),
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("shard {} is stuck", self.shard),
        }
    }
}

#[cfg(feature = "testing")]
const PATIENCE: Duration = Duration::from_secs(10);
