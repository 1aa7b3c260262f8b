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
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};
use simurgh::load;
use slab::Slab;
use socket2::{Domain, Socket, Type};

use crate::harness::script::{Answer, MAX_PUSHES, Script};

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
                    send(&connection.socket, script.joined(room))?;
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
                        Answer::Sender => send(&connection.socket, script.replies(room, pushes))?,
                        Answer::Room => {
                            // The fan-out as the kernel has it: the same bytes, one `send` each.
                            for _ in 0..pushes {
                                for &member in &members[room] {
                                    let socket = &connections[member as usize].socket;
                                    send(socket, script.broadcast(room))?;
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
    socket.set_tcp_user_timeout(Some(Duration::from_secs(60)))?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(1_024)?;
    Ok(socket.into())
}

const LISTENER: u64 = u64::MAX;
const MAX_EVENTS: usize = 1_024;

/// No push is as short as 16 bytes, so a read brings no more of them than there are replies to.
const READ_BUFFER: usize = 16 * MAX_PUSHES;
