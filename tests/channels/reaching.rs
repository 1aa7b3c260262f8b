//! What a channel reaches besides its topic, and how it is asked something: its endpoint, other
//! topics, its refs and its socket; calls that wait for an answer.

use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use serde_json::json;
use simurgh::prelude::*;
use simurgh::testing::Client;
use simurgh::{Builder, CallError, Caller, SendError};

use crate::channels::User;
use crate::doors::{Door, on_new_servers, through_every_door};
use crate::support::{App, World, limits};

/// A channel that does one thing for each event.
struct Reaching {
    kept: Vec<Caller<u32>>,
    other: Option<Address<Reaching>>,
}

enum Ask {
    Sum(u32, u32, Caller<u32>),
    Keep(Caller<u32>),
    Drop(Caller<u32>),
    Fail(Caller<u32>),
    Other(Address<Reaching>, Caller<u32>),
}

/// Gives the tests the addresses of the channels that have joined.
type Addresses = Mutex<Sender<Address<Reaching>>>;

impl Channel for Reaching {
    type Socket = User;
    type Params = ();
    type Event = RawEvent;
    type Info = Ask;

    async fn join(topic: &Topic, _: (), cx: &mut Context<'_, Self>) -> Join<Self> {
        let addresses = cx.route_value::<Addresses>().expect("the route carries it");
        addresses.lock().unwrap().send(cx.address()).unwrap();
        // An endpoint is reached before the join is answered, too.
        cx.broadcast_on("lobby", "joins", json!({ "topic": **topic }))?;
        if topic.ends_with("closed") {
            cx.close_socket(4001, "not here")?;
        }
        Ok(Joined::new(Self { kept: Vec::new(), other: None }))
    }

    async fn handle_in(
        &mut self,
        event: RawEvent,
        cx: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        match event.name.as_str() {
            "who" => {
                return Ok(Reply::ok(json!({
                    "message_ref": cx.message_ref(),
                    "join_ref": cx.join_ref(),
                    "transport": cx.transport().to_string(),
                    "socket_id": cx.socket_id(),
                })));
            }
            "through the handle" => {
                cx.push("before", ())?;
                cx.handle().broadcast(cx.topic(), "in order", ())?;
                cx.push("after", ())?;
            }
            "elsewhere" => cx.broadcast_on("lobby", "news", event.payload)?,
            "in vain" => {
                let wrong = cx.broadcast_on("lobby", "news", json!([1]));
                assert!(matches!(wrong, Err(SendError::Broadcast(_))), "{wrong:?}");
            }
            "close" => {
                let (code, reason): (u16, String) = event.payload.decode()?;
                let asked = cx.close_socket(code, &reason);
                cx.sleep(Duration::from_millis(1)).await;
                return Ok(match asked {
                    Ok(()) => Reply::ok(()),
                    Err(error) => Reply::error(json!({ "reason": error.to_string() })),
                });
            }
            "close and fail" => {
                cx.close_socket(4000, "")?;
                return Err(Crash::new("after all"));
            }
            "ask the other" => {
                let other = self.other.as_ref().expect("the test has told it");
                let call = other.call(|caller| Ask::Sum(2, 3, caller), PATIENCE);
                return Ok(Reply::ok(json!(call.await.map_err(|error| error.to_string()))));
            }
            "block" => {
                let other = self.other.as_ref().expect("the test has told it");
                let _ = other.call(Ask::Keep, PATIENCE).wait();
            }
            "wait" => cx.app().gate("busy").await,
            "hold" => cx.app().hold("held"),
            _ => {}
        }
        Ok(Reply::ok(()))
    }

    async fn handle_info(&mut self, ask: Ask, _: &mut Context<'_, Self>) -> Result<(), Crash> {
        match ask {
            Ask::Sum(one, other, caller) => caller.reply(one + other),
            Ask::Keep(caller) => {
                assert!(caller.is_waiting());
                self.kept.push(caller);
            }
            Ask::Drop(caller) => drop(caller),
            Ask::Fail(_caller) => return Err(Crash::new("as told")),
            Ask::Other(address, caller) => {
                self.other = Some(address);
                caller.reply(0);
            }
        }
        Ok(())
    }

    async fn terminate(&mut self, _: &Stop, cx: &mut Context<'_, Self>) {
        cx.app().note(format!("ends as {:?}, kept {}", cx.socket_id(), self.kept.len()));
        assert!(self.kept.iter().all(|caller| !caller.is_waiting()), "one gives up in the test");
    }
}

/// Plays a scenario through every door of servers with these channels.
fn reaching(
    shards: usize,
    change: impl Fn(Builder<App>) -> Builder<App>,
    scenario: impl Fn(&World, Door, &Receiver<Address<Reaching>>),
) {
    let addresses = Mutex::new(None);
    let endpoint = |endpoint: Builder<App>| {
        let (sender, receiver) = mpsc::channel();
        *addresses.lock().unwrap() = Some(receiver);
        change(endpoint).socket("/reaching", |mount| {
            let sender: Addresses = Mutex::new(sender);
            mount.handler::<User>().channel_with::<Reaching>("*", sender)
        })
    };
    on_new_servers(shards, endpoint, |world, door| {
        let addresses = addresses.lock().unwrap().take().expect("the server has started");
        scenario(world, door, &addresses);
    });
}

fn client(world: &World, door: Door, shard: usize, topic: &str) -> Client {
    let mut client = door.client_at(world, shard, "/reaching");
    assert!(client.join(topic, json!({})).unwrap().is_ok());
    client
}

#[test]
fn a_channel_knows_its_refs_its_transport_and_its_sockets_id() {
    reaching(
        1,
        |endpoint| endpoint,
        |world, door, _| {
            let client = door.builder(world.server.addr(0), "/reaching").param("id", "users:7");
            let mut client = client.connect().unwrap();
            let joined = client.send_join("room:1", json!({}));
            assert!(client.reply(joined.clone()).unwrap().is_ok());
            let sent = client.push("room:1", "who", json!({}));
            let who = client.reply(sent.clone()).unwrap().response;
            let who = who.as_json().unwrap();
            assert_eq!(who["message_ref"], json!(sent));
            assert!(who["join_ref"].is_string(), "{who}");
            assert_eq!(
                (&who["transport"], &who["socket_id"]),
                (&json!("websocket"), &json!("users:7"))
            );
            drop(client);
            world.expect_note("ends as Some(\"users:7\"), kept 0");
        },
    );
}

#[test]
fn a_channel_broadcasts_on_any_topic_and_by_its_endpoints_handle() {
    for shards in [1, 4] {
        reaching(
            shards,
            |endpoint| endpoint,
            |world, door, _| {
                let mut far = client(world, door, shards - 1, "lobby");
                let mut near = client(world, door, 0, "room:1");
                let joins = far.expect("lobby", "joins").unwrap();
                assert_eq!(joins.payload, json!({ "topic": "room:1" }));
                let sent = near.push("room:1", "elsewhere", json!({ "n": 1 }));
                assert!(near.reply(sent).unwrap().is_ok());
                assert_eq!(far.expect("lobby", "news").unwrap().payload, json!({ "n": 1 }));
                let sent = near.push("room:1", "in vain", json!({}));
                assert!(near.reply(sent).unwrap().is_ok());
                near.push("room:1", "through the handle", json!({}));
                for event in ["before", "in order", "after", "phx_reply"] {
                    near.expect("room:1", event).unwrap();
                }
            },
        );
    }
}

#[test]
fn a_channel_closes_its_socket_after_its_reply_has_gone_out() {
    reaching(
        1,
        |endpoint| endpoint,
        |world, door, _| {
            let mut polite = client(world, door, 0, "room:1");
            assert!(polite.join("room:2", json!({})).unwrap().is_ok());
            polite.push("room:1", "close", json!([4000, "that was it"]));
            polite.expect("room:1", "phx_reply").unwrap();
            assert_eq!(polite.closed_with().unwrap(), Some((4000, "that was it".to_owned())));
            (0..2).for_each(|_| world.expect_note("ends as None, kept 0"));

            let mut failing = client(world, door, 0, "room:1");
            failing.push("room:1", "close and fail", json!({}));
            failing.expect("room:1", "phx_error").unwrap();
            assert_eq!(failing.closed().unwrap(), Some(4000));
            world.expect_note("ends as None, kept 0");

            let mut joining = door.client_at(world, 0, "/reaching");
            assert!(joining.join("room:closed", json!({})).unwrap().is_ok());
            assert_eq!(joining.closed_with().unwrap(), Some((4001, "not here".to_owned())));
            world.expect_note("ends as None, kept 0");
        },
    );
}

#[test]
fn a_socket_is_closed_only_by_what_a_close_may_say() {
    reaching(
        1,
        |endpoint| endpoint,
        |world, door, _| {
            let mut client = client(world, door, 0, "room:1");
            for code in [0, 999, 1004, 1005, 1006, 1010, 1015, 1016, 2999, 5000] {
                let sent = client.push("room:1", "close", json!([code, ""]));
                assert_eq!(client.reply(sent).unwrap().status, "error", "{code}");
            }
            let sent = client.push("room:1", "close", json!([1000, "x".repeat(124)]));
            assert_eq!(client.reply(sent).unwrap().status, "error");
            let sent = client.push("room:1", "close", json!([1000, "x".repeat(123)]));
            assert!(client.reply(sent).unwrap().is_ok());
            assert_eq!(client.closed_with().unwrap(), Some((1000, "x".repeat(123))));
        },
    );
}

#[test]
fn a_call_is_answered_to_threads_to_tasks_and_to_channels_of_any_shard() {
    for shards in [1, 4] {
        reaching(
            shards,
            |endpoint| endpoint,
            |world, door, addresses| {
                let _near = client(world, door, 0, "room:near");
                let near = addresses.recv().unwrap();
                assert_eq!(near.call(|caller| Ask::Sum(1, 2, caller), PATIENCE).wait(), Ok(3));
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let sum = near.call(|caller| Ask::Sum(3, 4, caller), PATIENCE);
                assert_eq!(runtime.block_on(sum), Ok(7));
                // From a callback of the same shard, and of the last.
                for shard in [0, shards - 1] {
                    let mut asking = client(world, door, shard, "room:asking");
                    let told = |caller| Ask::Other(near.clone(), caller);
                    assert_eq!(addresses.recv().unwrap().call(told, PATIENCE).wait(), Ok(0));
                    let sent = asking.push("room:asking", "ask the other", json!({}));
                    assert_eq!(asking.reply(sent).unwrap().response, json!({ "Ok": 5 }));
                }
            },
        );
    }
}

#[test]
fn a_call_without_an_answer_says_why() {
    let small = |endpoint: Builder<_>| {
        let mut limits = limits();
        limits.max_mailbox = 2;
        endpoint.limits(limits)
    };
    reaching(1, small, |world, door, addresses| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut asked = client(world, door, 0, "room:1");
        let address = addresses.recv().unwrap();
        let soon = Duration::from_millis(20);
        // Nobody answers.
        assert_eq!(address.call(Ask::Keep, soon).wait(), Err(CallError::Timeout));
        assert_eq!(runtime.block_on(address.call(Ask::Keep, soon)), Err(CallError::Timeout));
        assert_eq!(address.call(Ask::Drop, PATIENCE).wait(), Err(CallError::Gone));
        // The mailbox is full: one waits in it, behind a callback.
        asked.push("room:1", "wait", json!({}));
        asked.heartbeat().unwrap();
        let told = |caller| Ask::Other(address.clone(), caller);
        drop(address.call(told, PATIENCE));
        let other = address.call(told, PATIENCE);
        assert_eq!(address.call(Ask::Keep, PATIENCE).wait(), Err(CallError::Full));
        world.open("busy");
        assert_eq!(other.wait(), Ok(0));
        asked.expect("room:1", "phx_reply").unwrap();
        // The shard is held up, but the time goes on.
        asked.push("room:1", "hold", json!({}));
        assert_eq!(runtime.block_on(address.call(Ask::Keep, soon)), Err(CallError::Timeout));
        world.open("held");
        asked.expect("room:1", "phx_reply").unwrap();
        // In a callback nothing blocks.
        asked.push("room:1", "block", json!({}));
        asked.expect("room:1", "phx_error").unwrap();
        assert_eq!(address.call(Ask::Keep, PATIENCE).wait(), Err(CallError::Gone));
        // It ends while it is asked.
        assert!(asked.join("room:1", json!({})).unwrap().is_ok());
        let address = addresses.recv().unwrap();
        assert_eq!(address.call(Ask::Fail, PATIENCE).wait(), Err(CallError::Gone));
    });
}

#[test]
fn a_call_that_waits_ends_with_the_server() {
    through_every_door(
        2,
        |shards| shards,
        |shards, door| {
            let addresses = Mutex::new(None);
            let world = World::start_with(shards, |endpoint| {
                let (sender, receiver) = mpsc::channel();
                *addresses.lock().unwrap() = Some(receiver);
                endpoint.socket("/reaching", |mount| {
                    let sender: Addresses = Mutex::new(sender);
                    mount.handler::<User>().channel_with::<Reaching>("*", sender)
                })
            });
            let addresses = addresses.into_inner().unwrap().expect("it has started");
            let _client = client(&world, door, 1, "room:1");
            let address = addresses.recv().unwrap();
            let (caller, kept) = mpsc::channel();
            let call = address.call(
                |it| {
                    caller.send(()).unwrap();
                    Ask::Drop(it)
                },
                PATIENCE,
            );
            kept.recv().unwrap();
            world.server.stop();
            assert_eq!(call.wait(), Err(CallError::Gone));
            assert_eq!(address.call(Ask::Keep, PATIENCE).wait(), Err(CallError::Gone));
        },
    );
}

const PATIENCE: Duration = Duration::from_secs(10);
