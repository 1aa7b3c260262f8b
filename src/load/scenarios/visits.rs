//! Visits: clients that connect, join, close and are gone.
//!
//! ```text
//!  SYN ─▶ request ─▶ 101 ─▶ join ─▶ reply ─▶ Close ─▶ the server's Close and its FIN ─▶ FIN
//! ```
//!
//! It is the server that ends the connection first, as RFC 6455 §7.1.1 has it. So what TCP remembers
//! of a connection for a minute (TIME_WAIT) stands at the server's end, and the visitor's port is
//! free for another at once.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use slab::Slab;

use crate::load::client::{Client, Parting, upgrade_request};
use crate::load::frame::{close, masked_close};
use crate::load::message;
use crate::load::pace::Pace;
use crate::load::script::Script;
use crate::load::stopwatch::Stopwatch;
use crate::load::{Error, Load, Report, event_data, wait};

/// Where visitors go, and what they join there with `{}`.
#[derive(Debug, Clone, Copy)]
pub struct Visit<'a> {
    /// The server's address.
    pub server: SocketAddr,
    /// The path of the WebSocket; it names serializer V2.
    pub path: &'a str,
    /// The topic.
    pub topic: &'a str,
}

impl Load {
    /// `at_once` visitors at a time come and go; who has gone is replaced by the next, for as long as
    /// `length`. Clients that are connected stay as they are.
    ///
    /// The report counts visits. The latencies reach from the SYN to the end of the connection.
    ///
    /// # Errors
    ///
    /// The kernel's; what the server does wrong is in the report.
    pub fn visit_in_turn(
        &mut self,
        visit: Visit<'_>,
        at_once: usize,
        length: Duration,
    ) -> Result<Report, Error> {
        let mut visits = Visits::begin(self, visit)?;
        let end = visits.stopwatch.started + length;
        loop {
            while visits.under_way.len() < at_once && Instant::now() < end {
                visits.enter(Instant::now())?;
            }
            if visits.under_way.is_empty() || !visits.go_on(visits.load.options.patience)? {
                return Ok(visits.end());
            }
        }
    }

    /// The same, but `rate` visitors come every second, whether or not earlier ones have gone.
    ///
    /// The latencies reach from the instant a visitor was due.
    ///
    /// # Errors
    ///
    /// As for [`visit_in_turn`](Self::visit_in_turn).
    pub fn visit_at_rate(
        &mut self,
        visit: Visit<'_>,
        rate: f64,
        length: Duration,
    ) -> Result<Report, Error> {
        let max = Self::max_connections().saturating_sub(self.clients.len()).min(MAX_VISITORS);
        let mut visits = Visits::begin(self, visit)?;
        let mut pace = Pace::new(visits.stopwatch.started, rate, length);
        loop {
            while visits.under_way.len() < max
                && let Some((_, due)) = pace.take()
            {
                visits.enter(due)?;
            }
            visits.report.behind = pace.behind;
            if pace.is_over() && visits.under_way.is_empty() {
                return Ok(visits.end());
            }
            let patience = visits.load.options.patience;
            let is_full = visits.under_way.len() == max;
            let pause = if is_full { patience } else { pace.pause(patience) };
            if !visits.go_on(pause)? {
                return Ok(visits.end());
            }
        }
    }
}

/// All visits of a load.
struct Visits<'a> {
    load: &'a mut Load,
    server: SocketAddr,
    /// Apart from the load's own: nothing comes for the clients that stay.
    epoll: OwnedFd,
    request: String,
    script: Script,
    /// The visitor's Close, and the server's.
    closes: (Vec<u8>, Vec<u8>),
    under_way: Slab<Visitor>,
    report: Report,
    stopwatch: Stopwatch,
    /// When a visitor last came or went.
    progress: Instant,
}

struct Visitor {
    client: Client,
    begun: Instant,
    stage: Stage,
}

enum Stage {
    Arriving,
    Joining,
    Leaving,
}

impl<'a> Visits<'a> {
    fn begin(load: &'a mut Load, visit: Visit<'_>) -> io::Result<Self> {
        let Visit { server, path, topic } = visit;
        let stopwatch = Stopwatch::start();
        Ok(Self {
            load,
            server,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            request: upgrade_request(server, path),
            script: Script::new(&message::join(topic, "{}"), 1, &message::joined(topic, "{}")),
            closes: (masked_close(1000), close(1000)),
            under_way: Slab::new(),
            report: Report::new(),
            progress: stopwatch.started,
            stopwatch,
        })
    }

    /// Lets another visitor come, who was due at `begun`.
    fn enter(&mut self, begun: Instant) -> io::Result<()> {
        let client = Client::connect(self.load.options.source, self.server, Parting::Graceful)?;
        let socket = client.socket().expect("the client has just been made");
        let entry = self.under_way.vacant_entry();
        // At edges, so that nothing need be changed when there is nothing more to write.
        let interest = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&self.epoll, socket, event_data(entry.key()), interest)?;
        entry.insert(Visitor { client, begun, stage: Stage::Arriving });
        self.report.sent += 1;
        self.progress = Instant::now();
        Ok(())
    }

    /// Waits once, at most for `pause`, and does what has become possible.
    ///
    /// `false` when patience has ended: those under way are counted, and the load is over.
    fn go_on(&mut self, pause: Duration) -> io::Result<bool> {
        let events = wait(&self.epoll, &mut self.load.events, Some(pause))?;
        for event in &events {
            let index = event.data.u64() as usize;
            if !self.proceed(index) {
                let visitor = self.under_way.remove(index);
                self.progress = Instant::now();
                self.report.record(self.progress - visitor.begun);
            }
        }
        self.load.events = events;
        let patience = self.load.options.patience;
        if self.under_way.is_empty() || self.progress.elapsed() < patience {
            return Ok(true);
        }
        self.report.errors.unanswered += self.under_way.len() as u64;
        self.report.errors.note(|| "visits did not come to their end".into());
        Ok(false)
    }

    /// Goes on with one visit as far as it goes; `false` when it is over.
    fn proceed(&mut self, index: usize) -> bool {
        let Self { load, request, script, closes, under_way, report, .. } = self;
        let Visitor { client, stage, .. } = &mut under_way[index];
        let (buffer, errors) = (&mut load.buffer, &mut report.errors);
        match stage {
            Stage::Arriving => match client.proceed(request.as_bytes(), buffer) {
                Ok(true) => {
                    *stage = Stage::Joining;
                    client.send(&script.sent, errors)
                }
                Ok(false) => true,
                Err(error) => {
                    errors.refused += 1;
                    errors.note(|| error.to_string());
                    false
                }
            },
            Stage::Joining => {
                if client.receive(buffer, &mut script.expected, errors) > 0 {
                    *stage = Stage::Leaving;
                    return client.send(&closes.0, errors);
                }
                client.is_open()
            }
            Stage::Leaving => {
                let has_left = client.receive_close(&closes.1, buffer, errors);
                report.received += u64::from(has_left);
                client.is_open()
            }
        }
    }

    fn end(mut self) -> Report {
        self.stopwatch.stop(&mut self.report);
        self.report
    }
}

/// At a fixed rate: a server that has fallen so far behind has shown what it can't.
const MAX_VISITORS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::test_server::{Answers, LENGTH, PATH, PING};
    use crate::load::test_server::{answers_to, phoenix, server, server_without_closes};
    use crate::load::{Errors, Options, text};

    fn visit(answers: Answers) -> (Load, Visit<'static>) {
        let patience = Duration::from_millis(500);
        let load = Load::new(Options { patience, ..Options::default() }).unwrap();
        (load, Visit { server: server(answers), path: PATH, topic: "room:1" })
    }

    #[test]
    fn visitors_come_and_go_in_turn() {
        let (mut load, visit) = visit(phoenix);
        let report = load.visit_in_turn(visit, 3, LENGTH).unwrap().clean().unwrap();
        assert!(report.sent >= 3);
        assert_eq!((report.received, report.latency.len()), (report.sent, report.sent));
    }

    #[test]
    fn visitors_come_at_a_fixed_rate() {
        let (mut load, visit) = visit(phoenix);
        let report = load.visit_at_rate(visit, 500.0, LENGTH).unwrap().clean().unwrap();
        assert_eq!((report.sent, report.received, report.latency.len()), (10, 10, 10));
    }

    #[test]
    fn clients_that_are_there_stay_while_visitors_come_and_go() {
        let (mut load, visit) = visit(phoenix);
        load.connect(visit.server, PATH, 2).unwrap().clean().unwrap();
        load.join(|_| "room:1".into(), "{}", "{}").unwrap().clean().unwrap();
        load.visit_in_turn(visit, 1, LENGTH).unwrap().clean().unwrap();
        load.push_in_turn(PING, PING.payload, 1, LENGTH).unwrap().clean().unwrap();
    }

    #[test]
    fn a_server_that_hangs_up_at_a_join_is_counted() {
        let (mut load, visit) = visit(|_| None);
        let report = load.visit_at_rate(visit, 100.0, LENGTH).unwrap();
        assert_eq!((report.received, report.errors.closed), (0, 2), "{}", report.errors);
    }

    #[test]
    fn a_close_that_is_not_answered_is_counted() {
        let (mut load, visit) = visit(phoenix);
        let visit = Visit { server: server_without_closes(phoenix), ..visit };
        let report = load.visit_at_rate(visit, 100.0, LENGTH).unwrap();
        assert_eq!((report.received, report.errors.closed), (0, 2), "{}", report.errors);
    }

    #[test]
    fn a_refused_join_is_counted() {
        let refuse = |said: &str| {
            let reply = answers_to(said).0?;
            Some((text(&reply.replace("ok", "error")), Vec::new()))
        };
        let (mut load, visit) = visit(refuse);
        let report = load.visit_at_rate(visit, 100.0, LENGTH).unwrap();
        let Errors { unexpected, unanswered, .. } = report.errors;
        assert_eq!((report.received, unexpected, unanswered), (0, 2, 2), "{}", report.errors);
    }

    #[test]
    fn nobody_at_the_door_is_counted() {
        let nobody =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        nobody.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let server = nobody.local_addr().unwrap().as_socket().unwrap();
        let mut load = Load::new(Options::default()).unwrap();
        let visit = Visit { server, path: PATH, topic: "room:1" };
        let report = load.visit_at_rate(visit, 100.0, LENGTH).unwrap();
        assert_eq!((report.received, report.errors.refused), (0, 2));
    }
}
