//! What is looked at before a connection becomes a WebSocket, in its order.

use simurgh::Endpoint;
use simurgh::prelude::*;
use simurgh::testing::{Client, ConnectError, Server};

use crate::app::{self, App};
use crate::support::{Answer, Raw, UPGRADE, get, upgrade};

const PATH: &str = "/socket/websocket?vsn=2.0.0";
const NOT_CACHED: &str = "max-age=0, private, must-revalidate";

fn ask(server: &Server, request: impl AsRef<[u8]>) -> Answer {
    let mut raw = Raw::connect(server.addr(0));
    raw.send(request);
    raw.answer()
}

#[test]
// shows: check.method-not-get, check.refusals-have-a-length, check.refusals-are-not-cached
fn any_method_but_get_is_refused_at_a_transport() {
    let app = App::default();
    let server = app::start(&app);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get"] {
        let request = upgrade(PATH).replacen("GET", method, 1);
        let answer = ask(&server, request);
        assert_eq!((answer.status, answer.body.as_str()), (400, ""), "{method}");
        assert_eq!(answer.header("content-length"), Some("0"));
        assert_eq!(answer.header("cache-control"), Some(NOT_CACHED));
    }
    assert_eq!(app.connects(), 0);
    server.await_rest();
}

#[test]
// shows: check.query-before-version
fn the_query_is_looked_at_before_the_version() {
    let server = app::start(&App::default());
    assert_eq!(ask(&server, upgrade("/socket/websocket?vsn=9.0.0&a=%ff")).status, 400);
    assert_eq!(ask(&server, upgrade("/socket/websocket?vsn=9.0.0&a=b")).status, 403);
}

#[test]
// shows: check.connect-refuses, check.connect-refuses-its-own-way, check.connect-fails-500,
//   check.refusals-have-a-length, check.refusals-are-not-cached
fn connect_decides_how_it_refuses() {
    let server = app::start(&App::default());
    for (connect, status, body) in [
        ("refuse", 403, ""),
        ("refuse_429", 429, "slow down"),
        ("tell_params", 410, ""),
        ("fail", 500, ""),
        ("panic", 500, ""),
    ] {
        let answer = ask(&server, upgrade(&format!("{PATH}&connect={connect}")));
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{connect}");
        let length = body.len().to_string();
        assert_eq!(answer.header("content-length"), Some(length.as_str()));
        assert_eq!(answer.header("cache-control"), Some(NOT_CACHED));
        assert_ne!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("retry-after"), (status == 429).then_some("10"));
    }
    assert_eq!(server.await_counts(|counts| counts[0].crashes == 2)[0].connected, 0);
    server.await_rest();
}

/// Takes nothing but a number.
struct Numbered;

#[derive(serde::Deserialize)]
struct Number {
    #[serde(rename = "n")]
    _n: u8,
}

impl SocketHandler for Numbered {
    type App = ();
    type Params = Number;

    async fn connect(_: Number, _: &ConnectInfo<()>) -> Result<Self, Rejection> {
        Ok(Self)
    }
}

#[test]
// shows: check.connect-params-undecodable
fn params_that_connect_does_not_take_are_refused() {
    let endpoint = Endpoint::builder(()).socket("/socket", |mount| mount.handler::<Numbered>());
    let server = Server::start(endpoint, 1);
    for query in ["n=256", "n=one", "n[]=1", "", "n=1&n="] {
        let builder = Client::builder(server.addr(0), "/socket").query(query);
        let refused = builder.connect();
        assert!(
            matches!(refused, Err(ConnectError::Refused { status: 403, .. })),
            "{query}: {refused:?}"
        );
    }
    Client::builder(server.addr(0), "/socket").param("n", "255").connect().unwrap();
    server.await_rest();
}

#[test]
// shows: check.connect-before-upgrade-headers, check.upgrade-headers-400
fn connect_runs_before_the_upgrade_headers_are_looked_at() {
    let app = App::default();
    let server = app::start(&app);
    assert_eq!(ask(&server, get(&format!("{PATH}&connect=refuse"), &[])).status, 403);
    let answer = ask(&server, get(PATH, &[]));
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("'connection' header must contain 'upgrade'"), "{answer:?}");
    assert_eq!(app.connects(), 2);
    assert_eq!(server.await_counts(|counts| counts[0].accepted == 2)[0].connected, 0);
    server.await_rest();
}

#[test]
// shows: check.upgrade-accepted-101
fn an_upgrade_is_answered_with_the_key_that_belongs_to_its_own() {
    let server = app::start(&App::default());
    let answer = ask(&server, upgrade(PATH));
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("connection"), Some("Upgrade"));
    assert_eq!(answer.header("content-length"), None);
}

#[test]
fn no_subprotocol_and_no_extension_is_agreed_to() {
    let server = app::start(&App::default());
    let offers = [
        "sec-websocket-protocol: chat, phoenix",
        "sec-websocket-extensions: permessage-deflate; client_max_window_bits",
    ];
    let answer = ask(&server, get(PATH, &[UPGRADE.as_slice(), &offers].concat()));
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-protocol"), None);
    assert_eq!(answer.header("sec-websocket-extensions"), None);
}

#[test]
// shows: check.connection-has-upgrade, check.upgrade-has-websocket
fn the_tokens_are_found_in_any_case_and_anywhere() {
    let server = app::start(&App::default());
    for (connection, protocol) in [
        ("UPGRADE", "WebSocket"),
        ("keep-alive, Upgrade", "h2c , websocket"),
        ("a,upgrade,b", "WEBSOCKET"),
    ] {
        let connection = format!("connection: {connection}");
        let protocol = format!("upgrade: {protocol}");
        let headers = [&connection, &protocol, UPGRADE[2], UPGRADE[3]];
        assert_eq!(ask(&server, get(PATH, &headers)).status, 101, "{headers:?}");
    }
    for (connection, protocol) in [("keep-alive", "websocket"), ("upgrade", "websockets")] {
        let connection = format!("connection: {connection}");
        let protocol = format!("upgrade: {protocol}");
        let headers = [&connection, &protocol, UPGRADE[2], UPGRADE[3]];
        assert_eq!(ask(&server, get(PATH, &headers)).status, 400, "{headers:?}");
    }
    server.await_rest();
}

#[test]
// shows: check.upgrade-headers-in-order, check.host-present, check.key-present,
//   check.version-is-13, check.upgrade-headers-400
fn of_several_wrong_headers_the_first_is_named() {
    let server = app::start(&App::default());
    let [connection, protocol, key, version] = UPGRADE;
    for (headers, complaint) in [
        (vec![], "'host' header is absent"),
        (vec![connection, protocol, key, version], "'host' header is absent"),
        (vec!["host: a"], "'connection' header must contain 'upgrade', got []"),
        (
            vec!["host: a", "connection: close, x"],
            r#"'connection' header must contain 'upgrade', got ["close, x"]"#,
        ),
        (vec!["host: a", connection], "'upgrade' header must contain 'websocket', got []"),
        (vec!["host: a", connection, protocol], "'sec-websocket-key' header is absent"),
        (
            vec!["host: a", connection, protocol, key],
            "'sec-websocket-version' header must equal '13', got []",
        ),
        (
            vec!["host: a", connection, protocol, key, "sec-websocket-version: 8"],
            r#"'sec-websocket-version' header must equal '13', got ["8"]"#,
        ),
    ] {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let answer = ask(&server, format!("GET {PATH} HTTP/1.1\r\n{headers}\r\n"));
        assert_eq!((answer.status, answer.body.as_str()), (400, complaint), "{headers}");
    }
    server.await_rest();
}

#[test]
fn a_refused_client_may_ask_again_on_the_same_connection() {
    let server = app::start(&App::default());
    let mut raw = Raw::connect(server.addr(0));
    for (target, status) in [
        ("/socket/websocket?vsn=9.0.0", 403),
        ("/socket/websocket?connect=refuse", 403),
        ("/socket/websocket?connect=panic", 500),
        ("/nowhere", 404),
        ("/", 200),
        (PATH, 101),
    ] {
        raw.send(upgrade(target));
        assert_eq!(raw.answer().status, status, "{target}");
    }
    raw.send_text(r#"["1","1","room:a","phx_join",{}]"#);
    assert_eq!(raw.frame().first, 0x81);
    drop(raw);
    server.await_rest();
}
