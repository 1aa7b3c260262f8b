//! Requests: what a client asked for, as the application sees it.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;

use crate::protocol::http::{self, Params};

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

    /// The query's parameters, decoded as Phoenix does it: `a[]=1` is a list, `a[k]=1` a map. `None`
    /// for a query that is not UTF-8.
    pub fn query_params(&self) -> Option<Params> {
        http::decode_query(self.query()).ok()
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
