use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::Message as WsMessage;

use super::arrivals::{Arrival, Arrivals};
use super::builder::Builder;
use super::connection::{Connection, End, Received};
use super::error::{ConnectError, Error};
use super::message::{Message, Reply, Version, encode_binary_push};
use super::refs::Refs;

/// A Phoenix client for tests: blocking, strict about what the server sends, and lax about what it
/// is told to send.
///
/// Whatever arrives while something else is waited for is kept, in its order, for [`next`]. Every
/// wait has a time-out (5 s, see [`Builder::timeout`]), and its error tells what was waited for and
/// what had arrived instead. What sends returns nothing: a send that fails has lost the connection,
/// and the next wait says so.
///
/// [`next`]: Client::next
///
/// # Example
///
/// ```no_run
/// use serde_json::json;
/// use simurgh::testing::Client;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut client = Client::connect("127.0.0.1:4000".parse()?, "/socket")?;
/// assert!(client.join("room:lobby", json!({}))?.is_ok());
///
/// let message_ref = client.push("room:lobby", "new_msg", json!({"body": "hi"}));
/// let broadcast = client.expect("room:lobby", "new_msg")?;
/// assert_eq!(broadcast.payload, json!({"body": "hi"}));
/// assert!(client.reply(message_ref)?.is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Client {
    pub(super) connection: Connection,
    version: Version,
    pub(super) timeout: Duration,
    refs: Refs,
    arrivals: Arrivals,
}

impl Client {
    /// Connects with V2 to the socket mounted at `mount`.
    ///
    /// # Errors
    ///
    /// When there is no such server, or it refuses: see [`ConnectError::Refused`].
    pub fn connect(addr: SocketAddr, mount: &str) -> Result<Self, ConnectError> {
        Self::builder(addr, mount).connect()
    }

    /// A client with other settings than [`connect`](Client::connect) gives it.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use simurgh::testing::{Client, ConnectError, Version};
    ///
    /// # let addr = "127.0.0.1:4000".parse().unwrap();
    /// let refused = Client::builder(addr, "/socket")
    ///     .version(Version::V1)
    ///     .param("token", "forged")
    ///     .header("x-tenant", "7")
    ///     .connect();
    /// assert!(matches!(refused, Err(ConnectError::Refused { status: 403, .. })));
    /// ```
    pub fn builder(addr: SocketAddr, mount: &str) -> Builder {
        Builder::new(addr, mount)
    }

    /// Joins a topic and waits for the reply, which may well be an error.
    ///
    /// # Errors
    ///
    /// When no reply comes, or one with another topic or `join_ref` than those of the join.
    pub fn join(&mut self, topic: &str, params: Value) -> Result<Reply, Error> {
        let message_ref = self.send_join(topic, params);
        self.reply(message_ref)
    }

    /// Sends a join without waiting for its reply; returns the message's reference.
    ///
    /// What is pushed to the topic from here on belongs to this join.
    pub fn send_join(&mut self, topic: &str, params: Value) -> String {
        self.refs.join(topic, self.version);
        self.push(topic, "phx_join", params)
    }

    /// Leaves a topic; returns the message's reference, for the reply that comes before the
    /// `phx_close`.
    pub fn leave(&mut self, topic: &str) -> String {
        self.push(topic, "phx_leave", json!({}))
    }

    /// Sends an event to a topic, with the `join_ref` of its latest join; returns the message's
    /// reference.
    pub fn push(&mut self, topic: &str, event: &str, payload: Value) -> String {
        let (join_ref, message_ref) = self.refs.number(topic);
        let sent_ref = Value::from(message_ref.clone());
        self.send(join_ref, sent_ref, topic.into(), event.into(), payload);
        message_ref
    }

    /// Sends an event with a binary payload, as [`push`](Client::push) does with JSON.
    ///
    /// # Panics
    ///
    /// In V1, which has no binary frames, and when a field has more than 255 bytes.
    pub fn push_binary(&mut self, topic: &str, event: &str, payload: &[u8]) -> String {
        let (join_ref, message_ref) = self.refs.number(topic);
        let join_ref = join_ref.as_str().unwrap_or_default().to_owned();
        self.send_binary(&join_ref, &message_ref, topic, event, payload);
        message_ref
    }

    /// Waits for the reply to a message; what comes meanwhile is kept for [`next`](Client::next).
    ///
    /// # Errors
    ///
    /// When none comes, or when it has the right reference but not the topic and `join_ref` of the
    /// message. (A topic that isn't joined is answered with a null `join_ref`.)
    pub fn reply(&mut self, message_ref: impl AsRef<str>) -> Result<Reply, Error> {
        let message_ref = message_ref.as_ref();
        let waiting_for = format_args!("the reply to message {message_ref:?}");
        let answers =
            |message: &Message| message.event == "phx_reply" && message.message_ref == *message_ref;
        let message = self.wait(waiting_for, answers)?.message;
        let sent = self.refs.answered(message_ref);
        match message.reply() {
            Some(reply) if sent.is_none_or(|sent| sent.fits(&message, &reply, self.version)) => {
                Ok(reply)
            }
            _ => Err(self.unexpected(waiting_for, message)),
        }
    }

    /// The next message in the order of arrival, of whatever kind.
    ///
    /// # Errors
    ///
    /// When none comes.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would have to end or panic where this returns an error"
    )]
    pub fn next(&mut self) -> Result<Message, Error> {
        Ok(self.wait(format_args!("a message"), |_| true)?.message)
    }

    /// The frame of the next message, for tests of the very bytes.
    ///
    /// # Errors
    ///
    /// When none comes, and when it is no message: what the server sends is understood first.
    pub fn next_frame(&mut self) -> Result<WsMessage, Error> {
        Ok(self.wait(format_args!("a message"), |_| true)?.frame)
    }

    /// The next message, which must be this event of this topic.
    ///
    /// # Errors
    ///
    /// When none comes, and when it is another: the error tells which.
    pub fn expect(&mut self, topic: &str, event: &str) -> Result<Message, Error> {
        let waiting_for = format_args!("{event:?} of {topic:?}");
        let message = self.wait(waiting_for, |_| true)?.message;
        if message.topic == topic && message.event == event {
            Ok(message)
        } else {
            Err(self.unexpected(waiting_for, message))
        }
    }

    /// Sends a heartbeat and waits for the answer, which must be `ok`, empty and of no channel.
    ///
    /// # Errors
    ///
    /// When none comes, and when it is not that.
    pub fn heartbeat(&mut self) -> Result<(), Error> {
        let message_ref = self.refs.message_ref();
        let sent_ref = Value::from(message_ref.clone());
        self.send(Value::Null, sent_ref, "phoenix".into(), "heartbeat".into(), json!({}));
        let waiting_for = format_args!("the answer to heartbeat {message_ref:?}");
        let answers = |message: &Message| {
            message.event == "phx_reply" && message.message_ref == *message_ref.as_str()
        };
        let message = self.wait(waiting_for, answers)?.message;
        let of_no_channel = message.topic == "phoenix" && message.join_ref.is_null();
        if of_no_channel && message.payload == json!({"status": "ok", "response": {}}) {
            Ok(())
        } else {
            Err(self.unexpected(waiting_for, message))
        }
    }

    /// Shows that there is nothing to read of a topic, by a heartbeat's round trip.
    ///
    /// That speaks for everything the server had sent before it read the heartbeat, and for
    /// nothing that a channel is still busy with or that is on its way from another shard: a test
    /// must have seen those end first.
    ///
    /// # Errors
    ///
    /// When there is a message, [`Error::Unexpected`] with the first; when no answer comes.
    pub fn silence(&mut self, topic: &str) -> Result<(), Error> {
        self.heartbeat()?;
        let waiting_for = format_args!("silence of {topic:?}");
        self.none_unread(waiting_for, |message| message.topic == topic)
    }

    /// Shows that there is nothing to read at all; see [`silence`](Client::silence).
    ///
    /// # Errors
    ///
    /// As `silence`.
    pub fn silence_everywhere(&mut self) -> Result<(), Error> {
        self.heartbeat()?;
        self.none_unread(format_args!("silence"), |_| true)
    }

    /// The `join_ref` of the latest join of a topic; null when there was none, and in V1, whose
    /// clients send none.
    pub fn join_ref(&self, topic: &str) -> Value {
        self.refs.join_ref(topic)
    }

    /// Sends a text frame with these five values, whatever they are, in the form of the version.
    pub fn send(
        &mut self,
        join_ref: Value,
        message_ref: Value,
        topic: Value,
        event: Value,
        payload: Value,
    ) {
        let text = self.version.encode(join_ref, message_ref, topic, event, payload);
        self.connection.send(WsMessage::text(text));
    }

    /// Sends a binary push with these fields.
    ///
    /// # Panics
    ///
    /// In V1, which has no binary frames, and when a field has more than 255 bytes.
    pub fn send_binary(
        &mut self,
        join_ref: &str,
        message_ref: &str,
        topic: &str,
        event: &str,
        payload: &[u8],
    ) {
        assert_eq!(self.version, Version::V2, "V1 has no binary frames");
        let frame = encode_binary_push(join_ref, message_ref, topic, event, payload);
        self.connection.send(WsMessage::binary(frame));
    }

    /// How long each wait lasts from here on; see [`Builder::timeout`].
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// The version this client speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Takes the first message that `wanted` accepts out of what is unread, receiving until there
    /// is one.
    fn wait(
        &mut self,
        waiting_for: fmt::Arguments<'_>,
        wanted: impl Fn(&Message) -> bool,
    ) -> Result<Arrival, Error> {
        let deadline = Instant::now() + self.timeout;
        let mut looked_at = 0;
        loop {
            if let Some(found) = self.arrivals.take(looked_at, &wanted) {
                return Ok(found);
            }
            looked_at = self.arrivals.len();
            self.receive(deadline, waiting_for)?;
        }
    }

    /// What is unread must have nothing of the kind.
    fn none_unread(
        &mut self,
        waiting_for: fmt::Arguments<'_>,
        kind: impl Fn(&Message) -> bool,
    ) -> Result<(), Error> {
        match self.arrivals.take(0, kind) {
            Some(arrival) => Err(self.unexpected(waiting_for, arrival.message)),
            None => Ok(()),
        }
    }

    /// Receives one frame and files it where it belongs.
    pub(super) fn receive(
        &mut self,
        deadline: Instant,
        waiting_for: fmt::Arguments<'_>,
    ) -> Result<(), Error> {
        match self.connection.receive(deadline) {
            Received::Data(frame) => Ok(self.arrivals.file(frame, self.version)?),
            Received::Control => Ok(()),
            Received::Nothing => Err(Error::TimedOut {
                waiting_for: waiting_for.to_string(),
                waited: self.timeout,
                unread: self.arrivals.unread(),
            }),
            Received::End(End::Closed(frame)) => Err(Error::Closed {
                waiting_for: waiting_for.to_string(),
                code: frame.map(|frame| frame.code.into()),
                unread: self.arrivals.unread(),
            }),
            Received::End(End::Lost(cause)) => Err(self.lost(waiting_for, cause)),
        }
    }

    pub(super) fn lost(&self, waiting_for: fmt::Arguments<'_>, cause: String) -> Error {
        let waiting_for = waiting_for.to_string();
        Error::Lost { waiting_for, cause, unread: self.arrivals.unread() }
    }

    fn unexpected(&self, waiting_for: fmt::Arguments<'_>, came: Message) -> Error {
        let waiting_for = waiting_for.to_string();
        Error::Unexpected { waiting_for, came: Box::new(came), unread: self.arrivals.unread() }
    }
}

// Here, so that the settings need not know what is made of them.
impl Builder {
    /// Connects.
    ///
    /// # Errors
    ///
    /// When the server can't be reached, refuses ([`ConnectError::Refused`]), doesn't answer, or
    /// answers with no proper handshake; when the path or a header isn't one.
    pub fn connect(self) -> Result<Client, ConnectError> {
        Ok(Client {
            connection: self.open()?,
            version: self.version,
            timeout: self.timeout,
            refs: Refs::default(),
            arrivals: Arrivals::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::message::Payload;
    use crate::testing::stand_in::{read, serve, write};

    #[test]
    fn join_and_push_number_their_refs_apart() {
        let (addr, server) = serve(|server| {
            assert_eq!(read(server), json!(["j1", "1", "t:a", "phx_join", {"p": 1}]));
            write(server, r#"["j1","1","t:a","phx_reply",{"status":"ok","response":{}}]"#);
            assert_eq!(read(server), json!(["j1", "2", "t:a", "hi", {}]));
            assert_eq!(read(server), json!([null, "3", "t:b", "hi", {}]));
            assert_eq!(read(server), json!(["j2", "4", "t:b", "phx_join", {}]));
            assert_eq!(read(server), json!(["j1", "5", "t:a", "phx_leave", {}]));
        });
        let mut client = Client::connect(addr, "/socket").unwrap();
        let reply = client.join("t:a", json!({"p": 1})).unwrap();
        assert_eq!(reply, Reply { status: "ok".into(), response: Payload::Json(json!({})) });
        assert_eq!(client.push("t:a", "hi", json!({})), "2");
        assert_eq!(client.push("t:b", "hi", json!({})), "3");
        assert_eq!(client.send_join("t:b", json!({})), "4");
        assert_eq!(client.leave("t:a"), "5");
        server.join().unwrap();
    }

    #[test]
    fn a_v1_client_sends_no_join_ref() {
        let (addr, server) = serve(|server| {
            let join = json!({"topic": "t", "event": "phx_join", "payload": {}, "ref": "1"});
            assert_eq!(read(server), join);
            let reply = r#""payload":{"status":"ok","response":{}}"#;
            write(server, &format!(r#"{{"topic":"t","event":"phx_reply",{reply},"ref":"1"}}"#));
        });
        let mut client = Client::builder(addr, "/s").version(Version::V1).connect().unwrap();
        assert!(client.join("t", json!({})).unwrap().is_ok());
        server.join().unwrap();
    }

    #[test]
    fn what_comes_while_a_reply_is_waited_for_is_kept_in_order() {
        let (addr, server) = serve(|server| {
            read(server);
            for text in [
                r#"[null,null,"t","first",{}]"#,
                r#"["j1",null,"t","second",{}]"#,
                r#"[null,"1","t","phx_reply",{"status":"ok","response":{"n":1}}]"#,
                r#"[null,null,"t","third",{}]"#,
            ] {
                write(server, text);
            }
        });
        let mut client = Client::connect(addr, "/socket").unwrap();
        let message_ref = client.push("t", "hi", json!({}));
        assert_eq!(client.reply(message_ref).unwrap().response, json!({"n": 1}));
        assert_eq!(client.expect("t", "first").unwrap().payload, json!({}));
        assert_eq!(client.next().unwrap().join_ref, "j1");
        let frame = client.next_frame().unwrap();
        assert_eq!(frame, WsMessage::text(r#"[null,null,"t","third",{}]"#));
        server.join().unwrap();
    }

    #[test]
    fn a_reply_of_another_channel_is_unexpected() {
        for wrong in [r#""1","1","t""#, r#"null,"1","t""#, r#""j1","1","u""#] {
            let (addr, server) = serve(move |server| {
                read(server);
                let ok = r#""phx_reply",{"status":"ok","response":{}}"#;
                write(server, &format!("[{wrong},{ok}]"));
            });
            let mut client = Client::connect(addr, "/socket").unwrap();
            let error = client.join("t", json!({})).unwrap_err();
            assert!(matches!(error, Error::Unexpected { .. }), "{error}");
            server.join().unwrap();
        }
    }

    #[test]
    fn a_topic_that_is_not_joined_is_answered_for_no_channel() {
        let (addr, server) = serve(|server| {
            read(server);
            let response = r#"{"reason":"unmatched topic"}"#;
            let payload = format!(r#"{{"status":"error","response":{response}}}"#);
            write(server, &format!(r#"[null,"1","t","phx_reply",{payload}]"#));
        });
        let mut client = Client::connect(addr, "/socket").unwrap();
        assert_eq!(client.join("t", json!({})).unwrap().status, "error");
        server.join().unwrap();
    }

    #[test]
    fn another_message_than_the_expected_is_told() {
        let (addr, server) = serve(|server| {
            write(server, r#"[null,null,"t","other",{"a":1}]"#);
            write(server, r#"[null,null,"t","wanted",{}]"#);
        });
        let mut client = Client::connect(addr, "/socket").unwrap();
        let error = client.expect("t", "wanted").unwrap_err().to_string();
        assert!(error.starts_with(r#"expected "wanted" of "t", but there came"#), "{error}");
        assert!(error.contains(r#"[null,null,"t","other",{"a":1}]"#), "{error}");
        client.expect("t", "wanted").unwrap();
        server.join().unwrap();
    }

    #[test]
    fn a_wait_in_vain_tells_what_it_was_for_and_what_had_arrived() {
        let (addr, server) = serve(|server| {
            write(server, r#"[null,null,"t","other",{}]"#);
            write(server, r#"[null,"8","t","phx_reply",{"status":"ok","response":{}}]"#);
            // Holds the connection open until the client hangs up.
            server.read().unwrap_err();
        });
        let mut client = Client::connect(addr, "/socket").unwrap();
        client.reply("8").unwrap();
        client.set_timeout(Duration::from_millis(1));
        let error = client.reply("9").unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains(r#"the reply to message "9""#), "{error}");
        assert!(error.contains(r#"unread: [null,null,"t","other",{}]"#), "{error}");
        drop(client);
        server.join().unwrap();
    }

    #[test]
    fn binary_goes_out_as_a_push_and_comes_back_as_a_reply() {
        let (addr, server) = serve(|server| {
            let frame = server.read().unwrap().into_data();
            assert_eq!(frame[..], *b"\x00\x00\x01\x01\x031tbin\x01\x02");
            server.send(WsMessage::binary(b"\x01\x00\x01\x01\x021tok\x03".to_vec())).unwrap();
        });
        let mut client = Client::connect(addr, "/socket").unwrap();
        let message_ref = client.push_binary("t", "bin", &[1, 2]);
        // The empty join_ref of a binary frame is a string, not null: no channel's.
        let error = client.reply(message_ref).unwrap_err();
        assert!(matches!(error, Error::Unexpected { .. }), "{error}");
        server.join().unwrap();
    }

    #[test]
    fn silence_is_broken_by_a_message_that_came_before_the_heartbeat_was_answered() {
        let (addr, server) = serve(|server| {
            for (message_ref, stray) in [("1", None), ("2", Some("u")), ("3", Some("t"))] {
                let heartbeat = json!([null, message_ref, "phoenix", "heartbeat", {}]);
                assert_eq!(read(server), heartbeat);
                if let Some(topic) = stray {
                    write(server, &json!([null, null, topic, "stray", {}]).to_string());
                }
                let ok = json!({"status": "ok", "response": {}});
                write(server, &json!([null, message_ref, "phoenix", "phx_reply", ok]).to_string());
            }
        });
        let mut client = Client::connect(addr, "/socket").unwrap();
        client.silence_everywhere().unwrap();
        client.silence("t").unwrap();
        let error = client.silence("t").unwrap_err();
        let Error::Unexpected { came, .. } = error else { panic!("{error}") };
        assert_eq!(came.topic, "t");
        assert_eq!(client.next().unwrap().topic, "u");
        server.join().unwrap();
    }

    #[test]
    fn a_heartbeat_answered_with_a_join_ref_is_unexpected() {
        let (addr, server) = serve(|server| {
            read(server);
            let ok = json!({"status": "ok", "response": {}});
            write(server, &json!(["j1", "1", "phoenix", "phx_reply", ok]).to_string());
        });
        let mut client = Client::connect(addr, "/socket").unwrap();
        client.heartbeat().unwrap_err();
        server.join().unwrap();
    }

    #[test]
    fn a_malformed_message_is_an_error() {
        let (addr, server) = serve(|server| write(server, r#"[null, null, "t", "e", {}]"#));
        let mut client = Client::connect(addr, "/socket").unwrap();
        let error = client.next().unwrap_err();
        assert!(matches!(error, Error::Malformed(_)), "{error}");
        server.join().unwrap();
    }
}
