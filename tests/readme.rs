//! What the README says, held to.

use std::future;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::json;
use simurgh::testing::{Client, Server};
use simurgh::{FallbackListener, Handle, Limits, TokioStream};

#[test]
fn the_table_of_limits_is_the_defaults() {
    let rows: Vec<_> = README.lines().filter_map(limit).collect();
    let defaults = defaults();
    let defaults: Vec<_> = defaults.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(rows, defaults);
}

#[test]
fn an_axum_handler_broadcasts_to_channels_at_the_same_port() {
    for shards in [1, 4] {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
        let endpoint = simurgh::demo::endpoint().runtime(runtime.handle().clone());
        let (endpoint, rest) = endpoint.fallback_listener();
        let server = Server::start(endpoint, shards);
        let app = axum::Router::new()
            .route("/topics/{topic}", post(announce))
            .with_state(server.handle());
        runtime.spawn(async move { axum::serve(Rest(rest), app).await });
        let mut clients: Vec<_> = (0..shards)
            .map(|shard| {
                let mut client = Client::connect(server.addr(shard), "/socket").unwrap();
                assert!(client.join("ping:lobby", json!({})).unwrap().is_ok());
                client
            })
            .collect();

        for shard in 0..shards {
            let body = "the kettle is on".repeat(1 + shard * 10_000);
            assert_eq!(ask(server.addr(shard), "/topics/ping:lobby", &body), 204);
            for client in &mut clients {
                let message = client.expect("ping:lobby", "new_msg").unwrap();
                assert_eq!(message.payload, json!({ "name": "the house", "body": body }));
            }
        }

        assert_eq!(ask(server.addr(0), "/topics/ping:elsewhere", "nobody is there"), 204);
        assert_eq!(ask(server.addr(0), "/nowhere", ""), 404);
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
        max_fallback_queue,
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
        ("max_fallback_queue", number(max_fallback_queue)),
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

/// The README's.
struct Rest(FallbackListener);

impl axum::serve::Listener for Rest {
    type Io = TokioStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TokioStream, SocketAddr) {
        while let Some(stream) = self.0.accept().await {
            let peer = stream.peer_addr();
            if let Ok(stream) = stream.into_tokio() {
                return (stream, peer);
            }
        }
        future::pending().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// The status of the answer to a POST.
fn ask(addr: SocketAddr, path: &str, body: &str) -> u16 {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    write!(stream, "{head}content-length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
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
