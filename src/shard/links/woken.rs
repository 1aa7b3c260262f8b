//! Who was woken.

use crate::io::ConnectionId;
use crate::message::ProcessId;

/// Who goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    /// A callback of a process.
    Process(ProcessId),
    /// A `connect` that runs for a connection.
    Connect(ConnectionId),
}
