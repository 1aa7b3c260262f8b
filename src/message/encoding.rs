//! Encodings: how a client's messages become frames, and the frames that many clients share.
//!
//! This is the one author of a frame that carries a message. An encoding is a value to be compared,
//! not a number to count by: nothing is sized by how many of them there are, so that a serializer of
//! an application's own, a compression or a position in each frame would be one more field here.

use bytes::Bytes;
use once_cell::race::OnceBox;

use super::payload::Payload;
use crate::protocol::phoenix::{EncodeError, Field, Malformed, Message, Ref, Version};
use crate::protocol::websocket::{self, OpCode};

/// How messages to and from one client are written down: what its connection asked for, of what
/// its mount offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Encoding {
    version: Version,
}

/// Each appends one finished frame to `out`. After an error `out` is as it was.
impl Encoding {
    #[cfg(test)]
    pub(crate) const V1: Self = Self::phoenix(Version::V1);
    pub(crate) const V2: Self = Self::phoenix(Version::V2);

    /// A serializer of Phoenix's.
    pub(crate) const fn phoenix(version: Version) -> Self {
        Self { version }
    }

    /// The answer to a client's message.
    #[inline]
    pub(crate) fn reply(
        self,
        out: &mut Vec<u8>,
        (join_ref, message_ref): (Ref<'_>, Ref<'_>),
        topic: Field<'_>,
        status: &str,
        response: &Payload,
    ) -> Result<(), EncodeError> {
        frame(out, response, |out| {
            let response = response.as_raw();
            self.version.encode_reply(out, join_ref, message_ref, topic, status, response)
        })
    }

    /// A message to one client.
    pub(crate) fn push(
        self,
        out: &mut Vec<u8>,
        (join_ref, message_ref): (Ref<'_>, Ref<'_>),
        topic: &str,
        event: &str,
        payload: &Payload,
    ) -> Result<(), EncodeError> {
        frame(out, payload, |out| {
            let payload = payload.as_raw();
            self.version.encode_push(out, join_ref, message_ref, topic, event, payload)
        })
    }

    /// A message to everybody on a topic.
    pub(crate) fn broadcast(
        self,
        out: &mut Vec<u8>,
        topic: &str,
        event: &str,
        payload: &Payload,
    ) -> Result<(), EncodeError> {
        frame(out, payload, |out| {
            self.version.encode_broadcast(out, topic, event, payload.as_raw())
        })
    }
}

/// What a client says, cut into its parts.
impl Encoding {
    #[inline]
    pub(crate) fn decode(self, text: &str, max_depth: usize) -> Result<Message<'_>, Malformed> {
        self.version.decode(text, max_depth)
    }

    pub(crate) fn decode_binary(
        self,
        bytes: &[u8],
        max_depth: usize,
    ) -> Result<Message<'_>, Malformed> {
        self.version.decode_binary(bytes, max_depth)
    }

    /// Whether heartbeats look as [`heartbeat_ref`](crate::protocol::phoenix::heartbeat_ref) knows
    /// them.
    #[inline]
    pub(crate) fn has_plain_heartbeats(self) -> bool {
        self.version == Version::V2
    }
}

#[inline]
fn frame<R>(
    out: &mut Vec<u8>,
    payload: &Payload,
    body: impl FnOnce(&mut Vec<u8>) -> Result<R, EncodeError>,
) -> Result<(), EncodeError> {
    // Whether a message is text or binary depends on its payload alone.
    let opcode = if payload.is_binary() { OpCode::Binary } else { OpCode::Text };
    websocket::try_write_frame(out, opcode, body)?;
    Ok(())
}

/// The finished frames of one message: one for each encoding that somebody has wanted, made by
/// whoever wants it first and published once.
///
/// A list, because nearly always it has one entry: the clients of a topic speak alike.
#[derive(Default)]
pub(crate) struct Frames(OnceBox<Made>);

struct Made {
    encoding: Encoding,
    frame: Bytes,
    others: Frames,
}

impl Frames {
    /// The frame in this encoding.
    ///
    /// # Errors
    ///
    /// Those of `make`; then nothing is kept.
    pub(crate) fn of(
        &self,
        encoding: Encoding,
        make: impl FnOnce() -> Result<Bytes, EncodeError>,
    ) -> Result<Bytes, EncodeError> {
        let mut place = self;
        while let Some(made) = place.0.get() {
            if made.encoding == encoding {
                return Ok(made.frame.clone());
            }
            place = &made.others;
        }
        let frame = make()?;
        let mut made = Box::new(Made { encoding, frame: frame.clone(), others: Self::default() });
        while let Err(mine) = place.0.set(made) {
            // Another shard came first. If with the same frame, theirs is as good.
            let theirs = place.0.get().expect("it is set, and for good");
            if theirs.encoding == encoding {
                return Ok(theirs.frame.clone());
            }
            (made, place) = (mine, &theirs.others);
        }
        Ok(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Result<Bytes, EncodeError> {
        Ok(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_frame_is_made_once_for_each_encoding() {
        let frames = Frames::default();
        assert_eq!(frames.of(Encoding::V2, || bytes("two")), bytes("two"));
        assert_eq!(frames.of(Encoding::V1, || bytes("one")), bytes("one"));
        for (encoding, frame) in [(Encoding::V1, "one"), (Encoding::V2, "two")] {
            assert_eq!(frames.of(encoding, || unreachable!("it is there")), bytes(frame));
        }
    }

    #[test]
    fn a_frame_that_could_not_be_made_is_tried_again() {
        let frames = Frames::default();
        let failed = frames.of(Encoding::V1, || Err(EncodeError::BinaryOnV1));
        assert_eq!(failed, Err(EncodeError::BinaryOnV1));
        assert_eq!(frames.of(Encoding::V1, || bytes("one")), bytes("one"));
    }

    /// Several shards at once, each with the encodings in another order: all see the same frames.
    #[test]
    fn who_comes_second_takes_the_frame_of_the_first() {
        for _ in 0..200 {
            let frames = Frames::default();
            let made: Vec<_> = std::thread::scope(|scope| {
                let frames = &frames;
                let threads: Vec<_> = (0..4)
                    .map(|thread| {
                        let order = [Encoding::V1, Encoding::V2];
                        scope.spawn(move || {
                            let make = || Ok(Bytes::from(vec![thread as u8]));
                            let mut made = [0, 1].map(|step| {
                                let encoding = order[(thread + step) % 2];
                                (encoding == Encoding::V1, frames.of(encoding, make).unwrap())
                            });
                            made.sort_by_key(|(is_first, _)| *is_first);
                            made
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(made.iter().all(|theirs| *theirs == made[0]));
        }
    }
}
