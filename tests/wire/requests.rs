//! Plain requests: routes, several on a connection, and those that no server should answer well.

use simurgh::testing::Server;
use simurgh::{Endpoint, Param, Response};

use crate::app::{self, App};
use crate::support::{Frame, Raw, get, upgrade};

/// Two routes: one tells what it was asked, the other has headers of its own.
fn routes() -> Server {
    let endpoint = Endpoint::builder(())
        .get("/asked", |request| {
            let agent = request.header("user-agent").unwrap_or("nobody");
            let (method, path, query) = (request.method(), request.path(), request.query());
            Response::new(200).text(format!("{method} {path} {query} {agent}"))
        })
        .get("/params", |request| {
            let params = request.query_params().expect("the query is UTF-8");
            let Some(Param::List(list)) = params.get("list") else { panic!("{params:?}") };
            Response::new(200).text(format!("{:?} {}", params.text("a"), list.len()))
        })
        .get("/gone/", |_| Response::new(410).header("x-reason", "moved").text("nobody here"))
        .get("/panics", |_| panic!("the route panics as it was told to"))
        .get("/", |_| Response::html("home"));
    Server::start(endpoint, 1)
}

#[test]
fn a_route_sees_its_request() {
    let server = routes();
    let mut raw = Raw::connect(server.addr(0));
    raw.send(get("/asked?a=%20&b", &["User-Agent: a test"]));
    let answer = raw.answer();
    assert_eq!((answer.status, answer.body.as_str()), (200, "GET /asked a=%20&b a test"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    raw.send(get("/gone", &[]));
    let answer = raw.answer();
    assert_eq!((answer.status, answer.body.as_str()), (410, "nobody here"));
    assert_eq!(answer.header("x-reason"), Some("moved"));
    // A whole URL stands for its path.
    raw.send(get("http://example.org/asked?c", &[]));
    assert_eq!(raw.answer().body, "GET /asked c nobody");
    drop(raw);
    server.await_rest();
}

#[test]
fn a_route_reads_the_parameters_of_its_query() {
    let server = routes();
    let mut raw = Raw::connect(server.addr(0));
    raw.send(get("/params?a=%20b&list[]=1&list[]=2", &[]));
    assert_eq!(raw.answer().body, "Some(\" b\") 2");
}

#[test]
fn head_is_answered_as_get_but_for_the_body() {
    let server = routes();
    let mut raw = Raw::connect(server.addr(0));
    raw.send(get("/gone", &[]));
    let got = raw.answer();
    raw.send(get("/gone", &[]).replacen("GET", "HEAD", 1));
    let head = raw.answer_to_head();
    assert_eq!((head.status, &head.headers), (got.status, &got.headers));
    // Nothing of a body stands before the next answer.
    raw.send(get("/", &[]));
    assert_eq!(raw.answer().body, "home");
}

#[test]
fn what_is_nowhere_is_404_and_what_takes_no_post_405() {
    let server = routes();
    let mut raw = Raw::connect(server.addr(0));
    for path in ["/nowhere", "/asked/more", "/Asked", "/a%73ked%00", "/../asked"] {
        raw.send(get(path, &[]));
        assert_eq!(raw.answer().status, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"] {
        raw.send(get("/asked", &[]).replacen("GET", method, 1));
        let answer = raw.answer();
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
        raw.send(get("/nowhere", &[]).replacen("GET", method, 1));
        assert_eq!(raw.answer().status, 404, "{method}");
    }
    raw.send("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(raw.answer().status, 404);
}

#[test]
fn a_route_that_panics_is_500_and_the_connection_goes_on() {
    let server = routes();
    let mut raw = Raw::connect(server.addr(0));
    raw.send(get("/panics", &[]));
    assert_eq!(raw.answer().status, 500);
    raw.send(get("/", &[]));
    assert_eq!(raw.answer().body, "home");
}

#[test]
fn requests_sent_at_once_are_answered_in_their_order() {
    let server = routes();
    let mut raw = Raw::connect(server.addr(0));
    let many: String = (0..200).map(|n| get(&format!("/asked?{n}"), &[])).collect();
    raw.send(many);
    for n in 0..200 {
        assert_eq!(raw.answer().body, format!("GET /asked {n} nobody"));
    }
    drop(raw);
    server.await_rest();
}

#[test]
fn the_connection_lives_as_long_as_the_request_says() {
    let server = routes();
    for (request, told) in [
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", None),
        ("GET / HTTP/1.1\r\nhost: a\r\nconnection: Close\r\n\r\n", Some("close")),
        ("GET / HTTP/1.0\r\n\r\n", Some("close")),
        ("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", Some("keep-alive")),
    ] {
        let mut raw = Raw::connect(server.addr(0));
        raw.send(request);
        let answer = raw.answer();
        assert_eq!(answer.body, "home");
        assert_eq!(answer.header("connection"), told, "{request:?}");
        if told != Some("close") {
            raw.send(request);
            assert_eq!(raw.answer().body, "home");
        } else {
            raw.end();
        }
    }
    server.await_rest();
}

#[test]
fn nothing_is_read_behind_the_last_request() {
    let server = routes();
    let mut raw = Raw::connect(server.addr(0));
    raw.send(get("/", &["connection: close"]) + &get("/asked", &[]));
    assert_eq!(raw.answer().body, "home");
    raw.end();
    drop(raw);
    server.await_rest();
}

#[test]
fn a_client_that_has_ended_its_side_still_gets_its_answer() {
    let page = "x".repeat(8 << 20);
    let size = page.len();
    let limits = app::limits(|limits| limits.max_send_queue = 2 * size);
    let endpoint = Endpoint::builder(()).limits(limits).get("/", move |_| Response::html(&page));
    let server = Server::start(endpoint, 1);
    for headers in [&[][..], &["connection: close"]] {
        let mut raw = Raw::connect(server.addr(0));
        raw.send_last(get("/", headers));
        // More than the buffers on the way hold, so that it takes several writes.
        assert_eq!(raw.answer().body.len(), size);
        raw.end();
    }
    server.await_rest();
}

#[test]
fn a_head_may_be_cut_anywhere() {
    let server = app::start(&App::default());
    let request = upgrade("/socket/websocket?vsn=2.0.0");
    for cut in 1..request.len() {
        let mut raw = Raw::connect(server.addr(0));
        raw.send(&request[..cut]);
        raw.send(&request[cut..]);
        assert_eq!(raw.answer().status, 101, "cut at {cut}");
        raw.send_text(r#"[null,"1","phoenix","heartbeat",{}]"#);
        raw.frame();
    }
    // Each byte in a segment of its own.
    let mut raw = Raw::connect(server.addr(0));
    for byte in request.bytes() {
        raw.send([byte]);
    }
    assert_eq!(raw.answer().status, 101);
    drop(raw);
    server.await_rest();
}

#[test]
fn frames_may_follow_the_upgrade_at_once() {
    let server = app::start(&App::default());
    let heartbeat = r#"[null,"1","phoenix","heartbeat",{}]"#;
    let frame = crate::support::masked(0x81, heartbeat.as_bytes());
    let reply = r#"[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]"#;
    let whole = [upgrade("/socket/websocket?vsn=2.0.0").as_bytes(), &frame, &frame].concat();
    // The end of the first frame comes with the request, or later.
    for later in [0, 1, frame.len(), frame.len() + 1] {
        let mut raw = Raw::connect(server.addr(0));
        let (first, second) = whole.split_at(whole.len() - later);
        raw.send(first);
        if later > 0 {
            raw.send(second);
        }
        assert_eq!(raw.answer().status, 101);
        assert_eq!([raw.frame(), raw.frame()], [Frame::text(reply), Frame::text(reply)]);
    }
    server.await_rest();
}

#[test]
// shows: check.request-behind-a-refusal
fn a_request_behind_a_refused_upgrade_is_answered() {
    let app = App::default();
    let server = app::start(&app);
    let refused = upgrade("/socket/websocket?connect=refuse");
    let mut raw = Raw::connect(server.addr(0));
    raw.send(refused.clone() + &get("/", &[]) + &upgrade("/socket/websocket?vsn=2.0.0"));
    let refusal = raw.answer();
    assert_eq!((refusal.status, refusal.header("connection")), (403, None));
    assert_eq!(raw.answer().body, "<h1>home</h1>");
    assert_eq!(raw.answer().status, 101);
    raw.send_text(r#"[null,"1","phoenix","heartbeat",{}]"#);
    raw.frame();
    drop(raw);
    // What is whole only later, and many at once; also behind what is no upgrade when it could be.
    let mut raw = Raw::connect(server.addr(0));
    raw.send(refused.clone() + "GET / HT");
    assert_eq!(raw.answer().status, 403);
    raw.send("TP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(raw.answer().status, 200);
    raw.send(get("/socket/websocket", &[]).repeat(1_000) + &get("/", &[]));
    for _ in 0..1_000 {
        assert_eq!(raw.answer().status, 400);
    }
    assert_eq!(raw.answer().status, 200);
    drop(raw);
    server.await_rest();
}

#[test]
// shows: check.frames-behind-a-refusal
fn frames_behind_a_refused_upgrade_are_no_request() {
    let server = app::start(&App::default());
    let hidden = get("/", &[]);
    let fragment = crate::support::masked(0x01, hidden.as_bytes());
    // Without a mask, so that the request is there to be read in them.
    let bare = |first| [&[first, hidden.len() as u8], hidden.as_bytes()].concat();
    let whole = crate::support::masked(0x81, hidden.as_bytes());
    for early in [whole, fragment, bare(0x81), bare(0x01)] {
        let mut raw = Raw::connect(server.addr(0));
        let refused = upgrade("/socket/websocket?connect=refuse");
        raw.send([refused.as_bytes(), &early].concat());
        let refusal = raw.answer();
        assert_eq!((refusal.status, refusal.header("connection")), (403, Some("close")));
        raw.end();
    }
    server.await_rest();
}

#[test]
fn a_request_with_a_body_is_refused_and_the_connection_ends() {
    let server = routes();
    for headers in [
        "content-length: 5\r\n\r\nhello",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "content-length: 1000000000000\r\nexpect: 100-continue\r\n\r\n",
    ] {
        let mut raw = Raw::connect(server.addr(0));
        raw.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{headers}"));
        let answer = raw.answer();
        assert_eq!((answer.status, answer.header("connection")), (413, Some("close")), "{headers}");
        raw.end();
    }
    let mut raw = Raw::connect(server.addr(0));
    raw.send("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(raw.answer().status, 200);
    drop(raw);
    server.await_rest();
}

#[test]
fn what_is_no_request_is_refused_and_the_connection_ends() {
    let server = routes();
    for (request, status) in [
        ("GET / HTTP/1.1\nhost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost : a\r\n\r\n", 400),
        ("GET /\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("CONNECT host:80 HTTP/1.1\r\n\r\n", 400),
        ("\x16\x03\x01\x02\0\x01\0\x01", 400),
        ("POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
    ] {
        let mut raw = Raw::connect(server.addr(0));
        raw.send(request);
        let answer = raw.answer();
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")));
        raw.end();
    }
    server.await_rest();
}

#[test]
// shows: diff.header-limit-431
fn a_head_that_is_too_large_is_refused() {
    let server = app::start_with(&App::default(), |limits| limits.max_head_size = 1024);
    let ask = |size: usize| {
        let mut raw = Raw::connect(server.addr(0));
        let padding = size - get("/", &["x: "]).len();
        raw.send(get("/", &[&format!("x: {}", "a".repeat(padding))]));
        raw.answer().status
    };
    assert_eq!(ask(1024), 200);
    assert_eq!(ask(1025), 431);
    // It need not be whole.
    let mut raw = Raw::connect(server.addr(0));
    raw.send(&get("/", &[&"x: a\r\n".repeat(1000)])[..1024]);
    assert_eq!(raw.answer().status, 431);
    raw.end();
    drop(raw);
    // Nor may it have too many lines.
    let mut raw = Raw::connect(server.addr(0));
    raw.send(get("/", &["a: b"; 101]));
    assert_eq!(raw.answer().status, 431);
    server.await_counts(|counts| counts[0].oversized == 3);
    drop(raw);
    server.await_rest();
}

#[test]
// shows: diff.request-time-408
fn a_request_that_takes_too_long_is_told_so() {
    let server = app::start_with(&App::default(), |limits| {
        limits.head_timeout = std::time::Duration::from_secs(1);
    });
    let mut slow = Raw::connect(server.addr(0));
    slow.send("GET / HTTP/1.1\r\nhost:");
    let mut silent = Raw::connect(server.addr(0));
    let mut kept = Raw::connect(server.addr(0));
    kept.send(get("/", &[]));
    assert_eq!(kept.answer().status, 200);
    let answer = slow.answer();
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    slow.end();
    // Who has not begun to ask is not answered: it might take that for the answer to a request
    // that is on its way.
    silent.end();
    kept.end();
    server.await_counts(|counts| counts[0].slow_requests == 3);
    drop((slow, silent, kept));
    server.await_rest();
}
