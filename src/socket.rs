//! Sockets: what an application writes for a client's connection.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::channel::Rejection;
use crate::payload::{IntoPayload, Payload};
use crate::protocol::http;

/// A client's authenticated connection: the value is what its channels share (Phoenix's assigns).
///
/// # Example
///
/// ```
/// use serde::Deserialize;
/// use simurgh::prelude::*;
///
/// struct User {
///     id: u64,
/// }
///
/// #[derive(Deserialize)]
/// struct Credentials {
///     user_id: u64,
///     secret: String,
/// }
///
/// impl SocketHandler for User {
///     type App = ();
///     type Params = Credentials;
///
///     async fn connect(params: Credentials, _: &ConnectInfo<()>) -> Result<Self, Rejection> {
///         if params.secret != "open sesame" {
///             return Err(Refused::default().into());
///         }
///         Ok(User { id: params.user_id })
///     }
///
///     fn id(&self) -> Option<String> {
///         Some(format!("users:{}", self.id))
///     }
/// }
/// ```
#[allow(async_fn_in_trait, reason = "a socket's futures stay on their shard: no Send wanted")]
pub trait SocketHandler: Sized + 'static {
    /// The application's state, shared by all shards.
    type App: Send + Sync + 'static;
    /// The query parameters (and path variables) of the request. Those that do not decode refuse
    /// the connection with 403 and a line in the log.
    type Params: DeserializeOwned + 'static;

    /// Decides whether the client may connect.
    ///
    /// Runs before the upgrade's own headers are looked at, as in Phoenix. The client's other
    /// bytes wait; other connections do not.
    ///
    /// # Errors
    ///
    /// [`Refused`] is answered with its status and body, 403 unless it says otherwise; any other
    /// error is logged and answered with 500.
    async fn connect(
        params: Self::Params,
        info: &ConnectInfo<Self::App>,
    ) -> Result<Self, Rejection>;

    /// A name for this socket, for [`disconnect`](crate::Handle::disconnect). Several sockets may
    /// have the same. `None`, which is the default, is anonymous.
    fn id(&self) -> Option<String> {
        None
    }
}

/// What is known of a client that connects.
pub struct ConnectInfo<App> {
    pub(crate) app: Arc<App>,
    pub(crate) request: Request,
}

impl<App> ConnectInfo<App> {
    /// The application's own state.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// The request that wants the connection.
    pub fn request(&self) -> &Request {
        &self.request
    }
}

impl<App> std::ops::Deref for ConnectInfo<App> {
    type Target = Request;

    fn deref(&self) -> &Request {
        &self.request
    }
}

impl<App> fmt::Debug for ConnectInfo<App> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectInfo").field("request", &self.request).finish_non_exhaustive()
    }
}

/// An HTTP request: of a client that connects, or for a plain route.
pub struct Request {
    pub(crate) peer: SocketAddr,
    /// The head as it came; the parts below are places in it.
    pub(crate) head: Box<[u8]>,
    pub(crate) method: Range<u32>,
    pub(crate) target: Range<u32>,
    pub(crate) headers: Box<[(Range<u32>, Range<u32>)]>,
}

impl Request {
    /// The client's address and port, as the kernel gave it.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// The method, as `GET`.
    pub fn method(&self) -> &str {
        self.text(&self.method)
    }

    /// What was asked for, as it came: `/socket/websocket?vsn=2.0.0`, or a whole URL.
    pub fn uri(&self) -> &str {
        self.text(&self.target)
    }

    /// The path as it came, not decoded.
    pub fn path(&self) -> &str {
        self.split_target().0
    }

    /// The query as it came, without the `?`; empty when there is none.
    pub fn query(&self) -> &str {
        self.split_target().1
    }

    /// The host that was asked for, from the `Host` header.
    pub fn host(&self) -> Option<&str> {
        self.header("host")
    }

    /// The first header of that name, in any case, if its value is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All headers in their order, those with values that are not UTF-8 left out.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().filter_map(|(name, value)| {
            let value = std::str::from_utf8(&self.head[place(value)]).ok()?;
            Some((self.text(name), value))
        })
    }

    fn split_target(&self) -> (&str, &str) {
        http::split_target(self.uri()).expect("the target was understood when the head was read")
    }

    fn text(&self, range: &Range<u32>) -> &str {
        std::str::from_utf8(&self.head[place(range)]).unwrap_or_default()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither query nor headers: that is where the secrets are.
        f.debug_struct("Request")
            .field("peer", &self.peer)
            .field("method", &self.method())
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

fn place(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// A refusal that the client is told of: of a connection in [`SocketHandler::connect`], of a topic
/// in [`Channel::join`](crate::Channel::join).
///
/// ```
/// use simurgh::{Refused, Json};
///
/// // A join: {"status":"error","response":{"reason":"unauthorized"}}
/// let refused = Refused::reason("unauthorized");
/// // A connection: status 429 and a body
/// let refused = Refused::status(429).body("slow down");
/// ```
#[derive(Debug, Clone)]
pub struct Refused {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) response: Payload,
}

impl Refused {
    /// A join's refusal with `{"reason": reason}`.
    pub fn reason(reason: &str) -> Self {
        Self::with_response(serde_json::json!({ "reason": reason }))
    }

    /// A join's refusal with a response of its own; one that can't be made into JSON is `{}`.
    pub fn with_response(response: impl IntoPayload) -> Self {
        let response = response.into_payload().unwrap_or_else(|error| {
            tracing::error!(%error, "the response of a refusal can't be encoded");
            Payload::empty()
        });
        Self { response, ..Self::default() }
    }

    /// A connection's refusal with a status of its own, 400 to 599.
    ///
    /// # Panics
    ///
    /// When `status` is none of these: a refusal can't look like a success.
    pub fn status(status: u16) -> Self {
        assert!((400..600).contains(&status), "a refusal's status is 400 to 599, not {status}");
        Self { status, ..Self::default() }
    }

    /// The text that is sent with the status.
    #[must_use]
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }
}

impl Default for Refused {
    /// Status 403 without a body; for a join, the response `{}`.
    fn default() -> Self {
        Self { status: 403, body: String::new(), response: Payload::empty() }
    }
}
