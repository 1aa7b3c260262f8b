//! Processes: what the shard knows of each joined channel.
//!
//! At rest a process is plain data: an entry in a table, and the application's state in its
//! [`Cell`]. Only a callback that waits keeps more: its future in the cell, and an alarm.

use smallvec::SmallVec;

use super::cell::Cell;
use super::mailbox::Mailbox;
use super::timers::TimerId;
use crate::io::Peer;
use crate::message::{LineId, ProcessId, Stop};
use crate::protocol::phoenix::{Ref, RefBuf};
use crate::shard::links::Alarm;
use crate::shard::table::Table;
use crate::shard::topics::{Seat, TopicIndex};

/// A joined channel, or one that joins or ends.
pub(super) struct Process {
    generation: u32,
    pub(super) status: Status,
    pub(super) mount: u8,
    pub(super) route: u8,
    /// The client joined with a null `join_ref`. Then `join_ref` below is the ref of the join,
    /// which replies and pushes carry, while everything else carries null.
    pub(super) null_join_ref: bool,
    /// It stands in the line of those whose turn it is.
    pub(super) is_ready: bool,
    /// Its client, and the place of that one's session, which may have ended before the process.
    pub(super) line: LineId,
    pub(super) session: u32,
    pub(super) topic: TopicIndex,
    position: u32,
    pub(super) join_ref: RefBuf,
    pub(super) mailbox: Mailbox,
    /// The application's part. Absent while a callback is being polled.
    pub(super) cell: Option<Box<dyn Cell>>,
    pub(super) rare: Option<Box<Rare>>,
}

/// What few processes have.
#[derive(Default)]
pub(super) struct Rare {
    /// The ref of the join: while joining, to answer it; afterwards only where it is neither null nor
    /// what `join_ref` says, since some clients go by it ([`Process::is_meant`]).
    pub(super) join_message_ref: RefBuf,
    /// While joining: the `join_ref` of the channel that this one takes the place of. It is told
    /// that it is closed when the join has been answered.
    pub(super) replaces: Option<RefBuf>,
    /// The alarm of a callback that waits.
    pub(super) alarm: Option<Alarm>,
    /// It ends when the callback that runs is done, and why. A join so marked has failed.
    pub(super) ending: Option<Stop>,
    /// Topics besides its own, and its place among their subscribers.
    pub(super) subscriptions: SmallVec<[Seat; 2]>,
    /// Timers that send to it, which end with it.
    pub(super) timers: SmallVec<[TimerId; 1]>,
    /// Its client, when its session has gone before it.
    pub(super) peer: Option<Peer>,
    /// The timer that drops it if it has not ended by then.
    pub(super) overdue: Option<TimerId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// `join` runs.
    Joining,
    Joined,
    /// `terminate` runs; the client is told of an error afterwards.
    Failing,
    /// `terminate` runs; the client knows, or is gone.
    Closing,
}

/// What a process is made of.
pub(super) struct Beginning {
    pub(super) line: LineId,
    pub(super) session: u32,
    pub(super) mount: u8,
    pub(super) route: u8,
    pub(super) topic: TopicIndex,
    pub(super) join_ref: RefBuf,
    pub(super) null_join_ref: bool,
    pub(super) message_ref: RefBuf,
    pub(super) replaces: Option<RefBuf>,
}

impl Process {
    /// It has ended for everyone but itself.
    pub(super) fn is_ending(&self) -> bool {
        matches!(self.status, Status::Failing | Status::Closing)
            || self.rare.as_ref().is_some_and(|rare| rare.ending.is_some())
    }

    /// No callback has begun and not ended.
    pub(super) fn is_resting(&self) -> bool {
        self.cell.as_ref().is_some_and(|cell| cell.is_resting())
    }

    /// Nothing runs and nothing waits: what comes can be handled on the spot.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.mailbox.is_empty() && self.is_resting()
    }

    /// The `join_ref` that the client knows the channel by: null if it joined with null.
    pub(super) fn wire_join_ref(&self) -> RefBuf {
        if self.null_join_ref { RefBuf::null() } else { self.join_ref.clone() }
    }

    /// Whether a message with this `join_ref` is for this channel, and not for one before it.
    ///
    /// It may also say the ref of the join. There are clients that number joins and messages apart,
    /// or join with null, and go by that ref afterwards; Phoenix took it up to 1.8.2. A message for
    /// a channel before this one has the number of an earlier join either way.
    #[inline]
    pub(super) fn is_meant(&self, join_ref: &Ref<'_>) -> bool {
        *join_ref == self.join_ref || join_ref.is_null() || self.is_ref_of_join(join_ref)
    }

    fn is_ref_of_join(&self, join_ref: &Ref<'_>) -> bool {
        self.rare.as_ref().is_some_and(|rare| *join_ref == rare.join_message_ref)
    }

    /// The place among its topic's subscribers, while it is one.
    pub(super) fn position(&self) -> Option<u32> {
        (self.position != NOWHERE).then_some(self.position)
    }

    pub(super) fn set_position(&mut self, position: Option<u32>) {
        self.position = position.unwrap_or(NOWHERE);
    }

    /// Where it stands: in its own topic, and in those it has subscribed to.
    pub(super) fn seats(&self) -> SmallVec<[Seat; 2]> {
        let own = self.position().map(|position| (self.topic, position));
        let others = self.rare.iter().flat_map(|rare| &rare.subscriptions);
        own.into_iter().chain(others.copied()).collect()
    }

    /// What few processes have, and this one is to have.
    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Takes the reason for which it is to end, if it is.
    #[inline]
    pub(super) fn take_ending(&mut self) -> Option<Stop> {
        self.rare.as_mut()?.ending.take()
    }

    /// Forgets what only a join needs, and gives back the `join_ref` of the channel it replaces.
    pub(super) fn end_joining(&mut self) -> Option<RefBuf> {
        let rare = self.rare.as_mut()?;
        if rare.join_message_ref == self.join_ref {
            rare.join_message_ref = RefBuf::null();
        }
        let replaced = rare.replaces.take();
        if rare.is_empty() {
            self.rare = None;
        }
        replaced
    }
}

impl Rare {
    fn is_empty(&self) -> bool {
        self.join_message_ref.is_null()
            && self.alarm.is_none()
            && self.ending.is_none()
            && self.subscriptions.is_empty()
            && self.timers.is_empty()
            && self.overdue.is_none()
    }
}

/// The processes of a shard.
#[derive(Default)]
pub(super) struct Processes {
    entries: Table<Process>,
    generation: u32,
}

impl Processes {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds a process that joins. `spawn` makes its cell.
    pub(super) fn insert(
        &mut self,
        beginning: Beginning,
        spawn: impl FnOnce(ProcessId) -> Option<Box<dyn Cell>>,
    ) -> ProcessId {
        self.generation = self.generation.wrapping_add(1);
        let index = u32::try_from(self.entries.next_place()).expect("processes fit u32");
        let id = ProcessId { index, generation: self.generation };
        let Beginning { line, session, mount, route, topic, join_ref, null_join_ref, .. } =
            beginning;
        let Beginning { message_ref: join_message_ref, replaces, .. } = beginning;
        self.entries.insert(Process {
            generation: id.generation,
            status: Status::Joining,
            mount,
            route,
            null_join_ref,
            is_ready: false,
            line,
            session,
            topic,
            position: NOWHERE,
            join_ref,
            mailbox: Mailbox::default(),
            cell: spawn(id),
            rare: Some(Box::new(Rare { join_message_ref, replaces, ..Rare::default() })),
        });
        id
    }

    #[inline]
    pub(super) fn find(&mut self, id: ProcessId) -> Option<&mut Process> {
        let process = self.entries.get_mut(id.index as usize)?;
        (process.generation == id.generation).then_some(process)
    }

    /// A process that is known to be there.
    #[inline]
    pub(super) fn known(&mut self, id: ProcessId) -> &mut Process {
        self.find(id).expect("the process is there")
    }

    /// A process, only to be looked at.
    pub(super) fn get(&self, id: ProcessId) -> Option<&Process> {
        let process = self.at_place(id.index)?;
        (process.generation == id.generation).then_some(process)
    }

    /// The process that is at this place now, if there is one.
    pub(super) fn at_place(&self, index: u32) -> Option<&Process> {
        self.entries.get(index as usize)
    }

    /// The process at this place, whose id is known to be current.
    #[inline]
    pub(super) fn at(&mut self, index: u32) -> (ProcessId, &mut Process) {
        let process = &mut self.entries[index as usize];
        (ProcessId { index, generation: process.generation }, process)
    }

    pub(super) fn remove(&mut self, id: ProcessId) -> Option<Process> {
        self.find(id)?;
        Some(self.entries.remove(id.index as usize))
    }

    /// Every process.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ProcessId, &Process)> {
        self.entries.iter().map(|(index, process)| {
            (ProcessId { index: index as u32, generation: process.generation }, process)
        })
    }
}

/// What a client at rest takes, to be told with all else that it does.
#[cfg(test)]
pub(crate) const PROCESS_SIZE: usize = size_of::<Process>();

/// In the place of a position, for one that is no subscriber.
const NOWHERE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_costs_what_it_did() {
        assert_eq!(size_of::<Process>(), 88);
    }

    #[test]
    fn an_id_of_a_process_that_has_ended_finds_nobody() {
        let mut processes = Processes::default();
        let first = insert(&mut processes);
        assert_eq!(ProcessId::unpack(first.pack()), first);
        assert!(processes.remove(first).is_some());
        let second = insert(&mut processes);
        assert_eq!(first.index, second.index);
        assert!(processes.find(first).is_none() && processes.remove(first).is_none());
        assert_eq!(processes.iter().map(|(id, _)| id).collect::<Vec<_>>(), [second]);
    }

    fn insert(processes: &mut Processes) -> ProcessId {
        let beginning = Beginning {
            line: LineId::from_bits(1),
            session: 0,
            mount: 0,
            route: 0,
            topic: TopicIndex::FIRST,
            join_ref: RefBuf::null(),
            null_join_ref: false,
            message_ref: RefBuf::null(),
            replaces: None,
        };
        processes.insert(beginning, |_| None)
    }
}
