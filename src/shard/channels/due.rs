//! What is due: messages that timers send, futures that slept, and processes past their time.

use std::any::Any;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::hub::{Channels, Dead, Hub, Remains};
use super::mailbox::Mail;
use super::timers::{Due, MakeInfo, TimerId};
use crate::message::{AddressError, ProcessId};
use crate::shard::clock::later;
use crate::telemetry::Event;

/// Timers of processes, and what follows when they are due.
impl Hub {
    pub(crate) fn send_after(
        &mut self,
        process: ProcessId,
        delay: Duration,
        info: Box<dyn Any + Send>,
    ) {
        let at = later(self.clock.now(), delay);
        self.channels.set_timer(process, at, Due::Info { process, info });
    }

    pub(crate) fn send_every(&mut self, process: ProcessId, period: Duration, make: MakeInfo) {
        let period = period.max(Duration::from_millis(1));
        let at = later(self.clock.now(), period);
        self.channels.set_timer(process, at, Due::Every { process, period, make });
    }

    /// Acts on every timer that is due.
    pub(crate) fn take_due(&mut self) {
        while let Some((timer, due)) = self.channels.timers.next_due(self.clock.now()) {
            match due {
                Due::Wake(waker) => self.channels.wakes.push(waker),
                Due::Info { process, info } => {
                    self.channels.forget_timer(process, timer);
                    if self.deliver(process, Mail::Info(info)) == Err(AddressError::Full) {
                        let channel = self.channels.type_of(process);
                        let who = self.who_of(process);
                        self.telemetry.tell_of(&who, Event::TimerLost { channel });
                    }
                }
                Due::Every { process, period, make } => {
                    self.channels.forget_timer(process, timer);
                    let sent = self.deliver(process, Mail::Tick(make.clone()));
                    if sent == Err(AddressError::Gone) {
                        self.channels.dead.push(Remains::Due(Due::Every { process, period, make }));
                    } else {
                        self.send_every(process, period, make);
                    }
                }
                Due::Overdue(process) => self.end_overdue(process),
            }
        }
    }

    /// Has a future woken when `delay` has passed.
    pub(crate) fn set_alarm(&mut self, delay: Duration, waker: Waker) -> TimerId {
        let at = later(self.clock.now(), delay);
        self.channels.timers.add(at, Due::Wake(waker))
    }

    /// Has another waker be rung; false when the timer was due already.
    pub(crate) fn reset_alarm(&mut self, timer: TimerId, waker: &Waker) -> bool {
        self.channels.timers.set_waker(timer, waker)
    }

    /// Nobody waits any more. What is given back is to be dropped while no table is borrowed.
    pub(crate) fn cancel_alarm(&mut self, timer: TimerId) -> Option<Dead> {
        self.channels.timers.cancel(timer).map(|due| Dead(Remains::Due(due)))
    }
}

impl Channels {
    /// Sets a timer that ends with its process.
    fn set_timer(&mut self, process: ProcessId, at: Instant, due: Due) {
        let timer = self.timers.add(at, due);
        self.processes.known(process).rare().timers.push(timer);
    }

    fn forget_timer(&mut self, id: ProcessId, timer: TimerId) {
        if let Some(rare) = self.processes.find(id).and_then(|process| process.rare.as_mut()) {
            rare.timers.retain(|noted| *noted != timer);
        }
    }
}
