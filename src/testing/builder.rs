use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::client::Request;
use tungstenite::http::{self, HeaderName, HeaderValue, Response, Uri};

use super::client::Client;
use super::error::ConnectError;
use super::message::Version;

/// What a client is to connect with; made by [`Client::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `connect`"]
pub struct Builder {
    addr: SocketAddr,
    path: String,
    version: Version,
    vsn: Option<String>,
    params: Vec<(String, String)>,
    query: Option<String>,
    headers: Vec<(String, String)>,
    timeout: Duration,
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

    /// Connects.
    ///
    /// # Errors
    ///
    /// When the server can't be reached, refuses ([`ConnectError::Refused`]), doesn't answer, or
    /// answers with no proper handshake; when the path or a header isn't one.
    pub fn connect(self) -> Result<Client, ConnectError> {
        let io = |source| ConnectError::Io { addr: self.addr, source };
        let request = self.request().map_err(|error| ConnectError::Handshake(Box::new(error)))?;
        let stream = TcpStream::connect_timeout(&self.addr, self.timeout).map_err(io)?;
        stream.set_nodelay(true).map_err(io)?;
        stream.set_read_timeout(Some(self.timeout)).map_err(io)?;
        stream.set_write_timeout(Some(self.timeout)).map_err(io)?;
        // A refusal's body may still be on its way when the handshake gives the stream up.
        let body = stream.try_clone().map_err(io)?;

        let (websocket, response) = match tungstenite::client(request, stream) {
            Ok(connected) => connected,
            Err(HandshakeError::Interrupted(_)) => {
                return Err(ConnectError::TimedOut(self.timeout));
            }
            Err(HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                return Err(refused(&response, body).map_err(io)?);
            }
            Err(HandshakeError::Failure(tungstenite::Error::Io(error))) => return Err(io(error)),
            Err(HandshakeError::Failure(error)) => {
                return Err(ConnectError::Handshake(Box::new(error)));
            }
        };
        Ok(Client::new(websocket, self.version, self.timeout, header_pairs(&response)))
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

/// A refusal with the whole of its body, of which the handshake has read a part.
fn refused(response: &Response<Option<Vec<u8>>>, mut rest: TcpStream) -> io::Result<ConnectError> {
    let mut body = response.body().clone().unwrap_or_default();
    let length = response.headers().get("content-length");
    let length: Option<usize> = length.and_then(|value| value.to_str().ok()?.parse().ok());
    // Without a length the body ends with the connection.
    let missing = length.unwrap_or(MAX_BODY).min(MAX_BODY).saturating_sub(body.len());
    Read::by_ref(&mut rest).take(missing as u64).read_to_end(&mut body)?;
    Ok(ConnectError::Refused {
        status: response.status().as_u16(),
        body: String::from_utf8_lossy(&body).into_owned(),
        headers: header_pairs(response),
    })
}

fn header_pairs<T>(response: &Response<T>) -> Vec<(String, String)> {
    let lossy = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    response.headers().iter().map(|(name, value)| (name.to_string(), lossy(value))).collect()
}

fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// Bytes of a refusal's body that are read: no refusal is near it.
const MAX_BODY: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::io::{BufRead, Write};

    use super::*;
    use crate::testing::stand_in::serve_raw;

    /// What the builder sends, its lines in order, to a server that then hangs up.
    fn request_of(builder: impl FnOnce(SocketAddr) -> Builder) -> Vec<String> {
        let (lines, sent) = std::sync::mpsc::channel();
        let (addr, server) = serve_raw(move |stream| {
            let head = io::BufReader::new(stream).lines().map(Result::unwrap);
            head.take_while(|line| !line.is_empty()).for_each(|line| lines.send(line).unwrap());
        });
        builder(addr).connect().unwrap_err();
        server.join().unwrap();
        sent.iter().collect()
    }

    #[test]
    fn the_request_has_the_params_and_headers_it_was_given() {
        let request = request_of(|addr| {
            let builder = Client::builder(addr, "/socket").version(Version::V1);
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
        let request = request_of(|addr| Client::builder(addr, "/").path("/socket").query("a=%zz&"));
        assert_eq!(request[0], "GET /socket?a=%zz& HTTP/1.1");
    }

    #[test]
    fn a_refusal_has_its_whole_body_where_the_handshake_read_a_part() {
        let body = "slow down ".repeat(10_000);
        let head =
            format!("HTTP/1.1 429 No\r\nContent-Length: {}\r\nX-Retry: 7\r\n\r\n", body.len());
        let sent = head + &body;
        let (addr, server) = serve_raw(move |mut stream| {
            stream.write_all(sent.as_bytes()).unwrap();
            // Ends when the client has hung up.
            io::copy(&mut stream, &mut io::sink()).unwrap();
        });
        let error = Client::connect(addr, "/socket").unwrap_err();
        let ConnectError::Refused { status, body: read, headers } = error else {
            panic!("{error}")
        };
        assert_eq!(status, 429);
        assert!(read == body, "{} of {} bytes", read.len(), body.len());
        assert!(headers.contains(&("x-retry".into(), "7".into())), "{headers:?}");
        server.join().unwrap();
    }
}
