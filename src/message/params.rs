//! From the parameters of a connection to the type that an application declares for them.

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::decode_error::{DecodeError, Step};
use crate::protocol::http::{Param, Params};

/// Reads parameters as a `T`.
///
/// All that a query holds is text, so text is read as a number, a boolean or the name of a variant
/// where `T` has one; where `T` takes anything, it stays text. Parameters that `T` does not name
/// are ignored, and `()` ignores all.
pub(crate) fn from_params<T: DeserializeOwned>(params: &Params) -> Result<T, DecodeError> {
    T::deserialize(Node::Map(params))
}

/// One parameter, or all of them, which are a map like any that is nested in them.
#[derive(Clone, Copy)]
enum Node<'a> {
    Text(&'a str),
    List(&'a [Param]),
    Map(&'a Params),
}

impl<'a> From<&'a Param> for Node<'a> {
    fn from(param: &'a Param) -> Self {
        match param {
            Param::Text(text) => Self::Text(text),
            Param::List(items) => Self::List(items),
            Param::Map(params) => Self::Map(params),
        }
    }
}

impl<'de> Node<'de> {
    fn members(params: &'de Params) -> impl MapAccess<'de, Error = DecodeError> {
        Members { rest: params.iter(), value: None }
    }
}

/// Methods that read text as something else. What is no text, or no such thing, is left to
/// `visitor` to object to, in its own words.
macro_rules! parse {
    ($($method:ident => $visit:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            let Self::Text(text) = self else { return self.deserialize_any(visitor) };
            match text.parse() {
                Ok(value) => visitor.$visit(value),
                Err(_) => Err(DecodeError::invalid_value(Unexpected::Str(text), &visitor)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self {
            Self::Text(text) => visitor.visit_borrowed_str(text),
            Self::List(items) => visitor.visit_seq(Items { items, index: 0 }),
            Self::Map(params) => visitor.visit_map(Self::members(params)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    /// `kind=name` is a variant without content, `kind[name]=…` one with.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self {
            Self::Text(text) => visitor.visit_enum(text.into_deserializer()),
            Self::Map(params) if params.iter().count() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(Self::members(params)))
            }
            Self::Map(_) => Err(DecodeError::invalid_type(Unexpected::Map, &visitor)),
            Self::List(_) => Err(DecodeError::invalid_type(Unexpected::Seq, &visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    parse! {
        deserialize_bool => visit_bool;
        deserialize_i8 => visit_i8;
        deserialize_i16 => visit_i16;
        deserialize_i32 => visit_i32;
        deserialize_i64 => visit_i64;
        deserialize_i128 => visit_i128;
        deserialize_u8 => visit_u8;
        deserialize_u16 => visit_u16;
        deserialize_u32 => visit_u32;
        deserialize_u64 => visit_u64;
        deserialize_u128 => visit_u128;
        deserialize_f32 => visit_f32;
        deserialize_f64 => visit_f64;
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf seq tuple tuple_struct map struct identifier
    }
}

/// Names and values, each value's errors told with its name.
struct Members<'de, I> {
    rest: I,
    /// The one whose name was asked for last.
    value: Option<(&'de str, &'de Param)>,
}

impl<'de, I: Iterator<Item = (&'de str, &'de Param)>> MapAccess<'de> for Members<'de, I> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        self.value = self.rest.next();
        let Some((name, _)) = self.value else { return Ok(None) };
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, DecodeError> {
        let (name, value) = self.value.take().expect("serde asks for a value after its key");
        seed.deserialize(Node::from(value)).map_err(|error| error.within(Step::name(name)))
    }
}

struct Items<'de> {
    items: &'de [Param],
    /// Of the next one.
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        let Some(item) = self.items.get(self.index) else { return Ok(None) };
        let value = seed
            .deserialize(Node::from(item))
            .map_err(|error| error.within(Step::Index(self.index)))?;
        self.index += 1;
        Ok(Some(value))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.index)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::fmt;

    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;
    use crate::Payload;
    use crate::protocol::http::decode_query;

    fn read<T: DeserializeOwned>(query: &str) -> Result<T, DecodeError> {
        from_params(&decode_query(query).unwrap())
    }

    fn error<T: DeserializeOwned + fmt::Debug>(query: &str) -> String {
        read::<T>(query).unwrap_err().to_string()
    }

    #[derive(Deserialize, PartialEq, Debug)]
    #[serde(rename_all = "snake_case")]
    enum Role {
        Guest,
        Admin,
        Member(u32),
        Bot { name: String },
    }

    #[derive(Deserialize, PartialEq, Debug)]
    struct Connect {
        token: String,
        age: Option<u8>,
        #[serde(default)]
        ratio: f64,
        #[serde(default)]
        verbose: bool,
        role: Option<Role>,
        #[serde(default)]
        rooms: Vec<u32>,
        user: Option<User>,
    }

    #[derive(Deserialize, PartialEq, Debug)]
    struct User {
        id: UserId,
        tags: Vec<String>,
    }

    #[derive(Deserialize, PartialEq, Debug)]
    struct UserId(i64);

    #[test]
    fn text_is_read_as_what_the_type_asks_for() {
        let connect: Connect = read(
            "token=007&age=42&ratio=-1.5&verbose=true&role=admin&rooms[]=1&rooms[]=2\
             &user[id]=-9&user[tags][]=a&user[tags][]=%C3%A9&vsn=2.0.0",
        )
        .unwrap();
        let expected = Connect {
            token: "007".into(),
            age: Some(42),
            ratio: -1.5,
            verbose: true,
            role: Some(Role::Admin),
            rooms: vec![1, 2],
            user: Some(User { id: UserId(-9), tags: vec!["a".into(), "é".into()] }),
        };
        assert_eq!(connect, expected);
    }

    #[test]
    fn what_may_be_missing_may() {
        let connect: Connect = read("token=").unwrap();
        assert_eq!((connect.token.as_str(), connect.age, connect.role), ("", None, None));
        assert_eq!(error::<Connect>("age=1"), "missing field `token`");
    }

    #[test]
    fn variants_have_content_where_a_map_names_them() {
        let role = |query| read::<HashMap<String, Role>>(query).map(|mut map| map.remove("r"));
        assert_eq!(role("r=guest").unwrap(), Some(Role::Guest));
        assert_eq!(role("r[member]=7").unwrap(), Some(Role::Member(7)));
        assert_eq!(role("r[bot][name]=hal").unwrap(), Some(Role::Bot { name: "hal".into() }));
        for wrong in
            ["r=member", "r=root", "r=0", "r[]=guest", "r[member]=x", "r[member]=1&r[bot]=2"]
        {
            assert!(role(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn errors_name_the_parameter_and_not_what_it_holds() {
        for (query, message) in [
            ("token=&age=300", "`age`: invalid value: string, expected u8"),
            ("token=&age[x]=3", "`age`: invalid type: map, expected u8"),
            ("token=&verbose=1", "`verbose`: invalid value: string, expected a boolean"),
            ("token[]=x", "`token`: invalid type: sequence, expected a string"),
            ("token=&rooms=1", "`rooms`: invalid type: string, expected a sequence"),
            ("token=&rooms[]=1&rooms[]=x", "`rooms[1]`: invalid value: string, expected u32"),
            (
                "token=&user[id]=%0Ax&user[tags][]=",
                "`user.id`: invalid value: string, expected i64",
            ),
            ("token=&user[id]=1", "`user`: missing field `tags`"),
            (
                "token=&role=hunter2",
                "`role`: unknown variant, expected one of `guest`, `admin`, `member`, `bot`",
            ),
        ] {
            assert_eq!(error::<Connect>(query), message);
        }
        assert_eq!(
            error::<HashMap<String, HashMap<String, HashMap<String, bool>>>>("a[b][c]=x"),
            "`a.b.c`: invalid value: string, expected a boolean",
        );
        assert_eq!(
            error::<HashMap<String, u8>>("a%0Ab=x"),
            "`a\\nb`: invalid value: string, expected u8",
        );
        let long = error::<HashMap<String, u8>>(&format!("{}=x", "%C3%A9".repeat(1_000)));
        assert_eq!(long, format!("`{}…`: invalid value: string, expected u8", "é".repeat(32)));
    }

    #[test]
    fn where_anything_goes_text_stays_text() {
        let value: Value = read("a=1&b=true&c[]=null&d[x]=1.5&e=").unwrap();
        let expected = json!({"a": "1", "b": "true", "c": ["null"], "d": {"x": "1.5"}, "e": ""});
        assert_eq!(value, expected);
        let map: HashMap<String, String> = read("a=1&b=2").unwrap();
        assert_eq!(map["b"], "2");
    }

    #[test]
    fn nothing_asked_for_is_always_found() {
        #[derive(Deserialize)]
        struct Nothing;
        read::<()>("a=1").unwrap();
        let Nothing = read("a=1").unwrap();
        #[derive(Deserialize)]
        struct Empty {}
        let Empty {} = read("a=1").unwrap();
    }

    #[test]
    fn a_query_is_no_json() {
        assert!(read::<Payload>("a=1").is_err());
        assert!(read::<HashMap<String, Payload>>("a=1&json=1").is_err());
        assert!(
            read::<Box<serde_json::value::RawValue>>("$serde_json::private::RawValue=1").is_err()
        );
    }
}
