//! Endpoints: an application's sockets, at an address, on all cores.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use crate::config::Limits;
use crate::error::Error;
use crate::fallback::{self, FallbackListener};
use crate::io::ceiling::{Ceiling, Means};
use crate::io::gate::Gate;
use crate::io::{self, Config, kernel, listener};
use crate::message::{PlainRoute, Request, Response, Routes, segments};
use crate::mount::{Mount, NewMount};
use crate::running::Running;
use crate::runtime::EnterRuntime;
use crate::shard::Blueprint;
use crate::shard::start::{self, Plan};
use crate::socket::SocketHandler;
use crate::stream::Stream;

/// An application's sockets at an address. Built with [`Endpoint::builder`].
///
/// # Example
///
/// ```no_run
/// # use simurgh::prelude::*;
/// # struct Visitor;
/// # impl SocketHandler for Visitor {
/// #     type App = ();
/// #     type Params = ();
/// #     async fn connect(_: (), _: &ConnectInfo<()>) -> Result<Self, Rejection> { Ok(Visitor) }
/// # }
/// # struct Room;
/// # impl Channel for Room {
/// #     type Socket = Visitor;
/// #     type Params = ();
/// #     type Event = RawEvent;
/// #     type Info = ();
/// #     async fn join(_: &Topic, _: (), _: &mut Context<'_, Self>) -> Join<Self> {
/// #         Ok(Joined::new(Room))
/// #     }
/// #     async fn handle_in(&mut self, _: RawEvent, _: &mut Context<'_, Self>) -> Result<Reply, Crash> {
/// #         Ok(Reply::none())
/// #     }
/// # }
/// fn main() -> Result<(), simurgh::Error> {
///     Endpoint::builder(())
///         .socket("/socket", |mount| mount.handler::<Visitor>().channel::<Room>("room:*"))
///         .listen("127.0.0.1:4000")
///         .run()
/// }
/// ```
#[derive(Debug)]
pub struct Endpoint(());

impl Endpoint {
    /// Begins an endpoint around the application's own state, which all shards share.
    pub fn builder<A: Send + Sync + 'static>(app: A) -> Builder<A> {
        Builder {
            app: Arc::new(app),
            mounts: Vec::new(),
            routes: Routes::default(),
            address: "127.0.0.1:4000".to_owned(),
            shards: None,
            cpus: None,
            reuse_port: false,
            port_per_shard: false,
            limits: Limits::default(),
            runtime: None,
            wrong: None,
        }
    }
}

/// What an endpoint is to be. Mistakes are told when it is started.
#[must_use = "nothing listens before `run` or `start`"]
pub struct Builder<A> {
    app: Arc<A>,
    mounts: Vec<Arc<dyn Blueprint>>,
    routes: Routes,
    address: String,
    shards: Option<usize>,
    cpus: Option<Vec<usize>>,
    reuse_port: bool,
    port_per_shard: bool,
    limits: Limits,
    runtime: Option<Arc<dyn EnterRuntime>>,
    /// The first mistake.
    wrong: Option<String>,
}

impl<A: Send + Sync + 'static> Builder<A> {
    /// Mounts a socket handler at a path: clients connect at `path/websocket`
    /// ([`websocket_path`](Mount::websocket_path) sets another end), or at `path` itself.
    ///
    /// A segment that begins with `:` matches any, and is handed to `connect` as a parameter of
    /// that name, unless the name begins with `_`. The first mount that matches takes the request;
    /// an endpoint has at most 255.
    pub fn socket<S: SocketHandler<App = A>>(
        mut self,
        path: &str,
        mount: impl FnOnce(NewMount<A>) -> Mount<S>,
    ) -> Self {
        match mount(NewMount::new()).blueprint(path, self.app.clone()) {
            Ok(mount) if self.mounts.len() < usize::from(u8::MAX) => self.mounts.push(mount),
            Ok(_) => {
                self.wrong.get_or_insert(format!("mount {path}: more than 255 mounts"));
            }
            Err(wrong) => {
                self.wrong.get_or_insert(format!("mount {path}: {wrong}"));
            }
        }
        self
    }

    /// Answers GET (and HEAD) at exactly this path. Handlers run on a shard and must not block.
    pub fn get(
        mut self,
        path: &str,
        handle: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Self {
        self.routes.plain.push(PlainRoute { path: segments(path), handle: Arc::new(handle) });
        self
    }

    /// Hands over the connections whose requests are for no mount and no route, instead of answering
    /// 404: to an HTTP server of the application's, at the same port. The first such request decides
    /// for its connection, and the [`Stream`] begins with it; what was asked before was answered here.
    /// From then on the connection is not the endpoint's: it counts for no limit, and does not end
    /// with the server, and a WebSocket for a mount that is asked for on it later is the application's
    /// to refuse. Browsers open a new connection for a WebSocket.
    ///
    /// `handle` runs on a shard and must not block: it hands the stream to a thread or a task. What
    /// makes a queue of them is [`fallback_listener`](Self::fallback_listener).
    ///
    /// A connection that is handed over takes a descriptor of the process (`ulimit -n`); where none is
    /// left, its client is answered with 503.
    ///
    /// ```no_run
    /// use std::io::{Read, Write};
    ///
    /// let endpoint = simurgh::demo::endpoint().fallback(|mut stream| {
    ///     std::thread::spawn(move || {
    ///         let mut request = [0; 1024];
    ///         let size = stream.read(&mut request)?;
    ///         println!("{}", String::from_utf8_lossy(&request[..size]));
    ///         stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello")
    ///     });
    /// });
    /// # let _ = endpoint;
    /// ```
    pub fn fallback(mut self, handle: impl Fn(Stream) + Send + Sync + 'static) -> Self {
        self.routes.fallback = Some(fallback::call(handle));
        self
    }

    /// The same, with a queue between: its end is a listener for a server of any kind. README's
    /// "Beside axum" has the few lines that make it one of `axum::serve`'s.
    ///
    /// ```no_run
    /// let (endpoint, mut listener) = simurgh::demo::endpoint().fallback_listener();
    /// let running = endpoint.listen("127.0.0.1:4000").start()?;
    /// while let Some(stream) = listener.blocking_accept() {
    ///     println!("{} asks for something else", stream.peer_addr());
    /// }
    /// # drop(running);
    /// # Ok::<(), simurgh::Error>(())
    /// ```
    pub fn fallback_listener(mut self) -> (Self, FallbackListener) {
        let (fallback, listener) = fallback::listener();
        self.routes.fallback = Some(fallback);
        (self, listener)
    }

    /// Where to listen: an address and port, or a host name and port. Port 0 is any that is free.
    /// Default `127.0.0.1:4000`.
    pub fn listen(mut self, address: impl fmt::Display) -> Self {
        self.address = address.to_string();
        self
    }

    /// How many shards to run, 1 to 1,024. Default: one for each physical core that this process may
    /// use, but no more than its control group's quota of CPU time pays for. Where there are more
    /// shards than cores, some share one.
    pub fn shards(mut self, shards: usize) -> Self {
        if shards == 0 || shards > MAX_SHARDS {
            self.wrong.get_or_insert(format!("{shards} shards: there must be 1 to {MAX_SHARDS}"));
        }
        self.shards = Some(shards);
        self
    }

    /// Which CPUs the shards run on, one after the other: so many shards, unless
    /// [`shards`](Self::shards) says how many. Default: the first of each physical core.
    pub fn cpus(mut self, cpus: impl Into<Vec<usize>>) -> Self {
        self.cpus = Some(cpus.into());
        self
    }

    /// Lets other processes listen at the same address and take their share of the clients, for
    /// a restart without a gap: start the new server, and then stop the old one. Default false: a
    /// second server is told that the address is taken.
    ///
    /// A server that stops then leaves new clients to the other one for a second before it closes
    /// anything: who has begun to connect is served, and who begins is ignored and repeats it by
    /// itself a second later, as TCP does. Nobody is refused or cut off.
    pub fn reuse_port(mut self, reuse_port: bool) -> Self {
        self.reuse_port = reuse_port;
        self
    }

    /// Gives every shard a port of its own, so that a test says which shard a client is on.
    #[cfg(any(test, feature = "testing"))]
    pub fn port_per_shard(mut self) -> Self {
        self.port_per_shard = true;
        self
    }

    /// Bounds and time-outs; the defaults and their reasons are [`Limits`]'.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// A runtime that callbacks, `connect` and plain routes find on their threads, and futures where
    /// they are polled and dropped: so that the timers and sockets of Tokio, and whatever stands on
    /// them, can be awaited in a callback. With the feature `tokio` it takes a
    /// `tokio::runtime::Handle`; others by [`EnterRuntime`].
    ///
    /// The runtime has to have threads of its own that drive it: a multi-threaded one, or one in whose
    /// `block_on` a thread stays. It is to live longer than the endpoint: where it has ended, whatever
    /// needs it panics, which ends the channel.
    ///
    /// ```no_run
    /// # #[cfg(feature = "tokio")]
    /// #[tokio::main]
    /// async fn main() -> Result<(), simurgh::Error> {
    ///     let endpoint = simurgh::demo::endpoint().runtime(tokio::runtime::Handle::current());
    ///     let running = endpoint.listen("127.0.0.1:4000").start()?;
    ///     tokio::task::spawn_blocking(|| running.run()).await.expect("it does not panic")
    /// }
    /// # #[cfg(not(feature = "tokio"))]
    /// # fn main() {}
    /// ```
    pub fn runtime(mut self, runtime: impl EnterRuntime) -> Self {
        self.runtime = Some(Arc::new(runtime));
        self
    }

    /// What the shards are built from, for those that the simulation runs by itself.
    #[cfg(test)]
    pub(crate) fn into_blueprint(self) -> (Vec<Arc<dyn Blueprint>>, Arc<Routes>, Limits) {
        (self.mounts, self.routes.into(), self.limits)
    }

    /// Starts the endpoint and returns when it has ended: by SIGINT (Ctrl-C) or SIGTERM, or by
    /// [`Handle::shutdown`](crate::Handle::shutdown).
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start); and when a shard has failed.
    pub fn run(self) -> Result<(), Error> {
        self.start()?.run()
    }

    /// Starts the endpoint and returns when it takes clients. Installs no signal handlers.
    ///
    /// # Errors
    ///
    /// When a mount, route or setting is wrong, the address can't be listened on, or this kernel or
    /// process can't run shards; the message says how to mend it.
    pub fn start(self) -> Result<Running, Error> {
        if cfg!(panic = "abort") {
            return Err(Error::PanicAbort);
        }
        if let Some(wrong) = self.wrong {
            return Err(Error::Configuration(wrong));
        }
        let unfit = |error: kernel::Unfit| Error::Unfit(error.to_string());
        let cpus = self.cpus.filter(|cpus| !cpus.is_empty());
        check_cpus(cpus.as_deref().unwrap_or_default(), &io::cpu::allowed())?;
        let cpus = match (cpus, self.shards) {
            (None, shards) => io::cpu::for_shards(shards),
            (Some(cpus), shards) => {
                let shards = shards.unwrap_or(cpus.len());
                cpus.into_iter().cycle().take(shards).collect()
            }
        };
        let shards = cpus.len();
        let abilities = kernel::check(&kernel::Kernel::probe(), shards).map_err(unfit)?;
        let address = resolve(&self.address)?;
        let options = listener::Options {
            reuse_port: self.reuse_port,
            send_timeout: self.limits.send_timeout,
            ..Default::default()
        };
        let bind = |count| listener::bind(address, count, &options).map_err(listen_error);
        let listeners = if self.port_per_shard {
            (0..shards)
                .map(|_| bind(1))
                .collect::<Result<Vec<_>, _>>()?
                .into_iter()
                .flatten()
                .collect()
        } else {
            bind(shards)?
        };
        let addresses = start::addresses(&listeners);
        let is_ours_alone = !self.reuse_port && !self.port_per_shard;
        let gate = if is_ours_alone { Gate::new(&listeners) } else { Ok(Gate::default()) };
        let gate = gate.map_err(|source| Error::Listen { address, source })?;
        let config = Config { shares_address: self.reuse_port, ..Config::for_kernel(&abilities) };
        let limits = self.limits.fit(io::ceiling::free_memory(), shards);
        if let Some(fallback) = &self.routes.fallback {
            fallback.begin(addresses[0], limits.max_fallback_queue);
        }
        let running = start::start(Plan {
            mounts: self.mounts,
            routes: self.routes.into(),
            limits: limits.clone(),
            runtime: self.runtime,
            listeners,
            cpus: cpus.iter().copied().map(Some).collect(),
            config: config.clone(),
            gate,
        })?;
        let ceiling = Ceiling::of(&Means::probe(&limits, &config, &abilities, shards));
        tracing::info!(address = %addresses[0], shards, ?cpus, %ceiling, "started");
        Ok(Running::new(running, addresses, cpus, ceiling))
    }
}

impl<A> fmt::Debug for Builder<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Whether shards may run on these CPUs, when the process may use those.
fn check_cpus(cpus: &[usize], allowed: &[usize]) -> Result<(), Error> {
    let Some(cpu) = cpus.iter().find(|cpu| !allowed.contains(cpu)) else { return Ok(()) };
    let allowed: Vec<_> = allowed.iter().map(usize::to_string).collect();
    let allowed = allowed.join(", ");
    Err(Error::Configuration(format!("CPU {cpu} is none that this process may use: {allowed}")))
}

fn resolve(address: &str) -> Result<SocketAddr, Error> {
    let wrong = |reason: String| Error::Address { address: address.to_owned(), reason };
    let mut addresses = address.to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
    addresses.next().ok_or_else(|| wrong("the name has no address".to_owned()))
}

fn listen_error(error: io::Error) -> Error {
    match error {
        io::Error::Listen { address, source } => Error::Listen { address, source },
        other => Error::Unfit(other.to_string()),
    }
}

/// As many as rings of queues between them are sensible.
const MAX_SHARDS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_that_the_process_may_not_use_is_named() {
        check_cpus(&[1, 0, 1], &[0, 1]).unwrap();
        let error = check_cpus(&[1, 99], &[0, 1]).unwrap_err().to_string();
        assert_eq!(error, "CPU 99 is none that this process may use: 0, 1");
    }
}
