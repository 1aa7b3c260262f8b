//! The `simurgh` command, as an operator runs it.

#![expect(clippy::disallowed_methods, reason = "a test waits, and not for ever")]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, pipe};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use simurgh::testing::Client;
use simurgh::testing::raw::{Frame, Raw};

fn simurgh() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simurgh"));
    command.args(["--listen", "127.0.0.1:0", "--shards", "1"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts it, and says where it listens when it has said all that it says at the start.
fn serve(command: &mut Command) -> (Child, SocketAddr) {
    let mut server = command.spawn().expect("it is there");
    let mut told = BufReader::new(server.stdout.take().expect("asked for")).lines();
    let first = told.next().expect("it says where it is").expect("text");
    let (_, at) = first.split_once("http://").expect("an address");
    let addr: SocketAddr = at.trim_end_matches('/').parse().expect("an address");
    told.by_ref().take(2).for_each(|line| drop(line.expect("text")));
    (server, addr)
}

fn signal(server: &Child, name: &str) {
    let kill = format!("kill -{name} {}", server.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
}

/// Whoever read the log had gone. The next line of it, which any client can cause, was the server's
/// end; were there none before SIGTERM, that did nothing.
#[test]
fn a_log_that_nobody_reads_any_more_is_no_reason_to_end_or_to_stay() {
    let (mut server, addr) = serve(&mut simurgh());
    drop(server.stderr.take());

    let mut client = Client::connect(addr, "/socket").expect("it takes clients");
    let unmatched = client.join("nowhere", json!({})).expect("it is answered, and logged");
    assert!(!unmatched.is_ok());
    client.heartbeat().expect("the server goes on");

    signal(&server, "TERM");
    assert_eq!(client.closed().expect("it says goodbye"), Some(1012));
    assert!(server.wait().expect("it ends").success());
}

/// Whoever reads the log has halted: the pipe was full, the shard waited for it for ever, and so did
/// SIGTERM.
#[test]
fn a_log_whose_reader_has_halted_holds_up_nobody() {
    let (log, out) = pipe().expect("a pipe");
    let mut command = simurgh();
    // Each join is two lines.
    let (mut server, addr) = serve(command.args(["--log", "debug"]).stderr(out));
    drop(command);
    let mut client = Client::connect(addr, "/socket").expect("it takes clients");
    let name = "long".repeat(50);
    for n in 0..2_000 {
        let join = client.join(&format!("ping:{name}{n}"), json!({})).expect("it is answered");
        // The hundredth and those that follow find the socket full, which is a line as well.
        assert!(join.is_ok() || n >= 100);
        if n % 100 == 99 {
            client = Client::connect(addr, "/socket").expect("it takes clients");
        }
    }
    signal(&server, "TERM");
    assert!(server.wait().expect("it ends").success());
    drop(log);
}

#[test]
fn a_standard_output_that_takes_nothing_is_no_reason_to_end() {
    // It can't say where it is, so it is told.
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its own");
    let full = File::create("/dev/full").expect("a device that is full");
    let mut command = Command::new(env!("CARGO_BIN_EXE_simurgh"));
    command.args(["--listen", &free.to_string(), "--shards", "1"]);
    let mut server = command.stdout(full).stderr(Stdio::piped()).spawn().expect("it is there");
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut client = loop {
        match Client::connect(free, "/socket") {
            Ok(client) => break client,
            Err(error) => assert!(Instant::now() < deadline, "it does not serve: {error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    client.heartbeat().expect("it serves");
    signal(&server, "TERM");
    assert!(server.wait().expect("it ends").success());
    let mut log = String::new();
    server.stderr.take().expect("asked for").read_to_string(&mut log).expect("text");
    assert!(!log.contains("panicked") && log.contains("shutting down"), "{log}");
}

#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    for name in ["SIMURGH_SHARDS", "SIMURGH_LISTEN", "SIMURGH_LOG"] {
        let mut command = simurgh();
        if name == "SIMURGH_SHARDS" {
            command = Command::new(env!("CARGO_BIN_EXE_simurgh"));
            command.args(["serve", "--listen", "127.0.0.1:0"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        let (mut server, addr) = serve(command.env(name, ""));
        let mut client = Client::connect(addr, "/socket").expect("it takes clients");
        assert!(!client.join("nowhere", json!({})).expect("it is answered").is_ok());
        drop(client);
        signal(&server, "TERM");
        let mut log = String::new();
        server.stderr.take().expect("asked for").read_to_string(&mut log).expect("text");
        let status = server.wait().expect("it ends");
        assert!(status.success(), "{name}: {status}, {log}");
        assert!(log.contains(" WARN ") && log.contains("nowhere"), "{name}: {log}");
        assert!(!log.contains("started"), "standard output has said it: {log}");
        assert!(!log.contains('\u{1b}'), "no colours where nobody sees them: {log}");
    }
}

/// A client that does not answer the Close has five seconds, unless somebody is in a hurry. The second
/// signal killed the process then and there.
#[test]
fn a_second_signal_waits_for_nobody() {
    let (mut server, addr) = serve(&mut simurgh());
    let mut stubborn = Raw::open(addr);
    signal(&server, "TERM");
    assert_eq!(stubborn.frame(), Frame::close(1012));
    signal(&server, "INT");
    assert!(server.wait().expect("it ends").success());
}
