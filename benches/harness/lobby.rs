//! Simurgh, as the application that the benches talk to.

use std::error::Error;
use std::net::SocketAddr;

use serde::Deserialize;
use serde::de::IgnoredAny;
use simurgh::prelude::*;

/// Runs a shard on each of these cores, at a port of its own, until it is killed.
pub(crate) fn serve(
    cpus: &[usize],
    ready: impl FnOnce(&[SocketAddr]),
) -> Result<(), Box<dyn Error>> {
    let running = Endpoint::builder(())
        .socket("/socket", |mount| mount.handler::<Visitor>().channel::<Lobby>("room:*"))
        .listen("127.0.0.1:0")
        .cpus(cpus)
        .port_per_shard()
        .start()?;
    ready(running.local_addrs());
    Ok(running.join()?)
}

struct Visitor;

impl SocketHandler for Visitor {
    type App = ();
    type Params = IgnoredAny;

    async fn connect(_: IgnoredAny, _: &ConnectInfo<()>) -> Result<Self, Rejection> {
        Ok(Self)
    }
}

struct Lobby;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    /// Goes back to its sender.
    Ping(Payload),
    /// Goes to everyone.
    Shout(Payload),
}

impl Channel for Lobby {
    type Socket = Visitor;
    type Params = Payload;
    type Event = Event;
    type Info = ();

    async fn join(_: &Topic, _: Payload, _: &mut Context<'_, Self>) -> Join<Self> {
        Ok(Joined::new(Self))
    }

    async fn handle_in(
        &mut self,
        event: Event,
        cx: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        match event {
            Event::Ping(payload) => Ok(Reply::ok(payload)),
            Event::Shout(payload) => {
                cx.broadcast("shout", payload)?;
                Ok(Reply::none())
            }
        }
    }
}
