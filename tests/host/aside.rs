//! A shard that is held up, beside one that is not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use simurgh::{Endpoint, Response};

use crate::stage;

/// What holds it up is a handler that waits; the kernel would give it half of all clients.
#[test]
fn who_is_held_up_leaves_new_clients_to_the_others() {
    let _alone = stage::alone();
    let (release, released) = mpsc::channel::<()>();
    let (held, is_held) = mpsc::channel();
    let released = std::sync::Mutex::new(released);
    let running = Endpoint::builder(())
        .get("/", |_| Response::new(200))
        .get("/hold", move |_| {
            let _ = held.send(());
            let _ = released.lock().unwrap().recv();
            Response::new(200)
        })
        .shards(2)
        .listen("127.0.0.1:0")
        .start()
        .unwrap();
    // It goes before the server does, should this fail.
    let release = release;
    let addr = running.local_addr();
    let mut waiting = ask(addr, "/hold");
    is_held.recv().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    // A few may still come to stand in its queue, before it is seen that it is held up. They would
    // be half of them for ever.
    let mut unanswered = Vec::new();
    let mut answered = 0;
    while answered < 50 {
        assert!(Instant::now() < deadline, "every other client hangs");
        let mut stream = ask(addr, "/");
        match answer(&mut stream, Duration::from_secs(1)) {
            Some(_) => answered += 1,
            None => {
                answered = 0;
                unanswered.push(stream);
            }
        }
    }
    drop(release);
    for mut stream in unanswered.into_iter().chain([ask(addr, "/")]) {
        assert!(answer(&mut stream, Duration::from_secs(60)).is_some());
    }
    assert!(answer(&mut waiting, Duration::from_secs(60)).is_some());

    // Then both take clients again.
    let accepted = || running.handle().counts().iter().map(|shard| shard.accepted).collect();
    let before: Vec<u64> = accepted();
    while accepted().iter().zip(&before).any(|(now, before)| now == before) {
        assert!(Instant::now() < deadline, "it stands aside for ever");
        assert!(answer(&mut ask(addr, "/"), Duration::from_secs(60)).is_some());
    }
}

fn ask(addr: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// What has come until the end; nothing, if it does not come in time.
fn answer(stream: &mut TcpStream, timeout: Duration) -> Option<String> {
    stream.set_read_timeout(Some(timeout)).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    Some(answer)
}
