//! All shards of an endpoint on one thread, joined as they are when they have threads of their own.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::actor::{self, App};
use super::client::Client;
use super::kernel::{Kernel, SimulatedIo};
use crate::channel::Handle;
use crate::config::Limits;
use crate::endpoint::Builder;
use crate::shard::core::Core;
use crate::shard::links::Shared;
use crate::shard::topics::SLICE;
use crate::shard::{Next, Parts, Shard, start};
use crate::telemetry::{Holdings, ShardCounts};
use crate::testing::{Random, Version};

pub(super) struct World {
    lanes: Vec<Lane>,
    clock: Rc<Cell<Instant>>,
    random: Random,
    shared: Arc<Shared>,
    pub(super) app: App,
}

/// A shard with what its thread would have.
struct Lane {
    shard: Option<Shard<SimulatedIo>>,
    kernel: Rc<RefCell<Kernel>>,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Awake,
    Asleep(Option<Instant>),
    Ended,
}

impl World {
    /// The actors' endpoint on so many shards.
    pub(super) fn new(shards: usize) -> Self {
        Self::with_limits(shards, Limits::default())
    }

    pub(super) fn with_limits(shards: usize, limits: Limits) -> Self {
        Self::with_seed(shards, limits, 1)
    }

    pub(super) fn with_seed(shards: usize, limits: Limits, seed: u64) -> Self {
        Self::in_slices(shards, limits, seed, SLICE)
    }

    /// Shards that send no more than `slice` in a turn before they look at what has come.
    pub(super) fn in_slices(shards: usize, limits: Limits, seed: u64, slice: usize) -> Self {
        let app = App::default();
        let endpoint = actor::endpoint(app.clone()).limits(limits);
        let world = Self::build(endpoint, app, shards, seed, slice);
        world.app.set_handle(world.handle());
        world
    }

    /// One shard, of an endpoint that hands over what is for nobody.
    pub(super) fn with_fallback(
        seed: u64,
        fallback: impl Fn(crate::Stream) + Send + Sync + 'static,
    ) -> Self {
        let app = App::default();
        let endpoint = actor::endpoint(app.clone()).fallback(fallback);
        Self::build(endpoint, app, 1, seed, SLICE)
    }

    fn build(endpoint: Builder<App>, app: App, shards: usize, seed: u64, slice: usize) -> Self {
        let (mounts, routes, limits) = endpoint.into_blueprint();
        let (shared, parts) = start::assemble(shards, &limits, &routes, (Vec::new(), None))
            .unwrap_or_else(|error| panic!("the shards can't be put together: {error}"));
        let clock = Rc::new(Cell::new(Instant::now()));
        let mut random = Random::new(seed);
        let lanes = parts.into_iter().map(|parts| {
            let doorbell = shared.remotes[parts.shard].doorbell.clone();
            let (io, kernel) = SimulatedIo::new(&clock, doorbell, random.next());
            let parts = Parts { slice, ..parts };
            Lane { shard: Some(Shard::new(io, parts, &mounts)), kernel, state: State::Awake }
        });
        Self { lanes: lanes.collect(), clock, random, shared, app }
    }

    pub(super) fn handle(&self) -> Handle {
        Handle::new(self.shared.clone())
    }

    pub(super) fn kernel(&self, shard: usize) -> RefMut<'_, Kernel> {
        self.lanes[shard].kernel.borrow_mut()
    }

    pub(super) fn kernels(&self) -> impl Iterator<Item = RefMut<'_, Kernel>> {
        self.lanes.iter().map(|lane| lane.kernel.borrow_mut())
    }

    pub(super) fn counts(&self, shard: usize) -> ShardCounts {
        self.shared.tallies[shard].load()
    }

    /// The tables of a shard that has not ended.
    pub(super) fn core(&self, shard: usize) -> Ref<'_, Core> {
        self.lanes[shard].shard.as_ref().expect("it has not ended").local.core.borrow()
    }

    pub(super) fn shards(&self) -> usize {
        self.lanes.len()
    }

    /// The shards that want to hear of a topic, as far as the others know.
    pub(super) fn interested(&self, topic: &str) -> Vec<usize> {
        if self.lanes.len() == 1 {
            return Vec::new();
        }
        self.shared.interest.interested(topic).collect()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lanes.iter().all(|lane| matches!(lane.state, State::Ended))
    }

    /// Lets the shards take their turns, one at a time, until all sleep or have ended.
    ///
    /// # Panics
    ///
    /// When one sleeps although it has work. While another thread is about to give it some, that is
    /// no mistake; then [`step`](Self::step) is to be used.
    pub(super) fn run(&mut self) {
        assert!(self.step(MAX_TURNS), "the shards never come to rest");
        let asleep = self.lanes.iter().filter_map(|lane| lane.shard.as_ref());
        assert!(asleep.clone().all(is_idle), "a shard sleeps although it has work");
    }

    /// Lets them take so many turns at most. Whether all sleep or have ended.
    pub(super) fn step(&mut self, turns: usize) -> bool {
        for _ in 0..turns {
            let now = self.clock.get();
            let awake: Vec<_> =
                (0..self.lanes.len()).filter(|&lane| self.lanes[lane].is_awake(now)).collect();
            let Some(&lane) = self.random.pick(&awake) else { return true };
            self.lanes[lane].turn();
        }
        false
    }

    /// Lets one shard take a turn, and no other.
    pub(super) fn turn(&mut self, shard: usize) {
        self.lanes[shard].turn();
    }

    /// Lets time pass. Nobody wakes later than he has asked to.
    pub(super) fn pass(&mut self, time: Duration) {
        let target = self.clock.get() + time;
        loop {
            self.run();
            let wakes = self.lanes.iter().filter_map(|lane| match lane.state {
                State::Asleep(until) => until,
                State::Awake | State::Ended => None,
            });
            match wakes.min().filter(|&next| next <= target) {
                Some(next) => self.clock.set(next),
                None => break,
            }
        }
        self.clock.set(target);
        self.run();
    }

    /// Lets time pass in which nobody runs: the process is stopped.
    pub(super) fn stand_still(&mut self, time: Duration) {
        self.clock.set(self.clock.get() + time);
    }

    /// A client's connection, on which nothing was said yet.
    pub(super) fn dial(&mut self, shard: usize, version: Version) -> Client {
        Client::new(self.kernel(shard).dial(), version)
    }

    /// A client with an open socket.
    pub(super) fn connect(&mut self, shard: usize, version: Version) -> Client {
        let mut client = self.dial(shard, version);
        client.upgrade("/socket", "");
        self.run();
        client.read();
        assert_eq!(client.status, Some(101), "the upgrade");
        client
    }

    /// A client that has joined a topic.
    pub(super) fn join(&mut self, shard: usize, version: Version, topic: &str) -> Client {
        let mut client = self.connect(shard, version);
        let message_ref = client.join(topic, serde_json::json!({}));
        self.run();
        assert!(client.take_reply(&message_ref).is_ok(), "the join of {topic}");
        client
    }

    /// Waits for what is still to end by itself, and asserts that nothing is left.
    pub(super) fn assert_rest(&mut self) {
        self.pass(Duration::from_secs(200));
        for (index, lane) in self.lanes.iter().enumerate() {
            let Some(shard) = &lane.shard else { continue };
            assert_eq!(shard.holdings(), Holdings::default(), "of shard {index}");
        }
    }
}

impl Lane {
    /// Whether its thread would run.
    fn is_awake(&self, now: Instant) -> bool {
        match (self.state, &self.shard) {
            (State::Awake, _) => true,
            (State::Asleep(until), Some(shard)) => {
                !shard.local.here.remote.doorbell.is_parked()
                    || self.kernel.borrow().has_news()
                    || until.is_some_and(|until| until <= now)
            }
            (State::Asleep(_) | State::Ended, _) => false,
        }
    }

    fn turn(&mut self) {
        let shard = self.shard.as_mut().expect("it has not ended");
        let _entered = shard.local.enter();
        shard.local.here.remote.doorbell.withdraw();
        let next = shard.turn();
        shard.local.core.borrow_mut().check();
        let asleep = self.kernel.borrow_mut().asleep.take();
        self.state = match (next, asleep) {
            (Next::Turn, None) => State::Awake,
            (Next::Turn, Some(until)) => State::Asleep(until),
            (Next::End, _) => {
                self.shard = None;
                State::Ended
            }
        };
    }
}

/// Whether there is truly nothing for the shard to do, whatever it says itself.
fn is_idle(shard: &Shard<SimulatedIo>) -> bool {
    let held = shard.holdings();
    shard.is_idle() && (held.chores, held.fanouts) == (0, 0)
}

/// Far more than any test needs.
const MAX_TURNS: usize = 100_000;
