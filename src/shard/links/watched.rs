//! What the watch sees of a shard, and what it tells it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::io::ThreadNumber;

/// What the watch sees of a shard. On a line of its own: the shard writes it every turn, and around
/// every callback.
///
/// Nothing here is ordered with anything else: who reads it looks twice, and believes what has not
/// changed in between.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Watched {
    /// Turns begun and turns ended: odd during a turn. Only the shard writes it.
    turns: AtomicU64,
    /// What runs: a [`Note`]. Only the shard writes it.
    running: AtomicU64,
    /// The turn that was reported, by what `turns` was in it, until the shard has said what it was;
    /// zero if there is none. The watch may write it when that turn is over already.
    reported: AtomicU64,
    /// What was running when that was reported, if it had been for a while.
    culprit: AtomicU64,
    /// The shard's thread, once there is one.
    thread: AtomicU64,
}

/// Code of the application's that runs: which, of which mount and route, and the how manieth it is
/// of all that have run, so that one that lasts is told from one like it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Note(u64);

/// What of the application's can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Join,
    HandleIn,
    HandleOut,
    HandleBroadcast,
    HandleGap,
    HandleInfo,
    Terminate,
    Resumed,
    Connect,
    Route,
    Drop,
}

impl Code {
    const ALL: [Self; 11] = [
        Self::Join,
        Self::HandleIn,
        Self::HandleOut,
        Self::HandleBroadcast,
        Self::HandleGap,
        Self::HandleInfo,
        Self::Terminate,
        Self::Resumed,
        Self::Connect,
        Self::Route,
        Self::Drop,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::HandleIn => "handle_in",
            Self::HandleOut => "handle_out",
            Self::HandleBroadcast => "handle_broadcast",
            Self::HandleGap => "handle_gap",
            Self::HandleInfo => "handle_info",
            Self::Terminate => "terminate",
            Self::Resumed => "a callback that had waited",
            Self::Connect => "connect",
            Self::Route => "the handler of a plain route",
            Self::Drop => "a drop",
        }
    }

    /// Whether it is a channel's, so that its route says which.
    pub(crate) fn is_of_channel(self) -> bool {
        !matches!(self, Self::Connect | Self::Route | Self::Drop)
    }
}

impl Note {
    const NOTHING: u64 = 0xff;

    pub(crate) fn mount(self) -> u8 {
        (self.0 >> 8) as u8
    }

    pub(crate) fn route(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// Nothing where nothing runs.
    pub(crate) fn code(self) -> Option<Code> {
        Code::ALL.get(usize::from(self.0 as u8)).copied()
    }
}

impl Watched {
    /// A turn begins, or ends.
    pub(crate) fn count(&self) {
        self.turns.store(self.turns.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// How many have begun and ended.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Runs code of the application's. Says whether it was reported for holding up the shard.
    #[inline]
    pub(crate) fn run<T>(
        &self,
        code: Code,
        mount: u8,
        route: u8,
        run: impl FnOnce() -> T,
    ) -> (T, bool) {
        let note = self.begin(code, mount, route);
        let done = run();
        (done, self.end(note))
    }

    /// Code of the application's is about to run.
    #[inline]
    pub(crate) fn begin(&self, code: Code, mount: u8, route: u8) -> Note {
        let next = (self.running.load(Ordering::Relaxed) >> 32).wrapping_add(1) << 32;
        let what = u64::from(route) << 16 | u64::from(mount) << 8 | code as u64;
        self.running.store(next | what, Ordering::Relaxed);
        Note(next | what)
    }

    /// It has run. Says whether it was reported for holding up the shard.
    #[inline]
    fn end(&self, note: Note) -> bool {
        self.running.store(note.0 | Note::NOTHING, Ordering::Relaxed);
        self.reported.load(Ordering::Relaxed) != 0 && self.take_report_of(note)
    }

    #[cold]
    fn take_report_of(&self, note: Note) -> bool {
        // Acquire pairs with the Release of `report`: it is the culprit of this report.
        let reported = self.reported.load(Ordering::Acquire);
        let is_it = self.culprit.load(Ordering::Relaxed) == note.0;
        is_it
            && self
                .reported
                .compare_exchange(reported, 0, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// The turn has ended. Whether it was reported, and nothing that ran in it has taken that.
    #[inline]
    pub(crate) fn take_report(&self) -> bool {
        self.reported.load(Ordering::Relaxed) != 0 && {
            let reported = self.reported.swap(0, Ordering::Relaxed);
            // This turn's, or that of the turn which has just ended.
            self.turns.load(Ordering::Relaxed).wrapping_sub(reported) <= 1
        }
    }

    /// What runs now.
    pub(crate) fn running(&self) -> Note {
        Note(self.running.load(Ordering::Relaxed))
    }

    /// Reports the turn in which there were so many, and what runs in it, if it is known.
    pub(crate) fn report(&self, turns: u64, culprit: Option<Note>) {
        self.culprit.store(culprit.map_or(0, |note| note.0), Ordering::Relaxed);
        self.reported.store(turns, Ordering::Release);
    }

    /// This is the shard's thread.
    pub(crate) fn set_thread(&self, thread: ThreadNumber) {
        self.thread.store(thread.pack(), Ordering::Relaxed);
    }

    pub(crate) fn thread(&self) -> Option<ThreadNumber> {
        ThreadNumber::unpack(self.thread.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_taken_once() {
        let watched = Watched::default();
        watched.count();
        assert!(!watched.take_report());
        watched.report(1, None);
        assert!(watched.take_report() && !watched.take_report());
        // What no callback has taken is taken when the turn has ended.
        watched.report(1, None);
        watched.count();
        assert!(watched.take_report());
    }

    /// A turn that ended just when it was reported left its report to the next one, whose first
    /// callback was told to have held up the shard.
    #[test]
    fn a_report_that_comes_too_late_blames_nobody() {
        let watched = Watched::default();
        (0..3).for_each(|_| watched.count());
        watched.report(1, None);
        assert!(!watched.take_report() && !watched.take_report());
    }

    /// A turn of many callbacks that took long together was laid to whichever of them ended next.
    #[test]
    fn a_report_is_taken_by_the_callback_that_it_is_about() {
        let watched = Watched::default();
        watched.count();
        let first = watched.begin(Code::HandleIn, 3, 7);
        assert_eq!(watched.running(), first);
        assert_eq!((first.code(), first.mount(), first.route()), (Some(Code::HandleIn), 3, 7));
        watched.report(1, Some(first));
        assert!(watched.end(first) && !watched.end(first));
        assert_eq!(watched.running().code(), None);
        let second = watched.begin(Code::HandleIn, 3, 7);
        assert_ne!(first, second);
        watched.report(1, Some(first));
        assert!(!watched.end(second));
        assert!(watched.take_report(), "at the end of the turn");
    }
}
