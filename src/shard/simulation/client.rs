//! A client's end of a connection: frames out, messages in.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::kernel::{End, SharedPipe};
use crate::testing::{Message, Reply, Version};

pub(super) struct Client {
    pub(super) pipe: SharedPipe,
    pub(super) version: Version,
    /// Of the answer to the last request.
    pub(super) status: Option<u16>,
    /// The code of the server's Close.
    pub(super) close_code: Option<u16>,
    pub(super) pongs: usize,
    /// How much of what has come was understood.
    parsed: usize,
    messages: VecDeque<Message>,
    next_ref: u64,
}

impl Client {
    pub(super) fn new(pipe: SharedPipe, version: Version) -> Self {
        Self {
            pipe,
            version,
            status: None,
            close_code: None,
            pongs: 0,
            parsed: 0,
            messages: VecDeque::new(),
            next_ref: 0,
        }
    }

    pub(super) fn send_bytes(&mut self, bytes: &[u8]) {
        self.pipe.borrow_mut().inbound.extend(bytes);
    }

    /// Asks for a WebSocket. `query` follows the version, with its `&`.
    pub(super) fn upgrade(&mut self, path: &str, query: &str) {
        let vsn = self.version.as_vsn();
        let request = format!(
            "GET {path}/websocket?vsn={vsn}{query} HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\n\r\n"
        );
        self.send_bytes(request.as_bytes());
    }

    /// Sends a frame, whole and masked.
    pub(super) fn send_frame(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            length @ 0..=125 => frame.push(0x80 | length as u8),
            length @ 126..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        let key = [0x5a, 0xc3, 0x0f, 0x99];
        frame.extend(key);
        frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        self.send_bytes(&frame);
    }

    /// Sends a message to the channel that was joined last on this topic, as far as it matters: the
    /// `join_ref` is null. Gives back its ref.
    pub(super) fn push(&mut self, topic: &str, event: &str, payload: Value) -> String {
        self.send_message(Value::Null, topic, event, payload)
    }

    pub(super) fn join(&mut self, topic: &str, params: Value) -> String {
        let join_ref = format!("j{}", self.next_ref + 1);
        self.send_message(join_ref.into(), topic, "phx_join", params)
    }

    pub(super) fn heartbeat(&mut self) -> String {
        self.push("phoenix", "heartbeat", json!({}))
    }

    fn send_message(&mut self, join_ref: Value, topic: &str, event: &str, body: Value) -> String {
        self.next_ref += 1;
        let message_ref = self.next_ref.to_string();
        let (topic, event) = (topic.into(), event.into());
        let text = self.version.encode(join_ref, message_ref.as_str().into(), topic, event, body);
        self.send_frame(TEXT, text.as_bytes());
        message_ref
    }

    /// Sends a Close.
    pub(super) fn close(&mut self) {
        self.send_frame(CLOSE, &1000_u16.to_be_bytes());
    }

    /// Ends the client's side; it can still read.
    pub(super) fn finish(&mut self) {
        self.pipe.borrow_mut().end = Some(End::Finished);
    }

    /// The connection breaks.
    pub(super) fn break_off(&mut self) {
        let mut pipe = self.pipe.borrow_mut();
        pipe.end = Some(End::Broken);
        pipe.is_broken = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.pipe.borrow().is_closed
    }

    /// Understands what has come.
    ///
    /// # Panics
    ///
    /// When it is not the whole beginning of a stream of answers and frames.
    pub(super) fn read(&mut self) {
        while let Some(size) = self.read_one() {
            self.parsed += size;
        }
    }

    fn read_one(&mut self) -> Option<usize> {
        let pipe = self.pipe.clone();
        let pipe = pipe.borrow();
        let bytes = &pipe.outbound[self.parsed..];
        if self.status != Some(101) {
            return self.read_answer(bytes);
        }
        let (opcode, payload, size) = parse_frame(bytes)?;
        assert!(self.close_code.is_none(), "a frame after the server's Close");
        match opcode {
            TEXT => {
                let text = std::str::from_utf8(payload).expect("a text frame is UTF-8");
                self.messages.push_back(self.version.decode(text).expect("a message"));
            }
            BINARY => self.messages.push_back(Message::decode_binary(payload).expect("a message")),
            CLOSE => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                self.close_code = Some(code.expect("the server's Close has a code"));
            }
            PONG => self.pongs += 1,
            other => panic!("a frame of kind {other}"),
        }
        Some(size)
    }

    fn read_answer(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head) = response.parse(bytes).expect("an answer") else {
            return None;
        };
        let length = response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length = length.map_or(0, |header| {
            let text = std::str::from_utf8(header.value).expect("a length is a number");
            text.parse::<usize>().expect("a length is a number")
        });
        if bytes.len() < head + length {
            return None;
        }
        self.status = response.code;
        Some(head + length)
    }

    /// The events of what has come and was not taken yet.
    pub(super) fn peek(&mut self) -> Vec<&str> {
        self.read();
        self.messages.iter().map(|message| message.event.as_str()).collect()
    }

    /// What has come and was not taken yet.
    pub(super) fn take(&mut self) -> Vec<Message> {
        self.read();
        self.messages.drain(..).collect()
    }

    /// The reply to the message with this ref; what else has come stays.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub(super) fn take_reply(&mut self, message_ref: &str) -> Reply {
        self.find_reply(message_ref).unwrap_or_else(|| {
            panic!("no reply to {message_ref} among {:#?}", self.messages);
        })
    }

    pub(super) fn find_reply(&mut self, message_ref: &str) -> Option<Reply> {
        self.read();
        let is_it =
            |message: &Message| message.event == "phx_reply" && message.message_ref == message_ref;
        let place = self.messages.iter().position(is_it)?;
        self.messages.remove(place)?.reply()
    }

    /// All bytes that have come were understood: none is half a frame.
    pub(super) fn is_between_frames(&mut self) -> bool {
        self.read();
        self.parsed == self.pipe.borrow().outbound.len()
    }

    /// The events that have come and were not taken yet, with what `text` in their payload says.
    pub(super) fn take_texts(&mut self) -> Vec<(String, String)> {
        let text = |message: Message| {
            let payload = message.payload.as_json().expect("a JSON payload");
            let text = payload["text"].as_str().unwrap_or_default().to_owned();
            (message.event, text)
        };
        self.take().into_iter().map(text).collect()
    }
}

/// Kind, payload and size of the frame that `bytes` begin with; `None` while it is not whole.
fn parse_frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&first, rest) = bytes.split_first()?;
    assert_eq!(first & 0xf0, 0x80, "a frame that is final and uses no reserved bit");
    let (&second, rest) = rest.split_first()?;
    let (length, rest) = match second {
        0..=125 => (usize::from(second), rest),
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u64::from_be_bytes(*length) as usize, rest)
        }
        _ => panic!("a masked frame of the server's"),
    };
    let payload = rest.get(..length)?;
    Some((first & 0x0f, payload, bytes.len() - rest.len() + length))
}

pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;
