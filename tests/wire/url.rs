//! Which paths are a socket's, and what of the URL reaches `connect`.

use serde_json::{Value, json};
use simurgh::Endpoint;
use simurgh::testing::{Client, ConnectError, Server};

use crate::app::{self, App, Room, Visitor};
use crate::support::{Raw, get, upgrade};

/// The params that `connect` was given by a client at this path, with this query.
fn params(server: &Server, path: &str, query: &str) -> Value {
    let client = Client::builder(server.addr(0), "").path(path).query(query).connect();
    let mut client = client.unwrap_or_else(|error| panic!("{path}?{query}: {error}"));
    client.send_text(r#"["1","1","room:a","phx_join",{}]"#);
    assert!(client.reply("1").unwrap().is_ok());
    client.send_text(r#"["1","2","room:a","params",{}]"#);
    let reply = client.reply("2").unwrap();
    reply.response.as_json().unwrap().clone()
}

fn status(server: &Server, path: &str) -> u16 {
    match Client::builder(server.addr(0), "").path(path).connect() {
        Ok(_) => 101,
        Err(ConnectError::Refused { status, .. }) => status,
        Err(error) => panic!("{path}: {error}"),
    }
}

#[test]
// shows: url.mount-then-transport, url.websocket-by-default, url.empty-segments-ignored,
//   url.path-not-decoded
fn a_socket_is_at_its_mount_with_websocket_behind_it() {
    let server = app::start(&App::default());
    let good = [
        "/socket/websocket",
        "/socket/websocket/",
        "//socket//websocket",
        "/socket/websocket#fragment",
    ];
    for path in good {
        assert_eq!(status(&server, path), 101, "{path}");
    }
    let bad = [
        "/websocket",
        "/sockets/websocket",
        "/socket/websockets",
        "/socket/websocket/more",
        "/socket/more/websocket",
        "/Socket/websocket",
        "/socket%2Fwebsocket",
        "/socket/%77ebsocket",
        "/%73ocket/websocket",
        "/%73ocket",
    ];
    for path in bad {
        assert_eq!(status(&server, path), 404, "{path}");
    }
    server.await_rest();
}

#[test]
// shows: url.bare-mount-upgrades, url.bare-mount-without-upgrade
fn the_bare_mount_upgrades_and_is_nothing_else() {
    let app = App::default();
    let server = app::start(&app);
    for path in ["/socket", "/socket/"] {
        assert_eq!(params(&server, path, "vsn=2.0.0&a=1"), json!({"vsn": "2.0.0", "a": "1"}));
        let mut raw = Raw::connect(server.addr(0));
        raw.send(get(path, &[]));
        assert_eq!(raw.answer().status, 404);
    }
    assert_eq!(app.connects(), 2);
    server.await_rest();
}

#[test]
// shows: url.bare-mount-without-upgrade
fn a_route_of_the_application_answers_at_the_bare_mount() {
    let endpoint = app::endpoint(&App::default())
        .get("/socket", |_| simurgh::Response::new(200).text("a page about it"));
    let server = Server::start(endpoint, 1);
    let mut raw = Raw::connect(server.addr(0));
    raw.send(get("/socket", &[]));
    assert_eq!(raw.answer().body, "a page about it");
    assert_eq!(status(&server, "/socket"), 101);
}

#[test]
// shows: url.no-long-poll-by-default
fn nothing_long_polls_that_was_not_told_to() {
    let server = app::start(&App::default());
    let mut raw = Raw::connect(server.addr(0));
    raw.send(get("/socket/longpoll?vsn=2.0.0", &[]));
    assert_eq!(raw.answer().status, 404);
    raw.send("POST /socket/longpoll HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(raw.answer().status, 404);
}

#[test]
// shows: url.several-mounts, url.mounts-share-a-handler
fn mounts_of_one_handler_have_routes_and_limits_of_their_own() {
    let endpoint = Endpoint::builder(App::default())
        .socket("/ws", |mount| {
            let mount = mount.handler::<Visitor>().max_topics(1);
            mount.channel_with::<Room>("room:*", "outer")
        })
        .socket("/ws/admin/deep", |mount| {
            mount.handler::<Visitor>().channel_with::<Room>("*", "inner")
        });
    let server = Server::start(endpoint, 1);
    let mut outer = Client::connect(server.addr(0), "/ws").unwrap();
    let mut inner = Client::connect(server.addr(0), "/ws/admin/deep").unwrap();
    for (client, name) in [(&mut outer, "outer"), (&mut inner, "inner")] {
        assert!(client.join("room:a", json!({})).unwrap().is_ok());
        let asked = client.push("room:a", "route", json!({}));
        assert_eq!(client.reply(asked).unwrap().response, json!(name));
    }
    assert!(!outer.join("room:b", json!({})).unwrap().is_ok());
    assert!(inner.join("room:b", json!({})).unwrap().is_ok());
    assert!(inner.join("anything", json!({})).unwrap().is_ok());
    assert_eq!(status(&server, "/ws/admin/websocket"), 404);
    drop((outer, inner));
    server.await_rest();
}

#[test]
fn of_two_mounts_that_match_the_first_takes_the_request() {
    let endpoint = Endpoint::builder(App::default())
        .socket("/:any", |m| m.handler::<Visitor>().channel_with::<Room>("*", "variable"))
        .socket("/fixed", |m| m.handler::<Visitor>().channel_with::<Room>("*", "fixed"));
    let server = Server::start(endpoint, 1);
    let mut client = Client::connect(server.addr(0), "/fixed").unwrap();
    client.join("room:a", json!({})).unwrap();
    let asked = client.push("room:a", "route", json!({}));
    assert_eq!(client.reply(asked).unwrap().response, json!("variable"));
}

#[test]
// shows: url.path-variables, url.path-not-decoded, url.underscored-variables-dropped,
//   url.query-and-path-in-one-map
fn path_variables_join_the_query_in_one_map() {
    let endpoint = Endpoint::builder(App::default())
        .socket("/tenants/:tenant/:_region", |m| m.handler::<Visitor>().channel::<Room>("room:*"));
    let server = Server::start(endpoint, 1);
    assert_eq!(
        params(&server, "/tenants/a%20b/eu/websocket", "vsn=2.0.0&x=1"),
        json!({"vsn": "2.0.0", "x": "1", "tenant": "a%20b"})
    );
    assert_eq!(
        params(&server, "/tenants/c%2Fd/eu/websocket", "vsn=2.0.0"),
        json!({"vsn": "2.0.0", "tenant": "c%2Fd"})
    );
    // The path says who it is, whatever the query claims.
    assert_eq!(
        params(&server, "/tenants/one/eu/websocket", "vsn=2.0.0&tenant=two"),
        json!({"vsn": "2.0.0", "tenant": "one"})
    );
    assert_eq!(status(&server, "/tenants/websocket"), 404);
    server.await_rest();
}

#[test]
// shows: url.transport-path-is-an-option, url.path-variables
fn the_part_behind_the_mount_can_be_set() {
    let endpoint = Endpoint::builder(App::default()).socket("/custom/:a", |mount| {
        let mount = mount.handler::<Visitor>().websocket_path("/live/:b");
        mount.channel::<Room>("room:*")
    });
    let server = Server::start(endpoint, 1);
    let expected = json!({"vsn": "2.0.0", "a": "1", "b": "2"});
    assert_eq!(params(&server, "/custom/1/live/2", "vsn=2.0.0"), expected);
    assert_eq!(status(&server, "/custom/1/websocket"), 404);
    assert_eq!(status(&server, "/custom/1/live"), 404);
    // The bare mount is one still.
    assert_eq!(params(&server, "/custom/1", "vsn=2.0.0"), json!({"vsn": "2.0.0", "a": "1"}));
    server.await_rest();
}

#[test]
// shows: url.every-param-reaches-connect, url.query-plus-is-space, url.query-percent-decoded,
//   url.query-last-duplicate-wins, url.query-brackets-make-lists, url.query-brackets-make-maps,
//   url.query-trailing-ampersand, url.query-malformed-percent-kept
fn the_query_reaches_connect_decoded() {
    let server = app::start(&App::default());
    for (query, expected) in [
        ("token=t&_csrf_token=c", json!({"token": "t", "_csrf_token": "c"})),
        ("a=1+2&b+c=3", json!({"a": "1 2", "b c": "3"})),
        ("n%61me=%C3%A9%26%3D", json!({"name": "é&="})),
        ("a=1&a=2", json!({"a": "2"})),
        ("a[]=1&a%5B%5D=2", json!({"a": ["1", "2"]})),
        ("a[k]=1&a[l][m]=2", json!({"a": {"k": "1", "l": {"m": "2"}}})),
        ("a=1&", json!({"a": "1"})),
        ("a=%zz&b=%4&c=100%", json!({"a": "%zz", "b": "%4", "c": "100%"})),
        ("flag&empty=", json!({"flag": "", "empty": ""})),
    ] {
        let mut params = params(&server, "/socket/websocket", &format!("vsn=2.0.0&{query}"));
        assert_eq!(params["vsn"].take(), "2.0.0");
        params.as_object_mut().unwrap().remove("vsn");
        assert_eq!(params, expected, "{query}");
    }
    // The last of two versions counts as well.
    let last = params(&server, "/socket/websocket", "vsn=1.0.0&vsn=2.0.0");
    assert_eq!(last, json!({"vsn": "2.0.0"}));
    server.await_rest();
}

#[test]
// shows: url.query-not-utf8-400
fn a_query_that_is_not_utf_8_is_refused() {
    let app = App::default();
    let server = app::start(&app);
    for query in ["a=%ff", "%ff=a", "a=%C3", "a[%ff]=1", "vsn=2.0.0&b=%80"] {
        let mut raw = Raw::connect(server.addr(0));
        raw.send(upgrade(&format!("/socket/websocket?{query}")));
        assert_eq!(raw.answer().status, 400, "{query}");
    }
    assert_eq!(app.connects(), 0);
    server.await_rest();
}
