//! What the server logs of its channels, and at which level.

use std::convert::identity;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;
use simurgh::Response;
use tracing_subscriber::fmt::MakeWriter;

use crate::doors::on_new_servers;
use crate::script::{Ending, Plan, Step, fail, panic, refuse, script};

/// All that was logged by this process.
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

/// What this process logs from some moment on; tests look for what only they can have caused.
struct Logged {
    from: usize,
}

impl Logged {
    fn from_here() -> Self {
        Self { from: LOG.lock().unwrap().len() }
    }

    fn text(&self) -> String {
        String::from_utf8(LOG.lock().unwrap()[self.from..].to_vec()).unwrap()
    }

    /// The levels of the lines that speak of a topic, in their order.
    fn levels(&self, topic: &str) -> Vec<String> {
        let text = self.text();
        let of_topic = text.lines().filter(|line| {
            line.contains(&format!("topic=\"{topic}\""))
                || line.ends_with(&format!("topic={topic}"))
        });
        of_topic.map(|line| line.split_whitespace().nth(1).unwrap().to_owned()).collect()
    }

    /// The first line with all of this in it, once there is one.
    fn await_line(&self, parts: &[&str]) -> String {
        for _ in 0..3_000 {
            let text = self.text();
            if let Some(line) =
                text.lines().find(|line| parts.iter().all(|part| line.contains(part)))
            {
                return line.to_owned();
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("no line with {parts:?}");
    }
}

#[test]
fn a_callback_that_holds_up_its_shard_is_reported_while_it_does_and_named_afterwards() {
    // One of the shards has a number that no other test's has.
    on_new_servers(8, identity, |world, door| {
        let logged = Logged::from_here();
        let mut client = door.client_on(world, 7);
        assert!(client.join("room:held", json!({})).unwrap().is_ok());
        client.push("room:held", "act", script([Step::HoldShard("held".to_owned())]));
        logged.await_line(&["shard=7", " WARN ", "a shard is held up", "ms"]);
        assert_eq!(logged.levels("room:held"), ["DEBUG", "DEBUG"], "named before it has returned");
        world.open("held");
        let line = logged.await_line(&["topic=\"room:held\"", "a callback held up its shard"]);
        for part in [" WARN ", "callback=\"handle_in\"", "event=\"act\"", "shard=7"] {
            assert!(line.contains(part), "{part} in {line}");
        }
        world.server.await_counts(|counts| counts[7].holds == 1);
    });
}

#[test]
fn what_goes_well_is_logged_at_debug_and_what_does_not_louder() {
    // shows: diff.quiet-log, socket.join-without-route, socket.join-limit
    on_new_servers(1, identity, |world, door| {
        let logged = Logged::from_here();
        let mut client = door.client(world);
        let mut join = |topic: &str, params| client.join(topic, params).unwrap().is_ok();

        assert!(join("room:logged:ok", json!({})));
        assert_eq!(logged.levels("room:logged:ok"), ["DEBUG", "DEBUG"]);
        assert!(!join("room:logged:refused", Plan::join([refuse(json!({}))])));
        assert_eq!(logged.levels("room:logged:refused"), ["DEBUG", "INFO"]);
        assert!(!join("room:logged:failed", Plan::join([fail()])));
        assert_eq!(logged.levels("room:logged:failed"), ["DEBUG", "ERROR"]);
        assert!(!join("room:logged:panicked", Plan::join([panic()])));
        assert_eq!(logged.levels("room:logged:panicked"), ["DEBUG", "ERROR"]);
        assert!(!join("nowhere:logged", json!({})));
        assert_eq!(logged.levels("nowhere:logged"), ["WARN"]);
        for n in 1..100 {
            assert!(join(&format!("room:{n}"), json!({})));
        }
        assert!(!join("room:logged:beyond", json!({})));
        assert_eq!(logged.levels("room:logged:beyond"), ["ERROR"]);

        client.push("room:logged:ok", "act", script([fail()]));
        client.expect("room:logged:ok", "phx_error").unwrap();
        assert_eq!(logged.levels("room:logged:ok"), ["DEBUG", "DEBUG", "ERROR"]);
        let text = logged.text();
        let connected = text.lines().filter(|line| line.contains("connected"));
        assert!(connected.into_iter().all(|line| line.contains(" DEBUG ")));
    });
}

#[test]
fn a_line_about_a_client_says_who_it_is() {
    on_new_servers(1, identity, |world, door| {
        let logged = Logged::from_here();
        let mut client = door.client(world);
        assert!(client.join("room:whose", json!({})).unwrap().is_ok());
        client.push("room:whose", "act", script([fail()]));
        client.expect("room:whose", "phx_error").unwrap();
        let line = logged.await_line(&["channel crashed", "topic=\"room:whose\""]);
        assert!(line.contains("peer=127.0.0.1:") && line.contains("channel=\""), "{line}");
    });
}

/// A channel that ended by `Stop::Error`, or because its mailbox was full, ended without a word.
#[test]
fn a_channel_that_stops_by_an_error_is_told_and_counted_as_a_crash() {
    on_new_servers(1, identity, |world, door| {
        let logged = Logged::from_here();
        let mut client = door.client(world);
        assert!(client.join("room:stopped", json!({})).unwrap().is_ok());
        let stop = Step::Stop(Ending::Error("no tea\nleft".to_owned()));
        client.push("room:stopped", "act", script([stop]));
        client.expect("room:stopped", "phx_error").unwrap();
        let line = logged.await_line(&["channel crashed", "topic=\"room:stopped\""]);
        assert!(line.ends_with("error=no tea\\nleft"), "{line}");
        world.server.await_counts(|counts| counts[0].crashes == 1);
    });
}

#[test]
fn what_does_not_decode_is_told_without_the_value() {
    on_new_servers(1, identity, |world, door| {
        let logged = Logged::from_here();
        let mut client = door.client(world);
        let joined = client.join("room:secret", json!({ "join": [{ "sleep": "hunter2" }] }));
        assert!(!joined.unwrap().is_ok());
        let line = logged.await_line(&["refused join", "topic=\"room:secret\""]);
        let told = "error=`join[0]`: invalid type: string, expected u64";
        assert!(line.ends_with(told), "{line}");
        let loud = logged.text().lines().filter(|line| !line.contains("DEBUG")).collect::<String>();
        assert!(!loud.contains("hunter2"), "{loud}");
    });
}

/// The watch was asked about callbacks only: a route's handler left its report to the next callback
/// that was polled in the same turn, and that one was named.
#[test]
fn a_route_that_holds_up_its_shard_is_named_itself() {
    let logged = Logged::from_here();
    let endpoint = simurgh::demo::endpoint().get("/holds-its-shard", |_| {
        thread::sleep(Duration::from_millis(400));
        Response::new(200).text("at last")
    });
    let running = endpoint.shards(1).listen("127.0.0.1:0").start().unwrap();
    let mut connection = TcpStream::connect(running.local_addr()).unwrap();
    // What comes in the same read is handled in the same turn.
    let requests = "GET /holds-its-shard HTTP/1.1\r\nHost: here\r\n\r\n\
                    GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: here\r\n\
                    Connection: close\r\n\r\n";
    connection.write_all(requests.as_bytes()).unwrap();
    let mut answers = String::new();
    connection.read_to_string(&mut answers).unwrap();
    assert!(answers.starts_with("HTTP/1.1 200 ") && answers.contains("at last"), "{answers}");
    logged.await_line(&[" WARN ", "a route's handler held up its shard", "/holds-its-shard"]);
    assert_eq!(running.handle().counts()[0].holds, 1);
}
