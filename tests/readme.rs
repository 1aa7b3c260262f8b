//! What the README says, held to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::json;
use simurgh::testing::{Client, Server};
use simurgh::{Handle, Limits};

#[test]
fn the_table_of_limits_is_the_defaults() {
    let rows: Vec<_> = README.lines().filter_map(limit).collect();
    let defaults = defaults();
    let defaults: Vec<_> = defaults.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(rows, defaults);
}

#[test]
fn an_axum_handler_broadcasts_to_channels() {
    for shards in [1, 4] {
        let server = Server::start(simurgh::demo::endpoint(), shards);
        let axum = Axum::start(server.handle());
        let mut clients: Vec<_> = (0..shards)
            .map(|shard| {
                let mut client = Client::connect(server.addr(shard), "/socket").unwrap();
                assert!(client.join("ping:lobby", json!({})).unwrap().is_ok());
                client
            })
            .collect();

        assert_eq!(axum.post("/topics/ping:lobby", "the kettle is on"), 204);
        for client in &mut clients {
            let message = client.expect("ping:lobby", "new_msg").unwrap();
            let payload = message.payload.as_json().unwrap();
            assert_eq!(*payload, json!({ "name": "the house", "body": "the kettle is on" }));
        }

        assert_eq!(axum.post("/topics/ping:elsewhere", "nobody is there"), 204);
        for client in &mut clients {
            client.silence_everywhere().unwrap();
        }
        drop(clients);
        server.await_rest();
    }
}

/// A row of the table of limits: name and default.
fn limit(line: &str) -> Option<(&str, &str)> {
    let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
    let name = cells.next()?.strip_suffix('`')?;
    let is_limit = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    is_limit.then_some((name, cells.next()?))
}

/// Every limit, in the order of its declaration, as the README writes it.
fn defaults() -> Vec<(&'static str, String)> {
    // Named one by one, so that a new limit has to be added here, and so to the README.
    let Limits {
        max_connections,
        max_connections_per_shard,
        max_handshakes,
        max_partial_bytes,
        max_head_size,
        head_timeout,
        max_frame_size,
        max_message_size,
        max_json_depth,
        max_topics,
        idle_timeout,
        max_send_queue,
        max_kept_bytes,
        send_timeout,
        max_mailbox,
        max_mailbox_bytes,
        hold_timeout,
        terminate_timeout,
        close_timeout,
        max_mesh_queue,
        max_mesh_bytes,
        max_fanout_queue,
        max_inbox,
        max_inbox_bytes,
        blocking_threads,
        max_blocking_queue,
    } = Limits::default();
    vec![
        ("max_connections", number(max_connections)),
        ("max_connections_per_shard", number(max_connections_per_shard)),
        ("max_handshakes", number(max_handshakes)),
        ("max_partial_bytes", bytes(max_partial_bytes)),
        ("max_head_size", bytes(max_head_size)),
        ("head_timeout", seconds(head_timeout)),
        ("max_frame_size", bytes(max_frame_size)),
        ("max_message_size", bytes(max_message_size)),
        ("max_json_depth", number(max_json_depth)),
        ("max_topics", number(max_topics)),
        ("idle_timeout", seconds(idle_timeout)),
        ("max_send_queue", bytes(max_send_queue)),
        ("max_kept_bytes", max_kept_bytes.map_or("a quarter of what is free".into(), bytes)),
        ("send_timeout", seconds(send_timeout)),
        ("max_mailbox", number(max_mailbox)),
        ("max_mailbox_bytes", bytes(max_mailbox_bytes)),
        ("hold_timeout", seconds(hold_timeout)),
        ("terminate_timeout", seconds(terminate_timeout)),
        ("close_timeout", seconds(close_timeout)),
        ("max_mesh_queue", number(max_mesh_queue)),
        ("max_mesh_bytes", bytes(max_mesh_bytes)),
        ("max_fanout_queue", bytes(max_fanout_queue)),
        ("max_inbox", number(max_inbox)),
        ("max_inbox_bytes", bytes(max_inbox_bytes)),
        ("blocking_threads", number(blocking_threads)),
        ("max_blocking_queue", number(max_blocking_queue)),
    ]
}

fn bytes(size: usize) -> String {
    match size {
        _ if size.is_multiple_of(1 << 20) => format!("{} MiB", number(size >> 20)),
        _ if size.is_multiple_of(1 << 10) => format!("{} KiB", number(size >> 10)),
        _ => format!("{} B", number(size)),
    }
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

/// With a comma at each thousand.
fn number(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An application like the README's beside Simurgh, at a port of its own.
struct Axum {
    addr: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Axum {
    fn start(sockets: Handle) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_io().build();
        let runtime = runtime.unwrap();
        let app = axum::Router::new().route("/topics/{topic}", post(announce)).with_state(sockets);
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { addr, _runtime: runtime }
    }

    /// The status of the answer.
    fn post(&self, path: &str, body: &str) -> u16 {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        write!(stream, "{head}content-length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

async fn announce(
    State(sockets): State<Handle>,
    Path(topic): Path<String>,
    body: String,
) -> StatusCode {
    let payload = json!({ "name": "the house", "body": body });
    match sockets.broadcast(&topic, "new_msg", payload) {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

const README: &str = include_str!("../README.md");
