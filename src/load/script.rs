//! What a client says in a topic, and what is expected in return.

use serde_json::Value;

use super::frame::{self, Frame, WHOLE_TEXT};

/// What is sent in one topic, and what is expected for it.
#[derive(Debug)]
pub(crate) struct Script {
    /// One or several frames, written at once.
    pub(crate) sent: Vec<u8>,
    /// How many frames that brings each client that hears of it.
    pub(crate) frames: u32,
    pub(crate) expected: Expected,
}

impl Script {
    pub(crate) fn new(sent: &str, at_once: u32, expected: &str) -> Self {
        Self {
            sent: frame::masked_text(sent).repeat(at_once as usize),
            frames: at_once,
            expected: Expected::new(expected),
        }
    }
}

/// The message that every frame should carry.
///
/// Every frame is held against its length, which catches errors, closes and messages of others at
/// no cost; one in [`SAMPLE`] is held against its content.
#[derive(Debug)]
pub(crate) struct Expected {
    value: Value,
    length: u64,
    /// Counts down to the next frame whose content is compared.
    until_sample: u32,
}

impl Expected {
    fn new(message: &str) -> Self {
        let value = serde_json::from_str(message).expect("the load's own payloads are JSON");
        Self { value, length: message.len() as u64, until_sample: 0 }
    }

    /// Whether this is the frame that was expected.
    pub(crate) fn matches(&mut self, frame: Frame<'_>) -> bool {
        if frame.first_byte != WHOLE_TEXT || frame.length != self.length {
            return false;
        }
        match frame.payload {
            Some(payload) if self.until_sample == 0 => {
                self.until_sample = SAMPLE;
                // As values: the order of an object's keys is the server's own business.
                serde_json::from_slice(payload).is_ok_and(|value: Value| value == self.value)
            }
            _ => {
                self.until_sample = self.until_sample.saturating_sub(1);
                true
            }
        }
    }
}

/// Comparing costs about a microsecond; one frame in so many is read anyway.
const SAMPLE: u32 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(payload: &str) -> Frame<'_> {
        Frame {
            first_byte: WHOLE_TEXT,
            length: payload.len() as u64,
            payload: Some(payload.as_bytes()),
        }
    }

    #[test]
    fn a_frame_of_another_length_or_opcode_is_unexpected_at_once() {
        let mut expected = Expected::new(r#"{"a":1}"#);
        expected.until_sample = SAMPLE;
        assert!(!expected.matches(text(r#"{"a":10}"#)));
        assert!(!expected.matches(Frame { first_byte: frame::CLOSE, ..text(r#"{"a":1}"#) }));
    }

    #[test]
    fn wrong_content_is_found_within_a_sample() {
        let mut expected = Expected::new(r#"{"a":1,"b":2}"#);
        assert!(expected.matches(text(r#"{"b":2,"a":1}"#)), "keys may come in any order");
        let right = (0..=SAMPLE).filter(|_| expected.matches(text(r#"{"a":1,"b":3}"#))).count();
        assert_eq!(right, SAMPLE as usize);
    }
}
