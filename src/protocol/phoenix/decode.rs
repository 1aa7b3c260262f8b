//! From bytes to a [`Message`].

use std::str;

use super::refs::MAX_FIELD_DEPTH;
use super::scan::Scanner;
use super::{Field, Message, RawPayload, Ref, Version};

impl Version {
    /// Cuts one WebSocket message into its parts.
    ///
    /// Everything in it is checked here, the payload included: that it is JSON and UTF-8, with
    /// containers at most `max_depth` deep, and that it fits the doubles and strings of whoever
    /// reads it. V1 has no binary messages and takes their bytes for text.
    pub(crate) fn decode(
        self,
        binary: bool,
        bytes: &[u8],
        max_depth: usize,
    ) -> Result<Message<'_>, Malformed> {
        match self {
            Self::V2 if binary => decode_binary(bytes),
            Self::V2 => decode_array(as_text(bytes)?, max_depth),
            Self::V1 => decode_object(as_text(bytes)?, max_depth),
        }
    }
}

/// Why a message could not be read. The client's connection ends with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Malformed {
    /// No JSON, or a list too short, or not a list at all.
    #[error("unexpected input, or the end of it, at byte {at}")]
    Unexpected { at: usize },
    #[error("not UTF-8 from byte {at}")]
    NotUtf8 { at: usize },
    #[error("nested deeper than {max_depth}")]
    TooDeep { max_depth: usize },
    #[error("number at byte {at} is out of range")]
    NumberOutOfRange { at: usize },
    #[error("half a surrogate pair at byte {at}")]
    LoneSurrogate { at: usize },
    /// An object of the first version lacks one of the four keys it must have.
    #[error("key `{key}` is missing")]
    MissingKey { key: &'static str },
    /// A binary message is none of those a client may send.
    #[error("binary message of unknown kind {kind}")]
    UnknownKind { kind: u8 },
    #[error("binary message is truncated")]
    Truncated,
}

/// Checks a text to be one JSON value as messages may hold, and takes off the space around it.
pub(crate) fn check_json(bytes: &[u8], max_depth: usize) -> Result<&str, Malformed> {
    let mut scanner = Scanner::new(as_text(bytes)?);
    let value = scanner.value(max_depth)?;
    scanner.end()?;
    Ok(value.raw)
}

/// The ref of a heartbeat as phoenix.js writes it, `[null,"REF","phoenix","heartbeat",{}]`, quotes
/// included: the shortcut for what most messages of a quiet server are.
///
/// `None` means nothing but that the long way has to be taken.
pub(crate) fn heartbeat_ref(bytes: &[u8]) -> Option<&[u8]> {
    let message_ref = bytes
        .strip_prefix(b"[null,".as_slice())?
        .strip_suffix(b",\"phoenix\",\"heartbeat\",{}]".as_slice())?;
    let [b'"', text @ .., b'"'] = message_ref else { return None };
    text.iter().all(u8::is_ascii_alphanumeric).then_some(message_ref)
}

/// `[join_ref, ref, topic, event, payload]`, and whatever follows.
fn decode_array(text: &str, max_depth: usize) -> Result<Message<'_>, Malformed> {
    let mut scanner = Scanner::new(text);
    let field_depth = MAX_FIELD_DEPTH.min(max_depth);
    scanner.expect(b'[')?;
    let join_ref = scanner.value(field_depth)?;
    scanner.expect(b',')?;
    let message_ref = scanner.value(field_depth)?;
    scanner.expect(b',')?;
    let topic = scanner.value(field_depth)?;
    scanner.expect(b',')?;
    let event = scanner.value(field_depth)?;
    scanner.expect(b',')?;
    let payload = scanner.value(max_depth)?;
    while scanner.eat(b',') {
        scanner.value(max_depth)?;
    }
    scanner.expect(b']')?;
    scanner.end()?;
    Ok(Message {
        join_ref: Ref::new(join_ref),
        message_ref: Ref::new(message_ref),
        topic: Field::new(topic),
        event: Field::new(event),
        payload: RawPayload::Json(payload.raw.as_bytes()),
    })
}

/// `{"topic": …, "event": …, "payload": …, "ref": …, "join_ref": …}`, the last one optional.
fn decode_object(text: &str, max_depth: usize) -> Result<Message<'_>, Malformed> {
    let mut scanner = Scanner::new(text);
    let field_depth = MAX_FIELD_DEPTH.min(max_depth);
    let (mut join_ref, mut message_ref) = (None, None);
    let (mut topic, mut event, mut payload) = (None, None, None);
    scanner.expect(b'{')?;
    if !scanner.eat(b'}') {
        loop {
            // A key that comes twice overwrites: the last one wins.
            match scanner.key()?.as_text().as_deref() {
                Some("join_ref") => join_ref = Some(scanner.value(field_depth)?),
                Some("ref") => message_ref = Some(scanner.value(field_depth)?),
                Some("topic") => topic = Some(scanner.value(field_depth)?),
                Some("event") => event = Some(scanner.value(field_depth)?),
                Some("payload") => payload = Some(scanner.value(max_depth)?),
                _ => drop(scanner.value(max_depth)?),
            }
            if !scanner.eat(b',') {
                break;
            }
        }
        scanner.expect(b'}')?;
    }
    scanner.end()?;
    let missing = |key| Malformed::MissingKey { key };
    Ok(Message {
        join_ref: join_ref.map_or(Ref::NULL, Ref::new),
        message_ref: Ref::new(message_ref.ok_or(missing("ref"))?),
        topic: Field::new(topic.ok_or(missing("topic"))?),
        event: Field::new(event.ok_or(missing("event"))?),
        payload: RawPayload::Json(payload.ok_or(missing("payload"))?.raw.as_bytes()),
    })
}

/// A push: `0 | four sizes | join_ref | ref | topic | event | payload`.
///
/// Its refs are strings whatever they hold; one of no length is `""`, not null.
fn decode_binary(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let (&kind, _) = bytes.split_first().ok_or(Malformed::Truncated)?;
    if kind != 0 {
        return Err(Malformed::UnknownKind { kind });
    }
    let (header, mut rest) = bytes.split_first_chunk::<5>().ok_or(Malformed::Truncated)?;
    let [_, join_ref, message_ref, topic, event] = *header;
    let mut take = |size: u8| {
        let at = bytes.len() - rest.len();
        let (field, after) = rest.split_at_checked(size.into()).ok_or(Malformed::Truncated)?;
        rest = after;
        str::from_utf8(field).map_err(|error| Malformed::NotUtf8 { at: at + error.valid_up_to() })
    };
    Ok(Message {
        join_ref: Ref::from_text(take(join_ref)?),
        message_ref: Ref::from_text(take(message_ref)?),
        topic: take(topic)?.into(),
        event: take(event)?.into(),
        payload: RawPayload::Binary(rest),
    })
}

/// WebSocket has checked its text messages already, but not the binary ones that V1 takes for
/// text, and a long poll nothing. For ASCII it is a matter of nanoseconds.
fn as_text(bytes: &[u8]) -> Result<&str, Malformed> {
    str::from_utf8(bytes).map_err(|error| Malformed::NotUtf8 { at: error.valid_up_to() })
}
