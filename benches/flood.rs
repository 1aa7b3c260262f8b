//! How long do honest clients wait beside clients who send as much as they can?
//!
//! A few speak to one another at a fixed rate, alone and then beside attackers on the same shard. Each
//! of what they say is heard by all of them, or the bench ends. See `README.md` beside this file.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use simurgh::testing::raw::{masked, upgrade};

mod baseline;
mod harness;

use harness::Bench;
use harness::beside::{self, Round};
use harness::crowd::{Crowd, Guests};
use harness::script::{Answer, PATH, SHOUT, Script};
use harness::subject::{Server, Subject};
use harness::table::head;
use harness::usage::Core;

fn main() -> ExitCode {
    harness::run("flood", &Script::new(1, SHOUT, Answer::Room), |bench| {
        head(&format!("| beside | {}", beside::columns("MB/s sent by attackers")));
        for attack in ATTACKS {
            let rounds: Result<Vec<_>, _> =
                (0..bench.rounds()).map(|_| round(bench, attack)).collect();
            beside::print(attack.name, rounds?);
        }
        Ok(())
    })
}

/// What attackers send, over and over.
struct Attack {
    name: &'static str,
    messages: fn(usize) -> [String; 2],
}

const ATTACKS: &[Attack] = &[
    Attack {
        name: "pushes that are answered",
        messages: |n| {
            let push = format!(r#"["1","{n}","room:evil","ping",{{"text":"hello"}}]"#);
            [push.clone(), push]
        },
    },
    Attack {
        name: "broadcasts in their own room",
        messages: |n| {
            let shout = format!(r#"["1","{n}","room:evil","shout",{{"text":"hello"}}]"#);
            [shout.clone(), shout]
        },
    },
    Attack {
        name: "joins and leaves",
        messages: |n| {
            let topic = format!("room:evil:{}", n % 50);
            ["phx_join", "phx_leave"]
                .map(|event| format!(r#"["{n}","{n}","{topic}","{event}",{{}}]"#))
        },
    },
    Attack {
        name: "crashes and rejoins",
        messages: |n| {
            let join = format!(r#"["{n}","{n}","room:evil","phx_join",{{}}]"#);
            [join, format!(r#"["{n}","{n}","room:evil","unknown",{{}}]"#)]
        },
    },
];

/// Clients who send as much as they can, and read what they get.
struct Attackers {
    threads: Vec<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
}

impl Attackers {
    /// On this core, and standing back there where the honest want it.
    fn come(server: SocketAddr, attack: &Attack, cpu: usize) -> Self {
        let (is_over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let join = r#"["1","join","room:evil","phx_join",{}]"#.to_owned();
        let messages = (0..2_500).flat_map(attack.messages);
        let bytes: Arc<[u8]> =
            messages.flat_map(|text| masked(0x81, text.as_bytes())).collect::<Vec<_>>().into();
        let attacker = |_| {
            let (is_over, sent, bytes) = (is_over.clone(), sent.clone(), bytes.clone());
            let first = masked(0x81, join.as_bytes());
            thread::spawn(move || {
                core_affinity::set_for_current(core_affinity::CoreId { id: cpu });
                let _ = rustix::process::nice(15);
                // The server may have had enough of it.
                let _ = flood(server, &first, &bytes, &is_over, &sent);
            })
        };
        let threads = (0..ATTACKERS).map(attacker).collect();
        Self { threads, is_over, sent }
    }

    /// Has them go, and says how many bytes they have sent.
    fn leave(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("it only sends"));
        self.sent.load(Ordering::Relaxed)
    }
}

fn flood(
    server: SocketAddr,
    first: &[u8],
    bytes: &[u8],
    is_over: &AtomicBool,
    sent: &AtomicU64,
) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(server)?;
    stream.write_all(upgrade(PATH).as_bytes())?;
    stream.write_all(first)?;
    stream.set_nonblocking(true)?;
    let (mut position, mut buffer) = (0, vec![0; 1 << 16]);
    let would_block = |result: std::io::Result<usize>| match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        Ok(0) => Err(ErrorKind::ConnectionReset.into()),
        result => result,
    };
    while !is_over.load(Ordering::Relaxed) {
        let written = would_block(stream.write(&bytes[position..]))?;
        sent.fetch_add(written as u64, Ordering::Relaxed);
        position = (position + written) % bytes.len();
        if written + would_block(stream.read(&mut buffer))? == 0 {
            thread::sleep(Duration::from_micros(500));
        }
    }
    Ok(())
}

fn round(bench: &Bench, attack: &Attack) -> Result<Round, Box<dyn Error>> {
    let (cpu, length) = (bench.arguments.client_cpu, bench.length());
    let server = Server::spawn(Subject::Simurgh, bench.arguments.server_cpu)?;
    let guests = Guests { server: server.address(), clients: HONEST, rooms: 0..1, cpu, nice: 0 };
    let mut honest = Crowd::gather(&guests)?;
    server.rest()?;
    honest.speak(RATE, length)?;
    let alone = honest.await_spoken()?;

    let attackers = Attackers::come(server.address(), attack, cpu);
    honest.speak(RATE, length)?;
    let core = Core::read(cpu)?;
    let beside = honest.await_spoken()?;
    let client_core = Core::read(cpu)?.busy_since(&core);
    let sent = attackers.leave();
    let per_second = sent as f64 / 1e6 / length.as_secs_f64();
    Ok(Round { alone, beside, elapsed: length, per_second, client_core })
}

const HONEST: usize = 10;
const ATTACKERS: usize = 4;

/// What the honest say a second.
const RATE: f64 = 200.0;
