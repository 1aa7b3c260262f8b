//! How a connection is come by: a request, and the server's answer to it.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::client::Request;
use tungstenite::http::{HeaderValue, Response};

use super::connection::Connection;
use super::error::ConnectError;

/// Connects to a server and asks it to upgrade; each step may last so long.
pub(super) fn open(
    addr: SocketAddr,
    request: Request,
    timeout: Duration,
) -> Result<Connection, ConnectError> {
    let io = |source| ConnectError::Io { addr, source };
    let stream = TcpStream::connect_timeout(&addr, timeout).map_err(io)?;
    stream.set_nodelay(true).map_err(io)?;
    stream.set_read_timeout(Some(timeout)).map_err(io)?;
    stream.set_write_timeout(Some(timeout)).map_err(io)?;
    // A refusal's body may still be on its way when the handshake gives the stream up.
    let body = stream.try_clone().map_err(io)?;

    match tungstenite::client(request, stream) {
        Ok((websocket, response)) => Ok(Connection::new(websocket, header_pairs(&response))),
        Err(HandshakeError::Interrupted(_)) => Err(ConnectError::TimedOut(timeout)),
        Err(HandshakeError::Failure(tungstenite::Error::Http(response))) => {
            Err(refused(&response, body).map_err(io)?)
        }
        Err(HandshakeError::Failure(tungstenite::Error::Io(error))) => Err(io(error)),
        Err(HandshakeError::Failure(error)) => Err(ConnectError::Handshake(Box::new(error))),
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

/// Bytes of a refusal's body that are read: no refusal is near it.
const MAX_BODY: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use socket2::{Domain, Socket, Type};
    use tungstenite::client::IntoClientRequest;

    use super::*;
    use crate::testing::stand_in::serve_raw;

    /// What comes of a server that says this and hangs up when the client has.
    fn answered(with: impl Into<Vec<u8>>, timeout: Duration) -> Result<Connection, ConnectError> {
        let with = with.into();
        let (addr, server) = serve_raw(move |mut stream| {
            stream.write_all(&with).unwrap();
            io::copy(&mut stream, &mut io::sink()).unwrap();
        });
        let request = format!("ws://{addr}/").into_client_request().unwrap();
        let opened = open(addr, request, timeout);
        server.join().unwrap();
        opened
    }

    #[test]
    fn a_refusal_has_its_whole_body_where_the_handshake_read_a_part() {
        let body = "slow down ".repeat(10_000);
        let head =
            format!("HTTP/1.1 429 No\r\nContent-Length: {}\r\nX-Retry: 7\r\n\r\n", body.len());
        let error = answered(head + &body, LONG).unwrap_err();
        let ConnectError::Refused { status, body: read, headers } = error else {
            panic!("{error}")
        };
        assert_eq!(status, 429);
        assert!(read == body, "{} of {} bytes", read.len(), body.len());
        assert!(headers.contains(&("x-retry".into(), "7".into())), "{headers:?}");
    }

    #[test]
    fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
        let error = answered("", Duration::from_millis(1)).unwrap_err();
        assert!(matches!(error, ConnectError::TimedOut(_)), "{error}");
    }

    #[test]
    fn an_upgrade_to_another_key_is_no_handshake() {
        let accept = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        let head = format!(
            "HTTP/1.1 101 Ok\r\nconnection: upgrade\r\nupgrade: websocket\r\n{accept}\r\n\r\n"
        );
        let error = answered(head, LONG).unwrap_err();
        assert!(matches!(error, ConnectError::Handshake(_)), "{error}");
    }

    #[test]
    fn a_port_where_nobody_listens_is_told_with_its_address() {
        // Bound, so that nobody else has it, and not listening.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        let request = format!("ws://{addr}/").into_client_request().unwrap();
        let error = open(addr, request, LONG).unwrap_err();
        assert!(matches!(error, ConnectError::Io { addr: tried, .. } if tried == addr), "{error}");
    }

    const LONG: Duration = Duration::from_secs(5);
}
