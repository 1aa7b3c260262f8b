//! A server of another make for the tests of the load, so that the two sides cannot be wrong
//! together: one thread a client.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{Load, Options, Push, text};

pub(crate) const PATH: &str = "/socket/websocket?vsn=2.0.0";
pub(crate) const PING: Push<'static> = Push { event: "ping", payload: r#"{"a":1}"# };
pub(crate) const LENGTH: Duration = Duration::from_millis(20);

/// What the server says to a text: frames for its sender, frames for everyone; `None` to hang
/// up.
pub(crate) type Answers = fn(&str) -> Option<(Vec<u8>, Vec<u8>)>;

/// A server to which everyone is whoever has connected.
pub(crate) fn server(answers: Answers) -> SocketAddr {
    start(answers, |_, _| true, true)
}

/// The same, but it hangs up where it should answer a Close.
pub(crate) fn server_without_closes(answers: Answers) -> SocketAddr {
    start(answers, |_, _| true, false)
}

/// The same, but everyone is whoever last said something in the same topic.
pub(crate) fn server_of_rooms(answers: Answers) -> SocketAddr {
    start(answers, |topic, member| topic == member, true)
}

fn start(answers: Answers, hears: fn(&str, &str) -> bool, closes: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let everyone = Arc::new(Everyone { members: Mutex::default(), hears, closes });
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, everyone) = (stream.unwrap(), everyone.clone());
            thread::spawn(move || serve(stream, &everyone, answers));
        }
    });
    address
}

struct Everyone {
    /// Each with the topic it is in.
    members: Mutex<Vec<(String, TcpStream)>>,
    /// Whether what is said in the first topic is heard in the second.
    hears: fn(&str, &str) -> bool,
    /// Whether a Close is answered.
    closes: bool,
}

fn serve(mut stream: TcpStream, everyone: &Everyone, answers: Answers) {
    let place = {
        let mut members = everyone.members.lock().unwrap();
        members.push((String::new(), stream.try_clone().unwrap()));
        members.len() - 1
    };
    let mut socket = tungstenite::accept(stream.try_clone().unwrap()).unwrap();
    while let Ok(message) = socket.read() {
        if message.is_close() {
            if everyone.closes {
                // Its answer was made when it was read; to have sent it is called an error.
                let _ = socket.flush();
            }
            break;
        }
        let said = message.to_text().unwrap();
        let Some((to_sender, to_everyone)) = answers(said) else { break };
        let [_, _, topic, ..]: [serde_json::Value; 5] = serde_json::from_str(said).unwrap();
        let topic = topic.as_str().unwrap();
        // Under the lock, so that no two frames are mixed.
        let mut members = everyone.members.lock().unwrap();
        members[place].0 = topic.to_owned();
        for (_, stream) in members.iter_mut().filter(|(other, _)| (everyone.hears)(topic, other)) {
            stream.write_all(&to_everyone).unwrap();
        }
        drop(members);
        stream.write_all(&to_sender).unwrap();
    }
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

/// As Phoenix answers: joins, and pings with their payload; `shout` goes to everyone.
pub(crate) fn phoenix(said: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let (to_sender, to_everyone) = answers_to(said);
    let frames = |said: Option<String>| said.map(|said| text(&said)).unwrap_or_default();
    Some((frames(to_sender), frames(to_everyone)))
}

pub(crate) fn answers_to(said: &str) -> (Option<String>, Option<String>) {
    let [join_ref, message_ref, topic, event, payload]: [serde_json::Value; 5] =
        serde_json::from_str(said).unwrap();
    let reply = |response: String| {
        let payload = format!(r#"{{"response":{response},"status":"ok"}}"#);
        format!(r#"[{join_ref},{message_ref},{topic},"phx_reply",{payload}]"#)
    };
    match event.as_str().unwrap() {
        "phx_join" => (Some(reply("{}".into())), None),
        "ping" => (Some(reply(payload.to_string())), None),
        "shout" => (None, Some(format!("[null,null,{topic},{event},{payload}]"))),
        other => panic!("nobody says {other} here"),
    }
}

/// So many clients in two rooms.
pub(crate) fn joined(server: SocketAddr, clients: usize) -> Load {
    let patience = Duration::from_millis(500);
    let mut load = Load::new(Options { patience, at_once: 3, ..Options::default() }).unwrap();
    let report = load.connect(server, PATH, clients).unwrap().clean().unwrap();
    assert_eq!((report.sent, report.received), (clients as u64, clients as u64));
    let topic = |client| format!("room:{}", client % 2);
    let report = load.join(topic, "{}", "{}").unwrap().clean().unwrap();
    assert_eq!((report.sent, report.received), (clients as u64, clients as u64));
    load
}
