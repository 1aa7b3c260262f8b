//! A server that the system stops for a while.

use std::time::Duration;

use serde_json::json;
use simurgh::testing::Client;

use crate::lone_server::{self, LoneServer};
use crate::stage;

/// What its clients had said meanwhile was read in one turn, which was more than the queue between
/// two shards holds: half of the room was thrown out.
#[test]
fn a_stop_under_load_costs_nobody_a_message_and_nobody_his_place() {
    const TEST: &str = "stopped::a_stop_under_load_costs_nobody_a_message_and_nobody_his_place";
    if lone_server::play() {
        return;
    }
    let _alone = stage::alone();
    for shards in [1, 4] {
        let mut server = LoneServer::start(TEST, shards, &[]).unwrap();
        let mut members: Vec<_> = (0..MEMBERS)
            .map(|_| {
                let mut member = Client::connect(server.addr, "/socket").unwrap();
                member.set_timeout(Duration::from_secs(60));
                assert!(member.join("room:1", json!({})).unwrap().is_ok());
                member
            })
            .collect();
        server.signal("STOP");
        for number in 0..EACH {
            for (member, client) in members.iter_mut().enumerate() {
                client.push("room:1", "say", json!({ "member": member, "number": number }));
            }
        }
        // As long as it takes for whoever counts seconds to notice.
        std::thread::sleep(Duration::from_secs(5));
        server.signal("CONT");
        for client in &mut members {
            let mut next = [0; MEMBERS];
            while next != [EACH; MEMBERS] {
                let said = client.next().unwrap();
                if said.event != "said" {
                    assert_eq!(said.status.as_deref(), Some("ok"), "{said}");
                    continue;
                }
                let said = said.payload.as_json().expect("JSON");
                let member = said["member"].as_u64().expect("a number") as usize;
                assert_eq!(said["number"], next[member], "what {member} says next");
                next[member] += 1;
            }
        }
        assert_eq!(server.count("crashes"), 0);
    }
}

const MEMBERS: usize = 12;

/// So many messages of each; all of them are more than the queue between two shards holds.
const EACH: usize = 500;
