//! From values to the bytes of a message, without a WebSocket header.
//!
//! The JSON is compact and its strings have only the escapes they must have: there are clients
//! that take a message apart at its first four commas.

use super::refs::normalise;
use super::text::write_string;
use super::{Field, RawPayload, Ref, Version};

/// Each appends one message to `out` and says which kind of WebSocket message it is. After an
/// error `out` is as it was.
impl Version {
    /// The answer to a client's message: an event `phx_reply` with `status` and `response`.
    ///
    /// It is binary if the response is, whatever the client had sent.
    pub(crate) fn encode_reply(
        self,
        out: &mut Vec<u8>,
        join_ref: Ref<'_>,
        message_ref: Ref<'_>,
        topic: Field<'_>,
        status: &str,
        response: RawPayload<'_>,
    ) -> Result<Kind, EncodeError> {
        let response = match (self, response) {
            (_, RawPayload::Json(response)) => response,
            (Self::V1, RawPayload::Binary(_)) => return Err(EncodeError::BinaryOnV1),
            (Self::V2, RawPayload::Binary(response)) => {
                let topic = match &topic {
                    Field::Text(topic) => topic.as_bytes(),
                    Field::Other(json) => json,
                };
                let fields = [
                    ("join_ref", &*join_ref.as_bare_text()),
                    ("ref", &*message_ref.as_bare_text()),
                    ("topic", topic),
                    ("status", status.as_bytes()),
                ];
                return encode_binary(out, REPLY, fields, response);
            }
        };
        out.reserve(response.len() + ROOM);
        match self {
            Self::V2 => {
                out.push(b'[');
                out.extend_from_slice(join_ref.as_json());
                out.push(b',');
                out.extend_from_slice(message_ref.as_json());
                out.push(b',');
                write_field(out, &topic);
                out.extend_from_slice(b",\"phx_reply\",");
                write_reply(out, status, response);
                out.push(b']');
            }
            Self::V1 => {
                out.extend_from_slice(b"{\"topic\":");
                write_field(out, &topic);
                out.extend_from_slice(b",\"event\":\"phx_reply\",\"payload\":");
                write_reply(out, status, response);
                out.extend_from_slice(b",\"ref\":");
                out.extend_from_slice(message_ref.as_json());
                out.push(b'}');
            }
        }
        Ok(Kind::Text)
    }

    /// A message to one client.
    ///
    /// `message_ref` is null, except that `phx_close` and `phx_error` have the join's ref there as
    /// well. A binary push has no room for one.
    pub(crate) fn encode_push(
        self,
        out: &mut Vec<u8>,
        join_ref: Ref<'_>,
        message_ref: Ref<'_>,
        topic: &str,
        event: &str,
        payload: RawPayload<'_>,
    ) -> Result<Kind, EncodeError> {
        match (self, payload) {
            (Self::V2, RawPayload::Binary(payload)) => {
                let fields = [
                    ("join_ref", &*join_ref.as_bare_text()),
                    ("topic", topic.as_bytes()),
                    ("event", event.as_bytes()),
                ];
                encode_binary(out, PUSH, fields, payload)
            }
            _ => self.encode_text(out, &join_ref, &message_ref, topic, event, payload),
        }
    }

    /// A message to everybody on a topic, which is why it belongs to no join.
    pub(crate) fn encode_broadcast(
        self,
        out: &mut Vec<u8>,
        topic: &str,
        event: &str,
        payload: RawPayload<'_>,
    ) -> Result<Kind, EncodeError> {
        match (self, payload) {
            (Self::V2, RawPayload::Binary(payload)) => {
                let fields = [("topic", topic.as_bytes()), ("event", event.as_bytes())];
                encode_binary(out, BROADCAST, fields, payload)
            }
            _ => self.encode_text(out, &Ref::NULL, &Ref::NULL, topic, event, payload),
        }
    }

    /// A push or a broadcast as JSON.
    fn encode_text(
        self,
        out: &mut Vec<u8>,
        join_ref: &Ref<'_>,
        message_ref: &Ref<'_>,
        topic: &str,
        event: &str,
        payload: RawPayload<'_>,
    ) -> Result<Kind, EncodeError> {
        let RawPayload::Json(payload) = payload else { return Err(EncodeError::BinaryOnV1) };
        if self == Self::V2 && !is_object(payload) {
            return Err(EncodeError::NotAnObject);
        }
        out.reserve(topic.len() + event.len() + payload.len() + ROOM);
        match self {
            Self::V2 => {
                out.push(b'[');
                out.extend_from_slice(join_ref.as_json());
                out.push(b',');
                out.extend_from_slice(message_ref.as_json());
                out.push(b',');
                write_string(out, topic);
                out.push(b',');
                write_string(out, event);
                out.push(b',');
                out.extend_from_slice(payload);
                out.push(b']');
            }
            Self::V1 => {
                out.extend_from_slice(b"{\"topic\":");
                write_string(out, topic);
                out.extend_from_slice(b",\"event\":");
                write_string(out, event);
                out.extend_from_slice(b",\"payload\":");
                out.extend_from_slice(payload);
                out.extend_from_slice(b",\"ref\":");
                out.extend_from_slice(message_ref.as_json());
                out.push(b'}');
            }
        }
        Ok(Kind::Text)
    }
}

/// Which WebSocket message carries it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Text,
    Binary,
}

/// Why a message cannot be written down. It is the sender who is told.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum EncodeError {
    /// Clients of the second version take a push's payload for an object without looking.
    #[error("payload is neither an object nor binary")]
    NotAnObject,
    /// The size of a field is one byte in a binary message.
    #[error("{field} of {length} bytes exceeds what a binary message holds (255)")]
    TooLong { field: &'static str, length: usize },
    #[error("a client of version 1 takes no binary payload")]
    BinaryOnV1,
}

/// Appends `kind`, the sizes of the fields, the fields and the payload.
fn encode_binary<const N: usize>(
    out: &mut Vec<u8>,
    kind: u8,
    fields: [(&'static str, &[u8]); N],
    payload: &[u8],
) -> Result<Kind, EncodeError> {
    let mut sizes = [0; N];
    for (size, (field, text)) in sizes.iter_mut().zip(fields) {
        let length = text.len();
        *size = u8::try_from(length).map_err(|_| EncodeError::TooLong { field, length })?;
    }
    out.reserve(fields.iter().map(|(_, text)| text.len()).sum::<usize>() + payload.len() + ROOM);
    out.push(kind);
    out.extend_from_slice(&sizes);
    for (_, text) in fields {
        out.extend_from_slice(text);
    }
    out.extend_from_slice(payload);
    Ok(Kind::Binary)
}

fn write_reply(out: &mut Vec<u8>, status: &str, response: &[u8]) {
    out.extend_from_slice(b"{\"status\":");
    write_string(out, status);
    out.extend_from_slice(b",\"response\":");
    out.extend_from_slice(response);
    out.push(b'}');
}

fn write_field(out: &mut Vec<u8>, field: &Field<'_>) {
    match field {
        Field::Text(text) => write_string(out, text),
        // What a client sent with spaces goes back without.
        Field::Other(json) => {
            normalise(str::from_utf8(json).expect("decoding has seen the field to be UTF-8"), out)
        }
    }
}

/// Whether a JSON text is an object; its first byte tells.
fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
}

/// The first byte of a binary message.
const PUSH: u8 = 0;
const REPLY: u8 = 1;
const BROADCAST: u8 = 2;

/// About what a message has besides its topic, its event and its payload.
const ROOM: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: RawPayload<'_> = RawPayload::Json(b"{}");
    const BINARY: RawPayload<'_> = RawPayload::Binary(&[1, 2, 3]);

    fn text(
        encode: impl FnOnce(&mut Vec<u8>) -> Result<Kind, EncodeError>,
    ) -> Result<String, EncodeError> {
        let mut out = b"before ".to_vec();
        let kind = encode(&mut out);
        if kind.is_err() {
            assert_eq!(out, b"before ");
        }
        assert_eq!(kind?, Kind::Text);
        Ok(String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().into())
    }

    fn binary(
        encode: impl FnOnce(&mut Vec<u8>) -> Result<Kind, EncodeError>,
    ) -> Result<Vec<u8>, EncodeError> {
        let mut out = b"before ".to_vec();
        let kind = encode(&mut out);
        if kind.is_err() {
            assert_eq!(out, b"before ");
        }
        assert_eq!(kind?, Kind::Binary);
        Ok(out.strip_prefix(b"before ").unwrap().into())
    }

    fn string(text: &str) -> Ref<'static> {
        Ref::from_text(text)
    }

    #[test]
    fn text_messages_of_the_second_version_are_arrays_of_five() {
        let reply = |join_ref, status, response| {
            text(|out| {
                let response = RawPayload::Json(response);
                Version::V2.encode_reply(out, join_ref, string("5"), "t:a".into(), status, response)
            })
        };
        assert_eq!(
            reply(string("3"), "ok", b"{}").unwrap(),
            r#"["3","5","t:a","phx_reply",{"status":"ok","response":{}}]"#,
        );
        assert_eq!(
            reply(Ref::NULL, "error", br#"{"reason":"unmatched topic"}"#).unwrap(),
            concat!(
                r#"[null,"5","t:a","phx_reply","#,
                r#"{"status":"error","response":{"reason":"unmatched topic"}}]"#,
            ),
        );
        assert_eq!(
            reply(Ref::from_json(b"1.5"), "a \"status\"", b"\"a string\"").unwrap(),
            r#"[1.5,"5","t:a","phx_reply",{"status":"a \"status\"","response":"a string"}]"#,
        );
        let push = |message_ref, event, payload| {
            text(|out| {
                let payload = RawPayload::Json(payload);
                Version::V2.encode_push(out, string("1"), message_ref, "t:a", event, payload)
            })
        };
        assert_eq!(push(Ref::NULL, "e", b"{\"n\":1}").unwrap(), r#"["1",null,"t:a","e",{"n":1}]"#);
        assert_eq!(
            push(string("1"), "phx_close", b"{}").unwrap(),
            r#"["1","1","t:a","phx_close",{}]"#,
        );
        assert_eq!(
            text(|out| Version::V2.encode_broadcast(out, "t:a", "e", EMPTY)).unwrap(),
            r#"[null,null,"t:a","e",{}]"#,
        );
    }

    #[test]
    fn messages_of_the_first_version_are_objects_without_a_join_ref() {
        assert_eq!(
            text(|out| {
                let response = RawPayload::Json(b"[1]");
                Version::V1.encode_reply(out, string("3"), string("5"), "t".into(), "ok", response)
            })
            .unwrap(),
            concat!(
                r#"{"topic":"t","event":"phx_reply","#,
                r#""payload":{"status":"ok","response":[1]},"ref":"5"}"#,
            ),
        );
        assert_eq!(
            text(|out| Version::V1.encode_push(out, string("3"), Ref::NULL, "t", "e", EMPTY))
                .unwrap(),
            r#"{"topic":"t","event":"e","payload":{},"ref":null}"#,
        );
        let close = |join_ref: fn() -> Ref<'static>| {
            text(|out| {
                Version::V1.encode_push(out, join_ref(), join_ref(), "t", "phx_close", EMPTY)
            })
        };
        assert_eq!(
            close(|| Ref::NULL).unwrap(),
            r#"{"topic":"t","event":"phx_close","payload":{},"ref":null}"#,
        );
        assert_eq!(
            close(|| string("3")).unwrap(),
            r#"{"topic":"t","event":"phx_close","payload":{},"ref":"3"}"#,
        );
        assert_eq!(
            text(|out| Version::V1.encode_broadcast(out, "t", "e", RawPayload::Json(b"7")))
                .unwrap(),
            r#"{"topic":"t","event":"e","payload":7,"ref":null}"#,
        );
    }

    #[test]
    fn binary_messages_have_their_sizes_in_front() {
        assert_eq!(
            binary(|out| {
                Version::V2.encode_push(out, string("1"), Ref::NULL, "test:a", "pb", BINARY)
            })
            .unwrap(),
            b"\x00\x01\x06\x021test:apb\x01\x02\x03",
        );
        assert_eq!(
            binary(|out| {
                let response = RawPayload::Binary(&[4, 5]);
                let topic = "test:a".into();
                Version::V2.encode_reply(out, string("1"), string("2"), topic, "ok", response)
            })
            .unwrap(),
            b"\x01\x01\x01\x06\x0212test:aok\x04\x05",
        );
        assert_eq!(
            binary(|out| Version::V2.encode_broadcast(out, "test:a", "bb", BINARY)).unwrap(),
            b"\x02\x06\x02test:abb\x01\x02\x03",
        );
    }

    #[test]
    fn refs_of_binary_messages_are_bare_text() {
        for (json, bare) in
            [("null", ""), ("7", "7"), ("\"\"", ""), (r#""\"é""#, "\"é"), ("[1]", "[1]")]
        {
            let message = binary(|out| {
                let message_ref = Ref::from_json(json.as_bytes());
                Version::V2.encode_reply(out, Ref::NULL, message_ref, "t".into(), "ok", BINARY)
            });
            let sizes = [1, 0, bare.len() as u8, 1, 2];
            let expected = [&sizes, bare.as_bytes(), b"tok\x01\x02\x03"].concat();
            assert_eq!(message.unwrap(), expected);
        }
    }

    #[test]
    fn fields_of_binary_messages_are_at_most_255_bytes() {
        let fits = "é".repeat(127) + "x";
        let long = "é".repeat(128);
        let too_long = |field| Err(EncodeError::TooLong { field, length: 256 });

        let broadcast =
            |topic, event| binary(|out| Version::V2.encode_broadcast(out, topic, event, BINARY));
        let message = broadcast(&fits, &fits).unwrap();
        assert_eq!(
            message,
            [b"\x02\xff\xff", fits.as_bytes(), fits.as_bytes(), &[1, 2, 3]].concat()
        );
        assert_eq!(broadcast(&long, "e"), too_long("topic"));
        assert_eq!(broadcast("t", &long), too_long("event"));

        let push = |join_ref: &str| {
            let join_ref = string(join_ref);
            binary(|out| Version::V2.encode_push(out, join_ref, Ref::NULL, "t", "e", BINARY))
        };
        assert!(push(&fits).is_ok());
        assert_eq!(push(&long), too_long("join_ref"));

        let reply = |message_ref: &str, status| {
            let message_ref = string(message_ref);
            binary(|out| {
                Version::V2.encode_reply(out, Ref::NULL, message_ref, "t".into(), status, BINARY)
            })
        };
        assert!(reply(&fits, &fits).is_ok());
        assert_eq!(reply(&long, "ok"), too_long("ref"));
        assert_eq!(reply("1", &long), too_long("status"));

        // As text there is no such limit.
        assert!(text(|out| Version::V2.encode_broadcast(out, &long, &long, EMPTY)).is_ok());
    }

    #[test]
    fn what_a_version_cannot_say_is_an_error() {
        for payload in ["null", "[]", "\"{}\"", "1", "", " [{}]"] {
            let payload = RawPayload::Json(payload.as_bytes());
            let refused = Err(EncodeError::NotAnObject);
            assert_eq!(text(|out| Version::V2.encode_broadcast(out, "t", "e", payload)), refused);
            assert_eq!(
                text(|out| Version::V2.encode_push(out, Ref::NULL, Ref::NULL, "t", "e", payload)),
                refused,
            );
        }
        let spaced = RawPayload::Json(b" {}");
        assert!(text(|out| Version::V2.encode_broadcast(out, "t", "e", spaced)).is_ok());

        let v1 = Version::V1;
        let refused = Err(EncodeError::BinaryOnV1);
        assert_eq!(text(|out| v1.encode_broadcast(out, "t", "e", BINARY)), refused);
        assert_eq!(
            text(|out| v1.encode_push(out, Ref::NULL, Ref::NULL, "t", "e", BINARY)),
            refused,
        );
        assert_eq!(
            text(|out| v1.encode_reply(out, Ref::NULL, Ref::NULL, "t".into(), "ok", BINARY)),
            refused,
        );
    }

    #[test]
    fn a_topic_that_is_no_string_goes_back_as_the_same_value() {
        for (topic, expected) in
            [("null", "null"), ("1", "1"), (r#"{ "a" : [1, 2] }"#, r#"{"a":[1,2]}"#)]
        {
            for (version, prefix) in [(Version::V2, "[null,null,"), (Version::V1, "{\"topic\":")] {
                let reply = text(|out| {
                    let topic = Field::Other(topic.as_bytes());
                    version.encode_reply(out, Ref::NULL, Ref::NULL, topic, "error", EMPTY)
                });
                let reply = reply.unwrap();
                assert!(reply.starts_with(&format!("{prefix}{expected},")), "{reply}");
            }
        }
    }
}
