//! Clients that behave, and hear everything.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simurgh::testing::{Client, Error, Message, Server, Version};

use crate::scene::until;

/// Where everybody is: the calm and those who do harm.
pub(crate) const CROWDED: &str = "room:crowded";

/// Where only the calm are.
const QUIET: &str = "room:quiet";

/// Calm clients, one of each version on each shard.
///
/// In both rooms each says one numbered thing after the other, and hears what all of them say: all
/// of it, in the order in which it was said. Beside that it asks for echoes, pings and sends
/// heartbeats, and is answered each time.
pub(crate) struct CalmClients {
    threads: Vec<JoinHandle<()>>,
    agreed: Arc<Agreed>,
}

/// What the calm know of one another.
struct Agreed {
    may_talk: AtomicBool,
    is_over: AtomicBool,
    /// How many things each has said, when he has said the last; [`TALKING`] before.
    said: Vec<AtomicUsize>,
    /// How much of what is called out each has heard.
    heard_calls: Vec<AtomicUsize>,
    /// How many have heard everything.
    content: AtomicUsize,
    may_go: AtomicBool,
}

/// Who may still say something.
const TALKING: usize = usize::MAX;

impl CalmClients {
    /// Has them come and join.
    pub(crate) fn come(server: &Server) -> Self {
        let count = server.shards() * Version::ALL.len();
        let agreed = Arc::new(Agreed {
            may_talk: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            said: (0..count).map(|_| AtomicUsize::new(TALKING)).collect(),
            heard_calls: (0..count).map(|_| AtomicUsize::new(0)).collect(),
            content: AtomicUsize::new(0),
            may_go: AtomicBool::new(false),
        });
        let places = (0..server.shards()).flat_map(|s| Version::ALL.map(|version| (s, version)));
        let clients: Vec<_> = places
            .enumerate()
            .map(|(number, (shard, version))| {
                let builder = Client::builder(server.addr(shard), "/socket").version(version);
                let client = builder.timeout(PATIENCE).connect().unwrap();
                let agreed = agreed.clone();
                Calm { client, number, rounds: 0, heard: HashMap::new(), agreed }.settle()
            })
            .collect();
        let threads = clients.into_iter().map(|calm| std::thread::spawn(move || calm.live()));
        Self { threads: threads.collect(), agreed }
    }

    /// Has them begin. Until then they keep still.
    pub(crate) fn talk(&self) {
        self.agreed.may_talk.store(true, Ordering::SeqCst);
    }

    /// Waits until all have heard the first `count` of the [calls](call) that are made.
    pub(crate) fn await_calls(&self, count: usize) {
        let heard = |heard: &AtomicUsize| heard.load(Ordering::SeqCst) >= count;
        until(
            || self.agreed.heard_calls.iter().all(heard),
            || format!("not all have heard {count} calls: {:?}", self.agreed.heard_calls),
        );
    }

    /// Tells them that the harm is over, and waits until each has heard what all have said.
    pub(crate) fn check(&self) {
        self.agreed.is_over.store(true, Ordering::SeqCst);
        let is_done = || self.agreed.content.load(Ordering::SeqCst) == self.threads.len();
        while !is_done() && !self.threads.iter().any(JoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let has_talked = |said: &AtomicUsize| said.load(Ordering::SeqCst) > 0;
        assert!(self.agreed.said.iter().all(has_talked), "somebody said nothing");
    }

    /// Has them go, and says what went wrong with one of them.
    pub(crate) fn go(self) {
        self.agreed.may_talk.store(true, Ordering::SeqCst);
        self.agreed.is_over.store(true, Ordering::SeqCst);
        self.agreed.may_go.store(true, Ordering::SeqCst);
        for thread in self.threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// What the application calls out to a whole room, the `number`th of its calls.
pub(crate) fn call(number: usize, text: &str) -> Value {
    json!({"call": number, "text": text})
}

struct Calm {
    client: Client,
    number: usize,
    rounds: usize,
    /// How many things it has heard, by room and speaker.
    heard: HashMap<(String, usize), usize>,
    agreed: Arc<Agreed>,
}

impl Calm {
    fn settle(mut self) -> Self {
        for room in [CROWDED, QUIET] {
            assert!(self.client.join(room, json!({})).unwrap().is_ok());
        }
        self
    }

    fn live(mut self) {
        let agreed = self.agreed.clone();
        while !agreed.may_talk.load(Ordering::SeqCst) {
            std::thread::sleep(BREATH);
        }
        loop {
            self.talk().unwrap();
            if agreed.is_over.load(Ordering::SeqCst) {
                break;
            }
            std::thread::sleep(BREATH);
        }
        agreed.said[self.number].store(self.rounds, Ordering::SeqCst);
        self.hear_all().unwrap();
        agreed.content.fetch_add(1, Ordering::SeqCst);
        while !agreed.may_go.load(Ordering::SeqCst) {
            std::thread::sleep(BREATH);
        }
        self.client.close();
        while self.client.next().is_ok() {}
        assert_eq!(self.client.closed().unwrap(), Some(1000));
    }

    fn talk(&mut self) -> Result<(), Error> {
        for room in [CROWDED, QUIET] {
            let words = json!({"calm": self.number, "round": self.rounds});
            let said = self.client.push(room, "say", words);
            assert_eq!(self.answer(&said)?, json!({"status": "ok", "response": {}}));
        }
        self.rounds += 1;
        let question = json!({"question": "x".repeat(self.rounds % 300)});
        let asked = self.client.push(QUIET, "echo", question.clone());
        assert_eq!(self.answer(&asked)?, json!({"status": "ok", "response": question}));
        self.beat()?;
        self.client.ping(b"calm");
        assert_eq!(self.client.pong()?, b"calm");
        Ok(())
    }

    fn beat(&mut self) -> Result<(), Error> {
        let beat = self.client.push("phoenix", "heartbeat", json!({}));
        assert_eq!(self.answer(&beat)?, json!({"status": "ok", "response": {}}));
        Ok(())
    }

    /// Listens until the last has said his last. What is said to a room after the beat's answer was
    /// asked for may come behind it, so it takes a few of them.
    fn hear_all(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.beat()?;
            let missing = self.agreed.said.iter().enumerate().flat_map(|(speaker, said)| {
                let said = said.load(Ordering::SeqCst);
                let heard = |room: &str| self.heard.get(&(room.to_owned(), speaker)).copied();
                [CROWDED, QUIET]
                    .map(|room| (room, speaker, said, heard(room).unwrap_or(0)))
                    .into_iter()
                    .filter(|(_, _, said, heard)| said != heard)
            });
            let missing: Vec<_> = missing.collect();
            if missing.is_empty() {
                return Ok(());
            }
            assert!(
                Instant::now() < deadline,
                "{} did not hear all (room, speaker, said, heard): {missing:?}",
                self.number
            );
            std::thread::sleep(BREATH);
        }
    }

    /// The payload of the reply to a message. What comes before it is heard.
    fn answer(&mut self, message_ref: &str) -> Result<Value, Error> {
        loop {
            let message = self.client.next()?;
            if message.event == "phx_reply" {
                assert_eq!(message.message_ref, *message_ref, "a stranger's reply");
                return Ok(message.payload.as_json().expect("all replies are JSON").clone());
            }
            self.hear(&message);
        }
    }

    fn hear(&mut self, message: &Message) {
        assert_eq!(message.event, "said", "nothing else is for the calm: {message}");
        let words = message.payload.as_json().unwrap_or(&Value::Null);
        if let Some(call) = words["call"].as_u64() {
            let next = self.agreed.heard_calls[self.number].fetch_add(1, Ordering::SeqCst);
            assert_eq!(call, next as u64, "the next call for {}", self.number);
            return;
        }
        let Some(speaker) = words["calm"].as_u64() else {
            assert_eq!(message.topic, CROWDED, "only there are others: {message}");
            return;
        };
        let key = (message.topic.clone(), speaker as usize);
        let next = self.heard.entry(key).or_default();
        assert_eq!(words["round"], *next, "what comes next of {speaker} for {}", self.number);
        *next += 1;
    }
}

/// How long the calm wait for what must come. Long, for the machine may be busy: it only decides
/// when a hang is called one.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two rounds of talk.
const BREATH: Duration = Duration::from_millis(2);
