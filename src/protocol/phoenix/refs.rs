//! The values that clients number their joins and messages with.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;

use super::text::write_string;

/// A `join_ref` or `ref`: any JSON value, and nearly always a short string of digits.
///
/// It is kept as JSON text in a form in which equal values are equal bytes: strings have only the
/// escapes they need, floats are written shortest, keys are sorted and there is no white space. So
/// `"\u0031"` is `"1"`, while `1`, `"1"` and `1.0` are three different refs, as they are to
/// Phoenix. A plain string is its own normal form and is borrowed as it came.
#[derive(Clone)]
pub(crate) struct Ref<'a>(Repr<'a>);

#[derive(Clone)]
enum Repr<'a> {
    Borrowed(&'a [u8]),
    Owned(RefBuf),
}

impl<'a> Ref<'a> {
    pub(crate) const NULL: Ref<'static> = Ref(Repr::Borrowed(b"null"));

    /// The ref with this JSON text, which must be in normal form, as [`as_json`](Self::as_json)
    /// and [`heartbeat_ref`](super::heartbeat_ref) give it.
    pub(crate) const fn from_json(json: &'a [u8]) -> Self {
        Self(Repr::Borrowed(json))
    }

    /// The ref that is this string.
    pub(crate) fn from_text(text: &str) -> Ref<'static> {
        let mut json = Vec::with_capacity(text.len() + 2);
        write_string(&mut json, text);
        Ref(Repr::Owned(RefBuf::new(&json)))
    }

    pub(super) fn new(raw: &'a str) -> Self {
        let json = raw.as_bytes();
        let normal = match json {
            [b'"', ..] => !json.contains(&b'\\'),
            [b'{' | b'[', ..] => false,
            [b'-' | b'0'..=b'9', ..] => is_integer(raw) && raw != "-0",
            _ => true,
        };
        if normal {
            return Self(Repr::Borrowed(json));
        }
        let mut buffer = Vec::new();
        normalise(raw, &mut buffer);
        Self(Repr::Owned(RefBuf::new(&buffer)))
    }

    pub(crate) fn is_null(&self) -> bool {
        self.as_json() == b"null"
    }

    /// The JSON text, in normal form.
    pub(crate) fn as_json(&self) -> &[u8] {
        match &self.0 {
            Repr::Borrowed(json) => json,
            Repr::Owned(buffer) => buffer.as_json(),
        }
    }

    pub(crate) fn to_owned(&self) -> RefBuf {
        match &self.0 {
            Repr::Borrowed(json) => RefBuf::new(json),
            Repr::Owned(buffer) => buffer.clone(),
        }
    }

    /// What a string says, or the JSON of any other value; nothing for null.
    pub(crate) fn to_text(&self) -> Option<String> {
        let text = || String::from_utf8_lossy(&self.as_bare_text()).into_owned();
        (!self.is_null()).then(text)
    }

    /// The text that stands for the ref in a binary message: what a string says, nothing for null,
    /// and JSON for all else.
    pub(super) fn as_bare_text(&self) -> Cow<'_, [u8]> {
        match self.as_json() {
            b"null" => Cow::Borrowed(b""),
            [b'"', text @ .., b'"'] if !text.contains(&b'\\') => Cow::Borrowed(text),
            json @ [b'"', ..] => {
                let text: String = serde_json::from_slice(json).expect("a ref is JSON");
                Cow::Owned(text.into_bytes())
            }
            json => Cow::Borrowed(json),
        }
    }
}

impl PartialEq<Ref<'_>> for Ref<'_> {
    fn eq(&self, other: &Ref<'_>) -> bool {
        self.as_json() == other.as_json()
    }
}

impl Eq for Ref<'_> {}

impl PartialEq<RefBuf> for Ref<'_> {
    fn eq(&self, other: &RefBuf) -> bool {
        *self == other.as_ref()
    }
}

impl fmt::Debug for Ref<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ref({})", String::from_utf8_lossy(self.as_json()))
    }
}

/// A [`Ref`] to be kept: 24 bytes, and none on the heap for up to 22 bytes of JSON.
#[derive(Clone)]
pub(crate) struct RefBuf(Kept);

/// Short ones lie in an array rather than in a vector of some kind, because every reply copies two,
/// and an array's size is known.
#[derive(Clone)]
enum Kept {
    Short { length: u8, json: [u8; MAX_SHORT] },
    Long(Box<[u8]>),
}

const MAX_SHORT: usize = 22;

impl RefBuf {
    #[inline]
    fn new(json: &[u8]) -> Self {
        let mut short = [0; MAX_SHORT];
        let Some(place) = short.get_mut(..json.len()) else { return Self(Kept::Long(json.into())) };
        place.copy_from_slice(json);
        Self(Kept::Short { length: json.len() as u8, json: short })
    }

    fn as_json(&self) -> &[u8] {
        match &self.0 {
            Kept::Short { length, json } => &json[..usize::from(*length)],
            Kept::Long(json) => json,
        }
    }

    pub(crate) fn null() -> Self {
        Ref::NULL.to_owned()
    }

    pub(crate) fn is_null(&self) -> bool {
        self.as_ref().is_null()
    }

    pub(crate) fn as_ref(&self) -> Ref<'_> {
        Ref::from_json(self.as_json())
    }
}

impl PartialEq for RefBuf {
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}

impl Eq for RefBuf {}

impl Default for RefBuf {
    fn default() -> Self {
        Self::null()
    }
}

impl PartialEq<Ref<'_>> for RefBuf {
    fn eq(&self, other: &Ref<'_>) -> bool {
        self.as_ref() == *other
    }
}

impl fmt::Debug for RefBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// Appends the normal form of a value that the scanner has passed.
pub(super) fn normalise(raw: &str, out: &mut Vec<u8>) {
    const CHECKED: &str = "the scanner is stricter than serde_json";
    match raw.as_bytes()[0] {
        b'"' => write_string(out, &serde_json::from_str::<String>(raw).expect(CHECKED)),
        b'{' => {
            // The map sorts the keys and keeps the last value of each.
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(raw).expect(CHECKED);
            out.push(b'{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_string(out, &key);
                out.push(b':');
                normalise(value.get(), out);
            }
            out.push(b'}');
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(raw).expect(CHECKED);
            out.push(b'[');
            for (index, item) in items.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                normalise(item.get(), out);
            }
            out.push(b']');
        }
        b'-' | b'0'..=b'9' if raw == "-0" => out.push(b'0'),
        b'-' | b'0'..=b'9' if !is_integer(raw) => {
            let float: f64 = raw.parse().expect("the scanner passes only numbers");
            serde_json::to_writer(out, &float).expect("a buffer takes all");
        }
        _ => out.extend_from_slice(raw.as_bytes()),
    }
}

fn is_integer(number: &str) -> bool {
    !number.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}

#[cfg(test)]
mod tests {
    use super::super::scan::Scanner;
    use super::super::text::MAX_FIELD_DEPTH;
    use super::*;

    fn parse(text: &str) -> Ref<'_> {
        Ref::new(Scanner::new(text).value(MAX_FIELD_DEPTH).ok().unwrap())
    }

    #[test]
    fn equal_values_are_equal_refs() {
        for (one, other) in [
            (r#""\u0031""#, r#""1""#),
            (r#""\/\u00e9\u000a""#, r#""/é\n""#),
            ("1.0", "1.00"),
            ("1.0", "1e0"),
            ("-0", "0"),
            ("[1, 2.50 ]", "[1,2.5]"),
            (r#"{"b":[], "a" : "\u0031"}"#, r#"{"a":"1","b":[ ]}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        ] {
            assert_eq!(parse(one), parse(other));
            assert_eq!(parse(one).to_owned(), parse(other).to_owned());
            assert_eq!(parse(one).to_owned(), parse(other));
            assert_eq!(parse(one), parse(other).to_owned());
        }
    }

    #[test]
    fn different_values_are_different_refs() {
        let refs = [
            "null",
            "\"null\"",
            "\"\"",
            "1",
            "\"1\"",
            "1.0",
            "-1",
            "10",
            "1e1",
            "18446744073709551616",
            "18446744073709551617",
            "true",
            "[]",
            "{}",
            "[1,2]",
            "[2,1]",
            "[12]",
        ];
        for (index, one) in refs.iter().enumerate() {
            for (at, other) in refs.iter().enumerate() {
                assert_eq!(parse(one) == parse(other), index == at, "{one} {other}");
            }
        }
    }

    #[test]
    fn the_json_text_is_compact_and_says_the_same() {
        for (text, json) in [
            ("null", "null"),
            ("\"12\"", "\"12\""),
            ("18446744073709551616", "18446744073709551616"),
            ("1.50", "1.5"),
            (r#""\u0022\u005c\u0007\u007f""#, "\"\\\"\\\\\\u0007\u{7f}\""),
            (r#"[ null, {"k": [ 1 ]} ]"#, r#"[null,{"k":[1]}]"#),
        ] {
            assert_eq!(parse(text).as_json(), json.as_bytes());
        }
    }

    #[test]
    fn text_becomes_a_string() {
        for text in ["", "1", "null", "a \"quoted\" one\n", "longer than what fits on the stack"] {
            let json = serde_json::to_string(text).unwrap();
            assert_eq!(Ref::from_text(text), parse(&json));
            assert_eq!(*Ref::from_text(text).as_bare_text(), *text.as_bytes());
        }
        assert!(!Ref::from_text("null").is_null());
    }

    #[test]
    fn null_is_the_default() {
        assert!(Ref::NULL.is_null() && parse(" null ").is_null());
        assert_eq!(RefBuf::default(), Ref::NULL);
        assert_eq!(RefBuf::null(), RefBuf::default());
    }

    #[test]
    fn what_is_no_string_stands_as_json_in_a_binary_message() {
        for (text, bare) in [("null", ""), ("7", "7"), ("1.0", "1.0"), ("true", "true")] {
            assert_eq!(*parse(text).as_bare_text(), *bare.as_bytes());
        }
    }

    #[test]
    fn a_kept_ref_is_small_and_takes_no_heap_if_it_is_short() {
        assert!(size_of::<RefBuf>() <= 24);
        for length in [0, 1, 20, 21, 100] {
            let text = format!("\"{}\"", "7".repeat(length));
            let kept = parse(&text).to_owned();
            assert_eq!(kept.as_json(), text.as_bytes());
            assert_eq!(matches!(kept.0, Kept::Short { .. }), length <= 20, "{length}");
        }
    }
}
