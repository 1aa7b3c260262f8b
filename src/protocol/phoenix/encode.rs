//! From values to the bytes of a message, without a WebSocket header.
//!
//! The JSON is compact and its strings have only the escapes they must have: there are clients
//! that take a message apart at its first four commas.

use super::refs::normalise;
use super::scan::plain_len;
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

/// Appends a JSON string with no escape that could be done without.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text.as_bytes();
    out.push(b'"');
    loop {
        let (plain, special) = rest.split_at(plain_len(rest));
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else { break };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            _ => {
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
        }
        rest = after;
    }
    out.push(b'"');
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
