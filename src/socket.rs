//! Sockets: what an application writes for a client's connection.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::message::{Rejection, Request, TransportName};
use crate::protocol::http::Params;

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
///             return Err(Rejection::status(403));
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
    /// A [`Rejection`] is answered with its status, and a body and headers if it has any; any other
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
    pub(crate) params: Params,
}

impl<App> ConnectInfo<App> {
    /// The application's own state.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// What the client's messages are to be carried by.
    pub fn transport(&self) -> TransportName {
        TransportName::WebSocket
    }

    /// The query parameters and path variables as they came, for what
    /// [`Params`](SocketHandler::Params) leaves out.
    pub fn params(&self) -> &Params {
        &self.params
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
