//! Mounts of one endpoint, each with limits of its own.

use std::time::Duration;

use serde_json::{Value, json};
use simurgh::testing::{Client, Server};

use crate::app::{self, App, Room, Visitor};
use crate::support::masked;

/// An endpoint that allows little, and a mount that allows more, and one that allows less.
fn start() -> Server {
    let limits = app::limits(|limits| {
        limits.max_frame_size = 1_000;
        limits.max_message_size = 2_000;
        limits.max_json_depth = 10;
        limits.max_topics = 2;
        limits.idle_timeout = Duration::from_secs(60);
    });
    let endpoint = app::endpoint(&App::default()).limits(limits);
    let endpoint = endpoint.socket("/more", |mount| {
        let mount = mount.handler::<Visitor>().channel::<Room>("room:*");
        mount.max_frame_size(5_000).max_message_size(6_000).max_json_depth(20).max_topics(3)
    });
    let endpoint = endpoint.socket("/less", |mount| {
        let mount = mount.handler::<Visitor>().channel::<Room>("room:*");
        let mount = mount.max_frame_size(500).max_message_size(600).max_json_depth(5).max_topics(1);
        mount.idle_timeout(Duration::from_secs(1))
    });
    Server::start(endpoint, 1)
}

fn connect(server: &Server, mount: &str) -> Client {
    let mut client = Client::connect(server.addr(0), mount).unwrap();
    assert!(client.join("room:a", json!({})).unwrap().is_ok());
    client
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

#[test]
fn a_mounts_own_limits_win_over_the_endpoints() {
    let server = start();
    for (mount, frame, depth, topics) in
        [("/socket", 1_000, 10, 2), ("/more", 5_000, 20, 3), ("/less", 500, 5, 1)]
    {
        let mut client = connect(&server, mount);
        let sent = client.push("room:a", "echo", nested(depth));
        assert!(client.reply(sent).unwrap().is_ok(), "{mount}");
        let sent = client.push("room:a", "is_binary", json!("x".repeat(frame - 100)));
        assert!(client.reply(sent).unwrap().is_ok(), "{mount}");
        let joined =
            (0..4).filter(|n| client.join(&format!("room:{n}"), json!({})).unwrap().is_ok());
        assert_eq!(joined.count(), topics - 1, "{mount}");
        client.push("room:a", "echo", nested(depth + 1));
        assert_eq!(client.closed().unwrap(), Some(1011), "{mount}");

        let mut client = connect(&server, mount);
        client.push("room:a", "is_binary", json!("x".repeat(frame)));
        assert_eq!(client.closed().unwrap(), Some(1009), "{mount}");
    }
    server.await_rest();
}

#[test]
fn a_mounts_own_limit_on_messages_holds_for_all_their_frames_together() {
    let server = start();
    for (mount, frame, message) in
        [("/socket", 1_000, 2_000), ("/more", 5_000, 6_000), ("/less", 500, 600)]
    {
        let mut client = connect(&server, mount);
        client.send_bytes(&masked(0x01, &vec![b' '; frame]));
        client.send_bytes(&masked(0x80, &vec![b' '; message - frame + 1]));
        assert_eq!(client.closed().unwrap(), Some(1009), "{mount}");
    }
    server.await_rest();
}

#[test]
fn a_mounts_own_patience_is_for_its_clients_alone() {
    let server = start();
    let mut patient = connect(&server, "/socket");
    let mut impatient = connect(&server, "/less");
    assert_eq!(impatient.closed().unwrap(), Some(1002));
    patient.heartbeat().unwrap();
    assert_eq!(server.await_counts(|counts| counts[0].idle == 1)[0].malformed, 0);
}
