//! Routes: which channel a topic is for, and what it is told of it.

use serde_json::json;
use simurgh::prelude::*;

use crate::channels::User;
use crate::doors::on_new_servers;

/// Tells its client how it was found.
struct Found;

impl Channel for Found {
    type Socket = User;
    type Params = Payload;
    type Event = RawEvent;
    type Info = &'static str;

    async fn join(topic: &Topic, _: Payload, cx: &mut Context<'_, Self>) -> Join<Self> {
        cx.address().send("not handled")?;
        cx.subscribe("news");
        let route: Option<&&str> = cx.route_value();
        let found = json!({
            "topic": topic.as_str(),
            "wildcard": topic.wildcard(),
            "route": route,
            "number": cx.route_value::<u64>(),
        });
        Ok(Joined::with_reply(Found, found))
    }

    async fn handle_in(
        &mut self,
        event: RawEvent,
        _: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        Ok(Reply::ok(json!({ "event": event.name })))
    }
}

#[test]
fn the_first_route_that_matches_takes_the_topic_and_may_carry_a_value() {
    let routes = |endpoint: simurgh::Builder<_>| {
        endpoint.socket("/routes", |mount| {
            mount
                .handler::<User>()
                .channel_with::<Found>("a:exact", "exact")
                .channel_with::<Found>("a:*", "prefix")
                .channel_with::<Found>("a:never", "never")
                .channel_with::<Found>("n:*", 7_u64)
                .channel::<Found>("*")
        })
    };
    on_new_servers(1, routes, |world, door| {
        let mut client = door.client_at(world, 0, "/routes");
        for (topic, wildcard, route, number) in [
            ("a:exact", "", json!("exact"), json!(null)),
            ("a:exactly", "exactly", json!("prefix"), json!(null)),
            ("a:never", "never", json!("prefix"), json!(null)),
            ("a:", "", json!("prefix"), json!(null)),
            ("n:1", "1", json!(null), json!(7)),
            ("", "", json!(null), json!(null)),
            ("A:exact", "A:exact", json!(null), json!(null)),
        ] {
            let found = json!({
                "topic": topic, "wildcard": wildcard, "route": route, "number": number,
            });
            assert_eq!(client.join(topic, json!({})).unwrap().response, found);
        }
    });
}

#[test]
fn what_a_channel_has_no_callback_for_is_dropped() {
    let routes = |endpoint: simurgh::Builder<_>| {
        endpoint.socket("/routes", |mount| mount.handler::<User>().channel::<Found>("*"))
    };
    on_new_servers(1, routes, |world, door| {
        let mut client = door.client_at(world, 0, "/routes");
        // An info, from its own join, and a broadcast of the topic it subscribed to.
        client.join("room:1", json!({})).unwrap();
        world.server.handle().broadcast("news", "n", ()).unwrap();
        world.server.handle().broadcast("room:1", "after", ()).unwrap();
        client.expect("room:1", "after").unwrap();
        let sent = client.push("room:1", "still here", json!({}));
        assert_eq!(client.reply(sent).unwrap().response, json!({"event": "still here"}));
        client.silence_everywhere().unwrap();
    });
}
