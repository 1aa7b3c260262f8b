//! Clients that do not read what they are sent.

use std::time::Duration;

use serde_json::json;
use simurgh::testing::{Client, Server, Version};

use crate::app::{self, App};
use crate::support::{Raw, get, masked};

#[test]
fn who_does_not_read_is_closed_and_the_others_are_served() {
    for shards in [1, 4] {
        for version in Version::ALL {
            let limits = app::limits(|limits| limits.max_send_queue = 64 << 10);
            let server = Server::start(app::endpoint(&App::default()).limits(limits), shards);
            let mut slow = Raw::connect(server.addr(shards - 1));
            slow.shrink_receive_buffer();
            slow.send(crate::support::upgrade("/socket/websocket?vsn=2.0.0"));
            assert_eq!(slow.answer().status, 101);
            slow.send_text(r#"["1","1","room:a","phx_join",{}]"#);
            slow.frame();
            let mut readers: Vec<_> = (0..2)
                .map(|n| {
                    let builder = Client::builder(server.addr(n % shards), "/socket");
                    let mut client = builder.version(version).connect().unwrap();
                    client.join("room:a", json!({})).unwrap();
                    client
                })
                .collect();
            let text = "x".repeat(64 << 10);
            let mut sent = 0;
            // Until he is closed, by far more than all buffers on the way hold.
            while server.counts()[shards - 1].slow_readers == 0 {
                assert!(sent < 10_000, "nobody closes him");
                let payload = json!({"n": sent, "text": text});
                let asked = readers[0].push("room:a", "broadcast", payload);
                assert!(readers[0].reply(asked).unwrap().is_ok());
                for reader in &mut readers {
                    let broadcast = reader.expect("room:a", "said").unwrap();
                    assert_eq!(broadcast.payload.as_json().unwrap()["n"], sent);
                }
                sent += 1;
            }
            let got = slow.drain();
            assert!(got < sent * text.len(), "he got all {sent}");
            for reader in &mut readers {
                reader.silence_everywhere().unwrap();
            }
            let closed: u64 = server.counts().iter().map(|counts| counts.slow_readers).sum();
            assert_eq!(closed, 1);
            drop((slow, readers));
            server.await_rest();
        }
    }
}

#[test]
fn replies_that_nobody_reads_are_bounded_too() {
    let server = app::start_with(&App::default(), |limits| limits.max_send_queue = 64 << 10);
    let echo = format!(r#"["1","2","room:a","echo","{}"]"#, "x".repeat(8 << 10));
    let echo = masked(0x81, echo.as_bytes());
    let pings = masked(0x89, &[b'x'; 125]).repeat(100);
    let requests = get("/", &[]).repeat(100);
    for (is_open, bytes) in [(true, echo), (true, pings), (false, requests.into_bytes())] {
        let before = server.counts()[0].slow_readers;
        let mut slow =
            if is_open { Raw::open(server.addr(0)) } else { Raw::connect(server.addr(0)) };
        slow.shrink_receive_buffer();
        if is_open {
            slow.send_text(r#"["1","1","room:a","phx_join",{}]"#);
            slow.frame();
        }
        let closed = (0..100_000).any(|_| slow.try_send(&bytes).is_err());
        assert!(closed, "nobody closes him");
        server.await_counts(|counts| counts[0].slow_readers == before + 1);
        drop(slow);
        server.await_rest();
    }
}

/// He owes less than he may and his heartbeats come, but he takes nothing.
#[test]
fn who_takes_nothing_for_long_is_cut_off_and_counted() {
    let send_timeout = Duration::from_secs(2);
    let server = app::start_with(&App::default(), |limits| limits.send_timeout = send_timeout);
    let mut stuck = Raw::connect(server.addr(0));
    stuck.shrink_receive_buffer();
    stuck.send(crate::support::upgrade("/socket/websocket?vsn=2.0.0"));
    assert_eq!(stuck.answer().status, 101);
    stuck.send_text(r#"["1","1","room:a","phx_join",{}]"#);
    stuck.frame();
    // More than the kernel takes for him, and less than he may owe.
    let text = "x".repeat(8 << 20);
    stuck.send_text(&format!(r#"["1","2","room:a","echo","{text}"]"#));
    let heartbeat = masked(0x81, br#"[null,"3","phoenix","heartbeat",{}]"#);
    while stuck.try_send(&heartbeat).is_ok() {
        std::thread::sleep(Duration::from_millis(50));
    }
    server.await_counts(|counts| counts[0].stuck_readers == 1);
    assert_eq!(server.counts()[0].slow_readers, 0);
    assert!(stuck.drain() < text.len());
    server.await_rest();
}
