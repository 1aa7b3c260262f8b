//! Requests that are for no mount and no route, handed to the application's own server.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::mpsc;
use std::thread;

use serde_json::json;
use simurgh::testing::raw::UPGRADE;
use simurgh::testing::{Client, Server};
use simurgh::{Builder, Endpoint, FallbackListener, Response, Stream};

use crate::app::{self, App};
use crate::support::{Raw, get};

/// Answers each request of a stream with its path and the bytes of its body, until it ends.
fn serve(stream: Stream) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if stream.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let told = format!("{} {}", first.split(' ').nth(1).unwrap(), body.len());
        let head = format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n", told.len());
        let stream = stream.get_mut();
        stream.write_all(format!("{head}{told}").as_bytes()).unwrap();
    }
}

fn serve_all(mut listener: FallbackListener) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        let mut streams = 0;
        while let Some(stream) = listener.blocking_accept() {
            streams += 1;
            thread::spawn(move || serve(stream));
        }
        streams
    })
}

fn endpoint() -> Builder<App> {
    app::endpoint(&App::default()).get("/route", |_| Response::html("ours"))
}

#[test]
fn what_is_for_nobody_is_the_applications_with_its_body_and_all_that_follows() {
    for shards in [1, 2] {
        let (endpoint, listener) = endpoint().fallback_listener();
        let server = Server::start(endpoint, shards);
        let serving = serve_all(listener);
        let mut raw = Raw::connect(server.addr(shards - 1));
        // What is asked before is answered here, on the same connection and even in the same bytes.
        raw.send(get("/route", &[]));
        assert_eq!(raw.answer().body, "ours");
        raw.send(get("/route", &[]) + &get("/theirs?a=b", &[]) + &get("/theirs/2", &[]));
        assert_eq!(raw.answer().body, "ours");
        assert_eq!(raw.answer().body, "/theirs?a=b 0");
        assert_eq!(raw.answer().body, "/theirs/2 0");
        // From there on it is theirs, whatever it asks for.
        raw.send(get("/route", &[]));
        assert_eq!(raw.answer().body, "/route 0");
        server.await_counts(|counts| counts.iter().all(|counts| counts.connections == 0));
        // A body that is larger than any buffer, of a client that sends at once and in pieces.
        let body = 3_000_000;
        let head = format!("POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: {body}\r\n\r\n");
        let mut whole = Raw::connect(server.addr(0));
        whole.send(head.clone() + &"x".repeat(body));
        assert_eq!(whole.answer().body, format!("/upload {body}"));
        let mut cut = Raw::connect(server.addr(0));
        head.as_bytes().iter().for_each(|byte| cut.send([*byte]));
        (0..body / 100_000).for_each(|_| cut.send("x".repeat(100_000)));
        assert_eq!(cut.answer().body, format!("/upload {body}"));
        // Sockets are not disturbed.
        let mut client = Client::connect(server.addr(0), "/socket").unwrap();
        assert!(client.join("room:a", json!({})).unwrap().is_ok());
        drop(client);
        // An upgrade for no mount is theirs as well.
        let mut upgrade = Raw::connect(server.addr(0));
        upgrade.send(get("/elsewhere/websocket", &UPGRADE));
        assert_eq!(upgrade.answer().body, "/elsewhere/websocket 0");
        server.await_rest();
        server.stop();
        assert_eq!(serving.join().unwrap(), 4);
        // What was handed over goes on without the endpoint.
        raw.send(get("/still", &[]));
        assert_eq!(raw.answer().body, "/still 0");
    }
}

#[test]
fn a_route_and_a_mount_are_ours_whatever_is_asked_of_them() {
    let (endpoint, listener) = endpoint().fallback_listener();
    let server = Server::start(endpoint, 1);
    let serving = serve_all(listener);
    for (request, status) in [
        (get("/route", &[]).replacen("GET", "POST", 1), 405),
        (get("/socket/websocket", &[]).replacen("GET", "POST", 1), 400),
        (get("/route", &["content-length: 3"]) + "abc", 413),
        ("nonsense\r\n\r\n".to_owned(), 400),
    ] {
        let mut raw = Raw::connect(server.addr(0));
        raw.send(request);
        assert_eq!(raw.answer().status, status);
    }
    server.await_rest();
    server.stop();
    assert_eq!(serving.join().unwrap(), 0);
}

#[test]
fn past_the_queue_and_without_a_reader_it_is_503() {
    let limits = app::limits(|limits| limits.max_fallback_queue = 2);
    let (endpoint, mut listener) = endpoint().limits(limits).fallback_listener();
    assert!(listener.local_addr().is_err());
    let server = Server::start(endpoint, 1);
    assert_eq!(listener.local_addr().unwrap(), server.addr(0));
    let ask = || {
        let mut raw = Raw::connect(server.addr(0));
        raw.send(get("/theirs", &[]));
        raw
    };
    let mut waiting = [ask(), ask()];
    server.await_counts(|counts| counts[0].accepted == 2 && counts[0].connections == 0);
    let refused = ask().answer();
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("10")));
    server.await_counts(|counts| counts[0].refused_connections == 1);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let stream = runtime.block_on(listener.accept()).unwrap();
    assert_eq!(stream.local_addr().unwrap(), server.addr(0));
    let serving = thread::spawn(move || serve(stream));
    assert_eq!(waiting[0].answer().body, "/theirs 0");
    drop(listener);
    assert_eq!(waiting[1].answer().status, 503);
    assert_eq!(ask().answer().status, 503);
    drop(waiting);
    serving.join().unwrap();
    server.await_rest();
}

#[test]
fn a_fallback_may_be_a_call_and_its_panic_is_one_clients_affair() {
    let (streams, handed) = mpsc::channel();
    let endpoint = Endpoint::builder(()).fallback(move |stream| {
        assert!(stream.peer_addr().ip().is_loopback());
        streams.send(stream).unwrap();
    });
    let server = Server::start(endpoint, 1);
    let mut raw = Raw::connect(server.addr(0));
    raw.send(get("/", &[]));
    let stream = handed.recv().unwrap();
    let serving = thread::spawn(move || serve(stream));
    assert_eq!(raw.answer().body, "/ 0");
    drop(raw);
    serving.join().unwrap();
    server.await_rest();
    server.stop();

    let server = Server::start(Endpoint::builder(()).fallback(|_| panic!("as told")), 1);
    for _ in 0..2 {
        let mut raw = Raw::connect(server.addr(0));
        raw.send(get("/", &[]));
        raw.end();
    }
    server.await_rest();
}
