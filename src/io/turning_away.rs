//! Leaving new clients to others who listen at the same address.
//!
//! A listener that is closed cuts off those who have just connected: they stand in its queue, or will
//! when the last packet of their handshake has come. So first it is to have no new ones, and to lose
//! none of those. The kernel has no word for that, but one that comes to it: packets may be ignored
//! that have been passed on by more routers than is wanted. A packet for the listener itself, which
//! begins a handshake, is held against that; those that go on with one are not. Who is ignored begins
//! again after a second, as TCP does; by then the listener has gone, and he finds another.
//!
//! Connections inherit it, those that come of handshakes under way among them, and so are deaf until
//! they are told otherwise. What they missed is sent again.
//!
//! A socket filter for packets with SYN would do the same, and spare the connections. But newer
//! kernels (6.18.44) want `CAP_NET_ADMIN` for one on a TCP socket.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;

use super::operation::{HopOption, Operation};
use super::ring::Ring;
use super::sockets::Socket;

/// The options of a listener that turns clients away.
pub(super) type HopOptions = &'static [HopOption];

/// Has the kernel ignore clients who begin to connect here. Each that is accepted from here on is to
/// [`hear`] first.
pub(super) fn turn_away(listener: &TcpListener) -> io::Result<HopOptions> {
    // Clients of both families come to a listener of the newer one.
    let options: HopOptions = if listener.local_addr()?.is_ipv6() { &[V4, V6] } else { &[V4] };
    for option in options {
        set(listener.as_raw_fd(), *option, &MOST)?;
    }
    Ok(options)
}

/// Lets a connection hear what its client sends.
pub(super) fn hear(ring: &mut Ring, slot: u32, generation: u32, options: HopOptions) {
    for option in options {
        match ring.sockets.socket(slot) {
            Socket::Direct(_) => ring.push(&Operation::set_hops(slot, generation, *option, &NONE)),
            Socket::Ordinary(descriptor) => {
                if let Err(error) = set(descriptor, *option, &NONE) {
                    tracing::debug!(%error, "a connection will hear nothing");
                }
            }
        }
    }
}

fn set(socket: libc::c_int, option: HopOption, hops: &'static libc::c_int) -> io::Result<()> {
    let value = (&raw const *hops).cast();
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` points at the four bytes this option has.
    if unsafe { libc::setsockopt(socket, option.level, option.name, value, length) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

const V4: HopOption = HopOption { level: libc::IPPROTO_IP, name: libc::IP_MINTTL };
const V6: HopOption = HopOption { level: libc::IPPROTO_IPV6, name: libc::IPV6_MINHOPCOUNT };

/// As many as a packet can begin with, which none of a usual system does.
static MOST: libc::c_int = 255;
static NONE: libc::c_int = 0;

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::super::listener::{Options, bind};
    use super::*;

    #[test]
    fn who_is_turned_away_finds_another_and_who_has_connected_is_accepted() {
        for (address, host) in
            [("127.0.0.1:0", "127.0.0.1"), ("[::]:0", "127.0.0.1"), ("[::]:0", "::1")]
        {
            let options = Options { reuse_port: true, ..Options::default() };
            let first = bind(address.parse().unwrap(), 1, &options).unwrap().remove(0);
            let port = first.local_addr().unwrap().port();
            let connect = || TcpStream::connect((host, port)).unwrap();
            let mut early = connect();
            turn_away(&first).unwrap();
            early.write_all(b"early").unwrap();
            let mut bytes = [0; 5];
            first.accept().unwrap().0.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b"early");

            let second = bind(first.local_addr().unwrap(), 1, &options).unwrap().remove(0);
            first.set_nonblocking(true).unwrap();
            std::thread::scope(|scope| {
                let late: Vec<_> = (0..16).map(|_| scope.spawn(connect)).collect();
                // The kernel deals them out by chance: some are ignored until the first has gone.
                second.accept().unwrap();
                assert!(first.accept().is_err());
                drop(first);
                late.into_iter().for_each(|late| drop(late.join().unwrap()));
            });
        }
    }
}
