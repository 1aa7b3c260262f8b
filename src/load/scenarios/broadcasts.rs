//! Broadcasts: what one client says, all in its room hear.

use std::io;
use std::iter::Cycle;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::Scenario;
use crate::load::cast::Cast;
use crate::load::pace::Pace;
use crate::load::run::Run;
use crate::load::script::Script;
use crate::load::{Error, Load, Push, Report, message};

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
        // The first client's topic is the first there is.
        let room = self.rooms(1).into_iter().take(1).collect();
        self.take_turns(room, self.broadcasts(push, at_once), length)
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
        self.take_turns(self.rooms(usize::MAX), self.broadcasts(push, 1), length)
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
        let scripts = self.broadcasts(push, 1);
        let rooms = self.rooms(usize::MAX);
        let (run, cast) = self.begin(scripts);
        let length = if rooms.is_empty() { Duration::ZERO } else { length };
        let pace = Pace::new(run.started(), rate, length);
        let said = vec![Vec::new(); rooms.len()];
        Ok(run.drive(AtRate { cast, rooms, said, pace })?)
    }

    fn take_turns(
        &mut self,
        rooms: Vec<Room>,
        scripts: Vec<Script>,
        length: Duration,
    ) -> Result<Report, Error> {
        let (mut run, cast) = self.begin(scripts);
        let end = run.started() + length;
        let owed = vec![0; rooms.len()];
        let mut scenario = InTurn { cast, rooms, owed, end };
        for room in 0..scenario.rooms.len() {
            scenario.speak(&mut run, room);
        }
        Ok(run.drive(scenario)?)
    }

    /// What is pushed, and what all in the room hear of it.
    pub(super) fn broadcasts(&self, push: Push<'_>, at_once: u32) -> Vec<Script> {
        let Push { event, payload } = push;
        self.scripts(
            at_once,
            |topic| message::push(topic, event, payload),
            |topic| message::broadcast(topic, event, payload),
        )
    }

    /// One for each topic, in which so many at most take turns to speak.
    fn rooms(&self, max_speakers: usize) -> Vec<Room> {
        let mut members = vec![Vec::new(); self.topics.len()];
        for (index, client) in self.clients.iter().enumerate() {
            members[client.topic as usize].push(index);
        }
        let room = |members: Vec<usize>| Room {
            turns: (0..members.len().min(max_speakers)).cycle(),
            members,
        };
        members.into_iter().map(room).collect()
    }
}

/// The clients of a topic. There is at least one.
struct Room {
    members: Vec<usize>,
    /// Whose turn it is to speak, by their place among the members.
    turns: Cycle<Range<usize>>,
}

impl Room {
    /// The next client speaks, which was due at this instant; all in the room, itself included, are
    /// to hear it. `false` if its connection is over.
    fn speak(&mut self, run: &mut Run<'_>, cast: &mut Cast<'_>, due: Instant) -> bool {
        let turn = self.turns.next().expect("there is at least one client");
        let speaker = self.members[turn];
        let spoke = cast.ask(run, speaker);
        if spoke {
            for &member in self.members.iter().filter(|&&member| member != speaker) {
                cast.await_broadcast(run, member, due);
            }
        }
        spoke
    }
}

/// Each room by itself.
struct InTurn<'a> {
    cast: Cast<'a>,
    /// Of the first topics, or of all.
    rooms: Vec<Room>,
    /// What the clients of each room are still to hear.
    owed: Vec<u64>,
    /// Nobody speaks again from then on.
    end: Instant,
}

impl InTurn<'_> {
    /// The next client of a room speaks, in which nobody is owed anything.
    fn speak(&mut self, run: &mut Run<'_>, room: usize) {
        let before = run.owed();
        self.rooms[room].speak(run, &mut self.cast, Instant::now());
        self.owed[room] = run.owed() - before;
    }
}

impl Scenario for InTurn<'_> {
    fn handle_ready(&mut self, run: &mut Run<'_>, client: usize) -> io::Result<()> {
        let before = self.cast[client].owed;
        self.cast.receive_last(run, client);
        // Those whose connection is over are waited for no longer.
        let settled = u64::from(before - self.cast[client].owed);
        if settled > 0 {
            let room = self.cast[client].topic as usize;
            self.owed[room] -= settled;
            if self.owed[room] == 0 && Instant::now() < self.end {
                self.speak(run, room);
            }
        }
        Ok(())
    }
}

/// One room after the other.
struct AtRate<'a> {
    cast: Cast<'a>,
    rooms: Vec<Room>,
    /// When what was said in each room was due.
    said: Vec<Vec<Instant>>,
    pace: Pace,
}

impl Scenario for AtRate<'_> {
    fn send_due(&mut self, run: &mut Run<'_>) -> io::Result<Duration> {
        let rooms = self.rooms.len() as u64;
        for (write, due) in self.pace.take_some() {
            let room = (write % rooms) as usize;
            if self.rooms[room].speak(run, &mut self.cast, due) {
                self.said[room].push(due);
            }
        }
        run.report.behind = self.pace.behind;
        Ok(self.pace.pause(run.patience))
    }

    fn handle_ready(&mut self, run: &mut Run<'_>, client: usize) -> io::Result<()> {
        let before = self.cast[client].answered as usize;
        self.cast.receive(run, client);
        // What is said in a room is heard in the order it was said.
        let client = &self.cast[client];
        let heard = &self.said[client.topic as usize][before..client.answered as usize];
        let now = Instant::now();
        for &due in heard {
            run.report.record(now - due);
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.pace.is_over()
    }
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
