//! The listeners: one a shard, all at the same address.
//!
//! The kernel deals clients out between them (`SO_REUSEPORT`). That option lets any process of the
//! same user join in, and take a share of the clients without anybody noticing; so the first
//! listener is bound without it, which fails when the address is taken, and gets it afterwards.
//!
//! What a connection needs of options is set on its listener, and inherited: none costs a system
//! call for each client.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::Error;
use super::patience::{self, with_patience};

/// How listeners, and the connections they accept, are set up.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Clients that wait to be accepted, at each listener. Default 4,096, which is what
    /// `net.core.somaxconn` allows by default: more would be cut to that.
    pub(crate) backlog: i32,
    /// Whether another process may listen at the same address, and take its share. Default false.
    pub(crate) reuse_port: bool,
    /// How many bytes the kernel takes from us ahead of what it has sent. Default 16 KiB: what a
    /// slow reader owes beyond them stays in the shard, where it is counted and bounded.
    pub(crate) unsent_bytes: u32,
    /// See [`send_timeout`](crate::Limits::send_timeout).
    pub(crate) send_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            backlog: 4_096,
            reuse_port: false,
            unsent_bytes: 16 << 10,
            send_timeout: Duration::from_secs(60),
        }
    }
}

/// Binds `count` listeners at `address`. Port 0: one that is free, the same for all.
///
/// An IPv6 address that is unspecified (`[::]`) takes IPv4 clients as well.
///
/// # Errors
///
/// [`Error::Listen`], when the address is not of this host, not allowed, or taken, and by more than
/// what a process that ended a moment ago has left.
pub(crate) fn bind(
    address: SocketAddr,
    count: usize,
    options: &Options,
) -> Result<Vec<TcpListener>, Error> {
    let failed = |source| Error::Listen { address, source };
    let mut listeners = Vec::<TcpListener>::with_capacity(count);
    let mut at = address;
    for _ in 0..count {
        let exclusive = listeners.is_empty() && !options.reuse_port;
        let bind = || bind_one(at, exclusive, options);
        let listener = with_patience(libc::EADDRINUSE, patience::PORT, bind).map_err(failed)?;
        at = listener.local_addr().map_err(failed)?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn bind_one(address: SocketAddr, exclusive: bool, options: &Options) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Connections of a server that was here before may still linger.
    socket.set_reuse_address(true)?;
    if !exclusive {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    // The other listeners may join from here on.
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    // None at all would be the kernel's own: up to a quarter of an hour, or for ever.
    let send_timeout = options.send_timeout.clamp(Duration::from_millis(1), LONGEST);
    socket.set_tcp_user_timeout(Some(send_timeout))?;
    set_unsent_bytes(&socket, options.unsent_bytes)?;
    socket.listen(options.backlog)?;
    Ok(socket.into())
}

/// The kernel counts milliseconds in 31 bits.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

/// `TCP_NOTSENT_LOWAT`, which `socket2` doesn't know.
fn set_unsent_bytes(socket: &Socket, bytes: u32) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let value = (&raw const bytes).cast();
    let length = size_of::<u32>() as libc::socklen_t;
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT);
    // SAFETY: `value` points at the four bytes this option has.
    if unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, length) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn all_listeners_have_the_port_of_the_first() {
        let listeners = bind(loopback(), 3, &Options::default()).unwrap();
        let ports: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
        assert_ne!(ports[0], 0);
        assert!(ports.iter().all(|port| *port == ports[0]));
    }

    #[test]
    fn a_taken_address_is_an_error() {
        let listeners = bind(loopback(), 2, &Options::default()).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let error = bind(address, 2, &Options::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {address}: {}", in_use()));
    }

    #[test]
    fn an_address_can_be_shared_on_purpose() {
        let options = Options { reuse_port: true, ..Options::default() };
        let listeners = bind(loopback(), 2, &options).unwrap();
        let address = listeners[0].local_addr().unwrap();
        bind(address, 2, &options).unwrap();
    }

    #[test]
    fn connections_inherit_the_options() {
        let (minute, never) = (Duration::from_secs(60), Duration::MAX);
        for (asked, send_timeout) in [(minute, minute), (never, LONGEST)] {
            let options = Options { send_timeout: asked, ..Options::default() };
            let listeners = bind(loopback(), 1, &options).unwrap();
            let _client = std::net::TcpStream::connect(listeners[0].local_addr().unwrap()).unwrap();
            let accepted = Socket::from(listeners[0].accept().unwrap().0);
            assert!(accepted.tcp_nodelay().unwrap());
            assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(send_timeout));
        }
    }

    fn in_use() -> io::Error {
        io::Error::from_raw_os_error(libc::EADDRINUSE)
    }
}
