use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use tungstenite::protocol::CloseFrame;
use tungstenite::{Message as WsMessage, WebSocket};

/// The WebSocket that a client speaks through, and what has become of it.
///
/// It answers pings and the server's close frame by itself. What sends returns nothing: a failure
/// is told by the first receive that comes to nothing.
#[derive(Debug)]
pub(super) struct Connection {
    websocket: WebSocket<TcpStream>,
    /// Of the answer that accepted it, their names in lower case.
    pub(super) response_headers: Vec<(String, String)>,
    /// How many have come and were answered.
    pub(super) pings: usize,
    /// What those carried that have come and were not asked for.
    pub(super) pongs: VecDeque<Vec<u8>>,
    /// Absent as long as something may come.
    pub(super) end: Option<End>,
    send_failure: Option<String>,
}

/// How a connection ended.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// By the server's close frame, which may be empty.
    Closed(Option<CloseFrame>),
    /// Without one: what the system or the WebSocket said.
    Lost(String),
}

/// What came of receiving.
#[derive(Debug)]
pub(super) enum Received {
    /// A text or binary frame.
    Data(WsMessage),
    /// A frame of the WebSocket's own, which is dealt with.
    Control,
    /// Nothing before the deadline.
    Nothing,
    /// Nothing, and nothing will.
    End(End),
}

impl Connection {
    pub(super) fn new(
        websocket: WebSocket<TcpStream>,
        response_headers: Vec<(String, String)>,
    ) -> Self {
        Self {
            websocket,
            response_headers,
            pings: 0,
            pongs: VecDeque::new(),
            end: None,
            send_failure: None,
        }
    }

    pub(super) fn send(&mut self, frame: WsMessage) {
        let sent = self.websocket.send(frame);
        self.note_failure(sent);
    }

    /// Sends bytes beside the WebSocket.
    pub(super) fn send_bytes(&mut self, bytes: &[u8]) {
        let sent = self.websocket.get_mut().write_all(bytes);
        self.note_failure(sent);
    }

    /// Starts the closing handshake.
    pub(super) fn close(&mut self, frame: Option<CloseFrame>) {
        let sent = self.websocket.close(frame);
        self.note_failure(sent);
    }

    /// Ends this side of the TCP connection.
    pub(super) fn shut_down(&mut self) {
        let sent = self.websocket.get_ref().shutdown(Shutdown::Write);
        self.note_failure(sent);
    }

    /// Ends both sides with a reset.
    pub(super) fn reset(self) -> io::Result<()> {
        // With a linger time of zero, closing sends a reset and no end of the stream.
        socket2::SockRef::from(self.websocket.get_ref()).set_linger(Some(Duration::ZERO))
    }

    /// Waits for the next frame.
    pub(super) fn receive(&mut self, deadline: Instant) -> Received {
        loop {
            if let Some(end) = &self.end {
                return Received::End(end.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // A server that doesn't read what it is sent will not answer it either.
                return match self.send_failure.take() {
                    Some(failure) => Received::End(End::Lost(format!("a send failed: {failure}"))),
                    None => Received::Nothing,
                };
            }
            let read = self.websocket.get_ref().set_read_timeout(Some(left));
            match read.map_err(tungstenite::Error::from).and_then(|()| self.websocket.read()) {
                Ok(frame) => return self.sort(frame),
                Err(tungstenite::Error::Io(error)) if is_try_again(&error) => {}
                Err(error) => {
                    let cause = match self.send_failure.take() {
                        Some(failure) => format!("{error}, after a send had failed: {failure}"),
                        None => error.to_string(),
                    };
                    self.end = Some(End::Lost(cause));
                }
            }
        }
    }

    fn sort(&mut self, frame: WsMessage) -> Received {
        match frame {
            WsMessage::Text(_) | WsMessage::Binary(_) => return Received::Data(frame),
            WsMessage::Ping(_) => {
                self.pings += 1;
                self.flush();
            }
            WsMessage::Pong(payload) => self.pongs.push_back(payload.to_vec()),
            WsMessage::Close(close) => {
                self.end = Some(End::Closed(close));
                self.flush();
            }
            WsMessage::Frame(_) => unreachable!("raw frames are never read"),
        }
        Received::Control
    }

    /// Sends what the WebSocket has answered by itself: a pong, a close frame.
    fn flush(&mut self) {
        let sent = self.websocket.flush();
        self.note_failure(sent);
    }

    /// The first is what the others follow from.
    fn note_failure<E: ToString>(&mut self, sent: Result<(), E>) {
        if let Err(error) = sent {
            self.send_failure.get_or_insert(error.to_string());
        }
    }
}

/// A read that ended with its time-out, or early: the deadline decides.
fn is_try_again(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use tungstenite::protocol::Role;
    use tungstenite::protocol::frame::coding::CloseCode;

    use super::*;

    /// A connection and the server's end of it, as a handshake leaves them.
    fn pair() -> (Connection, WebSocket<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let client = WebSocket::from_raw_socket(client, Role::Client, None);
        let server = WebSocket::from_raw_socket(server, Role::Server, None);
        (Connection::new(client, Vec::new()), server)
    }

    fn receive(connection: &mut Connection) -> Received {
        connection.receive(Instant::now() + Duration::from_secs(5))
    }

    #[test]
    fn what_does_not_come_in_time_may_come_later() {
        let (mut connection, mut server) = pair();
        assert!(matches!(connection.receive(Instant::now()), Received::Nothing));
        let moment = Instant::now() + Duration::from_millis(1);
        assert!(matches!(connection.receive(moment), Received::Nothing));
        server.send(WsMessage::text("late")).unwrap();
        let Received::Data(frame) = receive(&mut connection) else { panic!() };
        assert_eq!(frame, WsMessage::text("late"));
    }

    #[test]
    fn frames_of_the_websockets_own_are_dealt_with_as_they_come() {
        let (mut connection, mut server) = pair();
        server.send(WsMessage::Ping("a".into())).unwrap();
        server.send(WsMessage::Pong("b".into())).unwrap();
        for _ in 0..2 {
            assert!(matches!(receive(&mut connection), Received::Control));
        }
        assert_eq!((connection.pings, &connection.pongs), (1, &VecDeque::from([b"b".to_vec()])));
        assert_eq!(server.read().unwrap(), WsMessage::Pong("a".into()));
    }

    #[test]
    fn what_has_ended_stays_ended() {
        let (mut connection, mut server) = pair();
        server.close(Some(CloseFrame { code: CloseCode::Away, reason: "".into() })).unwrap();
        assert!(matches!(receive(&mut connection), Received::Control));
        for _ in 0..2 {
            let Received::End(End::Closed(Some(frame))) = receive(&mut connection) else {
                panic!()
            };
            assert_eq!(frame.code, CloseCode::Away);
        }
        assert!(matches!(server.read(), Ok(WsMessage::Close(_))), "it was answered");

        let (mut connection, server) = pair();
        drop(server);
        for _ in 0..2 {
            assert!(matches!(receive(&mut connection), Received::End(End::Lost(_))));
        }
    }

    #[test]
    fn a_send_that_failed_is_why_nothing_comes() {
        let (mut connection, _server) = pair();
        connection.shut_down();
        connection.send(WsMessage::text("nobody hears"));
        connection.send_bytes(b"nobody hears");
        let Received::End(End::Lost(cause)) = connection.receive(Instant::now()) else { panic!() };
        assert!(cause.starts_with("a send failed"), "{cause}");
        // It is told once: what did come is still to be had.
        assert!(matches!(connection.receive(Instant::now()), Received::Nothing));
    }
}
