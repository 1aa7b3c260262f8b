//! The accepts that are under way, and where the kernel writes who has come.

use std::cell::UnsafeCell;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Room for the addresses of the accepts under way. Each is lent to the kernel while its accept is.
pub(super) struct Peers {
    /// Boxed: the kernel writes here, so it must not move.
    peers: Box<[Peer]>,
    free: Vec<u8>,
}

impl Peers {
    pub(super) fn new(count: usize) -> Self {
        // An accept's token has eight bits for its peer.
        let count = count.clamp(1, 256);
        Self {
            peers: (0..count).map(|_| Peer::default()).collect(),
            free: (0..count).rev().map(|index| index as u8).collect(),
        }
    }

    /// How many accepts are under way.
    pub(super) fn lent(&self) -> usize {
        self.peers.len() - self.free.len()
    }

    /// A peer that nobody writes to, until it is given back.
    pub(super) fn take(&mut self) -> Option<u8> {
        self.free.pop()
    }

    pub(super) fn give_back(&mut self, tag: u8) {
        debug_assert!(!self.free.contains(&tag));
        self.free.push(tag);
    }

    pub(super) fn peer(&self, tag: u8) -> &Peer {
        &self.peers[usize::from(tag)]
    }
}

/// What `accept` writes: an address and its length.
pub(super) struct Peer {
    address: UnsafeCell<libc::sockaddr_storage>,
    length: UnsafeCell<libc::socklen_t>,
}

impl Default for Peer {
    fn default() -> Self {
        // SAFETY: `sockaddr_storage` is integers only, for which zeros are a value.
        let address = unsafe { std::mem::zeroed() };
        Self { address: UnsafeCell::new(address), length: UnsafeCell::new(0) }
    }
}

impl Peer {
    /// Where the kernel writes the address and its length. Reads the room there is first.
    pub(super) fn lend(&self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        let length = self.length.get();
        // SAFETY: in bounds and aligned; nobody else looks at it, for a peer is taken before it is
        // lent, and `Peer` is not `Sync`.
        unsafe { *length = size_of::<libc::sockaddr_storage>() as libc::socklen_t };
        (self.address.get().cast(), length)
    }

    /// The address that was written, once the accept has completed. A client that came over IPv4 to
    /// an IPv6 listener has its IPv4 address.
    pub(super) fn read(&self) -> SocketAddr {
        // SAFETY: the accept has completed, so the kernel writes no more; all of it was initialised
        // by `default`.
        let address = unsafe { *self.address.get() };
        match i32::from(address.ss_family) {
            libc::AF_INET => {
                let from = (&raw const address).cast::<libc::sockaddr_in>();
                // SAFETY: a storage is large and aligned enough for every address, and of this
                // family.
                let v4 = unsafe { *from };
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                SocketAddr::new(ip.into(), u16::from_be(v4.sin_port))
            }
            libc::AF_INET6 => {
                let from = (&raw const address).cast::<libc::sockaddr_in6>();
                // SAFETY: as above.
                let v6 = unsafe { *from };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                match ip.to_ipv4_mapped() {
                    Some(ip) => SocketAddr::new(ip.into(), port),
                    None => SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into(),
                }
            }
            // The peer was gone before its address could be asked for.
            _ => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
        }
    }
}
