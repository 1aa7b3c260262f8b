//! How a client's events become what a channel handles, and what it may do with those it doesn't
//! know.

use serde_json::json;
use simurgh::prelude::*;
use simurgh::{EventError, FromEvent, PayloadRef};

use crate::channels::User;
use crate::doors::{Door, on_new_servers};
use crate::support::World;

/// Takes events as they come.
struct Raw;

impl Channel for Raw {
    type Socket = User;
    type Params = Payload;
    type Event = RawEvent;
    type Info = ();

    async fn join(_: &Topic, params: Payload, _: &mut Context<'_, Self>) -> Join<Self> {
        Ok(Joined::with_reply(Raw, params))
    }

    async fn handle_in(
        &mut self,
        event: RawEvent,
        _: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        let RawEvent { name, payload } = event;
        match payload.is_binary() {
            true => Ok(Reply::ok(payload)),
            false => Ok(Reply::ok(json!({ name: payload.raw_json()? }))),
        }
    }
}

/// Knows one event, and how to answer others.
struct Lenient;

#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Number {
    Double(u64),
}

impl Channel for Lenient {
    type Socket = User;
    type Params = ();
    type Event = Number;
    type Info = ();

    async fn join(_: &Topic, _: (), _: &mut Context<'_, Self>) -> Join<Self> {
        Ok(Joined::new(Lenient))
    }

    async fn handle_in(
        &mut self,
        event: Number,
        _: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        let Number::Double(number) = event;
        Ok(Reply::ok(Json(number * 2)))
    }

    async fn handle_unknown(
        &mut self,
        event: &str,
        payload: &Payload,
        error: EventError,
        cx: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        cx.push("saw", json!({ "event": event }))?;
        let unknown = matches!(error, EventError::Unknown);
        let is_binary = payload.is_binary();
        Ok(Reply::error(json!({ "unknown": unknown, "is_binary": is_binary })))
    }
}

/// Events that can't even be looked at.
struct Rude;

impl FromEvent for Rude {
    fn from_event(event: &str, _: PayloadRef<'_>) -> Result<Self, EventError> {
        panic!("{event}, as told")
    }
}

/// Whose events panic.
struct Fragile;

impl Channel for Fragile {
    type Socket = User;
    type Params = ();
    type Event = Rude;
    type Info = ();

    async fn join(_: &Topic, _: (), _: &mut Context<'_, Self>) -> Join<Self> {
        Ok(Joined::new(Fragile))
    }

    async fn handle_in(&mut self, _: Rude, _: &mut Context<'_, Self>) -> Result<Reply, Crash> {
        Ok(Reply::none())
    }
}

fn played(scenario: impl Fn(&World, Door)) {
    on_new_servers(
        1,
        |endpoint| {
            endpoint.socket("/events", |mount| {
                mount
                    .handler::<User>()
                    .channel::<Raw>("raw:*")
                    .channel::<Lenient>("lenient:*")
                    .channel::<Fragile>("fragile:*")
            })
        },
        scenario,
    );
}

#[test]
fn a_channel_may_take_names_and_payloads_as_they_come() {
    // shows: text.payload-of-any-type, binary.channel-knows-it-is-binary
    played(|world, door| {
        let mut client = door.client_at(world, 0, "/events");
        for payload in [json!({"a": 1}), json!(null), json!("text"), json!([1, 2]), json!(7)] {
            assert_eq!(client.join("raw:1", payload.clone()).unwrap().response, payload);
            let sent = client.push("raw:1", "any name", payload.clone());
            assert_eq!(client.reply(sent).unwrap().response, json!({"any name": payload}));
        }
        if door.has_binary() {
            let sent = client.push_binary("raw:1", "b", &[1, 2, 3]);
            assert_eq!(client.reply(sent).unwrap().response, [1, 2, 3][..]);
        }
    });
}

#[test]
fn a_channel_may_answer_what_it_does_not_know() {
    played(|world, door| {
        let mut client = door.client_at(world, 0, "/events");
        client.join("lenient:1", json!({"any": "params"})).unwrap();
        let sent = client.push("lenient:1", "double", json!(21));
        assert_eq!(client.reply(sent).unwrap().response, json!(42));
        for (event, unknown) in [("triple", true), ("double", false), ("", true)] {
            let sent = client.push("lenient:1", event, json!("not a number"));
            assert_eq!(client.expect("lenient:1", "saw").unwrap().payload, json!({"event": event}));
            let reply = client.reply(sent).unwrap();
            assert_eq!(reply.status, "error");
            assert_eq!(reply.response, json!({"unknown": unknown, "is_binary": false}));
        }
        if door.has_binary() {
            let sent = client.push_binary("lenient:1", "double", &[1]);
            client.expect("lenient:1", "saw").unwrap();
            let response = json!({"unknown": false, "is_binary": true});
            assert_eq!(client.reply(sent).unwrap().response, response);
        }
        client.silence_everywhere().unwrap();
    });
}

#[test]
fn a_panic_while_an_event_is_read_ends_that_channel_only() {
    played(|world, door| {
        let mut client = door.client_at(world, 0, "/events");
        client.join("lenient:1", json!({})).unwrap();
        client.join("fragile:1", json!({})).unwrap();
        client.push("fragile:1", "touch", json!({}));
        client.expect("fragile:1", "phx_error").unwrap();
        assert!(client.join("fragile:1", json!({})).unwrap().is_ok());
        let sent = client.push("lenient:1", "double", json!(1));
        assert_eq!(client.reply(sent).unwrap().response, json!(2));
    });
}
