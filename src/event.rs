//! From an event's name and payload to the type that a channel handles.

use std::fmt;

use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::payload::{Payload, PayloadError, PayloadRef};

/// A type that events are read into, usually an enum with a variant for each event.
///
/// Every enum with serde's `Deserialize` is one: the event's name picks the variant, and its payload
/// is the variant's content.
///
/// | variant | payload |
/// |---|---|
/// | `Typing` | any: it is not looked at |
/// | `Count(u32)` | JSON that reads as the type |
/// | `Picture(Payload)` | any, JSON or binary, kept unread |
/// | `Move(f64, f64)` | a list of that length |
/// | `NewMsg { body: String }` | an object |
///
/// Names are chosen with `#[serde(rename_all = "snake_case")]` or `#[serde(rename = "…")]`, and a
/// unit variant with `#[serde(other)]` stands for all names that are not listed. A channel
/// without events uses [`NoEvents`], one that wants to see names and payloads as they came
/// [`RawEvent`]. It must be an enum, and tagged in serde's default way: nothing else can be picked
/// by a name.
///
/// # Example
///
/// ```
/// use serde::Deserialize;
/// use simurgh::{EventError, FromEvent, Payload};
///
/// #[derive(Deserialize)]
/// #[serde(rename_all = "snake_case")]
/// enum Event {
///     NewMsg { body: String },
///     Typing,
/// }
///
/// let payload = Payload::from_json_text(r#"{"body": "hello"}"#)?;
/// let event = Event::from_event("new_msg", payload.to_ref())?;
/// assert!(matches!(event, Event::NewMsg { body } if body == "hello"));
///
/// let unknown = Event::from_event("new_message", payload.to_ref());
/// assert!(matches!(unknown, Err(EventError::Unknown)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait FromEvent: Sized {
    /// Reads an event. The payload is lent from the receive buffer; only what `Self` keeps is
    /// copied.
    ///
    /// # Errors
    ///
    /// [`EventError::Unknown`] if there is no such event, [`EventError::Payload`] if there is one
    /// and the payload is not what it carries.
    fn from_event(event: &str, payload: PayloadRef<'_>) -> Result<Self, EventError>;
}

impl<T: DeserializeOwned> FromEvent for T {
    fn from_event(event: &str, payload: PayloadRef<'_>) -> Result<Self, EventError> {
        T::deserialize(EventDeserializer { event, payload }).map_err(|Failure(error)| error)
    }
}

/// Why an event could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// There is no event of that name.
    #[error("unknown event")]
    Unknown,
    /// The event carries something else.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// An event as it came: for a channel that would rather look for itself.
///
/// # Example
///
/// ```
/// use simurgh::{FromEvent, Payload, RawEvent};
///
/// let event = RawEvent::from_event("anything", Payload::empty().to_ref())?;
/// assert_eq!(event.name, "anything");
/// assert_eq!(event.payload, Payload::empty());
/// # Ok::<(), simurgh::EventError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawEvent {
    /// The name by which the client calls it.
    pub name: String,
    /// What came with it.
    pub payload: Payload,
}

impl FromEvent for RawEvent {
    fn from_event(event: &str, payload: PayloadRef<'_>) -> Result<Self, EventError> {
        Ok(Self { name: event.into(), payload: payload.to_payload() })
    }
}

/// The events of a channel that has none: every name is unknown.
///
/// # Example
///
/// ```
/// use simurgh::{EventError, FromEvent, NoEvents, Payload};
///
/// let event = NoEvents::from_event("new_msg", Payload::empty().to_ref());
/// assert!(matches!(event, Err(EventError::Unknown)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub enum NoEvents {}

/// Reads a join's params, as the content of an event would be.
pub(crate) fn decode_params<T: DeserializeOwned>(
    payload: PayloadRef<'_>,
) -> Result<T, PayloadError> {
    payload.decode()
}

/// Presents an event to serde as an enum, and as nothing else.
///
/// Were it any other type, a name that a client makes up could end as a key of a map or as a
/// string where the application expects content.
struct EventDeserializer<'a, 'de> {
    event: &'a str,
    payload: PayloadRef<'de>,
}

impl<'de> Deserializer<'de> for EventDeserializer<'_, 'de> {
    type Error = Failure;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_enum(self)
    }

    /// A struct around an enum is as good as the enum.
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Failure> {
        Err(Failure::custom("the type of a channel's events must be an externally tagged enum"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for EventDeserializer<'_, 'de> {
    type Error = Failure;
    type Variant = Content<'de>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Content<'de>), Failure> {
        // A variant can object to nothing but its name.
        match seed.deserialize(StrDeserializer::<Failure>::new(self.event)) {
            Ok(variant) => Ok((variant, Content(self.payload))),
            Err(_) => Err(Failure(EventError::Unknown)),
        }
    }
}

/// The payload, as the content of the variant that was picked.
struct Content<'de>(PayloadRef<'de>);

impl<'de> VariantAccess<'de> for Content<'de> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Failure> {
        Ok(self.0.decode_seed(seed)?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Failure> {
        Ok(self.0.decode_seed(Tuple { len, visitor })?)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        Ok(self.0.decode_seed(Struct { fields, visitor })?)
    }
}

struct Tuple<V> {
    len: usize,
    visitor: V,
}

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Tuple<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        deserializer.deserialize_tuple(self.len, self.visitor)
    }
}

struct Struct<V> {
    fields: &'static [&'static str],
    visitor: V,
}

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Struct<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        deserializer.deserialize_struct("", self.fields, self.visitor)
    }
}

/// An [`EventError`] while it passes through serde.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Failure(EventError);

impl serde::de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        PayloadError::Decode(serde_json::Error::custom(message)).into()
    }
}

impl From<PayloadError> for Failure {
    fn from(error: PayloadError) -> Self {
        Self(error.into())
    }
}
