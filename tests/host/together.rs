//! Clients that stay below every limit, each by himself.

use serde_json::json;
use simurgh::testing::Client;
use simurgh::testing::raw::{Raw, header, masked};

use crate::lone_server::{self, LoneServer, Setup};
use crate::stage;

/// Sixty clients who owed a little less than they may had a server killed by the kernel. And what such
/// a crowd had taken stayed when it had gone.
#[test]
fn what_is_kept_for_all_clients_together_is_bounded() {
    const TEST: &str = "together::what_is_kept_for_all_clients_together_is_bounded";
    if lone_server::play() {
        return;
    }
    let _alone = stage::alone();
    for kept in [8 * MIB, 16 * MIB, 32 * MIB] {
        let setup = Setup { shards: 2, kept, ..Setup::default() };
        let mut server = LoneServer::start_as(&setup, TEST, &[]).unwrap();
        let mut bystander = Client::connect(server.addr, "/socket").unwrap();
        assert!(bystander.join("room:calm", json!({})).unwrap().is_ok());
        // What is touched once and stays is there afterwards: buffers, tables, code.
        for _ in 0..4 {
            let mut raw = Raw::open(server.addr);
            raw.send(message("phx_join", 0));
            raw.send(message("echo", 100_000).repeat(3));
            raw.frame();
        }
        server.until("connections", |connections| connections == 1);
        let before = server.count("resident bytes");
        let mut most = before;
        let mut crowd = Vec::new();
        for number in 0..24 {
            let mut raw = Raw::open(server.addr);
            raw.send(message("phx_join", 0));
            // They may be hung up on at any time.
            let _ = match number % 3 {
                0 => raw.try_send(&owed()),
                1 => raw.try_send(&unfinished()),
                _ => raw.try_send(&queued()),
            };
            crowd.push(raw);
            bystander.heartbeat().unwrap();
            most = most.max(server.count("resident bytes"));
        }
        server.await_count("shed", 1);
        bystander.heartbeat().unwrap();
        let echo = bystander.push("room:calm", "echo", json!({}));
        assert!(bystander.reply(echo).unwrap().is_ok());
        let allowed = before + 2 * kept as u64 + SLACK;
        assert!(most < allowed, "{} MiB of {}", most >> 20, allowed >> 20);
        drop(crowd);
        server.until("connections", |connections| connections == 1);
        println!("{} KiB before, {} at the most", before >> 10, most >> 10);
        server.until("resident bytes", |after| after < before * 6 / 5);
    }
}

/// Six megabytes of answers, to somebody who does not read.
fn owed() -> Vec<u8> {
    (0..6).flat_map(|_| message("echo", MIB)).collect()
}

/// Six megabytes of a message of ten.
fn unfinished() -> Vec<u8> {
    let mut begun = header(0x82, 9_900_000);
    begun.resize(begun.len() + 6 * MIB, b' ');
    begun
}

/// Six megabytes that wait for a channel which is at work for ever.
fn queued() -> Vec<u8> {
    let waits = message("wait", 0);
    waits.into_iter().chain((0..6).flat_map(|_| message("echo", MIB))).collect()
}

fn message(event: &str, size: usize) -> Vec<u8> {
    let text = "x".repeat(size);
    masked(0x81, format!(r#"["1","1","room:crowd","{event}",{{"text":"{text}"}}]"#).as_bytes())
}

const MIB: usize = 1 << 20;

/// What a turn has in its hands, and what the allocator does not give back at once.
const SLACK: u64 = 48 << 20;
