//! What a client does beneath Phoenix's protocol: frames of any kind, pings, and the end of its
//! connection.

use std::io;
use std::time::Instant;

use tungstenite::Message as WsMessage;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::CloseCode;

use super::client::Client;
use super::connection::End;
use super::error::Error;

impl Client {
    /// Sends a text frame.
    pub fn send_text(&mut self, text: impl Into<String>) {
        self.connection.send(WsMessage::text(text.into()));
    }

    /// Sends a frame as it is, but for its mask: opcode, reserved bits and fragmentation are the
    /// caller's.
    pub fn send_frame(&mut self, frame: Frame) {
        self.connection.send(WsMessage::Frame(frame));
    }

    /// Sends bytes beside the WebSocket: frames that no WebSocket implementation would make.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.connection.send_bytes(bytes);
    }

    /// Pings the server; [`pong`](Client::pong) waits for the answer.
    pub fn ping(&mut self, payload: &[u8]) {
        self.connection.send(WsMessage::Ping(payload.to_vec().into()));
    }

    /// Waits for the next pong and gives its payload.
    ///
    /// # Errors
    ///
    /// When none comes.
    pub fn pong(&mut self) -> Result<Vec<u8>, Error> {
        let deadline = Instant::now() + self.timeout;
        loop {
            if let Some(payload) = self.connection.pongs.pop_front() {
                return Ok(payload);
            }
            self.receive(deadline, format_args!("a pong"))?;
        }
    }

    /// How many pings the server has sent, of what was received so far. Each was answered.
    pub fn pings(&self) -> usize {
        self.connection.pings
    }

    /// Starts the closing handshake with code 1000, as a client does that is done.
    ///
    /// What the server still sends can be read, and [`closed`](Client::closed) waits for its
    /// answer. (A client that is dropped hangs up without one.)
    pub fn close(&mut self) {
        self.close_with(Some(1000));
    }

    /// Starts the closing handshake with this code, or with an empty close frame.
    pub fn close_with(&mut self, code: Option<u16>) {
        let frame = code.map(|code| CloseFrame { code: CloseCode::from(code), reason: "".into() });
        self.connection.close(frame);
    }

    /// Ends this side of the TCP connection, without a close frame: what the server still sends can
    /// be read.
    pub fn shut_down(&mut self) {
        self.connection.shut_down();
    }

    /// Ends the connection with a reset, as when a client's machine has lost it.
    ///
    /// # Errors
    ///
    /// When the socket can't be told to.
    pub fn reset(self) -> io::Result<()> {
        self.connection.reset()
    }

    /// Waits until the server closes and gives the code in its close frame, nothing when that is
    /// empty. What comes before can still be read.
    ///
    /// # Errors
    ///
    /// When the server doesn't close in time, when the connection ends without a close frame
    /// ([`Error::Lost`]), and when the frame has a reason, which only 1011 has: Phoenix gives none.
    pub fn closed(&mut self) -> Result<Option<u16>, Error> {
        match self.closed_with()? {
            Some((code, reason)) if !reason.is_empty() && code != INTERNAL_ERROR => {
                let cause = format!("closed with {code}: {reason:?}");
                Err(self.lost(format_args!("a close frame without a reason"), cause))
            }
            frame => Ok(frame.map(|(code, _)| code)),
        }
    }

    /// The same with the reason that the server gave, empty if it gave none.
    ///
    /// # Errors
    ///
    /// As for [`closed`](Self::closed), but for the reason.
    pub fn closed_with(&mut self) -> Result<Option<(u16, String)>, Error> {
        let waiting_for = format_args!("the close frame");
        let deadline = Instant::now() + self.timeout;
        let cause = loop {
            match &self.connection.end {
                None => self.receive(deadline, waiting_for)?,
                // An invalid code comes out of the WebSocket as 1002 with a reason of its making.
                Some(End::Closed(Some(frame)))
                    if frame.code == CloseCode::Protocol && !frame.reason.is_empty() =>
                {
                    break format!("closed with {:?}: {:?}", frame.code, frame.reason.as_str());
                }
                Some(End::Closed(frame)) => {
                    let frame = frame.as_ref();
                    return Ok(frame.map(|frame| (frame.code.into(), frame.reason.to_string())));
                }
                Some(End::Lost(cause)) => break cause.clone(),
            }
        };
        Err(self.lost(waiting_for, cause))
    }

    /// A header of the answer that accepted the connection, its name in lower case.
    pub fn response_header(&self, name: &str) -> Option<&str> {
        let mut headers = self.connection.response_headers.iter();
        headers.find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// The one close code of the server's own that comes with a reason (RFC 6455 §7.4.1).
const INTERNAL_ERROR: u16 = 1011;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::stand_in::{serve, write};

    #[test]
    fn a_client_that_has_shut_down_still_reads() {
        let (addr, server) = serve(|server| {
            assert!(matches!(server.read(), Err(tungstenite::Error::Protocol(_))));
            // For tungstenite the connection is over now; its stream still writes.
            let text = br#"[null,null,"t","last",{}]"#;
            let frame = [&[0x81, text.len() as u8], &text[..]].concat();
            io::Write::write_all(server.get_mut(), &frame).unwrap();
        });
        let mut client = Client::connect(addr, "/socket").unwrap();
        client.shut_down();
        client.expect("t", "last").unwrap();
        server.join().unwrap();
    }

    #[test]
    fn a_reset_is_no_end_in_order() {
        let (addr, server) = serve(|server| match server.read() {
            Err(tungstenite::Error::Io(error)) => {
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            }
            other => panic!("{other:?}"),
        });
        Client::connect(addr, "/socket").unwrap().reset().unwrap();
        server.join().unwrap();
    }

    #[test]
    fn closed_gives_the_servers_code_and_what_came_before_can_be_read() {
        let (addr, server) = serve(|server| {
            write(server, r#"[null,null,"t","last",{}]"#);
            server.close(Some(CloseFrame { code: CloseCode::Restart, reason: "".into() })).unwrap();
            while server.read().is_ok() {}
        });
        let mut client = Client::connect(addr, "/socket").unwrap();
        assert_eq!(client.closed().unwrap(), Some(1012));
        assert_eq!(client.closed().unwrap(), Some(1012));
        client.expect("t", "last").unwrap();
        let error = client.next().unwrap_err();
        assert!(matches!(error, Error::Closed { code: Some(1012), .. }), "{error}");
        server.join().unwrap();
    }

    #[test]
    fn close_is_answered_by_the_server() {
        let (addr, server) = serve(|server| {
            let Ok(WsMessage::Close(Some(frame))) = server.read() else { panic!() };
            assert_eq!(frame.code, CloseCode::Normal);
            server.flush().unwrap_err();
        });
        let mut client = Client::connect(addr, "/socket").unwrap();
        client.close();
        assert_eq!(client.closed().unwrap(), Some(1000));
        server.join().unwrap();
    }

    #[test]
    fn a_connection_that_ends_without_a_close_frame_is_lost() {
        let (addr, server) = serve(|_| {});
        let mut client = Client::connect(addr, "/socket").unwrap();
        server.join().unwrap();
        let error = client.closed().unwrap_err();
        assert!(matches!(error, Error::Lost { .. }), "{error}");
    }

    #[test]
    fn pings_are_answered_and_pongs_waited_for() {
        let (addr, server) = serve(|server| {
            assert_eq!(server.read().unwrap(), WsMessage::Ping("a".into()));
            server.flush().unwrap();
            server.send(WsMessage::Ping("b".into())).unwrap();
            assert_eq!(server.read().unwrap(), WsMessage::Pong("b".into()));
        });
        let mut client = Client::connect(addr, "/socket").unwrap();
        client.ping(b"a");
        assert_eq!(client.pong().unwrap(), b"a");
        assert_eq!(client.pings(), 0);
        client.closed().unwrap_err();
        assert_eq!(client.pings(), 1);
        server.join().unwrap();
    }

    #[test]
    fn frames_go_out_as_they_are_given() {
        use tungstenite::protocol::frame::coding::{Data, OpCode};

        let (addr, server) = serve(|server| {
            assert_eq!(server.read().unwrap(), WsMessage::text("two parts"));
            server.read().unwrap_err();
        });
        let mut client = Client::connect(addr, "/socket").unwrap();
        client.send_frame(Frame::message(&b"two "[..], OpCode::Data(Data::Text), false));
        client.send_frame(Frame::message(&b"parts"[..], OpCode::Data(Data::Continue), true));
        // An unmasked frame, which a server must refuse.
        client.send_bytes(&[0x81, 0x01, b'a']);
        server.join().unwrap();
    }
}
