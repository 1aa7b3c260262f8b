//! Payloads that are passed on unread, and what is refused so that they can be.

use serde_json::Value;
use simurgh::Limits;
use simurgh::testing::{Server, Version};

use crate::app::{self, App, joined};
use crate::support::next_text;

/// A message for `room:a` with this text for its payload.
fn message(version: Version, event: &str, payload: &str) -> String {
    match version {
        Version::V1 => {
            format!(r#"{{"topic":"room:a","event":"{event}","payload":{payload},"ref":"9"}}"#)
        }
        Version::V2 => format!(r#"[null,"9","room:a","{event}",{payload}]"#),
    }
}

#[test]
// shows: diff.relayed-payload-keeps-its-bytes
fn a_payload_that_is_passed_on_keeps_its_bytes() {
    let payload = r#"{ "b" : 1.50, "a":[ ], "b":1e2 ,"\u0041\/":"\u00e9\ud83e\udd80" }"#;
    for shards in [1, 4] {
        let server = Server::start(app::endpoint(&App::default()), shards);
        for version in Version::ALL {
            let mut sender = joined(&server, 0, version);
            let mut readers = Version::ALL.map(|version| joined(&server, shards - 1, version));
            for event in ["push", "echo", "broadcast"] {
                sender.send_text(message(version, event, payload));
                let frame = next_text(&mut sender);
                assert!(frame.contains(payload), "{event}: {frame}");
            }
            for reader in &mut readers {
                let frame = next_text(reader);
                assert!(frame.contains(payload), "{frame}");
            }
        }
        server.await_rest();
    }
}

/// It was 128, which the server could pass on and `serde_json` could not decode: one client could
/// send what ended the channels of all others that decode what they intercept.
#[test]
fn what_is_as_deep_as_may_be_can_be_decoded_by_a_channel_and_by_clients() {
    let server = app::start(&App::default());
    let deep = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let max = Limits::default().max_json_depth;
    for version in Version::ALL {
        let mut readers = Version::ALL.map(|version| joined(&server, 0, version));
        let mut client = joined(&server, 0, version);
        for event in ["decode", "echo", "broadcast"] {
            client.send_text(message(version, event, &deep(max)));
        }
        let frames: Vec<_> = (0..4).map(|_| next_text(&mut client)).collect();
        let others = readers.iter_mut().map(next_text);
        for frame in frames.into_iter().chain(others) {
            let whole: Value = serde_json::from_str(&frame).expect("it can be decoded");
            assert!(!frame.contains("error") && !whole.is_null(), "{frame}");
        }
        client.send_text(message(version, "echo", &deep(max + 1)));
        assert_eq!(client.closed().unwrap(), Some(1011));
    }
    server.await_rest();
}

#[test]
// shows: diff.lone-surrogate-1011, diff.number-beyond-double-1011, diff.too-deep-1011
fn what_others_could_not_read_closes_with_1011() {
    let server = app::start_with(&App::default(), |limits| limits.max_json_depth = 10);
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let bad = [
        r#"{"a":"\ud83e"}"#,
        r#"{"a":"\udd80\ud83e"}"#,
        r#"{"\udd80":1}"#,
        r#"{"a":1e309}"#,
        r#"{"a":-1e999999999999}"#,
        &format!("1{}", "0".repeat(400)),
        &deep(11),
        &deep(100_000),
        &"[".repeat(100_000),
        &r#"{"a":"#.repeat(100_000),
    ];
    let good = [r#"{"a":"\ud83e\udd80"}"#, r#"{"a":1e308,"b":1e-999}"#, &deep(10)];
    for version in Version::ALL {
        for payload in bad {
            let mut client = joined(&server, 0, version);
            client.send_text(message(version, "echo", payload));
            let shown = &payload[..payload.len().min(50)];
            assert_eq!(client.closed().unwrap(), Some(1011), "{shown}");
            client.next().unwrap_err();
        }
        let mut client = joined(&server, 0, version);
        for payload in good {
            client.send_text(message(version, "echo", payload));
            let frame = next_text(&mut client);
            assert!(frame.contains(payload), "{frame}");
        }
    }
    server.await_rest();
}
