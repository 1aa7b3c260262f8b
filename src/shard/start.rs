//! Starting the shards of an endpoint.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};

use super::blocking::Pool;
use super::links::{Remote, Shared, connect};
use super::topics::SLICE;
use super::watch::Watch;
use super::{Blueprint, Next, Parts, Shard};
use crate::config::Limits;
use crate::error::Error;
use crate::io::{self, Config, Doorbell, Rings, ShardThread};
use crate::message::PlainRoute;

/// What the shards are to be started with.
pub(crate) struct Plan {
    pub(crate) mounts: Vec<Arc<dyn Blueprint>>,
    pub(crate) routes: Arc<[PlainRoute]>,
    pub(crate) limits: Limits,
    /// One listener for each shard.
    pub(crate) listeners: Vec<TcpListener>,
    /// The CPU of each shard.
    pub(crate) cpus: Vec<Option<usize>>,
    pub(crate) config: Config,
}

/// Shards that run.
pub(crate) struct Shards {
    pub(crate) shared: Arc<Shared>,
    threads: Vec<ShardThread<()>>,
    _watch: Watch,
}

/// Starts a thread for each shard, and returns when all are ready.
pub(crate) fn start(plan: Plan) -> Result<Shards, Error> {
    let shards = plan.listeners.len();
    let used: Vec<_> = plan.cpus.iter().flatten().copied().collect();
    let all = io::cpu::allowed();
    let free: Vec<_> = all.iter().copied().filter(|cpu| !used.contains(cpu)).collect();
    let blocking_cpus = if free.is_empty() { all } else { free };
    let (shared, parts) = assemble(shards, &plan.limits, &plan.routes, blocking_cpus.clone())?;
    let watch = Watch::start(shared.remotes.clone(), blocking_cpus).map_err(Error::Watch)?;

    let mut running = Shards { shared: shared.clone(), threads: Vec::new(), _watch: watch };
    let (ready, readiness) = mpsc::channel();
    let mounts: Arc<[_]> = plan.mounts.into();
    for ((listener, cpu), parts) in plan.listeners.into_iter().zip(plan.cpus).zip(parts) {
        let shard = parts.shard;
        let (mounts, ready, config) = (mounts.clone(), ready.clone(), plan.config.clone());
        let name = format!("simurgh-{shard}");
        let make = move || run(parts, mounts, listener, config, ready);
        match io::spawn_shard(cpu, &name, make) {
            Ok(thread) => running.threads.push(thread),
            Err(error) => {
                running.stop();
                return Err(failed(shard, &error));
            }
        }
    }
    drop(ready);
    for _ in 0..shards {
        let (shard, result) = readiness.recv().unwrap_or((0, Err("a shard ended".to_owned())));
        if let Err(reason) = result {
            running.stop();
            return Err(Error::Shard { shard, reason });
        }
    }
    Ok(running)
}

/// What so many shards share, and what each is made of, joined to the others by the mesh.
pub(crate) fn assemble(
    shards: usize,
    limits: &Limits,
    routes: &Arc<[PlainRoute]>,
    blocking_cpus: Vec<usize>,
) -> Result<(Arc<Shared>, Vec<Parts>), Error> {
    let mut remotes = Vec::new();
    let mut inboxes = Vec::new();
    for shard in 0..shards {
        let doorbell = Doorbell::new().map_err(|error| failed(shard, &error))?;
        let (remote, inbox) = Remote::new(shard, Arc::new(doorbell), limits);
        remotes.push(Arc::new(remote));
        inboxes.push(inbox);
    }
    let meshes = connect(&remotes, limits.max_mesh_queue, limits.max_mesh_bytes);
    let blocking = Pool::new(limits.blocking_threads, limits.max_blocking_queue, blocking_cpus);
    let shared = Arc::new(Shared::new(remotes, blocking));
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
async fn run(
    parts: Parts,
    mounts: Arc<[Arc<dyn Blueprint>]>,
    listener: TcpListener,
    config: Config,
    ready: mpsc::Sender<(usize, Result<(), String>)>,
) {
    let index = parts.shard;
    let shared = parts.shared.clone();
    let doorbell = shared.remotes[index].doorbell.clone();
    // Should this shard end by a bug of ours, half a server must not go on.
    let _stop = StopAll(shared);
    let rings = match Rings::new(&config, listener, doorbell) {
        Ok(rings) => rings,
        Err(error) => {
            let _ = ready.send((index, Err(error.to_string())));
            return;
        }
    };
    let mut shard = Shard::new(rings, parts, &mounts);
    let _ = ready.send((index, Ok(())));
    drop(ready);
    let _entered = shard.local.enter();
    while shard.turn() == Next::Turn {}
}

struct StopAll(Arc<Shared>);

impl Drop for StopAll {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Shards {
    /// Ends all of them and waits for it, without asking how it went.
    fn stop(&mut self) {
        self.shared.stop();
        let _ = self.join();
    }

    /// Waits until all have ended. Again: nothing.
    pub(crate) fn join(&mut self) -> Result<(), Error> {
        let mut result = Ok(());
        for (shard, thread) in self.threads.drain(..).enumerate() {
            if let Err(error) = thread.join() {
                // The first is the cause, the others follow it.
                result = result.and(Err(failed(shard, &error)));
            }
        }
        result
    }
}

fn failed(shard: usize, error: &dyn std::error::Error) -> Error {
    Error::Shard { shard, reason: error.to_string() }
}

/// The addresses that listeners listen at.
pub(crate) fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}
