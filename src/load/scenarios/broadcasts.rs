//! Broadcasts in many topics at once: what one client says, all in its room hear.

use std::time::{Duration, Instant};

use super::pushes::WRITES_BETWEEN_READS;
use crate::load::message;
use crate::load::pace::Pace;
use crate::load::run::Run;
use crate::load::script::Script;
use crate::load::{Error, Load, Push, Report};

impl Load {
    /// The first client pushes `at_once` times in one write; when everyone in its topic, itself
    /// included, has heard as many broadcasts of that event and payload, it pushes again, for as
    /// long as `length`.
    ///
    /// The latencies reach from the write to the last broadcast at each client.
    ///
    /// # Errors
    ///
    /// The kernel's; what the server does wrong is in the report.
    pub fn broadcast(
        &mut self,
        push: Push<'_>,
        at_once: u32,
        length: Duration,
    ) -> Result<Report, Error> {
        let Push { event, payload } = push;
        let mut scripts = self.scripts(
            at_once,
            |topic| message::push(topic, event, payload),
            |topic| message::broadcast(topic, event, payload),
        );
        let mut run = Run::begin(&mut self.clients);
        let Some(speaker) = self.clients.first() else { return Ok(run.end()) };
        let topic = speaker.topic;
        let end = Instant::now() + length;
        loop {
            let (speaker, others) = self.clients.split_first_mut().expect("there is a speaker");
            if !run.ask(speaker, &scripts, at_once) {
                break;
            }
            let asked = speaker.asked;
            for client in others.iter_mut().filter(|client| client.topic == topic) {
                run.await_broadcast(client, at_once, asked);
            }
            while run.owed > 0 {
                if !self.take_replies(&mut run, &mut scripts, |_, _, _| ())? {
                    return Ok(run.end());
                }
            }
            if Instant::now() >= end {
                break;
            }
        }
        Ok(run.end())
    }

    /// In every room one client speaks, and when all who joined the room have heard it, the next of
    /// them speaks, for as long as `length`.
    ///
    /// The server sets the pace. The latencies reach from a write to its broadcast at each client.
    ///
    /// # Errors
    ///
    /// The kernel's; what the server does wrong is in the report.
    pub fn speak_in_turn(&mut self, push: Push<'_>, length: Duration) -> Result<Report, Error> {
        let mut scripts = self.broadcasts(push);
        let mut rooms = self.rooms();
        let mut run = Run::begin(&mut self.clients);
        let end = run.stopwatch.started + length;
        for room in &mut rooms {
            self.speak(&mut run, &scripts, room, Instant::now());
        }
        while run.owed > 0 {
            let received = run.report.received;
            let events = self.wait(Some(self.options.patience))?;
            for event in &events {
                let client = &mut self.clients[event.data.u64() as usize];
                let room = &mut rooms[client.topic as usize];
                let (owed, heard) = (client.owed, client.answered);
                run.receive(client, &mut scripts, &mut self.buffer);
                if client.answered > heard {
                    run.report.record(room.said[0].elapsed());
                }
                // Those whose connection is over are waited for no longer.
                let settled = owed - client.owed;
                room.owed -= settled;
                if settled > 0 && room.owed == 0 && Instant::now() < end {
                    room.said.clear();
                    self.speak(&mut run, &scripts, room, Instant::now());
                }
            }
            self.events = events;
            if run.is_stuck(received, self.options.patience) {
                break;
            }
        }
        Ok(run.end())
    }

    /// The rooms take turns, and in each the clients, so that there are `rate` broadcasts a second in
    /// all, for as long as `length`, whether or not earlier ones have been heard.
    ///
    /// The latencies reach from the instant a broadcast was due to each client that hears it.
    ///
    /// # Errors
    ///
    /// The kernel's; what the server does wrong is in the report, and so is what this client did
    /// not manage to send in time ([`Report::behind`]).
    pub fn speak_at_rate(
        &mut self,
        push: Push<'_>,
        rate: f64,
        length: Duration,
    ) -> Result<Report, Error> {
        let mut scripts = self.broadcasts(push);
        let mut rooms = self.rooms();
        let mut run = Run::begin(&mut self.clients);
        let length = if rooms.is_empty() { Duration::ZERO } else { length };
        let mut pace = Pace::new(run.stopwatch.started, rate, length);
        while !pace.is_over() || run.owed > 0 {
            for (write, due) in std::iter::from_fn(|| pace.take()).take(WRITES_BETWEEN_READS) {
                let room = (write % rooms.len() as u64) as usize;
                self.speak(&mut run, &scripts, &mut rooms[room], due);
            }
            run.report.behind = pace.behind;
            let received = run.report.received;
            let events = self.wait(Some(pace.pause(self.options.patience)))?;
            for event in &events {
                let client = &mut self.clients[event.data.u64() as usize];
                let heard = client.answered as usize;
                run.receive(client, &mut scripts, &mut self.buffer);
                // What is said in a room is heard in the order it was said.
                let said = &rooms[client.topic as usize].said;
                let now = Instant::now();
                for due in said.iter().skip(heard).take(client.answered as usize - heard) {
                    run.report.record(now.saturating_duration_since(*due));
                }
            }
            self.events = events;
            if run.is_stuck(received, self.options.patience) {
                break;
            }
        }
        Ok(run.end())
    }

    pub(super) fn broadcasts(&self, push: Push<'_>) -> Vec<Script> {
        let Push { event, payload } = push;
        self.scripts(
            1,
            |topic| message::push(topic, event, payload),
            |topic| message::broadcast(topic, event, payload),
        )
    }

    fn rooms(&self) -> Vec<Room> {
        let mut rooms: Vec<Room> = self.topics.iter().map(|_| Room::default()).collect();
        for (index, client) in self.clients.iter().enumerate() {
            rooms[client.topic as usize].members.push(index);
        }
        rooms
    }

    /// The room's next client speaks; all in it, itself included, are to hear it.
    fn speak(&mut self, run: &mut Run, scripts: &[Script], room: &mut Room, due: Instant) {
        let speaker = room.members[room.next % room.members.len()];
        room.next += 1;
        room.said.push(due);
        if !run.ask(&mut self.clients[speaker], scripts, 1) {
            return;
        }
        room.owed += 1;
        for &member in room.members.iter().filter(|&&member| member != speaker) {
            let client = &mut self.clients[member];
            let owed = client.owed;
            run.await_broadcast(client, 1, due);
            room.owed += client.owed - owed;
        }
    }
}

/// The clients of a topic. There is at least one.
#[derive(Default)]
struct Room {
    members: Vec<usize>,
    /// Counts up; whose turn it is to speak, beyond the last is the first again.
    next: usize,
    /// When what is said was due.
    said: Vec<Instant>,
    /// What its members are still to hear.
    owed: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::test_server::{
        Answers, LENGTH, PING, joined, phoenix, server, server_of_rooms,
    };

    const SHOUT: Push<'static> = Push { event: "shout", ..PING };

    #[test]
    fn all_in_a_room_hear_what_is_said_in_turn() {
        let mut load = joined(server_of_rooms(phoenix), 6);
        let report = load.speak_in_turn(SHOUT, LENGTH).unwrap().clean().unwrap();
        assert!(report.sent >= 2, "both rooms spoke");
        assert_eq!((report.received, report.latency.len()), (3 * report.sent, 3 * report.sent));
    }

    #[test]
    fn all_in_a_room_hear_what_is_said_at_a_fixed_rate() {
        let mut load = joined(server_of_rooms(phoenix), 6);
        let report = load.speak_at_rate(SHOUT, 1_000.0, LENGTH).unwrap().clean().unwrap();
        assert_eq!((report.sent, report.received, report.latency.len()), (20, 60, 60));
    }

    #[test]
    fn what_is_heard_in_another_room_is_an_error() {
        let mut load = joined(server(phoenix), 6);
        let report = load.speak_at_rate(SHOUT, 1_000.0, LENGTH).unwrap();
        assert!(report.errors.unexpected > 0, "{}", report.errors);
    }

    #[test]
    fn a_room_that_hears_nothing_is_counted_and_does_not_hold_the_load() {
        let silent: Answers =
            |said| if said.contains("shout") { Some(Default::default()) } else { phoenix(said) };
        let mut load = joined(server(silent), 6);
        let report = load.speak_in_turn(SHOUT, LENGTH).unwrap();
        assert_eq!((report.sent, report.received, report.errors.unanswered), (2, 0, 6));
        let report = load.speak_at_rate(SHOUT, 100.0, LENGTH).unwrap();
        assert_eq!((report.sent, report.received, report.errors.unanswered), (2, 0, 6));
    }

    #[test]
    fn a_broadcast_is_heard_by_everyone_in_its_topic() {
        // The server says it to all connections, so all must be in one topic.
        let mut load = joined(server(phoenix), 4);
        load.join(|_| "room:all".into(), "{}", "{}").unwrap().clean().unwrap();
        let shout = Push { event: "shout", ..PING };
        let report = load.broadcast(shout, 2, LENGTH).unwrap().clean().unwrap();
        assert_eq!(report.received, 4 * report.sent);
        assert!(report.sent >= 2);
    }

    #[test]
    fn a_broadcast_that_reaches_the_wrong_topic_is_an_error() {
        let mut load = joined(server(phoenix), 4);
        let shout = Push { event: "shout", ..PING };
        let first = load.broadcast(shout, 1, LENGTH).unwrap().errors;
        // What was not seen then stands before the replies now.
        let second = load.push_in_turn(PING, PING.payload, 1, LENGTH).unwrap().errors;
        assert!(first.unexpected + second.unexpected > 0, "{first}; {second}");
    }
}
