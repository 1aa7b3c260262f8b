//! Peers: a client's address in eight bytes, for as long as its socket is open.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ptr;

/// A client's address. Every open socket has one, so it is small: an address of IPv4 and its port
/// stand in the place of the pointer to a longer one.
pub(crate) struct Peer(*mut SocketAddrV6);

// An address and a port of IPv4 with a mark beside them take 49 bits.
const _: () = assert!(size_of::<Peer>() == 8 && align_of::<SocketAddrV6>() > IS_V4);

/// Set in no pointer to something that is aligned.
const IS_V4: usize = 1;

impl Peer {
    pub(crate) fn new(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => {
                let (ip, port) = (address.ip().to_bits() as usize, usize::from(address.port()));
                Self(ptr::without_provenance_mut(ip << 32 | port << 16 | IS_V4))
            }
            SocketAddr::V6(address) => Self(Box::into_raw(Box::new(address))),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self.v4() {
            Some(address) => address.into(),
            // SAFETY: without the mark it is the pointer that `new` took out of a box, which is
            // ours until it is dropped.
            None => unsafe { *self.0 }.into(),
        }
    }

    fn v4(&self) -> Option<SocketAddrV4> {
        let bits = self.0.addr();
        let address = || SocketAddrV4::new(((bits >> 32) as u32).into(), (bits >> 16) as u16);
        (bits & IS_V4 != 0).then(address)
    }
}

impl Clone for Peer {
    fn clone(&self) -> Self {
        Self::new(self.address())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if self.v4().is_none() {
            // SAFETY: it came out of a box, and nobody else has it.
            drop(unsafe { Box::from_raw(self.0) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_the_address_it_was_made_of() {
        for text in [
            "0.0.0.0:0",
            "255.255.255.255:65535",
            "127.0.0.1:4000",
            "[::1]:80",
            "[2001:db8::1]:65535",
        ] {
            let address: SocketAddr = text.parse().unwrap();
            let peer = Peer::new(address);
            let other = peer.clone();
            assert_eq!(peer.address(), address);
            drop(peer);
            assert_eq!(other.address(), address);
        }
        let scoped = SocketAddrV6::new([0xfe80, 0, 0, 0, 0, 0, 0, 1].into(), 1, 2, 3);
        assert_eq!(Peer::new(scoped.into()).address(), scoped.into());
    }
}
