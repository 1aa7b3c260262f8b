//! The bare kernel: a server that makes the system calls and nothing else.
//!
//! It knows every byte that will come and go, so it parses nothing, decides nothing and builds
//! nothing: it finds the end of a request and counts the length of frames. What it costs is what
//! the kernel asks for the same sockets and the same bytes, and what a real server costs beside it
//! is that server's own doing.
//!
//! One thread, level-triggered epoll, one `recv` for an event and one `send` for what it brought.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};
use simurgh::load::{self, Push, message};
use socket2::{Domain, Socket, Type};

/// What the server knows.
pub(crate) struct Script {
    /// How many bytes a join and a push have on the wire.
    join: usize,
    push: usize,
    /// The answer to a join.
    joined: Vec<u8>,
    /// Finished answers to as many pushes as a read can bring, and the length of one.
    answers: Vec<u8>,
    answer: usize,
    to_everyone: bool,
}

/// What is sent for a push.
pub(crate) struct Answer {
    pub(crate) message: String,
    /// Whether all who have joined are sent it, or the one who pushed.
    pub(crate) to_everyone: bool,
}

impl Script {
    /// A server of one topic and one event.
    pub(crate) fn new(topic: &str, push: Push<'_>, answer: &Answer) -> Self {
        let frame = load::text(&answer.message);
        Self {
            join: load::masked_text(&message::join(topic, "{}")).len(),
            push: load::masked_text(&message::push(topic, push.event, push.payload)).len(),
            joined: load::text(&message::joined(topic, "{}")),
            answers: frame.repeat(MAX_PUSHES),
            answer: frame.len(),
            to_everyone: answer.to_everyone,
        }
    }
}

/// A connection, and what it has sent of a frame that is not whole yet.
struct Connection {
    socket: OwnedFd,
    stage: Stage,
    pending: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Upgrading,
    Joining,
    Joined,
}

/// Serves until it is killed.
///
/// # Errors
///
/// Whatever is not as the script says: a baseline that went on would be a wrong one.
pub(crate) fn serve(script: &Script, ready: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let listener = listen()?;
    ready(listener.local_addr()?);
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;

    let upgraded = load::upgrade_response();
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = Vec::with_capacity(MAX_EVENTS);
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            if event.data.u64() == LISTENER {
                let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
                let socket = rustix::net::accept_with(&listener, flags)?;
                let data = epoll::EventData::new_u64(connections.len() as u64);
                epoll::add(&epoll, &socket, data, epoll::EventFlags::IN)?;
                connections.push(Some(Connection { socket, stage: Stage::Upgrading, pending: 0 }));
                continue;
            }
            let index = event.data.u64() as usize;
            let Some(connection) = &mut connections[index] else { continue };
            let received = rustix::net::recv(&connection.socket, &mut *buffer, RecvFlags::DONTWAIT);
            let Ok((received @ 1.., _)) = received else {
                connections[index] = None;
                continue;
            };
            match connection.stage {
                Stage::Upgrading => {
                    if !buffer[..received].ends_with(b"\r\n\r\n") {
                        return Err(io::Error::other("a request did not come in one read"));
                    }
                    connection.stage = Stage::Joining;
                    send(&connection.socket, upgraded.as_bytes())?;
                }
                Stage::Joining => {
                    connection.pending += received;
                    if connection.pending > script.join {
                        return Err(io::Error::other("more than a join came"));
                    }
                    if connection.pending == script.join {
                        connection.pending = 0;
                        connection.stage = Stage::Joined;
                        send(&connection.socket, &script.joined)?;
                    }
                }
                Stage::Joined => {
                    connection.pending += received;
                    let pushes = connection.pending / script.push;
                    connection.pending %= script.push;
                    if script.to_everyone {
                        for _ in 0..pushes {
                            send_to_all(&connections, &script.answers[..script.answer])?;
                        }
                    } else if pushes > 0 {
                        send(&connection.socket, &script.answers[..pushes * script.answer])?;
                    }
                }
            }
        }
    }
}

/// The fan-out as the kernel has it: the same bytes, one `send` for each.
fn send_to_all(connections: &[Option<Connection>], frame: &[u8]) -> io::Result<()> {
    for connection in connections.iter().flatten() {
        if connection.stage == Stage::Joined {
            send(&connection.socket, frame)?;
        }
    }
    Ok(())
}

fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    match rustix::net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        Ok(sent) if sent == bytes.len() => Ok(()),
        // The client has gone; its socket says so to `recv` too.
        Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Ok(()),
        Ok(_) | Err(rustix::io::Errno::AGAIN) => Err(io::Error::other("a socket was full")),
        Err(error) => Err(error.into()),
    }
}

/// The options that Simurgh sets on its listener, so that the kernel does the same work.
fn listen() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(16 << 10)?;
    socket.set_tcp_user_timeout(Some(Duration::from_secs(30)))?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(1_024)?;
    Ok(socket.into())
}

const LISTENER: u64 = u64::MAX;
const MAX_EVENTS: usize = 1_024;
const READ_BUFFER: usize = 16 << 10;

/// A read has no room for as many.
const MAX_PUSHES: usize = READ_BUFFER / 16;
