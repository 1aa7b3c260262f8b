//! The application that is harmed, and the part of it that does harm itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use simurgh::prelude::*;
use simurgh::testing::Random;
use simurgh::{Broadcast, Builder, Topic};

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

    fn value(&self) -> Live {
        self.0.fetch_add(1, Ordering::SeqCst);
        Live(self.clone())
    }

    /// Never comes back, and must be dropped.
    async fn for_ever(&self) -> ! {
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
            Some("fail") => Err(Crash::new(TOLD).into()),
            Some("panic") => panic!("{TOLD}"),
            Some("refuse") => Err(Rejection::status(403)),
            Some("wait") => info.app().for_ever().await,
            _ => Ok(Self { id: params["id"].as_str().map(str::to_owned), _live }),
        }
    }

    fn id(&self) -> Option<String> {
        self.id.clone()
    }
}

/// Where the calm meet, and others too.
struct Room {
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
            Some("refuse") => Err(Refused::reason(TOLD).into()),
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

/// A room whose clients may miss something, and are told so.
struct Ticker {
    _live: Live,
}

impl Channel for Ticker {
    type Socket = Visitor;
    type Params = Value;
    type Event = RawEvent;
    type Info = ();

    const LOSSY: bool = true;

    async fn join(_: &Topic, _: Value, cx: &mut Context<'_, Self>) -> Join<Self> {
        Ok(Joined::new(Self { _live: cx.app().value() }))
    }

    async fn handle_in(&mut self, _: RawEvent, _: &mut Context<'_, Self>) -> Result<Reply, Crash> {
        Ok(Reply::none())
    }

    async fn handle_gap(&mut self, _: &str, cx: &mut Context<'_, Self>) -> Result<(), Crash> {
        Ok(cx.push("gap", ())?)
    }
}

/// A channel whose every callback does what comes to its mind.
struct Wild {
    random: Random,
    _live: Live,
}

/// What a callback does.
enum Whim {
    Nothing,
    Fail,
    Stop,
}

/// What all callbacks have in common; a failure is the callback's to return.
async fn whim<C: Channel<Socket = Visitor>>(random: &mut Random, cx: &Context<'_, C>) -> Whim {
    match random.below(40) {
        0 => Whim::Fail,
        1 => Whim::Stop,
        2 => panic!("{TOLD}"),
        3 => cx.app().for_ever().await,
        4 => {
            std::thread::sleep(Duration::from_millis(1));
            Whim::Nothing
        }
        5..10 => {
            let _live = cx.app().value();
            cx.sleep(Duration::from_millis(random.below(20) as u64)).await;
            Whim::Nothing
        }
        _ => Whim::Nothing,
    }
}

impl Wild {
    async fn act(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Crash> {
        match whim(&mut self.random, cx).await {
            Whim::Nothing => Ok(()),
            Whim::Fail => Err(Crash::new(TOLD)),
            Whim::Stop => {
                cx.stop(Stop::Normal);
                Ok(())
            }
        }
    }
}

impl Channel for Wild {
    type Socket = Visitor;
    type Params = Value;
    type Event = RawEvent;
    type Info = Live;

    const INTERCEPT: &'static [&'static str] = &["said"];

    async fn join(_: &Topic, params: Value, cx: &mut Context<'_, Self>) -> Join<Self> {
        let _live = cx.app().value();
        let mut random = Random::new(params["seed"].as_u64().unwrap_or_default());
        cx.send_after(Duration::from_millis(random.below(30) as u64), cx.app().value());
        match whim(&mut random, cx).await {
            Whim::Nothing => Ok(Joined::new(Self { random, _live })),
            Whim::Fail => Err(Crash::new(TOLD).into()),
            Whim::Stop => Err(Refused::reason(TOLD).into()),
        }
    }

    async fn handle_in(
        &mut self,
        event: RawEvent,
        cx: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        self.act(cx).await?;
        cx.broadcast("said", event.payload)?;
        Ok(Reply::ok(()))
    }

    async fn handle_out(
        &mut self,
        message: &Broadcast,
        cx: &mut Context<'_, Self>,
    ) -> Result<(), Crash> {
        self.act(cx).await?;
        Ok(cx.push(message.event(), message.payload())?)
    }

    async fn handle_info(&mut self, _: Live, cx: &mut Context<'_, Self>) -> Result<(), Crash> {
        self.act(cx).await?;
        cx.send_after(Duration::from_millis(10), cx.app().value());
        Ok(())
    }

    async fn terminate(&mut self, _: &Stop, cx: &mut Context<'_, Self>) {
        let _ = self.act(cx).await;
        let _ = cx.broadcast("said", json!({"text": "farewell"}));
    }
}

impl Drop for Wild {
    fn drop(&mut self) {
        // A second panic while the first unwinds would end any process.
        if self.random.chance(5) && !std::thread::panicking() {
            panic!("{TOLD}");
        }
    }
}

/// Where the calm go at `/socket`; at `/wild` the same topics are run by [`Wild`].
pub(crate) fn endpoint(app: &App) -> Builder<App> {
    Endpoint::builder(app.clone())
        .socket("/socket", |mount| {
            mount.handler::<Visitor>().channel::<Room>("room:*").channel::<Ticker>("ticker:*")
        })
        .socket("/wild", |mount| mount.handler::<Visitor>().channel::<Wild>("room:*"))
}

/// Why whatever fails here fails.
pub(crate) const TOLD: &str = "as told";
