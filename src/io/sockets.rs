//! How the sockets of a ring's connections are named to the kernel.
//!
//! Direct ones are entries of the ring's own table: they cost no entry in the process' table and
//! take none of its locks. But before Linux 6.13 the kernel lets go of entries in order: a socket
//! that was taken out of the table stays open until every operation begun on the ring before has
//! ended, and the receive of a client who stays and says nothing does not end. His neighbours would
//! never see that they were closed, and their sockets would pile up behind him. So there the sockets
//! are descriptors of the process.

use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use io_uring::{cqueue, squeue, types};

/// The sockets of a ring's connections.
pub(super) enum Sockets {
    /// In the ring's table, at the connection's slot.
    Direct,
    /// In the process' table: a descriptor a slot, as many as there were connections at a time.
    Ordinary(Vec<Option<OwnedFd>>),
}

/// A connection's socket, as an operation names it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Socket {
    Direct(u32),
    Ordinary(RawFd),
}

impl Sockets {
    pub(super) fn new(direct: bool) -> Self {
        if direct { Self::Direct } else { Self::Ordinary(Vec::new()) }
    }

    pub(super) fn are_direct(&self) -> bool {
        matches!(self, Self::Direct)
    }

    /// Remembers the socket with which the accept for `slot` has completed.
    pub(super) fn accepted(&mut self, slot: u32, completion: &cqueue::Entry) {
        let Self::Ordinary(descriptors) = self else { return };
        let slot = slot as usize;
        if descriptors.len() <= slot {
            descriptors.resize_with(slot + 1, || None);
        }
        // SAFETY: the accept has opened it for us, and each completion is looked at once.
        let socket = unsafe { OwnedFd::from_raw_fd(completion.result()) };
        debug_assert!(descriptors[slot].is_none(), "slot {slot} has a socket");
        descriptors[slot] = Some(socket);
    }

    /// The socket of the open connection in `slot`.
    pub(super) fn socket(&self, slot: u32) -> Socket {
        match self {
            Self::Direct => Socket::Direct(slot),
            Self::Ordinary(descriptors) => {
                let socket = descriptors[slot as usize].as_ref();
                Socket::Ordinary(socket.expect("an open connection has a socket").as_raw_fd())
            }
        }
    }

    /// The socket in `slot` as the process' own descriptor, when [`install`] has completed; a direct one
    /// is still to be taken out of the ring's table. `None`: it was closed meanwhile.
    ///
    /// [`install`]: super::operation::Operation::install
    pub(super) fn installed(
        &mut self,
        slot: u32,
        completion: &cqueue::Entry,
    ) -> Option<std::io::Result<OwnedFd>> {
        match self {
            Self::Direct if completion.result() < 0 => {
                Some(Err(std::io::Error::from_raw_os_error(-completion.result())))
            }
            // SAFETY: the kernel has opened it for us, and each completion is looked at once.
            Self::Direct => Some(Ok(unsafe { OwnedFd::from_raw_fd(completion.result()) })),
            Self::Ordinary(descriptors) => descriptors.get_mut(slot as usize)?.take().map(Ok),
        }
    }

    /// The same, for the operation that closes it: it is the kernel's from here on.
    pub(super) fn release(&mut self, slot: u32) -> Socket {
        match self {
            Self::Direct => Socket::Direct(slot),
            Self::Ordinary(descriptors) => {
                let socket = descriptors[slot as usize].take();
                Socket::Ordinary(socket.expect("an open connection has a socket").into_raw_fd())
            }
        }
    }
}

impl Socket {
    /// What an operation has in its entry's `fd`, to be read with [`flags`](Self::flags).
    pub(super) fn fd(self) -> types::Fd {
        match self {
            Self::Direct(slot) => types::Fd(slot as i32),
            Self::Ordinary(descriptor) => types::Fd(descriptor),
        }
    }

    /// The flags by which the kernel knows which table is meant.
    pub(super) fn flags(self) -> squeue::Flags {
        match self {
            Self::Direct(_) => squeue::Flags::FIXED_FILE,
            Self::Ordinary(_) => squeue::Flags::empty(),
        }
    }
}
