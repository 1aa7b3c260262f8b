//! Which serializer a connection speaks.

use serde_json::json;
use simurgh::testing::{Client, ConnectError, Server, Version};

use crate::app::{self, App};

fn joins(server: &Server, version: Version, query: &str) {
    let builder = Client::builder(server.addr(0), "/socket").version(version).query(query);
    let mut client = builder.connect().unwrap_or_else(|error| panic!("{query:?}: {error}"));
    assert!(client.join("room:a", json!({})).unwrap().is_ok(), "{query:?}");
    client.heartbeat().unwrap();
}

#[test]
// shows: vsn.absent-is-v1, vsn.v1-range, vsn.v2-range, vsn.build-metadata-ignored,
//   vsn.pre-release-of-a-patch
fn a_version_is_a_range() {
    let server = app::start(&App::default());
    for query in ["", "a=b", "vsn=1.0.0", "vsn=1.0.5", "vsn=1.0.0%2Bbuild"] {
        joins(&server, Version::V1, query);
    }
    for query in ["vsn=2.0.0", "vsn=2.0.1", "vsn=2.0.99", "vsn=2.0.0%2Bbuild", "vsn=2.0.1-rc.1"] {
        joins(&server, Version::V2, query);
    }
    server.await_rest();
}

#[test]
// shows: vsn.loose-forms-refused, vsn.not-a-version-refused, vsn.other-versions-refused,
//   vsn.pre-release-refused, vsn.not-a-string-refused, check.version-before-connect
fn any_other_version_is_refused_before_connect() {
    let app = App::default();
    let server = app::start(&app);
    for query in [
        "vsn=2",
        "vsn=2.0",
        "vsn=v2.0.0",
        "vsn=02.0.0",
        "vsn=%202.0.0",
        "vsn=",
        "vsn",
        "vsn=abc",
        "vsn=0.9.0",
        "vsn=1.1.0",
        "vsn=2.1.0",
        "vsn=3.0.0",
        "vsn=2.0.0-rc.1",
        "vsn=2.1.0-rc.1",
        "vsn[]=2.0.0",
        "vsn[a]=2.0.0",
        "vsn=2.0.0&vsn=3.0.0",
        "vsn=99999999999999999999.0.0",
        // A plus sign that is not encoded is a space.
        "vsn=2.0.0+build",
    ] {
        let refused = Client::builder(server.addr(0), "/socket").query(query).connect();
        let Err(ConnectError::Refused { status: 403, body, .. }) = refused else {
            panic!("{query}: {refused:?}")
        };
        assert_eq!(body, "", "{query}");
    }
    assert_eq!(app.connects(), 0);
    server.await_rest();
}
