//! The application under test: rooms that answer and repeat.

use std::time::Duration;

use simurgh::prelude::*;
use simurgh::{Builder, Limits, Response, Topic};

/// Rooms at `/socket`, `room:*`, whose clients may be silent for as long as a test takes.
pub(crate) fn endpoint() -> Builder<()> {
    let limits = Limits { idle_timeout: Duration::from_secs(600), ..Limits::default() };
    Endpoint::builder(())
        .socket("/socket", |mount| mount.handler::<Visitor>().channel::<Room>("room:*"))
        .get("/", |_| Response::new(200).text("here"))
        .limits(limits)
}

struct Visitor;

impl SocketHandler for Visitor {
    type App = ();
    type Params = ();

    async fn connect(_: (), _: &ConnectInfo<()>) -> Result<Self, Rejection> {
        Ok(Self)
    }
}

/// Answers each event with its payload. `say` tells it to all in the room, `wait` never ends.
struct Room;

impl Channel for Room {
    type Socket = Visitor;
    type Params = ();
    type Event = RawEvent;
    type Info = ();

    async fn join(_: &Topic, _: (), _: &mut Context<'_, Self>) -> Join<Self> {
        Ok(Joined::new(Self))
    }

    async fn handle_in(
        &mut self,
        event: RawEvent,
        cx: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        match event.name.as_str() {
            "say" => cx.broadcast("said", event.payload.clone())?,
            "wait" => std::future::pending().await,
            _ => {}
        }
        Ok(Reply::ok(event.payload))
    }
}
