//! Entry: from any thread to a shard, or to all of them.
//!
//! Whoever calls from a shard's own thread takes that shard's own path, so that the order of one
//! sender's messages is kept and nothing goes round by a queue; from another shard it goes over the
//! mesh; from any other thread into the shard's inbox.

use std::sync::Arc;

use crossbeam_channel::TrySendError;

use super::channels::Question;
use super::links::{Info, LateFrame, Parcel, Remote, Shared};
use super::local::Local;
use crate::message::{AddressError, Broadcast, BroadcastError, Payload, ReplyError, keep};

/// Sends a broadcast to everyone on this node.
///
/// # Errors
///
/// Those of [`BroadcastError`]: from a shard, what is wrong there too; from another thread, that the
/// inbox of some shard was full.
pub(crate) fn broadcast(shared: &Arc<Shared>, broadcast: &Broadcast) -> Result<(), BroadcastError> {
    if let Some(local) = Local::current()
        && Arc::ptr_eq(&local.shared, shared)
        && let Ok(mut core) = local.core.try_borrow_mut()
    {
        return core.hub.broadcast(broadcast);
    }
    shared.broadcast(broadcast)
}

/// Whether this thread is a shard's, on which nothing may block.
pub(crate) fn is_here() -> bool {
    Local::current().is_some()
}

/// Sends a message of the application's to a process of some shard.
pub(crate) fn send_info(remote: &Arc<Remote>, info: Info) -> Result<(), AddressError> {
    send(remote, Parcel::Info(Box::new(info))).map_err(|error| match error {
        Refusal::Here(refusal) => refusal,
        Refusal::Full => AddressError::Full,
        Refusal::Gone => AddressError::Gone,
    })
}

/// Answers a client's message of some shard.
pub(crate) fn answer(
    remote: &Arc<Remote>,
    question: &Question,
    status: &str,
    response: &Payload,
) -> Result<(), ReplyError> {
    let mut frame = Vec::new();
    let refs = (question.join_ref.as_ref(), question.message_ref.as_ref());
    let topic = (&*question.topic).into();
    let encoded = question.encoding.reply(&mut frame, refs, topic, status, response);
    encoded.map_err(|error| ReplyError::Encode(error.to_string()))?;
    let (process, line) = (question.process, question.line);
    let late = LateFrame { process, line, frame: keep(frame) };
    send(remote, Parcel::Reply(Box::new(late))).map_err(|error| match error {
        Refusal::Here(_) | Refusal::Full => ReplyError::Full,
        Refusal::Gone => ReplyError::Gone,
    })
}

/// Why a parcel did not arrive.
enum Refusal {
    /// The shard itself says no.
    Here(AddressError),
    /// A queue on the way is full.
    Full,
    /// The shard has ended.
    Gone,
}

/// Sends a parcel for one client or process to its shard, by the shortest way.
fn send(remote: &Arc<Remote>, parcel: Parcel) -> Result<(), Refusal> {
    let sent = match Local::current() {
        Some(local) => match local.core.try_borrow_mut() {
            Ok(mut core) if Arc::ptr_eq(local.remote(), remote) => {
                return match parcel {
                    Parcel::Info(info) => core.hub.send_info(*info).map_err(Refusal::Here),
                    parcel => {
                        core.hub.receive(parcel);
                        Ok(())
                    }
                };
            }
            Ok(mut core) if local.is_beside(remote) => core.hub.links.send(remote.shard, parcel),
            _ => remote.send(parcel),
        },
        None => remote.send(parcel),
    };
    // What did not arrive may be the application's, and is dropped here, where nothing is borrowed.
    sent.map_err(|error| match error {
        TrySendError::Full(parcel) => {
            parcel.note_full();
            Refusal::Full
        }
        TrySendError::Disconnected(_) => Refusal::Gone,
    })
}

impl Local {
    /// Whether a shard is another of the same endpoint, so that the mesh leads there.
    fn is_beside(&self, remote: &Arc<Remote>) -> bool {
        let its = self.shared.remotes.get(remote.shard);
        its.is_some_and(|its| Arc::ptr_eq(its, remote)) && !Arc::ptr_eq(self.remote(), remote)
    }
}
