//! What each client is owed.

pub(crate) mod connection;
pub(crate) mod send_queue;
