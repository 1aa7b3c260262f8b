//! The scene of a test: a server, its calm clients, and the question what is left of it.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use simurgh::Limits;
use simurgh::testing::{Builder, Client, Holdings, Random, Seed, Server, Version};

use crate::app::{self, App};
use crate::calm::CalmClients;

/// A server with calm clients on all shards.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) app: App,
    pub(crate) calm: CalmClients,
}

/// Does harm on one shard and on four, while calm clients go about their business.
///
/// They must not notice. When whoever did harm has gone, the shards hold what they held before he
/// came, and so does the process; when the calm have gone too, the shards hold nothing; and when the
/// server has ended, the process has its descriptors and threads of before.
pub(crate) fn play(limits: &Limits, harm: impl Fn(&Scene, &mut Random)) {
    keep_quiet_of_what_was_told();
    let _alone = alone();
    let seed = Seed::given().unwrap_or_else(Seed::fresh);
    for shards in [1, 4] {
        // Seen only when the scene fails.
        println!("on {shards} shard(s)");
        let before = Process::without_server();
        let app = App::default();
        let server = Server::start(app::endpoint(&app).limits(limits.clone()), shards);
        let calm = CalmClients::come(&server);
        let scene = Scene { server, app, calm };
        let settled = Settled::now(&scene);

        scene.calm.talk();
        let harmed = catch_unwind(AssertUnwindSafe(|| {
            harm(&scene, &mut seed.random());
            scene.calm.check();
            settled.await_again(&scene);
        }));
        // They know more of what went wrong than who did the harm.
        let Scene { server, app, calm } = scene;
        calm.go();
        harmed.unwrap_or_else(|panic| resume_unwind(panic));

        server.await_rest();
        assert_eq!(app.live(), 0, "values are left");
        server.stop();
        // The executor keeps one of each shard for good: glommio 0.9 never drops its last task.
        before.await_again(shards);
    }
}

impl Scene {
    /// Where any of the shards listens.
    pub(crate) fn addr(&self, random: &mut Random) -> SocketAddr {
        self.server.addr(random.below(self.server.shards()))
    }

    /// A client that is about to do harm, on any shard and of any version.
    pub(crate) fn client(&self, random: &mut Random) -> Builder {
        self.client_of("/socket", random)
    }

    /// The same, at another mount.
    pub(crate) fn client_of(&self, mount: &str, random: &mut Random) -> Builder {
        let version = *random.pick(&Version::ALL).expect("there are two");
        Client::builder(self.addr(random), mount).version(version)
    }
}

/// Waits until no other test is on: scenes count what the whole process holds.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static STAGE: Mutex<()> = Mutex::new(());
    STAGE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Panics that the application was told to have are not worth a line each, let alone a backtrace.
fn keep_quiet_of_what_was_told() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload().downcast_ref::<&str>() != Some(&app::TOLD) {
                tell(panic);
            }
        }));
    });
}

/// Does harm in several threads side by side, each with its own share of chance.
pub(crate) fn in_threads(random: &mut Random, harm: impl Fn(&mut Random) + Sync) {
    std::thread::scope(|scope| {
        for mut random in (0..THREADS).map(|_| Random::new(random.next())) {
            let harm = &harm;
            scope.spawn(move || harm(&mut random));
        }
    });
}

/// What there is of everything while nobody but the calm is there, and they keep still.
struct Settled {
    holdings: Vec<Holdings>,
    values: usize,
    process: Process,
}

impl Settled {
    fn now(scene: &Scene) -> Self {
        // A thread has its parent's name before it has its own.
        let has_watch = || Process::now().threads.iter().any(|name| name.trim() == "simurgh-watch");
        until(has_watch, || "the watch has not begun".to_owned());
        let is_still = |it: &Holdings| it.chores + it.mesh_bytes == 0;
        let holdings = scene.server.await_holdings(|shards| shards.iter().all(is_still));
        Self {
            holdings: holdings.iter().map(without_deadlines).collect(),
            values: scene.app.live(),
            process: Process::now(),
        }
    }

    fn await_again(&self, scene: &Scene) {
        println!("wanted: {:#?}", self.holdings);
        let holdings = self.holdings.iter().copied();
        scene.server.await_holdings(|now| now.iter().map(without_deadlines).eq(holdings.clone()));
        until(
            || scene.app.live() == self.values,
            || format!("{} values became {}", self.values, scene.app.live()),
        );
        self.process.await_again(0);
    }
}

/// Those of connections that have gone stay until their time comes.
fn without_deadlines(holdings: &Holdings) -> Holdings {
    let mut others = *holdings;
    others.deadlines = 0;
    others
}

/// What the process has of the system.
#[derive(Debug)]
struct Process {
    /// What each descriptor is of.
    descriptors: Vec<String>,
    /// The names of the server's threads. Those of tests that wait come and go.
    threads: Vec<String>,
}

impl Process {
    fn now() -> Self {
        // What ends while it is looked at is there no more.
        let list = |of: &str, tell: fn(&Path) -> io::Result<String>| {
            let entries = std::fs::read_dir(of).expect("there is /proc");
            let mut list: Vec<_> = entries.filter_map(|it| tell(&it.ok()?.path()).ok()).collect();
            list.sort();
            list
        };
        let mut threads = list("/proc/self/task", |it| std::fs::read_to_string(it.join("comm")));
        threads.retain(|name| name.starts_with("simurgh"));
        Self {
            threads,
            descriptors: list("/proc/self/fd", |it| Ok(it.read_link()?.display().to_string())),
        }
    }

    /// The same, once nothing is left of a server that was here before: a thread that was waited for
    /// may still be seen for a moment, and must not be waited for again when this one has ended.
    fn without_server() -> Self {
        let threads = || Self::now().threads;
        until(|| threads().is_empty(), || format!("{:?} are left of others", threads()));
        Self::now()
    }

    /// Waits until the process has again what it had, but for so many eventfds.
    fn await_again(&self, more_eventfds: usize) {
        let is_eventfd = |it: &&String| it.contains("eventfd");
        let eventfds = |of: &Self| of.descriptors.iter().filter(is_eventfd).count();
        let others = |of: &Self| -> Vec<String> {
            of.descriptors.iter().filter(|it| !is_eventfd(it)).cloned().collect()
        };
        let is_again = |now: &Self| {
            eventfds(now) <= eventfds(self) + more_eventfds
                && others(now) == others(self)
                && now.threads == self.threads
        };
        until(|| is_again(&Self::now()), || format!("{self:#?} became {:#?}", Self::now()));
    }
}

/// Waits for what must become true.
pub(crate) fn until(condition: impl Fn() -> bool, otherwise: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{}", otherwise());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Who do harm side by side.
const THREADS: usize = 3;

/// Decides when a hang is called one.
const PATIENCE: Duration = Duration::from_secs(20);
