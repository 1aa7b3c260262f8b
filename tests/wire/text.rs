//! Messages in text frames: what is taken, what is refused, and what the server writes.

use serde_json::{Value, json};
use simurgh::Stop;
use simurgh::testing::{Client, Server, Version};

use crate::app::{self, App, connect, joined};
use crate::support::next_text;

#[test]
// shows: v2.array-of-five, v1.object-of-four, text.compact, text.reply-has-status-and-response
fn the_server_writes_compact_messages_of_exactly_these_fields() {
    let server = app::start(&App::default());
    let ok = r#"{"status":"ok","response":{}}"#;
    let mut v2 = connect(&server, 0, Version::V2);
    v2.send_text(r#"["j","1","room:a","phx_join",{}]"#);
    assert_eq!(next_text(&mut v2), format!(r#"["j","1","room:a","phx_reply",{ok}]"#));
    v2.send_text(r#"["j","2","room:a","push",{"a":1}]"#);
    assert_eq!(next_text(&mut v2), r#"["j",null,"room:a","pushed",{"a":1}]"#);
    v2.send_text(r#"["j",null,"room:a","broadcast",{"b":2}]"#);
    assert_eq!(next_text(&mut v2), r#"[null,null,"room:a","said",{"b":2}]"#);
    assert_eq!(next_text(&mut v2), format!(r#"["j",null,"room:a","phx_reply",{ok}]"#));
    v2.send_text(r#"["j","3","room:a","phx_leave",{}]"#);
    assert_eq!(next_text(&mut v2), format!(r#"["j","3","room:a","phx_reply",{ok}]"#));
    assert_eq!(next_text(&mut v2), r#"["j","j","room:a","phx_close",{}]"#);

    let mut v1 = connect(&server, 0, Version::V1);
    v1.send_text(r#"{"topic":"room:a","event":"phx_join","payload":{},"ref":"1"}"#);
    v1.send_text(r#"{"topic":"room:a","event":"push","payload":{"a":1},"ref":"2"}"#);
    for expected in [
        json!({"topic": "room:a", "event": "phx_reply", "ref": "1",
            "payload": {"status": "ok", "response": {}}}),
        json!({"topic": "room:a", "event": "pushed", "ref": null, "payload": {"a": 1}}),
    ] {
        let text = next_text(&mut v1);
        assert!(!text.contains([' ', '\n']) && text.ends_with('}'), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    }
    drop((v1, v2));
    server.await_rest();
}

#[test]
// shows: v1.client-keys, v1.join-ref-honoured
fn a_v1_message_has_its_keys_in_any_order() {
    let server = app::start(&App::default());
    let mut client = connect(&server, 0, Version::V1);
    client.send_text(
        r#"{"ref":"1","x":[{"topic":1}],"payload":{},"event":"phx_join","join_ref":"j","topic":"room:a"}"#,
    );
    assert!(client.reply("1").unwrap().is_ok());
    // Of another join, so it is dropped; then of this one, and of none.
    for (join_ref, message_ref) in [(json!("i"), "2"), (json!("j"), "3"), (Value::Null, "4")] {
        client.send(join_ref, message_ref.into(), "room:a".into(), "echo".into(), json!({}));
    }
    client.reply("3").unwrap();
    client.reply("4").unwrap();
    client.silence_everywhere().unwrap();
    drop(client);
    server.await_rest();
}

#[test]
// shows: v2.extra-elements-ignored, text.outer-white-space
fn more_than_a_message_needs_is_ignored() {
    let server = app::start(&App::default());
    let mut client = connect(&server, 0, Version::V2);
    for text in [
        r#"[null,"1","phoenix","heartbeat",{},6]"#,
        r#"[null,"1","phoenix","heartbeat",{},"six",{"seven":[8]}]"#,
        " \t\r\n[null,\"1\",\"phoenix\",\"heartbeat\",{}]\n",
        r#"[ null , "1" , "phoenix" , "heartbeat" , { } ]"#,
    ] {
        client.send_text(text);
        assert!(client.reply("1").unwrap().is_ok());
    }
    drop(client);
    let mut client = connect(&server, 0, Version::V1);
    client.send_text(
        " {\"topic\" : \"phoenix\" , \"event\":\"heartbeat\",\n\"payload\":{},\"ref\":\"1\"}\t",
    );
    assert!(client.reply("1").unwrap().is_ok());
    drop(client);
    server.await_rest();
}

#[test]
// shows: v2.too-few-elements-1011, v2.not-an-array-1011, v2.not-json-1011, v2.empty-text-1011,
//   v1.not-an-object-1011, v1.missing-key-1011, close.no-reason-text, own.no-error-frame
fn what_is_no_message_closes_with_1011() {
    let server = app::start(&App::default());
    let v2 = [
        "[]",
        r#"[null,"1","phoenix","heartbeat"]"#,
        r#"{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}"#,
        r#""text""#,
        "null",
        "1",
        "",
        " ",
        "hello",
        r#"[null,"1","phoenix","heartbeat",{}"#,
        r#"[null,"1","phoenix","heartbeat",{}]]"#,
        r#"[null,"1","phoenix","heartbeat",{},]"#,
        r#"[null,"1","phoenix","heartbeat",{"a":01}]"#,
        r#"[null,'1',"phoenix","heartbeat",{}]"#,
        r#"[null,"1","phoenix","heartbeat",{a:1}]"#,
        "[null,\"1\",\"pho\nenix\",\"heartbeat\",{}]",
        r#"[null,"1","phoenix","heartbeat",NaN]"#,
        "\u{feff}[null,\"1\",\"phoenix\",\"heartbeat\",{}]",
    ];
    let v1 = [
        r#"[null,"1","phoenix","heartbeat",{}]"#,
        r#"{"event":"heartbeat","payload":{},"ref":"1"}"#,
        r#"{"topic":"phoenix","payload":{},"ref":"1"}"#,
        r#"{"topic":"phoenix","event":"heartbeat","ref":"1"}"#,
        r#"{"topic":"phoenix","event":"heartbeat","payload":{}}"#,
        "{}",
        "",
        "hello",
    ];
    for (version, texts) in [(Version::V2, &v2[..]), (Version::V1, &v1)] {
        for text in texts {
            let mut client = connect(&server, 0, version);
            client.send_text(*text);
            assert_eq!(client.closed().unwrap(), Some(1011), "{text:?}");
            client.next().unwrap_err();
        }
    }
    server.await_rest();
}

#[test]
// shows: text.malformed-ends-every-channel
fn a_malformed_message_ends_the_channels_of_its_socket_alone() {
    for version in Version::ALL {
        let app = App::default();
        let server = app::start(&app);
        let mut bad = joined(&server, 0, version);
        assert!(bad.join("room:b", json!({})).unwrap().is_ok());
        let mut good = joined(&server, 0, version);
        bad.send_text("no message");
        assert_eq!(bad.closed().unwrap(), Some(1011));
        bad.next().unwrap_err();
        let ends = app.await_ends(2);
        assert_eq!(ends, [("room:a".into(), Stop::Closed), ("room:b".into(), Stop::Closed)]);
        let asked = good.push("room:a", "echo", json!({}));
        assert!(good.reply(asked).unwrap().is_ok());
        good.silence_everywhere().unwrap();
        drop((bad, good));
        server.await_rest();
    }
}

#[test]
// shows: text.payload-of-any-type, v2.reply-of-any-type
fn payloads_from_a_client_may_be_any_value() {
    let server = app::start(&App::default());
    for version in Version::ALL {
        for payload in [
            json!(null),
            json!("text"),
            json!([1, [2]]),
            json!(1.5),
            json!(true),
            json!({"a": null}),
        ] {
            let mut client = connect(&server, 0, version);
            let reply = client.join("room:a", payload.clone()).unwrap();
            assert_eq!(reply.response, payload);
            let asked = client.push("room:a", "echo", payload.clone());
            assert_eq!(client.reply(asked).unwrap().response, payload);
        }
    }
    server.await_rest();
}

#[test]
// shows: text.duplicate-key-in-a-payload, v1.first-duplicate-key-counts
fn of_a_key_that_comes_twice_a_payload_keeps_both_and_v1_reads_its_own_first() {
    let server = app::start(&App::default());
    let mut client = joined(&server, 0, Version::V2);
    client.send_text(r#"[null,"9","room:a","decode",{"a":1,"b":0,"a":2}]"#);
    assert_eq!(client.reply("9").unwrap().response, json!({"a": 2, "b": 0}));
    drop(client);
    let mut client = joined(&server, 0, Version::V1);
    client.send_text(
        r#"{"ref":"9","topic":"room:a","event":"decode","payload":{"a":1,"a":2},"ref":"0"}"#,
    );
    assert_eq!(client.reply("9").unwrap().response, json!({"a": 2}));
    drop(client);
    server.await_rest();
}

#[test]
// shows: v2.push-needs-an-object, v1.payload-not-checked
fn what_is_pushed_in_v2_is_an_object() {
    let server = app::start(&App::default());
    for payload in [json!(null), json!("text"), json!([1]), json!(1)] {
        let mut client = joined(&server, 0, Version::V2);
        client.push("room:a", "push", payload.clone());
        client.expect("room:a", "phx_error").unwrap();

        let mut client = joined(&server, 0, Version::V1);
        client.push("room:a", "push", payload.clone());
        assert_eq!(client.expect("room:a", "pushed").unwrap().payload, payload);
    }
    server.await_rest();
}

#[test]
// shows: v2.broadcast-needs-an-object
fn what_is_broadcast_is_an_object() {
    for shards in [1, 4] {
        let server = Server::start(app::endpoint(&App::default()), shards);
        let mut sender = joined(&server, 0, Version::V2);
        let addr = server.addr(shards - 1);
        let mut other = Client::connect(addr, "/socket").unwrap();
        other.join("room:a", json!({})).unwrap();
        for payload in [json!(null), json!("text"), json!([1]), json!(1)] {
            let asked = sender.push("room:a", "broadcast", payload.clone());
            assert_eq!(sender.reply(asked).unwrap().status, "error", "{payload}");
            server.handle().broadcast("room:a", "said", payload).unwrap_err();
        }
        // Nothing of those overtakes this.
        let asked = sender.push("room:a", "broadcast", json!({"a": 1}));
        assert!(sender.reply(asked).unwrap().is_ok());
        for client in [&mut sender, &mut other] {
            assert_eq!(client.expect("room:a", "said").unwrap().payload, json!({"a": 1}));
            client.silence_everywhere().unwrap();
        }
        drop((sender, other));
        server.await_rest();
    }
}
