//! What a client is told of a payload that does not fit: which field, what was wanted and which kind
//! of value came, but never the value.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, MapDeserializer, StrDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

use super::object::Object;
use super::payload::PayloadRef;

/// Why a payload is no value of some type.
///
/// serde_json's own errors quote what the client has sent, which may be a password in the wrong
/// field. This one can be sent and logged. It is found by reading the payload a second time, so it
/// costs nothing where nothing is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// Where, innermost first; empty if it is about the whole.
    path: Vec<String>,
    /// Empty if nothing can be said but that it does not fit.
    message: String,
}

impl Misfit {
    /// Says what is wrong with a payload that has not been read as a `T`.
    #[cold]
    pub(crate) fn of<T: DeserializeOwned>(payload: PayloadRef<'_>) -> Self {
        let Some(json) = payload.as_json() else { return Self::new("expected JSON, got binary") };
        // Nested too deeply, or with a key that comes twice: then this reading does not fail, or
        // not for the reason of the first.
        let value = serde_json::from_str(json).ok();
        let misfit = value.and_then(|value| T::deserialize(Node(&value)).err());
        misfit.unwrap_or_else(|| Self::new(""))
    }

    fn new(message: impl Into<String>) -> Self {
        Self { path: Vec::new(), message: message.into() }
    }

    fn within(mut self, name: impl fmt::Display) -> Self {
        self.path.push(name.to_string());
        self
    }
}

/// `` `user.age`: expected u8, got a string ``
impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            f.write_str("`")?;
            for (index, name) in self.path.iter().rev().enumerate() {
                // The keys of a map are the client's own, and may be anything.
                let name = name.chars().take(MAX_NAME).flat_map(char::escape_debug);
                write!(f, "{}{}", if index > 0 { "." } else { "" }, String::from_iter(name))?;
            }
            f.write_str(if self.message.is_empty() { "`" } else { "`: " })?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Misfit {}

impl serde::de::Error for Misfit {
    /// The words of some type's own, which may quote what it was given.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::new("not accepted")
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, got {}", kind(unexpected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, got another {}", bare_kind(unexpected)))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, got {length} of them"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("expected one of {}", list(expected)))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("unknown field, expected one of {}", list(expected)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("missing field `{field}`"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("duplicate field `{field}`"))
    }
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A kind of JSON, with its article.
fn kind(unexpected: Unexpected<'_>) -> String {
    match bare_kind(unexpected) {
        "null" => "null".to_owned(),
        kind @ ("integer" | "object") => format!("an {kind}"),
        kind => format!("a {kind}"),
    }
}

fn bare_kind(unexpected: Unexpected<'_>) -> &'static str {
    match unexpected {
        Unexpected::Bool(_) => "boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "integer",
        Unexpected::Float(_) => "number",
        Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::UnitVariant => "string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq | Unexpected::TupleVariant => "list",
        Unexpected::Map | Unexpected::NewtypeVariant | Unexpected::StructVariant => "object",
        Unexpected::Bytes(_) | Unexpected::NewtypeStruct | Unexpected::Enum => "value",
        Unexpected::Other(_) => "value",
    }
}

/// A JSON value, read as serde_json reads its text.
#[derive(Clone, Copy)]
struct Node<'de>(&'de Value);

impl<'de> Node<'de> {
    fn members(members: &'de Map<String, Value>) -> Members<'de> {
        Members { rest: members.iter(), value: None }
    }
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(Items { items, index: 0 }),
            Value::Object(members) => visitor.visit_map(Self::members(members)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        if name.starts_with('$') {
            // No type has such a name: serde_json is asked for something of its own, the text.
            let entry = (name, self.0.to_string());
            return visitor.visit_map(MapDeserializer::new(std::iter::once(entry)));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.deserialize_any(Object(visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(name.as_str().into_deserializer()),
            Value::Object(members) if members.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(Self::members(members)))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier
    }
}

/// The members of an object, each one's errors told with its name.
struct Members<'de> {
    rest: serde_json::map::Iter<'de>,
    /// The one whose name was asked for last.
    value: Option<(&'de str, &'de Value)>,
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Misfit;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Misfit> {
        self.value = self.rest.next().map(|(name, value)| (name.as_str(), value));
        let Some((name, _)) = self.value else { return Ok(None) };
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Misfit> {
        let (name, value) = self.value.take().expect("serde asks for a value after its key");
        seed.deserialize(Node(value)).map_err(|misfit| misfit.within(name))
    }
}

struct Items<'de> {
    items: &'de [Value],
    /// Of the next one.
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Misfit;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Misfit> {
        let Some(item) = self.items.get(self.index) else { return Ok(None) };
        let value = seed.deserialize(Node(item)).map_err(|misfit| misfit.within(self.index))?;
        self.index += 1;
        Ok(Some(value))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.index)
    }
}

/// Characters of a name that are told.
const MAX_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::{Deserialize, de};
    use serde_json::value::RawValue;

    use super::*;
    use crate::Payload;

    #[derive(Deserialize, Debug)]
    #[allow(dead_code, reason = "it is only read")]
    struct Entry {
        name: String,
        age: Option<u8>,
        #[serde(default)]
        role: Role,
        address: Option<Address>,
        #[serde(default)]
        tags: Vec<String>,
        kept: Option<Payload>,
        raw: Option<Box<RawValue>>,
        #[serde(default, deserialize_with = "even")]
        even: u32,
    }

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "it is only read")]
    struct Address {
        street: String,
        place: Option<(f64, f64)>,
    }

    #[derive(Deserialize, Debug, Default)]
    #[serde(rename_all = "snake_case")]
    #[allow(dead_code, reason = "it is only read")]
    enum Role {
        #[default]
        Guest,
        Member(u32),
    }

    fn even<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let number = u32::deserialize(deserializer)?;
        let error = || de::Error::custom(format!("{number} is odd"));
        number.is_multiple_of(2).then_some(number).ok_or_else(error)
    }

    fn misfit<T: DeserializeOwned>(json: &str) -> String {
        let payload = Payload::from_json_text(json.to_owned()).unwrap();
        Misfit::of::<T>(payload.to_ref()).to_string()
    }

    #[test]
    fn the_field_and_the_kinds_are_told_and_no_value_is() {
        for (json, told) in [
            ("{}", "missing field `name`"),
            ("null", "expected struct Entry, got null"),
            ("[]", "expected struct Entry, got a list"),
            (r#"["secret", 7]"#, "expected struct Entry, got a list"),
            (r#""secret""#, "expected struct Entry, got a string"),
            (r#"{"name":7}"#, "`name`: expected a string, got an integer"),
            (r#"{"name":{"secret":1}}"#, "`name`: expected a string, got an object"),
            (r#"{"name":"","age":"secret"}"#, "`age`: expected u8, got a string"),
            (r#"{"name":"","age":4321}"#, "`age`: expected u8, got another integer"),
            (r#"{"name":"","age":-1}"#, "`age`: expected u8, got another integer"),
            (r#"{"name":"","age":1.5}"#, "`age`: expected u8, got a number"),
            (r#"{"name":"","tags":["a",true]}"#, "`tags.1`: expected a string, got a boolean"),
            (r#"{"name":"","role":"secret"}"#, "`role`: expected one of `guest`, `member`"),
            (r#"{"name":"","role":{"member":"x"}}"#, "`role.member`: expected u32, got a string"),
            (
                r#"{"name":"","address":["secret"]}"#,
                "`address`: expected struct Address, got a list",
            ),
            (
                r#"{"name":"","address":{"street":"","secret":1}}"#,
                "`address`: unknown field, expected one of `street`, `place`",
            ),
            (
                r#"{"name":"","address":{"street":"","place":[1]}}"#,
                "`address.place`: expected a tuple of size 2, got 1 of them",
            ),
            (r#"{"name":"","even":4321}"#, "`even`: not accepted"),
        ] {
            assert_eq!(misfit::<Entry>(json), told, "{json}");
        }
    }

    #[test]
    fn what_can_be_read_is_read() {
        let json = r#"{"name":"","age":1,"role":{"member":1},"tags":["a"],"even":2,
            "address":{"street":"","place":[1,2.5]},"kept":{"a":[1]},"raw":[null],"more":1}"#;
        let value = serde_json::from_str(json).unwrap();
        Entry::deserialize(Node(&value)).unwrap();
    }

    #[test]
    fn a_clients_own_names_are_short_and_harmless() {
        let long = format!(r#"{{"{}":{{"\n\u001b":"x"}}}}"#, "k".repeat(10_000));
        let told = misfit::<HashMap<String, HashMap<String, u8>>>(&long);
        let expected = format!(r"`{}.\n\u{{1b}}`: expected u8, got a string", "k".repeat(64));
        assert_eq!(told, expected);
    }

    #[test]
    fn where_no_words_are_left_there_are_none() {
        assert_eq!(misfit::<Entry>(r#"{"name":"a","name":"secret"}"#), "");
        assert_eq!(misfit::<Entry>(&("[".repeat(500) + &"]".repeat(500))), "");
        let binary = Payload::binary(&b"secret"[..]);
        assert_eq!(Misfit::of::<Entry>(binary.to_ref()).to_string(), "expected JSON, got binary");
    }
}
