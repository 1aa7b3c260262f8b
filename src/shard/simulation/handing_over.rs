//! Connections whose requests are for nobody here, in the hands of a kernel that is slow and mean.

use std::io::Read;
use std::sync::{Arc, Mutex};

use super::kernel::Faults;
use super::world::World;
use crate::testing::Version;

const PAGE: &str = "GET /page HTTP/1.1\r\nhost: here\r\n\r\n";
const THEIRS: &str = "POST /theirs HTTP/1.1\r\nhost: here\r\ncontent-length: 5000\r\n\r\n";

#[test]
fn what_is_handed_over_begins_with_its_request_and_comes_when_all_before_is_answered() {
    for seed in 0..60 {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let streams = taken.clone();
        let mut world =
            World::with_fallback(seed, move |stream| streams.lock().unwrap().push(stream));
        world.kernel(0).faults =
            Faults { cuts: 50, delays: 50, short_sends: 50, stale: 20, ..Faults::default() };
        let pages = seed as usize % 3;
        let sent = format!("{}{THEIRS}{}", PAGE.repeat(pages), "x".repeat(3_000));
        let client = world.dial(0, Version::V2);
        client.pipe.borrow_mut().inbound.extend(sent.as_bytes());
        match seed % 5 {
            // It reads late, ends its side, or breaks off.
            0 => client.pipe.borrow_mut().room = Some(100),
            1 => client.pipe.borrow_mut().end = Some(super::kernel::End::Finished),
            2 => {
                world.step(3);
                let mut client = client;
                client.break_off();
                world.run();
                taken.lock().unwrap().clear();
                world.assert_rest();
                continue;
            }
            _ => {}
        }
        world.run();
        if seed % 5 == 0 && pages > 0 {
            assert!(taken.lock().unwrap().is_empty(), "seed {seed}: an answer is still to be read");
            client.pipe.borrow_mut().room = None;
            world.run();
        }
        let mut stream = taken.lock().unwrap().pop().expect("it was handed over");
        // What the kernel still had is the socket's; the rest was received before.
        let mut ahead = vec![0; sent.len()];
        let size = stream.read(&mut ahead).unwrap();
        let all = &sent[pages * PAGE.len()..];
        assert!(size >= THEIRS.len() && all.as_bytes().starts_with(&ahead[..size]), "seed {seed}");
        let answers = String::from_utf8(client.pipe.borrow().outbound.clone()).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200").count(), pages, "seed {seed}");
        assert!(client.is_closed());
        world.assert_rest();
    }
}
