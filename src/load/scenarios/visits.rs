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
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use slab::Slab;

use super::Scenario;
use crate::load::client::{Client, Parting, upgrade_request};
use crate::load::frame::{close, masked_close};
use crate::load::pace::Pace;
use crate::load::poller::{Interest, Poller};
use crate::load::run::Run;
use crate::load::script::Script;
use crate::load::{Error, Load, Report, message};

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
        // Of their own, whose numbers are not the clients'.
        let poller = Poller::new()?;
        let run = Run::begin(&poller, &self.options);
        let end = run.started() + length;
        let visits = Visits::new(visit, self.options.source);
        Ok(run.drive(InTurn { visits, at_once, end })?)
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
        let room = Self::max_connections().saturating_sub(self.clients.len());
        let poller = Poller::new()?;
        let run = Run::begin(&poller, &self.options);
        let pace = Pace::new(run.started(), rate, length);
        let visits = Visits::new(visit, self.options.source);
        // Where there is room for none, it is for the kernel to say so.
        Ok(run.drive(AtRate { visits, max: room.clamp(1, MAX_VISITORS), pace })?)
    }
}

/// Who has gone is replaced.
struct InTurn {
    visits: Visits,
    at_once: usize,
    /// Nobody comes from then on.
    end: Instant,
}

impl Scenario for InTurn {
    fn send_due(&mut self, run: &mut Run<'_>) -> io::Result<Duration> {
        while self.visits.under_way.len() < self.at_once && Instant::now() < self.end {
            self.visits.enter(run, Instant::now())?;
        }
        Ok(run.patience)
    }

    fn handle_ready(&mut self, run: &mut Run<'_>, visitor: usize) -> io::Result<()> {
        self.visits.handle_ready(run, visitor);
        Ok(())
    }
}

/// Whether or not anybody has gone.
struct AtRate {
    visits: Visits,
    max: usize,
    pace: Pace,
}

impl Scenario for AtRate {
    fn send_due(&mut self, run: &mut Run<'_>) -> io::Result<Duration> {
        while self.visits.under_way.len() < self.max
            && let Some((_, due)) = self.pace.take()
        {
            self.visits.enter(run, due)?;
        }
        run.report.behind = self.pace.behind;
        let is_full = self.visits.under_way.len() == self.max;
        Ok(if is_full { run.patience } else { self.pace.pause(run.patience) })
    }

    fn handle_ready(&mut self, run: &mut Run<'_>, visitor: usize) -> io::Result<()> {
        self.visits.handle_ready(run, visitor);
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.pace.is_over()
    }
}

/// Those who are under way, and what they say.
struct Visits {
    server: SocketAddr,
    source: Ipv4Addr,
    request: String,
    script: Script,
    /// The visitor's Close, and the server's.
    closes: (Vec<u8>, Vec<u8>),
    under_way: Slab<Visitor>,
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
    /// As one should.
    Left,
}

impl Visits {
    fn new(visit: Visit<'_>, source: Ipv4Addr) -> Self {
        let Visit { server, path, topic } = visit;
        Self {
            server,
            source,
            request: upgrade_request(server, path),
            script: Script::new(&message::join(topic, "{}"), 1, &message::joined(topic, "{}")),
            closes: (masked_close(1000), close(1000)),
            under_way: Slab::new(),
        }
    }

    /// Lets another visitor come, who was due at `begun`.
    fn enter(&mut self, run: &mut Run<'_>, begun: Instant) -> io::Result<()> {
        let client = Client::connect(self.source, self.server, Parting::Graceful)?;
        let socket = client.socket().expect("the client has just been made");
        let entry = self.under_way.vacant_entry();
        // At edges, so that nothing need be changed when there is nothing more to write.
        run.poller.add(socket, entry.key(), Interest::IN | Interest::OUT | Interest::ET)?;
        entry.insert(Visitor { client, begun, stage: Stage::Arriving });
        run.ask(1, Instant::now());
        run.expect(1);
        Ok(())
    }

    /// Goes on with one visit, and counts it when it is over.
    fn handle_ready(&mut self, run: &mut Run<'_>, visitor: usize) {
        self.proceed(run, visitor);
        if self.under_way[visitor].client.socket().is_none() {
            let Visitor { begun, stage, .. } = self.under_way.remove(visitor);
            run.report.record(begun.elapsed());
            if matches!(stage, Stage::Left) { run.settle(1) } else { run.write_off(1) }
        }
    }

    /// Goes on with one visit as far as it goes. When it is over its client has no socket any more.
    fn proceed(&mut self, run: &mut Run<'_>, visitor: usize) {
        let Self { request, script, closes, under_way, .. } = self;
        let Visitor { client, stage, .. } = &mut under_way[visitor];
        let (buffer, errors) = (&mut run.buffer, &mut run.report.errors);
        match stage {
            Stage::Arriving => match client.proceed(request.as_bytes(), buffer) {
                Ok(true) => {
                    *stage = Stage::Joining;
                    client.send(&script.sent, errors);
                }
                Ok(false) => {}
                Err(error) => {
                    errors.refused += 1;
                    errors.note(|| error.to_string());
                    client.give_up();
                }
            },
            Stage::Joining => {
                if client.receive(buffer, &mut script.expected, errors) > 0 {
                    *stage = Stage::Leaving;
                    client.send(&closes.0, errors);
                }
            }
            Stage::Leaving => {
                if client.receive_close(&closes.1, buffer, errors) {
                    *stage = Stage::Left;
                }
            }
            Stage::Left => {}
        }
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
