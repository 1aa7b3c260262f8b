//! Mounts: a socket handler at a path, and the channels that its topics lead to.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::callbacks;
use crate::channel::{Channel, RouteShared};
use crate::config::Limits;
use crate::message::{Rejected, Request, from_params, segments};
use crate::protocol::http::Params;
use crate::shard::channels::{
    Connect, ConnectFailure, Connected, Handler, Mount as ShardMount, Pattern, RouteHandler,
    SocketValue,
};
use crate::shard::links::MountNames;
use crate::shard::{Blueprint, Desk};
use crate::socket::{ConnectInfo, SocketHandler};

/// A mount whose handler is still to be named.
#[derive(Debug)]
pub struct NewMount<A>(PhantomData<fn() -> A>);

impl<A> NewMount<A> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }

    /// Names the socket handler.
    #[allow(clippy::unused_self, reason = "it is a step of the builder")]
    pub fn handler<S: SocketHandler<App = A>>(self) -> Mount<S> {
        Mount {
            websocket_path: segments("websocket"),
            routes: Vec::new(),
            own: OwnLimits::default(),
            wrong: None,
        }
    }
}

/// A socket handler with its routes.
pub struct Mount<S: SocketHandler> {
    websocket_path: Vec<String>,
    routes: Vec<Route<S>>,
    own: OwnLimits,
    wrong: Option<String>,
}

struct Route<S: SocketHandler> {
    pattern: Pattern,
    /// What the channel's type is called.
    name: &'static str,
    make: MakeRoute<S>,
}

/// What a mount sets for itself; the rest is the endpoint's.
#[derive(Default, Clone, Copy)]
struct OwnLimits {
    max_topics: Option<usize>,
    idle_timeout: Option<Duration>,
    max_frame_size: Option<usize>,
    max_message_size: Option<usize>,
    max_json_depth: Option<usize>,
}

type MakeRoute<S> =
    Arc<dyn Fn(&Desk, &Arc<<S as SocketHandler>::App>) -> Box<dyn RouteHandler> + Send + Sync>;

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

    /// How many topics a socket may have joined at once: Phoenix's `max_channels_per_transport`.
    /// Default: the endpoint's [`max_topics`](crate::Limits::max_topics).
    #[must_use]
    pub fn max_topics(mut self, max_topics: usize) -> Self {
        self.own.max_topics = Some(max_topics);
        self
    }

    /// Time without a byte received, after which a socket is closed: Phoenix's `timeout`. Default: the
    /// endpoint's [`idle_timeout`](crate::Limits::idle_timeout).
    #[must_use]
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.own.idle_timeout = Some(idle_timeout);
        self
    }

    /// Bytes of payload in one WebSocket frame; Phoenix has it by this name. Default: the endpoint's
    /// [`max_frame_size`](crate::Limits::max_frame_size).
    #[must_use]
    pub fn max_frame_size(mut self, max_frame_size: usize) -> Self {
        self.own.max_frame_size = Some(max_frame_size);
        self
    }

    /// Bytes of payload in one message, all its frames together. Default: the endpoint's
    /// [`max_message_size`](crate::Limits::max_message_size).
    #[must_use]
    pub fn max_message_size(mut self, max_message_size: usize) -> Self {
        self.own.max_message_size = Some(max_message_size);
        self
    }

    /// Nested arrays and objects in a payload. Default: the endpoint's
    /// [`max_json_depth`](crate::Limits::max_json_depth).
    #[must_use]
    pub fn max_json_depth(mut self, max_json_depth: usize) -> Self {
        self.own.max_json_depth = Some(max_json_depth);
        self
    }

    /// What shards are to build, or what is wrong with it.
    pub(crate) fn blueprint(
        self,
        path: &str,
        app: Arc<S::App>,
    ) -> Result<Arc<dyn Blueprint>, String> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        if self.routes.len() > usize::from(u8::MAX) {
            return Err("more than 255 routes".to_owned());
        }
        Ok(Arc::new(MountBlueprint::<S> {
            path: segments(path),
            websocket_path: self.websocket_path,
            own: self.own,
            app,
            routes: self.routes,
        }))
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
        let make: MakeRoute<S> = Arc::new(move |desk, app| {
            callbacks::route::<C>(RouteShared {
                desk: desk.clone(),
                app: app.clone(),
                value: value.clone(),
            })
        });
        self.routes.push(Route { pattern: parsed, name: std::any::type_name::<C>(), make });
        self
    }
}

impl<S: SocketHandler> fmt::Debug for Mount<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount").field("routes", &self.routes.len()).finish_non_exhaustive()
    }
}

/// What each shard builds its own mount from.
struct MountBlueprint<S: SocketHandler> {
    path: Vec<String>,
    websocket_path: Vec<String>,
    own: OwnLimits,
    app: Arc<S::App>,
    routes: Vec<Route<S>>,
}

impl<S: SocketHandler> Blueprint for MountBlueprint<S> {
    fn limits(&self, endpoint: &Limits) -> Limits {
        let OwnLimits {
            max_topics,
            idle_timeout,
            max_frame_size,
            max_message_size,
            max_json_depth,
        } = self.own;
        Limits {
            max_topics: max_topics.unwrap_or(endpoint.max_topics),
            idle_timeout: idle_timeout.unwrap_or(endpoint.idle_timeout),
            max_frame_size: max_frame_size.unwrap_or(endpoint.max_frame_size),
            max_message_size: max_message_size.unwrap_or(endpoint.max_message_size),
            max_json_depth: max_json_depth.unwrap_or(endpoint.max_json_depth),
            ..endpoint.clone()
        }
    }

    fn build(&self, desk: &Desk, limits: &Limits) -> ShardMount {
        let routes = self.routes.iter();
        ShardMount {
            path: self.path.clone(),
            websocket_path: self.websocket_path.clone(),
            max_topics: limits.max_topics,
            handler: Box::new(TypedHandler::<S> { app: self.app.clone() }),
            routes: routes
                .map(|route| (route.pattern.clone(), (route.make)(desk, &self.app)))
                .collect(),
        }
    }

    fn names(&self) -> MountNames {
        MountNames {
            handler: std::any::type_name::<S>(),
            channels: self.routes.iter().map(|route| route.name).collect(),
        }
    }
}

struct TypedHandler<S: SocketHandler> {
    app: Arc<S::App>,
}

impl<S: SocketHandler> Handler for TypedHandler<S> {
    fn connect(&self, params: Params, request: Request) -> Connect {
        let info = ConnectInfo { app: self.app.clone(), request, params };
        Box::pin(async move {
            let params = from_params(&info.params).map_err(ConnectFailure::Params)?;
            let socket =
                S::connect(params, &info).await.map_err(|rejection| match rejection.0 {
                    Rejected::Refused(response) => ConnectFailure::Refused(response),
                    Rejected::Crash(crash) => ConnectFailure::Crash(crash.to_string()),
                })?;
            let peer = info.request.peer;
            Ok(Connected { id: socket.id(), socket: Rc::new(SocketValue::new(peer, socket)) })
        })
    }

    fn name(&self) -> &'static str {
        std::any::type_name::<S>()
    }
}
