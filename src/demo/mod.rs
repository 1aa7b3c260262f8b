//! The demo that the bare `simurgh` command serves: a chat, and a channel to try things with.
//!
//! | topic | join | events |
//! |---|---|---|
//! | `room:lobby` | open; `{"name": …}` is optional | `new_msg` `{"body": …}` to all in the room; `ignore` `{"name": …}`: hear no more of who joins under that name |
//! | `room:*` | `{"name": …}`, or it is refused as unauthorized | the same |
//! | `ping:*` | open | `ping` is answered with `{"ping":"pong"}`, `echo` with its payload, `crash` panics |

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::prelude::*;
use crate::{Builder, Response};

/// The demo's endpoint, to be given an address and run.
pub fn endpoint() -> Builder<()> {
    Endpoint::builder(())
        .socket("/socket", |mount| {
            mount.handler::<Visitor>().channel::<Room>("room:*").channel::<Ping>("ping:*")
        })
        .get("/", |_| Response::html(include_str!("page.html")))
}

/// Anybody.
struct Visitor;

impl SocketHandler for Visitor {
    type App = ();
    type Params = ();

    async fn connect(_: (), _: &ConnectInfo<()>) -> Result<Self, Rejection> {
        Ok(Self)
    }
}

/// A visitor in a chat room.
struct Room {
    name: String,
    ignored: HashSet<String>,
}

#[derive(Deserialize)]
struct Entry {
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RoomEvent {
    NewMsg { body: String },
    Ignore { name: String },
}

#[derive(Serialize)]
struct NewMsg<'a> {
    name: &'a str,
    body: &'a str,
}

#[derive(Serialize, Deserialize)]
struct UserJoined {
    name: String,
}

/// What a room tells itself.
enum RoomInfo {
    /// The join has been answered.
    Joined,
}

impl Channel for Room {
    type Socket = Visitor;
    type Params = Entry;
    type Event = RoomEvent;
    type Info = RoomInfo;

    const INTERCEPT: &'static [&'static str] = &["user_joined"];

    async fn join(topic: &Topic, entry: Entry, cx: &mut Context<'_, Self>) -> Join<Self> {
        let name = match entry.name {
            Some(name) => name,
            None if topic.wildcard() == "lobby" => "anonymous".to_owned(),
            None => return Err(Refused::reason("unauthorized").into()),
        };
        cx.address().send(RoomInfo::Joined)?;
        Ok(Joined::new(Self { name, ignored: HashSet::new() }))
    }

    async fn handle_in(
        &mut self,
        event: RoomEvent,
        cx: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        match event {
            RoomEvent::NewMsg { body } => {
                cx.broadcast("new_msg", Json(NewMsg { name: &self.name, body: &body }))?;
            }
            RoomEvent::Ignore { name } if self.ignored.len() < MAX_IGNORED => {
                self.ignored.insert(name);
            }
            RoomEvent::Ignore { .. } => {
                return Ok(Reply::error(serde_json::json!({ "reason": "too many ignored" })));
            }
        }
        Ok(Reply::ok(()))
    }

    async fn handle_out(
        &mut self,
        message: &Broadcast,
        cx: &mut Context<'_, Self>,
    ) -> Result<(), Crash> {
        let UserJoined { name } = message.payload().decode()?;
        if !self.ignored.contains(&name) {
            cx.push(message.event(), message.payload())?;
        }
        Ok(())
    }

    async fn handle_info(
        &mut self,
        info: RoomInfo,
        cx: &mut Context<'_, Self>,
    ) -> Result<(), Crash> {
        match info {
            RoomInfo::Joined => {
                cx.broadcast_from("user_joined", Json(UserJoined { name: self.name.clone() }))?;
            }
        }
        Ok(())
    }
}

/// Something to try a client with.
struct Ping;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum PingEvent {
    Ping,
    Echo(Payload),
    Crash,
}

impl Channel for Ping {
    type Socket = Visitor;
    type Params = ();
    type Event = PingEvent;
    type Info = ();

    async fn join(_: &Topic, _: (), _: &mut Context<'_, Self>) -> Join<Self> {
        Ok(Joined::new(Self))
    }

    async fn handle_in(
        &mut self,
        event: PingEvent,
        _: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        match event {
            PingEvent::Ping => Ok(Reply::ok(serde_json::json!({ "ping": "pong" }))),
            PingEvent::Echo(payload) => Ok(Reply::ok(payload)),
            PingEvent::Crash => panic!("the client asked for a crash"),
        }
    }
}

/// Names that one visitor may ignore in a room.
const MAX_IGNORED: usize = 1_000;
