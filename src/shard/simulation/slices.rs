//! Big topics, served in slices: everybody gets what is his, in order, and nobody has to wait.

use serde_json::json;

use super::client::Client;
use super::world::World;
use crate::testing::{Random, Version};
use crate::{BroadcastError, Limits};

/// A shard that sends little in a turn, and so many clients in a topic of it.
fn crowd(slice: usize, members: usize) -> (World, Vec<Client>) {
    let mut world = World::in_slices(1, Limits::default(), 1, slice);
    let join = |member: usize| {
        let version = Version::ALL[member % 2];
        world.join(0, version, BIG)
    };
    let members = (0..members).map(join).collect();
    (world, members)
}

fn shout(client: &mut Client, text: &str) {
    client.push(BIG, "shout", json!({ "text": text }));
}

/// What somebody has heard and not told yet.
fn heard(client: &mut Client) -> Vec<String> {
    let texts = client.take_texts().into_iter();
    texts.filter(|(event, _)| event == "shout").map(|(_, text)| text).collect()
}

/// Lets the shard take turns until the first of these has heard something.
fn until_one_has_heard(world: &mut World, members: &mut [Client]) {
    while members.iter_mut().all(|member| !member.peek().contains(&"shout")) {
        assert!(!world.step(1), "nobody hears anything");
    }
    let is_unheard = |member: &mut Client| !member.peek().contains(&"shout");
    assert!(members.iter_mut().any(is_unheard), "all have heard it at once");
}

#[test]
fn small_topics_and_heartbeats_go_on_beside_a_big_one() {
    let (mut world, mut members) = crowd(8, 40);
    let mut other = world.join(0, Version::V2, "actor:small");
    shout(&mut members[0], "all");
    until_one_has_heard(&mut world, &mut members);
    let heartbeat = other.heartbeat();
    other.push("actor:small", "shout", json!({"text": "few"}));
    let echo = other.push("actor:small", "echo", json!({"text": "me"}));
    world.step(2);
    assert!(other.take_reply(&heartbeat).is_ok() && other.take_reply(&echo).is_ok());
    assert_eq!(other.take_texts(), [("shout".to_owned(), "few".to_owned())]);
    let is_waiting = |member: &mut Client| !member.peek().contains(&"shout");
    assert!(members.iter_mut().any(is_waiting), "the big topic was done already");
    world.run();
    for member in &mut members {
        assert_eq!(heard(member), ["all"]);
    }
}

#[test]
fn big_topics_take_turns() {
    let (mut world, mut members) = crowd(8, 40);
    let mut others: Vec<_> = (0..40).map(|_| world.join(0, Version::V2, "actor:big too")).collect();
    for text in ["1", "2", "3", "4"] {
        shout(&mut members[0], text);
        // Long enough to be served one by one.
        shout(&mut members[0], &"x".repeat(70_000));
    }
    until_one_has_heard(&mut world, &mut members);
    others[0].push("actor:big too", "shout", json!({"text": "too"}));
    while others.iter_mut().any(|other| !other.peek().contains(&"shout")) {
        assert!(!world.step(1), "the other topic is never served");
    }
    let is_waiting = |member: &mut Client| member.peek().len() < 8;
    assert!(members.iter_mut().any(is_waiting), "the other topic had to wait for all of the first");
    world.run();
    assert!(members.iter_mut().all(|member| heard(member).len() == 8));
}

#[test]
fn broadcasts_that_wait_for_the_same_subscribers_are_one_write() {
    let (mut world, mut members) = crowd(4, 30);
    for member in &members {
        member.pipe.borrow_mut().sends = 0;
    }
    for number in 0..10 {
        shout(&mut members[0], &number.to_string());
    }
    world.run();
    for member in &mut members[1..] {
        assert_eq!(heard(member), (0..10).map(|it| it.to_string()).collect::<Vec<_>>());
        assert!(member.pipe.borrow().sends <= 2, "{} writes", member.pipe.borrow().sends);
    }
}

#[test]
fn who_joins_meanwhile_gets_what_is_broadcast_afterwards_and_nothing_else() {
    let (mut world, mut members) = crowd(3, 30);
    shout(&mut members[0], "before");
    until_one_has_heard(&mut world, &mut members);
    let mut late = world.connect(0, Version::V2);
    shout(&mut members[1], "before too");
    world.step(1);
    late.join(BIG, json!({}));
    while !late.peek().contains(&"phx_reply") {
        assert!(!world.step(1), "the join is never answered");
    }
    shout(&mut late, "after");
    world.run();
    assert_eq!(heard(&mut late), ["after"]);
    for member in &mut members {
        assert_eq!(heard(member), ["before", "before too", "after"]);
    }
}

#[test]
fn who_leaves_meanwhile_gets_what_was_broadcast_before_and_takes_nothing_from_the_others() {
    for leaver in 0..20 {
        let (mut world, mut members) = crowd(3, 20);
        shout(&mut members[7], "one");
        until_one_has_heard(&mut world, &mut members);
        let left = members[leaver].push(BIG, "phx_leave", json!({}));
        world.step(1);
        shout(&mut members[(leaver + 1) % 20], "two");
        world.run();
        let events = members[leaver].peek();
        assert_eq!(events, ["shout", "phx_reply", "phx_close"], "{leaver} leaves");
        assert!(members[leaver].take_reply(&left).is_ok());
        for (index, member) in members.iter_mut().enumerate() {
            let all: &[_] = if index == leaver { &["one"] } else { &["one", "two"] };
            assert_eq!(heard(member), all, "{index}, when {leaver} leaves");
        }
    }
}

#[test]
fn what_is_queued_for_a_channel_follows_what_was_broadcast_before() {
    for (event, payload, follows) in [
        ("echo", json!({}), "phx_reply"),
        ("flood", json!({"count": 1, "size": 9}), "flood"),
        ("remind", json!({"millis": 0}), "note"),
        ("crash", json!({}), "phx_error"),
        ("panic", json!({}), "phx_error"),
        ("stop", json!({}), "phx_close"),
    ] {
        for place in [0, 1, 19, 38, 39] {
            let (mut world, mut members) = crowd(2, 40);
            shout(&mut members[place], "first");
            members[place].push(BIG, event, payload.clone());
            while !members[place].peek().contains(&follows) {
                world.step(1);
            }
            assert_eq!(members[place].peek(), ["shout", follows], "{event} at {place}");
            world.run();
            for (index, member) in members.iter_mut().enumerate() {
                assert_eq!(heard(member), ["first"], "{index}");
            }
        }
    }
}

#[test]
fn what_a_client_gets_of_its_other_channels_follows_what_was_broadcast_before() {
    for (place, follows) in
        [0, 1, 20, 38, 39].into_iter().zip(["shout", "phx_reply"].iter().cycle())
    {
        let (mut world, mut members) = crowd(4, 40);
        let mut other = world.join(0, Version::V2, "actor:few");
        let joined = members[place].join("actor:few", json!({}));
        world.run();
        assert!(members[place].take_reply(&joined).is_ok());
        shout(&mut members[7], "first");
        world.step(1);
        if *follows == "shout" {
            other.push("actor:few", "shout", json!({"text": "second"}));
        } else {
            members[place].push("actor:few", "echo", json!({"text": "second"}));
        }
        while members[place].peek().len() < 2 {
            assert!(!world.step(1), "it hears nothing");
        }
        assert_eq!(members[place].peek(), ["shout", follows], "at {place}");
        assert_eq!(members[place].take_texts()[0].1, "first", "at {place}");
        world.run();
    }
}

#[test]
fn a_late_answer_follows_what_was_broadcast_before() {
    let (mut world, mut members) = crowd(2, 40);
    let asked = members[39].push(BIG, "answer_later", json!({}));
    shout(&mut members[39], "first");
    until_one_has_heard(&mut world, &mut members[..39]);
    world.app.questions()[0].ok(()).expect("there is room");
    while members[39].peek().is_empty() {
        world.step(1);
    }
    assert_eq!(members[39].peek(), ["shout", "phx_reply"]);
    assert!(members[39].take_reply(&asked).is_ok());
    world.run();
}

#[test]
fn who_is_disconnected_gets_what_was_broadcast_before() {
    let (mut world, mut members) = crowd(2, 30);
    let mut last = world.dial(0, Version::V2);
    last.upgrade("/socket", "&id=users:7");
    last.join(BIG, json!({}));
    world.run();
    last.take();
    let farewell = json!({"text": "farewell"});
    world.handle().broadcast(BIG, "shout", farewell).expect("there is room");
    world.handle().disconnect("users:7").expect("there is room");
    while last.close_code.is_none() {
        world.step(1);
        last.read();
    }
    assert_eq!((heard(&mut last), last.close_code), (vec!["farewell".to_owned()], Some(1001)));
    let is_waiting = |member: &mut Client| member.peek().is_empty();
    assert!(members.iter_mut().any(is_waiting), "the others had it already");
    world.run();
    assert!(members.iter_mut().all(|member| heard(member) == ["farewell"]));
}

#[test]
fn who_broadcasts_to_others_gets_what_others_broadcast() {
    let (mut world, mut members) = crowd(2, 20);
    shout(&mut members[0], "first");
    until_one_has_heard(&mut world, &mut members);
    members[19].push(BIG, "shout_to_others", json!({"text": "second"}));
    world.step(1);
    shout(&mut members[0], "third");
    world.run();
    for (index, member) in members.iter_mut().enumerate() {
        let all: &[_] =
            if index == 19 { &["first", "third"] } else { &["first", "second", "third"] };
        assert_eq!(heard(member), all, "{index}");
    }
}

#[test]
fn a_topic_for_which_too_much_waits_takes_no_more_and_says_so() {
    let limits = Limits { max_fanout_queue: 10_000, ..Limits::default() };
    let mut world = World::in_slices(1, limits, 1, 2);
    let mut members: Vec<_> = (0..30).map(|_| world.join(0, Version::V2, BIG)).collect();
    let big = "x".repeat(3_000);
    // A client who says too much waits.
    for _ in 0..4 {
        shout(&mut members[0], &big);
    }
    world.run();
    for member in &mut members {
        assert_eq!(heard(member).len(), 4);
    }
    members[0].push(BIG, "shout_times", json!({"times": 4, "text": big}));
    // Three fit. The fourth fails, and the channel ends by its own `?`.
    world.run();
    assert_eq!(members[0].peek().last(), Some(&"phx_error"));
    for member in &mut members {
        assert_eq!(heard(member).len(), 3);
    }
    assert_eq!(world.counts(0).overloaded, 1);
    let error = BroadcastError::Backlog.to_string();
    assert!(error.contains("nobody got it"), "{error}");
}

/// Whoever sends from outside was told that it is on its way.
#[test]
fn what_comes_from_outside_and_finds_no_room_is_a_gap() {
    let limits = Limits { max_fanout_queue: 5_000, ..Limits::default() };
    let mut world = World::in_slices(1, limits, 1, 2);
    let mut members: Vec<_> = (0..30).map(|_| world.join(0, Version::V2, BIG)).collect();
    let big = json!({"text": "x".repeat(3_000)});
    for _ in 0..4 {
        world.handle().broadcast(BIG, "shout", big.clone()).expect("there is room");
    }
    world.run();
    for member in &mut members {
        // One got through; then a channel that does not handle gaps ends.
        assert_eq!(member.peek(), ["shout", "phx_error"]);
    }
}

/// The word of a gap was on its way to all of a big topic when another broadcast was missed. It was
/// taken to stand for both, and who had been told already never heard that he missed the second.
#[test]
fn who_was_told_of_a_gap_is_told_again_when_he_misses_another() {
    let (mut world, mut members) = gap_under_way();
    while !members[0].peek().contains(&"gap") {
        assert!(!world.step(1), "nobody is told");
    }
    assert!(!members[29].peek().contains(&"gap"), "all are told at once");
    for member in &mut members {
        member.take();
    }
    miss(&mut world);
    world.run();
    for (index, member) in members[..30].iter_mut().enumerate() {
        let gaps = member.peek().iter().filter(|event| **event == "gap").count();
        assert!((1..=2).contains(&gaps), "{index} is told {gaps} times");
    }
}

/// The same, for those who were caught up with it before its turn had come, or joined behind it.
#[test]
fn who_is_ahead_of_a_gap_is_told_when_he_misses_another() {
    let (mut world, mut members) = gap_under_way();
    members[29].push(FEED, "anything", json!({}));
    let mut late = members.pop().expect("the last has not joined");
    late.join(FEED, json!({}));
    while !members[29].peek().contains(&"gap") || late.peek().is_empty() {
        assert!(!world.step(1), "they hear nothing");
    }
    assert_eq!(members[29].peek(), ["shout", "phx_reply", "gap"]);
    assert_eq!(late.peek(), ["phx_reply"]);
    assert!(members[28].peek().is_empty(), "the gap's turn has come");
    miss(&mut world);
    world.run();
    assert_eq!(members[29].peek(), ["shout", "phx_reply", "gap", "gap"]);
    assert_eq!(late.peek(), ["phx_reply", "gap"]);
    for member in &mut members[..29] {
        assert_eq!(member.peek(), ["shout", "gap"]);
    }
}

/// Thirty to whom a broadcast is on its way, and the word that another was missed; and one who has
/// not joined.
fn gap_under_way() -> (World, Vec<Client>) {
    let limits = Limits { max_fanout_queue: 5_000, ..Limits::default() };
    let mut world = World::in_slices(1, limits, 1, 2);
    let mut members: Vec<_> = (0..30).map(|_| world.join(0, Version::V2, FEED)).collect();
    members.push(world.connect(0, Version::V2));
    world.handle().broadcast(FEED, "shout", too_much()).expect("there is room");
    miss(&mut world);
    (world, members)
}

/// Broadcasts what finds no room behind anything else.
fn miss(world: &mut World) {
    let before = world.counts(0).overloaded;
    world.handle().broadcast(FEED, "shout", too_much()).expect("there is room");
    while world.counts(0).overloaded == before {
        assert!(!world.step(1), "there was room for it");
    }
}

fn too_much() -> serde_json::Value {
    json!({"text": "x".repeat(6_000)})
}

/// Of the broadcasts that a topic missed only the first was told, and sockets look for one event.
#[test]
fn a_disconnect_that_is_missed_behind_a_gap_disconnects() {
    let limits = Limits { max_fanout_queue: 5_000, ..Limits::default() };
    let mut world = World::in_slices(1, limits, 1, 2);
    let mut sockets: Vec<_> = (0..30)
        .map(|_| {
            let mut client = world.dial(0, Version::V2);
            client.upgrade("/socket", "&id=users:7");
            client
        })
        .collect();
    world.run();
    for event in ["one", "missed", "disconnect"] {
        world.handle().broadcast("users:7", event, too_much()).expect("there is room");
    }
    world.run();
    for socket in &mut sockets {
        socket.read();
        assert_eq!(socket.close_code, Some(1001));
    }
}

/// Clients come, speak, leave and crash; one stays and hears all. Whatever anybody else has heard is
/// a part of that with no gap in it, and begins and ends where it should.
#[test]
fn everyone_hears_an_unbroken_part_of_what_is_said() {
    for seed in 1..=40 {
        let mut random = Random::new(seed);
        let slice = 1 + random.below(12);
        let mut world = World::in_slices(1, Limits::default(), seed, slice);
        let mut witness = world.join(0, Version::V2, BIG);
        let mut all: Vec<Member> = Vec::new();
        let mut said = 0;
        for _ in 0..250 {
            if random.below(5) == 0 && all.len() < 40 {
                let version = *random.pick(&Version::ALL).expect("there are two");
                let mut client = world.connect(0, version);
                let joined = client.join(BIG, json!({}));
                all.push(Member {
                    client,
                    joined,
                    said: Vec::new(),
                    asked: Vec::new(),
                    left: false,
                });
            } else if !all.is_empty() {
                let member = random.below(all.len());
                all[member].act(&mut random, &mut said);
            }
            world.step(random.below(4));
        }
        world.run();
        let history = heard(&mut witness);
        assert!(history.len() > 30, "seed {seed}: hardly anything was said");
        for member in &mut all {
            member.check(&history, seed);
        }
        for mut client in all.into_iter().map(|member| member.client).chain([witness]) {
            client.finish();
        }
        world.assert_rest();
    }
}

struct Member {
    client: Client,
    joined: String,
    /// What it has said while it was there; and what it has asked, behind how much of that.
    said: Vec<String>,
    asked: Vec<(String, usize)>,
    left: bool,
}

impl Member {
    fn act(&mut self, random: &mut Random, said: &mut usize) {
        if self.left {
            return;
        }
        match random.below(12) {
            0 => {
                self.client.push(BIG, "phx_leave", json!({}));
                self.left = true;
            }
            1 => {
                let event = *random.pick(&["crash", "panic", "stop"]).expect("there are some");
                self.client.push(BIG, event, json!({}));
                self.left = true;
            }
            2..=6 => {
                *said += 1;
                self.said.push(said.to_string());
                shout(&mut self.client, &said.to_string());
            }
            7..=9 => {
                let asked = self.client.push(BIG, "echo", json!({}));
                self.asked.push((asked, self.said.len()));
            }
            _ => drop(self.client.heartbeat()),
        }
    }

    fn check(&mut self, history: &[String], seed: u64) {
        let mut heard = Vec::new();
        for message in self.client.take() {
            if message.event == "shout" {
                let payload = message.payload.as_json().expect("JSON");
                heard.push(payload["text"].as_str().expect("a text").to_owned());
            } else if let Some((_, said)) =
                self.asked.iter().find(|(asked, _)| message.message_ref == *asked)
            {
                let own = &self.said[..*said];
                assert!(own.iter().all(|it| heard.contains(it)), "seed {seed}: {own:?} {heard:?}");
            } else if message.message_ref == self.joined {
                assert!(heard.is_empty(), "seed {seed}: heard before the join's reply");
            }
        }
        let is_part = heard.is_empty() || history.windows(heard.len()).any(|part| part == heard);
        assert!(is_part, "seed {seed}: {heard:?} of {history:?}");
        assert!(self.said.iter().all(|it| heard.contains(it)), "seed {seed}: {:?}", self.said);
        if !self.left && !heard.is_empty() {
            assert_eq!(heard.last(), history.last(), "seed {seed}: who stays hears the last");
        }
    }
}

const BIG: &str = "actor:big";
const FEED: &str = "feed:big";
