//! What goes out: whole, once, in order, whatever the sockets take of it.

use serde_json::json;

use super::actor::numbered;
use super::client::Client;
use super::world::World;
use crate::config::Limits;
use crate::testing::Version;

/// In one turn a reader gets an answer, a broadcast and another answer, which are gathered into one
/// write; somebody before and somebody after him get the broadcast alone. His socket takes the
/// first bytes as `takes` says. Gives back what each has read.
fn one_turn(version: Version, takes: &[usize]) -> Vec<Vec<u8>> {
    let mut world = World::new(1);
    let mut clients: Vec<_> = (0..3).map(|_| world.join(0, version, "actor:1")).collect();
    for client in &mut clients {
        client.take();
        let mut pipe = client.pipe.borrow_mut();
        pipe.outbound.clear();
        pipe.sends = 0;
    }
    clients[1].pipe.borrow_mut().takes.extend(takes);
    clients[1].push("actor:1", "echo", json!({"text": "one"}));
    clients[1].push("actor:1", "shout", json!({"text": "two"}));
    clients[1].push("actor:1", "echo", json!({"text": "three"}));
    clients[1].push("actor:1", "flood", json!({"count": 2, "size": 200}));
    world.run();
    let sends = clients[1].pipe.borrow().sends;
    assert!(!takes.is_empty() || sends == 1, "{sends} writes for what one turn has queued");
    clients.iter().map(|client| client.pipe.borrow().outbound.clone()).collect()
}

#[test]
fn a_write_that_is_cut_anywhere_goes_on_where_it_was_cut() {
    for version in Version::ALL {
        let whole = one_turn(version, &[]);
        let size = whole[1].len();
        for cut in 0..size {
            assert_eq!(one_turn(version, &[cut]), whole, "cut at {cut}");
        }
        for (first, second) in [(0, 0), (0, 1), (1, 1), (size / 2, 0), (size - 2, 1)] {
            assert_eq!(one_turn(version, &[first, second]), whole, "cut by {first} and {second}");
        }
    }
}

/// A reader whose socket is full, and who is owed `count` pushes of `size` bytes, each of a turn of
/// its own; with a neighbour who reads.
fn blocked(world: &mut World, count: usize, size: usize) -> (Client, Client) {
    let mut reader = world.join(0, Version::V2, "actor:1");
    let neighbour = world.join(0, Version::V2, "actor:1");
    reader.pipe.borrow_mut().room = Some(0);
    for number in 0..count {
        let text = numbered(number, size);
        reader.push("actor:1", "echo", json!({ "text": text }));
        world.run();
    }
    assert_eq!(reader.take(), []);
    (reader, neighbour)
}

/// The numbers of the echoes that have come.
fn numbers(client: &mut Client, size: usize) -> Vec<usize> {
    let replies = client.take().into_iter().filter_map(|message| message.reply());
    let texts = replies.map(|reply| {
        let response = reply.response.as_json().expect("a JSON payload").clone();
        response["text"].as_str().expect("an echo").to_owned()
    });
    let number = |text: String| {
        let number = text.split(':').next().and_then(|number| number.parse().ok());
        assert_eq!(number.map(|number| numbered(number, size)), Some(text));
        number.expect("just compared")
    };
    texts.map(number).collect()
}

#[test]
fn a_full_socket_holds_up_nobody_else_and_loses_nothing() {
    let mut world = World::new(1);
    let (mut reader, mut neighbour) = blocked(&mut world, 5, 100);
    neighbour.push("actor:1", "shout", json!({"text": "hello"}));
    world.run();
    assert_eq!(neighbour.take_texts(), [("shout".to_owned(), "hello".to_owned())]);

    reader.pipe.borrow_mut().room = None;
    world.run();
    reader.read();
    assert_eq!(numbers(&mut reader, 100), [0, 1, 2, 3, 4]);
    assert_eq!(reader.pipe.borrow().sends, 3 + 1, "upgrade, join, the refusal; then all the rest");
    reader.finish();
    neighbour.finish();
    world.assert_rest();
}

#[test]
fn a_backlog_goes_out_in_writes_of_a_bounded_size() {
    let size = 9_000;
    for room in [None, Some(1), Some(4_000), Some(70_000)] {
        let mut world = World::new(1);
        let (mut reader, mut neighbour) = blocked(&mut world, 30, size);
        let refused = reader.pipe.borrow().sends;
        let mut got = Vec::new();
        while got.len() < 30 {
            let before = reader.pipe.borrow().outbound.len();
            reader.pipe.borrow_mut().room = room.map(|room| room.max(before / 8));
            world.run();
            got.extend(numbers(&mut reader, size));
        }
        assert_eq!(got, (0..30).collect::<Vec<_>>(), "room {room:?}");
        let sends = reader.pipe.borrow().sends - refused;
        assert!(room.is_some() || sends == 5, "seven fit into a write, so not {sends} writes");
        reader.finish();
        neighbour.finish();
        world.assert_rest();
    }
}

#[test]
fn frames_bigger_than_a_write_go_out_one_by_one() {
    let mut world = World::new(1);
    let (mut reader, _) = blocked(&mut world, 4, 100_000);
    reader.pipe.borrow_mut().room = None;
    world.run();
    assert_eq!(numbers(&mut reader, 100_000), [0, 1, 2, 3]);
}

#[test]
fn what_one_turn_queues_beyond_a_write_outlives_the_turn() {
    for takes in [vec![], vec![0], vec![70_000, 1]] {
        let mut world = World::new(1);
        let mut reader = world.join(0, Version::V2, "actor:1");
        let mut neighbour = world.join(0, Version::V2, "actor:1");
        reader.pipe.borrow_mut().takes.extend(takes);
        // Answers that do not lie behind one another: a broadcast is between them.
        for number in 0..4 {
            reader.push("actor:1", "echo", json!({ "text": numbered(number, 30_000) }));
            reader.push("actor:1", "shout", json!({"text": "between"}));
        }
        assert!(!world.step(1), "there is more to write");
        // The next turn's own bytes stand where those of the first stood.
        let echo = neighbour.push("actor:1", "echo", json!({"text": "y".repeat(100_000)}));
        world.run();
        assert!(neighbour.take_reply(&echo).is_ok());
        assert_eq!(reader.peek(), ["phx_reply", "shout"].repeat(4));
        assert_eq!(numbers(&mut reader, 30_000), [0, 1, 2, 3]);
        reader.finish();
        neighbour.finish();
        world.assert_rest();
    }
}

#[test]
fn what_comes_while_a_backlog_goes_out_comes_behind_it() {
    let mut world = World::new(1);
    let (mut reader, mut neighbour) = blocked(&mut world, 20, 20_000);
    // From here on he takes a little in each turn, while more is queued for him.
    for number in 20..60 {
        reader.pipe.borrow_mut().room = Some(15_000);
        reader.push("actor:1", "echo", json!({ "text": numbered(number, 20_000) }));
        neighbour.push("actor:1", "shout", json!({"text": number.to_string()}));
        world.run();
    }
    reader.pipe.borrow_mut().room = None;
    world.run();
    let messages = reader.take();
    let (shouts, echoes): (Vec<_>, Vec<_>) =
        messages.into_iter().partition(|message| message.event == "shout");
    assert_eq!((shouts.len(), echoes.len()), (40, 60));
    let expected: Vec<_> = (20..60).map(|number| number.to_string()).collect();
    let texts = shouts.iter().map(|shout| shout.payload.as_json().expect("JSON")["text"].clone());
    assert_eq!(texts.collect::<Vec<_>>(), expected);
    let refs: Vec<_> = echoes.iter().map(|echo| echo.message_ref.clone()).collect();
    let in_order = refs.iter().map(|it| it.as_str().and_then(|it| it.parse::<u64>().ok()));
    assert!(in_order.is_sorted(), "{refs:?}");
}

#[test]
fn who_owes_more_than_the_bound_is_closed_and_nobody_else() {
    for version in Version::ALL {
        let mut world = World::new(1);
        let mut sender = world.join(0, version, "actor:1");
        sender.take();
        let start = sender.pipe.borrow().outbound.len();
        sender.push("actor:1", "shout", json!({"text": "measured"}));
        world.run();
        let frame = sender.pipe.borrow().outbound.len() - start;

        let limits = Limits { max_send_queue: 10 * frame, ..Limits::default() };
        let mut world = World::with_limits(1, limits);
        let mut sender = world.join(0, version, "actor:1");
        let sleeper = world.join(0, version, "actor:1");
        let mut reader = world.join(0, version, "actor:1");
        sleeper.pipe.borrow_mut().room = Some(0);
        for _ in 0..10 {
            sender.push("actor:1", "shout", json!({"text": "measured"}));
            world.run();
            assert!(!sleeper.is_closed(), "the bound itself is allowed");
        }
        sender.push("actor:1", "shout", json!({"text": "measured"}));
        world.run();
        assert!(sleeper.is_closed());
        assert_eq!(world.counts(0).slow_readers, 1);
        for client in [&mut sender, &mut reader] {
            assert_eq!(client.take_texts().len(), 11);
            client.close();
        }
        world.assert_rest();
        assert_eq!(world.app.take_log().len(), 6, "three terminated and dropped");
    }
}

/// What a single turn had queued was held against a reader only when more followed: until then he
/// could owe whatever a burst of small requests for large answers had brought.
#[test]
fn who_owes_too_much_by_one_turn_is_closed_with_it() {
    let pushes = json!({"count": 20, "size": 1_000});
    let mut world = World::new(1);
    let mut reader = world.join(0, Version::V2, "actor:1");
    let start = reader.pipe.borrow().outbound.len();
    reader.push("actor:1", "flood", pushes.clone());
    world.run();
    let all = reader.pipe.borrow().outbound.len() - start;

    for left in [10_000, 10_001] {
        let limits = Limits { max_send_queue: 10_000, ..Limits::default() };
        let mut world = World::with_limits(1, limits);
        let mut reader = world.join(0, Version::V2, "actor:1");
        reader.pipe.borrow_mut().room = Some(all - left);
        reader.push("actor:1", "flood", pushes.clone());
        world.run();
        assert_eq!(reader.is_closed(), left > 10_000);
        assert_eq!(world.counts(0).slow_readers, u64::from(left > 10_000));
        reader.break_off();
        world.assert_rest();
    }
}

#[test]
fn answers_to_many_requests_at_once_are_bounded_though_he_reads() {
    let limits = Limits { max_send_queue: 10_000, ..Limits::default() };
    for (requests, is_bounded) in [(5, true), (1_000, false)] {
        let mut world = World::with_limits(1, limits.clone());
        let mut client = world.dial(0, Version::V2);
        client.send_bytes("GET /page HTTP/1.1\r\nHost: here\r\n\r\n".repeat(requests).as_bytes());
        world.run();
        assert_eq!(client.is_closed(), !is_bounded);
        let sent = client.pipe.borrow().outbound.len();
        assert!((requests.min(10) * 1_000..12_500).contains(&sent), "{sent} bytes");
        client.break_off();
        world.assert_rest();
    }
}

#[test]
fn what_was_written_is_no_longer_owed() {
    let limits = Limits { max_send_queue: 10_000, ..Limits::default() };
    let mut world = World::with_limits(1, limits);
    let mut reader = world.join(0, Version::V2, "actor:1");
    for round in 0..10 {
        reader.pipe.borrow_mut().room = Some(round);
        for _ in 0..5 {
            reader.push("actor:1", "flood", json!({"count": 2, "size": 400}));
            world.run();
        }
        reader.pipe.borrow_mut().room = None;
        world.run();
        assert_eq!(reader.take().len(), 10, "round {round}");
    }
}

#[test]
fn a_connection_that_breaks_while_it_is_written_to_is_closed() {
    let mut world = World::new(1);
    let mut sender = world.join(0, Version::V2, "actor:1");
    let broken = world.join(0, Version::V2, "actor:1");
    let mut reader = world.join(0, Version::V2, "actor:1");
    broken.pipe.borrow_mut().is_broken = true;
    sender.push("actor:1", "shout", json!({"text": "hello"}));
    world.run();
    assert!(broken.is_closed());
    assert_eq!((sender.take_texts().len(), reader.take_texts().len()), (1, 1));
    assert_eq!(world.app.take_log(), ["actor:1 terminated: Closed", "actor:1 dropped"]);
    sender.finish();
    reader.finish();
    world.assert_rest();
}

#[test]
fn a_connection_that_breaks_while_it_is_full_is_closed() {
    let mut world = World::new(1);
    let (mut reader, mut neighbour) = blocked(&mut world, 3, 100);
    reader.break_off();
    world.run();
    assert!(reader.is_closed());
    neighbour.finish();
    world.assert_rest();
}

/// Once a reader with a long backlog had closed, the rest of it was written, but the connection
/// stayed until its close timed out: only a completion of the kernel's led to another look at it,
/// and of a socket that takes everything there is none.
#[test]
fn a_client_that_closes_with_a_long_backlog_gets_it_and_is_closed_at_once() {
    let mut world = World::new(1);
    let (mut reader, mut neighbour) = blocked(&mut world, 10, 40_000);
    reader.close();
    world.run();
    reader.pipe.borrow_mut().room = None;
    world.run();
    assert_eq!(numbers(&mut reader, 40_000).len(), 10);
    assert_eq!(reader.close_code, Some(1000));
    assert!(reader.is_closed());
    neighbour.finish();
    world.assert_rest();
}

#[test]
fn a_batch_is_one_call_however_many_it_is_for() {
    let mut world = World::new(1);
    let mut clients: Vec<_> = (0..50).map(|_| world.join(0, Version::V2, "actor:1")).collect();
    let before = world.kernel(0).batches;
    clients[0].push("actor:1", "shout", json!({"text": "hello"}));
    world.run();
    assert_eq!(world.kernel(0).batches - before, 1);
    assert!(clients.iter_mut().all(|client| client.take_texts().len() == 1));
}
