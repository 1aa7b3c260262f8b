use std::collections::HashMap;

use serde_json::{Value, json};

use super::message::{Message, Reply, Version};

/// The references of a client's messages, and what their replies are checked against.
#[derive(Debug, Default)]
pub(super) struct Refs {
    joins: u64,
    messages: u64,
    /// The join_ref of the latest join of each topic, null when that was sent without.
    join_refs: HashMap<String, Value>,
    unanswered: HashMap<String, Sent>,
}

/// The channel that a message was sent to.
#[derive(Debug)]
pub(super) struct Sent {
    topic: String,
    join_ref: Value,
}

impl Refs {
    /// What is sent to the topic from here on belongs to a join of its own.
    pub(super) fn join(&mut self, topic: &str, version: Version) {
        self.joins += 1;
        let join_ref = match version {
            Version::V1 => Value::Null,
            Version::V2 => format!("j{}", self.joins).into(),
        };
        self.join_refs.insert(topic.to_owned(), join_ref);
    }

    /// The join_ref of the latest join of a topic, null when there was none.
    pub(super) fn join_ref(&self, topic: &str) -> Value {
        self.join_refs.get(topic).cloned().unwrap_or_default()
    }

    /// The references of the next message to a topic, noted for its reply.
    pub(super) fn number(&mut self, topic: &str) -> (Value, String) {
        let message_ref = self.message_ref();
        let join_ref = self.join_ref(topic);
        let sent = Sent { topic: topic.to_owned(), join_ref: join_ref.clone() };
        self.unanswered.insert(message_ref.clone(), sent);
        (join_ref, message_ref)
    }

    /// The reference of the next message, which is of no channel.
    pub(super) fn message_ref(&mut self) -> String {
        self.messages += 1;
        self.messages.to_string()
    }

    /// Where the message went that is answered now, unless it was answered before.
    pub(super) fn answered(&mut self, message_ref: &str) -> Option<Sent> {
        self.unanswered.remove(message_ref)
    }
}

impl Sent {
    /// Whether a reply is of the channel its message was sent to.
    ///
    /// The socket itself answers for a topic that isn't joined, and names no channel then. V1 names
    /// none ever.
    pub(super) fn fits(&self, message: &Message, reply: &Reply, version: Version) -> bool {
        let unmatched = reply.response == json!({"reason": "unmatched topic"});
        let join_ref_fits = match version {
            Version::V1 => message.join_ref.is_null(),
            Version::V2 if unmatched => message.join_ref.is_null(),
            Version::V2 => message.join_ref == self.join_ref,
        };
        message.topic == self.topic && join_ref_fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a reply with these fields is taken for an answer to a message to `t`, which was
    /// joined.
    fn fits(version: Version, join_ref: Value, topic: &str, response: Value) -> bool {
        let mut refs = Refs::default();
        refs.join("t", version);
        let (_, message_ref) = refs.number("t");
        let sent = refs.answered(&message_ref).unwrap();
        let payload = json!({"status": "ok", "response": response});
        let (topic, event) = (json!(topic), json!("phx_reply"));
        let text = Version::V2.encode(join_ref, message_ref.into(), topic, event, payload);
        let message = Version::V2.decode(&text).unwrap();
        sent.fits(&message, &message.reply().unwrap(), version)
    }

    #[test]
    fn messages_are_numbered_in_one_row_and_joins_in_another() {
        let mut refs = Refs::default();
        assert_eq!(refs.number("a"), (json!(null), "1".into()));
        refs.join("a", Version::V2);
        assert_eq!(refs.number("a"), (json!("j1"), "2".into()));
        assert_eq!(refs.message_ref(), "3");
        refs.join("b", Version::V2);
        refs.join("a", Version::V2);
        assert_eq!(refs.number("b"), (json!("j2"), "4".into()));
        assert_eq!(refs.number("a"), (json!("j3"), "5".into()));
    }

    #[test]
    fn a_join_of_v1_has_no_ref() {
        let mut refs = Refs::default();
        refs.join("a", Version::V1);
        assert_eq!(refs.join_ref("a"), json!(null));
    }

    #[test]
    fn a_message_is_answered_once() {
        let mut refs = Refs::default();
        let (_, message_ref) = refs.number("a");
        assert!(refs.answered(&message_ref).is_some());
        assert!(refs.answered(&message_ref).is_none());
        let heartbeat = refs.message_ref();
        assert!(refs.answered(&heartbeat).is_none());
    }

    #[test]
    fn a_reply_is_of_the_join_and_the_topic_of_its_message() {
        assert!(fits(Version::V2, json!("j1"), "t", json!({})));
        assert!(!fits(Version::V2, json!("j1"), "u", json!({})));
        for another in [json!("j2"), json!("1"), json!(""), json!(null)] {
            assert!(!fits(Version::V2, another, "t", json!({})));
        }
        assert!(fits(Version::V1, json!(null), "t", json!({})));
        assert!(!fits(Version::V1, json!("j1"), "t", json!({})));
    }

    #[test]
    fn a_reply_for_a_topic_that_is_not_joined_is_of_no_join() {
        let unmatched = || json!({"reason": "unmatched topic"});
        for version in Version::ALL {
            assert!(fits(version, json!(null), "t", unmatched()));
            assert!(!fits(version, json!("j1"), "t", unmatched()));
        }
    }
}
