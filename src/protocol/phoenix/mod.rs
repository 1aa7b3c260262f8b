//! Phoenix's messages: what a client says, and what it is told.
//!
//! A message has five parts: the join it belongs to, a number of its own, a topic, an event and a
//! payload. Two serializers write it down, and the client picks one when it connects
//! ([`negotiate`]):
//!
//! ```text
//! V2, text      [join_ref, ref, topic, event, payload]
//! V2, binary    kind | sizes, one byte each | the strings, end to end | payload
//! V1            {"topic": …, "event": …, "payload": …, "ref": …}      and join_ref, if one comes
//! ```
//!
//! [`Version::decode`] cuts a message into slices of the bytes it came in. `scan` walks over the
//! JSON once and finds everything there is to object to; nothing is built, so that a payload
//! passed on unread costs one look and one copy. The encoders append finished bytes to a buffer
//! that the caller keeps.
//!
//! Refs are opaque: a client may number its messages with anything JSON has, and gets the same
//! value back. See [`Ref`].

mod scan;
mod text;

mod version;
pub(crate) use version::{Version, VersionError, negotiate};

mod refs;
pub(crate) use refs::{Ref, RefBuf};

mod message;
pub(crate) use message::{Field, Message, RawPayload};

mod decode;
pub(crate) use decode::{check_json, heartbeat_ref};

mod malformed;
pub(crate) use malformed::Malformed;

mod encode;
pub(crate) use encode::EncodeError;
