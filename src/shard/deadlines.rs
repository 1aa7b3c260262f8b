//! Deadlines of those who wait for a shard from elsewhere: kept beside the shards, so that one which
//! is held up keeps nobody waiting, by the thread that [watches](super::watch) them.

#![expect(clippy::disallowed_methods, reason = "it has to do with threads that are no shards")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::clock::later;

/// What is to be told that its time is over.
pub(crate) trait Expire: Send + Sync {
    /// Called with nothing locked or borrowed.
    fn expire(&self);
}

/// Who is to be told, and when.
#[derive(Default)]
pub(crate) struct Deadlines(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    entries: BTreeMap<DeadlineId, Weak<dyn Expire>>,
    sequence: u64,
    /// Nobody looks any more.
    is_over: bool,
}

/// A deadline that can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeadlineId(Instant, u64);

impl Deadlines {
    /// The instant so much later than now.
    pub(crate) fn after(patience: Duration) -> Instant {
        later(Instant::now(), patience)
    }

    /// Has somebody told at an instant; `None` if nobody is there to do so, since the server has
    /// ended.
    pub(crate) fn add(&self, at: Instant, who: Weak<dyn Expire>) -> Option<DeadlineId> {
        let mut waiting = self.lock();
        if waiting.is_over {
            return None;
        }
        waiting.sequence += 1;
        let id = DeadlineId(at, waiting.sequence);
        waiting.entries.insert(id, who);
        Some(id)
    }

    pub(crate) fn remove(&self, id: DeadlineId) {
        self.lock().entries.remove(&id);
    }

    /// Tells those whose time is over, and says when the next one's is.
    pub(crate) fn tell_due(&self, now: Instant) -> Option<Instant> {
        loop {
            let mut waiting = self.lock();
            let first = waiting.entries.first_entry()?;
            let at = first.key().0;
            if at > now {
                return Some(at);
            }
            let who = first.remove();
            drop(waiting);
            expire(&who);
        }
    }

    /// Tells everybody: nobody will look any more.
    pub(crate) fn end(&self) {
        let mut waiting = self.lock();
        waiting.is_over = true;
        let entries = std::mem::take(&mut waiting.entries);
        drop(waiting);
        entries.values().for_each(expire);
    }

    /// How many there are.
    #[cfg(feature = "testing")]
    pub(crate) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn expire(who: &Weak<dyn Expire>) {
    let who: Option<Arc<dyn Expire>> = who.upgrade();
    if let Some(who) = who {
        // A waker is somebody's code.
        let _ = super::panics::catch(|| who.expire());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Note(Mutex<bool>);

    impl Expire for Note {
        fn expire(&self) {
            *self.0.lock().unwrap() = true;
        }
    }

    #[test]
    fn those_whose_time_is_over_are_told_and_those_who_took_it_back_are_not() {
        let deadlines = Deadlines::default();
        let notes: Vec<_> = (0..4).map(|_| Arc::new(Note(Mutex::new(false)))).collect();
        let now = Instant::now();
        let add = |after: u64, note: &Arc<Note>| {
            let note: Arc<dyn Expire> = note.clone();
            deadlines.add(now + Duration::from_secs(after), Arc::downgrade(&note)).unwrap()
        };
        add(2, &notes[0]);
        let back = add(1, &notes[1]);
        add(1, &notes[2]);
        add(3, &notes[3]);
        deadlines.remove(back);
        let next = deadlines.tell_due(now + Duration::from_secs(2));
        assert_eq!(next, Some(now + Duration::from_secs(3)));
        let told = || notes.iter().map(|note| *note.0.lock().unwrap()).collect::<Vec<_>>();
        assert_eq!(told(), [true, false, true, false]);
        deadlines.end();
        assert_eq!(told(), [true, false, true, true]);
        let late: Arc<dyn Expire> = notes[0].clone();
        assert_eq!(deadlines.add(now, Arc::downgrade(&late)), None);
    }
}
