//! Phoenix messages of serializer V2, as text.
//!
//! As phoenix.js has them: a join's ref is its channel's `join_ref` too. A push has another, so that a
//! server that mixes them up is found out.

use serde_json::Value;

/// What a client says in its topic.
#[derive(Debug, Clone, Copy)]
pub struct Push<'a> {
    /// The event's name.
    pub event: &'a str,
    /// JSON.
    pub payload: &'a str,
}

/// What a client says to join `topic`. `params` is JSON.
pub fn join(topic: &str, params: &str) -> String {
    format!(r#"["{JOIN_REF}","{JOIN_REF}",{},"phx_join",{params}]"#, quoted(topic))
}

/// The server's answer to [`join`], when it lets the client in. `response` is JSON.
pub fn joined(topic: &str, response: &str) -> String {
    ok(JOIN_REF, topic, response)
}

/// What a client says in `topic`. `payload` is JSON.
pub fn push(topic: &str, event: &str, payload: &str) -> String {
    let (topic, event) = (quoted(topic), quoted(event));
    format!(r#"["{JOIN_REF}","{PUSH_REF}",{topic},{event},{payload}]"#)
}

/// The server's answer to [`push`]. `response` is JSON.
pub fn reply(topic: &str, response: &str) -> String {
    ok(PUSH_REF, topic, response)
}

/// What everyone in `topic` hears when it is broadcast. `payload` is JSON.
pub fn broadcast(topic: &str, event: &str, payload: &str) -> String {
    format!(r#"[null,null,{},{},{payload}]"#, quoted(topic), quoted(event))
}

fn ok(message_ref: &str, topic: &str, response: &str) -> String {
    let payload = format!(r#"{{"status":"ok","response":{response}}}"#);
    format!(r#"["{JOIN_REF}","{message_ref}",{},"phx_reply",{payload}]"#, quoted(topic))
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

const JOIN_REF: &str = "1";
const PUSH_REF: &str = "2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_what_phoenix_says() {
        assert_eq!(join("room:1", "{}"), r#"["1","1","room:1","phx_join",{}]"#);
        assert_eq!(
            joined("room:1", "{}"),
            r#"["1","1","room:1","phx_reply",{"status":"ok","response":{}}]"#
        );
        assert_eq!(push("room:1", "ping", r#"{"a":1}"#), r#"["1","2","room:1","ping",{"a":1}]"#);
        assert_eq!(
            reply("room:1", r#"{"a":1}"#),
            r#"["1","2","room:1","phx_reply",{"status":"ok","response":{"a":1}}]"#
        );
        assert_eq!(broadcast("room:1", "new", "{}"), r#"[null,null,"room:1","new",{}]"#);
    }

    #[test]
    fn topics_are_escaped() {
        assert_eq!(push("a\"b", "e", "{}"), r#"["1","2","a\"b","e",{}]"#);
    }
}
