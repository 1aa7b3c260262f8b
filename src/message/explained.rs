//! Explained: a deserializer around another that finds out what does not fit, and where.
//!
//! Nobody pays for this who sends what fits: only when something has not decoded it is decoded again
//! in here. The errors of the deserializer within quote the value, so they are thrown away; what is
//! told instead goes past them by the [`Stash`].

use std::cell::RefCell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Expected, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

use super::decode_error::{DecodeError, Step};

/// What is told, while errors of another type that say nothing lead out of the deserializer within.
#[derive(Default)]
pub(super) struct Stash(RefCell<Option<DecodeError>>);

impl Stash {
    /// Puts an error aside, in place of one of another type.
    fn put<E: serde::de::Error>(&self, error: DecodeError) -> E {
        self.0.replace(Some(error));
        E::custom("told elsewhere")
    }

    /// Takes it out again. Where there is none, the deserializer within has said no by itself, with
    /// the value in its words.
    fn take<E>(&self, _: E) -> DecodeError {
        self.0.take().unwrap_or_else(|| DecodeError::new("it does not fit, or is nested too deep"))
    }

    /// The same where it is known what was expected. Of the words that quote the value, those that
    /// name its kind are taken, if they do.
    fn take_or(&self, error: impl fmt::Display, expected: &str) -> DecodeError {
        self.0.take().unwrap_or_else(|| {
            let words = error.to_string();
            let kind = words
                .strip_prefix("invalid type: ")
                .and_then(|found| KINDS.iter().find(|kind| found.starts_with(*kind)));
            let kind = kind.unwrap_or(&"something else");
            DecodeError::new(format!("invalid type: {kind}, expected {expected}"))
        })
    }
}

/// What JSON's values are called when they are not expected.
const KINDS: [&str; 7] =
    ["null", "boolean", "integer", "floating point", "string", "sequence", "map"];

/// Something of a deserializer's, and where errors go.
pub(super) struct Explained<'s, T> {
    inner: T,
    stash: &'s Stash,
}

impl<'s, T> Explained<'s, T> {
    pub(super) fn new(inner: T, stash: &'s Stash) -> Self {
        Self { inner, stash }
    }

    fn with<U>(&self, inner: U) -> Explained<'s, U> {
        Explained { inner, stash: self.stash }
    }
}

/// JSON says itself what it is, so the visitor is shown that, whatever was asked for: then it is the
/// visitor that objects, and not serde_json in words with the value in them.
impl<'de, D: Deserializer<'de>> Deserializer<'de> for Explained<'_, D> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let visitor = self.with(visitor);
        self.inner.deserialize_any(visitor).map_err(|error| self.stash.take(error))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let visitor = self.with(visitor);
        self.inner.deserialize_option(visitor).map_err(|error| self.stash.take(error))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let visitor = self.with(visitor);
        self.inner.deserialize_newtype_struct(name, visitor).map_err(|error| self.stash.take(error))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let (expected, visitor) = (expected(&visitor), self.with(visitor));
        self.inner
            .deserialize_struct(name, fields, visitor)
            .map_err(|error| self.stash.take_or(error, &expected))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let (expected, visitor) = (expected(&visitor), self.with(visitor));
        self.inner
            .deserialize_enum(name, variants, visitor)
            .map_err(|error| self.stash.take_or(error, &expected))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let (expected, visitor) = (expected(&visitor), self.with(visitor));
        self.inner.deserialize_unit(visitor).map_err(|error| self.stash.take_or(error, &expected))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let visitor = self.with(visitor);
        self.inner.deserialize_ignored_any(visitor).map_err(|error| self.stash.take(error))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit_struct seq tuple tuple_struct map identifier
    }
}

fn expected(visitor: &dyn Expected) -> String {
    visitor.to_string()
}

/// Methods that hand a value on.
macro_rules! visit {
    ($($method:ident($type:ty);)*) => {$(
        fn $method<E: serde::de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value).map_err(|error| self.stash.put(error))
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Explained<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit! {
        visit_bool(bool);
        visit_i64(i64);
        visit_i128(i128);
        visit_u64(u64);
        visit_u128(u128);
        visit_f64(f64);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none().map_err(|error| self.stash.put(error))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit().map_err(|error| self.stash.put(error))
    }

    fn visit_some<D: Deserializer<'de>>(self, part: D) -> Result<V::Value, D::Error> {
        let part = self.with(part);
        self.inner.visit_some(part).map_err(|error| self.stash.put(error))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, part: D) -> Result<V::Value, D::Error> {
        let part = self.with(part);
        self.inner.visit_newtype_struct(part).map_err(|error| self.stash.put(error))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        let seq = Items { seq: self.with(seq), index: 0 };
        self.inner.visit_seq(seq).map_err(|error| self.stash.put(error))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let map = Members { map: self.with(map), key: None };
        self.inner.visit_map(map).map_err(|error| self.stash.put(error))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let access = self.with(access);
        self.inner.visit_enum(access).map_err(|error| self.stash.put(error))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Explained<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, part: D) -> Result<S::Value, D::Error> {
        let part = self.with(part);
        self.inner.deserialize(part).map_err(|error| self.stash.put(error))
    }
}

/// Elements, each one's errors told with its number.
struct Items<'s, A> {
    seq: Explained<'s, A>,
    index: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Items<'_, A> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        let Self { seq, index } = self;
        let seed = seq.with(seed);
        let element = seq.inner.next_element_seed(seed);
        let element = element.map_err(|error| seq.stash.take(error).within(Step::Index(*index)))?;
        *index += 1;
        Ok(element)
    }

    fn size_hint(&self) -> Option<usize> {
        self.seq.inner.size_hint()
    }
}

/// Names and values, each value's errors told with its name.
struct Members<'s, A> {
    map: Explained<'s, A>,
    /// The one whose value comes next.
    key: Option<Step>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<'_, A> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        let Self { map, key } = self;
        *key = None;
        let seed = Key { inner: seed, key, stash: map.stash };
        map.inner.next_key_seed(seed).map_err(|_| {
            map.stash.0.take().unwrap_or_else(|| DecodeError::new("a key does not fit"))
        })
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, DecodeError> {
        let Self { map, key } = self;
        let seed = map.with(seed);
        map.inner.next_value_seed(seed).map_err(|error| {
            let error = map.stash.take(error);
            match key.take() {
                Some(key) => error.within(key),
                None => error,
            }
        })
    }

    fn size_hint(&self) -> Option<usize> {
        self.map.inner.size_hint()
    }
}

/// A key, its deserializer or its visitor, and where it is noted.
struct Key<'k, T> {
    inner: T,
    key: &'k mut Option<Step>,
    stash: &'k Stash,
}

impl<'k, T> Key<'k, T> {
    /// Its text is `value`.
    fn note(self, value: &str) -> (T, &'k Stash) {
        *self.key = Some(Step::name(value));
        (self.inner, self.stash)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, part: D) -> Result<S::Value, D::Error> {
        let Self { inner, key, stash } = self;
        inner.deserialize(Key { inner: part, key, stash })
    }
}

/// Methods that ask for what was asked for: JSON's keys are texts, and numbers in them are found
/// only by whoever looks for one.
macro_rules! as_asked {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            let Self { inner, key, stash } = self;
            inner.$method($($name,)* Key { inner: visitor, key, stash })
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Key<'_, D> {
    type Error = D::Error;

    as_asked! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }
}

/// Methods that hand a value on as it is.
macro_rules! hand_on {
    ($($method:ident($type:ty);)*) => {$(
        fn $method<E: serde::de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Key<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    hand_on! {
        visit_bool(bool);
        visit_i128(i128);
        visit_u128(u128);
        visit_f64(f64);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<V::Value, E> {
        let (inner, stash) = self.note(&value.to_string());
        inner.visit_i64(value).map_err(|error| stash.put(error))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<V::Value, E> {
        let (inner, stash) = self.note(&value.to_string());
        inner.visit_u64(value).map_err(|error| stash.put(error))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<V::Value, E> {
        let (inner, stash) = self.note(value);
        inner.visit_str(value).map_err(|error| stash.put(error))
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, value: &'de str) -> Result<V::Value, E> {
        let (inner, stash) = self.note(value);
        inner.visit_borrowed_str(value).map_err(|error| stash.put(error))
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<V::Value, E> {
        let (inner, stash) = self.note(&value);
        inner.visit_string(value).map_err(|error| stash.put(error))
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, part: D) -> Result<V::Value, D::Error> {
        let Self { inner, key, stash } = self;
        inner.visit_some(Key { inner: part, key, stash })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, part: D) -> Result<V::Value, D::Error> {
        let Self { inner, key, stash } = self;
        inner.visit_newtype_struct(Key { inner: part, key, stash })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(map)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(access)
    }
}

impl<'de, 's, A: EnumAccess<'de>> EnumAccess<'de> for Explained<'s, A> {
    type Error = DecodeError;
    type Variant = Explained<'s, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), DecodeError> {
        let stash = self.stash;
        let seed = self.with(seed);
        let (value, content) = self.inner.variant_seed(seed).map_err(|error| stash.take(error))?;
        Ok((value, Explained::new(content, stash)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Explained<'_, A> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        self.inner.unit_variant().map_err(|error| self.stash.take(error))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<S::Value, DecodeError> {
        let seed = self.with(seed);
        self.inner.newtype_variant_seed(seed).map_err(|error| self.stash.take(error))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let visitor = self.with(visitor);
        self.inner.tuple_variant(len, visitor).map_err(|error| self.stash.take(error))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let visitor = self.with(visitor);
        self.inner.struct_variant(fields, visitor).map_err(|error| self.stash.take(error))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use crate::Payload;

    #[derive(Deserialize, Debug)]
    #[serde(rename_all = "snake_case")]
    enum Style {
        Plain,
        #[allow(dead_code, reason = "it is only read")]
        Size(u8),
    }

    #[derive(Deserialize, Debug)]
    #[allow(dead_code, reason = "they are only read")]
    struct Said {
        body: String,
        #[serde(default)]
        style: Option<Style>,
        #[serde(default)]
        to: Vec<To>,
        #[serde(default)]
        counts: BTreeMap<u8, u32>,
        #[serde(default)]
        even: Even,
        #[serde(default)]
        nothing: (),
        #[serde(default)]
        raw: Option<Payload>,
    }

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "they are only read")]
    struct To {
        id: u32,
    }

    /// A type that quotes what it refuses.
    #[derive(Deserialize, Debug, Default)]
    #[serde(try_from = "u32")]
    struct Even;

    impl TryFrom<u32> for Even {
        type Error = String;

        fn try_from(number: u32) -> Result<Self, String> {
            if number.is_multiple_of(2) { Ok(Self) } else { Err(format!("{number} is odd")) }
        }
    }

    fn error(json: &str) -> String {
        let payload = Payload::from_json_text(json.to_owned()).unwrap();
        let error = payload.decode::<Said>().unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        let error = error.to_string();
        error.strip_prefix("payload does not decode: ").expect("as every one").to_owned()
    }

    #[test]
    fn what_does_not_fit_is_told_by_its_place_and_kind_and_never_by_its_value() {
        for (json, told) in [
            (r#""hunter2""#, "invalid type: string, expected struct Said"),
            (r#"{"body": 7}"#, "`body`: invalid type: integer, expected a string"),
            (r#"{"body": {"hunter2": 7}}"#, "`body`: invalid type: map, expected a string"),
            (r#"{}"#, "missing field `body`"),
            (r#"{"body": "", "body": "hunter2"}"#, "duplicate field `body`"),
            (
                r#"{"body": "", "to": [{"id": 1}, {"id": "hunter2"}]}"#,
                "`to[1].id`: invalid type: string, expected u32",
            ),
            (
                r#"{"body": "", "to": [{"id": -1}]}"#,
                "`to[0].id`: invalid value: integer, expected u32",
            ),
            (r#"{"body": "", "to": [{"hunter2": 1}]}"#, "`to[0]`: unknown field, expected `id`"),
            (
                r#"{"body": "", "style": "hunter2"}"#,
                "`style`: unknown variant, expected one of `plain`, `size`",
            ),
            (
                r#"{"body": "", "style": {"size": "hunter2"}}"#,
                "`style`: invalid type: string, expected u8",
            ),
            (
                r#"{"body": "", "style": 7}"#,
                "`style`: invalid type: something else, expected enum Style",
            ),
            (
                r#"{"body": "", "counts": {"1": 2, "3": "hunter2"}}"#,
                "`counts.3`: invalid type: string, expected u32",
            ),
            (r#"{"body": "", "counts": {"hunter2": 2}}"#, "`counts`: a key does not fit"),
            (r#"{"body": "", "even": 3}"#, "`even`: refused by its type"),
            (
                r#"{"body": "", "nothing": "hunter2"}"#,
                "`nothing`: invalid type: string, expected unit",
            ),
        ] {
            assert_eq!(error(json), told, "{json}");
        }
        let deep =
            format!(r#"{{"body": "", "raw": 1, "to": {}{}}}"#, "[".repeat(300), "]".repeat(300));
        assert_eq!(error(&deep), "`to[0][0]`: invalid type: sequence, expected u32");
    }
}
