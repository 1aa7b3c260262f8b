//! Clients that stop reading.

use serde_json::Value;
use simurgh::Limits;
use simurgh::testing::raw::{Raw, upgrade};
use simurgh::testing::{Client, Version};

use crate::calm::{CROWDED, call};
use crate::scene::{Scene, play};

/// Some have joined the room of the calm: they are closed. Others a ticker, which may miss what is
/// out of date: they stay, and go on with the newest when they read again.
#[test]
fn who_stops_reading_is_closed_or_misses_what_he_may_and_the_others_nothing() {
    let limits = Limits { max_send_queue: OWED, ..Limits::default() };
    play(&limits, |scene, _| {
        let shards = scene.server.shards();
        let mut closed: Vec<_> = (0..2 * shards).map(|n| stand_still(scene, n % shards)).collect();
        let mut late: Vec<_> = (0..shards)
            .flat_map(|shard| Version::ALL.map(|version| Late::join(scene, shard, version)))
            .collect();
        let count = |of: fn(&simurgh::ShardCounts) -> u64| -> Vec<u64> {
            scene.server.counts().iter().map(of).collect()
        };
        let mut calls = 0;
        let text = "x".repeat(16 << 10);
        while count(|shard| shard.slow_readers).iter().sum::<u64>() < closed.len() as u64
            || count(|shard| shard.dropped).contains(&0)
        {
            assert!(calls < 2_000, "somebody is neither closed nor misses anything");
            call_out(scene, calls, &text);
            calls += 1;
            // The calm read as well as the machine lets them, and must not be taken for slow.
            scene.calm.await_calls(calls.saturating_sub(OWED / text.len() / 4));
        }
        scene.calm.await_calls(calls);
        for raw in &mut closed {
            assert!(raw.drain() < calls * text.len(), "he was sent everything");
        }
        assert_eq!(count(|shard| shard.slow_readers).iter().sum::<u64>(), closed.len() as u64);
        // What is called out now finds them reading.
        call_out(scene, calls, "the last");
        let gaps: usize = late.iter_mut().map(|late| late.read_until(calls)).sum();
        assert!(gaps >= shards, "{gaps} gaps on {shards} shards");
        scene.calm.await_calls(calls + 1);
    });
}

fn call_out(scene: &Scene, number: usize, text: &str) {
    for topic in [CROWDED, TICKER] {
        scene.server.handle().broadcast(topic, "said", call(number, text)).expect("there is room");
    }
}

/// A client that joins and reads nothing any more.
fn stand_still(scene: &Scene, shard: usize) -> Raw {
    let mut raw = Raw::connect(scene.server.addr(shard));
    raw.send(upgrade("/socket/websocket?vsn=2.0.0"));
    assert_eq!(raw.answer().status, 101);
    raw.send_text(&format!(r#"["1","1","{CROWDED}","phx_join",{{}}]"#));
    raw.frame();
    raw
}

/// A client of the ticker, which reads when it is told to.
struct Late {
    client: Client,
}

impl Late {
    fn join(scene: &Scene, shard: usize, version: Version) -> Self {
        let builder = Client::builder(scene.server.addr(shard), "/socket").version(version);
        let mut client = builder.connect().unwrap();
        assert!(client.join(TICKER, Value::Null).unwrap().is_ok());
        Self { client }
    }

    /// Reads on until this call, and says how many gaps it was told of. It may miss calls, but then
    /// it is told, and those it hears come in their order.
    fn read_until(&mut self, last: usize) -> usize {
        let (mut next, mut gaps, mut missed) = (0, 0, 0);
        while next <= last {
            let message = self.client.next().unwrap();
            match message.event.as_str() {
                "gap" => gaps += 1,
                "said" => {
                    let number = message.payload.as_json().unwrap()["call"].as_u64().unwrap();
                    let number = usize::try_from(number).unwrap();
                    assert!(number >= next, "call {number} when {next} was the next");
                    missed += number - next;
                    next = number + 1;
                }
                other => panic!("{other}"),
            }
        }
        assert_eq!(gaps > 0, missed > 0, "{gaps} gaps tell of {missed} calls");
        self.client.heartbeat().unwrap();
        gaps
    }
}

const TICKER: &str = "ticker:1";

/// What a client may owe.
const OWED: usize = 256 << 10;
