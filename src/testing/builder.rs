use std::net::SocketAddr;
use std::time::Duration;

use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Request;
use tungstenite::http::{self, HeaderName, HeaderValue, Uri};

use super::connection::Connection;
use super::error::ConnectError;
use super::handshake;
use super::message::Version;

/// What a client is to connect with; made by [`Client::builder`](super::Client::builder).
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `connect`"]
pub struct Builder {
    addr: SocketAddr,
    path: String,
    pub(super) version: Version,
    vsn: Option<String>,
    params: Vec<(String, String)>,
    query: Option<String>,
    headers: Vec<(String, String)>,
    pub(super) timeout: Duration,
}

impl Builder {
    pub(super) fn new(addr: SocketAddr, mount: &str) -> Self {
        Self {
            addr,
            path: format!("{mount}/websocket"),
            version: Version::V2,
            vsn: None,
            params: Vec::new(),
            query: None,
            headers: Vec::new(),
            timeout: Duration::from_secs(5),
        }
    }

    /// The version to speak and to ask for; [`Version::V2`] unless told otherwise.
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Asks for the version with this text, encoded as it must be, instead of
    /// [`Version::as_vsn`].
    pub fn vsn(mut self, vsn: &str) -> Self {
        self.vsn = Some(vsn.to_owned());
        self
    }

    /// Adds a query parameter, encoded as it must be.
    pub fn param(mut self, name: &str, value: &str) -> Self {
        self.params.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The whole query as it is to be sent, `vsn` and all, instead of what the other settings make.
    pub fn query(mut self, query: &str) -> Self {
        self.query = Some(query.to_owned());
        self
    }

    /// The whole path as it is to be sent, instead of the mount's with `/websocket` behind it.
    pub fn path(mut self, path: &str) -> Self {
        self.path = path.to_owned();
        self
    }

    /// Adds a header. One that belongs to the handshake, like `sec-websocket-version`, replaces
    /// what would have been sent.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// How long each wait lasts, and the handshake's steps; 5 s unless told otherwise, which is
    /// much for a server that answers and little for a test that hangs.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The connection that a client is made over.
    pub(super) fn open(&self) -> Result<Connection, ConnectError> {
        let request = self.request().map_err(|error| ConnectError::Handshake(Box::new(error)))?;
        handshake::open(self.addr, request, self.timeout)
    }

    fn request(&self) -> Result<Request, tungstenite::Error> {
        let query = self.query.clone().unwrap_or_else(|| {
            let vsn = self.vsn.as_deref().unwrap_or(self.version.as_vsn());
            let params = self.params.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let pairs = std::iter::once(("vsn", vsn)).chain(params);
            let pairs: Vec<_> = pairs
                .map(|(n, v)| format!("{}={}", percent_encoded(n), percent_encoded(v)))
                .collect();
            pairs.join("&")
        });
        let uri = format!("ws://{}{}?{query}", self.addr, self.path);
        let mut request = uri.parse::<Uri>()?.into_client_request()?;
        let own: Vec<HeaderName> = request.headers().keys().cloned().collect();
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().map_err(http::Error::from)?;
            let value: HeaderValue = value.parse().map_err(http::Error::from)?;
            if own.contains(&name) {
                request.headers_mut().insert(name, value);
            } else {
                request.headers_mut().append(name, value);
            }
        }
        Ok(request)
    }
}

fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;
    use crate::testing::stand_in::serve_raw;

    /// What the builder sends, its lines in order, to a server that then hangs up.
    fn request_of(builder: impl FnOnce(SocketAddr) -> Builder) -> Vec<String> {
        let (lines, sent) = std::sync::mpsc::channel();
        let (addr, server) = serve_raw(move |stream| {
            let head = BufReader::new(stream).lines().map(Result::unwrap);
            head.take_while(|line| !line.is_empty()).for_each(|line| lines.send(line).unwrap());
        });
        builder(addr).open().unwrap_err();
        server.join().unwrap();
        sent.iter().collect()
    }

    #[test]
    fn the_request_has_the_params_and_headers_it_was_given() {
        let request = request_of(|addr| {
            let builder = Builder::new(addr, "/socket").version(Version::V1);
            builder.param("user id", "7+é").header("x-a", "b").header("host", "example.org")
        });
        let line = "GET /socket/websocket?vsn=1.0.0&user%20id=7%2B%C3%A9 HTTP/1.1";
        assert_eq!(request[0], line);
        for header in ["x-a: b", "Host: example.org"] {
            assert!(request.iter().any(|line| line == header), "{request:?}");
        }
        let hosts = request.iter().filter(|line| line.starts_with("Host:"));
        assert_eq!(hosts.count(), 1);
    }

    #[test]
    fn a_query_and_a_path_of_ones_own_are_sent_as_they_are() {
        let request = request_of(|addr| Builder::new(addr, "/").path("/socket").query("a=%zz&"));
        assert_eq!(request[0], "GET /socket?a=%zz& HTTP/1.1");
    }
}
