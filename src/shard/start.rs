//! Starting the shards of an endpoint.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::blocking::Pool;
use super::links::{MeshBounds, Names, Remote, Shared, connect};
use super::topics::SLICE;
use super::watch::Watch;
use super::{Blueprint, Next, Parts, Shard};
use crate::config::Limits;
use crate::error::Error;
use crate::io::gate::Gate;
use crate::io::{self, Config, Doorbell, Rings, ShardThread};
use crate::message::Routes;
use crate::runtime::{EnterRuntime, within};

/// What the shards are to be started with.
pub(crate) struct Plan {
    pub(crate) mounts: Vec<Arc<dyn Blueprint>>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) limits: Limits,
    /// What the application's futures may need.
    pub(crate) runtime: Option<Arc<dyn EnterRuntime>>,
    /// One listener for each shard.
    pub(crate) listeners: Vec<TcpListener>,
    /// The CPU of each shard.
    pub(crate) cpus: Vec<Option<usize>>,
    pub(crate) config: Config,
    /// Where a shard that can't take clients stands aside.
    pub(crate) gate: Gate,
}

/// Shards that run.
pub(crate) struct Shards {
    pub(crate) shared: Arc<Shared>,
    threads: Vec<ShardThread<()>>,
    names: Arc<Names>,
    /// How long the shards may take to end.
    patience: Duration,
    _watch: Watch,
}

/// Starts a thread for each shard, and returns when all are ready.
pub(crate) fn start(plan: Plan) -> Result<Shards, Error> {
    let shards = plan.listeners.len();
    let used: Vec<_> = plan.cpus.iter().flatten().copied().collect();
    let all = io::cpu::allowed();
    let free: Vec<_> = all.iter().copied().filter(|cpu| !used.contains(cpu)).collect();
    let blocking_cpus = if free.is_empty() { all } else { free };
    let pool = (blocking_cpus.clone(), plan.runtime.clone());
    let (shared, parts) = assemble(shards, &plan.limits, &plan.routes, pool)?;
    let gate = Arc::new(plan.gate);
    let names = Arc::new(Names::new(plan.mounts.iter().map(|mount| mount.names())));
    let beside = (names.clone(), gate.clone());
    let watch = Watch::start(shared.remotes.clone(), beside, blocking_cpus);
    let watch = watch.map_err(Error::Watch)?;

    let shared_too = shared.clone();
    let patience = patience(&plan.limits);
    let mut running =
        Shards { shared: shared_too, threads: Vec::new(), names, patience, _watch: watch };
    let (ready, readiness) = mpsc::channel();
    let mounts: Arc<[_]> = plan.mounts.into();
    for ((listener, cpu), parts) in plan.listeners.into_iter().zip(plan.cpus).zip(parts) {
        let shard = parts.shard;
        let (mounts, ready, config) = (mounts.clone(), ready.clone(), plan.config.clone());
        let name = format!("simurgh-{shard}");
        let (runtime, place) = (plan.runtime.clone(), (listener, gate.clone()));
        let make = move || async move {
            let run = || run(parts, &mounts, place, &config, ready);
            within(runtime.as_deref(), run);
        };
        match io::spawn_shard(cpu, &name, make) {
            Ok(thread) => running.threads.push(thread),
            Err(error) => {
                running.stop();
                return Err(failed(shard, error));
            }
        }
    }
    drop(ready);
    for _ in 0..shards {
        let (shard, result) = readiness.recv().unwrap_or((0, Err("a shard ended".into())));
        if let Err(source) = result {
            running.stop();
            return Err(Error::Shard { shard, source });
        }
    }
    Ok(running)
}

/// What so many shards share, and what each is made of, joined to the others by the mesh.
pub(crate) fn assemble(
    shards: usize,
    limits: &Limits,
    routes: &Arc<Routes>,
    (blocking_cpus, runtime): (Vec<usize>, Option<Arc<dyn EnterRuntime>>),
) -> Result<(Arc<Shared>, Vec<Parts>), Error> {
    let mut remotes = Vec::new();
    let mut inboxes = Vec::new();
    for shard in 0..shards {
        let doorbell = Doorbell::new().map_err(|error| failed(shard, error))?;
        let (remote, inbox) = Remote::new(shard, Arc::new(doorbell), limits);
        remotes.push(Arc::new(remote));
        inboxes.push(inbox);
    }
    let bounds = MeshBounds {
        max_parcels: limits.max_mesh_queue,
        max_bytes: limits.max_mesh_bytes,
        patience: limits.hold_timeout,
    };
    let meshes = connect(&remotes, bounds);
    let (threads, queue) = (limits.blocking_threads, limits.max_blocking_queue);
    let blocking = Pool::new(threads, queue, blocking_cpus, runtime);
    let shared = Arc::new(Shared::new(remotes, blocking, limits));
    let part = |(shard, (inbox, mesh))| Parts {
        shard,
        limits: limits.clone(),
        shared: shared.clone(),
        inbox,
        mesh,
        routes: routes.clone(),
        slice: SLICE,
    };
    let parts = inboxes.into_iter().zip(meshes).enumerate().map(part).collect();
    Ok((shared, parts))
}

/// A shard's thread.
fn run(
    parts: Parts,
    mounts: &[Arc<dyn Blueprint>],
    (listener, gate): (TcpListener, Arc<Gate>),
    config: &Config,
    ready: mpsc::Sender<(usize, Result<(), Cause>)>,
) {
    let index = parts.shard;
    let shared = parts.shared.clone();
    let doorbell = shared.remotes[index].doorbell.clone();
    shared.remotes[index].watched.set_thread(io::ThreadNumber::current());
    // Should this shard end by a bug of ours, half a server must not go on.
    let _stop = StopAll { shared, shard: index };
    let rings = match Rings::new(config, listener, doorbell) {
        Ok(rings) => rings.behind(gate, index),
        Err(error) => {
            let _ = ready.send((index, Err(error.into())));
            return;
        }
    };
    let mut shard = Shard::new(rings, parts, mounts);
    let _ = ready.send((index, Ok(())));
    drop(ready);
    let _entered = shard.local.enter();
    while shard.turn() == Next::Turn {}
}

struct StopAll {
    shared: Arc<Shared>,
    shard: usize,
}

impl Drop for StopAll {
    fn drop(&mut self) {
        self.shared.stop();
        self.shared.end.come_to(self.shard);
    }
}

/// How long shards may take from when their end is asked for: as long as each gives itself, and what
/// a busy machine needs.
fn patience(limits: &Limits) -> Duration {
    let own = limits.terminate_timeout.saturating_add(limits.close_timeout);
    own.saturating_add(Duration::from_secs(2))
}

impl Shards {
    /// Ends all of them and waits for it, without asking how it went.
    fn stop(&mut self) {
        self.shared.stop();
        let _ = self.join();
    }

    /// Waits until all have ended, or are asked to and one does not: its thread is left to itself.
    /// Again: nothing.
    pub(crate) fn join(&mut self) -> Result<(), Error> {
        let stuck = self.shared.end.wait(self.threads.len(), self.patience);
        let mut result = Ok(());
        for (shard, thread) in self.threads.drain(..).enumerate() {
            if stuck.contains(&shard) {
                let running = self.shared.remotes[shard].watched.running();
                let callback = self.names.of(running).map(|(its_type, callback)| {
                    its_type.map_or(callback.to_owned(), |its| format!("{its}::{callback}"))
                });
                result = result.and(Err(Error::Stuck { shard, callback }));
            } else if let Err(error) = thread.join() {
                // The first is the cause, the others follow it.
                result = result.and(Err(failed(shard, error)));
            }
        }
        result
    }
}

fn failed(shard: usize, cause: impl Into<Cause>) -> Error {
    Error::Shard { shard, source: cause.into() }
}

/// Why a shard could not be started, or has ended.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The addresses that listeners listen at.
pub(crate) fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn what_the_kernel_said_of_a_ring_is_behind_the_error() {
        let mut config = Config::default();
        config.first_queues.completion = 0;
        let error = start(plan(None, config)).err().expect("a ring without a queue");
        let kernel = std::io::Error::from_raw_os_error(libc::EINVAL);
        assert_eq!(error.to_string(), format!("shard 0: cannot set up a ring: {kernel}"));
        let source = error.source().and_then(|ring| ring.source()).expect("two are behind it");
        let source = source.downcast_ref::<std::io::Error>().expect("what the kernel said");
        assert_eq!(source.raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn why_a_thread_did_not_start_is_behind_the_error() {
        let error = start(plan(Some(100_000), Config::default())).err().expect("no such CPU");
        let cause = cause(&error);
        assert!(matches!(cause, io::Error::Thread { .. }), "{cause:?}");
        assert_eq!(error.to_string(), format!("shard 0: {cause}"));
    }

    #[test]
    fn a_panic_of_a_shard_is_behind_the_error() {
        let (shared, _) =
            assemble(1, &Limits::default(), &Arc::default(), (Vec::new(), None)).unwrap();
        let names = Arc::<Names>::default();
        let beside = (names.clone(), Arc::default());
        let watch = Watch::start(Vec::new(), beside, io::cpu::allowed()).unwrap();
        let patience = Duration::ZERO;
        let thread = io::spawn_shard(None, "careless", || async { panic!("with these words") });
        shared.end.come_to(0);
        let threads = vec![thread.unwrap()];
        let mut shards = Shards { shared, threads, names, patience, _watch: watch };
        let error = shards.join().unwrap_err();
        assert!(matches!(cause(&error), io::Error::Panicked { .. }), "{error}");
        assert_eq!(error.to_string(), "shard 0: shard careless panicked: with these words");
    }

    fn plan(cpu: Option<usize>, config: Config) -> Plan {
        Plan {
            mounts: Vec::new(),
            routes: Arc::default(),
            limits: Limits::default(),
            runtime: None,
            listeners: vec![TcpListener::bind("127.0.0.1:0").unwrap()],
            cpus: vec![cpu],
            config,
            gate: Gate::default(),
        }
    }

    fn cause(error: &Error) -> &io::Error {
        error.source().and_then(|cause| cause.downcast_ref()).expect("an error of `io`")
    }
}
