//! Why a client's bytes were refused.

use super::CloseCode;
use super::text::NotUtf8;

/// What a client did that ends its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("reserved bits set without an extension")]
    ReservedBits,
    #[error("reserved opcode {0:#x}")]
    ReservedOpCode(u8),
    #[error("unmasked frame")]
    Unmasked,
    #[error("fragmented control frame")]
    FragmentedControl,
    #[error("control frame of more than 125 bytes")]
    ControlTooBig,
    #[error("payload length not in its shortest form")]
    LengthNotShortest,
    #[error("payload length with its highest bit set")]
    LengthTooBig,
    #[error("continuation without a message to continue")]
    NothingToContinue,
    #[error("new message before the last fragment of another")]
    MessageUnfinished,
    #[error("close frame of one byte")]
    CloseCutShort,
    #[error("close reason not UTF-8")]
    CloseReasonNotUtf8,
    #[error("text not UTF-8")]
    TextNotUtf8,
    #[error("frame of {size} bytes exceeds max_frame_size ({max})")]
    FrameTooBig { size: u64, max: usize },
    #[error("message of {size} bytes exceeds max_message_size ({max})")]
    MessageTooBig { size: u64, max: usize },
}

impl Error {
    /// The code to close with.
    pub(crate) fn close_code(&self) -> CloseCode {
        match self {
            Self::TextNotUtf8 | Self::CloseReasonNotUtf8 => CloseCode::INVALID_FRAME_PAYLOAD_DATA,
            Self::FrameTooBig { .. } | Self::MessageTooBig { .. } => CloseCode::MESSAGE_TOO_BIG,
            Self::ReservedBits
            | Self::ReservedOpCode(_)
            | Self::Unmasked
            | Self::FragmentedControl
            | Self::ControlTooBig
            | Self::LengthNotShortest
            | Self::LengthTooBig
            | Self::NothingToContinue
            | Self::MessageUnfinished
            | Self::CloseCutShort => CloseCode::PROTOCOL_ERROR,
        }
    }
}

impl From<NotUtf8> for Error {
    fn from(_: NotUtf8) -> Self {
        Self::TextNotUtf8
    }
}
