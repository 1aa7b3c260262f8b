//! What an application's values do when they are dropped, copied or printed: wherever they are, a
//! panic is theirs alone, and the endpoint's handle may be used.

use std::fmt;
use std::sync::PoisonError;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use simurgh::prelude::*;
use simurgh::testing::{Client, ConnectError};

use crate::channels::User;
use crate::doors::{Door, through_every_door};
use crate::support::{App, World};

/// What a charge does when it goes off.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Deed {
    Panic,
    /// On a topic that nobody else on this shard may have.
    Broadcast,
    Disconnect,
}

/// Where the channel puts the charge.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    State,
    /// In a timer that is not due before the channel ends.
    Timer,
    /// In an interval's message, which goes off when that is copied.
    Interval,
    /// In the mailbox, behind a callback that waits.
    Mailbox,
    /// In a callback that waits.
    Callback,
    /// In a join that waits.
    Join,
    /// In an error, which goes off when it is printed.
    Error,
    /// In the mailbox, sent when it is full.
    Refused,
}

/// Goes off when it is dropped, unless it did already.
struct Charge {
    deed: Option<Deed>,
    app: App,
}

impl Charge {
    fn go_off(&mut self) {
        match self.deed.take() {
            None => {}
            Some(Deed::Panic) => panic!("as told"),
            Some(Deed::Broadcast) => self.app.handle().broadcast("room:ear", "boom", ()).unwrap(),
            Some(Deed::Disconnect) => self.app.handle().disconnect("users:victim").unwrap(),
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.go_off();
    }
}

/// Goes off when it is copied.
impl Clone for Charge {
    fn clone(&self) -> Self {
        Charge { deed: self.deed, app: self.app.clone() }.go_off();
        Charge { deed: None, app: self.app.clone() }
    }
}

/// An error that goes off when it is printed.
#[derive(Debug)]
struct RudeError(std::sync::Mutex<Charge>);

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Charge")
    }
}

impl fmt::Display for RudeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).go_off();
        f.write_str("printed")
    }
}

impl std::error::Error for RudeError {}

struct Charged {
    deed: Deed,
    place: Place,
    _state: Option<Charge>,
}

#[derive(Deserialize)]
struct Params {
    deed: Deed,
    place: Place,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    Go,
}

impl Channel for Charged {
    type Socket = User;
    type Params = Params;
    type Event = Event;
    type Info = Charge;

    async fn join(_: &Topic, params: Params, cx: &mut Context<'_, Self>) -> Join<Self> {
        let Params { deed, place } = params;
        let charge = || Charge { deed: Some(deed), app: cx.app().clone() };
        match place {
            Place::Timer => cx.send_after(HOUR, charge()),
            Place::Join => {
                let _charge = charge();
                cx.app().gate("never").await;
            }
            _ => {}
        }
        let _state = matches!(place, Place::State).then(charge);
        Ok(Joined::new(Charged { deed, place, _state }))
    }

    async fn handle_in(&mut self, _: Event, cx: &mut Context<'_, Self>) -> Result<Reply, Crash> {
        let charge = || Charge { deed: Some(self.deed), app: cx.app().clone() };
        match self.place {
            Place::Interval => cx.interval(Duration::from_millis(1), charge()),
            Place::Mailbox => {
                cx.address().send(charge())?;
                cx.app().gate("never").await;
            }
            Place::Callback => {
                let _charge = charge();
                cx.app().gate("never").await;
            }
            Place::Error => return Err(RudeError(charge().into()).into()),
            Place::Refused => {
                let defused = || Charge { deed: None, app: cx.app().clone() };
                while cx.address().send(defused()).is_ok() {}
                cx.address().send(charge()).unwrap_err();
            }
            Place::State | Place::Timer | Place::Join => {}
        }
        Ok(Reply::none())
    }

    async fn handle_info(&mut self, _: Charge, _: &mut Context<'_, Self>) -> Result<(), Crash> {
        Ok(())
    }
}

/// A socket with a charge.
struct Fused {
    _charge: Charge,
}

impl SocketHandler for Fused {
    type App = App;
    type Params = ();

    async fn connect(_: (), info: &ConnectInfo<App>) -> Result<Self, Rejection> {
        let charge = || Charge { deed: Some(Deed::Panic), app: info.app().clone() };
        match info.query().contains("rude") {
            true => Err(RudeError(charge().into()).into()),
            false => Ok(Fused { _charge: charge() }),
        }
    }
}

const HOUR: Duration = Duration::from_secs(3600);

const PLACES: [Place; 8] = [
    Place::State,
    Place::Timer,
    Place::Interval,
    Place::Mailbox,
    Place::Callback,
    Place::Join,
    Place::Error,
    Place::Refused,
];

fn played(scenario: impl Fn(World, Door)) {
    let start = |shards| {
        World::start_with(shards, |endpoint| {
            endpoint
                .socket("/charged", |mount| mount.handler::<User>().channel::<Charged>("charged:*"))
                .socket("/fused", |mount| mount.handler::<Fused>())
        })
    };
    through_every_door(2, start, scenario);
}

/// Puts a charge at a place, lets it come to act, and ends the channel, one way or another.
fn set_off(world: &World, door: Door, deed: Deed, place: Place, by_leaving: bool) {
    println!("{deed:?} {place:?}, by leaving: {by_leaving}");
    let mut client = door.client_at(world, 0, "/charged");
    let params: Value = json!({"deed": deed, "place": place});
    client.send_join("charged:1", params);
    client.push("charged:1", "go", json!({}));
    if by_leaving {
        client.leave("charged:1");
    }
    client.heartbeat().unwrap();
    drop(client);
}

#[test]
fn a_panic_of_a_value_is_not_the_servers_end() {
    played(|world, door| {
        for place in PLACES {
            for by_leaving in [true, false] {
                set_off(&world, door, Deed::Panic, place, by_leaving);
                world.server.await_rest();
                let mut client = door.client(&world);
                assert!(client.join("room:1", json!({})).unwrap().is_ok());
                drop(client);
            }
        }
        world.server.stop();
    });
}

#[test]
fn a_panic_of_a_socket_is_not_the_servers_end() {
    played(|world, door| {
        let fused = || door.builder(world.server.addr(0), "/fused");
        fused().connect().unwrap();
        world.server.await_rest();
        // Accepted by the application, and then it turns out to be no upgrade.
        let refused = fused().header("sec-websocket-version", "12").connect().unwrap_err();
        assert!(matches!(refused, ConnectError::Refused { status: 400, .. }), "{refused:?}");
        // Its error can't even be printed.
        let refused = fused().param("rude", "").connect().unwrap_err();
        assert!(matches!(refused, ConnectError::Refused { status: 500, .. }), "{refused:?}");
        assert!(door.client(&world).join("room:1", json!({})).unwrap().is_ok());
        // One is open when the server ends.
        let open = fused().connect().unwrap();
        world.server.stop();
        drop(open);
    });
}

#[test]
fn a_panic_of_many_values_at_the_servers_end_is_not_the_process() {
    played(|world, door| {
        let mut clients = Vec::new();
        for place in [Place::State, Place::Timer, Place::Mailbox, Place::Callback, Place::Join] {
            for _ in 0..2 {
                let mut client = door.client_at(&world, 0, "/charged");
                client.send_join("charged:1", json!({"deed": Deed::Panic, "place": place}));
                client.push("charged:1", "go", json!({}));
                client.heartbeat().unwrap();
                clients.push(client);
            }
        }
        world.server.stop();
    });
}

#[test]
fn a_value_that_is_dropped_may_broadcast() {
    played(|world, door| {
        // One on the same shard, one on the other; and then only the other.
        let mut near = door.client(&world);
        let mut far = door.far_client(&world);
        near.join("room:ear", json!({})).unwrap();
        far.join("room:ear", json!({})).unwrap();
        for place in PLACES {
            set_off(&world, door, Deed::Broadcast, place, true);
            near.expect("room:ear", "boom").unwrap();
            far.expect("room:ear", "boom").unwrap();
        }
        drop(near);
        world.server.await_counts(|counts| counts[0].connections == 0);
        let forget = |client: &mut Client| while client.silence("room:ear").is_err() {};
        for place in PLACES {
            forget(&mut far);
            set_off(&world, door, Deed::Broadcast, place, false);
            far.expect("room:ear", "boom").unwrap();
        }
    });
}

#[test]
fn a_value_that_is_dropped_may_disconnect_a_socket() {
    played(|world, door| {
        for place in PLACES {
            let mut victims =
                [0, 1].map(|shard| door.client_with_id(&world, shard, "users:victim"));
            for victim in &mut victims {
                victim.join("room:1", json!({})).unwrap();
            }
            set_off(&world, door, Deed::Disconnect, place, false);
            for victim in &mut victims {
                assert_eq!(victim.closed().unwrap(), Some(1001));
            }
        }
        world.server.await_rest();
    });
}
