//! What is asked of the kernel, and the token by which its answer is known again.
//!
//! An operation that lends the kernel no memory is an [`Operation`] and may be pushed by safe code;
//! one that lends some is a [`Lending`], and who pushes it says why the memory outlives it.

use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::squeue::{Entry, Flags};
use io_uring::{opcode, types};

use super::accept::Peer;
use super::sockets::Socket;

/// An operation that points at no memory of ours.
pub(super) struct Operation(Entry);

/// An operation that points at memory of ours until it is settled.
pub(super) struct Lending(Entry);

impl Operation {
    /// Receives into the ring's buffers until the kernel says that no more will come.
    pub(super) fn receive(socket: Socket, slot: u32, generation: u32) -> Self {
        let token = Token { kind: Kind::Receive, tag: 0, slot, stamp: generation };
        let receive = opcode::RecvMulti::new(socket.fd(), BUFFER_GROUP).build();
        Self(receive.flags(socket.flags()).user_data(token.pack()))
    }

    /// Completes once the connection takes bytes, or is broken.
    pub(super) fn await_writable(socket: Socket, slot: u32, generation: u32) -> Self {
        let token = Token { kind: Kind::Writable, tag: 0, slot, stamp: generation };
        let poll = opcode::PollAdd::new(socket.fd(), libc::POLLOUT as u32).build();
        Self(poll.flags(socket.flags()).user_data(token.pack()))
    }

    /// Ends the sending direction. The kernel has a worker thread of its own do it.
    pub(super) fn shutdown(socket: Socket, slot: u32, generation: u32) -> Self {
        let token = Token { kind: Kind::Shutdown, tag: 0, slot, stamp: generation };
        let entry = opcode::Shutdown::new(socket.fd(), libc::SHUT_WR).build();
        Self(entry.flags(socket.flags()).user_data(token.pack()))
    }

    /// Takes the connection out of its table. What still waits on it keeps it alive.
    pub(super) fn close(socket: Socket, slot: u32, generation: u32) -> Self {
        let token = Token { kind: Kind::Close, tag: 0, slot, stamp: generation };
        let close = match socket {
            Socket::Direct(slot) => opcode::Close::new(types::Fixed(slot)),
            Socket::Ordinary(descriptor) => opcode::Close::new(types::Fd(descriptor)),
        };
        Self(close.build().user_data(token.pack()))
    }

    /// Makes the connection's socket a descriptor of the process, with which it completes. A socket
    /// that is one already completes with nothing.
    pub(super) fn install(socket: Socket, slot: u32, generation: u32) -> Self {
        let token = Token { kind: Kind::HandOver, tag: 0, slot, stamp: generation };
        let entry = match socket {
            Socket::Direct(slot) => opcode::FixedFdInstall::new(types::Fixed(slot), 0).build(),
            Socket::Ordinary(_) => opcode::Nop::new().build(),
        };
        Self(entry.user_data(token.pack()))
    }

    /// Ends the operation that `target` names. Completes only if there was nothing to end.
    pub(super) fn cancel(target: Token) -> Self {
        let token = Token { kind: Kind::Cancel, tag: target.kind as u8, ..target };
        let entry = opcode::AsyncCancel::new(target.pack()).build();
        Self(entry.flags(Flags::SKIP_SUCCESS).user_data(token.pack()))
    }

    /// Ends all accepts of the ring that are under way.
    pub(super) fn cancel_accepts(listener: &TcpListener) -> Self {
        let token = Token { kind: Kind::Cancel, tag: Kind::Accept as u8, slot: 0, stamp: 0 };
        let accepts = types::CancelBuilder::fd(types::Fd(listener.as_raw_fd())).all();
        let entry = opcode::AsyncCancel2::new(accepts).build();
        Self(entry.flags(Flags::SKIP_SUCCESS).user_data(token.pack()))
    }

    /// Says how many hops a direct connection's packets must have left. Done when it is submitted;
    /// completes only if it fails.
    pub(super) fn set_hops(
        slot: u32,
        generation: u32,
        option: HopOption,
        hops: &'static libc::c_int,
    ) -> Self {
        let token = Token { kind: Kind::Hops, tag: 0, slot, stamp: generation };
        let HopOption { level, name } = option;
        let value = (&raw const *hops).cast();
        let length = size_of::<libc::c_int>() as u32;
        let fd = types::Fixed(slot);
        let set = opcode::SetSockOpt::new(fd, level as u32, name as u32, value, length).build();
        Self(set.flags(Flags::FIXED_FILE | Flags::SKIP_SUCCESS).user_data(token.pack()))
    }

    /// Completes whenever the doorbell's eventfd is written, until the kernel ends it.
    pub(super) fn hear(doorbell: &OwnedFd) -> Self {
        let token = Token { kind: Kind::Doorbell, tag: 0, slot: 0, stamp: 0 };
        let poll = opcode::PollAdd::new(types::Fd(doorbell.as_raw_fd()), libc::POLLIN as u32);
        Self(poll.multi(true).build().user_data(token.pack()))
    }

    pub(super) fn entry(&self) -> &Entry {
        &self.0
    }
}

impl Lending {
    /// Accepts one client for `slot`, into the ring's table if `direct`, and writes its address to
    /// `peer`.
    pub(super) fn accept(
        listener: &TcpListener,
        direct: bool,
        slot: u32,
        generation: u32,
        tag: u8,
        peer: &Peer,
    ) -> Self {
        let token = Token { kind: Kind::Accept, tag, slot, stamp: generation };
        let target = types::DestinationSlot::try_from_slot_target(slot).expect("slots fit 20 bits");
        let (address, length) = peer.lend();
        let accept = opcode::Accept::new(types::Fd(listener.as_raw_fd()), address, length);
        let accept =
            if direct { accept.file_index(Some(target)) } else { accept.flags(libc::SOCK_CLOEXEC) };
        Self(accept.build().user_data(token.pack()))
    }

    /// Sends `bytes`, settled when `enter` returns: it neither waits (`MSG_DONTWAIT`) nor posts a
    /// completion if all was written; if not (`MSG_WAITALL`) the completion says how much was.
    ///
    /// The token's stamp is the position in the batch, for a generation has nothing to tell here:
    /// no connection is closed between a send and its completion.
    pub(super) fn send(socket: Socket, slot: u32, position: u32, bytes: &[u8]) -> Self {
        let token = Token { kind: Kind::Send, tag: 0, slot, stamp: position };
        // What a length of 32 bits cannot say remains unsent, like what the socket does not take.
        let length = bytes.len().min(MAX_SEND) as u32;
        let send = opcode::Send::new(socket.fd(), bytes.as_ptr(), length)
            .flags(libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL);
        // A send cut short above has to post its completion even when all of it was written.
        let flags = if bytes.len() <= MAX_SEND { Flags::SKIP_SUCCESS } else { Flags::empty() };
        Self(send.build().flags(flags | socket.flags()).user_data(token.pack()))
    }

    pub(super) fn entry(&self) -> &Entry {
        &self.0
    }
}

/// The option of one family that says how many hops a packet must have left.
#[derive(Debug, Clone, Copy)]
pub(super) struct HopOption {
    pub(super) level: libc::c_int,
    pub(super) name: libc::c_int,
}

/// What an operation carries through the kernel: `kind, tag, slot, stamp` from the top bit down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Which [`Peer`] an accept writes to; which kind a cancel is for.
    pub(super) tag: u8,
    pub(super) slot: u32,
    /// The slot's generation; for a send its position in the batch.
    pub(super) stamp: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    Accept = 1,
    Receive,
    Send,
    Writable,
    Shutdown,
    Close,
    Cancel,
    Doorbell,
    Hops,
    HandOver,
}

impl Token {
    pub(super) fn pack(self) -> u64 {
        debug_assert!(self.slot < 1 << 20);
        (self.kind as u64) << 60
            | u64::from(self.tag) << 52
            | u64::from(self.slot) << 32
            | u64::from(self.stamp)
    }

    /// # Panics
    ///
    /// If no operation of ours carries such a token: then memory is corrupt.
    pub(super) fn unpack(user_data: u64) -> Self {
        let kind = match (user_data >> 60) as u8 {
            1 => Kind::Accept,
            2 => Kind::Receive,
            3 => Kind::Send,
            4 => Kind::Writable,
            5 => Kind::Shutdown,
            6 => Kind::Close,
            7 => Kind::Cancel,
            8 => Kind::Doorbell,
            9 => Kind::Hops,
            10 => Kind::HandOver,
            _ => panic!("a completion of no operation of ours: {user_data:#x}"),
        };
        Self {
            kind,
            tag: (user_data >> 52) as u8,
            slot: (user_data >> 32) as u32 & ((1 << 20) - 1),
            stamp: user_data as u32,
        }
    }
}

/// Every ring has one group of buffers.
pub(super) const BUFFER_GROUP: u16 = 0;

/// The kernel counts what it has written in an `i32`.
const MAX_SEND: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_kernel() {
        let kinds = [
            Kind::Accept,
            Kind::Receive,
            Kind::Send,
            Kind::Writable,
            Kind::Shutdown,
            Kind::Close,
            Kind::Cancel,
            Kind::Doorbell,
            Kind::Hops,
            Kind::HandOver,
        ];
        for kind in kinds {
            for (tag, slot, stamp) in [(0, 0, 0), (255, (1 << 20) - 1, u32::MAX), (7, 77, 777)] {
                let token = Token { kind, tag, slot, stamp };
                assert_eq!(Token::unpack(token.pack()), token);
            }
        }
    }

    #[test]
    #[should_panic(expected = "no operation of ours")]
    fn a_foreign_token_is_refused() {
        Token::unpack(0);
    }
}
