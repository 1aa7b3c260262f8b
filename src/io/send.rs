//! A batch of sends: submitted as the queues fill, settled when it is dropped.

use std::marker::PhantomData;
use std::time::Instant;

use super::doorbell::Doorbell;
use super::operation::Lending;
use super::ring::Ring;
use super::{ConnectionId, Unsent};

/// Sends that are being filled in, with a position each.
///
/// Dropping it settles them, also when whoever supplies the sends panics: no entry may point at
/// its bytes when they are gone.
pub(super) struct Batch<'a, 'bytes> {
    rings: &'a mut [Ring],
    /// What was not written whole, in order of a ring's sends but not of all.
    refused: &'a mut Vec<(u32, Unsent)>,
    position: u32,
    /// What is sent outlives the batch.
    bytes: PhantomData<&'bytes [u8]>,
}

impl<'a, 'bytes> Batch<'a, 'bytes> {
    pub(super) fn new(rings: &'a mut [Ring], refused: &'a mut Vec<(u32, Unsent)>) -> Self {
        // A batch whose supplier panicked has left its own.
        refused.clear();
        Self { rings, refused, position: 0, bytes: PhantomData }
    }

    pub(super) fn push(&mut self, id: ConnectionId, bytes: &'bytes [u8]) {
        let position = self.position;
        self.position += 1;
        let (index, slot) = (id.ring(), id.slot());
        let ring = match self.rings.get_mut(index) {
            Some(ring) if ring.is_open(id) => ring,
            _ => {
                self.refused.push((position, Unsent { id, written: 0, broken: true }));
                return;
            }
        };
        if ring.is_full() {
            settle(index, ring, self.refused);
        }
        ring.sending = true;
        let send = Lending::send(ring.sockets.socket(slot as u32), slot as u32, position, bytes);
        // SAFETY: the bytes outlive the batch, and `drop` settles the send.
        unsafe { ring.push_lending(&send) };
    }
}

impl Batch<'_, '_> {
    /// Sends, and sleeps until something happened, the doorbell was rung, or `until`.
    ///
    /// What could not be written is a completion, and so nobody sleeps over it.
    pub(super) fn rest(
        &mut self,
        doorbell: &Doorbell,
        until: Option<Instant>,
        is_idle: &dyn Fn() -> bool,
    ) {
        let (first, others) = self.rings.split_first_mut().expect("there is always a ring");
        for (index, ring) in others.iter_mut().enumerate() {
            settle(index + 1, ring, self.refused);
            ring.sending = false;
            ring.rouse_doorbell();
        }
        if !self.refused.is_empty() {
            return;
        }
        doorbell.announce();
        // Behind the fence in `announce`: work that was deferred before the kernel saw that it is
        // to ring is seen, and done, here. The first ring needs no doorbell, for its wait does the
        // work itself.
        let has_news = |ring: &mut Ring| {
            ring.exhaust();
            ring.has_news()
        };
        if is_idle() && !first.has_news() && !others.iter_mut().any(has_news) {
            first.wait(until.map(|until| until.saturating_duration_since(Instant::now())));
        }
        doorbell.withdraw();
    }
}

impl Drop for Batch<'_, '_> {
    fn drop(&mut self) {
        for (index, ring) in self.rings.iter_mut().enumerate() {
            if ring.sending {
                settle(index, ring, self.refused);
                ring.sending = false;
            }
        }
    }
}

fn settle(index: usize, ring: &mut Ring, refused: &mut Vec<(u32, Unsent)>) {
    ring.settle_sends(|token, result, slots| {
        let id = ConnectionId::new(index, token.slot as usize, slots.generation(token.slot));
        refused.push((token.stamp, unsent(id, result)));
    });
}

/// What a send's completion says.
fn unsent(id: ConnectionId, result: i32) -> Unsent {
    match result {
        0.. => Unsent { id, written: result as usize, broken: false },
        // The socket takes nothing now, or the kernel has no memory for it.
        _ if matches!(-result, libc::EAGAIN | libc::ENOMEM | libc::ENOBUFS) => {
            Unsent { id, written: 0, broken: false }
        }
        _ => Unsent { id, written: 0, broken: true },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_memory_breaks_no_connection() {
        let id = ConnectionId::new(0, 7, 1);
        assert_eq!(unsent(id, 12), Unsent { id, written: 12, broken: false });
        for errno in [libc::EAGAIN, libc::ENOMEM, libc::ENOBUFS] {
            assert_eq!(unsent(id, -errno), Unsent { id, written: 0, broken: false });
        }
        for errno in [libc::EPIPE, libc::ECONNRESET, libc::ETIMEDOUT, libc::ECANCELED] {
            assert_eq!(unsent(id, -errno), Unsent { id, written: 0, broken: true });
        }
    }
}
