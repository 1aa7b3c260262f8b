//! The application that is harmed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use simurgh::prelude::*;
use simurgh::{Builder, Topic};

/// What the shards share with the test: how many of the application's values there are.
#[derive(Clone, Default)]
pub(crate) struct App(Arc<AtomicUsize>);

/// A value of the application's that must be dropped some day: in a socket, a channel's state, or a
/// future.
pub(crate) struct Live(App);

impl App {
    /// How many values of the application's there are.
    pub(crate) fn live(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn value(&self) -> Live {
        self.0.fetch_add(1, Ordering::SeqCst);
        Live(self.clone())
    }

    /// Never comes back, and must be dropped.
    pub(crate) async fn for_ever(&self) -> ! {
        let _value = self.value();
        std::future::pending().await
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whoever connects.
pub(crate) struct Visitor {
    id: Option<String>,
    _live: Live,
}

impl SocketHandler for Visitor {
    type App = App;
    type Params = Value;

    async fn connect(params: Value, info: &ConnectInfo<App>) -> Result<Self, Rejection> {
        let _live = info.app().value();
        match params["connect"].as_str() {
            Some("fail") => Err(Crash::new("as told").into()),
            Some("panic") => panic!("as told"),
            Some("refuse") => Err(Refused::default().into()),
            Some("wait") => info.app().for_ever().await,
            _ => Ok(Self { id: params["id"].as_str().map(str::to_owned), _live }),
        }
    }

    fn id(&self) -> Option<String> {
        self.id.clone()
    }
}

/// Where the calm meet, and others too.
pub(crate) struct Room {
    _live: Live,
}

impl Channel for Room {
    type Socket = Visitor;
    type Params = Value;
    type Event = RawEvent;
    type Info = ();

    async fn join(_: &Topic, params: Value, cx: &mut Context<'_, Self>) -> Join<Self> {
        let _live = cx.app().value();
        match params["join"].as_str() {
            Some("refuse") => Err(Refused::reason("as told").into()),
            Some("wait") => cx.app().for_ever().await,
            _ => Ok(Joined::new(Self { _live })),
        }
    }

    async fn handle_in(
        &mut self,
        event: RawEvent,
        cx: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        match event.name.as_str() {
            "say" => cx.broadcast("said", event.payload)?,
            "echo" => return Ok(Reply::ok(event.payload)),
            other => return Err(Crash::new(format!("no event {other:?}"))),
        }
        Ok(Reply::ok(()))
    }
}

pub(crate) fn endpoint(app: &App) -> Builder<App> {
    Endpoint::builder(app.clone())
        .socket("/socket", |mount| mount.handler::<Visitor>().channel::<Room>("room:*"))
}
