//! Joins: each client enters its topic.

use std::collections::HashMap;

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
        let mut scripts = self.scripts(
            1,
            |topic| message::join(topic, params),
            |topic| message::joined(topic, response),
        );
        let mut run = Run::begin(&mut self.clients);
        let mut next = 0;
        while next < self.clients.len() || run.owed > 0 {
            while next < self.clients.len() && run.owed < self.options.at_once as u64 {
                run.ask(&mut self.clients[next], &scripts, 1);
                next += 1;
            }
            if run.owed > 0 && !self.take_replies(&mut run, &mut scripts, |_, _, _| ())? {
                break;
            }
        }
        Ok(run.end())
    }
}
