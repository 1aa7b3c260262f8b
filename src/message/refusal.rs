//! What a shard says to those who reach it from elsewhere in vain.

use super::payload::PayloadError;

/// Why an [`Address`](crate::Address) could not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The mailbox is full, or a queue on the way to its shard.
    #[error("the mailbox is full")]
    Full,
    /// The channel has ended, or the server has.
    #[error("the channel has ended")]
    Gone,
}

/// Why a late reply was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The response can't be made into JSON.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The reply can't be encoded for this client.
    #[error("{0}")]
    Encode(String),
    /// A queue on the way to the client's shard is full.
    #[error("the shard's inbox is full")]
    Full,
    /// The server has stopped.
    #[error("the server has stopped")]
    Gone,
}
