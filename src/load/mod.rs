//! A load of Phoenix clients: thousands of connections driven by one thread.
//!
//! The thread stands on a core of its own and does as little as it can for each message, so that it
//! is the server that is measured: what is sent was finished and masked beforehand, of what comes
//! back the frame headers are read and counted (`frame`), each is held against the length it should
//! have, and one in a thousand against its content (`message`).
//!
//! ```text
//!  Load::connect ─▶ Load::join ─▶ Load::push_in_turn   every client waits for its replies
//!                              ├▶ Load::push_at_rate   a fixed rate, whatever the server does
//!                              ├▶ Load::broadcast      one speaks, all must hear it
//!                              ├▶ Load::speak_in_turn  the same in every room at once
//!                              ├▶ Load::speak_at_rate  the same at a fixed rate
//!                              └▶ Load::hear           others speak
//!
//!  Load::visit_in_turn, Load::visit_at_rate             others come, join and go meanwhile
//! ```
//!
//! Each of these runs to its end, waits for what is still owed, and gives a [`Report`]. Nothing
//! that goes wrong is passed over: it is in the report's [`Errors`].
//!
//! What a load never does: answer pings, send heartbeats (so it is no client for more than a minute
//! of silence), reconnect.

#![expect(clippy::disallowed_methods, reason = "a load has a clock, and its tests have threads")]

use std::collections::HashMap;
use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::{ClockId, Timespec};

mod client;
mod frame;
pub mod message;
mod pace;
mod report;
mod rooms;
mod visits;

pub use client::{upgrade_request, upgrade_response};
pub use frame::{CLOSE, close, masked_text, text};
pub use report::{Errors, Report};
pub use visits::Visit;

use client::{Client, Parting};
use message::Script;
use pace::Pace;

/// A thread's worth of Phoenix clients, connected to one server.
///
/// # Example
///
/// ```no_run
/// use std::time::Duration;
///
/// use simurgh::load::{Load, Options, Push};
///
/// let mut load = Load::new(Options { cpu: Some(0), ..Options::default() })?;
/// let server = "127.0.0.1:4000".parse().unwrap();
/// load.connect(server, "/socket/websocket?vsn=2.0.0", 1_000)?.clean()?;
/// load.join(|client| format!("room:{:04}", client % 100), "{}", "{}")?.clean()?;
///
/// let ping = Push { event: "ping", payload: "{}" };
/// let report = load.push_in_turn(ping, "{}", 1, Duration::from_secs(5))?.clean()?;
/// println!("{:.0} replies/s", report.rate());
/// # Ok::<(), simurgh::load::Error>(())
/// ```
pub struct Load {
    options: Options,
    epoll: OwnedFd,
    clients: Vec<Client>,
    /// The topics joined, each once; clients name them by index.
    topics: Vec<String>,
    /// What the last wait has brought; taken out while it is worked through.
    events: Vec<epoll::Event>,
    /// Every read goes here: between two of them a connection keeps nothing but a header.
    buffer: Box<[u8]>,
}

/// How a load is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The core on which the load's thread is pinned; `None` (the default) leaves it where it is.
    pub cpu: Option<usize>,
    /// The first address clients connect from, 127.0.0.1 by default. The next one is taken after
    /// every 10,000 clients, for an address has no more than 28,232 ports to give. Several loads to
    /// one server begin at different addresses.
    pub source: Ipv4Addr,
    /// How many clients connect or join at a time, 128 by default: fewer than a listener's backlog,
    /// since what overflows that is repeated by the kernel only after a second.
    pub at_once: usize,
    /// How long the server may owe something without anything owed coming, 5 s by default.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let patience = Duration::from_secs(5);
        Self { cpu: None, source: Ipv4Addr::LOCALHOST, at_once: 128, patience }
    }
}

/// What a client says in its topic.
#[derive(Debug, Clone, Copy)]
pub struct Push<'a> {
    /// The event's name.
    pub event: &'a str,
    /// JSON.
    pub payload: &'a str,
}

/// Why a load cannot begin, or was not clean.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More clients than this process may have descriptors.
    #[error(
        "{wanted} clients need more descriptors than this process may open: {max} clients at most \
         (RLIMIT_NOFILE); start further loads as processes of their own"
    )]
    TooMany {
        /// All that this load would have then.
        wanted: usize,
        /// What [`Load::max_connections`] says.
        max: usize,
    },
    /// The thread could not be pinned.
    #[error("the load's thread cannot be pinned to core {0}")]
    Pin(usize),
    /// The kernel refused something that is no client's fault.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The load went wrong; see [`Report::clean`].
    #[error("the load was not clean: {0}")]
    Failed(Errors),
}

impl Load {
    /// Pins the calling thread, which is the one that must drive the load.
    ///
    /// # Errors
    ///
    /// The core is not there or not ours, or the process is out of descriptors.
    pub fn new(options: Options) -> Result<Self, Error> {
        if let Some(id) = options.cpu
            && !core_affinity::set_for_current(core_affinity::CoreId { id })
        {
            return Err(Error::Pin(id));
        }
        Ok(Self {
            options,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?,
            clients: Vec::new(),
            topics: Vec::new(),
            events: Vec::with_capacity(MAX_EVENTS),
            buffer: vec![0; READ_BUFFER].into(),
        })
    }

    /// How many clients a load of this process can have: its soft limit of open descriptors, less a
    /// few for the process itself.
    pub fn max_connections() -> usize {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        limit.map_or(usize::MAX, |limit| (limit as usize).saturating_sub(SPARE_DESCRIPTORS))
    }

    /// Connects further clients and upgrades them to WebSockets at `path`, which names serializer
    /// V2.
    ///
    /// The latencies reach from the first SYN to the 101.
    ///
    /// # Errors
    ///
    /// There may not be so many. A server that refuses is in the report.
    pub fn connect(
        &mut self,
        server: SocketAddr,
        path: &str,
        count: usize,
    ) -> Result<Report, Error> {
        let (wanted, max) = (self.clients.len() + count, Self::max_connections());
        if wanted > max {
            return Err(Error::TooMany { wanted, max });
        }
        let request = upgrade_request(server, path);
        let mut stopwatch = Stopwatch::start();
        let mut report = Report::new();
        let mut under_way = 0;
        while under_way > 0 || self.clients.len() < wanted {
            while under_way < self.options.at_once && self.clients.len() < wanted {
                let index = self.clients.len();
                let client = Client::connect(self.source_of(index), server, Parting::Reset)?;
                let socket = client.socket().expect("the client has just been made");
                let interest = epoll::EventFlags::IN | epoll::EventFlags::OUT;
                epoll::add(&self.epoll, socket, event_data(index), interest)
                    .map_err(io::Error::from)?;
                self.clients.push(client);
                report.sent += 1;
                under_way += 1;
            }
            let events = self.wait(Some(self.options.patience))?;
            if events.is_empty() {
                report.errors.unanswered += under_way as u64;
                report.errors.note(|| "no answer to a connection or an upgrade".into());
                break;
            }
            for event in &events {
                let index = event.data.u64() as usize;
                let client = &mut self.clients[index];
                if client.is_open() {
                    // Nobody has asked it anything yet, so it has ended, or the server raves.
                    client.give_up();
                    report.errors.closed += 1;
                    report.errors.note(|| "a connection ended before it was used".into());
                    continue;
                }
                match client.proceed(request.as_bytes(), &mut self.buffer) {
                    Ok(true) => {
                        under_way -= 1;
                        report.received += 1;
                        report.record(client.asked.elapsed());
                    }
                    Ok(false) => {
                        // The request has gone out: from now on only what comes in matters.
                        let socket = client.socket().expect("a client that goes on has one");
                        let interest = epoll::EventFlags::IN;
                        epoll::modify(&self.epoll, socket, event_data(index), interest)
                            .map_err(io::Error::from)?;
                    }
                    Err(error) => {
                        client.give_up();
                        under_way -= 1;
                        report.errors.refused += 1;
                        report.errors.note(|| error.to_string());
                    }
                }
            }
            self.events = events;
        }
        stopwatch.stop(&mut report);
        Ok(report)
    }

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

    /// Every client pushes `at_once` times in one write, waits for all the replies, and pushes
    /// again, for as long as `length`. Each must be answered with `response` (JSON).
    ///
    /// The server sets the pace. The latencies reach from a write to the last reply to it.
    ///
    /// # Errors
    ///
    /// The kernel's; what the server does wrong is in the report.
    pub fn push_in_turn(
        &mut self,
        push: Push<'_>,
        response: &str,
        at_once: u32,
        length: Duration,
    ) -> Result<Report, Error> {
        let mut scripts = self.pushes(push, response, at_once);
        let mut run = Run::begin(&mut self.clients);
        let end = Instant::now() + length;
        for client in &mut self.clients {
            run.ask(client, &scripts, at_once);
        }
        while run.owed > 0 {
            let again = |run: &mut Run, client: &mut Client, scripts: &[Script]| {
                if client.owed == 0 && client.is_open() && Instant::now() < end {
                    run.ask(client, scripts, at_once);
                }
            };
            if !self.take_replies(&mut run, &mut scripts, again)? {
                break;
            }
        }
        Ok(run.end())
    }

    /// The clients take turns to push, `at_once` times in one write, so that there are `rate`
    /// pushes a second in all, for as long as `length`, whether or not the replies to earlier ones
    /// have come. Each must be answered with `response` (JSON).
    ///
    /// The latencies reach from the instant a push was due, not from when it was sent, to its
    /// reply: if the server holds its client up, that counts against the server.
    ///
    /// # Errors
    ///
    /// The kernel's; what the server does wrong is in the report, and so is what this client did
    /// not manage to send in time ([`Report::behind`]).
    pub fn push_at_rate(
        &mut self,
        push: Push<'_>,
        response: &str,
        at_once: u32,
        rate: f64,
        length: Duration,
    ) -> Result<Report, Error> {
        let mut scripts = self.pushes(push, response, at_once);
        let mut run = Run::begin(&mut self.clients);
        let count = self.clients.len() as u64;
        let length = if count == 0 { Duration::ZERO } else { length };
        let mut pace = Pace::new(run.stopwatch.started, rate / f64::from(at_once), length);
        while !pace.is_over() || run.owed > 0 {
            // Never many at a time, so that replies don't wait behind a backlog of pushes.
            for (write, _) in std::iter::from_fn(|| pace.take()).take(WRITES_BETWEEN_READS) {
                run.ask(&mut self.clients[(write % count) as usize], &scripts, at_once);
            }
            run.report.behind = pace.behind;
            let timeout = pace.pause(self.options.patience);
            let received = run.report.received;
            let events = self.wait(Some(timeout))?;
            for event in &events {
                let index = event.data.u64();
                let client = &mut self.clients[index as usize];
                let answered = client.answered;
                run.receive(client, &mut scripts, &mut self.buffer);
                let now = Instant::now();
                for reply in answered..client.answered {
                    // The replies to a client come in order, so it is known which write each is to.
                    let write = reply / u64::from(at_once) * count + index;
                    run.report.record(now.saturating_duration_since(pace.due_at(write)));
                }
            }
            self.events = events;
            if run.is_stuck(received, self.options.patience) {
                break;
            }
        }
        Ok(run.end())
    }

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

    fn pushes(&self, push: Push<'_>, response: &str, at_once: u32) -> Vec<Script> {
        let Push { event, payload } = push;
        self.scripts(
            at_once,
            |topic| message::push(topic, event, payload),
            |topic| message::reply(topic, response),
        )
    }

    fn scripts(
        &self,
        at_once: u32,
        sent: impl Fn(&str) -> String,
        expected: impl Fn(&str) -> String,
    ) -> Vec<Script> {
        let script = |topic: &String| Script::new(&sent(topic), at_once as usize, &expected(topic));
        self.topics.iter().map(script).collect()
    }

    /// Waits once and takes what has come; `and_then` is called for each client that was answered.
    ///
    /// `false` when patience has ended: what is still owed is counted, and the load is over.
    fn take_replies(
        &mut self,
        run: &mut Run,
        scripts: &mut [Script],
        mut and_then: impl FnMut(&mut Run, &mut Client, &[Script]),
    ) -> Result<bool, Error> {
        let received = run.report.received;
        let events = self.wait(Some(self.options.patience))?;
        for event in &events {
            let client = &mut self.clients[event.data.u64() as usize];
            let owed = client.owed;
            run.receive(client, scripts, &mut self.buffer);
            if owed > 0 && client.owed == 0 {
                run.report.record(client.asked.elapsed());
            }
            and_then(run, client, scripts);
        }
        self.events = events;
        Ok(!run.is_stuck(received, self.options.patience))
    }

    /// What is ready; nothing when `timeout` has passed. Given back to `self.events` after use.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Vec<epoll::Event>> {
        wait(&self.epoll, &mut self.events, timeout)
    }

    fn source_of(&self, index: usize) -> Ipv4Addr {
        let step = (index / CLIENTS_PER_SOURCE) as u32;
        Ipv4Addr::from_bits(self.options.source.to_bits() + step)
    }
}

/// One load, from its first send to its last receipt.
struct Run {
    report: Report,
    stopwatch: Stopwatch,
    /// The frames all clients are owed.
    owed: u64,
    /// When something was last asked for, or something owed last came.
    progress: Instant,
}

impl Run {
    fn begin(clients: &mut [Client]) -> Self {
        for client in clients {
            client.owed = 0;
            client.answered = 0;
        }
        let stopwatch = Stopwatch::start();
        Self { report: Report::new(), progress: stopwatch.started, stopwatch, owed: 0 }
    }

    /// Sends what the client's script says, for which `frames` frames should come back. A client
    /// whose connection is over counts as one that got no answer.
    fn ask(&mut self, client: &mut Client, scripts: &[Script], frames: u32) -> bool {
        self.report.sent += u64::from(frames);
        client.asked = Instant::now();
        self.progress = client.asked;
        let sent = client.is_open()
            && client.send(&scripts[client.topic as usize].sent, &mut self.report.errors);
        if sent {
            client.owed += frames;
            self.owed += u64::from(frames);
        } else {
            self.report.errors.unanswered += u64::from(frames);
            self.forget(client);
        }
        sent
    }

    /// Expects `frames` broadcasts at a client that has not asked for them itself.
    fn await_broadcast(&mut self, client: &mut Client, frames: u32, asked: Instant) {
        if client.is_open() {
            client.asked = asked;
            client.owed += frames;
            self.owed += u64::from(frames);
        } else {
            self.report.errors.unanswered += u64::from(frames);
        }
    }

    fn receive(&mut self, client: &mut Client, scripts: &mut [Script], buffer: &mut [u8]) {
        let expected = &mut scripts[client.topic as usize].expected;
        let frames = client.receive(buffer, expected, &mut self.report.errors);
        let owed = frames.min(client.owed);
        if owed < frames {
            self.report.errors.unexpected += u64::from(frames - owed);
            self.report.errors.note(|| "a message came more often than it should".into());
        }
        client.owed -= owed;
        self.owed -= u64::from(owed);
        self.report.received += u64::from(owed);
        if !client.is_open() {
            self.forget(client);
        }
    }

    /// Waits no longer for what a connection that is over owes.
    fn forget(&mut self, client: &mut Client) {
        self.report.errors.unanswered += u64::from(client.owed);
        self.owed -= u64::from(client.owed);
        client.owed = 0;
    }

    /// Whether patience has ended without anything owed having come, since `received` before the
    /// last wait. A server that says the wrong thing for ever is as silent as one that says
    /// nothing.
    ///
    /// What is still owed is counted then.
    fn is_stuck(&mut self, received: u64, patience: Duration) -> bool {
        let now = Instant::now();
        if self.report.received > received {
            self.progress = now;
        }
        let stuck = self.owed > 0 && now - self.progress >= patience;
        if stuck {
            self.report.errors.unanswered += self.owed;
            self.report.errors.note(|| "nothing that was owed came any more".into());
        }
        stuck
    }

    fn end(mut self) -> Report {
        self.stopwatch.stop(&mut self.report);
        self.report
    }
}

/// The time and the CPU time of the thread since its start.
struct Stopwatch {
    started: Instant,
    cpu: Duration,
}

impl Stopwatch {
    fn start() -> Self {
        Self { started: Instant::now(), cpu: thread_cpu() }
    }

    fn stop(&mut self, report: &mut Report) {
        report.elapsed = self.started.elapsed();
        report.cpu = thread_cpu().saturating_sub(self.cpu);
    }
}

/// What is ready, in the memory of `spare`; nothing when `timeout` has passed.
fn wait(
    epoll: &OwnedFd,
    spare: &mut Vec<epoll::Event>,
    timeout: Option<Duration>,
) -> io::Result<Vec<epoll::Event>> {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    let mut events = mem::take(spare);
    events.clear();
    events.reserve(MAX_EVENTS);
    loop {
        match epoll::wait(epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) => return Ok(events),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn event_data(index: usize) -> epoll::EventData {
    epoll::EventData::new_u64(index as u64)
}

/// Of one wait. Few enough that the first of them is not stale when the last is looked at.
const MAX_EVENTS: usize = 256;

/// Room for hundreds of small frames a read.
const READ_BUFFER: usize = 64 << 10;

/// Of 28,232 ports (`net.ipv4.ip_local_port_range`). `bind` tries the 14,116 odd ones first, and
/// who comes when they are taken looks at each of them: 40 s of CPU for four times 15,000 clients.
const CLIENTS_PER_SOURCE: usize = 10_000;

/// For the standard streams, epoll, a child's pipes and what the libraries open.
const SPARE_DESCRIPTORS: usize = 64;

/// At a fixed rate.
const WRITES_BETWEEN_READS: usize = 64;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};
    use std::thread;

    use super::*;

    pub(super) const PATH: &str = "/socket/websocket?vsn=2.0.0";
    pub(super) const PING: Push<'static> = Push { event: "ping", payload: r#"{"a":1}"# };
    pub(super) const LENGTH: Duration = Duration::from_millis(20);

    /// What the server says to a text: frames for its sender, frames for everyone; `None` to hang
    /// up.
    pub(super) type Answers = fn(&str) -> Option<(Vec<u8>, Vec<u8>)>;

    /// A server of another make, so that the two sides cannot be wrong together: one thread a
    /// client. Everyone is whoever has connected.
    pub(super) fn server(answers: Answers) -> SocketAddr {
        start(answers, |_, _| true, true)
    }

    /// The same, but it hangs up where it should answer a Close.
    pub(super) fn server_without_closes(answers: Answers) -> SocketAddr {
        start(answers, |_, _| true, false)
    }

    /// The same, but everyone is whoever last said something in the same topic.
    pub(super) fn server_of_rooms(answers: Answers) -> SocketAddr {
        start(answers, |topic, member| topic == member, true)
    }

    fn start(answers: Answers, hears: fn(&str, &str) -> bool, closes: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let everyone = Arc::new(Everyone { members: Mutex::default(), hears, closes });
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, everyone) = (stream.unwrap(), everyone.clone());
                thread::spawn(move || serve(stream, &everyone, answers));
            }
        });
        address
    }

    struct Everyone {
        /// Each with the topic it is in.
        members: Mutex<Vec<(String, TcpStream)>>,
        /// Whether what is said in the first topic is heard in the second.
        hears: fn(&str, &str) -> bool,
        /// Whether a Close is answered.
        closes: bool,
    }

    fn serve(mut stream: TcpStream, everyone: &Everyone, answers: Answers) {
        use std::io::Write;
        let place = {
            let mut members = everyone.members.lock().unwrap();
            members.push((String::new(), stream.try_clone().unwrap()));
            members.len() - 1
        };
        let mut socket = tungstenite::accept(stream.try_clone().unwrap()).unwrap();
        while let Ok(message) = socket.read() {
            if message.is_close() {
                if everyone.closes {
                    // Its answer was made when it was read; to have sent it is called an error.
                    let _ = socket.flush();
                }
                break;
            }
            let said = message.to_text().unwrap();
            let Some((to_sender, to_everyone)) = answers(said) else { break };
            let [_, _, topic, ..]: [serde_json::Value; 5] = serde_json::from_str(said).unwrap();
            let topic = topic.as_str().unwrap();
            // Under the lock, so that no two frames are mixed.
            let mut members = everyone.members.lock().unwrap();
            members[place].0 = topic.to_owned();
            for (_, stream) in
                members.iter_mut().filter(|(other, _)| (everyone.hears)(topic, other))
            {
                stream.write_all(&to_everyone).unwrap();
            }
            drop(members);
            stream.write_all(&to_sender).unwrap();
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }

    /// As Phoenix answers: joins, and pings with their payload; `shout` goes to everyone.
    pub(super) fn phoenix(said: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        let (to_sender, to_everyone) = answers_to(said);
        let frames = |said: Option<String>| said.map(|said| text(&said)).unwrap_or_default();
        Some((frames(to_sender), frames(to_everyone)))
    }

    pub(super) fn answers_to(said: &str) -> (Option<String>, Option<String>) {
        let [join_ref, message_ref, topic, event, payload]: [serde_json::Value; 5] =
            serde_json::from_str(said).unwrap();
        let reply = |response: String| {
            let payload = format!(r#"{{"response":{response},"status":"ok"}}"#);
            format!(r#"[{join_ref},{message_ref},{topic},"phx_reply",{payload}]"#)
        };
        match event.as_str().unwrap() {
            "phx_join" => (Some(reply("{}".into())), None),
            "ping" => (Some(reply(payload.to_string())), None),
            "shout" => (None, Some(format!("[null,null,{topic},{event},{payload}]"))),
            other => panic!("nobody says {other} here"),
        }
    }

    fn joined(answers: Answers, clients: usize) -> Load {
        let patience = Duration::from_millis(500);
        let mut load = Load::new(Options { patience, at_once: 3, ..Options::default() }).unwrap();
        let report = load.connect(server(answers), PATH, clients).unwrap().clean().unwrap();
        assert_eq!((report.sent, report.received), (clients as u64, clients as u64));
        let topic = |client| format!("room:{}", client % 2);
        let report = load.join(topic, "{}", "{}").unwrap().clean().unwrap();
        assert_eq!((report.sent, report.received), (clients as u64, clients as u64));
        load
    }

    #[test]
    fn every_push_in_turn_is_answered() {
        let mut load = joined(phoenix, 7);
        for at_once in [1, 10] {
            let report = load.push_in_turn(PING, PING.payload, at_once, LENGTH).unwrap();
            let report = report.clean().unwrap();
            assert_eq!(report.sent, report.received);
            assert_eq!(report.received, report.latency.len() * u64::from(at_once));
            assert!(report.received >= 7 * u64::from(at_once), "each client pushed at least once");
        }
    }

    #[test]
    fn a_fixed_rate_sends_what_was_planned() {
        let mut load = joined(phoenix, 3);
        let report = load.push_at_rate(PING, PING.payload, 2, 2_000.0, LENGTH).unwrap();
        let report = report.clean().unwrap();
        assert_eq!((report.sent, report.received, report.latency.len()), (40, 40, 40));
    }

    #[test]
    fn a_broadcast_is_heard_by_everyone_in_its_topic() {
        // The server says it to all connections, so all must be in one topic.
        let mut load = joined(phoenix, 4);
        load.join(|_| "room:all".into(), "{}", "{}").unwrap().clean().unwrap();
        let shout = Push { event: "shout", ..PING };
        let report = load.broadcast(shout, 2, LENGTH).unwrap().clean().unwrap();
        assert_eq!(report.received, 4 * report.sent);
        assert!(report.sent >= 2);
    }

    #[test]
    fn a_broadcast_that_reaches_the_wrong_topic_is_an_error() {
        let mut load = joined(phoenix, 4);
        let shout = Push { event: "shout", ..PING };
        let first = load.broadcast(shout, 1, LENGTH).unwrap().errors;
        // What was not seen then stands before the replies now.
        let second = load.push_in_turn(PING, PING.payload, 1, LENGTH).unwrap().errors;
        assert!(first.unexpected + second.unexpected > 0, "{first}; {second}");
    }

    #[test]
    fn an_answer_of_another_kind_is_an_error() {
        let mut load = joined(
            |said| {
                let (to_sender, _) = answers_to(said);
                let answer = to_sender?;
                let wrong =
                    if said.contains("ping") { answer.replace("ok", "error") } else { answer };
                Some((text(&wrong), Vec::new()))
            },
            2,
        );
        let report = load.push_in_turn(PING, PING.payload, 1, LENGTH).unwrap();
        assert_eq!((report.received, report.errors.unexpected), (0, 2));
        assert_eq!(report.errors.unanswered, 2);
        let Err(Error::Failed(errors)) = report.clean() else { panic!("not clean") };
        assert!(errors.first.unwrap().contains(r#""status":"error""#));
    }

    #[test]
    fn an_answer_that_comes_twice_is_an_error() {
        let mut load = joined(
            |said| {
                let answer = text(&answers_to(said).0?);
                let times = if said.contains("ping") { 2 } else { 1 };
                Some((answer.repeat(times), Vec::new()))
            },
            2,
        );
        let report = load.push_in_turn(PING, PING.payload, 1, LENGTH).unwrap();
        assert!(report.errors.unexpected > 0, "{}", report.errors);
    }

    #[test]
    fn a_server_that_hangs_up_is_counted() {
        let mut load = joined(|said| phoenix(said).filter(|_| !said.contains("ping")), 3);
        let report = load.push_in_turn(PING, PING.payload, 1, LENGTH).unwrap();
        assert_eq!((report.received, report.errors.closed, report.errors.unanswered), (0, 3, 3));
        // It goes on, and counts, when nobody is left.
        let report = load.push_at_rate(PING, PING.payload, 1, 1_000.0, LENGTH).unwrap();
        assert_eq!((report.received, report.errors.unanswered), (0, 20));
        let report = load.broadcast(PING, 1, LENGTH).unwrap();
        assert_eq!((report.received, report.errors.unanswered), (0, 1));
    }

    #[test]
    fn a_server_that_says_nothing_does_not_hold_the_load() {
        let mut load = joined(
            |said| if said.contains("ping") { Some(Default::default()) } else { phoenix(said) },
            2,
        );
        let report = load.push_in_turn(PING, PING.payload, 5, LENGTH).unwrap();
        assert_eq!((report.sent, report.received, report.errors.unanswered), (10, 0, 10));
    }

    #[test]
    fn frames_nobody_asked_for_are_counted() {
        let mut load = joined(
            |said| {
                let raving = said.contains("ping").then(|| (text("?").repeat(300), Vec::new()));
                raving.or_else(|| phoenix(said))
            },
            1,
        );
        let report = load.push_in_turn(PING, PING.payload, 1, LENGTH).unwrap();
        assert_eq!((report.errors.unexpected, report.errors.unanswered), (300, 1));
    }

    #[test]
    fn a_refused_upgrade_is_counted_with_its_status() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            use std::io::{Read, Write};
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 1_024]);
                stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").unwrap();
            }
        });
        let mut load = Load::new(Options::default()).unwrap();
        let report = load.connect(address, PATH, 5).unwrap();
        assert_eq!((report.sent, report.received, report.errors.refused), (5, 0, 5));
        assert_eq!(report.errors.first.unwrap(), "answered by HTTP/1.1 403 Forbidden");
    }

    #[test]
    fn a_server_that_is_not_there_is_counted() {
        // Bound and not listening: nobody else can have the port meanwhile.
        let nobody =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        nobody.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = nobody.local_addr().unwrap().as_socket().unwrap();
        let mut load = Load::new(Options::default()).unwrap();
        let report = load.connect(address, PATH, 3).unwrap();
        assert_eq!((report.received, report.errors.refused), (0, 3));
    }

    #[test]
    fn more_clients_than_descriptors_are_refused_beforehand() {
        let mut load = Load::new(Options::default()).unwrap();
        let max = Load::max_connections();
        let wanted = max + 1;
        let refused = load.connect(([127, 0, 0, 1], 1).into(), PATH, wanted).unwrap_err();
        assert!(matches!(refused, Error::TooMany { wanted: w, max: m } if (w, m) == (wanted, max)));
        assert!(load.clients.is_empty());
    }

    #[test]
    fn further_clients_connect_from_further_addresses() {
        let source = "127.0.1.255".parse().unwrap();
        let load = Load::new(Options { source, ..Options::default() }).unwrap();
        assert_eq!(load.source_of(CLIENTS_PER_SOURCE - 1), source);
        assert_eq!(load.source_of(CLIENTS_PER_SOURCE), Ipv4Addr::new(127, 0, 2, 0));
    }
}
