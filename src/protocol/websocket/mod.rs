//! WebSocket, server side (RFC 6455): received bytes to messages, payloads to frames.
//!
//! ```text
//!  bytes of one receive ─▶ Input ─▶ Message::Text("…")        borrowed from those bytes,
//!                            │  ▲                             unmasked where they lie
//!                   at its end  at the next receive's start
//!                            ▼  │
//!                           Partial                           an unfinished frame or message
//! ```
//!
//! A frame that lies whole in one receive is handed out without a copy. What does not is copied to
//! a [`Partial`], which the connection keeps until more arrives; a connection at rest, between two
//! messages, keeps nothing. Every rule of the protocol is checked as early as the bytes allow:
//! a header before any of its payload is kept, text as it arrives.
//!
//! Nothing here answers a client. The caller does, with [`write_pong`], [`write_close`] and
//! [`close_reply`], and it ends the connection after an [`Error`] or a [`Message::Close`]. No
//! extension is negotiated, so all reserved bits are refused.

mod input;
mod partial;

mod header;
mod mask;
mod text;

mod close;
mod output;

mod error;
#[cfg(test)]
mod tests;

pub(crate) use close::{CloseCode, close_reply};
pub(crate) use error::Error;
pub(crate) use header::OpCode;
pub(crate) use input::{Ahead, Input};
pub(crate) use output::{MAX_CLOSE_REASON, try_write_frame};
pub(crate) use output::{write_close, write_close_with, write_pong};
pub(crate) use partial::Partial;

/// What a client's frames and messages may weigh, in bytes of payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Of one frame. Judged by the length that its header announces, before anything is kept.
    pub(crate) max_frame_size: usize,
    /// Of one message, over all of its fragments.
    pub(crate) max_message_size: usize,
}

/// What a client has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    /// To be answered with a pong that has the same payload: [`write_pong`].
    Ping(&'a [u8]),
    /// Unasked for, since the server sends no pings. A sign of life and nothing more.
    Pong,
    /// The client's code, absent when the frame was empty. To be answered with [`close_reply`].
    Close(Option<CloseCode>),
}
