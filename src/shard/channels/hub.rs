//! The hub: a shard's channels, and the owners beneath them.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::cell::{Call, Cell};
use super::mailbox::{Mail, MailboxBounds, OwnedMessage};
use super::mount::{self, AnySocket, Mount};
use super::pressure::{Pressure, Spent, TurnBounds};
use super::process::{Process, Processes, Status};
use super::session::Sessions;
use super::timers::{Due, Timers};
use crate::config::Limits;
use crate::io::Ebb;
use crate::message::{LineId, Payload, ProcessId, Stop};
use crate::shard::chores::Chores;
use crate::shard::clock::{Clock, later};
use crate::shard::lines::Lines;
use crate::shard::links::{Alarm, Links, Remote};
use crate::shard::pace::Paces;
use crate::shard::topics::{TopicIndex, Topics};
use crate::telemetry::Telemetry;

/// A shard's channels, over what they stand on.
///
/// Each of the fields keeps its own state to itself. What it takes several of to do is a method here,
/// so that this says all that a channel's doings may touch: no connection on its way in or out.
pub(crate) struct Hub {
    pub(in crate::shard) channels: Channels,
    pub(in crate::shard) topics: Topics,
    pub(in crate::shard) lines: Lines,
    pub(in crate::shard) links: Links,
    pub(in crate::shard) chores: Chores,
    pub(in crate::shard) clock: Clock,
    pub(in crate::shard) telemetry: Telemetry,
    /// Clients whose joins are refused, or whose channels crash, again and again.
    pub(in crate::shard) paces: Paces<LineId>,
    /// How what is kept for clients rises and falls.
    pub(in crate::shard) ebb: Ebb,
    /// The second in which it was looked last what memory can go back.
    pub(in crate::shard) eased_at: u32,
    /// What this turn has made.
    pub(in crate::shard) spent: Spent,
    /// What the client whose messages are read has met with.
    pub(in crate::shard) pressure: Option<Pressure>,
}

/// The sessions and processes of a shard.
pub(crate) struct Channels {
    pub(super) mounts: Rc<[Mount]>,
    pub(super) sessions: Sessions,
    pub(super) processes: Processes,
    pub(super) timers: Timers,
    /// Processes whose turn it is, each once.
    pub(super) ready: VecDeque<ProcessId>,
    /// What waited behind joins that have been answered.
    pub(super) behind: VecDeque<Behind>,
    /// Futures whose timer was due.
    pub(super) wakes: Vec<Waker>,
    /// What holds the application's values and is no longer needed.
    pub(super) dead: Vec<Remains>,
    pub(super) spare_alarm: Option<Alarm>,
    pub(super) remote: Arc<Remote>,
    pub(super) bounds: Bounds,
}

/// What a shard's channels are bounded by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) mailbox: MailboxBounds,
    pub(super) turn: TurnBounds,
    pub(super) hold_timeout: Duration,
    pub(super) terminate_timeout: Duration,
}

/// A callback that is to run, while no table is borrowed.
pub(crate) struct Callback<'a> {
    pub(crate) process: ProcessId,
    /// Which channel's it is.
    pub(crate) mount: u8,
    pub(crate) route: u8,
    /// Taken out of the process, and put back when it has been polled.
    pub(crate) cell: Box<dyn Cell>,
    pub(crate) alarm: Alarm,
    pub(crate) call: Call<'a>,
}

/// A mail that waited behind a join.
pub(crate) struct Behind {
    pub(super) process: ProcessId,
    pub(crate) client: Client,
    pub(super) mail: Mail,
}

impl Behind {
    /// The message, if it is one.
    pub(crate) fn message(&self) -> &OwnedMessage {
        match &self.mail {
            Mail::Behind(message) => message,
            _ => unreachable!("other mail goes to the process"),
        }
    }
}

/// What holds values of the application's, and is to be dropped when no table is borrowed.
pub(crate) struct Dead(
    #[allow(dead_code, reason = "held only to be dropped in time")] pub(super) Remains,
);

#[allow(dead_code, reason = "held only to be dropped at the right time")]
pub(super) enum Remains {
    Process(Process),
    Socket(Rc<dyn AnySocket>),
    Mail(Mail),
    Due(Due),
}

impl Channels {
    pub(crate) fn new(limits: &Limits, remote: Arc<Remote>) -> Self {
        let mailbox =
            MailboxBounds { max_mail: limits.max_mailbox, max_bytes: limits.max_mailbox_bytes };
        let turn =
            TurnBounds { max_broadcasts: limits.max_mesh_queue, max_bytes: limits.max_mesh_bytes };
        Self {
            mounts: Rc::new([]),
            sessions: Sessions::default(),
            processes: Processes::default(),
            timers: Timers::default(),
            ready: VecDeque::new(),
            behind: VecDeque::new(),
            wakes: Vec::new(),
            dead: Vec::new(),
            spare_alarm: None,
            remote,
            bounds: Bounds {
                mailbox,
                turn,
                hold_timeout: limits.hold_timeout,
                terminate_timeout: limits.terminate_timeout,
            },
        }
    }

    pub(crate) fn mounts(&self) -> &Rc<[Mount]> {
        &self.mounts
    }

    /// Sets the mounts, and gives back those that were: their routes are the application's.
    pub(crate) fn set_mounts(&mut self, mounts: Rc<[Mount]>) -> Rc<[Mount]> {
        std::mem::replace(&mut self.mounts, mounts)
    }

    /// Channels joined, joining or ending.
    pub(crate) fn processes(&self) -> usize {
        self.processes.len()
    }

    /// Timers that wait.
    pub(crate) fn timers(&self) -> usize {
        self.timers.len()
    }

    /// When the next timer is due.
    pub(crate) fn next_instant(&self) -> Option<Instant> {
        self.timers.next_instant()
    }

    /// Whether the next turn has something to do.
    pub(crate) fn has_more(&self) -> bool {
        !self.ready.is_empty() || !self.dead.is_empty()
    }

    /// Futures that slept and go on.
    pub(crate) fn take_wakes(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakes)
    }

    /// What is to be dropped while no table is borrowed.
    pub(crate) fn take_dead(&mut self) -> Vec<Dead> {
        std::mem::take(&mut self.dead).into_iter().map(Dead).collect()
    }

    /// Empties all tables, when the shard ends.
    pub(crate) fn take_all(&mut self) -> Vec<Dead> {
        let mut dead = std::mem::take(&mut self.dead);
        let processes: Vec<_> = self.processes.iter().map(|(id, _)| id).collect();
        let processes = processes.into_iter().filter_map(|id| self.processes.remove(id));
        dead.extend(processes.map(Remains::Process));
        dead.extend(self.timers.take().map(Remains::Due));
        dead.extend(self.behind.drain(..).map(|behind| Remains::Mail(behind.mail)));
        let sessions: Vec<_> = self.sessions.iter().map(|(place, _)| place).collect();
        let sockets = sessions.into_iter().map(|place| self.sessions.remove(place).socket);
        dead.extend(sockets.map(Remains::Socket));
        dead.into_iter().map(Dead).collect()
    }

    /// A second has passed: memory goes back that is not needed any more.
    pub(super) fn ease(&mut self) {
        self.timers.ease();
        if self.ready.capacity() > KEPT && self.ready.len() < self.ready.capacity() / 4 {
            self.ready.shrink_to(self.ready.len() * 2);
        }
    }

    /// Whose messages wait for his channels, and how many bytes of them.
    pub(crate) fn mailed(&self) -> impl Iterator<Item = (LineId, usize)> {
        let received =
            |(_, process): (ProcessId, &Process)| (process.line, process.mailbox.received());
        self.processes.iter().map(received).filter(|(_, bytes)| *bytes > 0)
    }

    /// What is noted to be done and not done yet.
    #[cfg(feature = "testing")]
    pub(crate) fn notes(&self) -> usize {
        self.ready.len() + self.behind.len() + self.wakes.len() + self.dead.len()
    }

    /// Takes a process' cell out, for a callback to run.
    #[inline(always)]
    pub(super) fn begin<'a>(&mut self, id: ProcessId, call: Call<'a>) -> Option<Callback<'a>> {
        let process = self.processes.find(id)?;
        let cell = process.cell.take()?;
        let (mount, route) = (process.mount, process.route);
        let alarm = process.rare.as_mut().and_then(|rare| rare.alarm.take());
        let alarm =
            alarm.or_else(|| self.spare_alarm.take()).unwrap_or_else(|| Alarm::new(&self.remote));
        alarm.point_at(id);
        Some(Callback { process: id, mount, route, cell, alarm, call })
    }

    #[inline]
    pub(super) fn keep_spare(&mut self, alarm: Alarm) {
        if !alarm.is_held() {
            self.spare_alarm = Some(alarm);
        }
    }

    /// A callback waits.
    pub(super) fn keep_waiting(
        &mut self,
        id: ProcessId,
        cell: Box<dyn Cell>,
        alarm: Alarm,
        now: Instant,
    ) {
        let process = self.processes.known(id);
        process.cell = Some(cell);
        process.rare().alarm = Some(alarm);
        if matches!(process.status, Status::Failing | Status::Closing) {
            self.limit_end(id, now);
        }
    }

    /// Has a process stand in line, once, if there is something for it to do. Should a callback of it
    /// run when its turn comes, it is passed over, and stands there again when that has ended.
    #[inline]
    pub(super) fn stand_in_line(&mut self, id: ProcessId) {
        let process = self.processes.known(id);
        let has_more = !process.mailbox.is_empty() || process.is_ending();
        if has_more && !process.is_ready {
            process.is_ready = true;
            self.ready.push_back(id);
        }
    }

    /// Puts something into the mailbox of a process that may be gone or ending.
    pub(super) fn mail(&mut self, id: ProcessId, mail: Mail) {
        match self.processes.find(id) {
            Some(process) if process.status == Status::Joined => {
                process.mailbox.push(mail);
                self.stand_in_line(id);
            }
            // Looked at when the join has been answered.
            Some(process) if process.status == Status::Joining => process.mailbox.push(mail),
            _ => self.dead.push(Remains::Mail(mail)),
        }
    }

    /// Ends a joined process: when its callback is done, or past the time allowed for it.
    pub(super) fn end_joined(&mut self, id: ProcessId, reason: Stop, now: Instant) {
        let process = self.processes.known(id);
        if process.is_ending() {
            return;
        }
        process.rare().ending = Some(reason);
        if process.is_resting() {
            self.stand_in_line(id);
        } else {
            self.limit_end(id, now);
        }
        self.discard_mail(id);
    }

    /// Sets the time by which a process that ends is dropped: once, from when that began.
    pub(super) fn limit_end(&mut self, id: ProcessId, now: Instant) {
        let deadline = later(now, self.bounds.terminate_timeout);
        self.remember_peer_of(id);
        let rare = self.processes.known(id).rare();
        if rare.overdue.is_none() {
            rare.overdue = Some(self.timers.add(deadline, Due::Overdue(id)));
        }
    }

    /// What waits for a process that ends is lost.
    pub(super) fn discard_mail(&mut self, id: ProcessId) {
        let mail = self.processes.known(id).mailbox.take();
        self.dead.extend(mail.into_iter().map(Remains::Mail));
    }

    /// The session no longer knows the channel.
    pub(super) fn forget(&mut self, id: ProcessId) {
        let Some(process) = self.processes.find(id) else { return };
        if let Some(session) = self.sessions.find(process.session, process.line) {
            session.forget(id);
        }
    }

    /// Takes a process out of its table, and says which topic it held.
    pub(super) fn bury(&mut self, id: ProcessId) -> Option<TopicIndex> {
        let mut process = self.processes.remove(id)?;
        if let Some(rare) = &mut process.rare {
            for timer in rare.timers.drain(..).chain(rare.overdue.take()) {
                self.dead.extend(self.timers.cancel(timer).map(Remains::Due));
            }
        }
        let topic = process.topic;
        self.dead.push(Remains::Process(process));
        Some(topic)
    }

    /// A socket's value is the application's.
    pub(crate) fn bury_socket(&mut self, socket: Rc<dyn AnySocket>) {
        self.dead.push(Remains::Socket(socket));
    }

    /// The type of a process' channel.
    pub(super) fn type_of(&mut self, id: ProcessId) -> &'static str {
        let process = self.processes.known(id);
        mount::handler(&self.mounts, process.mount, process.route).name()
    }
}

/// `{"reason": …}`
pub(super) fn reason(reason: &str) -> Payload {
    Payload::from(serde_json::json!({ "reason": reason }))
}

/// Where a client's session lies, and whose it is.
pub(crate) type Client = (u32, LineId);

/// Room for so many whose turn it is is kept.
const KEPT: usize = 1_024;
