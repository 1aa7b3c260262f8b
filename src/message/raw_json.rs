//! JSON that stays unread inside bigger JSON.

use std::fmt;

use serde::{Serialize, Serializer, ser};
use serde_json::value::RawValue;

/// The JSON text of a payload, to be a part of something bigger: it serialises as the value it is.
///
/// Made by [`Payload::raw_json`](crate::Payload::raw_json), which says no to a binary payload. A
/// [`Payload`](crate::Payload) itself has no `Serialize`: whether it is binary is up to the client who
/// sent it, and `serde_json::json!` panics at what can't be written as JSON.
///
/// # Example
///
/// ```
/// use serde::Serialize;
/// use simurgh::{Payload, RawJson};
///
/// #[derive(Serialize)]
/// struct Said<'a> {
///     from: &'a str,
///     data: RawJson<'a>,
/// }
///
/// let payload = Payload::from_json_text(r#"{"n": 1.50}"#)?;
/// let said = Payload::json(&Said { from: "ann", data: payload.raw_json()? })?;
/// assert_eq!(said.as_json(), Some(r#"{"from":"ann","data":{"n": 1.50}}"#));
/// # Ok::<(), simurgh::PayloadError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawJson<'a>(&'a str);

impl<'a> RawJson<'a> {
    /// A text that has been checked to be JSON; `None` if it is nested too deeply for serde_json.
    pub(super) fn new(text: &'a str) -> Option<Self> {
        // Most can't be so deep, and it need not be found out how deep they are.
        let opens = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
        (opens <= MAX_DEPTH || depth(text) <= MAX_DEPTH).then_some(Self(text))
    }

    /// The text.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

impl Serialize for RawJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(self.0).map_err(ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl fmt::Debug for RawJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// How deep a JSON text is nested.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
    }
    deepest
}

/// Levels that serde_json reads.
const MAX_DEPTH: usize = 127;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_raw_json_can_always_be_written() {
        for text in ["null", "[]", r#"{"a": [ 1.50 ]}"#, r#""[\"{\\""#] {
            let raw = RawJson::new(text).expect("it is shallow");
            assert_eq!(serde_json::to_string(&[raw]).unwrap(), format!("[{text}]"));
            assert_eq!(json!({ "a": raw })["a"], serde_json::from_str::<Value>(text).unwrap());
        }
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let deepest = deep(MAX_DEPTH);
        let raw = RawJson::new(&deepest).expect("serde_json reads it");
        assert!(json!({ "a": { "b": raw } })["a"]["b"].is_array());
        assert_eq!(RawJson::new(&deep(MAX_DEPTH + 1)), None);
        let wide = format!("[{}\"[[[\"]", r#"[],{},"]","\"{","#.repeat(1_000));
        assert!(RawJson::new(&wide).is_some());
    }

    #[test]
    fn brackets_in_strings_are_not_counted() {
        for (json, deep) in [
            ("1", 0),
            ("[]", 1),
            (r#"{"a":[{}],"b":[]}"#, 3),
            (r#""[[[""#, 0),
            (r#"["\"[[","\\",[]]"#, 2),
        ] {
            assert_eq!(depth(json), deep, "{json}");
        }
    }
}
