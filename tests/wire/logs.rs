//! What is logged, and how loudly.

use std::io::{self, Write};
use std::sync::{Mutex, Once};
use std::time::Duration;

use serde_json::json;
use simurgh::testing::Client;
use tracing::Level;

use crate::app::{self, App};
use crate::support::{Raw, upgrade};

/// Everything that the whole process logs, tests beside this one too: a test asks for lines with
/// a word of its own.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn begin() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(Level::DEBUG)
            .with_ansi(false)
            .with_writer(|| Log)
            .init();
    });
}

/// The lines with this in them.
fn lines(word: &str) -> Vec<String> {
    let log = LOG.lock().unwrap();
    let log = String::from_utf8_lossy(&log);
    log.lines().filter(|line| line.contains(word)).map(|line| line.trim().to_owned()).collect()
}

/// Asserts that there is one line with `word`, at this level, with these parts.
fn assert_logged(word: &str, level: &str, parts: &[&str]) {
    let lines = lines(word);
    let fits = |line: &&String| {
        line.contains(&format!(" {level} ")) && parts.iter().all(|part| line.contains(part))
    };
    assert!(lines.iter().filter(fits).count() == 1, "{level} {parts:?} in {lines:#?}");
}

fn ask(server: &simurgh::testing::Server, query: &str) -> u16 {
    let mut raw = Raw::connect(server.addr(0));
    raw.send(upgrade(&format!("/socket/websocket?{query}")));
    raw.answer().status
}

#[test]
// shows: vsn.mismatch-logged, vsn.invalid-logged
fn a_version_that_nothing_speaks_is_a_warning() {
    begin();
    let server = app::start(&App::default());
    assert_eq!(ask(&server, "vsn=123.1.1"), 403);
    assert_logged(
        "123.1.1",
        "WARN",
        &[
            r#"The client's requested transport version "123.1.1" does not match"#,
            r#"["~> 1.0.0", "~> 2.0.0"]"#,
        ],
    );
    assert_eq!(ask(&server, "vsn=nonsense"), 403);
    assert_logged("nonsense", "WARN", &[r#"Client sent invalid transport version "nonsense""#]);
    // Nobody writes lines of his own into the log.
    assert_eq!(ask(&server, "vsn=forged%0a%1b%5B31m"), 403);
    assert_logged("forged", "WARN", &[r"forged\n"]);
    assert!(!lines("forged").iter().any(|line| line.contains('\u{1b}')));
}

#[test]
// shows: diff.quiet-log, check.connect-params-undecodable
fn connects_and_joins_are_quiet_and_crashes_are_not() {
    begin();
    let server = app::start(&App::default());
    let mut client = Client::builder(server.addr(0), "/socket")
        .param("who", "quietly")
        .param("token", "hush")
        .connect()
        .unwrap();
    assert_logged("quietly", "DEBUG", &["connecting", "[FILTERED]"]);
    assert!(lines("hush").is_empty());
    client.join("room:logged", json!({})).unwrap();
    assert_logged("room:logged", "DEBUG", &["joined"]);
    client.push("room:logged", "crash_loudly", json!({}));
    client.expect("room:logged", "phx_error").unwrap();
    assert_logged("crash_loudly", "ERROR", &["channel crashed", "room:logged", "Room"]);
    for (connect, level, part) in
        [("refuse", "INFO", "refused connection"), ("fail", "ERROR", "connect crashed")]
    {
        let mut raw = Raw::connect(server.addr(0));
        raw.send(upgrade(&format!("/socket/websocket?connect={connect}")));
        raw.answer();
        assert_logged(&raw.local_addr().to_string(), level, &[part]);
    }
    drop(client);
    server.await_rest();
}

#[test]
fn a_reader_who_takes_nothing_is_told_of_at_info() {
    begin();
    let send_timeout = Duration::from_millis(1_234);
    let server = app::start_with(&App::default(), |limits| limits.send_timeout = send_timeout);
    let mut raw = Raw::connect(server.addr(0));
    raw.shrink_receive_buffer();
    raw.send(upgrade("/socket/websocket?vsn=2.0.0"));
    assert_eq!(raw.answer().status, 101);
    raw.send_text(r#"["1","1","room:a","phx_join",{}]"#);
    let text = "x".repeat(8 << 20);
    raw.send_text(&format!(r#"["1","2","room:a","echo","{text}"]"#));
    server.await_counts(|counts| counts[0].stuck_readers == 1);
    assert_logged("1.234s", "INFO", &["took nothing"]);
}

#[test]
fn a_message_that_cannot_be_read_is_told_with_what_was_wrong() {
    begin();
    let server = app::start(&App::default());
    let mut client = Client::builder(server.addr(0), "/socket")
        .param("id", "users:illegible")
        .connect()
        .unwrap();
    client.send_text("[null]");
    assert_eq!(client.closed().unwrap(), Some(1011));
    assert_logged(
        "users:illegible",
        "INFO",
        &["closing a socket", "peer=127.0.0.1:", "error=unexpected input"],
    );
}

#[test]
fn a_client_has_a_few_lines_a_minute_and_others_have_theirs() {
    begin();
    let server = app::start(&App::default());
    let mut noisy = Client::connect(server.addr(0), "/socket").unwrap();
    for n in 0..100 {
        noisy.join(&format!("unmatched-often:{n}"), json!({})).unwrap();
    }
    assert_eq!(lines("unmatched-often").len(), 5);
    // Another kind of line, and another shard's client, are told.
    noisy.join("room:noisy", json!({})).unwrap();
    noisy.push("room:noisy", "crash_noisily", json!({}));
    noisy.expect("room:noisy", "phx_error").unwrap();
    assert_logged("crash_noisily", "ERROR", &["channel crashed", "topic=\"room:noisy\""]);
    drop(noisy);
    server.await_rest();
    drop(server);
    let told = "ignoring unmatched topic: and 95 more from 127.0.0.1 in the last minute";
    assert_eq!(lines(told).len(), 1);
}

#[test]
fn what_a_client_has_written_is_cut_and_escaped() {
    begin();
    let server = app::start(&App::default());
    let mut client = Client::connect(server.addr(0), "/socket").unwrap();
    let topic = format!("unmatched:\n\u{1b}[31m\u{9b}{}", "long".repeat(500));
    client.join(&topic, json!({})).unwrap();
    let line = lines("long").pop().unwrap();
    assert!(line.contains(r#"topic="unmatched:\n\u{1b}[31m\u{9b}longlong"#), "{line}");
    assert!(line.contains(&format!("…\" ({} bytes)", topic.len())), "{line}");
    assert!(line.len() < 600, "{}", line.len());
}
