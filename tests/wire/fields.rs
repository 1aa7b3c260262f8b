//! What stands in a message besides its payload: refs, topics and events, of any type and length.

use serde_json::{Value, json};
use simurgh::testing::{Client, Version};

use crate::app::{self, App, connect, joined};
use crate::support::next_text;

#[test]
// shows: text.refs-of-any-type
fn refs_come_back_as_the_values_they_were() {
    let server = app::start(&App::default());
    for value in ["1", "1.5", "-1", r#""a\"é""#, "true", r#"{"a":[1]}"#, "[]", r#""""#] {
        let mut client = connect(&server, 0, Version::V2);
        client.send_text(format!(r#"[{value},{value},"room:a","phx_join",{{}}]"#));
        let ok = r#"{"status":"ok","response":{}}"#;
        let reply = format!(r#"[{value},{value},"room:a","phx_reply",{ok}]"#);
        assert_eq!(next_text(&mut client), reply);
        client.send_text(format!(r#"[{value},{value},"room:a","push",{{}}]"#));
        assert_eq!(next_text(&mut client), format!(r#"[{value},null,"room:a","pushed",{{}}]"#));
    }
    server.await_rest();
}

#[test]
// shows: text.refs-compared-strictly
fn refs_of_different_types_are_different() {
    for version in Version::ALL {
        let server = app::start(&App::default());
        let mut client = connect(&server, 0, version);
        let join = |client: &mut Client, join_ref: Value| {
            client.send(join_ref, "m".into(), "room:a".into(), "phx_join".into(), json!({}));
            assert!(client.reply("m").unwrap().is_ok());
        };
        join(&mut client, json!(1));
        for stale in [json!("1"), json!(1.0), json!([1])] {
            client.send(stale, "2".into(), "room:a".into(), "echo".into(), json!({}));
        }
        client.send(json!(1), "3".into(), "room:a".into(), "echo".into(), json!({}));
        assert!(client.reply("3").unwrap().is_ok());
        client.silence_everywhere().unwrap();
        drop(client);
        server.await_rest();
    }
}

#[test]
// shows: text.topic-not-a-string
fn a_topic_that_is_no_string_matches_nothing() {
    let server = app::start(&App::default());
    for version in Version::ALL {
        let mut client = connect(&server, 0, version);
        for topic in [json!(1), json!(null), json!(["room:a"]), json!({"a": 1})] {
            for event in ["phx_join", "echo", "heartbeat"] {
                client.send(json!("j"), "1".into(), topic.clone(), event.into(), json!({}));
                let reply = client.next().unwrap();
                assert_eq!(reply.topic, topic.to_string());
                let unmatched =
                    json!({"status": "error", "response": {"reason": "unmatched topic"}});
                assert_eq!(reply.event, "phx_reply");
                assert_eq!(reply.payload, unmatched);
            }
        }
    }
    server.await_rest();
}

#[test]
// shows: text.event-not-a-string
fn an_event_that_is_no_string_crashes_its_channel() {
    for version in Version::ALL {
        let server = app::start(&App::default());
        for event in [json!(1), json!(null), json!(["echo"])] {
            let mut client = joined(&server, 0, version);
            client.send(client.join_ref("room:a"), "9".into(), "room:a".into(), event, json!({}));
            client.expect("room:a", "phx_error").unwrap();
            client.heartbeat().unwrap();
        }
        server.await_rest();
    }
}

#[test]
// shows: text.mandatory-escapes-only
fn only_what_must_be_escaped_is() {
    let server = app::start(&App::default());
    let mut client = connect(&server, 0, Version::V2);
    // All of it in a topic, which the server writes anew rather than passing it on.
    let name = r#"room:\"\\\/\u00e9é🦀\u0001\n<&>"#;
    client.send_text(format!(r#"["\u006a","1","{name}","phx_join",{{}}]"#));
    assert!(next_text(&mut client).contains("phx_reply"));
    client.send_text(format!(r#"["j","2","{name}","push",{{"a":"b"}}]"#));
    let text = next_text(&mut client);
    let message: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(message[2], "room:\"\\/éé🦀\u{1}\n<&>");
    assert!(text.contains(r#""room:\"\\/éé🦀\u0001\n<&>""#), "{text}");
    drop(client);
    server.await_rest();
}

#[test]
// shows: diff.too-long-1011
fn names_of_more_than_four_kibibytes_close_with_1011() {
    let server = app::start(&App::default());
    for version in Version::ALL {
        for long in 0..4 {
            let mut client = connect(&server, 0, version);
            let send = |client: &mut Client, size: usize| {
                // With its quotes it is as long as it may be.
                let mut fields = ["1", "2", "phoenix", "heartbeat"].map(|field| json!(field));
                fields[long] = json!("x".repeat(size - 2));
                let [join_ref, message_ref, topic, event] = fields;
                client.send(join_ref, message_ref, topic, event, json!({}));
            };
            send(&mut client, 4_096);
            assert_eq!(client.next().unwrap().event, "phx_reply");
            send(&mut client, 4_097);
            assert_eq!(client.closed().unwrap(), Some(1011));
        }
    }
    server.await_counts(|counts| counts[0].malformed == 8);
    server.await_rest();
}

#[test]
// shows: text.long-names
fn names_may_be_thousands_of_bytes_long() {
    let server = app::start(&App::default());
    for version in Version::ALL {
        let mut client = connect(&server, 0, version);
        let long = "é".repeat(2_000);
        let topic = format!("room:{long}");
        let send = |client: &mut Client, event: &str| {
            let join_ref = format!("j{long}").into();
            client.send(
                join_ref,
                long.clone().into(),
                topic.clone().into(),
                event.into(),
                json!({}),
            );
        };
        send(&mut client, "phx_join");
        assert!(client.reply(&long).unwrap().is_ok());
        send(&mut client, "echo");
        assert!(client.reply(&long).unwrap().is_ok());
        send(&mut client, &long);
        client.expect(&topic, "phx_error").unwrap();
    }
    server.await_rest();
}
