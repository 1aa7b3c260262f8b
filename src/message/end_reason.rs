//! Why a connection ends, and how its client is told.

use std::time::Duration;

use crate::protocol::websocket::CloseCode;

/// Why we end a connection, or how it has ended by itself.
///
/// The one place that says what a reason means to the client ([`farewell`](Self::farewell)); what is
/// counted and logged of it stands in the [catalogue](crate::telemetry).
#[derive(Debug)]
pub(crate) enum EndReason {
    /// The kernel says that it is broken.
    Broken(std::io::Error),
    /// Nothing could be written to it: the peer is gone, and its last completion will say so.
    Unwritable,
    /// It owes more than it may: its reader does not read.
    SlowReader { max_send_queue: usize },
    /// It has most of what is kept for clients, and all together have too much.
    KeepsMost { bytes: usize, max_kept_bytes: usize },
    /// The kernel has broken it, because its reader took nothing of what it owes for so long.
    StuckReader { send_timeout: Duration },
    /// It is the oldest of those that have begun to say something, and they have too many bytes.
    Unfinished { max_partial_bytes: usize },
    /// It is the oldest of those that have not asked for anything, and there are too many of them.
    NeverAsked { max_handshakes: usize },
    /// Its frames can't be read.
    BadFrame { code: CloseCode, error: String },
    /// A message of it can't be read.
    BadMessage { error: String },
    /// It sent too much before `connect` had answered.
    TooEarly,
    /// Its socket's id was disconnected.
    Disconnected,
    /// A channel of its socket closes it.
    Asked { code: CloseCode, reason: String },
    /// The server ends.
    Draining,
    /// Nothing came from it for too long.
    Idle,
    /// Its request was not whole in time.
    SlowRequest,
    /// It was on its way out for too long.
    Overdue,
}

/// How a client is told that its socket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// By a Close with this code, which it is to answer.
    Close(CloseCode),
    /// By a Close with this code. Nothing that it still says is understood, its own Close among it.
    Fail(CloseCode),
    /// Not at all.
    Silent,
}

impl EndReason {
    /// What the Close says besides its code: what the application wants said; and of a code of ours
    /// that could mean anything, what was wrong, so that whoever writes a client need not ask for the
    /// server's log. Without a client's words in it.
    pub(crate) fn words(&self) -> &str {
        match self {
            Self::Asked { reason, .. } => reason,
            Self::BadMessage { error } => error,
            _ => "",
        }
    }

    /// How the client of an open socket is told. A connection that is no open socket goes silently.
    pub(crate) fn farewell(&self) -> Farewell {
        match self {
            Self::Disconnected => Farewell::Close(CloseCode::GOING_AWAY),
            Self::Draining => Farewell::Close(CloseCode::SERVICE_RESTART),
            // As Phoenix: its transport process crashes.
            Self::BadMessage { .. } => Farewell::Close(CloseCode::INTERNAL_ERROR),
            // As Bandit, which times out with a protocol error.
            Self::Idle => Farewell::Close(CloseCode::PROTOCOL_ERROR),
            Self::Asked { code, .. } => Farewell::Close(*code),
            Self::BadFrame { code, .. } => Farewell::Fail(*code),
            // It has done nothing that another client may not do, and is to try again.
            Self::Unfinished { .. } => Farewell::Fail(CloseCode::TRY_AGAIN_LATER),
            Self::Broken(_)
            | Self::Unwritable
            | Self::SlowReader { .. }
            | Self::KeepsMost { .. }
            | Self::StuckReader { .. }
            | Self::NeverAsked { .. }
            | Self::TooEarly
            | Self::SlowRequest
            | Self::Overdue => Farewell::Silent,
        }
    }
}
