//! The gate: which of a server's listeners get new clients.
//!
//! The kernel deals clients out to all listeners at an address, also to one that accepts nobody: its
//! share of them hangs while the others idle. So a shard that can't accept, because it is full or
//! held up, stands aside: a program of four instructions and two for each shard deals new clients out
//! among the rest. Who stands in its queue already stays there.
//!
//! The kernel numbers the listeners at an address in the order in which they began to listen, whose
//! ever they are. So it is done only where no other process may listen there.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};

/// The listeners at one address, by their shards.
#[derive(Debug, Default)]
pub(crate) struct Gate(Option<Group>);

#[derive(Debug)]
struct Group {
    /// The first of them. What is said to one is said to all.
    listener: TcpListener,
    /// Why each shard stands aside, a bit a [`Why`].
    aside: Mutex<Vec<u8>>,
}

/// Why a shard takes no clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Why {
    /// It has no room, or the kernel has none for it.
    Full = 1,
    /// Its thread is held up.
    Held = 2,
}

impl Gate {
    /// For these listeners, which are all there are at one address, in the order in which they began
    /// to listen.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    pub(crate) fn new(listeners: &[TcpListener]) -> io::Result<Self> {
        let [first, _, ..] = listeners else { return Ok(Self::default()) };
        let aside = Mutex::new(vec![0; listeners.len()]);
        Ok(Self(Some(Group { listener: first.try_clone()?, aside })))
    }

    /// Has a shard stand aside for this reason, or no longer.
    pub(crate) fn set(&self, shard: usize, why: Why, stands_aside: bool) {
        let Some(group) = &self.0 else { return };
        // It is a list of flags: nobody who panicked has left it half changed.
        let mut aside = group.aside.lock().unwrap_or_else(PoisonError::into_inner);
        let before = aside[shard];
        let after = if stands_aside { before | why as u8 } else { before & !(why as u8) };
        aside[shard] = after;
        if (before == 0) != (after == 0)
            && let Err(error) = group.deal(&aside)
        {
            tracing::warn!(%error, shard, stands_aside, "the kernel can't be told of it");
        }
    }
}

impl Group {
    /// Has the kernel deal clients out among those who don't stand aside; if all do, among all.
    fn deal(&self, aside: &[u8]) -> io::Result<()> {
        let open = (0..).zip(aside).filter(|(_, why)| **why == 0).map(|(shard, _)| shard);
        let open: Vec<u32> = open.collect();
        if open.is_empty() || open.len() == aside.len() {
            return match self.set_option(SO_DETACH_REUSEPORT_BPF, &0u32) {
                // There was none.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
                result => result,
            };
        }
        let mut program = deal_among(&open);
        let length = u16::try_from(program.len()).expect("there are at most 1,024 shards");
        let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
        self.set_option(SO_ATTACH_REUSEPORT_CBPF, &program)
    }

    fn set_option<T>(&self, name: libc::c_int, value: &T) -> io::Result<()> {
        let (socket, length) = (self.listener.as_raw_fd(), size_of::<T>() as libc::socklen_t);
        let value = (&raw const *value).cast();
        // SAFETY: `value` points at what this option has, which is read within the call, the
        // instructions that a program points at too.
        if unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, name, value, length) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

/// A program that picks one of these at random.
fn deal_among(open: &[u32]) -> Vec<libc::sock_filter> {
    let step = |code: u32, jump_if_not: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: jump_if_not,
        k,
    };
    let random = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM) as u32;
    let mut program = vec![
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, random),
        step(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, 0, open.len() as u32),
    ];
    for (number, shard) in (0..).zip(open) {
        program.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, number));
        program.push(step(libc::BPF_RET | libc::BPF_K, 0, *shard));
    }
    // Never reached; but a program has to end. So many listeners there are not: deal as you like.
    program.push(step(libc::BPF_RET | libc::BPF_K, 0, u32::MAX));
    program
}

/// `libc` has no names for these. Where an architecture numbers them otherwise (SPARC, PA-RISC), the
/// kernel says so, and clients are dealt out to all.
const SO_ATTACH_REUSEPORT_CBPF: libc::c_int = 51;
const SO_DETACH_REUSEPORT_BPF: libc::c_int = 68;

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpStream};

    use super::super::listener::{Options, bind};
    use super::*;

    /// How many of so many clients come to each listener.
    fn dealt(listeners: &[TcpListener], address: SocketAddr) -> Vec<usize> {
        let clients: Vec<_> = (0..60).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut dealt = Vec::new();
        for listener in listeners {
            listener.set_nonblocking(true).unwrap();
            dealt.push(std::iter::from_fn(|| listener.accept().ok()).count());
        }
        assert_eq!(dealt.iter().sum::<usize>(), clients.len());
        dealt
    }

    #[test]
    fn clients_go_to_those_who_do_not_stand_aside() {
        let address = "127.0.0.1:0".parse().unwrap();
        let listeners = bind(address, 4, &Options::default()).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let gate = Gate::new(&listeners).unwrap();
        let who = || dealt(&listeners, address).iter().map(|count| *count > 0).collect::<Vec<_>>();
        assert_eq!(who(), [true; 4]);
        gate.set(1, Why::Full, true);
        assert_eq!(who(), [true, false, true, true]);
        gate.set(1, Why::Held, true);
        gate.set(0, Why::Held, true);
        gate.set(3, Why::Full, true);
        assert_eq!(who(), [false, false, true, false]);
        gate.set(1, Why::Full, false);
        gate.set(0, Why::Held, false);
        assert_eq!(who(), [true, false, true, false]);
        // There is nobody for whom to stand aside.
        gate.set(0, Why::Full, true);
        gate.set(2, Why::Full, true);
        assert_eq!(who(), [true; 4]);
        (0..4).for_each(|shard| gate.set(shard, Why::Full, false));
        gate.set(1, Why::Held, false);
        assert_eq!(who(), [true; 4]);
    }

    #[test]
    fn a_shard_alone_stands_aside_for_nobody() {
        let listeners = bind("127.0.0.1:0".parse().unwrap(), 1, &Options::default()).unwrap();
        let gate = Gate::new(&listeners).unwrap();
        gate.set(0, Why::Full, true);
        assert_eq!(dealt(&listeners, listeners[0].local_addr().unwrap()), [60]);
    }
}
