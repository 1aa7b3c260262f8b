//! The poller: where a load waits for what comes.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::Timespec;
use socket2::Socket;

pub(super) use rustix::event::epoll::EventFlags as Interest;

/// Sockets, each under a number, until they are closed.
pub(super) struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    pub(super) fn add(&self, socket: &Socket, number: usize, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, data(number), interest)?)
    }

    /// Waits for other things at a socket from now on.
    pub(super) fn change(
        &self,
        socket: &Socket,
        number: usize,
        interest: Interest,
    ) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, socket, data(number), interest)?)
    }

    /// Puts into `ready` what is, in place of what was; nothing when `timeout` has passed.
    pub(super) fn wait(&self, ready: &mut Vec<epoll::Event>, timeout: Duration) -> io::Result<()> {
        // One that is too long for the kernel is no timeout.
        let timeout = Timespec::try_from(timeout).ok();
        ready.clear();
        ready.reserve(MAX_EVENTS);
        loop {
            match epoll::wait(&self.epoll, spare_capacity(ready), timeout.as_ref()) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn data(number: usize) -> epoll::EventData {
    epoll::EventData::new_u64(number as u64)
}

/// Of one wait. Few enough that the first of them is not stale when the last is looked at.
const MAX_EVENTS: usize = 256;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_socket_is_named_by_its_number_once_something_has_come_for_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ends = [(); 2].map(|()| {
            let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (Socket::from(near), listener.accept().unwrap().0)
        });
        let poller = Poller::new().unwrap();
        for (number, (near, _)) in [7, 9].into_iter().zip(&ends) {
            poller.add(near, number, Interest::IN).unwrap();
        }
        let mut ready = Vec::new();
        let mut numbers = |timeout| {
            poller.wait(&mut ready, timeout).unwrap();
            ready.iter().map(|event| event.data.u64()).collect::<Vec<_>>()
        };
        assert!(numbers(Duration::ZERO).is_empty());

        ends[1].1.write_all(b"hello").unwrap();
        assert_eq!(numbers(Duration::MAX), [9]);

        poller.change(&ends[0].0, 8, Interest::OUT).unwrap();
        let [_, (other, _)] = ends;
        drop(other);
        assert_eq!(numbers(Duration::MAX), [8]);
    }
}
