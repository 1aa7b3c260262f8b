//! What a broadcast allocates on its shard: as much for ten thousand who hear it as for ten.
//!
//! The allocator counts for a thread that has asked for it. A shard's thread asks by a callback of
//! the application that is tested, which also says what was counted; everything between the two
//! events, the broadcast among it, is in the count.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use serde::Deserialize;
use simurgh::load::{Load, Options, Push};
use simurgh::prelude::*;
use simurgh::testing::{Client, Server, Version};

#[test]
fn a_broadcast_allocates_the_same_however_many_hear_it() {
    let few = allocations_of_a_broadcast(10);
    let many = allocations_of_a_broadcast(10_000.min(Load::max_connections() / 2));
    // It takes more turns, and a few things are made once a turn.
    assert!(many.count <= few.count + 10, "{many:?} for many, {few:?} for few");
    assert!(few.count <= 40, "{few:?}");
}

#[test]
fn a_broadcast_is_encoded_once_for_each_serializer() {
    // The payload as it came, and a frame for each of the two versions.
    let Allocations { large, .. } = allocations_of_a_broadcast(1_000);
    assert_eq!(large, 3);
}

/// Has so many clients, and one who speaks the other version, join a room; broadcasts there twice,
/// and counts the second time: by then what grows with the clients has grown.
fn allocations_of_a_broadcast(clients: usize) -> Allocations {
    let endpoint = Endpoint::builder(()).socket("/socket", |mount| {
        mount.handler::<Visitor>().channel::<Counter>("counter").channel::<Room>("room")
    });
    let server = Server::start(endpoint, 1);
    let mut load = Load::new(Options::default()).unwrap();
    load.connect(server.addr(0), "/socket/websocket?vsn=2.0.0", clients).unwrap().clean().unwrap();
    load.join(|_| "room".to_owned(), "{}", "{}").unwrap().clean().unwrap();
    let mut old =
        Client::builder(server.addr(0), "/socket").version(Version::V1).connect().unwrap();
    old.join("room", serde_json::json!({})).unwrap();
    let mut counter = Client::connect(server.addr(0), "/socket").unwrap();
    counter.join("counter", serde_json::json!({})).unwrap();

    let payload = format!(r#"{{"body":"{}"}}"#, "x".repeat(LARGE));
    let shout = Push { event: "shout", payload: &payload };
    load.broadcast(shout, 1, Duration::ZERO).unwrap().clean().unwrap();
    old.expect("room", "shout").unwrap();

    let begun = counter.push("counter", "begin", serde_json::json!({}));
    assert!(counter.reply(begun).unwrap().is_ok());
    let report = load.broadcast(shout, 1, Duration::ZERO).unwrap().clean().unwrap();
    assert_eq!(report.received, clients as u64);
    old.expect("room", "shout").unwrap();
    let ended = counter.push("counter", "end", serde_json::json!({}));
    let counted = counter.reply(ended).unwrap();
    let counted = counted.response.as_json().unwrap();
    let counted = |name: &str| counted[name].as_u64().unwrap();
    Allocations { count: counted("count"), large: counted("large") }
}

struct Visitor;

impl SocketHandler for Visitor {
    type App = ();
    type Params = ();

    async fn connect(_: (), _: &ConnectInfo<()>) -> Result<Self, Rejection> {
        Ok(Self)
    }
}

struct Room;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Shout(Payload),
}

impl Channel for Room {
    type Socket = Visitor;
    type Params = ();
    type Event = Said;
    type Info = ();

    async fn join(_: &Topic, _: (), _: &mut Context<'_, Self>) -> Join<Self> {
        Ok(Joined::new(Self))
    }

    async fn handle_in(
        &mut self,
        Said::Shout(payload): Said,
        cx: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        cx.broadcast("shout", payload)?;
        Ok(Reply::none())
    }
}

/// Counts on the shard it is on.
struct Counter;

impl Channel for Counter {
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
        _: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        if event.name == "begin" {
            ALLOCATIONS.set(Some(Allocations::default()));
            return Ok(Reply::ok(serde_json::json!({})));
        }
        let Allocations { count, large } = ALLOCATIONS.take().unwrap_or_default();
        Ok(Reply::ok(serde_json::json!({ "count": count, "large": large })))
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Allocations {
    /// Those that were made anew and those that were made larger.
    count: u64,
    /// Of at least [`LARGE`] bytes.
    large: u64,
}

thread_local! {
    /// What this thread has allocated since it asked to have it counted. Made without allocating and
    /// dropped by nobody, so that the allocator may look at it at any time.
    static ALLOCATIONS: Cell<Option<Allocations>> = const { Cell::new(None) };
}

/// The system's allocator, which is told on.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

impl Counting {
    fn count(size: usize) {
        // A thread that ends has no more thread-locals, and nobody who asks for its count.
        let _ = ALLOCATIONS.try_with(|allocations| {
            if let Some(Allocations { count, large }) = allocations.get() {
                let large = large + u64::from(size >= LARGE);
                allocations.set(Some(Allocations { count: count + 1, large }));
            }
        });
    }
}

// SAFETY: every call is handed on to the system's allocator as it came, and counting neither
// allocates nor unwinds.
#[expect(unsafe_code, reason = "an allocator can be nothing else")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size());
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size());
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count(size);
        // SAFETY: the caller's promises about `pointer`, `layout` and `size` are passed on; the
        // pointer came from the system's allocator, like all of ours.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as for `realloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The bytes of text in the broadcast: more than anything else is made for it.
const LARGE: usize = 1_000;
