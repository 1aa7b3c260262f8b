//! What the server logs of its channels, and at which level.

use std::io;
use std::sync::{LazyLock, Mutex};

use serde_json::json;
use simurgh::testing::Version;
use tracing_subscriber::fmt::MakeWriter;

use crate::script::{Plan, fail, panic, refuse, script};
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
