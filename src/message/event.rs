//! From an event's name and payload to the type that a channel handles.

use std::fmt;

use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::decode_error::DecodeError;
use super::explained::Stash;
use super::payload::{Payload, PayloadError, PayloadRef};
use crate::protocol::phoenix::RawPayload;

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
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read from a client's event",
    note = "derive `serde::Deserialize` for an enum with a variant for each event, or use \
            `simurgh::RawEvent`"
)]
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
        let read = T::deserialize(EventDeserializer { event, payload, stash: None });
        read.map_err(|Failure(error)| match error {
            EventError::Payload(PayloadError::Decode(_)) => {
                // Once more, to find out why.
                let stash = Stash::default();
                let stash = Some(&stash);
                let again = T::deserialize(EventDeserializer { event, payload, stash });
                again.err().map_or(error, |Failure(error)| error)
            }
            error => error,
        })
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
///
/// There are clients that join with null where they have nothing to say. A type that does not take
/// null gets an empty object then.
pub(crate) fn decode_params<T: DeserializeOwned>(
    payload: PayloadRef<'_>,
) -> Result<T, DecodeError> {
    let is_null = payload.as_json() == Some("null");
    payload.decode().or_else(|error| if is_null { EMPTY.decode() } else { Err(error) }).map_err(
        |error| match error {
            PayloadError::Decode(error) => error,
            _ => DecodeError::new("expected JSON, got binary"),
        },
    )
}

const EMPTY: PayloadRef<'static> = PayloadRef::new(RawPayload::Json(b"{}"));

/// Presents an event to serde as an enum, and as nothing else.
///
/// Were it any other type, a name that a client makes up could end as a key of a map or as a
/// string where the application expects content.
struct EventDeserializer<'a, 'de> {
    event: &'a str,
    payload: PayloadRef<'de>,
    /// When it is to be found out why the payload does not fit.
    stash: Option<&'a Stash>,
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
        let wrong = "the type of a channel's events must be an externally tagged enum";
        Err(PayloadError::Decode(DecodeError::new(wrong)).into())
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'a, 'de> EnumAccess<'de> for EventDeserializer<'a, 'de> {
    type Error = Failure;
    type Variant = Content<'a, 'de>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Content<'a, 'de>), Failure> {
        // A variant can object to nothing but its name.
        match seed.deserialize(StrDeserializer::<Failure>::new(self.event)) {
            Ok(variant) => Ok((variant, Content { payload: self.payload, stash: self.stash })),
            Err(_) => Err(Failure(EventError::Unknown)),
        }
    }
}

/// The payload, as the content of the variant that was picked.
struct Content<'a, 'de> {
    payload: PayloadRef<'de>,
    stash: Option<&'a Stash>,
}

impl<'de> Content<'_, 'de> {
    fn decode<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Failure> {
        Ok(match self.stash {
            None => self.payload.decode_seed(seed)?,
            Some(stash) => {
                self.payload.decode_explained(seed, stash).map_err(PayloadError::Decode)?
            }
        })
    }
}

impl<'de> VariantAccess<'de> for Content<'_, 'de> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Failure> {
        self.decode(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Failure> {
        self.decode(Tuple { len, visitor })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.decode(Struct { fields, visitor })
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
        PayloadError::Decode(DecodeError::custom(message)).into()
    }
}

impl From<PayloadError> for Failure {
    fn from(error: PayloadError) -> Self {
        Self(error.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use serde_json::Value;
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Deserialize, PartialEq, Debug)]
    #[serde(rename_all = "snake_case")]
    enum Event {
        Typing,
        Count(u32),
        Picture(Payload),
        Maybe(Option<u32>),
        Nothing(()),
        Move(f64, f64),
        NewMsg {
            body: String,
            #[serde(default)]
            style: Style,
        },
        #[serde(rename = "a:b\"c")]
        Odd,
    }

    #[derive(Deserialize, PartialEq, Debug, Default)]
    #[serde(rename_all = "snake_case")]
    enum Style {
        #[default]
        Plain,
        Bold,
    }

    fn json(text: &str) -> PayloadRef<'_> {
        PayloadRef::new(RawPayload::Json(text.as_bytes()))
    }

    const BINARY: &[u8] = &[1, 2, 3];

    fn binary() -> PayloadRef<'static> {
        PayloadRef::new(RawPayload::Binary(BINARY))
    }

    fn read(event: &str, payload: &str) -> Result<Event, EventError> {
        Event::from_event(event, json(payload))
    }

    fn is_unknown<T>(result: Result<T, EventError>) -> bool {
        matches!(result, Err(EventError::Unknown))
    }

    fn is_bad_payload<T>(result: Result<T, EventError>) -> bool {
        matches!(result, Err(EventError::Payload(PayloadError::Decode(_))))
    }

    #[test]
    fn the_name_picks_the_variant_and_the_payload_is_its_content() {
        assert_eq!(read("typing", "{}").unwrap(), Event::Typing);
        assert_eq!(read("count", "7").unwrap(), Event::Count(7));
        assert_eq!(read("maybe", "7").unwrap(), Event::Maybe(Some(7)));
        assert_eq!(read("maybe", "null").unwrap(), Event::Maybe(None));
        assert_eq!(read("move", "[1, 2.5]").unwrap(), Event::Move(1.0, 2.5));
        assert_eq!(read("a:b\"c", "{}").unwrap(), Event::Odd);
        assert_eq!(
            read("new_msg", r#"{"body": "\u0041", "style": "bold", "more": 1}"#).unwrap(),
            Event::NewMsg { body: "A".into(), style: Style::Bold },
        );
    }

    #[test]
    fn a_unit_variant_takes_any_payload() {
        for payload in ["{}", "null", "[1, 2]", "\"text\"", "{\"a\": 1}"] {
            assert_eq!(read("typing", payload).unwrap(), Event::Typing);
            assert_eq!(read("nothing", payload).unwrap(), Event::Nothing(()));
        }
        assert_eq!(Event::from_event("typing", binary()).unwrap(), Event::Typing);
    }

    #[test]
    fn a_payload_variant_keeps_what_came() {
        for payload in ["{ \"a\":  1 }", "null", "[]", "\"\\u0041\""] {
            let expected = Payload::from_json_text(payload.to_owned()).unwrap();
            assert_eq!(read("picture", payload).unwrap(), Event::Picture(expected));
        }
        let expected = Payload::binary(BINARY);
        assert_eq!(Event::from_event("picture", binary()).unwrap(), Event::Picture(expected));
    }

    #[test]
    fn a_typed_variant_refuses_binary() {
        for event in ["count", "move", "new_msg", "maybe"] {
            let error = Event::from_event(event, binary()).unwrap_err();
            assert!(matches!(error, EventError::Payload(PayloadError::Binary)), "{event}");
        }
    }

    #[test]
    fn an_unknown_name_is_told_from_a_bad_payload() {
        for event in ["", "Typing", "typing ", "newMsg", "0", "1", "body", "{}", "\"typing\"", "\0"]
        {
            assert!(is_unknown(read(event, "{}")), "{event}");
        }
        for (event, payload) in [
            ("count", "\"7\""),
            ("count", "-1"),
            ("move", "[1]"),
            ("move", "[1, 2, 3]"),
            ("new_msg", "{}"),
            ("new_msg", "null"),
            // The payload's own enum knows no such variant: that is not the event's name.
            ("new_msg", r#"{"body": "", "style": "loud"}"#),
        ] {
            assert!(is_bad_payload(read(event, payload)), "{event} {payload}");
        }
    }

    #[test]
    fn a_name_picks_nothing_but_a_variant() {
        #[derive(Deserialize)]
        struct Struct {
            #[serde(rename = "typing")]
            _typing: Value,
        }
        #[derive(Deserialize)]
        #[serde(tag = "typing")]
        enum Internal {
            #[serde(rename = "typing")]
            Typing,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Untagged {
            Text {
                #[serde(rename = "typing")]
                _typing: String,
            },
            Any {},
        }
        fn refused<T: FromEvent>() {
            for event in ["typing", "", "0", "$serde_json::private::RawValue"] {
                for payload in ["{}", "\"typing\"", "{\"typing\":{}}", "null"] {
                    assert!(is_bad_payload(T::from_event(event, json(payload))));
                }
            }
        }
        refused::<Struct>();
        refused::<Internal>();
        refused::<Untagged>();
        refused::<Value>();
        refused::<String>();
        refused::<u8>();
        refused::<()>();
        refused::<Option<Event>>();
        refused::<(String, Value)>();
        refused::<Vec<Value>>();
        refused::<HashMap<String, Value>>();
        refused::<BTreeMap<String, Value>>();
        refused::<Box<RawValue>>();
        refused::<Payload>();
    }

    #[test]
    fn a_struct_around_an_enum_is_read_as_the_enum() {
        #[derive(Deserialize)]
        struct Events(Event);
        let Events(event) = Events::from_event("count", json("1")).unwrap();
        assert_eq!(event, Event::Count(1));
        assert!(is_unknown(Events::from_event("counts", json("1"))));
    }

    #[test]
    fn a_catch_all_stands_for_the_names_not_listed() {
        #[derive(Deserialize, PartialEq, Debug)]
        enum Open {
            Known(u8),
            #[serde(other)]
            Other,
        }
        assert_eq!(Open::from_event("whatever", binary()).unwrap(), Open::Other);
        assert!(is_bad_payload(Open::from_event("Known", json("{}"))));
    }

    #[test]
    fn an_implementation_of_ones_own_stands_beside_serde() {
        struct Shout(String);
        impl FromEvent for Shout {
            fn from_event(event: &str, _payload: PayloadRef<'_>) -> Result<Self, EventError> {
                Ok(Self(event.to_uppercase()))
            }
        }
        assert_eq!(Shout::from_event("hi", binary()).unwrap().0, "HI");
        let raw = RawEvent::from_event("hi", binary()).unwrap();
        assert_eq!(raw, RawEvent { name: "hi".into(), payload: Payload::binary(BINARY) });
        assert!(is_unknown(NoEvents::from_event("hi", json("{}"))));
    }

    #[test]
    fn params_are_read_like_the_content_of_an_event() {
        #[derive(Deserialize)]
        struct Params {
            room: u32,
        }
        assert_eq!(decode_params::<Params>(json("{\"room\":7}")).unwrap().room, 7);
        assert!(decode_params::<Params>(json("{}")).is_err());
        let error = decode_params::<Params>(binary()).err().expect("it is no params");
        assert_eq!(error.to_string(), "expected JSON, got binary");
        assert_eq!(decode_params::<Payload>(binary()).unwrap(), Payload::binary(BINARY));
        decode_params::<()>(json("{\"room\":7}")).unwrap();
    }

    #[test]
    fn null_stands_for_no_params_where_it_is_nothing_else() {
        #[derive(Deserialize, PartialEq, Debug, Default)]
        #[serde(default)]
        struct Entry {
            name: Option<String>,
        }
        #[derive(Deserialize, PartialEq, Debug)]
        struct Wrapped(Entry);
        #[derive(Deserialize, Debug)]
        struct Named {
            #[serde(rename = "name")]
            _name: String,
        }
        assert_eq!(decode_params::<Entry>(json("null")).unwrap(), Entry::default());
        assert_eq!(decode_params::<Wrapped>(json("null")).unwrap(), Wrapped(Entry::default()));
        assert!(decode_params::<HashMap<String, u8>>(json("null")).unwrap().is_empty());
        assert_eq!(decode_params::<Option<Entry>>(json("null")).unwrap(), None);
        assert_eq!(decode_params::<Value>(json("null")).unwrap(), Value::Null);
        assert_eq!(decode_params::<Payload>(json("null")).unwrap().as_json(), Some("null"));
        decode_params::<Named>(json("null")).unwrap_err();
        // An event says what it carries.
        assert!(is_bad_payload(read("new_msg", "null")));
    }

    #[test]
    fn a_list_is_no_object() {
        #[derive(Deserialize, PartialEq, Debug, Default)]
        #[serde(default)]
        struct Entry {
            name: Option<String>,
        }
        for list in ["[]", r#"["x"]"#] {
            decode_params::<Entry>(json(list)).unwrap_err();
            decode_params::<Option<Entry>>(json(list)).unwrap_err();
        }
        assert!(is_bad_payload(read("new_msg", r#"["body"]"#)));
        assert!(is_bad_payload(read("new_msg", r#"["body","bold"]"#)));
    }
}
