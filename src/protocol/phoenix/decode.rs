//! From bytes to a [`Message`].

use std::str;

use super::scan::{Fault, Scanner};
use super::text::{MAX_FIELD_DEPTH, MAX_FIELD_SIZE, as_text, plain_len};
use super::{Field, Malformed, Message, RawPayload, Ref, Version};

impl Version {
    /// Cuts one message into its parts.
    ///
    /// Everything in it is checked here, the payload included: that it is JSON with containers at
    /// most `max_depth` deep, and that it fits the doubles and strings of whoever reads it.
    pub(crate) fn decode(self, text: &str, max_depth: usize) -> Result<Message<'_>, Malformed> {
        match self {
            Self::V2 => decode_array(text, max_depth),
            Self::V1 => decode_object(text, max_depth),
        }
    }

    /// The same for a binary WebSocket message. V1 has none and takes their bytes for text.
    pub(crate) fn decode_binary(
        self,
        bytes: &[u8],
        max_depth: usize,
    ) -> Result<Message<'_>, Malformed> {
        match self {
            Self::V2 => decode_binary(bytes),
            Self::V1 => decode_object(as_utf8(bytes)?, max_depth),
        }
    }
}

/// Checks a text to be one JSON value as messages may hold, and takes off the space around it.
pub(crate) fn check_json(bytes: &[u8], max_depth: usize) -> Result<&str, Malformed> {
    let mut scanner = Scanner::new(as_utf8(bytes)?);
    let value = scanner.value(max_depth).and_then(|value| scanner.end().map(|()| value));
    value.map_err(|fault| scanner.malformed(fault))
}

/// The ref of a heartbeat as phoenix.js writes it, `[null,"REF","phoenix","heartbeat",{}]`, quotes
/// included: the shortcut for what most messages of a quiet server are.
///
/// `None` means nothing but that the long way has to be taken.
pub(crate) fn heartbeat_ref(bytes: &[u8]) -> Option<&[u8]> {
    let message_ref = bytes
        .strip_prefix(b"[null,".as_slice())?
        .strip_suffix(b",\"phoenix\",\"heartbeat\",{}]".as_slice())?;
    let [b'"', text @ .., b'"'] = message_ref else { return None };
    if message_ref.len() > MAX_FIELD_SIZE {
        return None;
    }
    text.iter().all(u8::is_ascii_alphanumeric).then_some(message_ref)
}

/// `[join_ref, ref, topic, event, payload]`, and whatever follows.
fn decode_array(text: &str, max_depth: usize) -> Result<Message<'_>, Malformed> {
    if let Some((fields, rest)) = usual_fields(text) {
        let [join_ref, message_ref, topic, event] = fields;
        let mut scanner = Scanner::behind(text, rest);
        let payload =
            scan_payload(&mut scanner, max_depth).map_err(|fault| scanner.malformed(fault))?;
        return Ok(Message {
            join_ref: Ref::from_json(join_ref.as_bytes()),
            message_ref: Ref::from_json(message_ref.as_bytes()),
            topic: topic[1..topic.len() - 1].into(),
            event: event[1..event.len() - 1].into(),
            payload: RawPayload::Json(payload.as_bytes()),
        });
    }
    let mut scanner = Scanner::new(text);
    let [join_ref, message_ref, topic, event, payload] =
        scan_array(&mut scanner, max_depth).map_err(|fault| scanner.malformed(fault))?;
    Ok(Message {
        join_ref: Ref::new(join_ref),
        message_ref: Ref::new(message_ref),
        topic: Field::new(topic),
        event: Field::new(event),
        payload: RawPayload::Json(payload.as_bytes()),
    })
}

/// The first four fields of a list as clients write it: strings without escapes, or null for a ref,
/// and no space between them. `None`: the scanner is to look at it.
fn usual_fields(text: &str) -> Option<([&str; 4], &str)> {
    let mut rest = text.strip_prefix('[')?;
    let mut fields = [""; 4];
    for (index, field) in fields.iter_mut().enumerate() {
        let size = match rest.as_bytes() {
            [b'"', string @ ..] => plain_len(string) + 2,
            [b'n', b'u', b'l', b'l', ..] if index < 2 => 4,
            _ => return None,
        };
        (*field, rest) = rest.split_at_checked(size)?;
        // Where a plain string ends there may be an escape instead of a quote.
        if !matches!(field.as_bytes(), [.., b'"' | b'l']) || size > MAX_FIELD_SIZE {
            return None;
        }
        rest = rest.strip_prefix(',')?;
    }
    Some((fields, rest))
}

fn scan_array<'a>(scanner: &mut Scanner<'a>, max_depth: usize) -> Result<[&'a str; 5], Fault> {
    let field_depth = MAX_FIELD_DEPTH.min(max_depth);
    scanner.expect(b'[')?;
    let join_ref = scan_field(scanner, field_depth)?;
    scanner.expect(b',')?;
    let message_ref = scan_field(scanner, field_depth)?;
    scanner.expect(b',')?;
    let topic = scan_field(scanner, field_depth)?;
    scanner.expect(b',')?;
    let event = scan_field(scanner, field_depth)?;
    scanner.expect(b',')?;
    let payload = scan_payload(scanner, max_depth)?;
    Ok([join_ref, message_ref, topic, event, payload])
}

/// The payload, and all that may follow it in a list.
fn scan_payload<'a>(scanner: &mut Scanner<'a>, max_depth: usize) -> Result<&'a str, Fault> {
    let payload = scanner.value(max_depth)?;
    while scanner.eat(b',') {
        scanner.value(max_depth)?;
    }
    scanner.expect(b']')?;
    scanner.end()?;
    Ok(payload)
}

/// `{"topic": …, "event": …, "payload": …, "ref": …, "join_ref": …}`, the last one optional.
fn decode_object(text: &str, max_depth: usize) -> Result<Message<'_>, Malformed> {
    let mut scanner = Scanner::new(text);
    let members = scan_object(&mut scanner, max_depth).map_err(|fault| scanner.malformed(fault))?;
    let missing = |key| Malformed::MissingKey { key };
    Ok(Message {
        join_ref: members.join_ref.map_or(Ref::NULL, Ref::new),
        message_ref: Ref::new(members.message_ref.ok_or(missing("ref"))?),
        topic: Field::new(members.topic.ok_or(missing("topic"))?),
        event: Field::new(members.event.ok_or(missing("event"))?),
        payload: RawPayload::Json(members.payload.ok_or(missing("payload"))?.as_bytes()),
    })
}

#[derive(Default)]
struct Members<'a> {
    join_ref: Option<&'a str>,
    message_ref: Option<&'a str>,
    topic: Option<&'a str>,
    event: Option<&'a str>,
    payload: Option<&'a str>,
}

fn scan_object<'a>(scanner: &mut Scanner<'a>, max_depth: usize) -> Result<Members<'a>, Fault> {
    let field_depth = MAX_FIELD_DEPTH.min(max_depth);
    let mut members = Members::default();
    scanner.expect(b'{')?;
    if !scanner.eat(b'}') {
        loop {
            let (member, is_payload) = match as_text(scanner.key()?).as_deref() {
                Some("join_ref") => (&mut members.join_ref, false),
                Some("ref") => (&mut members.message_ref, false),
                Some("topic") => (&mut members.topic, false),
                Some("event") => (&mut members.event, false),
                Some("payload") => (&mut members.payload, true),
                _ => (&mut None, true),
            };
            let value = match is_payload {
                true => scanner.value(max_depth)?,
                false => scan_field(scanner, field_depth)?,
            };
            // Of a key that comes twice the first counts, as it does for Jason.
            member.get_or_insert(value);
            if !scanner.eat(b',') {
                break;
            }
        }
        scanner.expect(b'}')?;
    }
    scanner.end()?;
    Ok(members)
}

/// A ref, a topic or an event. It may be kept, repeated in every answer, and written to the log,
/// so it is not as long as a message may be.
#[inline]
fn scan_field<'a>(scanner: &mut Scanner<'a>, max_depth: usize) -> Result<&'a str, Fault> {
    let field = scanner.value(max_depth)?;
    if field.len() > MAX_FIELD_SIZE { Err(Fault::FieldTooLong) } else { Ok(field) }
}

/// A push: `0 | four sizes | join_ref | ref | topic | event | payload`.
///
/// Its refs are strings whatever they hold; one of no length is `""`, not null.
fn decode_binary(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let (&kind, _) = bytes.split_first().ok_or(Malformed::Truncated)?;
    if kind != 0 {
        return Err(Malformed::UnknownKind { kind });
    }
    let (header, mut rest) = bytes.split_first_chunk::<5>().ok_or(Malformed::Truncated)?;
    let [_, join_ref, message_ref, topic, event] = *header;
    let mut take = |size: u8| {
        let at = bytes.len() - rest.len();
        let (field, after) = rest.split_at_checked(size.into()).ok_or(Malformed::Truncated)?;
        rest = after;
        str::from_utf8(field).map_err(|error| Malformed::NotUtf8 { at: at + error.valid_up_to() })
    };
    Ok(Message {
        join_ref: Ref::from_text(take(join_ref)?),
        message_ref: Ref::from_text(take(message_ref)?),
        topic: take(topic)?.into(),
        event: take(event)?.into(),
        payload: RawPayload::Binary(rest),
    })
}

fn as_utf8(bytes: &[u8]) -> Result<&str, Malformed> {
    str::from_utf8(bytes).map_err(|error| Malformed::NotUtf8 { at: error.valid_up_to() })
}

#[cfg(test)]
mod tests {
    use std::{fmt, iter};

    use proptest::prelude::*;
    use proptest::sample::{Index, select};
    use serde::Deserialize;
    use serde::de::{Deserializer, MapAccess, Visitor};
    use serde_json::Value;
    use serde_json::value::RawValue;

    use super::*;

    const MAX_DEPTH: usize = 64;

    /// Decodes a WebSocket message of either kind.
    fn decode(version: Version, binary: bool, bytes: &[u8]) -> Result<Message<'_>, Malformed> {
        decode_deep(version, binary, bytes, MAX_DEPTH)
    }

    fn decode_deep(
        version: Version,
        binary: bool,
        bytes: &[u8],
        max_depth: usize,
    ) -> Result<Message<'_>, Malformed> {
        match binary {
            true => version.decode_binary(bytes, max_depth),
            false => version.decode(as_utf8(bytes)?, max_depth),
        }
    }

    fn v1(text: &str) -> Result<Message<'_>, Malformed> {
        decode(Version::V1, false, text.as_bytes())
    }

    fn v2(text: &str) -> Result<Message<'_>, Malformed> {
        decode(Version::V2, false, text.as_bytes())
    }

    fn binary(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
        decode(Version::V2, true, bytes)
    }

    fn message<'a>(
        join_ref: &'a str,
        message_ref: &'a str,
        topic: &'a str,
        event: &'a str,
        payload: &'a str,
    ) -> Message<'a> {
        Message {
            join_ref: Ref::from_json(join_ref.as_bytes()),
            message_ref: Ref::from_json(message_ref.as_bytes()),
            topic: topic.into(),
            event: event.into(),
            payload: RawPayload::Json(payload.as_bytes()),
        }
    }

    #[test]
    fn an_array_of_five_is_a_message() {
        for (text, expected) in [
            (
                r#"["3","5","t:a","e",{"n": 1}]"#,
                message("\"3\"", "\"5\"", "t:a", "e", "{\"n\": 1}"),
            ),
            (
                r#"[null,"12","phoenix","heartbeat",{}]"#,
                message("null", "\"12\"", "phoenix", "heartbeat", "{}"),
            ),
            (r#"[1,1.0,"","",null]"#, message("1", "1.0", "", "", "null")),
            (r#" [ null , 1 , "t" , "e" , [ ] ] "#, message("null", "1", "t", "e", "[ ]")),
            (r#"["1","2","t","e",{},{"more":[]},7]"#, message("\"1\"", "\"2\"", "t", "e", "{}")),
            (
                r#"[null,{"b":1, "a":2},"t","e","p"]"#,
                message("null", r#"{"a":2,"b":1}"#, "t", "e", "\"p\""),
            ),
            (r#"[null,null,"a\"\u00e9,\/","\n",0]"#, message("null", "null", "a\"é,/", "\n", "0")),
        ] {
            assert_eq!(v2(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn topics_and_events_may_be_anything() {
        for other in ["null", "1", "[1, 2]", "{\"a\": true}"] {
            let text = format!("[null,null,{other},{other},{{}}]");
            let message = v2(&text).unwrap();
            assert_eq!(message.topic, Field::Other(other.as_bytes()));
            assert_eq!(message.event, Field::Other(other.as_bytes()));
        }
    }

    #[test]
    fn anything_but_an_array_of_five_is_malformed() {
        for text in [
            "",
            " ",
            "[]",
            r#"["1","2","t","e"]"#,
            r#"["1","2","t","e",]"#,
            r#"["1","2","t","e",{},]"#,
            r#"["1","2","t","e",{}"#,
            r#"["1","2","t","e",{}]]"#,
            r#"["1","2","t","e",{}] x"#,
            r#"["1","2","t","e",{"a"}]"#,
            r#"["1","2","t","e",{},"\ud800"]"#,
            r#"["1","2","t","e",1e999]"#,
            r#"{"topic":"t","event":"e","payload":{},"ref":"1"}"#,
            "\"12345\"",
            "null",
        ] {
            assert!(v2(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_object_with_the_four_keys_is_a_message() {
        for (text, expected) in [
            (
                r#"{"topic":"t","event":"e","payload":{"n":1},"ref":"1"}"#,
                message("null", "\"1\"", "t", "e", "{\"n\":1}"),
            ),
            (
                r#" { "ref" : null , "payload" : 7 , "event" : "e" , "topic" : "t" } "#,
                message("null", "null", "t", "e", "7"),
            ),
            (
                r#"{"topic":"t","event":"e","payload":{},"ref":"2","join_ref":"1","x":[{}]}"#,
                message("\"1\"", "\"2\"", "t", "e", "{}"),
            ),
            (
                r#"{"topic":"a","topic":"b","event":"e","payload":1,"payload":2,"ref":1,"ref":2}"#,
                message("null", "1", "a", "e", "1"),
            ),
            (
                r#"{"\u0074opic":"t","event":"e","payload":{},"ref":"1"}"#,
                message("null", "\"1\"", "t", "e", "{}"),
            ),
        ] {
            assert_eq!(v1(text), Ok(expected.clone()), "{text}");
            // Bytes in a binary message are no different to this version.
            assert_eq!(decode(Version::V1, true, text.as_bytes()), Ok(expected));
        }
    }

    #[test]
    fn an_object_without_one_of_the_four_keys_is_malformed() {
        let pairs = ["\"topic\":\"t\"", "\"event\":\"e\"", "\"payload\":{}", "\"ref\":\"1\""];
        assert!(v1(&format!("{{{}}}", pairs.join(","))).is_ok());
        for (missing, key) in ["topic", "event", "payload", "ref"].into_iter().enumerate() {
            let mut pairs = pairs.to_vec();
            pairs.remove(missing);
            let text = format!("{{{}}}", pairs.join(","));
            assert_eq!(v1(&text), Err(Malformed::MissingKey { key }));
        }
        for text in ["", "{}", "[]", "null", "{", r#"["1","2","t","e",{}]"#] {
            assert!(v1(text).is_err(), "{text}");
        }
        assert!(decode(Version::V1, true, b"\x00\x00\x00\x01\x01te").is_err());
    }

    #[test]
    fn a_binary_push_has_four_sizes_in_front() {
        let bytes = b"\x00\x01\x01\x07\x0737test:jsbin_len\x01\x02\x03";
        let expected = Message {
            payload: RawPayload::Binary(&[1, 2, 3]),
            ..message("\"3\"", "\"7\"", "test:js", "bin_len", "")
        };
        assert_eq!(binary(bytes), Ok(expected));
    }

    #[test]
    fn refs_of_a_binary_push_are_strings() {
        let expected = Message {
            payload: RawPayload::Binary(b"x"),
            ..message("\"\"", r#""null\"""#, "", "", "")
        };
        assert_eq!(binary(b"\x00\x00\x05\x00\x00null\"x"), Ok(expected));
    }

    #[test]
    fn other_binary_messages_are_malformed() {
        assert_eq!(binary(b""), Err(Malformed::Truncated));
        for kind in 1..=255 {
            let bytes = [kind, 0, 0, 0, 0, b'x'];
            assert_eq!(binary(&bytes), Err(Malformed::UnknownKind { kind }));
        }
        assert_eq!(binary(b"\x00\x00\x00\x02\x00\xc3("), Err(Malformed::NotUtf8 { at: 5 }));
        assert_eq!(binary(b"\x00\x01\x00\x02\x001a\xff"), Err(Malformed::NotUtf8 { at: 7 }));
    }

    #[test]
    fn every_truncation_is_malformed() {
        let text = r#"["\u00311",{"r":[1.5e3,-0]},"rööm:1","new\n_msg",{"a":[true,{"b":"\ud83d\udc26"}]},0]"#;
        assert!(v2(text).is_ok());
        for end in 0..text.len() {
            assert!(decode(Version::V2, false, &text.as_bytes()[..end]).is_err());
        }
        let text = r#"{"topic":"rööm:1","event":"e","payload":[null],"ref":1,"join_ref":false}"#;
        assert!(v1(text).is_ok());
        for end in 0..text.len() {
            assert!(decode(Version::V1, false, &text.as_bytes()[..end]).is_err());
        }
        let bytes = b"\x00\x01\x01\x07\x0737test:jsbin_len";
        assert!(binary(bytes).is_ok());
        for end in 0..bytes.len() {
            assert_eq!(binary(&bytes[..end]), Err(Malformed::Truncated));
        }
    }

    #[test]
    fn text_is_utf8() {
        let broken = b"[null,null,\"t\xff\",\"e\",{}]";
        for version in [Version::V1, Version::V2] {
            let error = Malformed::NotUtf8 { at: 13 };
            assert_eq!(decode(version, false, broken), Err(error));
        }
    }

    #[test]
    fn only_payloads_may_be_deep() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let payload = |depth| v2(&format!("[1,1,1,1,{}]", nested(depth))).map(drop);
        assert_eq!(payload(MAX_DEPTH), Ok(()));
        assert_eq!(payload(MAX_DEPTH + 1), Err(Malformed::TooDeep { at: 9 + MAX_DEPTH }));
        let message_ref = |depth| v2(&format!("[1,{},1,1,1]", nested(depth))).map(drop);
        assert_eq!(message_ref(MAX_FIELD_DEPTH), Ok(()));
        assert!(message_ref(MAX_FIELD_DEPTH + 1).is_err());
        let extra = |depth| v2(&format!("[1,1,1,1,1,{}]", nested(depth))).map(drop);
        assert_eq!(extra(MAX_DEPTH), Ok(()));
        assert!(extra(MAX_DEPTH + 1).is_err());
    }

    #[test]
    fn only_payloads_may_be_long() {
        let name = |size: usize| format!("\"{}\"", "x".repeat(size - 2));
        for (version, parts) in [
            (Version::V2, ["[JOIN_REF,", "REF,", "TOPIC,", "EVENT,", "PAYLOAD]"]),
            (
                Version::V1,
                [
                    "{\"join_ref\":JOIN_REF,",
                    "\"ref\":REF,",
                    "\"topic\":TOPIC,",
                    "\"event\":EVENT,",
                    "\"payload\":PAYLOAD}",
                ],
            ),
        ] {
            let decode = |long: usize, size: usize| {
                let value = |part| if part == long { name(size) } else { "\"\"".to_owned() };
                let names = ["JOIN_REF", "REF", "TOPIC", "EVENT", "PAYLOAD"];
                let part = |(n, part): (usize, &&str)| part.replace(names[n], &value(n));
                let text: String = parts.iter().enumerate().map(part).collect();
                decode(version, false, text.as_bytes()).map(drop)
            };
            for field in 0..4 {
                assert_eq!(decode(field, MAX_FIELD_SIZE), Ok(()));
                let error = decode(field, MAX_FIELD_SIZE + 1);
                assert!(matches!(error, Err(Malformed::FieldTooLong { .. })), "{error:?}");
            }
            assert_eq!(decode(4, 1 << 20), Ok(()));
        }
        let heartbeat = |size| format!("[null,{},\"phoenix\",\"heartbeat\",{{}}]", name(size));
        assert!(heartbeat_ref(heartbeat(MAX_FIELD_SIZE).as_bytes()).is_some());
        assert!(heartbeat_ref(heartbeat(MAX_FIELD_SIZE + 1).as_bytes()).is_none());
    }

    #[test]
    fn the_shortcut_finds_what_the_long_way_finds() {
        for found in ["\"1\"", "\"12345678901234567890\"", "\"ref7\"", "\"\""] {
            let text = format!("[null,{found},\"phoenix\",\"heartbeat\",{{}}]");
            assert_eq!(heartbeat_ref(text.as_bytes()), Some(found.as_bytes()));
            assert_eq!(v2(&text), Ok(message("null", found, "phoenix", "heartbeat", "{}")));
        }
        for text in [
            "",
            "[null,\"",
            r#"[null,,"phoenix","heartbeat",{}]"#,
            r#"[null,","phoenix","heartbeat",{}]"#,
            r#"[null,1,"phoenix","heartbeat",{}]"#,
            r#"[null,"1","2","phoenix","heartbeat",{}]"#,
            r#"[null,"\u0031","phoenix","heartbeat",{}]"#,
            r#"["1","1","phoenix","heartbeat",{}]"#,
            r#"[null,"1","phoenix","heartbeat",{}] "#,
            r#"[null,"1","phoenix","heartbeat",{"a":1}]"#,
            r#"[null,"1","phoenix","heartbeats",{}]"#,
        ] {
            assert_eq!(heartbeat_ref(text.as_bytes()), None, "{text}");
        }
    }

    /// A JSON value with whatever spaces and escapes the grammar allows.
    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            select(vec!["null", "true", "false", "0", "-0", "1e5", "-1.25E-3", "1e309", "\"\""])
                .prop_map(String::from),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
            prop::collection::vec(
                select(vec![
                    "\\u0041", "\\ud83d", "\\udc26", "\\n", "\\/", "é", "[", ",", "}", "x"
                ]),
                0..6
            )
            .prop_map(|parts| format!("\"{}\"", parts.concat())),
        ];
        let space = || select(vec!["", "", "", " ", "\n\t"]);
        leaf.prop_recursive(4, 24, 4, move |inner| {
            let item = (space(), inner, space()).prop_map(|(a, item, b)| format!("{a}{item}{b}"));
            let key = select(vec!["\"a\"", "\"b\"", "\"\\u0061\"", "\"\""]);
            let member = (space(), key, space(), item.clone())
                .prop_map(|(a, key, b, value)| format!("{a}{key}{b}:{value}"));
            prop_oneof![
                prop::collection::vec(item, 0..4)
                    .prop_map(|items| format!("[{}]", items.join(","))),
                prop::collection::vec(member, 0..4)
                    .prop_map(|members| format!("{{{}}}", members.join(","))),
            ]
        })
    }

    /// Texts around the form of a message: most of them one, some with a part too few or too many.
    fn array() -> impl Strategy<Value = String> {
        prop::collection::vec(json(), 4..7).prop_map(|parts| format!("[{}]", parts.join(",")))
    }

    fn object() -> impl Strategy<Value = String> {
        let key = select(vec!["topic", "event", "payload", "ref", "join_ref", "t\\u006fpic", "x"]);
        prop::collection::vec((key, json()), 3..9).prop_map(|members| {
            let members: Vec<_> =
                members.iter().map(|(key, value)| format!("\"{key}\" :{value}")).collect();
            format!("{{{}}}", members.join(", "))
        })
    }

    /// The same text with a few bytes taken out and something put in their place.
    fn damaged(text: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
        let patch =
            select(vec!["", "", "\"", "\\", "[", "]", "{", "}", ",", ":", "0", "-", " ", "\0"]);
        (text, any::<(Index, Index)>(), 0..3_usize, patch).prop_map(|(text, at, len, patch)| {
            let mut bytes = text.into_bytes();
            let start = at.0.index(bytes.len());
            let end = (start + len).min(bytes.len());
            bytes.splice(start..end, patch.bytes());
            bytes
        })
    }

    /// What serde_json makes of a part that we are to accept: itself, if it can also be held.
    fn held(raw: &RawValue) -> Option<&str> {
        serde_json::from_str::<Value>(raw.get()).is_ok().then_some(raw.get())
    }

    /// A value, with one zero for all zeros: to serde_json `-0` is a float, to Phoenix the integer.
    fn value(json: &[u8]) -> Value {
        fn unite_zeros(value: &mut Value) {
            match value {
                Value::Number(number) if number.as_f64() == Some(0.0) => *value = 0.into(),
                Value::Array(items) => items.iter_mut().for_each(unite_zeros),
                Value::Object(members) => members.values_mut().for_each(unite_zeros),
                _ => {}
            }
        }
        let mut value = serde_json::from_slice(json).unwrap();
        unite_zeros(&mut value);
        value
    }

    fn assert_same_parts(message: Option<Message<'_>>, parts: Option<[&str; 5]>) {
        let Some(parts) = parts else { return assert_eq!(message, None) };
        let message = message.expect("serde_json accepts it");
        let field = |field: &Field<'_>| match field {
            Field::Text(text) => Value::String(text.to_string()),
            Field::Other(json) => value(json),
        };
        assert_eq!(value(message.join_ref.as_json()), value(parts[0].as_bytes()));
        assert_eq!(value(message.message_ref.as_json()), value(parts[1].as_bytes()));
        assert_eq!(field(&message.topic), value(parts[2].as_bytes()));
        assert_eq!(field(&message.event), value(parts[3].as_bytes()));
        assert_eq!(message.payload, RawPayload::Json(parts[4].as_bytes()));
    }

    fn assert_array_as_serde(bytes: &[u8]) {
        let parts = serde_json::from_slice::<Vec<&RawValue>>(bytes).ok().and_then(|parts| {
            let parts: Vec<_> = parts.into_iter().map(held).collect::<Option<_>>()?;
            parts.first_chunk().copied()
        });
        assert_same_parts(decode(Version::V2, false, bytes).ok(), parts);
    }

    /// The members of an object in their order, one of them twice perhaps.
    #[derive(Deserialize)]
    struct InOrder<'a>(#[serde(borrow, deserialize_with = "members")] Vec<(String, &'a RawValue)>);

    fn members<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(String, &'de RawValue)>, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                iter::from_fn(|| map.next_entry().transpose()).collect()
            }
        }
        deserializer.deserialize_map(Pairs)
    }

    fn assert_object_as_serde(bytes: &[u8]) {
        let members = serde_json::from_slice::<InOrder<'_>>(bytes);
        // serde_json must hold all values, also those whose place an earlier one has.
        let members = members.ok().filter(|_| serde_json::from_slice::<Value>(bytes).is_ok());
        let parts = members.and_then(|InOrder(members)| {
            let part = |key| {
                let member = members.iter().find(|(name, _)| name == key);
                member.map(|(_, value)| value.get())
            };
            let join_ref = part("join_ref").unwrap_or("null");
            Some([join_ref, part("ref")?, part("topic")?, part("event")?, part("payload")?])
        });
        assert_same_parts(decode(Version::V1, false, bytes).ok(), parts);
    }

    proptest! {
        #[test]
        fn an_array_has_the_parts_that_serde_json_finds(text in array()) {
            assert_array_as_serde(text.as_bytes());
        }

        #[test]
        fn a_damaged_array_is_refused_just_when_serde_json_refuses_it(bytes in damaged(array())) {
            assert_array_as_serde(&bytes);
        }

        #[test]
        fn an_object_has_the_parts_that_serde_json_finds(text in object()) {
            assert_object_as_serde(text.as_bytes());
        }

        #[test]
        fn a_damaged_object_is_refused_just_when_serde_json_refuses_it(bytes in damaged(object())) {
            assert_object_as_serde(&bytes);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, max_depth in 0..100_usize) {
            for (version, binary) in [Version::V1, Version::V2].into_iter().zip([false, true]) {
                drop(decode_deep(version, binary, &bytes, max_depth));
                drop(decode_deep(version, !binary, &bytes, max_depth));
            }
            let _ = heartbeat_ref(&bytes);
            // Most random bytes are refused as no push at all, so begin one.
            let mut push = vec![0, 2, 2, 2, 2];
            push.extend_from_slice(&bytes);
            drop(binary(&push));
        }
    }
}
