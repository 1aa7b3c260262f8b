//! More clients than there is room for.

use simurgh::testing::Server;

use crate::app::{self, App};
use crate::support::{Raw, get, upgrade};

/// So many clients with open sockets, dealt out over the shards.
fn open(server: &Server, count: usize) -> Vec<Raw> {
    (0..count).map(|n| Raw::open(server.addr(n % server.shards()))).collect()
}

#[test]
// shows: diff.connection-limit-503
fn a_client_beyond_the_limit_is_told_503_and_when_to_come_again() {
    for shards in [1, 4] {
        let limits = app::limits(|limits| limits.max_connections = 4);
        let server = Server::start(app::endpoint(&App::default()).limits(limits), shards);
        let mut inside = open(&server, 4);
        for request in [upgrade("/socket/websocket?vsn=2.0.0"), get("/", &[])] {
            let mut late = Raw::connect(server.addr(0));
            late.send(request);
            let answer = late.answer();
            assert_eq!(answer.status, 503);
            assert_eq!(answer.header("retry-after"), Some("10"));
            assert_eq!(answer.header("connection"), Some("close"));
            late.end();
        }
        server.await_counts(|counts| counts[0].refused_connections == 2);
        // Those who are inside notice nothing, and who leaves makes room, whatever shard he was on.
        for client in &mut inside {
            client.send_text(r#"[null,"1","phoenix","heartbeat",{}]"#);
            assert_eq!(client.frame().first, 0x81);
        }
        drop(inside.pop());
        server.await_counts(|counts| counts.iter().map(|c| c.connections).sum::<u64>() == 3);
        inside.extend(open(&server, 1));
        drop(inside);
        server.await_rest();
    }
}

#[test]
fn a_full_shard_refuses_though_another_has_room() {
    let limits = app::limits(|limits| limits.max_connections_per_shard = 2);
    let server = Server::start(app::endpoint(&App::default()).limits(limits), 2);
    let inside = open(&server, 4);
    for shard in 0..2 {
        let mut late = Raw::connect(server.addr(shard));
        late.send(get("/", &[]));
        assert_eq!(late.answer().status, 503);
        late.end();
    }
    drop(inside);
    server.await_rest();
    drop(open(&server, 4));
    server.await_rest();
}
