//! The rings over real sockets: clients of the standard library, on the loopback device.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::config::Queues;
use super::listener::{self, Options};
use super::*;

#[test]
fn a_client_is_accepted_with_its_address() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let mut server = Server::at(address, small());
        let client = server.connect();
        let (_, peer) = server.accept();
        assert_eq!(peer, client.local_addr().unwrap());
    }
}

#[test]
fn an_ipv4_client_of_an_ipv6_listener_has_its_ipv4_address() {
    let mut server = Server::at("[::]:0", small());
    let port = server.address.port();
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (_, peer) = server.accept();
    assert_eq!(peer, client.local_addr().unwrap());
}

/// Before Linux 6.13 a ring let go of its direct descriptors in order, so that a client who stayed
/// and said nothing kept open what was closed after he had come.
#[test]
fn a_closed_connection_ends_while_an_older_one_stays() {
    for config in with_each_kind(&small()) {
        let mut server = Server::new(config);
        let _older = server.connect();
        server.accept();
        for _ in 0..3 {
            let mut client = server.connect();
            let (id, _) = server.accept();
            server.rings.close(id);
            server.turn();
            client.read_to_end(&mut Vec::new()).unwrap();
        }
        server.until(|server| server.rings.taken_slots() == 1 + server.rings.accepts_under_way());
    }
}

/// Its client sends all the time: what the ring has received and what the next owner reads are
/// together what was sent, in its order, wherever the receive was when it was cancelled.
#[test]
fn a_connection_that_is_handed_over_loses_nothing() {
    for config in with_each_kind(&small()) {
        let mut server = Server::new(config);
        for round in 0..20 {
            let sent = pattern(round, 300_000);
            let mut client = server.connect();
            let (id, _) = server.accept();
            let bytes = sent.clone();
            let sending = std::thread::spawn(move || {
                let sizes = 100 + round * 97;
                bytes.chunks(sizes).for_each(|chunk| client.write_all(chunk).unwrap());
                client.shutdown(Shutdown::Write).unwrap();
                client.read_to_end(&mut Vec::new()).unwrap();
            });
            server.until(|server| server.received(id).len() > round * 1_000);
            server.rings.hand_over(id);
            server.rings.hand_over(id);
            server.rings.release(id);
            server.until(|server| !server.handed_over.is_empty());
            let (given, socket) = server.handed_over.remove(0);
            assert_eq!(given, id);
            let mut stream = TcpStream::from(socket.unwrap());
            let mut bytes = server.received.remove(&id).unwrap();
            stream.read_to_end(&mut bytes).unwrap();
            assert!(bytes == sent, "{} of {} bytes", bytes.len(), sent.len());
            stream.write_all(b"goodbye").unwrap();
            drop(stream);
            // The table lets go of it too.
            server.until(Server::is_empty);
            sending.join().unwrap();
        }
    }
}

#[test]
fn a_connection_that_is_closed_while_it_is_handed_over_is_closed() {
    for config in with_each_kind(&small()) {
        let mut server = Server::new(config);
        for turns in 0..4 {
            let mut client = server.connect();
            let (id, _) = server.accept();
            server.rings.hand_over(id);
            (0..turns).for_each(|_| server.rings.gather());
            server.rings.close(id);
            server.turn();
            client.read_to_end(&mut Vec::new()).unwrap();
            server.until(Server::is_empty);
            assert!(server.handed_over.is_empty());
        }
    }
}

#[test]
fn a_connection_can_not_be_handed_over_without_a_descriptor() {
    in_a_process_of_its_own("a_connection_can_not_be_handed_over_without_a_descriptor", || {
        let mut config = small();
        config.direct_descriptors = abilities().direct_descriptors;
        if !config.direct_descriptors {
            return;
        }
        let mut server = Server::new(config);
        let mut client = server.connect();
        let (id, _) = server.accept();
        let before = leave_descriptors(0);
        server.rings.hand_over(id);
        server.until(|server| !server.handed_over.is_empty());
        let (_, socket) = server.handed_over.remove(0);
        assert_eq!(socket.unwrap_err().raw_os_error(), Some(libc::EMFILE));
        set_descriptors(before);
        server.rings.close(id);
        server.turn();
        client.read_to_end(&mut Vec::new()).unwrap();
        server.until(Server::is_empty);
    });
}

/// A shard that ends asks for its connections to be closed and does not look at the rings again.
#[test]
fn all_connections_end_with_the_rings() {
    for config in with_each_kind(&small()) {
        let mut server = Server::new(config);
        let clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
        let ids = server.accept_from(&clients);
        // One whose close is under way, one whose close nobody has submitted, one who is open, and
        // one of whom the shard has not heard.
        server.rings.close(ids[0]);
        let unknown = server.connect();
        server.rings.gather();
        server.rings.close(ids[1]);
        drop(server);
        for mut client in clients.into_iter().chain([unknown]) {
            // Who was not accepted yet is cut off with the listener.
            match client.read_to_end(&mut Vec::new()) {
                Ok(0) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                result => panic!("{result:?}"),
            }
        }
    }
}

#[test]
fn bytes_arrive_in_order() {
    for config in with_each_kind(&small()) {
        let mut server = Server::new(config);
        let mut client = server.connect();
        let (id, _) = server.accept();
        let mut sent = Vec::new();
        for part in 0..200u32 {
            let bytes = pattern(part as usize, 1 + part as usize * 7 % 300);
            client.write_all(&bytes).unwrap();
            sent.extend(bytes);
            if part % 5 == 0 {
                server.turn();
            }
        }
        server.until(|server| server.received(id).len() == sent.len());
        assert!(server.received(id) == sent);
    }
}

#[test]
fn small_messages_of_many_clients_all_arrive() {
    for config in with_each_kind(&small()) {
        let config = Config { connections_per_ring: 256, max_connections: 1000, ..config };
        let mut server = Server::new(config);
        let mut clients: Vec<_> = (0..200).map(|_| server.connect()).collect();
        let ids = server.accept_from(&clients);
        for round in 0..20 {
            for (number, client) in clients.iter_mut().enumerate() {
                client.write_all(&pattern(number * 31 + round, 40)).unwrap();
            }
            server.turn();
        }
        server.until(|server| ids.iter().all(|id| server.received(*id).len() == 20 * 40));
        for (number, id) in ids.iter().enumerate() {
            let sent: Vec<u8> =
                (0..20).flat_map(|round| pattern(number * 31 + round, 40)).collect();
            assert!(server.received(*id) == sent, "client {number}");
        }
    }
}

#[test]
fn what_the_shard_sends_arrives() {
    let mut server = Server::new(small());
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    let ids = server.accept_from(&clients);
    let bytes: Vec<_> = (0..3).map(|number| pattern(number, 1000)).collect();
    let mut unsent = Vec::new();
    let sends = ids.iter().copied().zip(bytes.iter().map(Vec::as_slice));
    server.rings.send(sends, &mut unsent, None);
    assert_eq!(unsent, []);
    for (client, bytes) in clients.iter_mut().zip(&bytes) {
        let mut read = vec![0; 1000];
        client.read_exact(&mut read).unwrap();
        assert!(read == *bytes);
    }
}

#[test]
fn a_slow_reader_gets_the_rest_when_he_takes_bytes_again() {
    let mut server = Server::new(small());
    let slow = server.connect();
    let mut other = server.connect();
    let ids = server.accept_from(&[slow.try_clone().unwrap(), other.try_clone().unwrap()]);
    let bytes = pattern(3, 20 << 20);
    let mut unsent = Vec::new();
    server.rings.send([(ids[0], &bytes[..]), (ids[1], b"quick")].into_iter(), &mut unsent, None);

    // Twenty megabytes are more than the sockets hold, five bytes are not.
    let [Unsent { id, mut written, broken: false }] = unsent[..] else { panic!("{unsent:?}") };
    assert_eq!(id, ids[0]);
    assert!(written > 0 && written < bytes.len());
    let mut quick = [0; 5];
    other.read_exact(&mut quick).unwrap();
    assert_eq!(&quick, b"quick");

    let length = bytes.len();
    let reader = std::thread::spawn(move || {
        let mut slow = slow;
        let mut read = vec![0; length];
        slow.read_exact(&mut read).unwrap();
        read
    });
    while written < bytes.len() {
        server.rings.await_writable(id);
        server.rings.await_writable(id);
        server.until(|server| server.writable.contains(&id));
        assert_eq!(server.writable, [id], "asked for twice, told once");
        server.writable.clear();
        unsent.clear();
        server.rings.send([(id, &bytes[written..])].into_iter(), &mut unsent, None);
        match unsent[..] {
            [] => written = bytes.len(),
            [Unsent { written: more, broken: false, .. }] => written += more,
            _ => panic!("{unsent:?}"),
        }
    }
    assert!(reader.join().unwrap() == bytes);
}

#[test]
fn unsent_are_in_the_order_of_the_sends() {
    // On four rings, more refusals than a completion queue has room for.
    let config = Config { connections_per_ring: 20, ..tight() };
    let mut server = Server::new(config);
    let clients: Vec<_> = (0..80).map(|_| server.connect()).collect();
    let ids = server.accept_from(&clients);
    assert!(server.rings.ring_count() >= 4);
    let bytes = pattern(1, 6 << 20);
    let order: Vec<_> = (0..80).map(|n| ids[n * 37 % 80]).collect();
    let mut unsent = Vec::new();
    server.rings.send(order.iter().map(|id| (*id, &bytes[..])), &mut unsent, None);
    assert_eq!(unsent.iter().map(|unsent| unsent.id).collect::<Vec<_>>(), order);
    assert!(unsent.iter().all(|unsent| !unsent.broken && unsent.written < bytes.len()));

    // An id that is void is broken, at its place.
    server.rings.close(order[7]);
    let mut unsent = Vec::new();
    server.rings.send(order.iter().map(|id| (*id, &bytes[..])), &mut unsent, None);
    let told: Vec<_> = unsent.iter().map(|unsent| (unsent.id, unsent.broken)).collect();
    let expected: Vec<_> = order.iter().map(|id| (*id, *id == order[7])).collect();
    assert_eq!(told, expected);
}

#[test]
fn completions_that_come_while_sending_are_kept() {
    let mut server = Server::new(tight());
    let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    let ids = server.accept_from(&clients);
    for client in &mut clients {
        client.write_all(b"ping").unwrap();
    }
    let bytes = pattern(1, 6 << 20);
    let mut unsent = Vec::new();
    for _ in 0..20 {
        server.rings.send(ids.iter().map(|id| (*id, &bytes[..])), &mut unsent, None);
        server.rings.gather();
    }
    assert_eq!(unsent.len(), 20 * 8);
    server.until(|server| ids.iter().all(|id| server.received(*id) == b"ping"));
}

#[test]
fn a_panic_while_sending_leaves_nothing_behind() {
    let mut server = Server::new(small());
    let mut client = server.connect();
    let (id, _) = server.accept();
    let rings = &mut server.rings;
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let bytes = pattern(9, 100);
        let sends = (0..).map(|n| if n < 2 { (id, &bytes[..]) } else { panic!("on purpose") });
        rings.send(sends, &mut Vec::new(), None);
    }));
    assert!(panicked.is_err());
    // What came before the panic was sent while its bytes were there.
    let mut read = [0; 200];
    client.read_exact(&mut read).unwrap();
    assert!(read[..100] == pattern(9, 100)[..] && read[100..] == read[..100]);
    let mut unsent = Vec::new();
    server.rings.send([(id, &b"more"[..])].into_iter(), &mut unsent, None);
    assert_eq!(unsent, []);
    client.read_exact(&mut read[..4]).unwrap();
    assert_eq!(&read[..4], b"more");
}

#[test]
fn a_half_closed_client_still_reads() {
    let mut server = Server::new(small());
    let mut client = server.connect();
    let (id, _) = server.accept();
    client.write_all(b"last words").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    server.until(|server| !server.ended.is_empty());
    assert_eq!(server.ended, [(id, None)]);
    assert_eq!(server.received(id), b"last words");

    let mut unsent = Vec::new();
    server.rings.send([(id, &b"farewell"[..])].into_iter(), &mut unsent, None);
    assert_eq!(unsent, []);
    server.rings.close(id);
    let mut read = Vec::new();
    server.drive(|| assert!(client.read_to_end(&mut read).is_ok()));
    assert_eq!(read, b"farewell");
}

#[test]
fn a_reset_ends_the_connection_with_its_error() {
    let mut server = Server::new(small());
    let client = server.connect();
    let (id, _) = server.accept();
    let socket = socket2::Socket::from(client);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    drop(socket);
    server.until(|server| !server.ended.is_empty());
    assert_eq!(server.ended, [(id, Some(libc::ECONNRESET))]);

    let mut unsent = Vec::new();
    server.rings.send([(id, &b"hello"[..])].into_iter(), &mut unsent, None);
    assert_eq!(unsent, [Unsent { id, written: 0, broken: true }]);
    server.rings.close(id);
    server.until(Server::is_empty);
}

#[test]
fn shutdown_ends_what_the_client_reads() {
    let mut server = Server::new(small());
    let mut client = server.connect();
    let (id, _) = server.accept();
    let mut unsent = Vec::new();
    server.rings.send([(id, &b"the end"[..])].into_iter(), &mut unsent, None);
    server.rings.shutdown(id);
    let mut read = Vec::new();
    server.drive(|| assert!(client.read_to_end(&mut read).is_ok()));
    assert_eq!(read, b"the end");
    client.write_all(b"understood").unwrap();
    drop(client);
    server.until(|server| server.ended == [(id, None)]);
    assert_eq!(server.received(id), b"understood");
    server.rings.close(id);
    server.until(Server::is_empty);
}

#[test]
fn a_closed_slot_is_used_again_in_a_new_generation() {
    let config = Config { connections_per_ring: 1, max_connections: 1, ..small() };
    let mut server = Server::new(config);
    let mut before = None;
    for round in 0..20 {
        let mut client = server.connect();
        let (id, _) = server.accept();
        assert_eq!((id.ring(), id.slot()), (0, 0));
        assert_ne!(Some(id), before);
        // Bytes that are under way when it is closed belong to nobody, least of all to the next.
        client.write_all(b"too late").unwrap();
        if round % 2 == 0 {
            server.rings.await_writable(id);
        }
        server.rings.close(id);
        before = Some(id);
        server.drive(|| {
            let _ = client.read(&mut [0; 8]);
        });
        assert_eq!(server.received(id), b"");
    }
    server.until(Server::is_empty);
}

#[test]
fn a_void_id_does_nothing() {
    let mut server = Server::new(small());
    let _first = server.connect();
    let (id, _) = server.accept();
    server.rings.close(id);
    server.until(Server::is_empty);
    let _second = server.connect();
    let (other, _) = server.accept();
    let unknown = ConnectionId::new(7, 7, 7);
    for void in [id, unknown] {
        server.rings.close(void);
        server.rings.shutdown(void);
        server.rings.await_writable(void);
        let mut unsent = Vec::new();
        server.rings.send([(void, &b"?"[..])].into_iter(), &mut unsent, None);
        assert_eq!(unsent, [Unsent { id: void, written: 0, broken: true }]);
    }
    server.turn();
    assert_eq!(server.rings.open_connections(), 1);
    assert!(server.writable.is_empty() && server.ended.is_empty());
    server.rings.close(other);
    server.until(Server::is_empty);
}

#[test]
fn clients_are_spread_over_as_many_rings_as_they_need() {
    let config = Config { connections_per_ring: 8, accepts: 5, ..small() };
    let mut server = Server::new(config);
    let mut clients: Vec<_> = (0..30).map(|_| server.connect()).collect();
    let ids = server.accept_from(&clients);
    server.turn();
    assert_eq!(server.rings.ring_count(), 5, "four for thirty clients, one for those to come");
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(&pattern(number, 50)).unwrap();
    }
    // Woken by every ring: each waits asleep.
    server.until(|server| ids.iter().all(|id| server.received(*id).len() == 50));
    for (number, id) in ids.iter().enumerate() {
        assert!(server.received(*id) == pattern(number, 50));
    }
    let bytes = pattern(5, 500);
    server.rings.send(ids.iter().map(|id| (*id, &bytes[..])), &mut Vec::new(), None);
    for client in &mut clients {
        let mut read = vec![0; 500];
        client.read_exact(&mut read).unwrap();
        assert!(read == bytes);
    }
    ids.iter().for_each(|id| server.rings.close(*id));
    server.until(Server::is_empty);
    // The free slots are used before another ring is set up.
    let clients: Vec<_> = (0..30).map(|_| server.connect()).collect();
    server.accept_from(&clients);
    assert_eq!(server.rings.ring_count(), 5);
}

/// After a burst, descriptors, locked memory and buffers go back. An id of a ring that is gone
/// finds nobody on the one that has its place later.
#[test]
fn rings_that_nobody_needs_are_taken_down() {
    let config = Config {
        connections_per_ring: 4,
        accepts: 2,
        spare_ring_stays: Duration::from_millis(20),
        ..small()
    };
    let mut server = Server::new(config);
    let mut before = Vec::new();
    for _ in 0..3 {
        let mut clients: Vec<_> = (0..10).map(|_| server.connect()).collect();
        let ids = server.accept_from(&clients);
        assert!(server.rings.ring_count() >= 3);
        assert!(ids.iter().all(|id| !before.contains(id)), "{ids:?} after {before:?}");
        for id in &before {
            let mut unsent = Vec::new();
            server.rings.send([(*id, &b"?"[..])].into_iter(), &mut unsent, None);
            assert_eq!(unsent, [Unsent { id: *id, written: 0, broken: true }]);
            server.rings.close(*id);
        }
        let bytes = pattern(7, 100);
        server.rings.send(ids.iter().map(|id| (*id, &bytes[..])), &mut Vec::new(), None);
        for client in &mut clients {
            let mut read = [0; 100];
            client.read_exact(&mut read).unwrap();
            assert!(read == bytes[..]);
        }
        ids.iter().for_each(|id| server.rings.close(*id));
        // Nothing else wakes the shard for it.
        server.until(|server| server.rings.ring_count() == 1);
        assert!(server.is_empty());
        before.extend(ids);
    }
}

/// The slots that are free when all others are taken are the last ones, and an accept waits on each
/// of them. When everybody has gone, the next client shall not make the tables as long as they were.
#[test]
fn after_a_storm_clients_come_to_the_front_of_the_table() {
    in_a_process_of_its_own("after_a_storm_clients_come_to_the_front_of_the_table", || {
        set_descriptors(4_000);
        let config = Config { connections_per_ring: 2_000, max_connections: 2_000, ..small() };
        let mut server = Server::new(config);
        let mut clients = Vec::new();
        for _ in 0..11 {
            clients.extend((0..100).map(|_| server.connect()));
            server.until(|server| server.accepted.len() == clients.len());
        }
        let ids: Vec<_> = server.accepted.drain(..).map(|(id, _)| id).collect();
        ids.iter().for_each(|id| server.rings.close(*id));
        server.until(Server::is_empty);
        server.until(|server| server.rings.last_taken_slot() < Some(4));
        let _client = server.connect();
        assert!(server.accept().0.slot() < 4);
        assert_eq!(server.failed, 0);
    });
}

#[test]
fn a_ring_stays_as_long_as_one_client_does() {
    let config = Config {
        connections_per_ring: 4,
        accepts: 2,
        spare_ring_stays: Duration::from_millis(1),
        ..small()
    };
    let mut server = Server::new(config);
    let clients: Vec<_> = (0..10).map(|_| server.connect()).collect();
    let mut ids = server.accept_from(&clients);
    ids.sort_unstable();
    let last = ids.pop().unwrap();
    assert!(last.ring() >= 2);
    ids.iter().for_each(|id| server.rings.close(*id));
    server.until(|server| server.rings.open_connections() == 1);
    server.until(|server| server.rings.ring_count() == last.ring() + 1);
    for _ in 0..5 {
        park(&mut server.rings, Some(Instant::now() + Duration::from_millis(2)), || true);
        server.turn();
    }
    assert_eq!(server.rings.ring_count(), last.ring() + 1);
    server.rings.close(last);
    server.until(|server| server.rings.ring_count() == 1);
}

#[test]
fn without_a_descriptor_for_a_further_ring_clients_wait_for_a_place() {
    in_a_process_of_its_own(
        "without_a_descriptor_for_a_further_ring_clients_wait_for_a_place",
        || {
            let config = Config { connections_per_ring: 4, accepts: 2, ..small() };
            if !config.direct_descriptors {
                // The clients themselves find none before a ring does.
                return;
            }
            let mut server = Server::new(config);
            let clients: Vec<_> = (0..7).map(|_| server.connect()).collect();
            let limit = leave_descriptors(0);
            server.until(|server| server.accepted.len() == 4 && server.failed > 0);
            // It is tried again, and told of once.
            server.until(|server| server.failed > 1);
            assert_eq!((server.news, server.rings.ring_count()), (1, 1));
            let (first, _) = server.accepted[0];
            server.rings.close(first);
            server.until(|server| server.accepted.len() == 5);
            assert_eq!(server.rings.ring_count(), 1);

            set_descriptors(limit);
            server.until(|server| server.accepted.len() == clients.len());
            assert_eq!(server.rings.ring_count(), 2);
        },
    );
}

#[test]
fn without_a_descriptor_for_a_client_clients_wait_for_one() {
    in_a_process_of_its_own("without_a_descriptor_for_a_client_clients_wait_for_one", || {
        // The limit that counts is the one there was when an accept was submitted, so one at a time.
        let config = Config { direct_descriptors: false, accepts: 1, ..small() };
        let mut server = Server::new(config);
        let clients: Vec<_> = (0..6).map(|_| server.connect()).collect();
        leave_descriptors(3);
        server.until(|server| server.accepted.len() == 3 && server.failed > 0);
        let failed = server.failed;
        server.until(|server| server.failed > failed);
        assert_eq!((server.news, server.accepted.len()), (1, 3));
        for gone in 0..3 {
            let (id, _) = server.accepted[gone];
            server.rings.close(id);
            server.until(|server| server.accepted.len() == 4 + gone);
        }
        assert_eq!(server.accepted.len(), clients.len());
    });
}

/// What finds the completion queue full is kept by the kernel, and none of it is lost.
#[test]
fn more_completions_than_the_queue_has_room_for_all_come() {
    for config in with_each_kind(&tight()) {
        let config = Config { connections_per_ring: 256, buffers_per_ring: 256, ..config };
        let mut server = Server::new(config);
        let mut clients: Vec<_> = (0..150).map(|_| server.connect()).collect();
        let ids = server.accept_from(&clients);
        for round in 0..5 {
            for (number, client) in clients.iter_mut().enumerate() {
                client.write_all(&pattern(number + round, 40)).unwrap();
            }
            server.until(|server| {
                ids.iter().all(|id| server.received(*id).len() == 40 * (round + 1))
            });
        }
        assert!(server.has_overflowed, "the test is to overflow the queue");
        for (number, id) in ids.iter().enumerate() {
            let sent: Vec<u8> = (0..5).flat_map(|round| pattern(number + round, 40)).collect();
            assert!(server.received(*id) == sent, "client {number}");
        }
    }
}

#[test]
fn every_ring_wakes_the_shard() {
    let config = Config { connections_per_ring: 2, accepts: 1, ..small() };
    let mut server = Server::new(config);
    let mut clients: Vec<_> = (0..6).map(|_| server.connect()).collect();
    server.accept_from(&clients);
    assert!(server.rings.ring_count() >= 3);
    server.echo = true;
    server.drive(|| {
        for round in 0..300 {
            let client = &mut clients[round % 6];
            client.write_all(b"!").unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
    });
}

#[test]
fn clients_beyond_the_last_slot_wait_and_none_is_lost() {
    let config = Config { connections_per_ring: 4, max_connections: 8, accepts: 3, ..small() };
    let mut server = Server::new(config);
    let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(&[number as u8]).unwrap();
    }
    let mut seen = Vec::<u8>::new();
    while seen.len() < 20 {
        let wanted = (20 - seen.len()).min(8);
        server.until(|server| {
            let received = |(id, _): &(ConnectionId, _)| !server.received(*id).is_empty();
            server.accepted.iter().filter(|it| received(it)).count() == wanted
        });
        assert_eq!(server.rings.open_connections(), wanted);
        assert_eq!(server.rings.accepts_under_way(), if wanted == 8 { 0 } else { 3 });
        for (id, _) in std::mem::take(&mut server.accepted) {
            seen.extend(server.received(id));
            server.rings.close(id);
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..20).collect::<Vec<u8>>());
}

#[test]
fn running_out_of_buffers_delays_and_loses_nothing() {
    let config =
        Config { buffers_per_ring: 2, buffer_size: 64, connections_per_ring: 64, ..small() };
    for config in with_each_kind(&config) {
        let mut server = Server::new(config);
        let mut clients: Vec<_> = (0..40).map(|_| server.connect()).collect();
        let ids = server.accept_from(&clients);
        for (number, client) in clients.iter_mut().enumerate() {
            client.write_all(&pattern(number, 1000)).unwrap();
        }
        server.until(|server| ids.iter().all(|id| server.received(*id).len() == 1000));
        for (number, id) in ids.iter().enumerate() {
            assert!(server.received(*id) == pattern(number, 1000), "client {number}");
        }
        assert!(server.starved > 0, "the test is to run out of buffers");
    }
}

/// After each turn: whose bytes have not all come is waiting for a buffer, or there is more to tell.
#[test]
fn of_whom_something_is_still_to_be_read_is_known() {
    let config = Config { buffers_per_ring: 2, buffer_size: 64, ..tight() };
    for config in with_each_kind(&config) {
        let mut server = Server::new(config);
        let mut clients: Vec<_> = (0..40).map(|_| server.connect()).collect();
        let ids = server.accept_from(&clients);
        // Twice: who has waited once is known not to wait any more.
        for round in 1..=2 {
            for (number, client) in clients.iter_mut().enumerate() {
                client.write_all(&pattern(number, 100)).unwrap();
            }
            let (mut starved, mut untold) = (0, 0);
            let is_unread = |server: &Server, id| server.received(id).len() < round * 100;
            while ids.iter().any(|id| is_unread(&server, *id)) {
                server.turn();
                let unread = ids.iter().filter(|id| is_unread(&server, **id));
                if server.rings.has_told_all() {
                    unread.for_each(|id| assert!(server.rings.is_starved(*id), "{id:?}"));
                    starved += 1;
                } else {
                    untold += 1;
                }
            }
            assert!(starved > 0 && untold > 0, "{starved} and {untold}");
            server.turn();
            assert!(server.rings.has_told_all());
            assert!(!ids.iter().any(|id| server.rings.is_starved(*id)));
        }
    }
}

/// Whoever is armed first takes all buffers there are. When the others went to the end of the line
/// for it, twelve clients that were armed four at a time were served as if they were three.
#[test]
fn of_many_who_send_without_end_everybody_has_his_turn() {
    for config in with_each_kind(&Config { buffers_per_ring: 4, buffer_size: 64, ..small() }) {
        let mut server = Server::new(config.clone());
        let mut clients: Vec<_> = (0..12).map(|_| server.connect()).collect();
        let ids = server.accept_from(&clients);
        for client in &mut clients {
            client.write_all(&[1; 20_000]).unwrap();
        }
        for _ in 0..4 * clients.len() {
            server.turn();
        }
        let served = ids.iter().filter(|id| !server.received(**id).is_empty()).count();
        assert_eq!(served, clients.len(), "{config:?}");
    }
}

#[test]
fn a_closed_connection_that_waits_for_a_buffer_is_forgotten() {
    let config = Config { buffers_per_ring: 1, buffer_size: 16, ..small() };
    let mut server = Server::new(config);
    let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    let ids = server.accept_from(&clients);
    for client in &mut clients {
        client.write_all(&[1; 200]).unwrap();
    }
    server.turn();
    ids.iter().for_each(|id| server.rings.close(*id));
    server.until(Server::is_empty);
}

#[test]
fn stop_accepting_refuses_further_clients_and_keeps_the_others() {
    let mut server = Server::new(small());
    let mut client = server.connect();
    let (id, _) = server.accept();
    server.rings.stop_accepting();
    server.until(|server| server.rings.accepts_under_way() == 0);
    assert_eq!(server.failed, 0);
    assert!(TcpStream::connect(server.address).is_err());
    client.write_all(b"still here").unwrap();
    server.until(|server| server.received(id) == b"still here");
    server.rings.close(id);
    server.until(Server::is_empty);
    assert_eq!(server.rings.taken_slots(), 0);
}

/// Whose handshake ends after clients were turned away has a connection that hears him.
#[test]
fn who_is_connecting_when_others_are_turned_away_is_heard() {
    for config in with_each_kind(&Config { shares_address: true, ..small() }) {
        for (address, host) in [("127.0.0.1:0", "127.0.0.1"), ("[::]:0", "127.0.0.1")] {
            let address = address.parse().unwrap();
            let options = Options { reuse_port: true, ..Options::default() };
            let listener = listener::bind(address, 1, &options).unwrap().remove(0);
            // A handshake goes on until the client has sent something.
            defer_accept(&listener);
            let mut server = Server::of(listener, config.clone());
            let mut client = TcpStream::connect((host, server.address.port())).unwrap();
            server.turn();
            assert!(server.accepted.is_empty());
            assert!(server.rings.turn_away());
            client.write_all(b"first").unwrap();
            let (id, _) = server.accept();
            client.write_all(b"second").unwrap();
            server.until(|server| server.received(id) == b"firstsecond");
            assert_eq!(server.failed, 0);
        }
    }
}

/// Clients are dealt out by chance, so one of the two is full before the other. It has room again
/// when some have gone.
#[test]
fn who_is_full_leaves_clients_to_who_is_not() {
    let config = Config { max_connections: 50, ..small() };
    let address = "127.0.0.1:0".parse().unwrap();
    let listeners = listener::bind(address, 2, &Options::default()).unwrap();
    let gate = Arc::new(gate::Gate::new(&listeners).unwrap());
    let servers = listeners.into_iter().enumerate();
    let mut servers: Vec<_> = servers
        .map(|(shard, listener)| {
            let mut server = Server::of(listener, config.clone());
            server.rings = server.rings.behind(gate.clone(), shard);
            server
        })
        .collect();
    let mut clients = Vec::new();
    for _ in 0..2 {
        while servers.iter().map(|server| server.rings.open_connections()).sum::<usize>() < 100 {
            clients.push(servers[0].connect());
            let accepted = |servers: &[Server]| -> usize {
                servers.iter().map(|server| server.accepted.len()).sum()
            };
            let before = accepted(&servers);
            let deadline = Instant::now() + PATIENCE;
            while accepted(&servers) == before {
                assert!(Instant::now() < deadline, "one waits at a shard that is full");
                servers.iter_mut().for_each(Server::turn);
            }
            servers.iter_mut().for_each(Server::turn);
        }
        // All of one, and he alone is taken: the other stays full.
        for (id, _) in std::mem::take(&mut servers[1].accepted) {
            servers[1].rings.close(id);
        }
        servers[1].until(|server| {
            server.rings.open_connections() == 0 && server.rings.accepts_under_way() > 0
        });
        servers[1].turn();
    }
}

fn defer_accept(listener: &TcpListener) {
    let seconds: libc::c_int = 10;
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT);
    let (value, length) = ((&raw const seconds).cast(), size_of_val(&seconds) as u32);
    let socket = std::os::fd::AsRawFd::as_raw_fd(listener);
    // SAFETY: `value` points at the four bytes this option has.
    assert_eq!(unsafe { libc::setsockopt(socket, level, name, value, length) }, 0);
}

#[test]
fn accepting_goes_on_after_it_failed() {
    let address = "127.0.0.1:0".parse().unwrap();
    let listener = listener::bind(address, 1, &Options::default()).unwrap().remove(0);
    let spoiler = socket2::Socket::from(listener.try_clone().unwrap());
    let mut server = Server::of(listener, small());
    spoiler.shutdown(Shutdown::Both).unwrap();
    server.until(|server| server.failed > 0 && server.rings.accepts_under_way() == 0);
    assert_eq!(server.failed, 4, "each accept fails once, and then it rests");
    // It has given its port back, and gets another.
    spoiler.listen(16).unwrap();
    server.address = spoiler.local_addr().unwrap().as_socket().unwrap();
    let client = server.connect();
    let (_, peer) = server.accept();
    assert_eq!(peer, client.local_addr().unwrap());
}

#[test]
fn received_bytes_may_be_changed_in_place() {
    let mut server = Server::new(small());
    let mut client = server.connect();
    server.accept();
    client.write_all(b"masked").unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline);
        server.rings.gather();
        if let Some(Completion::Received { bytes, .. }) = server.rings.next_completion() {
            bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
            let changed: Vec<u8> = b"masked".iter().map(|byte| byte ^ 0x55).collect();
            assert_eq!(bytes, changed);
            return;
        }
    }
}

/// The whole of it on a thread of its own, as the server does it. Run by a user without
/// `CAP_IPC_LOCK`, it also shows that a shard starts within [`kernel::MEMLOCK_OF_A_SHARD`].
#[test]
fn a_shard_echoes_on_a_thread_of_its_own() {
    let abilities = kernel::check(&kernel::Kernel::probe(), 1).unwrap();
    let config = Config::for_kernel(&abilities);
    let address = "127.0.0.1:0".parse().unwrap();
    let listener = listener::bind(address, 1, &Options::default()).unwrap().remove(0);
    let address = listener.local_addr().unwrap();
    let doorbell = Arc::new(Doorbell::new().unwrap());
    let stop = Arc::new(AtomicBool::new(false));

    let (bell, stopped) = (Arc::clone(&doorbell), Arc::clone(&stop));
    let shard = spawn_shard(Some(cpu::for_shards(Some(1))[0]), "echo", move || async move {
        let mut rings = Rings::new(&config, listener, bell).unwrap();
        let mut echoed = 0;
        while !stopped.load(Ordering::Acquire) {
            rings.gather();
            let mut echoes = Vec::new();
            while let Some(completion) = rings.next_completion() {
                if let Completion::Received { id, bytes } = completion {
                    echoes.push((id, bytes.to_vec()));
                }
            }
            for (id, bytes) in echoes {
                echoed += bytes.len();
                rings.send([(id, &bytes[..])].into_iter(), &mut Vec::new(), None);
            }
            rings.park(None, || !stopped.load(Ordering::Acquire));
        }
        echoed
    })
    .unwrap();

    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    for round in 0..100 {
        let bytes = pattern(round, 1000);
        client.write_all(&bytes).unwrap();
        let mut read = vec![0; 1000];
        client.read_exact(&mut read).unwrap();
        assert!(read == bytes);
    }
    stop.store(true, Ordering::Release);
    doorbell.ring();
    assert_eq!(shard.join().unwrap(), 100_000);
}

#[test]
fn no_ring_of_the_doorbell_is_lost() {
    let mut server = Server::new(small());
    hand_off(&mut server, 100_000);
}

#[test]
fn no_ring_of_the_doorbell_is_lost_among_several_rings() {
    // The rings beyond the first write the same eventfd, which ends the poll of it now and then.
    let config = Config { connections_per_ring: 2, accepts: 2, ..small() };
    let mut server = Server::new(config);
    let mut clients: Vec<_> = (0..6).map(|_| server.connect()).collect();
    let ids = server.accept_from(&clients);
    assert!(server.rings.ring_count() >= 3);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Paced by the echo: what comes back was seen.
        let chatter = scope.spawn(|| {
            let mut rounds = 0;
            while !stop.load(Ordering::Relaxed) {
                for client in &mut clients {
                    client.write_all(b"!").unwrap();
                }
                for client in &mut clients {
                    client.read_exact(&mut [0]).unwrap();
                }
                rounds += 1;
            }
            rounds
        });
        server.echo = true;
        hand_off(&mut server, 4_000);
        stop.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + PATIENCE;
        while !chatter.is_finished() {
            assert!(Instant::now() < deadline, "the clients wait for an echo");
            park(&mut server.rings, Some(Instant::now() + Duration::from_millis(5)), || true);
            server.turn();
        }
        assert!(chatter.join().unwrap() > 0);
    });
    ids.iter().for_each(|id| server.rings.close(*id));
}

/// Has another thread hand over `count` things, each after the one before was seen, so that the
/// shard is about to park, parked or just awake when the next comes.
fn hand_off(server: &mut Server, count: u32) {
    let inbox = AtomicU32::new(0);
    let doorbell = Arc::clone(&server.doorbell);
    let seen = AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut pause = 1u32;
            for number in 1..=count {
                // Of a different length each time, to meet the shard everywhere.
                pause = pause.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (0..pause >> 23).for_each(|_| std::hint::spin_loop());
                inbox.store(number, Ordering::Release);
                doorbell.ring();
                let deadline = Instant::now() + PATIENCE;
                while seen.load(Ordering::Acquire) < number {
                    if Instant::now() > deadline {
                        return;
                    }
                    std::thread::yield_now();
                }
            }
        });
        let mut last = 0;
        let mut deadline = Instant::now() + PATIENCE;
        while last < count {
            assert!(Instant::now() < deadline, "asleep with {last} of {count} seen");
            park(&mut server.rings, Some(deadline), || inbox.load(Ordering::Acquire) == last);
            server.turn();
            let next = inbox.load(Ordering::Acquire);
            if next != last {
                // One that is lost is told from many that take their time.
                deadline = Instant::now() + PATIENCE;
            }
            last = next;
            seen.store(last, Ordering::Release);
        }
    });
}

/// So many that the difference shows whatever else the machine does.
#[test]
fn who_sleeps_in_a_ring_does_not_wait_for_a_disk() {
    const SLEEPERS: usize = 64;
    if !io_uring::IoUring::new(1).unwrap().params().is_feature_no_iowait() {
        return; // Nothing can be done before Linux 6.15.
    }
    let blocked = || {
        let stat = std::fs::read_to_string("/proc/stat").unwrap();
        let count = stat.lines().find_map(|line| line.strip_prefix("procs_blocked "));
        count.unwrap().parse::<usize>().unwrap()
    };
    let samples = || {
        (0..50).map(|_| {
            std::thread::sleep(Duration::from_millis(1));
            blocked()
        })
    };
    let before = samples().max().unwrap();
    let (asleep, awake) = (AtomicU32::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (asleep, awake) = (&asleep, &awake);
        let (sender, doorbells) = std::sync::mpsc::channel();
        for _ in 0..SLEEPERS {
            let sender = sender.clone();
            scope.spawn(move || {
                let mut server = Server::new(small());
                sender.send(server.doorbell.clone()).unwrap();
                while !awake.load(Ordering::Acquire) {
                    let is_idle = || {
                        asleep.fetch_add(1, Ordering::AcqRel);
                        !awake.load(Ordering::Acquire)
                    };
                    park(&mut server.rings, None, is_idle);
                    server.turn();
                }
            });
        }
        let doorbells: Vec<Arc<Doorbell>> = doorbells.iter().take(SLEEPERS).collect();
        while asleep.load(Ordering::Acquire) < SLEEPERS as u32 {
            std::thread::yield_now();
        }
        let during = samples().min().unwrap();
        awake.store(true, Ordering::Release);
        doorbells.iter().for_each(|doorbell| doorbell.ring());
        assert!(during < before + SLEEPERS / 2, "blocked: {before} before, {during} during");
    });
}

#[test]
fn parking_ends_at_the_given_instant() {
    let mut server = Server::new(small());
    server.turn();
    let until = Instant::now() + Duration::from_millis(20);
    while Instant::now() < until {
        park(&mut server.rings, Some(until), || true);
    }
    // One that is past does not sleep at all, and neither does one who is not idle.
    park(&mut server.rings, Some(until), || true);
    park(&mut server.rings, None, || false);
}

#[test]
fn parking_returns_while_anything_is_ready() {
    let mut server = Server::new(small());
    let _client = server.connect();
    park(&mut server.rings, None, || true);
    // It is ready, and nobody has taken it yet.
    park(&mut server.rings, None, || true);
    server.turn();
    assert_eq!(server.accepted.len(), 1);
}

/// A shard that writes down what happens to it.
struct Server {
    rings: Rings,
    doorbell: Arc<Doorbell>,
    address: SocketAddr,
    accepted: Vec<(ConnectionId, SocketAddr)>,
    received: std::collections::HashMap<ConnectionId, Vec<u8>>,
    ended: Vec<(ConnectionId, Option<i32>)>,
    writable: Vec<ConnectionId>,
    handed_over: Vec<(ConnectionId, std::io::Result<OwnedFd>)>,
    failed: usize,
    /// How many of these failures are to be told of.
    news: usize,
    /// A completion queue was found full.
    has_overflowed: bool,
    /// What is received is sent back.
    echo: bool,
    /// How often a connection was found waiting for a buffer.
    starved: usize,
}

impl Server {
    fn new(config: Config) -> Self {
        Self::at("127.0.0.1:0", config)
    }

    fn at(address: &str, config: Config) -> Self {
        let address = address.parse().unwrap();
        Self::of(listener::bind(address, 1, &Options::default()).unwrap().remove(0), config)
    }

    fn of(listener: TcpListener, config: Config) -> Self {
        let address = listener.local_addr().unwrap();
        let doorbell = Arc::new(Doorbell::new().unwrap());
        Self {
            rings: Rings::new(&config, listener, Arc::clone(&doorbell)).unwrap(),
            doorbell,
            address,
            accepted: Vec::new(),
            received: std::collections::HashMap::new(),
            ended: Vec::new(),
            writable: Vec::new(),
            handed_over: Vec::new(),
            failed: 0,
            news: 0,
            has_overflowed: false,
            echo: false,
            starved: 0,
        }
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// The next client that was not asked for yet.
    fn accept(&mut self) -> (ConnectionId, SocketAddr) {
        self.until(|server| !server.accepted.is_empty());
        self.accepted.remove(0)
    }

    /// The ids of these clients, in their order.
    fn accept_from(&mut self, clients: &[TcpStream]) -> Vec<ConnectionId> {
        self.until(|server| server.accepted.len() >= clients.len());
        let accepted = std::mem::take(&mut self.accepted);
        let id_of = |client: &TcpStream| {
            let address = client.local_addr().unwrap();
            accepted.iter().find(|(_, peer)| *peer == address).expect("each was accepted").0
        };
        clients.iter().map(id_of).collect()
    }

    fn received(&self, id: ConnectionId) -> &[u8] {
        self.received.get(&id).map_or(&[], Vec::as_slice)
    }

    /// No connection holds a slot or a buffer, not even one that is going.
    fn is_empty(&self) -> bool {
        self.rings.open_connections() == 0
            && self.rings.taken_slots() == self.rings.accepts_under_way()
    }

    fn turn(&mut self) {
        self.rings.gather();
        self.has_overflowed |= self.rings.has_overflow();
        let mut echoes = Vec::new();
        while let Some(completion) = self.rings.next_completion() {
            match completion {
                Completion::Accepted { id, peer } => self.accepted.push((id, peer)),
                Completion::AcceptFailed { is_news, .. } => {
                    self.failed += 1;
                    self.news += usize::from(is_news);
                }
                Completion::Received { id, bytes } => {
                    if self.echo {
                        echoes.push((id, bytes.to_vec()));
                    } else {
                        self.received.entry(id).or_default().extend_from_slice(bytes);
                    }
                }
                Completion::Ended { id, error } => {
                    self.ended.push((id, error.and_then(|error| error.raw_os_error())));
                }
                Completion::Writable { id } => self.writable.push(id),
                Completion::HandedOver { id, socket } => self.handed_over.push((id, socket)),
            }
        }
        let mut unsent = Vec::new();
        self.rings.send(echoes.iter().map(|(id, bytes)| (*id, &bytes[..])), &mut unsent, None);
        assert_eq!(unsent, []);
        self.starved += self.rings.starved();
    }

    /// Turns, and sleeps in between, until `condition` holds.
    fn until(&mut self, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(Instant::now() < deadline, "it never happens");
            park(&mut self.rings, Some(deadline), || true);
            self.turn();
        }
    }

    /// Turns while `client` runs on a thread of its own.
    fn drive(&mut self, client: impl FnOnce() + Send) {
        let doorbell = Arc::clone(&self.doorbell);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                client();
                done.store(true, Ordering::Release);
                doorbell.ring();
            });
            let deadline = Instant::now() + PATIENCE;
            while !done.load(Ordering::Acquire) {
                assert!(Instant::now() < deadline, "the client never ends");
                park(&mut self.rings, Some(deadline), || !done.load(Ordering::Acquire));
                self.turn();
            }
        });
    }
}

/// `Rings::park` without an executor.
fn park(rings: &mut Rings, until: Option<Instant>, idle: impl Fn() -> bool) {
    rings.park(until, idle);
}

/// Runs `act` in a process of its own, where limits may be lowered: this binary, with this test
/// alone.
fn in_a_process_of_its_own(test: &str, act: impl FnOnce()) {
    const ALONE: &str = "SIMURGH_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return act();
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args([&format!("io::tests::{test}"), "--exact", "--nocapture"]).env(ALONE, "1");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{complained}");
}

/// Lowers the limit so that so many further descriptors can be had, and says what it was.
fn leave_descriptors(count: usize) -> libc::rlim_t {
    // The lowest that are free are the next.
    let next: Vec<_> = (0..=count).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    let highest = next.iter().map(std::os::fd::AsRawFd::as_raw_fd).max().unwrap();
    set_descriptors(highest as libc::rlim_t)
}

/// Sets the soft limit of descriptors, and says what it was.
fn set_descriptors(count: libc::rlim_t) -> libc::rlim_t {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is what this call writes.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    let before = std::mem::replace(&mut limit.rlim_cur, count);
    // SAFETY: `limit` is what this call reads.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    before
}

/// Small rings, otherwise as this kernel can have them.
fn small() -> Config {
    Config {
        connections_per_ring: 100,
        max_connections: 1000,
        buffers_per_ring: 16,
        buffer_size: 256,
        incremental_buffers: false,
        accepts: 4,
        ..Config::for_kernel(&abilities())
    }
}

/// Small rings whose queues overflow at once.
fn tight() -> Config {
    let queues = Queues { submission: 8, completion: 16 };
    Config { first_queues: queues, further_queues: queues, ..small() }
}

/// The same with all kinds of buffers and sockets that a shard would use here: an older kernel has
/// some of them not, or not so that they can be relied on.
fn with_each_kind(config: &Config) -> Vec<Config> {
    let mut kinds = vec![Config { direct_descriptors: false, ..config.clone() }];
    if abilities().direct_descriptors {
        kinds.push(config.clone());
    }
    if abilities().incremental_buffers {
        kinds.push(Config { incremental_buffers: true, ..config.clone() });
    }
    kinds
}

fn abilities() -> kernel::Abilities {
    kernel::check(&kernel::Kernel::probe(), 1).unwrap()
}

/// Bytes that are wrong when they are somewhere else.
fn pattern(seed: usize, length: usize) -> Vec<u8> {
    let mut state = seed as u32 ^ 0x9e37_79b9;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

const PATIENCE: Duration = Duration::from_secs(20);
