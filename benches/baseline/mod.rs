//! The bare kernel: a server that makes the system calls and nothing else.
//!
//! It knows every byte that will come and go, so it parses nothing, decides nothing and builds
//! nothing: it finds the end of a request and the number of a room, and counts the length of
//! frames. What it costs is what the kernel asks for the same sockets and the same bytes, and what
//! a real server costs beside it is that server's own doing.
//!
//! One thread, level-triggered epoll, one `recv` for an event and one `send` for what it brought.

#![allow(dead_code, reason = "each bench uses its part of what all share")]

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};
use simurgh::load::{self, Push, message};
use slab::Slab;
use socket2::{Domain, Socket, Type};

use crate::harness::topic;

/// What the server knows.
pub(crate) struct Script {
    /// The join of room 0. Another room's is as long, and differs from it at `number` alone.
    join: Vec<u8>,
    number: Range<usize>,
    /// How many bytes a push has on the wire.
    push: usize,
    answer: Answer,
    rooms: Vec<Room>,
}

/// Who is sent the answer to a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The one who pushed, as a reply with the payload he pushed.
    Sender,
    /// All who have joined his room, as a broadcast of the event he pushed.
    Room,
}

/// What the server says in a room.
struct Room {
    joined: Vec<u8>,
    /// Finished answers: to as many pushes as a read can bring when they go to one client.
    answers: Vec<u8>,
}

impl Script {
    /// A server of so many rooms and one event.
    pub(crate) fn new(rooms: usize, push: Push<'_>, answer: Answer) -> Self {
        let Push { event, payload } = push;
        let room = |number| {
            let topic = topic(number);
            let (message, copies) = match answer {
                Answer::Sender => (message::reply(&topic, payload), MAX_PUSHES),
                Answer::Room => (message::broadcast(&topic, event, payload), 1),
            };
            Room {
                joined: load::text(&message::joined(&topic, "{}")),
                answers: load::text(&message).repeat(copies),
            }
        };
        let join = |number| load::masked_text(&message::join(&topic(number), "{}"));
        // No digit of one is the other's.
        let (first, other) = (join(0), join(99_999));
        let differs = |&at: &usize| first[at] != other[at];
        let start = (0..first.len()).find(differs).expect("two rooms' names differ");
        let last = (0..first.len()).rfind(differs).expect("two rooms' names differ");
        Self {
            join: first,
            number: start..last + 1,
            push: load::masked_text(&message::push(&topic(0), event, payload)).len(),
            answer,
            rooms: (0..rooms).map(room).collect(),
        }
    }

    /// How many rooms there are.
    pub(crate) fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// The room that a join is for. Both are masked alike, so what a digit differs by from the
    /// zero in its place is its value.
    fn room(&self, join: &[u8]) -> io::Result<usize> {
        if join.len() != self.join.len() {
            return Err(io::Error::other("a join did not come in one read"));
        }
        let digits = self.number.clone().map(|at| usize::from(join[at] ^ self.join[at]));
        let room = digits.fold(0, |number, digit| 10 * number + digit);
        if room < self.rooms.len() { Ok(room) } else { Err(io::Error::other("an unknown room")) }
    }

    /// The answers to so many pushes of one client.
    fn answers(&self, room: usize, pushes: usize) -> &[u8] {
        let answers = &self.rooms[room].answers;
        &answers[..answers.len() / MAX_PUSHES * pushes]
    }
}

/// A connection, and what it has sent of a push that is not whole yet.
struct Connection {
    socket: OwnedFd,
    stage: Stage,
    pending: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Upgrading,
    Joining,
    /// In this room.
    Joined(usize),
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
    let closed = load::close(1000);
    let mut connections: Slab<Connection> = Slab::new();
    // Who hears what is said in each room. Kept only where something is.
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); script.rooms()];
    let mut events = Vec::with_capacity(MAX_EVENTS);
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            if event.data.u64() == LISTENER {
                let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
                let socket = rustix::net::accept_with(&listener, flags)?;
                let entry = connections.vacant_entry();
                let data = epoll::EventData::new_u64(entry.key() as u64);
                epoll::add(&epoll, &socket, data, epoll::EventFlags::IN)?;
                entry.insert(Connection { socket, stage: Stage::Upgrading, pending: 0 });
                continue;
            }
            let index = event.data.u64() as usize;
            let connection = &mut connections[index];
            let received = rustix::net::recv(&connection.socket, &mut *buffer, RecvFlags::DONTWAIT);
            let bytes = received.map_or(&[][..], |(received, _)| &buffer[..received]);
            // A Close comes alone: its client has waited for all it is owed.
            let closes = connection.pending == 0 && bytes.first() == Some(&load::CLOSE);
            if closes {
                send(&connection.socket, &closed)?;
            }
            if closes || bytes.is_empty() {
                if let (Stage::Joined(room), Answer::Room) = (connection.stage, script.answer) {
                    members[room].retain(|&member| member as usize != index);
                }
                connections.remove(index);
                continue;
            }
            match connection.stage {
                Stage::Upgrading => {
                    if !bytes.ends_with(b"\r\n\r\n") {
                        return Err(io::Error::other("a request did not come in one read"));
                    }
                    connection.stage = Stage::Joining;
                    send(&connection.socket, upgraded.as_bytes())?;
                }
                Stage::Joining => {
                    let room = script.room(bytes)?;
                    connection.stage = Stage::Joined(room);
                    send(&connection.socket, &script.rooms[room].joined)?;
                    if script.answer == Answer::Room {
                        members[room].push(index as u32);
                    }
                }
                Stage::Joined(room) => {
                    connection.pending += bytes.len();
                    let pushes = connection.pending / script.push;
                    connection.pending %= script.push;
                    match script.answer {
                        Answer::Sender if pushes == 0 => {}
                        Answer::Sender => send(&connection.socket, script.answers(room, pushes))?,
                        Answer::Room => {
                            // The fan-out as the kernel has it: the same bytes, one `send` each.
                            for _ in 0..pushes {
                                for &member in &members[room] {
                                    send(
                                        &connections[member as usize].socket,
                                        &script.rooms[room].answers,
                                    )?;
                                }
                            }
                        }
                    }
                }
            }
        }
    }
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
