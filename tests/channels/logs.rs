//! What the server logs of its channels, and at which level.

use std::io;
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;
use simurgh::testing::Version;
use tracing_subscriber::fmt::MakeWriter;

use crate::script::{Plan, Step, fail, panic, refuse, script};
use crate::support::World;

/// All that was logged by this process; tests look for what only they can have caused.
static LOG: LazyLock<Mutex<Vec<u8>>> = LazyLock::new(|| {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(ToLog)
        .init();
    Mutex::default()
});

struct ToLog;

impl io::Write for ToLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for ToLog {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        ToLog
    }
}

/// The levels of the lines that speak of a topic, in their order.
fn levels(topic: &str) -> Vec<String> {
    let log = LOG.lock().unwrap();
    let text = String::from_utf8_lossy(&log);
    let of_topic = text.lines().filter(|line| {
        line.contains(&format!("topic=\"{topic}\"")) || line.ends_with(&format!("topic={topic}"))
    });
    of_topic.map(|line| line.split_whitespace().nth(1).unwrap().to_owned()).collect()
}

/// The first line with all of this in it, once there is one.
fn await_line(parts: &[&str]) -> String {
    for _ in 0..3_000 {
        let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
        if let Some(line) = log.lines().find(|line| parts.iter().all(|part| line.contains(part))) {
            return line.to_owned();
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("no line with {parts:?}");
}

#[test]
fn a_callback_that_holds_up_its_shard_is_reported_while_it_does_and_named_afterwards() {
    LazyLock::force(&LOG);
    // A shard with a number that no other test's has.
    let world = World::start(8);
    let mut client = world.client_on(7, Version::V2);
    assert!(client.join("room:held", json!({})).unwrap().is_ok());
    client.push("room:held", "act", script([Step::HoldShard("held".to_owned())]));
    await_line(&["shard=7", " WARN ", "a shard is held up", "ms"]);
    assert_eq!(levels("room:held"), ["DEBUG", "DEBUG"], "named before it has returned");
    world.open("held");
    let line = await_line(&["topic=\"room:held\"", "a callback held up its shard"]);
    for part in [" WARN ", "callback=\"handle_in\"", "event=\"act\"", "shard=7"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    world.server.await_counts(|counts| counts[7].holds == 1);
}

#[test]
fn what_goes_well_is_logged_at_debug_and_what_does_not_louder() {
    // shows: diff.quiet-log, socket.join-without-route, socket.join-limit
    LazyLock::force(&LOG);
    let world = World::start(1);
    let mut client = world.client(Version::V2);
    let mut join = |topic: &str, params| client.join(topic, params).unwrap().is_ok();

    assert!(join("room:logged:ok", json!({})));
    assert_eq!(levels("room:logged:ok"), ["DEBUG", "DEBUG"]);
    assert!(!join("room:logged:refused", Plan::join([refuse(json!({}))])));
    assert_eq!(levels("room:logged:refused"), ["DEBUG", "INFO"]);
    assert!(!join("room:logged:failed", Plan::join([fail()])));
    assert_eq!(levels("room:logged:failed"), ["DEBUG", "ERROR"]);
    assert!(!join("room:logged:panicked", Plan::join([panic()])));
    assert_eq!(levels("room:logged:panicked"), ["DEBUG", "ERROR"]);
    assert!(!join("nowhere:logged", json!({})));
    assert_eq!(levels("nowhere:logged"), ["WARN"]);
    for n in 1..100 {
        assert!(join(&format!("room:{n}"), json!({})));
    }
    assert!(!join("room:logged:beyond", json!({})));
    assert_eq!(levels("room:logged:beyond"), ["ERROR"]);

    client.push("room:logged:ok", "act", script([fail()]));
    client.expect("room:logged:ok", "phx_error").unwrap();
    assert_eq!(levels("room:logged:ok"), ["DEBUG", "DEBUG", "ERROR"]);
    let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    let connected = log.lines().filter(|line| line.contains("connected"));
    assert!(connected.into_iter().all(|line| line.contains(" DEBUG ")));
}
