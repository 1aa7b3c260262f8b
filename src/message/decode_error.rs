//! Why text from outside is not what was asked for, told without the text.

use std::fmt;

use serde::de::{Expected, Unexpected};

/// Why a payload or the parameters of a connection are not of the type that was asked for: where,
/// what was expected and what kind of thing was there.
///
/// The value itself is never told, for this goes to logs and the value may be a secret. So of a type
/// that says no in words of its own (serde's `custom`), the words are left out.
///
/// # Example
///
/// ```
/// use serde::Deserialize;
/// use simurgh::Payload;
///
/// #[derive(Deserialize)]
/// struct Login { #[allow(dead_code, reason = "it never decodes")] pin: u16 }
///
/// let payload = Payload::from_json_text(r#"{"pin": "hunter2"}"#)?;
/// let error = payload.decode::<Login>().err().expect("a text is no number");
/// let told = "payload does not decode: `pin`: invalid type: string, expected u16";
/// assert_eq!(error.to_string(), told);
/// # Ok::<(), simurgh::PayloadError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// Where, innermost first; empty if it is about the whole.
    path: Vec<Step>,
    what: String,
}

/// A step into what is nested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Name(String),
    Index(usize),
}

impl Step {
    /// A name as the client wrote it, if it is not too long to be one.
    pub(super) fn name(name: &str) -> Self {
        let kept = beginning(name, MAX_NAME);
        let more = if kept.len() < name.len() { "…" } else { "" };
        Self::Name(format!("{kept}{more}"))
    }
}

impl DecodeError {
    /// One that says this, which has nothing of a client's in it.
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { path: Vec::new(), what: what.into() }
    }

    /// The same, seen from one step further out.
    pub(super) fn within(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }
}

/// Names escaped, since a client may have chosen them.
impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            f.write_str("`")?;
            for (place, step) in self.path.iter().rev().enumerate() {
                match step {
                    Step::Name(name) if place == 0 => write!(f, "{}", name.escape_debug())?,
                    Step::Name(name) => write!(f, ".{}", name.escape_debug())?,
                    Step::Index(index) => write!(f, "[{index}]")?,
                }
            }
            f.write_str("`: ")?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for DecodeError {}

/// What serde has to say, without the values that it would quote.
impl serde::de::Error for DecodeError {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::new("refused by its type")
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("invalid type: {}, expected {expected}", kind(&found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("invalid value: {}, expected {expected}", kind(&found)))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("invalid length {length}, expected {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("unknown variant, expected {}", OneOf(expected)))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("unknown field, expected {}", OneOf(expected)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("missing field `{field}`"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("duplicate field `{field}`"))
    }
}

/// So many bytes of a text, or fewer for its last character to be whole.
pub(crate) fn beginning(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What kind of thing this is.
fn kind(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "integer",
        Unexpected::Float(_) => "floating point",
        Unexpected::Char(_) => "character",
        Unexpected::Str(_) => "string",
        Unexpected::Bytes(_) => "byte array",
        Unexpected::Unit => "null",
        Unexpected::Option => "optional value",
        Unexpected::NewtypeStruct => "newtype struct",
        Unexpected::Seq => "sequence",
        Unexpected::Map => "map",
        Unexpected::Enum => "enum",
        Unexpected::UnitVariant => "unit variant",
        Unexpected::NewtypeVariant => "newtype variant",
        Unexpected::TupleVariant => "tuple variant",
        Unexpected::StructVariant => "struct variant",
        Unexpected::Other(_) => "something else",
    }
}

/// The names that there are.
struct OneOf(&'static [&'static str]);

impl fmt::Display for OneOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, others)) = self.0.split_first() else { return f.write_str("none") };
        if !others.is_empty() {
            f.write_str("one of ")?;
        }
        write!(f, "`{first}`")?;
        others.iter().try_for_each(|name| write!(f, ", `{name}`"))
    }
}

/// Bytes of a name in a path. Fields of structs are shorter; what is longer is a key of a map.
const MAX_NAME: usize = 64;
