//! Channels whose shard's queue was full: told by `handle_gap`, or ended so that clients rejoin.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use simurgh::Limits;
use simurgh::prelude::*;
use simurgh::testing::{Client, Server};

use crate::doors::{Door, through_every_door};

/// Held: the shard stands still until it is let go.
type Hold = Arc<AtomicBool>;

struct Visitor;

impl SocketHandler for Visitor {
    type App = Hold;
    type Params = ();

    async fn connect(_: (), _: &ConnectInfo<Hold>) -> Result<Self, Rejection> {
        Ok(Self)
    }

    fn id(&self) -> Option<String> {
        Some("visitors".to_owned())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    Hold,
    Shout,
}

async fn act<C: Channel<Socket = Visitor>>(
    event: Event,
    cx: &mut Context<'_, C>,
) -> Result<Reply, Crash> {
    match event {
        Event::Hold => {
            cx.app().store(true, Ordering::SeqCst);
            let deadline = Instant::now() + Duration::from_secs(10);
            while cx.app().load(Ordering::SeqCst) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(Reply::none())
        }
        // Whoever shouts goes on, whether or not everyone heard.
        Event::Shout => Ok(match cx.broadcast("shout", ()) {
            Ok(()) => Reply::ok(()),
            Err(error) => Reply::error(json!({ "reason": error.to_string() })),
        }),
    }
}

/// Does not mind a gap.
struct Plain;

impl Channel for Plain {
    type Socket = Visitor;
    type Params = ();
    type Event = Event;
    type Info = ();

    async fn join(_: &Topic, _: (), _: &mut Context<'_, Self>) -> Join<Self> {
        Ok(Joined::new(Self))
    }

    async fn handle_in(
        &mut self,
        event: Event,
        cx: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        act(event, cx).await
    }
}

/// Tells its client of a gap, and goes on.
struct Told;

impl Channel for Told {
    type Socket = Visitor;
    type Params = ();
    type Event = Event;
    type Info = ();

    async fn join(_: &Topic, _: (), _: &mut Context<'_, Self>) -> Join<Self> {
        Ok(Joined::new(Self))
    }

    async fn handle_in(
        &mut self,
        event: Event,
        cx: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        act(event, cx).await
    }

    async fn handle_gap(&mut self, topic: &str, cx: &mut Context<'_, Self>) -> Result<(), Crash> {
        cx.push("gap", json!({ "topic": topic }))?;
        Ok(())
    }
}

/// Plays a scenario on shards with room for one broadcast between them.
fn played(scenario: impl Fn(Server, &Hold, Door)) {
    let hold = Hold::default();
    let start = |shards| {
        let hold_timeout = Duration::ZERO;
        let limits = Limits { max_mesh_queue: 1, max_inbox: 1, hold_timeout, ..Limits::default() };
        let endpoint = Endpoint::builder(hold.clone())
            .socket("/socket", |mount| {
                mount.handler::<Visitor>().channel::<Told>("told:*").channel::<Plain>("plain:*")
            })
            .limits(limits);
        Server::start(endpoint, shards)
    };
    through_every_door(2, start, |server, door| scenario(server, &hold, door));
}

fn hold_shard(hold: &Hold, client: &mut Client, topic: &str) {
    client.push(topic, "hold", json!({}));
    let deadline = Instant::now() + Duration::from_secs(10);
    while !hold.load(Ordering::SeqCst) {
        assert!(Instant::now() < deadline, "the shard is not held");
        std::thread::yield_now();
    }
}

/// A queue that is full for a moment must not send everyone behind it through a new join.
#[test]
fn channels_of_a_full_queue_are_told_of_the_gap_and_go_on() {
    for topic in ["told:1", "plain:1"] {
        played(|server, hold, door| {
            let mut far = door.builder(server.addr(1), "/socket").connect().unwrap();
            let mut sender = door.builder(server.addr(0), "/socket").connect().unwrap();
            far.join(topic, json!({})).unwrap();
            sender.join(topic, json!({})).unwrap();
            hold_shard(hold, &mut far, topic);
            for is_heard in [true, false] {
                let shout = sender.push(topic, "shout", json!({}));
                assert_eq!(sender.reply(shout).unwrap().is_ok(), is_heard, "{topic}");
            }
            hold.store(false, Ordering::SeqCst);
            far.expect(topic, "shout").unwrap();
            if topic == "told:1" {
                let told = far.expect(topic, "gap").unwrap();
                assert_eq!(told.payload, json!({ "topic": topic }));
            }
            // Still there: he hears again.
            sender.push(topic, "shout", json!({}));
            far.expect(topic, "shout").unwrap();
            far.silence(topic).unwrap();
            drop((far, sender));
            server.await_rest();
        });
    }
}

/// A disconnect must not be lost to a full queue: who asked for it thinks those sockets closed.
#[test]
fn a_disconnect_that_finds_the_queue_full_is_obeyed_all_the_same() {
    played(|server, hold, door| {
        let mut far = door.builder(server.addr(1), "/socket").connect().unwrap();
        far.join("told:1", json!({})).unwrap();
        hold_shard(hold, &mut far, "told:1");
        let handle = server.handle();
        handle.broadcast("told:1", "shout", ()).unwrap();
        assert!(handle.disconnect("visitors").is_err(), "the inbox has room for one");
        hold.store(false, Ordering::SeqCst);
        assert_eq!(far.closed().unwrap(), Some(1001));
        drop(far);
        server.await_rest();
    });
}
