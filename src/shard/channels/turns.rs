//! Turns of processes: whose turn it is, what it does next, and what follows when that has ended.
//!
//! A process that rests with mail stands in line, once; in its turn it handles one thing of it, and
//! goes to the end if there is more. While its callback runs it can't have a turn, and nothing that
//! the callback sends is handled before it has ended: two callbacks are never inside one another.

use super::cell::{Call, Cell, Outcome};
use super::hub::{Behind, Callback, Hub};
use super::mailbox::Mail;
use super::process::Status;
use crate::message::{Broadcast, ProcessId, Stop};
use crate::protocol::phoenix::Field;
use crate::shard::links::{Alarm, Code};
use crate::telemetry::{Event, Held};

/// How a poll of a callback has ended.
pub(crate) enum Polled {
    /// It waits.
    Pending(Box<dyn Cell>),
    Ready(Box<dyn Cell>, Outcome),
    /// It panicked, and the cell is gone.
    Panicked(String),
}

/// A mail whose callback is to run, with what is lent to it.
pub(crate) enum Turn {
    Event(ProcessId, Mail),
    Callback(Callback<'static>),
}

impl Hub {
    /// Takes the process whose turn it is out of the line, and says what it does.
    pub(crate) fn next_turn(&mut self) -> Option<Turn> {
        loop {
            let id = self.channels.ready.pop_front()?;
            // It may have ended since.
            let Some(process) = self.channels.processes.find(id) else { continue };
            process.is_ready = false;
            if !process.is_resting() {
                // It has another turn when its callback has ended.
                continue;
            }
            if let Some(turn) = self.take_turn(id) {
                return Some(turn);
            }
        }
    }

    fn take_turn(&mut self, id: ProcessId) -> Option<Turn> {
        let process = self.channels.processes.known(id);
        if let Some(reason) = process.take_ending() {
            return self.begin_end(id, reason).map(Turn::Callback);
        }
        if process.status != Status::Joined {
            return None;
        }
        let callback = match process.mailbox.pop()? {
            mail @ Mail::Event { .. } => return Some(Turn::Event(id, mail)),
            Mail::Leave { message_ref } => self.leave(id, message_ref),
            Mail::Out(message) => self.channels.begin(id, Call::Out(message)),
            Mail::Broadcast(message) => self.channels.begin(id, Call::Broadcast(message)),
            Mail::Gap(missed) => self.channels.begin(id, Call::Gap(missed)),
            Mail::Missed => {
                let missed = Broadcast::bare(&self.topic_of(id), "");
                self.channels.begin(id, Call::Gap(missed))
            }
            Mail::Info(info) => self.channels.begin(id, Call::Info(info)),
            Mail::Tick(make) => self.channels.begin(id, Call::Tick(make)),
            Mail::Behind(_) => unreachable!("only while joining"),
        };
        callback.map(Turn::Callback)
    }

    /// Begins the callback of a client's event that waited.
    pub(crate) fn begin_event<'a>(
        &mut self,
        id: ProcessId,
        mail: &'a mut Mail,
    ) -> Option<Callback<'a>> {
        let Mail::Event { message_ref, event, payload } = mail else {
            unreachable!("other mail needs nothing lent");
        };
        let (message_ref, payload) = (std::mem::take(message_ref), (&*payload).into());
        let event = Field::from(event.as_str());
        self.channels.begin(id, Call::Event { message_ref, event, payload })
    }

    /// Goes on with a callback whose waker has fired, if it still waits.
    pub(crate) fn resume(&mut self, id: ProcessId) -> Option<Callback<'static>> {
        let process = self.channels.processes.find(id)?;
        let waits = process.cell.as_ref().is_some_and(|cell| !cell.is_resting());
        if waits { self.channels.begin(id, Call::Resume) } else { None }
    }

    /// Acts on how a callback has ended; gives back what must run next.
    #[inline]
    pub(crate) fn finish(
        &mut self,
        id: ProcessId,
        alarm: Alarm,
        polled: Polled,
    ) -> Option<Callback<'static>> {
        match polled {
            Polled::Ready(cell, outcome) => {
                self.channels.keep_spare(alarm);
                let process = self.channels.processes.known(id);
                process.cell = Some(cell);
                if process.status == Status::Joining {
                    self.finish_join(id, outcome);
                    return None;
                }
                self.conclude(id, outcome)
            }
            Polled::Pending(cell) => {
                self.channels.keep_waiting(id, cell, alarm, self.clock.now());
                None
            }
            Polled::Panicked(panic) => {
                self.channels.keep_spare(alarm);
                self.end_panicked(id, &panic);
                None
            }
        }
    }

    #[inline]
    fn conclude(&mut self, id: ProcessId, outcome: Outcome) -> Option<Callback<'static>> {
        let asked = self.channels.processes.known(id).take_ending();
        match outcome {
            Outcome::Done => match asked {
                Some(reason) => self.begin_end(id, reason),
                None => {
                    self.channels.stand_in_line(id);
                    None
                }
            },
            Outcome::Stop(reason) => self.begin_end(id, reason),
            Outcome::Crashed(error) => {
                self.slow_down(id);
                self.begin_end(id, Stop::Error(error))
            }
            Outcome::Terminated => {
                self.finish_process(id);
                None
            }
            Outcome::Joined(_) | Outcome::Refused(_) | Outcome::Unfit(_) => {
                unreachable!("only join ends so")
            }
        }
    }

    /// Takes out what waited behind a join and is to be looked at next.
    pub(crate) fn next_behind(&mut self) -> Option<Behind> {
        loop {
            let behind = self.channels.behind.pop_front()?;
            if let Mail::Behind(_) = behind.mail {
                return Some(behind);
            }
            self.channels.mail(behind.process, behind.mail);
        }
    }

    /// Says that it was this callback which held up the shard.
    #[cold]
    pub(crate) fn tell_hold(&mut self, id: ProcessId, code: Code, event: Option<&str>) {
        let callback = code.name();
        let channel = self.channels.type_of(id);
        let held = Held::Callback { channel, callback, event };
        self.telemetry.tell_of(&self.who_of(id), Event::Held(held));
    }
}
