//! A server in a process of its own, with limits of its own: an actor's part.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use simurgh::{Limits, ShardCounts};

use crate::actor::{self, Actor};
use crate::app;

/// A server in a process of its own.
pub(crate) struct LoneServer {
    actor: Actor,
    pub(crate) addr: SocketAddr,
}

impl LoneServer {
    /// Starts it with so many shards, under limits as `prlimit` takes them, for a test that calls
    /// [`play`] first thing; or says why it did not start.
    pub(crate) fn start(test: &str, shards: usize, limits: &[&str]) -> Result<Self, String> {
        Self::start_as(&Setup { shards, ..Setup::default() }, test, limits)
    }

    /// The same, set up as the test wants it.
    pub(crate) fn start_as(setup: &Setup, test: &str, limits: &[&str]) -> Result<Self, String> {
        let part = format!("{PART}{setup}");
        let mut actor = Actor::start(actor::command(limits, test, &part));
        let said = actor.hear();
        match said.strip_prefix("at ") {
            Some(addr) => Ok(Self { actor, addr: addr.parse().expect("an address") }),
            None => Err(said),
        }
    }

    /// What it has counted of this kind.
    pub(crate) fn count(&mut self, of: &str) -> u64 {
        self.actor.tell(of);
        self.actor.hear().parse().expect("a number")
    }

    /// Waits until it has counted so many at least.
    pub(crate) fn await_count(&mut self, of: &str, least: u64) {
        self.until(of, |count| count >= least);
    }

    /// Waits until what it has counted is as wanted: longer than a client may be silent by default.
    pub(crate) fn until(&mut self, of: &str, wanted: impl Fn(u64) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let count = self.count(of);
            if wanted(count) {
                return;
            }
            assert!(Instant::now() < deadline, "{of}: {count}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Shuts it down, and waits for its end.
    pub(crate) fn stop(mut self) {
        self.actor.tell("stop");
        assert_eq!(self.actor.hear(), "stopped");
        self.actor.end();
    }

    /// Stops the process where it is, or lets it go on.
    pub(crate) fn signal(&self, signal: &str) {
        self.actor.signal(signal);
    }
}

/// How a server is set up.
pub(crate) struct Setup {
    pub(crate) addr: SocketAddr,
    pub(crate) shards: usize,
    /// Its clients' `idle_timeout`, in seconds.
    pub(crate) idle: u64,
    pub(crate) reuse_port: bool,
    /// Bytes that it keeps for its clients; zero for what it takes by itself.
    pub(crate) kept: usize,
}

impl Default for Setup {
    fn default() -> Self {
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { addr, shards: 1, idle: 600, reuse_port: false, kept: 0 }
    }
}

impl Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { addr, shards, idle, reuse_port, kept } = self;
        write!(f, "{addr} {shards} {idle} {reuse_port} {kept}")
    }
}

impl FromStr for Setup {
    type Err = ();

    fn from_str(words: &str) -> Result<Self, ()> {
        let words: Vec<_> = words.split(' ').collect();
        let [addr, shards, idle, reuse_port, kept] = words[..] else { return Err(()) };
        let number = |word: &str| word.parse().map_err(drop);
        Ok(Self {
            addr: addr.parse().map_err(drop)?,
            shards: number(shards)? as usize,
            idle: number(idle)?,
            reuse_port: reuse_port.parse().map_err(drop)?,
            kept: number(kept)? as usize,
        })
    }
}

/// Plays the server, if that is this process' part, and says whether it was.
pub(crate) fn play() -> bool {
    let Some(part) = actor::part() else { return false };
    let Some(part) = part.strip_prefix(PART) else { return false };
    let setup: Setup = part.parse().expect("a setup");
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
    // Not by `Server::start`, which has no word for why it failed.
    let Setup { addr, shards, idle, reuse_port, kept } = setup;
    let limits = Limits {
        idle_timeout: Duration::from_secs(idle),
        max_kept_bytes: (kept > 0).then_some(kept),
        ..Limits::default()
    };
    let endpoint =
        app::endpoint().limits(limits).listen(addr).shards(shards).reuse_port(reuse_port);
    let running = match endpoint.start() {
        Ok(running) => running,
        Err(error) => {
            actor::say(&error.to_string());
            return true;
        }
    };
    actor::say(&format!("at {}", running.local_addr()));
    loop {
        let counts = running.handle().counts();
        let sum = |of: fn(&ShardCounts) -> u64| counts.iter().map(of).sum();
        let count = match actor::hear().as_str() {
            "connections" => sum(|shard| shard.connections),
            "accepts failed" => sum(|shard| shard.accepts_failed),
            "stop" => {
                drop(running);
                actor::say("stopped");
                return true;
            }
            "idle" => sum(|shard| shard.idle),
            "complaints" => log.count("can't accept clients"),
            "resident bytes" => memory("Rss:"),
            "anonymous bytes" => memory("Anonymous:"),
            "shed" => sum(|shard| shard.shed),
            "crashes" => sum(|shard| shard.crashes),
            "ceiling" => running.ceiling().connections,
            other => panic!("nobody counts {other}"),
        };
        actor::say(&count.to_string());
    }
}

/// How much memory of a kind this process holds.
fn memory(kind: &str) -> u64 {
    let pages = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = pages.lines().find_map(|line| line.strip_prefix(kind)).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn count(&self, what: &str) -> u64 {
        String::from_utf8_lossy(&self.0.lock().unwrap()).matches(what).count() as u64
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const PART: &str = "server ";
