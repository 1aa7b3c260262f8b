//! Subscriptions of threads and tasks that are no channels.
//!
//! Whoever makes a broadcast, a shard or another thread, puts it into their letterboxes itself, once
//! for the whole node. A shard that does so must never wait for a lock: it looks at a table of its own
//! and fetches another only when a number says that the table has changed.
//!
//! **Which store pairs with which load.** The table is changed before its number is, and the number
//! before `subscribe` returns: whoever broadcasts because somebody has subscribed finds the new number
//! and then the new table. A letterbox's reader says that it waits before it looks once more, and
//! whoever has put something in looks for one that waits afterwards, with a full fence between the two
//! on either side: one of them sees the other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crossbeam_channel::{Receiver, Sender};

use crate::config::Limits;
use crate::message::Broadcast;

/// Who has subscribed from outside the shards.
pub(crate) struct Subscriptions {
    changes: AtomicU64,
    list: Mutex<List>,
    max_mail: usize,
    max_bytes: usize,
}

#[derive(Default)]
struct List {
    /// Replaced when it changes, so that whoever looks holds a lock for no longer than a clone takes.
    table: Arc<Table>,
    /// The server has ended.
    is_over: bool,
}

type Table = HashMap<Arc<str>, Vec<Arc<Letterbox>>>;

impl Subscriptions {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            changes: AtomicU64::new(0),
            list: Mutex::default(),
            max_mail: limits.max_mailbox,
            max_bytes: limits.max_mailbox_bytes,
        }
    }

    /// Subscribes to a topic. Every broadcast that is made after this returns comes.
    pub(crate) fn add(&self, topic: &str) -> Arc<Letterbox> {
        let letterbox = Arc::new(Letterbox::new(topic.into(), self.max_mail, self.max_bytes));
        let mut list = self.lock();
        if list.is_over {
            letterbox.is_over.store(true, Ordering::Release);
        } else {
            let boxes = Arc::make_mut(&mut list.table).entry(letterbox.topic.clone());
            boxes.or_default().push(letterbox.clone());
            self.changes.fetch_add(1, Ordering::Release);
        }
        letterbox
    }

    pub(crate) fn remove(&self, letterbox: &Arc<Letterbox>) {
        let mut list = self.lock();
        let table = Arc::make_mut(&mut list.table);
        if let Some(boxes) = table.get_mut(&letterbox.topic) {
            boxes.retain(|other| !Arc::ptr_eq(other, letterbox));
            if boxes.is_empty() {
                table.remove(&letterbox.topic);
            }
        }
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Delivers a broadcast, from a thread that is no shard.
    pub(crate) fn deliver(&self, broadcast: &Broadcast) {
        let table = self.lock().table.clone();
        for letterbox in table.get(broadcast.topic()).into_iter().flatten() {
            if let Some(waker) = letterbox.put(broadcast) {
                waker.wake();
            }
        }
    }

    /// The server has ended: whoever waits is told so.
    pub(crate) fn end(&self) {
        let mut list = self.lock();
        list.is_over = true;
        let table = std::mem::take(&mut list.table);
        drop(list);
        self.changes.fetch_add(1, Ordering::Release);
        for letterbox in table.values().flatten() {
            if let Some(waker) = letterbox.end() {
                waker.wake();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a shard knows of them.
#[derive(Default)]
pub(super) struct Known {
    changes: u64,
    table: Arc<Table>,
    /// Readers that wait for what was put into their letterboxes. They are somebody's code, and are
    /// rung when no table is borrowed.
    pub(super) wakes: Vec<Waker>,
}

impl Known {
    /// Delivers a broadcast that this shard makes.
    #[inline]
    pub(super) fn deliver(&mut self, all: &Subscriptions, broadcast: &Broadcast) {
        // Nearly always nobody has subscribed: then this is a load and two comparisons.
        let changes = all.changes.load(Ordering::Acquire);
        if changes != self.changes {
            self.changes = changes;
            self.table = all.lock().table.clone();
        }
        if !self.table.is_empty() {
            self.put(broadcast);
        }
    }

    #[inline(never)]
    fn put(&mut self, broadcast: &Broadcast) {
        let boxes = self.table.get(broadcast.topic()).into_iter().flatten();
        self.wakes.extend(boxes.filter_map(|letterbox| letterbox.put(broadcast)));
    }
}

/// Broadcasts of one topic that wait for one reader. Bounded as a channel's mailbox is.
pub(crate) struct Letterbox {
    pub(crate) topic: Arc<str>,
    sender: Sender<Broadcast>,
    receiver: Receiver<Broadcast>,
    /// Bytes that wait, or are about to.
    waiting: AtomicUsize,
    max_bytes: usize,
    /// Broadcasts that found no room. As long as there are any, no other is let in: so they were all
    /// made between what waits and what comes after the reader was told.
    missed: AtomicU64,
    is_over: AtomicBool,
    /// The reader has left its waker.
    waits: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// What a letterbox gives its reader.
pub(crate) enum Letter {
    Broadcast(Broadcast),
    /// So many broadcasts found no room.
    Missed(u64),
}

impl Letterbox {
    fn new(topic: Arc<str>, max_mail: usize, max_bytes: usize) -> Self {
        let (sender, receiver) = crossbeam_channel::bounded(max_mail.max(1));
        Self {
            topic,
            sender,
            receiver,
            waiting: AtomicUsize::new(0),
            max_bytes,
            missed: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            waits: AtomicBool::new(false),
            waker: Mutex::new(None),
        }
    }

    /// Puts a broadcast in, or counts that there was no room. Gives back who waits for it.
    fn put(&self, broadcast: &Broadcast) -> Option<Waker> {
        if self.missed.load(Ordering::Acquire) > 0 || !self.has_taken(broadcast) {
            self.missed.fetch_add(1, Ordering::AcqRel);
        }
        self.take_waiting()
    }

    fn has_taken(&self, broadcast: &Broadcast) -> bool {
        let size = broadcast.size();
        // Relaxed: the queue itself says what can be taken. This is about memory only.
        let waiting = self.waiting.fetch_add(size, Ordering::Relaxed);
        // One that is larger than all of them together may be still finds its way when none waits.
        let fits = waiting == 0 || waiting.saturating_add(size) <= self.max_bytes;
        let is_taken = fits && self.sender.try_send(broadcast.clone()).is_ok();
        if !is_taken {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
        }
        is_taken
    }

    fn end(&self) -> Option<Waker> {
        self.is_over.store(true, Ordering::Release);
        self.take_waiting()
    }

    fn take_waiting(&self) -> Option<Waker> {
        fence(Ordering::SeqCst);
        let waits = self.waits.load(Ordering::Relaxed) && self.waits.swap(false, Ordering::AcqRel);
        if waits { self.waker().take() } else { None }
    }

    /// The next letter, if there is one now.
    pub(crate) fn take(&self) -> Option<Letter> {
        if let Ok(broadcast) = self.receiver.try_recv() {
            self.waiting.fetch_sub(broadcast.size(), Ordering::Relaxed);
            return Some(Letter::Broadcast(broadcast));
        }
        let missed = self.missed.swap(0, Ordering::AcqRel);
        (missed > 0).then_some(Letter::Missed(missed))
    }

    /// The next letter; `None` when there will be no more, since the server has ended.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Letter>> {
        if let Some(letter) = self.take() {
            return Poll::Ready(Some(letter));
        }
        let before = self.waker().replace(cx.waker().clone());
        self.waits.store(true, Ordering::Release);
        drop(before);
        fence(Ordering::SeqCst);
        // Whether there will be more is asked before what there is.
        let is_over = self.is_over.load(Ordering::Acquire);
        match self.take() {
            None if !is_over => Poll::Pending,
            letter => Poll::Ready(letter),
        }
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::message::Payload;
    use crate::shard::promise::block_on;

    fn broadcast(event: &str) -> Broadcast {
        Broadcast::new("room:1", event, Payload::empty(), None)
    }

    fn limits(max_mailbox: usize, max_mailbox_bytes: usize) -> Limits {
        Limits { max_mailbox, max_mailbox_bytes, ..Limits::default() }
    }

    fn taken(letterbox: &Letterbox) -> Vec<String> {
        let letters = std::iter::from_fn(|| letterbox.take());
        let word = |letter| match letter {
            Letter::Broadcast(broadcast) => broadcast.event().to_owned(),
            Letter::Missed(missed) => format!("missed {missed}"),
        };
        letters.map(word).collect()
    }

    #[test]
    fn what_finds_no_room_is_missed_where_it_was_made() {
        let subscriptions = Subscriptions::new(&limits(2, 1 << 20));
        let letterbox = subscriptions.add("room:1");
        ["1", "2", "3", "4"].iter().for_each(|event| subscriptions.deliver(&broadcast(event)));
        assert!(matches!(letterbox.take(), Some(Letter::Broadcast(_))));
        // There is room again, but it comes after what was missed.
        subscriptions.deliver(&broadcast("5"));
        assert_eq!(taken(&letterbox), ["2", "missed 3"]);
        subscriptions.deliver(&broadcast("6"));
        assert_eq!(taken(&letterbox), ["6"]);
    }

    #[test]
    fn bytes_are_bounded_but_one_always_finds_room() {
        let subscriptions = Subscriptions::new(&limits(10, 1));
        let letterbox = subscriptions.add("room:1");
        ["1", "2"].iter().for_each(|event| subscriptions.deliver(&broadcast(event)));
        assert_eq!(taken(&letterbox), ["1", "missed 1"]);
        subscriptions.deliver(&broadcast("3"));
        assert_eq!(taken(&letterbox), ["3"]);
        assert_eq!(letterbox.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_shard_finds_who_has_subscribed_and_who_has_not_any_more() {
        let subscriptions = Subscriptions::new(&Limits::default());
        let mut known = Known::default();
        known.deliver(&subscriptions, &broadcast("before"));
        let (one, other) = (subscriptions.add("room:1"), subscriptions.add("room:1"));
        known.deliver(&subscriptions, &broadcast("1"));
        subscriptions.remove(&one);
        known.deliver(&subscriptions, &broadcast("2"));
        assert_eq!((taken(&one), taken(&other)), (vec!["1".into()], vec!["1".into(), "2".into()]));
        subscriptions.remove(&other);
        known.deliver(&subscriptions, &broadcast("3"));
        assert!(known.table.is_empty() && taken(&other).is_empty());
    }

    #[test]
    fn no_letter_is_lost_between_a_look_and_a_sleep() {
        const LETTERS: usize = 20_000;
        let subscriptions = Arc::new(Subscriptions::new(&limits(4, 1 << 20)));
        let letterbox = subscriptions.add("room:1");
        let sender = subscriptions.clone();
        let sending = thread::spawn(move || {
            for _ in 0..LETTERS {
                sender.deliver(&broadcast("b"));
            }
            sender.end();
        });
        let mut seen = 0;
        while let Some(letter) = block_on(None, |cx| letterbox.poll(cx)).unwrap() {
            seen += match letter {
                Letter::Broadcast(_) => 1,
                Letter::Missed(missed) => missed as usize,
            };
        }
        sending.join().unwrap();
        assert_eq!(seen, LETTERS);
        let late = subscriptions.add("room:1");
        assert!(block_on(None, |cx| late.poll(cx)).unwrap().is_none());
    }
}
