//! The `simurgh` command, as an operator runs it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::json;
use simurgh::testing::Client;

/// Whoever read the log had gone. The next line of it, which any client can cause, was the server's
/// end; were there none before SIGTERM, that did nothing.
#[test]
fn a_log_that_nobody_reads_any_more_is_no_reason_to_end_or_to_stay() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_simurgh"))
        .args(["--listen", "127.0.0.1:0", "--shards", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is there");
    let mut told = BufReader::new(server.stdout.take().expect("asked for")).lines();
    let first = told.next().expect("it says where it is").expect("text");
    let (_, at) = first.split_once("http://").expect("an address");
    let addr: SocketAddr = at.trim_end_matches('/').parse().expect("an address");
    // All three lines, so that it has said what it says at the start.
    told.by_ref().take(2).for_each(|line| drop(line.expect("text")));
    drop(server.stderr.take());

    let mut client = Client::connect(addr, "/socket").expect("it takes clients");
    let unmatched = client.join("nowhere", json!({})).expect("it is answered, and logged");
    assert!(!unmatched.is_ok());
    client.heartbeat().expect("the server goes on");

    let kill = format!("kill -TERM {}", server.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
    assert_eq!(client.closed().expect("it says goodbye"), Some(1012));
    assert!(server.wait().expect("it ends").success());
}
