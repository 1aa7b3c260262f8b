//! Doors: the ways in by which a client may reach the server, and scenarios played through them.
//!
//! A scenario asks its door for clients and says nothing of transports and versions. What a door
//! can't do is a question asked of the door.

use std::net::SocketAddr;
use std::thread;

use simurgh::Builder;
use simurgh::testing::{self, Client, Version};

use crate::support::{App, World};

/// A way in: how bytes come to the server, and what they say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door {
    transport: Transport,
    pub(crate) version: Version,
}

#[derive(Clone, Copy, Debug)]
enum Transport {
    WebSocket,
}

impl Door {
    /// All there are. What is added here has every scenario played through it.
    pub(crate) const ALL: &[Self] = &[
        Self { transport: Transport::WebSocket, version: Version::V1 },
        Self { transport: Transport::WebSocket, version: Version::V2 },
    ];

    /// A client on the first shard.
    pub(crate) fn client(self, world: &World) -> Client {
        self.client_on(world, 0)
    }

    /// A client on the last shard, another than [`client`](Self::client)'s where there are several.
    pub(crate) fn far_client(self, world: &World) -> Client {
        self.client_on(world, world.server.shards() - 1)
    }

    pub(crate) fn client_on(self, world: &World, shard: usize) -> Client {
        self.client_at(world, shard, "/socket")
    }

    /// A client of another mount.
    pub(crate) fn client_at(self, world: &World, shard: usize, mount: &str) -> Client {
        self.builder(world.server.addr(shard), mount).connect().unwrap()
    }

    /// A client whose socket has an id.
    pub(crate) fn client_with_id(self, world: &World, shard: usize, id: &str) -> Client {
        let client = self.builder(world.server.addr(shard), "/socket");
        client.param("id", id).connect().unwrap()
    }

    /// A client that has yet to connect.
    pub(crate) fn builder(self, addr: SocketAddr, mount: &str) -> testing::Builder {
        match self.transport {
            Transport::WebSocket => Client::builder(addr, mount).version(self.version),
        }
    }

    /// Whether binary payloads pass, either way.
    pub(crate) fn has_binary(self) -> bool {
        self.version == Version::V2
    }

    /// Whether messages name the join they belong to.
    pub(crate) fn has_join_refs(self) -> bool {
        self.version == Version::V2
    }

    /// Whether the payload of a push must be an object.
    pub(crate) fn wants_objects(self) -> bool {
        self.version == Version::V2
    }
}

/// Plays a scenario through every door of a server with one shard and of one with four; nothing may
/// be left of it.
pub(crate) fn everywhere(scenario: impl Fn(&World, Door)) {
    for shards in [1, 4] {
        let world = World::start(shards);
        let start = |_| &world;
        through_every_door(shards, start, |world, door| {
            scenario(world, door);
            world.server.await_rest();
            world.forget();
        });
        world.server.stop();
    }
}

/// Plays a scenario through every door, each that of a server of its own with so many shards, whose
/// endpoint is changed; nothing may be left of it.
pub(crate) fn on_new_servers(
    shards: usize,
    change: impl Fn(Builder<App>) -> Builder<App>,
    scenario: impl Fn(&World, Door),
) {
    let start = |shards| World::start_with(shards, &change);
    through_every_door(shards, start, |world, door| {
        scenario(&world, door);
        world.server.await_rest();
        world.server.stop();
    });
}

/// Plays a scenario through every door, each of what is started for it with so many shards.
pub(crate) fn through_every_door<S>(
    shards: usize,
    start: impl Fn(usize) -> S,
    scenario: impl Fn(S, Door),
) {
    for &door in Door::ALL {
        let _stage = Stage { door, shards };
        scenario(start(shards), door);
    }
}

/// Where a scenario is played. Should it fail while this lives, it says so.
#[derive(Debug)]
struct Stage {
    door: Door,
    shards: usize,
}

impl Drop for Stage {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("failed through {:?} of a server with {} shard(s)", self.door, self.shards);
        }
    }
}
