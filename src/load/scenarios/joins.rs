//! Joins: each client enters its topic.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::time::Duration;

use super::Scenario;
use crate::load::cast::Cast;
use crate::load::run::Run;
use crate::load::{Error, Load, Report, message};

impl Load {
    /// Every client joins the topic that `topic` names for its number, with `params` (JSON), and
    /// expects `response` (JSON).
    ///
    /// The latencies reach from a join to its reply.
    ///
    /// # Errors
    ///
    /// The kernel's; a join that is refused is in the report.
    pub fn join(
        &mut self,
        topic: impl Fn(usize) -> String,
        params: &str,
        response: &str,
    ) -> Result<Report, Error> {
        let mut known: HashMap<String, u32> = HashMap::new();
        self.topics.clear();
        for (index, client) in self.clients.iter_mut().enumerate() {
            client.topic = *known.entry(topic(index)).or_insert_with_key(|topic| {
                self.topics.push(topic.clone());
                self.topics.len() as u32 - 1
            });
        }
        let scripts = self.scripts(
            1,
            |topic| message::join(topic, params),
            |topic| message::joined(topic, response),
        );
        let at_once = self.options.at_once as u64;
        let (run, cast) = self.begin(scripts);
        let outside = 0..cast.len();
        Ok(run.drive(Joins { cast, outside, at_once })?)
    }
}

/// A few at a time.
struct Joins<'a> {
    cast: Cast<'a>,
    /// Those who have not asked yet.
    outside: Range<usize>,
    at_once: u64,
}

impl Scenario for Joins<'_> {
    fn send_due(&mut self, run: &mut Run<'_>) -> io::Result<Duration> {
        while run.owed() < self.at_once
            && let Some(client) = self.outside.next()
        {
            self.cast.ask(run, client);
        }
        Ok(run.patience)
    }

    fn handle_ready(&mut self, run: &mut Run<'_>, client: usize) -> io::Result<()> {
        self.cast.receive_last(run, client);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::test_server::{Answers, PATH, answers_to, server};
    use crate::load::{Options, text};

    /// What comes of it when seven join, three at a time.
    fn join(answers: Answers) -> Report {
        let patience = Duration::from_millis(500);
        let mut load = Load::new(Options { patience, at_once: 3, ..Options::default() }).unwrap();
        load.connect(server(answers), PATH, 7).unwrap().clean().unwrap();
        load.join(|_| "room:1".into(), "{}", "{}").unwrap()
    }

    #[test]
    fn so_many_at_a_time_ask_and_no_more_before_they_are_answered() {
        let report = join(|_| Some(Default::default()));
        assert_eq!((report.sent, report.received, report.errors.unanswered), (3, 0, 3));
    }

    #[test]
    fn another_follows_who_is_turned_away() {
        let report = join(|_| None);
        assert_eq!((report.sent, report.received), (7, 0));
        assert_eq!((report.errors.closed, report.errors.unanswered), (7, 7));
    }

    #[test]
    fn a_refused_join_is_counted() {
        let refuse = |said: &str| {
            let reply = answers_to(said).0?;
            Some((text(&reply.replace("ok", "error")), Vec::new()))
        };
        let report = join(refuse);
        assert_eq!((report.received, report.errors.unexpected), (0, 3), "{}", report.errors);
    }
}
