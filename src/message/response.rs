//! Plain routes: what stands beside the sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use super::request::Request;
use crate::stream::Stream;

/// A plain route.
pub(crate) struct PlainRoute {
    pub(crate) path: Vec<String>,
    pub(crate) handle: Handle,
}

/// What stands beside the sockets.
#[derive(Default)]
pub(crate) struct Routes {
    pub(crate) plain: Vec<PlainRoute>,
    /// Who has the connections whose requests are for nothing here.
    pub(crate) fallback: Option<Arc<dyn Fallback>>,
}

/// The application's own server.
pub(crate) trait Fallback: Send + Sync {
    /// The endpoint listens here, and so many connections may wait.
    fn begin(&self, _address: SocketAddr, _max_queue: usize) {}

    /// Whether another connection would be taken.
    fn has_room(&self) -> bool {
        true
    }

    /// Takes a connection. Called on a shard's thread, with nothing borrowed.
    fn take(&self, stream: Stream);
}

/// What answers a plain route's requests.
pub(crate) type Handle = Arc<dyn Fn(&Request) -> Response + Send + Sync>;

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

/// A path in segments, empty ones left out.
pub(crate) fn segments(path: &str) -> Vec<String> {
    path.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
}
