//! One ring: its queues, its buffers and its table of connections.
//!
//! Nothing happens between two system calls: with `DEFER_TASKRUN` the kernel does a ring's deferred
//! work only inside `enter`, so completions appear there and nowhere else.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue};

use super::ConnectionId;
use super::buffers::Buffers;
use super::config::{Config, Queues};
use super::doorbell::Doorbell;
use super::operation::{Kind, Lending, Operation, Token};
use super::slots::Slots;
use super::sockets::Sockets;

pub(super) struct Ring {
    /// Dropped first: what follows is lent to it.
    uring: IoUring,
    pub(super) buffers: Buffers,
    pub(super) slots: Slots,
    pub(super) sockets: Sockets,
    /// Completions that came while sends were settled, older than those in the queue.
    kept: VecDeque<cqueue::Entry>,
    /// Slots and generations of connections that found no buffer, the longest waiting first.
    pub(super) starved: VecDeque<(u32, u32)>,
    /// The same of those who stood first, and found none again because others before them took all.
    /// They keep their places.
    pub(super) passed_over: VecDeque<(u32, u32)>,
    /// Has sends that are not settled.
    pub(super) sending: bool,
    /// With so many completions ready, no more are fetched.
    enough: usize,
    /// How a wait is asked for.
    wait_flags: EnterFlags,
    /// The doorbell's eventfd is registered, and written when deferred work arrives.
    rings_doorbell: bool,
    /// Since when it has had no connection, as far as was looked.
    pub(super) empty_since: Option<Instant>,
}

impl Ring {
    /// `generation` is the one that its connections begin with.
    pub(super) fn new(config: &Config, queues: Queues, generation: u32) -> io::Result<Self> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(queues.completion)
            .dontfork()
            .build(queues.submission)?;
        if config.direct_descriptors {
            uring.submitter().register_files_sparse(config.connections_per_ring as u32)?;
        }
        let (count, size) = (config.buffers_per_ring, config.buffer_size);
        // SAFETY: the ring's first field is dropped first.
        let buffers = unsafe { Buffers::new(&uring, count, size, config.incremental_buffers) }?;
        // A receive that finds no buffer costs an operation more. One pass fetches up to twenty of
        // them at a time (all of them before Linux 6.13), so it ends well before they run out.
        let half = uring.params().cq_entries() as usize / 2;
        let enough =
            if config.incremental_buffers { half } else { half.min(buffers.count() / 2).max(1) };
        let wait_flags = wait_flags(uring.params().is_feature_no_iowait());
        Ok(Self {
            uring,
            buffers,
            slots: Slots::new(config.connections_per_ring, generation),
            sockets: Sockets::new(config.direct_descriptors),
            kept: VecDeque::new(),
            starved: VecDeque::new(),
            passed_over: VecDeque::new(),
            sending: false,
            enough,
            wait_flags,
            rings_doorbell: false,
            empty_since: None,
        })
    }

    /// Whether the shard has this connection, in this generation.
    pub(super) fn is_open(&self, id: ConnectionId) -> bool {
        self.slots.is_open(id.slot(), id.generation())
    }

    /// Asks for `operation` with the next [`submit`](Self::submit), [`gather`](Self::gather) or
    /// [`wait`](Self::wait).
    pub(super) fn push(&mut self, operation: &Operation) {
        // SAFETY: an `Operation` points at nothing.
        unsafe { self.push_entry(operation.entry()) };
    }

    /// The same for an operation that lends memory.
    ///
    /// # Safety
    ///
    /// The memory must stay where it is, and untouched, until the operation is settled.
    pub(super) unsafe fn push_lending(&mut self, operation: &Lending) {
        // SAFETY: as the caller promises.
        unsafe { self.push_entry(operation.entry()) };
    }

    unsafe fn push_entry(&mut self, entry: &io_uring::squeue::Entry) {
        // SAFETY: as the caller promises.
        if unsafe { self.uring.submission().push(entry) }.is_err() {
            self.submit();
            // SAFETY: as the caller promises.
            unsafe { self.uring.submission().push(entry) }.expect("submitting empties the queue");
        }
    }

    /// Hands all that was pushed to the kernel, and does none of its deferred work.
    pub(super) fn submit(&mut self) {
        loop {
            let pending = self.uring.submission().len();
            if pending == 0 {
                return;
            }
            self.enter(pending, EnterFlags::empty());
        }
    }

    /// Submits, does the kernel's deferred work and makes completions ready: all there are, or
    /// enough of them. Says whether it is all.
    pub(super) fn gather(&mut self) -> bool {
        self.kept.shrink_to(USUAL);
        self.starved.shrink_to(USUAL);
        self.passed_over.shrink_to(USUAL);
        loop {
            let submission = self.uring.submission();
            let pending = submission.len();
            if pending == 0 && !submission.taskrun() && !submission.cq_overflow() {
                return true;
            }
            drop(submission);
            let ready = self.uring.completion().len();
            if ready >= self.enough {
                return false;
            }
            self.enter(pending, EnterFlags::GETEVENTS);
            if pending == 0 && self.uring.completion().len() == ready {
                self.exhaust();
                return !self.uring.completion().is_full();
            }
        }
    }

    /// Does all deferred work there is, when its flag says that there is some but an `enter` has
    /// brought nothing.
    ///
    /// The flag may be wrong: who defers work first adds it and then sets the flag, and if we do
    /// the work between the two, the flag stays up until there is some again. But it may also be
    /// right, for a plain `enter` does only so much.
    pub(super) fn exhaust(&mut self) {
        if !self.uring.submission().taskrun() {
            return;
        }
        let queue = self.uring.completion();
        let room = queue.capacity() - queue.len();
        drop(queue);
        // Asked for as many completions as have room, the kernel works until nothing is left, and
        // then waits no time for the rest.
        self.sleep(room, Some(Duration::ZERO));
    }

    /// Submits and sleeps until something completes, at most for `timeout`. It may wake early.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) {
        self.sleep(1, timeout);
    }

    fn sleep(&mut self, completions: usize, timeout: Option<Duration>) {
        let (pending, completions) = (self.uring.submission().len() as u32, completions as u32);
        let time = timeout.map(Timespec::from);
        let submitter = self.uring.submitter();
        let result = match &time {
            None => {
                let flags = self.wait_flags.bits();
                // SAFETY: no argument is passed, and the entries' memory is there, as who pushed
                // them promised.
                unsafe { submitter.enter::<libc::sigset_t>(pending, completions, flags, None) }
            }
            Some(time) => {
                let flags = (self.wait_flags | EnterFlags::EXT_ARG).bits();
                let arguments = SubmitArgs::new().timespec(time);
                // SAFETY: the argument is what the flag says, and it is read within the call; the
                // entries' memory is there, as who pushed them promised.
                unsafe { submitter.enter(pending, completions, flags, Some(&arguments)) }
            }
        };
        match result.map_err(|error| error.raw_os_error()) {
            // What a signal, a lack of memory or a full queue has kept from being submitted is
            // submitted by the next `gather`.
            Ok(_) | Err(Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY)) => {}
            Err(Some(libc::EBADR)) => completions_are_lost(),
            Err(error) => panic!("a ring refuses to wait: {error:?}"),
        }
    }

    /// The next completion that is ready.
    pub(super) fn next(&mut self) -> Option<cqueue::Entry> {
        self.kept.pop_front().or_else(|| self.uring.completion().next())
    }

    /// Whether anything is ready to be handed out or to be armed again.
    pub(super) fn has_news(&mut self) -> bool {
        !self.kept.is_empty()
            || !self.starved.is_empty()
            || !self.passed_over.is_empty()
            || !self.uring.completion().is_empty()
            || self.uring.submission().cq_overflow()
    }

    #[cfg(test)]
    pub(super) fn has_overflow(&mut self) -> bool {
        self.uring.submission().cq_overflow()
    }

    /// Whether the next push has to submit first.
    pub(super) fn is_full(&mut self) -> bool {
        self.uring.submission().is_full()
    }

    /// Submits what was pushed, and passes the completions of sends to `refused`. Others are kept
    /// for [`next`](Self::next).
    pub(super) fn settle_sends(&mut self, mut refused: impl FnMut(Token, i32, &Slots)) {
        self.submit();
        loop {
            for completion in self.uring.completion() {
                let token = Token::unpack(completion.user_data());
                if token.kind == Kind::Send {
                    refused(token, completion.result(), &self.slots);
                } else {
                    self.kept.push_back(completion);
                }
            }
            // Completions that found the queue full wait in the kernel.
            if !self.uring.submission().cq_overflow() {
                return;
            }
            self.enter(0, EnterFlags::GETEVENTS);
        }
    }

    /// Has the kernel write the doorbell's eventfd when deferred work arrives after
    /// [`rouse_doorbell`](Self::rouse_doorbell).
    pub(super) fn register_doorbell(&mut self, doorbell: &Doorbell) -> io::Result<()> {
        self.uring.completion().disable_eventfd();
        self.uring.submitter().register_eventfd(doorbell.eventfd().as_raw_fd())
    }

    /// The ring's work wakes the shard from here on, until the ring is entered the next time: so a
    /// ring that has nothing to do costs nothing. The caller puts a fence behind it.
    pub(super) fn rouse_doorbell(&mut self) {
        if !self.rings_doorbell {
            self.rings_doorbell = true;
            self.uring.completion().enable_eventfd();
        }
    }

    /// The kernel has ended a receive for lack of buffers: it is armed anew when it is its turn.
    ///
    /// One client that sends without end takes all buffers there are as soon as it is armed. So who
    /// was armed behind it goes back to the place it had; were it sent to the end of the line, the
    /// same few could be first every time.
    pub(super) fn starve(&mut self, slot: u32, generation: u32) {
        let line =
            if self.slots.is_hungry(slot) { &mut self.passed_over } else { &mut self.starved };
        line.push_back((slot, generation));
        self.slots.set_starved(slot, true);
    }

    /// Arms the receives of those that found no buffer, no more than there are buffers: the rest
    /// would come back empty-handed.
    pub(super) fn feed_starved(&mut self) {
        while let Some(first) = self.passed_over.pop_back() {
            self.starved.push_front(first);
        }
        for _ in 0..self.starved.len().min(self.buffers.count()) {
            let Some((slot, generation)) = self.starved.pop_front() else { return };
            if self.slots.is_open(slot as usize, generation) && !self.slots.is_held(slot) {
                self.slots.set_hungry(slot, true);
                self.arm(slot, generation);
            }
        }
    }

    /// Receives from an open connection from here on, if that is not so already.
    pub(super) fn arm(&mut self, slot: u32, generation: u32) {
        if !self.slots.has(slot, Kind::Receive) {
            self.slots.set_starved(slot, false);
            self.slots.begin(slot, Kind::Receive);
            self.push(&Operation::receive(self.sockets.socket(slot), slot, generation));
        }
    }

    /// The connection is somebody else's from here on: takes it out of the table.
    pub(super) fn give_up(&mut self, slot: u32, generation: u32) {
        if self.slots.has(slot, Kind::Writable) {
            let token = Token { kind: Kind::Writable, tag: 0, slot, stamp: generation };
            self.push(&Operation::cancel(token));
        }
        self.slots.close_slot(slot);
        if self.sockets.are_direct() {
            self.slots.begin(slot, Kind::Close);
            self.push(&Operation::close(self.sockets.socket(slot), slot, generation));
        }
    }

    /// The only way into the kernel but for `sleep`. Whatever was not submitted is still pending.
    fn enter(&mut self, pending: usize, flags: EnterFlags) {
        if self.rings_doorbell {
            // We are awake. Whatever completes now would ring for nothing.
            self.rings_doorbell = false;
            self.uring.completion().disable_eventfd();
        }
        let submitter = self.uring.submitter();
        // SAFETY: no argument is passed, and the entries' memory is there, as who pushed them
        // promised.
        let result =
            unsafe { submitter.enter::<libc::sigset_t>(pending as u32, 0, flags.bits(), None) };
        match result.map_err(|error| error.raw_os_error()) {
            Ok(_) | Err(Some(libc::EINTR)) => {}
            // No memory for an operation just now. Who calls tries again until all is submitted.
            Err(Some(libc::EAGAIN | libc::EBUSY)) => std::thread::yield_now(),
            Err(Some(libc::EBADR)) => completions_are_lost(),
            Err(error) => panic!("a ring refuses to be entered: {error:?}"),
        }
    }
}

/// The kernel found the completion queue full and had no memory to keep what completed. It says so
/// once. Which connections it was of nobody knows: they fall silent, and are closed for it in time.
fn completions_are_lost() {
    tracing::error!("the kernel has no memory: some connections will not be heard any more");
}

/// Who waits in a ring counts as waiting for a disk, since Linux 6.1: an idle shard would look like a
/// core that does nothing else. From 6.15 on the kernel can be told that it does not.
fn wait_flags(kernel_knows: bool) -> EnterFlags {
    let idle = if kernel_knows { EnterFlags::NO_IOWAIT } else { EnterFlags::empty() };
    EnterFlags::GETEVENTS | idle
}

impl Drop for Ring {
    fn drop(&mut self) {
        // A socket in the process' table is closed by the operation that was asked for, even if that
        // was the last thing the shard did.
        self.submit();
        // Clients of whom nobody has taken notice have sockets too.
        while let Some(completion) = self.next() {
            let token = Token::unpack(completion.user_data());
            if token.kind == Kind::Accept && completion.result() >= 0 {
                self.sockets.accepted(token.slot, &completion);
            }
            if token.kind == Kind::HandOver {
                drop(self.sockets.installed(token.slot, &completion));
            }
        }
    }
}

/// Queues of ours that were longer once shrink to this.
pub(super) const USUAL: usize = 1_024;
