//! A client made of bytes, for what no client library would send, and the bytes it sends.
//!
//! Where [`Client`](super::Client) returns an error, this panics: what it is for is short, and its
//! next line stands in the test.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// A TCP connection and what came on it. What it waits for comes within ten seconds.
///
/// # Panics
///
/// Everything here panics when the connection is lost, when nothing comes in time, and when what
/// comes is not what is asked for; but for [`try_send`](Self::try_send)
/// and [`try_shut_down`](Self::try_shut_down).
///
/// # Example
///
/// ```
/// use simurgh::testing::Server;
/// use simurgh::testing::raw::{Frame, Raw, masked};
///
/// let server = Server::start(simurgh::demo::endpoint(), 1);
/// let mut raw = Raw::open(server.addr(0));
/// // A ping with a reserved bit, which nobody has negotiated.
/// raw.send(masked(0x80 | 0x40 | 0x9, b"hi"));
/// assert_eq!(raw.frame(), Frame::close(1002));
/// ```
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    /// Received and not yet looked at.
    received: Vec<u8>,
}

/// An HTTP answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status, as 200.
    pub status: u16,
    /// In their order, the names in lower case.
    pub headers: Vec<(String, String)>,
    /// What follows the head.
    pub body: String,
}

impl Answer {
    /// The first header of this name, which is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// The first byte: FIN, reserved bits and opcode.
    pub first: u8,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A whole text.
    pub fn text(text: &str) -> Self {
        Self { first: 0x81, payload: text.as_bytes().to_vec() }
    }

    /// The answer to a ping.
    pub fn pong(payload: &[u8]) -> Self {
        Self { first: 0x8a, payload: payload.to_vec() }
    }

    /// A Close with this code and no reason.
    pub fn close(code: u16) -> Self {
        Self { first: 0x88, payload: code.to_be_bytes().to_vec() }
    }

    /// Of a Close, its code and its reason; nothing of any other frame or of one without a code.
    pub fn as_close(&self) -> Option<(u16, &str)> {
        let (code, reason) = self.payload.split_first_chunk().filter(|_| self.first == 0x88)?;
        Some((u16::from_be_bytes(*code), std::str::from_utf8(reason).ok()?))
    }
}

impl Raw {
    /// Connected, and nothing sent.
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("the server listens");
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, received: Vec::new() }
    }

    /// This end's address, by which the server's log knows the connection.
    pub fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// Connected and upgraded, speaking V2, to the socket at `/socket`.
    pub fn open(addr: SocketAddr) -> Self {
        let mut raw = Self::connect(addr);
        raw.send(upgrade("/socket/websocket?vsn=2.0.0"));
        assert_eq!(raw.answer().status, 101);
        raw
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server reads");
    }

    /// Sends what may fail because the server has hung up.
    ///
    /// # Errors
    ///
    /// When it fails.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a V2 message in a text frame.
    pub fn send_text(&mut self, text: &str) {
        self.send(masked(0x81, text.as_bytes()));
    }

    /// Ends this side of the connection.
    pub fn shut_down(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends this side of a connection that the server may have ended already.
    ///
    /// # Errors
    ///
    /// When it has.
    pub fn try_shut_down(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Sends bytes and the end of this side in one segment.
    pub fn send_last(&mut self, bytes: impl AsRef<[u8]>) {
        socket2::SockRef::from(&self.stream).set_tcp_cork(true).unwrap();
        self.send(bytes);
        self.shut_down();
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        // With a linger time of zero, closing sends a reset and no FIN.
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// The connection's own end of a small buffer, so that little is taken off the server.
    pub fn shrink_receive_buffer(&self) {
        socket2::SockRef::from(&self.stream).set_recv_buffer_size(4096).unwrap();
    }

    /// The next HTTP answer, with its body.
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.answer_to_head();
        let length = answer.header("content-length").map_or(0, |n| n.parse().expect("a number"));
        self.receive(length);
        let body: Vec<u8> = self.received.drain(..length).collect();
        answer.body = String::from_utf8(body).expect("UTF-8");
        answer
    }

    /// The next HTTP answer, which has no body whatever it says.
    pub fn answer_to_head(&mut self) -> Answer {
        let end = loop {
            if let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            let wanted = self.received.len() + 1;
            self.receive(wanted);
        };
        let head: Vec<u8> = self.received.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("UTF-8");
        let mut lines = head.split("\r\n").take_while(|line| !line.is_empty());
        let first = lines.next().expect("a first line");
        let status = first.strip_prefix("HTTP/1.1 ").expect("HTTP").split(' ').next();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").expect("a header");
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Answer {
            status: status.expect("a status").parse().expect("a number"),
            headers: headers.collect(),
            body: String::new(),
        }
    }

    /// The next WebSocket frame.
    pub fn frame(&mut self) -> Frame {
        self.receive(2);
        let (first, second) = (self.received[0], self.received[1]);
        let (header, length) = match second {
            126 => {
                self.receive(4);
                (4, usize::from(u16::from_be_bytes([self.received[2], self.received[3]])))
            }
            127 => {
                self.receive(10);
                let length = self.received[2..10].try_into().expect("eight bytes");
                (10, u64::from_be_bytes(length) as usize)
            }
            small => {
                assert_eq!(small & 0x80, 0, "a server masks nothing");
                (2, usize::from(small))
            }
        };
        self.receive(header + length);
        let payload = self.received[header..header + length].to_vec();
        self.received.drain(..header + length);
        Frame { first, payload }
    }

    /// Waits for the end of the connection, by the server and in order; nothing comes before.
    pub fn end(&mut self) {
        let mut rest = std::mem::take(&mut self.received);
        self.stream.read_to_end(&mut rest).expect("an end in order");
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// Waits for the end of the connection, in whatever way, and counts what came before.
    pub fn drain(&mut self) -> usize {
        let mut total = self.received.len();
        let mut buffer = [0; 64 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return total,
                Ok(read) => total += read,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return total,
                Err(error) => panic!("the connection does not end: {error}"),
            }
        }
    }

    /// Receives until at least so many bytes are there.
    fn receive(&mut self, wanted: usize) {
        let mut buffer = [0; 16 << 10];
        while self.received.len() < wanted {
            let read = match self.stream.read(&mut buffer) {
                Ok(0) => panic!("the server hung up after {:?}", self.text()),
                Ok(read) => read,
                Err(error) => panic!("{error} after {:?}", self.text()),
            };
            self.received.extend_from_slice(&buffer[..read]);
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }
}

/// A GET of this target, with these header lines besides the host.
pub fn get(target: &str, headers: &[&str]) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n")
}

/// A proper request for a WebSocket.
pub fn upgrade(target: &str) -> String {
    get(target, &UPGRADE)
}

/// The header lines of a proper upgrade, but for the host; the key is that of RFC 6455 §1.3.
pub const UPGRADE: [&str; 4] = [
    "connection: Upgrade",
    "upgrade: websocket",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version: 13",
];

/// A client's frame with this first byte: FIN, reserved bits and opcode.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len() as u64);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The header of a client's frame that announces so many bytes.
pub fn header(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match length {
        0..126 => header.push(0x80 | length as u8),
        126..0x1_0000 => {
            header.push(0x80 | 126);
            header.extend((length as u16).to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend(length.to_be_bytes());
        }
    }
    header.extend(MASK);
    header
}

const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::stand_in::serve_raw;

    /// A connection to a server that sends this in small pieces and hangs up.
    fn sent(bytes: impl Into<Vec<u8>>) -> Raw {
        let bytes = bytes.into();
        let (addr, _server) = serve_raw(move |mut stream| {
            stream.set_nodelay(true).unwrap();
            // The client may have seen enough.
            let _ = bytes.chunks(7).try_for_each(|piece| stream.write_all(piece));
        });
        Raw::connect(addr)
    }

    #[test]
    fn a_header_takes_the_least_bytes_that_tell_the_length() {
        assert_eq!(header(0x81, 0), [&[0x81, 0x80][..], &MASK].concat());
        assert_eq!(header(0x81, 125), [&[0x81, 0x80 | 125][..], &MASK].concat());
        assert_eq!(header(0x82, 126), [&[0x82, 0x80 | 126, 0, 126][..], &MASK].concat());
        assert_eq!(header(0x82, 0xffff), [&[0x82, 0x80 | 126, 0xff, 0xff][..], &MASK].concat());
        let long = [0x82, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(header(0x82, 0x1_0000), [&long[..], &MASK].concat());
    }

    #[test]
    fn a_payload_goes_out_masked() {
        let frame = masked(0x81, b"Hello");
        assert_eq!(frame[..6], header(0x81, 5));
        assert_eq!(frame[6..], [b'H' ^ 0x12, b'e' ^ 0x34, b'l' ^ 0x56, b'l' ^ 0x78, b'o' ^ 0x12]);
    }

    #[test]
    fn a_request_has_its_headers_behind_the_host() {
        assert_eq!(get("/", &[]), "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let two = get("/a?b", &["x: 1", "y: 2"]);
        assert_eq!(two, "GET /a?b HTTP/1.1\r\nhost: localhost\r\nx: 1\r\ny: 2\r\n\r\n");
    }

    #[test]
    fn answers_are_read_one_behind_the_other_with_their_bodies() {
        let mut raw = sent(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b: c\r\n\r\nfirst\
             HTTP/1.1 204 No Content\r\n\r\n\
             HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\n\r\n",
        );
        let first = raw.answer();
        assert_eq!((first.status, first.body.as_str()), (200, "first"));
        assert_eq!(first.headers[1], ("x-a".into(), "b: c".into()));
        assert_eq!((first.header("x-a"), first.header("x-b")), (Some("b: c"), None));
        assert_eq!(raw.answer(), Answer { status: 204, headers: vec![], body: String::new() });
        // To a HEAD: a length and no body.
        assert_eq!(raw.answer_to_head().header("content-length"), Some("7"));
        raw.end();
    }

    #[test]
    fn frames_are_read_whatever_tells_their_length() {
        let (medium, long) = ([b'm'; 300], vec![b'l'; 70_000]);
        let mut bytes = [&[0x81, 2][..], b"hi", &[0x82, 126, 1, 44], &medium].concat();
        bytes.extend([0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);
        bytes.extend(&long);
        bytes.extend([0x88, 2, 0x03, 0xe9]);
        let mut raw = sent(bytes);
        assert_eq!(raw.frame(), Frame::text("hi"));
        assert_eq!(raw.frame(), Frame { first: 0x82, payload: medium.to_vec() });
        assert_eq!(raw.frame(), Frame { first: 0x82, payload: long });
        assert_eq!(raw.frame(), Frame::close(1001));
        raw.end();
    }

    #[test]
    fn what_comes_before_the_end_is_counted() {
        let mut raw = sent([0x8a, 1, b'p', 7, 7, 7]);
        assert_eq!(raw.frame(), Frame::pong(b"p"));
        assert_eq!(raw.drain(), 3);
    }

    #[test]
    #[should_panic(expected = "the server hung up after \"HTTP/1.1 200\"")]
    fn an_answer_that_breaks_off_is_told_as_far_as_it_came() {
        sent("HTTP/1.1 200").answer();
    }

    #[test]
    #[should_panic(expected = "a server masks nothing")]
    fn a_masked_frame_is_no_servers() {
        sent(masked(0x81, b"hi")).frame();
    }
}
