//! What goes out: whole, once, in order, whatever the sockets take of it.

use serde_json::json;

use super::world::World;
use crate::testing::Version;

#[test]
fn a_client_joins_and_is_answered() {
    for version in Version::ALL {
        let mut world = World::new(1);
        let mut client = world.join(0, version, "actor:1");
        let echo = client.push("actor:1", "echo", json!({"text": "hi"}));
        world.run();
        assert_eq!(client.take_reply(&echo).response, json!({"text": "hi"}));
        client.close();
        world.run();
        assert_eq!(client.take(), []);
        assert_eq!(client.close_code, Some(1000));
        world.assert_rest();
    }
}
