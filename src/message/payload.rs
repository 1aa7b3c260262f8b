//! What an event carries: JSON kept unparsed until somebody asks for it, or plain bytes.

use std::marker::PhantomData;
use std::{fmt, iter, ptr, str};

use bytes::Bytes;
use serde::de::value::{BorrowedBytesDeserializer, MapDeserializer};
use serde::de::{self, DeserializeSeed, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::decode_error::DecodeError;
use super::explained::{Explained, Stash};
use super::kept::{keep, keep_many};
use super::object::Object;
use super::raw_json::RawJson;
use crate::protocol::phoenix::{RawPayload, check_json};

/// The content of an event, a reply or a join: a JSON text, or binary.
///
/// A JSON text is checked once to be one, when the payload is made, and is not parsed before
/// [`decode`](Self::decode) is called. So a payload that a channel only passes on keeps every byte
/// of what the client wrote. Cloning copies a pointer.
///
/// Inside a bigger structure a payload stands for any JSON value: it can be a field of a type that
/// derives `Deserialize`. As the content of a variant of an event ([`FromEvent`](crate::FromEvent))
/// and as a channel's params it also takes binary, which no other type does.
///
/// To put one into other JSON, take its [`raw_json`](Self::raw_json), which a binary payload does not
/// have. It has no `Serialize` itself: clients say whether what they send is binary, and
/// `serde_json::json!` panics at what is no JSON.
///
/// ```
/// # use simurgh::{Payload, PayloadError};
/// fn relay(from: &str, payload: &Payload) -> Result<Payload, PayloadError> {
///     Ok(serde_json::json!({ "from": from, "data": payload.raw_json()? }).into())
/// }
///
/// assert!(relay("ann", &Payload::empty()).is_ok());
/// assert!(relay("ann", &Payload::binary(vec![1, 2, 3])).is_err());
/// ```
///
/// ```compile_fail
/// # use simurgh::Payload;
/// fn relay(from: &str, payload: &Payload) -> Payload {
///     serde_json::json!({ "from": from, "data": payload }).into()
/// }
/// ```
///
/// Two payloads are equal if their bytes are: `{"a":1}` and `{ "a": 1 }` are not.
///
/// # Example
///
/// ```
/// use simurgh::Payload;
///
/// let payload = Payload::json(&("a", 1))?;
/// assert_eq!(payload.as_json(), Some(r#"["a",1]"#));
/// let (name, count): (String, u32) = payload.decode()?;
/// assert_eq!((name.as_str(), count), ("a", 1));
///
/// let picture = Payload::binary(vec![0xff, 0xd8]);
/// assert!(picture.is_binary());
/// # Ok::<(), simurgh::PayloadError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Repr);

#[derive(Clone, PartialEq, Eq)]
enum Repr {
    /// Passed by [`check_json`], or written by serde_json.
    Json(Bytes),
    Binary(Bytes),
}

impl Payload {
    /// Writes a value as JSON.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Encode`] if the value has no JSON: a map whose keys are no strings, or a
    /// `Serialize` that fails.
    ///
    /// # Example
    ///
    /// ```
    /// use serde::Serialize;
    /// use simurgh::Payload;
    ///
    /// #[derive(Serialize)]
    /// struct Said<'a> { body: &'a str }
    ///
    /// let payload = Payload::json(&Said { body: "hello" })?;
    /// assert_eq!(payload.as_json(), Some(r#"{"body":"hello"}"#));
    /// # Ok::<(), simurgh::PayloadError>(())
    /// ```
    pub fn json(value: &(impl Serialize + ?Sized)) -> Result<Self, PayloadError> {
        let text = serde_json::to_vec(value).map_err(PayloadError::Encode)?;
        Ok(Self(Repr::Json(text.into())))
    }

    /// Takes a text that is JSON already, and checks that it is. White space around it goes.
    ///
    /// # Errors
    ///
    /// [`PayloadError::NotJson`] if it is not UTF-8 or not JSON, or has a number beyond a double or
    /// half a surrogate pair in it, which clients could not read.
    ///
    /// # Example
    ///
    /// ```
    /// use simurgh::Payload;
    ///
    /// assert!(Payload::from_json_text(r#"{"price": 3.5}"#).is_ok());
    /// assert!(Payload::from_json_text("{price: 3.5}").is_err());
    /// ```
    pub fn from_json_text(text: impl Into<Bytes>) -> Result<Self, PayloadError> {
        let text = text.into();
        // The application's own text needs no bound on its depth: checking it takes no stack.
        let json = check_json(&text, usize::MAX)
            .map_err(|malformed| PayloadError::NotJson(malformed.to_string()))?;
        Ok(Self(Repr::Json(text.slice_ref(json.as_bytes()))))
    }

    /// Takes bytes as they are. Only clients of the second protocol version can be sent them.
    ///
    /// # Example
    ///
    /// ```
    /// use simurgh::Payload;
    ///
    /// let payload = Payload::binary(vec![1, 2, 3]);
    /// assert_eq!(payload.as_bytes(), [1, 2, 3]);
    /// ```
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self(Repr::Binary(bytes.into()))
    }

    /// The empty object, `{}`. Allocates nothing.
    ///
    /// # Example
    ///
    /// ```
    /// use simurgh::Payload;
    ///
    /// assert_eq!(Payload::empty().as_json(), Some("{}"));
    /// ```
    pub const fn empty() -> Self {
        Self(Repr::Json(Bytes::from_static(b"{}")))
    }

    /// Whether it is binary, and not JSON.
    pub fn is_binary(&self) -> bool {
        matches!(self.0, Repr::Binary(_))
    }

    /// The bytes of either kind.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Json(bytes) | Repr::Binary(bytes) => bytes,
        }
    }

    /// The JSON text; `None` if the payload is binary.
    pub fn as_json(&self) -> Option<&str> {
        self.to_ref().as_json()
    }

    /// The JSON text, as a part of other JSON: `json!({ "data": payload.raw_json()? })`.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Binary`] if the payload is binary; [`PayloadError::Decode`] if it is nested
    /// deeper than 127, which `serde_json` does not read.
    pub fn raw_json(&self) -> Result<RawJson<'_>, PayloadError> {
        self.to_ref().raw_json()
    }

    /// Reads the JSON as a `T`, which may borrow from it.
    ///
    /// `()` takes any payload, and [`Payload`] any as well, binary included. A struct takes an object
    /// and no list, which serde_json would let pass, although not within others. A type with derived
    /// `Deserialize` refuses an object in which one of its keys comes twice.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Decode`] if it is no `T`, or nested deeper than 127; [`PayloadError::Binary`]
    /// if the payload is binary.
    ///
    /// # Example
    ///
    /// ```
    /// use serde::Deserialize;
    /// use simurgh::Payload;
    ///
    /// #[derive(Deserialize)]
    /// struct Said<'a> { body: &'a str }
    ///
    /// let payload = Payload::from_json_text(r#"{"body": "hello"}"#)?;
    /// assert_eq!(payload.decode::<Said>()?.body, "hello");
    /// # Ok::<(), simurgh::PayloadError>(())
    /// ```
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, PayloadError> {
        self.to_ref().decode()
    }

    /// The payload, borrowed.
    ///
    /// # Example
    ///
    /// ```
    /// use serde::Deserialize;
    /// use simurgh::{FromEvent, Payload};
    ///
    /// #[derive(Deserialize)]
    /// enum Event { Count(u32) }
    ///
    /// let payload = Payload::json(&7)?;
    /// assert!(matches!(Event::from_event("Count", payload.to_ref()), Ok(Event::Count(7))));
    /// # Ok::<(), simurgh::PayloadError>(())
    /// ```
    pub fn to_ref(&self) -> PayloadRef<'_> {
        PayloadRef(self.as_raw())
    }

    pub(crate) fn as_raw(&self) -> RawPayload<'_> {
        match &self.0 {
            Repr::Json(text) => RawPayload::Json(text),
            Repr::Binary(bytes) => RawPayload::Binary(bytes),
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_ref().fmt(f)
    }
}

impl From<serde_json::Value> for Payload {
    fn from(value: serde_json::Value) -> Self {
        Self::json(&value).expect("a JSON value can be written as JSON")
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(NAME, PayloadVisitor)
    }
}

/// A payload that belongs to somebody else: the receive buffer, or a [`Payload`].
///
/// # Example
///
/// ```
/// use simurgh::{Payload, PayloadRef};
///
/// fn size(payload: PayloadRef<'_>) -> usize {
///     payload.as_bytes().len()
/// }
///
/// assert_eq!(size(Payload::empty().to_ref()), 2);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PayloadRef<'a>(RawPayload<'a>);

impl<'a> PayloadRef<'a> {
    pub(crate) const fn new(raw: RawPayload<'a>) -> Self {
        Self(raw)
    }

    /// Whether it is binary, and not JSON.
    pub fn is_binary(self) -> bool {
        matches!(self.0, RawPayload::Binary(_))
    }

    /// The bytes of either kind.
    pub fn as_bytes(self) -> &'a [u8] {
        match self.0 {
            RawPayload::Json(bytes) | RawPayload::Binary(bytes) => bytes,
        }
    }

    /// The JSON text; `None` if the payload is binary.
    pub fn as_json(self) -> Option<&'a str> {
        match self.0 {
            RawPayload::Json(text) => Some(str::from_utf8(text).expect("JSON is checked on entry")),
            RawPayload::Binary(_) => None,
        }
    }

    /// The JSON text, as a part of other JSON, like [`Payload::raw_json`].
    ///
    /// # Errors
    ///
    /// The same as those of [`Payload::raw_json`].
    pub fn raw_json(self) -> Result<RawJson<'a>, PayloadError> {
        let json = self.as_json().ok_or(PayloadError::Binary)?;
        let too_deep = || PayloadError::Decode(de::Error::custom("nested deeper than 127"));
        RawJson::new(json).ok_or_else(too_deep)
    }

    /// Reads the JSON as a `T`, like [`Payload::decode`].
    ///
    /// # Errors
    ///
    /// The same as those of [`Payload::decode`].
    pub fn decode<T: Deserialize<'a>>(self) -> Result<T, PayloadError> {
        self.decode_seed(PhantomData).map_err(|error| match error {
            PayloadError::Decode(_) => self.explain::<T>(),
            error => error,
        })
    }

    /// Why this is no `T`.
    #[cold]
    fn explain<T: Deserialize<'a>>(self) -> PayloadError {
        let stash = Stash::default();
        let result: Result<PhantomData<T>, _> =
            self.decode_explained(PhantomData::<T>, &stash).map(|_| PhantomData);
        PayloadError::Decode(result.err().unwrap_or_else(unexplained))
    }

    /// Copies the payload, so that it can be kept.
    pub fn to_payload(self) -> Payload {
        match self.0 {
            RawPayload::Json(text) => Payload(Repr::Json(keep_many(text.to_vec()))),
            RawPayload::Binary(bytes) => Payload::binary(keep_many(bytes.to_vec())),
        }
    }

    /// The same, for one that is to wait: it counts among what is kept.
    pub(crate) fn to_kept(self) -> Payload {
        match self.0 {
            RawPayload::Json(text) => Payload(Repr::Json(keep(text.to_vec()))),
            RawPayload::Binary(bytes) => Payload::binary(keep(bytes.to_vec())),
        }
    }

    /// Decodes it. Of JSON that does not fit this says no more than that.
    pub(super) fn decode_seed<S: DeserializeSeed<'a>>(
        self,
        seed: S,
    ) -> Result<S::Value, PayloadError> {
        seed.deserialize(Decoder(self.0)).map_err(|_| match self.0 {
            RawPayload::Json(_) => PayloadError::Decode(unexplained()),
            RawPayload::Binary(_) => PayloadError::Binary,
        })
    }

    /// The same again for JSON that did not fit, to find out why.
    pub(super) fn decode_explained<S: DeserializeSeed<'a>>(
        self,
        seed: S,
        stash: &Stash,
    ) -> Result<S::Value, DecodeError> {
        seed.deserialize(Explained::new(Decoder(self.0), stash))
    }
}

/// JSON as its text; of binary only the length, since nobody could read it in a log.
impl fmt::Debug for PayloadRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_json() {
            Some(json) => f.write_str(json),
            None => write!(f, "Binary({} bytes)", self.as_bytes().len()),
        }
    }
}

impl<'a> From<&'a Payload> for PayloadRef<'a> {
    fn from(payload: &'a Payload) -> Self {
        payload.to_ref()
    }
}

/// Why a payload could not be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The value can't be written as JSON.
    #[error("payload cannot be written as JSON: {0}")]
    Encode(serde_json::Error),
    /// The text is not JSON; says why.
    #[error("payload is not JSON: {0}")]
    NotJson(String),
    /// The JSON is not what was asked for. Says where, and nothing of what is there.
    #[error("payload does not decode: {0}")]
    Decode(DecodeError),
    /// JSON was asked for.
    #[error("payload is binary where JSON is expected")]
    Binary,
}

/// For what fits when it is decoded a second time, or is not to be decoded twice.
fn unexplained() -> DecodeError {
    DecodeError::new("it does not fit")
}

/// A value to be sent as JSON: `Json(value)` wherever a payload is asked for.
///
/// # Example
///
/// ```
/// use serde::Serialize;
/// use simurgh::{IntoPayload, Json};
///
/// #[derive(Serialize)]
/// struct Said { body: String }
///
/// let payload = Json(Said { body: "hello".into() }).into_payload()?;
/// assert_eq!(payload.as_json(), Some(r#"{"body":"hello"}"#));
/// # Ok::<(), simurgh::PayloadError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Json<T>(pub T);

/// What can be sent: payloads, JSON values, [`Json`] of anything that serialises, and `()` for the
/// empty object.
///
/// # Example
///
/// ```
/// use serde_json::json;
/// use simurgh::{IntoPayload, Payload};
///
/// fn text(payload: impl IntoPayload) -> Option<String> {
///     payload.into_payload().ok()?.as_json().map(String::from)
/// }
///
/// assert_eq!(text(()).as_deref(), Some("{}"));
/// assert_eq!(text(json!({ "n": 1 })).as_deref(), Some(r#"{"n":1}"#));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as a payload",
    note = "wrap a value that implements `Serialize` in `simurgh::Json`"
)]
pub trait IntoPayload {
    /// Makes a payload of it.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Encode`] if it can't be written as JSON.
    fn into_payload(self) -> Result<Payload, PayloadError>;
}

impl IntoPayload for Payload {
    fn into_payload(self) -> Result<Payload, PayloadError> {
        Ok(self)
    }
}

impl IntoPayload for &Payload {
    fn into_payload(self) -> Result<Payload, PayloadError> {
        Ok(self.clone())
    }
}

impl IntoPayload for serde_json::Value {
    fn into_payload(self) -> Result<Payload, PayloadError> {
        Payload::json(&self)
    }
}

impl IntoPayload for &serde_json::Value {
    fn into_payload(self) -> Result<Payload, PayloadError> {
        Payload::json(self)
    }
}

impl<T: Serialize> IntoPayload for Json<T> {
    fn into_payload(self) -> Result<Payload, PayloadError> {
        Payload::json(&self.0)
    }
}

impl IntoPayload for () {
    fn into_payload(self) -> Result<Payload, PayloadError> {
        Ok(Payload::empty())
    }
}

/// Reads a whole payload.
///
/// It is serde_json's deserializer, except that `()` takes anything, that a struct takes an object
/// only, and that a [`Payload`] is handed over as it stands: binary, or JSON that need not be checked
/// again.
struct Decoder<'de>(RawPayload<'de>);

impl<'de> Decoder<'de> {
    fn json(&self) -> serde_json::Result<JsonDeserializer<'de>> {
        match self.0 {
            RawPayload::Json(text) => Ok(serde_json::Deserializer::from_slice(text)),
            RawPayload::Binary(_) => Err(de::Error::custom("binary")),
        }
    }
}

type JsonDeserializer<'de> = serde_json::Deserializer<serde_json::de::SliceRead<'de>>;

/// Methods that are serde_json's.
macro_rules! as_json {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(
            self,
            $($name: $type,)*
            visitor: V,
        ) -> serde_json::Result<V::Value> {
            self.json()?.$method($($name,)* visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Decoder<'de> {
    type Error = serde_json::Error;

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> serde_json::Result<V::Value> {
        if name == NAME {
            let (seal, bytes) = match self.0 {
                RawPayload::Json(text) => (JSON.as_slice(), text),
                RawPayload::Binary(bytes) => (BINARY.as_slice(), bytes),
            };
            let entry =
                (BorrowedBytesDeserializer::new(seal), BorrowedBytesDeserializer::new(bytes));
            return visitor.visit_map(MapDeserializer::new(iter::once(entry)));
        }
        match self.0 {
            RawPayload::Json(_) => self.json()?.deserialize_newtype_struct(name, visitor),
            RawPayload::Binary(_) => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> serde_json::Result<V::Value> {
        match self.0 {
            RawPayload::Json(b"null") => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> serde_json::Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> serde_json::Result<V::Value> {
        self.json()?.deserialize_struct(name, fields, Object(visitor))
    }

    as_json! {
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
        deserialize_unit_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }
}

/// Takes what [`Decoder`] hands over, or any JSON value from serde_json.
struct PayloadVisitor;

impl<'de> Visitor<'de> for PayloadVisitor {
    type Value = Payload;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Payload, A::Error> {
        match map.next_entry::<&[u8], &[u8]>()? {
            Some((seal, text)) if ptr::eq(seal, &JSON[..]) => {
                Ok(Payload(Repr::Json(keep_many(text.to_vec()))))
            }
            Some((seal, bytes)) if ptr::eq(seal, &BINARY[..]) => {
                Ok(Payload::binary(keep_many(bytes.to_vec())))
            }
            _ => Err(de::Error::custom("a payload can only be part of JSON")),
        }
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, part: D) -> Result<Payload, D::Error> {
        let raw = Box::<RawValue>::deserialize(part)?;
        Payload::from_json_text(String::from(Box::<str>::from(raw))).map_err(de::Error::custom)
    }
}

/// By this a deserializer of ours sees that a [`Payload`] is wanted.
const NAME: &str = "simurgh::Payload";

/// The keys under which [`Decoder`] hands over a payload that has been checked.
///
/// What tells them is where they are in memory, so that no text from outside can pass for them.
static JSON: [u8; 4] = *b"json";
static BINARY: [u8; 6] = *b"binary";

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::{Value, json};

    use super::*;

    #[derive(Serialize)]
    struct Written<'a> {
        to: &'a str,
        inner: RawJson<'a>,
    }

    #[derive(Deserialize, PartialEq, Debug)]
    struct Envelope {
        to: String,
        inner: Payload,
    }

    #[derive(Deserialize, PartialEq, Debug)]
    struct Wrapper(Payload);

    fn text(json: &'static str) -> Payload {
        Payload::from_json_text(json).unwrap()
    }

    #[test]
    fn a_text_is_kept_as_it_was_written() {
        let payload = text("\n { \"b\": 1.50, \"a\":\"\\u0041\" }\t");
        assert_eq!(payload.as_json(), Some("{ \"b\": 1.50, \"a\":\"\\u0041\" }"));
        assert_eq!(payload.decode::<Payload>().unwrap(), payload);
        assert_eq!(payload.to_ref().to_payload(), payload);
        assert_eq!(payload.decode::<Value>().unwrap(), json!({"b": 1.5, "a": "A"}));
    }

    #[test]
    fn what_is_not_json_is_no_payload() {
        for wrong in ["", "{", "{} {}", "nope", "1e999", "\"\\ud800\""] {
            let error = Payload::from_json_text(wrong).unwrap_err();
            assert!(matches!(error, PayloadError::NotJson(_)), "{wrong}");
        }
        assert!(Payload::from_json_text(&b"\"\xff\""[..]).is_err());
    }

    #[test]
    fn a_text_may_be_deeper_than_anybody_can_read() {
        let deep = Payload::from_json_text("[".repeat(5000) + &"]".repeat(5000)).unwrap();
        assert!(matches!(deep.decode::<Value>(), Err(PayloadError::Decode(_))));
        assert!(matches!(deep.raw_json(), Err(PayloadError::Decode(_))));
        let deep = Payload::from_json_text("[".repeat(127) + &"]".repeat(127)).unwrap();
        assert!(deep.decode::<Value>().is_ok());
    }

    #[test]
    fn a_payload_is_a_part_of_json_like_any_other_value() {
        let inner = text("{\"n\": [1.0, null]}");
        let whole = Envelope { to: "you".into(), inner };
        let written = Written { to: &whole.to, inner: whole.inner.raw_json().unwrap() };
        let written = Payload::json(&written).unwrap();
        assert_eq!(written.as_json(), Some(r#"{"to":"you","inner":{"n": [1.0, null]}}"#));
        assert_eq!(written.decode::<Envelope>().unwrap(), whole);
        assert_eq!(Payload::json(&whole.inner.raw_json().unwrap()).unwrap(), whole.inner);

        let many: HashMap<String, Payload> = text(r#"{"a": [ 1 ], "b":null}"#).decode().unwrap();
        assert_eq!((&many["a"], &many["b"]), (&text("[ 1 ]"), &text("null")));
        let from_value: Envelope = serde_json::from_value(json!({"to": "", "inner": 7})).unwrap();
        assert_eq!(from_value.inner, text("7"));
        let half_a_pair = r#"{"to": "", "inner": "\ud800"}"#;
        assert!(serde_json::from_str::<Envelope>(half_a_pair).is_err());
    }

    #[test]
    fn only_a_payload_and_nothing_typed_takes_binary() {
        let binary = Payload::binary(&[1, 2][..]);
        assert_eq!(binary.decode::<Payload>().unwrap(), binary);
        assert_eq!(binary.decode::<Wrapper>().unwrap(), Wrapper(binary.clone()));
        assert_eq!(binary.decode::<Option<Payload>>().unwrap(), Some(binary.clone()));
        assert_eq!(binary.to_ref().to_payload(), binary);
        binary.decode::<()>().unwrap();
        assert!(matches!(binary.decode::<Value>(), Err(PayloadError::Binary)));
        assert!(matches!(binary.decode::<Vec<u8>>(), Err(PayloadError::Binary)));
        assert!(matches!(binary.decode::<&[u8]>(), Err(PayloadError::Binary)));
        assert!(matches!(binary.decode::<Option<u8>>(), Err(PayloadError::Binary)));
        assert!(matches!(binary.decode::<Box<RawValue>>(), Err(PayloadError::Binary)));
        assert!(matches!(binary.raw_json(), Err(PayloadError::Binary)));
        assert_eq!(binary.as_json(), None);
        assert_ne!(text("7"), Payload::binary("7"));
    }

    #[test]
    fn json_decodes_as_with_serde_json() {
        let payload = text(r#"{"to":"a","inner":null}"#);
        assert_eq!(payload.decode::<Envelope>().unwrap().inner, text("null"));
        assert_eq!(text("[ 1 ]").decode::<Wrapper>().unwrap(), Wrapper(text("[ 1 ]")));
        assert_eq!(text("null").decode::<Option<Payload>>().unwrap(), None);
        assert_eq!(text("3").decode::<Option<u8>>().unwrap(), Some(3));
        assert_eq!(text("\"a\"").decode::<&str>().unwrap(), "a");
        assert_eq!(text(" [1]").decode::<Box<RawValue>>().unwrap().get(), "[1]");
        let error = text("\"a\"").decode::<u8>().unwrap_err();
        assert!(error.to_string().starts_with("payload does not decode: invalid type"), "{error}");
    }

    #[test]
    fn a_map_from_elsewhere_does_not_pass_for_a_payload() {
        type Forged<'a> = BorrowedBytesDeserializer<'a, serde_json::Error>;
        for key in [&b"json"[..], b"binary"] {
            let key = key.to_vec();
            let entry = (Forged::new(&key), Forged::new(b"not json"));
            let map = MapDeserializer::<_, serde_json::Error>::new(iter::once(entry));
            assert!(Payload::deserialize(map).is_err());
        }
        for name in ["json", "binary", "$serde_json::private::RawValue"] {
            let json = format!("{{\"{name}\":\"not json\"}}");
            assert_eq!(serde_json::from_str::<Payload>(&json).unwrap().as_json(), Some(&*json));
        }
    }

    #[test]
    fn values_become_payloads() {
        fn json(payload: impl IntoPayload) -> String {
            payload.into_payload().unwrap().as_json().unwrap().into()
        }
        let value = json!({"n": [1, "a"]});
        assert_eq!(json(&value), r#"{"n":[1,"a"]}"#);
        let payload = Payload::from(value.clone());
        assert_eq!(json(&payload), r#"{"n":[1,"a"]}"#);
        assert_eq!(json(payload), r#"{"n":[1,"a"]}"#);
        assert_eq!(json(value), r#"{"n":[1,"a"]}"#);
        assert_eq!(json(Json([1, 2])), "[1,2]");
        assert_eq!(json(()), "{}");
        let no_json = Json(HashMap::from([([1_u8], 1)])).into_payload();
        assert!(matches!(no_json, Err(PayloadError::Encode(_))));
    }

    #[test]
    fn a_log_shows_json_and_the_size_of_binary() {
        assert_eq!(format!("{:?}", text("{\"a\": 1}")), "{\"a\": 1}");
        assert_eq!(format!("{:?}", Payload::binary(vec![0; 12])), "Binary(12 bytes)");
    }
}
