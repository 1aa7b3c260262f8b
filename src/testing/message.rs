use std::{fmt, ops};

use serde_json::value::{Index, RawValue};
use serde_json::{Value, json};

/// A version of Phoenix's wire protocol, as the `vsn` parameter names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// Objects with the keys `topic`, `event`, `payload` and `ref`; text only.
    V1,
    /// Arrays `[join_ref, ref, topic, event, payload]`, and binary frames for binary payloads.
    V2,
}

impl Version {
    /// Both, for a scenario that runs in each.
    pub const ALL: [Self; 2] = [Self::V1, Self::V2];

    /// The value of the `vsn` parameter that asks for this version.
    pub fn as_vsn(self) -> &'static str {
        match self {
            Self::V1 => "1.0.0",
            Self::V2 => "2.0.0",
        }
    }

    /// The text frame a client sends, built from whatever values it is given.
    ///
    /// Nothing is checked, so that a test can send what a proper client would not. In V1 a null
    /// `join_ref` is left out, as clients of that version do.
    ///
    /// # Example
    ///
    /// ```
    /// use serde_json::json;
    /// use simurgh::testing::Version;
    ///
    /// let (topic, event) = (json!("room:1"), json!("hi"));
    /// let text = Version::V2.encode(json!("j1"), json!("1"), topic, event, json!({}));
    /// assert_eq!(text, r#"["j1","1","room:1","hi",{}]"#);
    /// ```
    pub fn encode(
        self,
        join_ref: Value,
        message_ref: Value,
        topic: Value,
        event: Value,
        payload: Value,
    ) -> String {
        match self {
            Self::V1 => {
                let mut message =
                    json!({"topic": topic, "event": event, "payload": payload, "ref": message_ref});
                if !join_ref.is_null() {
                    message["join_ref"] = join_ref;
                }
                message.to_string()
            }
            Self::V2 => json!([join_ref, message_ref, topic, event, payload]).to_string(),
        }
    }

    /// The message in a text frame of the server's.
    ///
    /// # Errors
    ///
    /// Says what is wrong when the frame is not exactly what a server sends: a missing or an
    /// additional field, white space around the fields of an array (clients exist that split it at
    /// its commas), an event that is no string.
    pub fn decode(self, text: &str) -> Result<Message, Malformed> {
        let fields = match self {
            Self::V1 => v1_fields(text),
            Self::V2 => v2_fields(text),
        };
        let [join_ref, message_ref, topic, event, payload] =
            fields.map_err(|reason| Malformed::new(reason, text))?;
        let Value::String(event) = event else {
            return Err(Malformed::new("its event is no string", text));
        };
        // A message to a topic that is no string is answered with that very value as the topic.
        let topic = match topic {
            Value::String(topic) => topic,
            other => other.to_string(),
        };
        let status = match &payload {
            Value::Object(fields) if event == "phx_reply" => {
                fields.get("status").and_then(Value::as_str).map(str::to_owned)
            }
            _ => None,
        };
        Ok(Message { join_ref, message_ref, topic, event, status, payload: Payload::Json(payload) })
    }
}

/// One message from the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The channel it belongs to. Null in broadcasts, in heartbeat replies and in all of V1.
    pub join_ref: Value,
    /// The message it answers; null when it answers none.
    pub message_ref: Value,
    /// Its topic; the JSON text of it in the one case where a server sends a topic that is no
    /// string, the answer to a message whose topic was none.
    pub topic: String,
    /// Its event, `phx_reply` for replies.
    pub event: String,
    /// The status of a reply, whether that came as text or binary; absent in other messages.
    pub status: Option<String>,
    /// What it carries. In a reply that came as text this is the whole of
    /// `{"status": …, "response": …}`, in one that came as binary the bytes of the response.
    pub payload: Payload,
}

impl Message {
    /// This message as a reply, or nothing when it is none or is not shaped like one.
    pub fn reply(&self) -> Option<Reply> {
        if self.event != "phx_reply" {
            return None;
        }
        let response = match &self.payload {
            Payload::Binary(bytes) => Payload::Binary(bytes.clone()),
            Payload::Json(Value::Object(fields)) if fields.len() == 2 => {
                Payload::Json(fields.get("response")?.clone())
            }
            Payload::Json(_) => return None,
        };
        Some(Reply { status: self.status.clone()?, response })
    }

    /// The message in a binary frame of the server's, which only V2 has.
    ///
    /// A push carries no message reference and a broadcast no reference at all; they are null in
    /// the message then. What the frame does carry are strings, empty ones too.
    ///
    /// # Errors
    ///
    /// Says what is wrong when the kind of the frame is none of the three a server sends, when the
    /// frame ends before its fields do, or when one of them is not UTF-8.
    pub fn decode_binary(frame: &[u8]) -> Result<Self, Malformed> {
        Self::binary_fields(frame)
            .map_err(|reason| Malformed::new(reason, &format!("{frame:02x?}")))
    }

    fn binary_fields(frame: &[u8]) -> Result<Self, &'static str> {
        let null = Value::Null;
        let reply_event = || "phx_reply".to_owned();
        let message = match frame.first() {
            Some(0) => {
                let ([join_ref, topic, event], payload) = sized_fields(frame)?;
                (join_ref.into(), null, topic, event, None, payload)
            }
            Some(1) => {
                let ([join_ref, message_ref, topic, status], payload) = sized_fields(frame)?;
                let status = Some(status);
                (join_ref.into(), message_ref.into(), topic, reply_event(), status, payload)
            }
            Some(2) => {
                let ([topic, event], payload) = sized_fields(frame)?;
                (null.clone(), null, topic, event, None, payload)
            }
            Some(_) => return Err("its kind is neither push, reply nor broadcast"),
            None => return Err("it is empty"),
        };
        let (join_ref, message_ref, topic, event, status, payload) = message;
        let payload = Payload::Binary(payload.to_vec());
        Ok(Self { join_ref, message_ref, topic, event, status, payload })
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { join_ref, message_ref, topic, event, .. } = self;
        write!(f, "[{join_ref},{message_ref},{topic:?},{event:?},")?;
        if let (Payload::Binary(_), Some(status)) = (&self.payload, &self.status) {
            write!(f, "{status:?} ")?;
        }
        write!(f, "{}]", self.payload)
    }
}

/// What a message carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// JSON, from a text frame.
    Json(Value),
    /// Bytes, from a binary frame.
    Binary(Vec<u8>),
}

impl Payload {
    /// The JSON, unless this is binary.
    pub fn as_json(&self) -> Option<&Value> {
        match self {
            Self::Json(value) => Some(value),
            Self::Binary(_) => None,
        }
    }

    /// The bytes, unless this is JSON.
    pub fn as_binary(&self) -> Option<&[u8]> {
        match self {
            Self::Json(_) => None,
            Self::Binary(bytes) => Some(bytes),
        }
    }
}

/// `payload["body"]`, as of a [`Value`]: null for what is not there.
///
/// # Panics
///
/// When the payload is binary.
impl<I: Index> ops::Index<I> for Payload {
    type Output = Value;

    fn index(&self, index: I) -> &Value {
        match self {
            Self::Json(value) => &value[index],
            Self::Binary(bytes) => panic!("a binary payload of {} bytes", bytes.len()),
        }
    }
}

/// `payload == json!({…})`, never true of a binary one.
impl PartialEq<Value> for Payload {
    fn eq(&self, other: &Value) -> bool {
        self.as_json() == Some(other)
    }
}

/// `payload == [1, 2, 3][..]`, never true of JSON.
impl PartialEq<[u8]> for Payload {
    fn eq(&self, other: &[u8]) -> bool {
        self.as_binary() == Some(other)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(value) => value.fmt(f),
            Self::Binary(bytes) => write!(f, "binary {bytes:02x?}"),
        }
    }
}

/// The answer to one message.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// `ok` or `error` by convention, anything else the channel chose.
    pub status: String,
    /// What was answered; an empty object where the channel gave nothing.
    pub response: Payload,
}

impl Reply {
    /// Whether the status is `ok`.
    pub fn is_ok(&self) -> bool {
        self.status == "ok"
    }
}

/// A frame that no server of Phoenix's protocol sends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {frame}")]
pub struct Malformed {
    /// What is wrong with it.
    pub reason: &'static str,
    /// The frame: its text, or its bytes in hexadecimal.
    pub frame: String,
}

impl Malformed {
    fn new(reason: &'static str, frame: &str) -> Self {
        Self { reason, frame: frame.to_owned() }
    }
}

/// The binary push a client sends: kind 0, four sizes, four fields, the payload.
///
/// # Panics
///
/// When a field is longer than the 255 bytes that its size can tell.
pub(super) fn encode_binary_push(
    join_ref: &str,
    message_ref: &str,
    topic: &str,
    event: &str,
    payload: &[u8],
) -> Vec<u8> {
    let fields = [join_ref, message_ref, topic, event];
    let mut frame = vec![0];
    for field in fields {
        frame
            .push(field.len().try_into().expect("a field of a binary frame has at most 255 bytes"));
    }
    for field in fields {
        frame.extend_from_slice(field.as_bytes());
    }
    frame.extend_from_slice(payload);
    frame
}

/// The `N` fields whose sizes follow the kind of a binary frame, and the payload after them.
fn sized_fields<const N: usize>(frame: &[u8]) -> Result<([String; N], &[u8]), &'static str> {
    let cut = "it ends before its fields do";
    let (sizes, mut rest) = frame[1..].split_at_checked(N).ok_or(cut)?;
    let mut fields = [const { String::new() }; N];
    for (field, &size) in fields.iter_mut().zip(sizes) {
        let (bytes, after) = rest.split_at_checked(size.into()).ok_or(cut)?;
        *field = str::from_utf8(bytes).map_err(|_| "a field is not UTF-8")?.to_owned();
        rest = after;
    }
    Ok((fields, rest))
}

fn v1_fields(text: &str) -> Result<[Value; 5], &'static str> {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(text) else {
        return Err("it is not a JSON object");
    };
    let mut take = |key| fields.remove(key).ok_or("it lacks topic, event, payload or ref");
    let taken = [Value::Null, take("ref")?, take("topic")?, take("event")?, take("payload")?];
    if fields.is_empty() { Ok(taken) } else { Err("it has more than the four fields of V1") }
}

fn v2_fields(text: &str) -> Result<[Value; 5], &'static str> {
    let fields: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|_| "it is not a JSON array")?;
    let fields: [&RawValue; 5] = fields.try_into().map_err(|_| "it has not five elements")?;
    // Two brackets and four commas are all that may stand around the fields.
    let length: usize = fields.iter().map(|field| field.get().len()).sum();
    if length + 6 != text.len() {
        return Err("it has white space between its elements");
    }
    let mut values = [const { Value::Null }; 5];
    for (value, field) in values.iter_mut().zip(fields) {
        *value = serde_json::from_str(field.get()).map_err(|_| "an element does not decode")?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digits: &str) -> Vec<u8> {
        let digits: Vec<u8> = digits.bytes().filter(|byte| *byte != b' ').collect();
        let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    #[test]
    fn a_binary_push_of_a_client_has_four_sizes() {
        let frame = encode_binary_push("3", "7", "test:js", "bin_len", &[1, 2, 3]);
        assert_eq!(
            frame,
            hex("00 01 01 07 07 33 37 74 65 73 74 3a 6a 73 62 69 6e 5f 6c 65 6e 01 02 03")
        );
    }

    #[test]
    #[should_panic(expected = "at most 255 bytes")]
    fn a_binary_push_refuses_a_field_that_does_not_fit() {
        encode_binary_push("j1", "1", &"t".repeat(256), "e", &[]);
    }

    #[test]
    fn a_binary_push_of_a_server_has_no_message_ref() {
        let message = Message::decode_binary(&hex("00010602 31 746573743a61 7062 010203")).unwrap();
        assert_eq!(
            message,
            Message {
                join_ref: json!("1"),
                message_ref: Value::Null,
                topic: "test:a".into(),
                event: "pb".into(),
                status: None,
                payload: Payload::Binary(vec![1, 2, 3]),
            }
        );
        assert_eq!(message.reply(), None);
    }

    #[test]
    fn a_binary_reply_has_a_status_where_others_have_an_event() {
        let message =
            Message::decode_binary(&hex("0101010602 31 32 746573743a61 6f6b 0405")).unwrap();
        assert_eq!((&message.join_ref, &message.message_ref), (&json!("1"), &json!("2")));
        assert_eq!((&*message.topic, &*message.event), ("test:a", "phx_reply"));
        let reply = message.reply().unwrap();
        assert!(reply.is_ok());
        assert_eq!(reply.response, [4, 5][..]);
    }

    #[test]
    fn a_binary_broadcast_has_no_refs() {
        let message = Message::decode_binary(&hex("020602 746573743a61 6262 010203")).unwrap();
        assert_eq!((&message.join_ref, &message.message_ref), (&Value::Null, &Value::Null));
        assert_eq!((&*message.topic, &*message.event), ("test:a", "bb"));
        assert_eq!(message.payload, [1, 2, 3][..]);
    }

    #[test]
    fn a_binary_frame_cut_anywhere_before_its_payload_is_malformed() {
        let frame = hex("0101010602 31 32 746573743a61 6f6b");
        for end in 0..frame.len() {
            Message::decode_binary(&frame[..end]).unwrap_err();
        }
        Message::decode_binary(&frame).unwrap();
    }

    #[test]
    fn a_binary_frame_of_a_kind_servers_do_not_send_is_malformed() {
        let malformed = Message::decode_binary(&hex("03 00 00")).unwrap_err();
        assert_eq!(malformed.reason, "its kind is neither push, reply nor broadcast");
        Message::decode_binary(&hex("02 01 00 ff")).unwrap_err();
    }

    #[test]
    fn a_v2_message_is_an_array_of_five() {
        let message = Version::V2.decode(r#"["j1","1","t:a","hi",{"a": 1}]"#).unwrap();
        assert_eq!((&message.join_ref, &message.message_ref), (&json!("j1"), &json!("1")));
        assert_eq!((&*message.topic, &*message.event), ("t:a", "hi"));
        assert_eq!(message.payload, json!({"a": 1}));

        for text in ["", "{}", "[]", r#"[null,null,"t","e"]"#, r#"[null,null,"t","e",{},1]"#] {
            Version::V2.decode(text).unwrap_err();
        }
    }

    #[test]
    fn a_v2_message_with_space_between_its_elements_is_malformed() {
        for text in [r#"[null, null,"t","e",{}]"#, r#"[null,null,"t","e",{} ]"#, "[1,2,3,4,5]\n"] {
            Version::V2.decode(text).unwrap_err();
        }
    }

    #[test]
    fn a_v1_message_is_an_object_of_four() {
        let text = r#"{"topic":"t:a","event":"hi","payload":[1],"ref":null}"#;
        let message = Version::V1.decode(text).unwrap();
        assert_eq!((&*message.topic, &*message.event), ("t:a", "hi"));
        assert_eq!(message.payload, json!([1]));

        for text in [
            "[]",
            r#"{"topic":"t","event":"e","payload":{}}"#,
            r#"{"topic":"t","event":"e","payload":{},"ref":null,"join_ref":null}"#,
        ] {
            Version::V1.decode(text).unwrap_err();
        }
    }

    #[test]
    fn a_reply_has_a_status_and_a_response_and_nothing_else() {
        let reply = |payload: &str| {
            let text = format!(r#"["j1","1","t","phx_reply",{payload}]"#);
            Version::V2.decode(&text).unwrap().reply()
        };
        let refused = reply(r#"{"status":"error","response":{"reason":"full"}}"#).unwrap();
        assert!(!refused.is_ok());
        assert_eq!(refused.response, json!({"reason": "full"}));
        assert_eq!(reply(r#"{"status":"ok"}"#), None);
        assert_eq!(reply(r#"{"status":"ok","response":{},"more":1}"#), None);
        assert_eq!(reply(r#"{"status":7,"response":{}}"#), None);
    }

    #[test]
    fn a_topic_that_is_no_string_is_given_as_its_text() {
        let message = Version::V2.decode(r#"[null,"1",[7],"e",{}]"#).unwrap();
        assert_eq!(message.topic, "[7]");
        Version::V2.decode(r#"[null,"1","t",7,{}]"#).unwrap_err();
    }

    #[test]
    fn v1_names_a_join_ref_only_where_there_is_one() {
        let encode = |join_ref| {
            let text =
                Version::V1.encode(join_ref, json!("1"), json!("t"), json!("e"), json!({"a": 1}));
            serde_json::from_str::<Value>(&text).unwrap()
        };
        let plain = json!({"topic": "t", "event": "e", "payload": {"a": 1}, "ref": "1"});
        assert_eq!(encode(Value::Null), plain);
        assert_eq!(encode(json!("j1"))["join_ref"], "j1");
    }
}
