//! Endpoints: an application's sockets, at an address, on all cores.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::Arc;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle as SignalsHandle, Signals};

use crate::address::Address;
use crate::channel::{Channel, Rejection};
use crate::config::Limits;
use crate::error::Error;
use crate::io::{self, Config, kernel, listener};
use crate::params::from_params;
use crate::payload::{IntoPayload, PayloadError};
use crate::protocol::http::Params;
use crate::pubsub::{Broadcast, BroadcastError};
use crate::shard::counters::ShardCounts;
use crate::shard::mount::{
    Blueprint, Connect, ConnectFailure, Connected, Handler, Pattern, RouteHandler,
};
use crate::shard::process::{self, GlobalProcessId, RouteShared};
use crate::shard::start::{self, Plan, Shards};
use crate::shard::{self, Local, Shared};
use crate::socket::{ConnectInfo, Request, SocketHandler};

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
            routes: Vec::new(),
            address: "127.0.0.1:4000".to_owned(),
            shards: None,
            cpus: None,
            reuse_port: false,
            port_per_shard: false,
            limits: Limits::default(),
            wrong: None,
        }
    }
}

/// What an endpoint is to be. Mistakes are told when it is started.
#[must_use = "nothing listens before `run` or `start`"]
pub struct Builder<A> {
    app: Arc<A>,
    mounts: Vec<Arc<dyn Blueprint>>,
    routes: Vec<Route>,
    address: String,
    shards: Option<usize>,
    cpus: Option<Vec<usize>>,
    reuse_port: bool,
    port_per_shard: bool,
    limits: Limits,
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
        let mount = mount(NewMount(PhantomData));
        if let Some(wrong) = mount.wrong {
            self.wrong.get_or_insert(format!("mount {path}: {wrong}"));
        }
        if mount.routes.len() > usize::from(u8::MAX) || self.mounts.len() >= usize::from(u8::MAX) {
            self.wrong.get_or_insert(format!("mount {path}: more than 255 mounts or routes"));
        }
        self.mounts.push(Arc::new(MountBlueprint::<S> {
            path: segments(path),
            websocket_path: mount.websocket_path,
            max_topics: mount.max_topics,
            app: self.app.clone(),
            routes: mount.routes,
        }));
        self
    }

    /// Answers GET (and HEAD) at exactly this path. Handlers run on a shard and must not block.
    pub fn get(
        mut self,
        path: &str,
        handle: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Self {
        self.routes.push(Route { path: segments(path), handle: Arc::new(handle) });
        self
    }

    /// Where to listen: an address and port, or a host name and port. Port 0 is any that is free.
    /// Default `127.0.0.1:4000`.
    pub fn listen(mut self, address: impl fmt::Display) -> Self {
        self.address = address.to_string();
        self
    }

    /// How many shards to run. Default: one for each physical core that this process may use.
    pub fn shards(mut self, shards: usize) -> Self {
        if shards == 0 || shards > MAX_SHARDS {
            self.wrong.get_or_insert(format!("{shards} shards: it must be 1 to {MAX_SHARDS}"));
        }
        self.shards = Some(shards);
        self
    }

    /// Which CPUs the shards run on, one after the other. Default: the first of each physical core.
    pub fn cpus(mut self, cpus: impl Into<Vec<usize>>) -> Self {
        self.cpus = Some(cpus.into());
        self
    }

    /// Lets other processes listen at the same address and take their share of the clients, for
    /// a restart without a gap. Default false: a second server is told that the address is taken.
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

    /// What the shards are built from, for those that the simulation runs by itself.
    #[cfg(test)]
    pub(crate) fn into_blueprint(self) -> (Vec<Arc<dyn Blueprint>>, Arc<[Route]>, Limits) {
        (self.mounts, self.routes.into(), self.limits)
    }

    /// Starts the endpoint and returns when it has ended: by SIGINT (Ctrl-C) or SIGTERM, or by
    /// [`Handle::shutdown`].
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
        let abilities = kernel::check(&kernel::Kernel::probe()).map_err(unfit)?;
        let cpus = self.cpus.filter(|cpus| !cpus.is_empty());
        let cpus = match (cpus, self.shards) {
            (None, shards) => io::cpu::for_shards(shards),
            (Some(cpus), shards) => {
                let shards = shards.unwrap_or(cpus.len());
                cpus.into_iter().cycle().take(shards).collect()
            }
        };
        let shards = cpus.len();
        abilities.suffice_for(shards).map_err(unfit)?;
        let address = resolve(&self.address)?;
        let options = listener::Options { reuse_port: self.reuse_port, ..Default::default() };
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
        let running = start::start(Plan {
            mounts: self.mounts,
            routes: self.routes.into(),
            limits: self.limits,
            listeners,
            cpus: cpus.iter().copied().map(Some).collect(),
            config: Config::for_kernel(&abilities),
        })?;
        tracing::debug!(address = %addresses[0], shards, ?cpus, "started");
        Ok(Running { shards: running, addresses, cpus })
    }
}

impl<A> fmt::Debug for Builder<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A mount whose handler is still to be named.
#[derive(Debug)]
pub struct NewMount<A>(PhantomData<fn() -> A>);

impl<A> NewMount<A> {
    /// Names the socket handler.
    #[allow(clippy::unused_self, reason = "it is a step of the builder")]
    pub fn handler<S: SocketHandler<App = A>>(self) -> Mount<S> {
        Mount {
            websocket_path: segments("websocket"),
            routes: Vec::new(),
            max_topics: None,
            wrong: None,
        }
    }
}

/// A socket handler with its routes.
pub struct Mount<S: SocketHandler> {
    websocket_path: Vec<String>,
    routes: Vec<(Pattern, MakeRoute<S>)>,
    max_topics: Option<usize>,
    wrong: Option<String>,
}

type MakeRoute<S> =
    Arc<dyn Fn(&Rc<Local>, &Arc<<S as SocketHandler>::App>) -> Box<dyn RouteHandler> + Send + Sync>;

impl<S: SocketHandler> Mount<S> {
    /// Routes topics to a channel: those that begin with what stands before a final `*`, or exactly
    /// this one. The first route that matches wins; at most 255.
    #[must_use]
    pub fn channel<C: Channel<Socket = S>>(self, pattern: &str) -> Self {
        self.route::<C>(pattern, None)
    }

    /// Like [`channel`](Self::channel), with a value for the channel to see
    /// ([`route_value`](crate::Context::route_value)).
    #[must_use]
    pub fn channel_with<C: Channel<Socket = S>>(
        self,
        pattern: &str,
        value: impl Any + Send + Sync,
    ) -> Self {
        self.route::<C>(pattern, Some(Arc::new(value)))
    }

    /// Where behind the mount's path WebSockets are taken. Default `websocket`, where stock clients
    /// look. It may be several segments, and have variables as the mount's path has.
    #[must_use]
    pub fn websocket_path(mut self, path: &str) -> Self {
        self.websocket_path = segments(path);
        self
    }

    /// How many topics a socket may have joined at once. Default: the endpoint's
    /// [`max_topics`](Limits::max_topics).
    #[must_use]
    pub fn max_topics(mut self, max_topics: usize) -> Self {
        self.max_topics = Some(max_topics);
        self
    }

    fn route<C: Channel<Socket = S>>(
        mut self,
        pattern: &str,
        value: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Self {
        let Some(parsed) = Pattern::parse(pattern) else {
            self.wrong.get_or_insert(format!(
                "channel \"{pattern}\": a star may stand only at the end of a topic pattern"
            ));
            return self;
        };
        let make: MakeRoute<S> = Arc::new(move |local, app| {
            process::route::<C>(RouteShared {
                local: local.clone(),
                app: app.clone(),
                value: value.clone(),
            })
        });
        self.routes.push((parsed, make));
        self
    }
}

impl<S: SocketHandler> fmt::Debug for Mount<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount").field("routes", &self.routes.len()).finish_non_exhaustive()
    }
}

struct MountBlueprint<S: SocketHandler> {
    path: Vec<String>,
    websocket_path: Vec<String>,
    max_topics: Option<usize>,
    app: Arc<S::App>,
    routes: Vec<(Pattern, MakeRoute<S>)>,
}

impl<S: SocketHandler> Blueprint for MountBlueprint<S> {
    fn build(&self, local: &Rc<Local>) -> shard::mount::Mount {
        let routes = self.routes.iter();
        shard::mount::Mount {
            path: self.path.clone(),
            websocket_path: self.websocket_path.clone(),
            max_topics: self.max_topics.unwrap_or(local.core.borrow().limits.max_topics),
            handler: Box::new(TypedHandler::<S> { app: self.app.clone() }),
            routes: routes
                .map(|(pattern, make)| (pattern.clone(), make(local, &self.app)))
                .collect(),
        }
    }
}

struct TypedHandler<S: SocketHandler> {
    app: Arc<S::App>,
}

impl<S: SocketHandler> Handler for TypedHandler<S> {
    fn connect(&self, params: Params, request: Request) -> Connect {
        let info = ConnectInfo { app: self.app.clone(), request };
        Box::pin(async move {
            let params = from_params(&params).map_err(ConnectFailure::Params)?;
            let socket = S::connect(params, &info).await.map_err(|rejection| match rejection {
                Rejection::Refused(refused) => ConnectFailure::Refused(refused),
                Rejection::Crash(crash) => ConnectFailure::Crash(crash.to_string()),
            })?;
            Ok(Connected { id: socket.id(), socket: Rc::new(socket) })
        })
    }

    fn name(&self) -> &'static str {
        std::any::type_name::<S>()
    }
}

/// A plain route.
pub(crate) struct Route {
    pub(crate) path: Vec<String>,
    pub(crate) handle: Arc<dyn Fn(&Request) -> Response + Send + Sync>,
}

/// An HTTP answer of a plain route.
///
/// ```
/// use simurgh::Response;
///
/// let page = Response::html("<h1>hello</h1>");
/// let gone = Response::new(410).header("x-reason", "moved out").text("nobody here");
/// ```
#[derive(Debug, Clone)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// An answer with a status and no body.
    ///
    /// # Panics
    ///
    /// When `status` is not 200 to 599.
    pub fn new(status: u16) -> Self {
        assert!((200..600).contains(&status), "a response's status is 200 to 599, not {status}");
        Self { status, content_type: None, headers: Vec::new(), body: Vec::new() }
    }

    /// Status 200 and a page.
    pub fn html(page: impl Into<String>) -> Self {
        Self::new(200).body("text/html; charset=utf-8", page.into())
    }

    /// Gives it a text for its body.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.body("text/plain; charset=utf-8", text.into())
    }

    /// Gives it a body of any type.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.content_type = Some(content_type.to_owned());
        self.body = body.into();
        self
    }

    /// Adds a header.
    ///
    /// # Panics
    ///
    /// When name or value have characters that would end the header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let is_safe = |text: &str| !text.contains(['\r', '\n', '\0']);
        assert!(
            is_safe(name) && is_safe(value) && !name.contains(':'),
            "header {name:?}: {value:?}"
        );
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// An endpoint that runs. Dropped, it shuts down as by [`Handle::shutdown`], and the drop returns
/// when it has ended.
#[must_use = "the endpoint ends when this is dropped"]
pub struct Running {
    shards: Shards,
    addresses: Vec<SocketAddr>,
    cpus: Vec<usize>,
}

impl Running {
    /// The address that clients connect to, with the real port if 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// The address of each shard. They differ only with a port per shard.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The CPU that each shard runs on.
    pub fn cpus(&self) -> &[usize] {
        &self.cpus
    }

    /// A handle for any thread.
    pub fn handle(&self) -> Handle {
        Handle::new(self.shards.shared.clone())
    }

    /// Waits until the endpoint has ended.
    ///
    /// # Errors
    ///
    /// When a shard has failed.
    pub fn join(mut self) -> Result<(), Error> {
        self.shards.join()
    }

    /// Waits until the endpoint has ended, which SIGINT and SIGTERM make it do.
    ///
    /// # Errors
    ///
    /// When signals can't be handled, or a shard has failed.
    pub fn run(self) -> Result<(), Error> {
        let signals = SignalThread::start(self.handle())?;
        let result = self.join();
        signals.stop();
        result
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shards.shared.stop();
        let _ = self.shards.join();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Shuts the endpoint down on SIGINT and SIGTERM; a second one ends the process at once.
struct SignalThread {
    handle: SignalsHandle,
    thread: std::thread::JoinHandle<()>,
}

impl SignalThread {
    fn start(endpoint: Handle) -> Result<Self, Error> {
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Error::Signals)?;
        let handle = signals.handle();
        let thread = std::thread::Builder::new()
            .name("simurgh-signals".to_owned())
            .spawn(move || {
                let mut asked = false;
                for signal in signals.forever() {
                    if asked {
                        let _ = signal_hook::low_level::emulate_default_handler(signal);
                    }
                    asked = true;
                    tracing::info!("shutting down");
                    endpoint.shutdown();
                }
            })
            .map_err(Error::Signals)?;
        Ok(Self { handle, thread })
    }

    fn stop(self) {
        self.handle.close();
        let _ = self.thread.join();
    }
}

/// Reaches a running endpoint from any thread: an HTTP handler's, a consumer's of a queue, a
/// channel's own. Nothing here waits; what finds a queue full is an error.
///
/// # Example
///
/// ```
/// use serde_json::json;
///
/// let running = simurgh::demo::endpoint().listen("127.0.0.1:0").start()?;
/// let handle = running.handle();
/// let clock = std::thread::spawn(move || {
///     handle.broadcast("room:lobby", "new_msg", json!({ "name": "clock", "body": "noon" }))
/// });
/// clock.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Sends an event to every subscriber of a topic.
    ///
    /// Used on a shard's own thread (in a callback) it takes the shard's own path, so that it keeps
    /// its place among that callback's pushes and broadcasts.
    ///
    /// # Errors
    ///
    /// When the payload can't be made into JSON, or is neither an object nor binary; and
    /// [`Overloaded`](BroadcastError::Overloaded) when a shard's queue is full.
    pub fn broadcast(
        &self,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<(), HandleError> {
        self.broadcast_as(topic, event, payload, None)
    }

    /// Like [`broadcast`](Self::broadcast), but not to the channel with this address.
    ///
    /// # Errors
    ///
    /// As for [`broadcast`](Self::broadcast).
    pub fn broadcast_from<C: Channel>(
        &self,
        from: &Address<C>,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<(), HandleError> {
        let shard = from.remote.shard as u32;
        let from = GlobalProcessId { shard, process: from.process };
        self.broadcast_as(topic, event, payload, Some(from))
    }

    /// Closes all sockets with this id, on all shards; their clients reconnect.
    ///
    /// # Errors
    ///
    /// [`Overloaded`](BroadcastError::Overloaded) when a shard's queue is full.
    pub fn disconnect(&self, id: &str) -> Result<(), HandleError> {
        self.broadcast(id, "disconnect", ())
    }

    /// Closes all sockets (code 1012, service restart), lets their channels terminate, and ends.
    /// Returns at once; [`Running::join`] waits for it. What does not end by itself is dropped after
    /// [`terminate_timeout`](Limits::terminate_timeout) and
    /// [`close_timeout`](Limits::close_timeout).
    pub fn shutdown(&self) {
        self.shared.stop();
    }

    /// What each shard has counted.
    pub fn counts(&self) -> Vec<ShardCounts> {
        self.shared.counters.iter().map(|counters| counters.load()).collect()
    }

    fn broadcast_as(
        &self,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
        from: Option<GlobalProcessId>,
    ) -> Result<(), HandleError> {
        let broadcast = Broadcast::new(topic, event, payload.into_payload()?, from);
        broadcast.check()?;
        if let Some(local) = shard::current()
            && Arc::ptr_eq(&local.shared, &self.shared)
            && let Ok(mut core) = local.core.try_borrow_mut()
        {
            return Ok(core.broadcast(&broadcast)?);
        }
        let mut missed = 0;
        for remote in self.interested(topic) {
            if !remote.broadcast(&broadcast) {
                missed += 1;
            }
        }
        if missed == 0 { Ok(()) } else { Err(BroadcastError::Overloaded { shards: missed }.into()) }
    }

    fn interested(&self, topic: &str) -> impl Iterator<Item = &Arc<shard::remote::Remote>> {
        let interest = &self.shared.interest;
        let only = (!interest.is_shared()).then_some(0);
        let slot = interest.slot(topic);
        let others = interest.is_shared().then(|| interest.shards(slot)).into_iter().flatten();
        only.into_iter().chain(others).map(|shard| &self.shared.remotes[shard])
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("shards", &self.shared.remotes.len()).finish_non_exhaustive()
    }
}

/// Why something was not sent by a [`Handle`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandleError {
    /// The payload can't be made into JSON.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The broadcast did not reach everyone.
    #[error(transparent)]
    Broadcast(#[from] BroadcastError),
}

fn segments(path: &str) -> Vec<String> {
    path.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
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
