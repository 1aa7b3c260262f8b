//! One client of the load: a socket, and where it stands.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Protocol, Socket, Type};

use super::frame::{CLOSE, Frame, FrameReader};
use super::report::Errors;
use super::script::Expected;

/// A connection of the load.
pub(crate) struct Client {
    /// Absent once the connection is over.
    socket: Option<Socket>,
    stage: Stage,
    reader: FrameReader,
    /// Index of the script it follows.
    pub(crate) topic: u32,
    /// Frames still to come for what was sent.
    pub(crate) owed: u32,
    /// When the frames now owed were asked for.
    pub(crate) asked: Instant,
    /// Frames that have come of those it was owed, since its run began.
    pub(crate) answered: u64,
    /// The server has answered our Close.
    answered_close: bool,
}

/// How a client's end of a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parting {
    /// By a reset: thousands of connections a round would otherwise fill the port range with ones
    /// that wait to be forgotten.
    Reset,
    /// As TCP has it.
    Graceful,
}

enum Stage {
    /// The TCP handshake is under way.
    Connecting,
    /// The upgrade was asked for; what has come of the response.
    Upgrading(Vec<u8>),
    /// Frames go both ways.
    Open,
}

impl Client {
    /// Begins to connect; [`proceed`](Self::proceed) goes on when the socket is ready.
    pub(crate) fn connect(
        source: Ipv4Addr,
        server: SocketAddr,
        parting: Parting,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        if parting == Parting::Reset {
            socket.set_linger(Some(Duration::ZERO))?;
        }
        if source != Ipv4Addr::LOCALHOST {
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&server.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        Ok(Self {
            socket: Some(socket),
            stage: Stage::Connecting,
            reader: FrameReader::default(),
            topic: 0,
            owed: 0,
            asked: Instant::now(),
            answered: 0,
            answered_close: false,
        })
    }

    pub(crate) fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }

    /// Goes on with connecting, the socket being ready. `true` when frames can go both ways.
    ///
    /// # Errors
    ///
    /// The connection was refused, or what the server said instead of 101.
    pub(crate) fn proceed(&mut self, request: &[u8], buffer: &mut [u8]) -> io::Result<bool> {
        let Some(socket) = &self.socket else { return Ok(false) };
        match &mut self.stage {
            Stage::Connecting => {
                if let Some(error) = socket.take_error()? {
                    return Err(error);
                }
                // A new socket takes more than any request at once.
                if socket.send(request)? < request.len() {
                    return Err(io::Error::other("the upgrade request was not taken whole"));
                }
                self.stage = Stage::Upgrading(Vec::new());
                Ok(false)
            }
            Stage::Upgrading(response) => {
                let received = match rustix::net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT) {
                    Ok((received, _)) => received,
                    Err(rustix::io::Errno::AGAIN) => return Ok(false),
                    Err(error) => return Err(error.into()),
                };
                response.extend_from_slice(&buffer[..received]);
                match upgraded(response) {
                    Some(true) => {
                        self.stage = Stage::Open;
                        Ok(true)
                    }
                    None if received > 0 && response.len() < MAX_RESPONSE => Ok(false),
                    _ => Err(io::Error::other(format!("answered by {}", first_line(response)))),
                }
            }
            Stage::Open => Ok(true),
        }
    }

    /// Whether frames can be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.socket.is_some() && matches!(self.stage, Stage::Open)
    }

    /// Closes the connection.
    pub(crate) fn give_up(&mut self) {
        self.socket = None;
    }

    /// Sends finished frames; `false` if the connection is over, or is over now.
    pub(crate) fn send(&mut self, frames: &[u8], errors: &mut Errors) -> bool {
        let Some(socket) = &self.socket else { return false };
        match rustix::net::send(socket, frames, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(sent) if sent == frames.len() => return true,
            Ok(_) | Err(rustix::io::Errno::AGAIN) => {
                errors.unsent += 1;
                errors.note(|| "a socket was full".into());
            }
            Err(error) => {
                errors.closed += 1;
                errors.note(|| format!("send: {error}"));
            }
        }
        self.socket = None;
        false
    }

    /// Reads once and says how many of the expected frames have come.
    ///
    /// A connection that ends is given up, and counted.
    pub(crate) fn receive(
        &mut self,
        buffer: &mut [u8],
        expected: &mut Expected,
        errors: &mut Errors,
    ) -> u32 {
        let Some(socket) = &self.socket else { return 0 };
        let received = match rustix::net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Err("the server ended the connection".to_owned()),
            Ok((received, _)) => Ok(received),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return 0,
            Err(error) => Err(format!("receive: {error}")),
        };
        let mut frames = 0;
        let over = match received {
            Ok(received) => {
                let read = self.reader.read(&buffer[..received], |frame| {
                    if expected.matches(frame) {
                        frames += 1;
                    } else {
                        errors.unexpected += 1;
                        errors.note(|| describe(frame));
                    }
                });
                read.err().map(|_| "the server broke the framing".to_owned())
            }
            Err(reason) => Some(reason),
        };
        if let Some(reason) = over {
            errors.closed += 1;
            errors.note(|| reason);
            self.socket = None;
        }
        frames
    }

    /// Reads to the end, a Close having been sent. `true` when the server has answered it as it
    /// should and has then ended the connection; until then the connection stays open.
    pub(crate) fn receive_close(
        &mut self,
        close: &[u8],
        buffer: &mut [u8],
        errors: &mut Errors,
    ) -> bool {
        let Some(socket) = &self.socket else { return false };
        let wrong = loop {
            match rustix::net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) if self.answered_close => {
                    self.socket = None;
                    return true;
                }
                Ok((0, _)) => break "the server ended the connection without a Close".to_owned(),
                // A new stream of so few bytes is not cut.
                Ok((received, _)) if buffer[..received] == *close && !self.answered_close => {
                    self.answered_close = true;
                }
                Ok(_) => break "something else came where a Close should".to_owned(),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return false,
                Err(error) => break format!("receive: {error}"),
            }
        };
        errors.closed += 1;
        errors.note(|| wrong);
        self.socket = None;
        false
    }
}

/// The request that asks for a WebSocket at `path`.
pub fn upgrade_request(host: SocketAddr, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}

/// The response that a server gives to [`upgrade_request`] at least.
pub fn upgrade_response() -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    )
}

/// Whether the server has agreed; `None` while its response is incomplete.
///
/// Nothing may follow the response: a server has nothing to say before it is asked.
fn upgraded(response: &[u8]) -> Option<bool> {
    let text = str::from_utf8(response).ok()?;
    text.contains("\r\n\r\n").then(|| {
        text.starts_with("HTTP/1.1 101 ") && text.ends_with("\r\n\r\n") && text.contains(ACCEPT)
    })
}

fn first_line(response: &[u8]) -> String {
    let line = response.split(|&byte| byte == b'\r').next().unwrap_or_default();
    if line.is_empty() { "nothing".into() } else { String::from_utf8_lossy(line).into_owned() }
}

fn describe(frame: Frame<'_>) -> String {
    let kind = if frame.first_byte == CLOSE { "close" } else { "frame" };
    let text = frame.payload.map(|payload| {
        let shown = &payload[..payload.len().min(MAX_SHOWN)];
        String::from_utf8_lossy(shown).into_owned()
    });
    format!(
        "{kind} {:#04x} of {} bytes: {}",
        frame.first_byte,
        frame.length,
        text.as_deref().unwrap_or("(came in pieces)")
    )
}

/// The key is RFC 6455's own example, §1.3, and so is what the server must make of it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A response longer than this is not one to an upgrade.
const MAX_RESPONSE: usize = 16 << 10;

/// How much of an unexpected frame is shown.
const MAX_SHOWN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_101_with_the_right_key_is_an_upgrade() {
        let response = upgrade_response();
        assert_eq!(upgraded(response.as_bytes()), Some(true));
        assert_eq!(upgraded(&response.as_bytes()[..response.len() - 1]), None);
        assert_eq!(upgraded(response.replace(ACCEPT, "another").as_bytes()), Some(false));
        assert_eq!(upgraded(b"HTTP/1.1 403 Forbidden\r\n\r\n"), Some(false));
        assert_eq!(upgraded(format!("{response}x").as_bytes()), Some(false));
    }
}
