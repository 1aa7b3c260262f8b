//! What keeps a message from being read.

/// Why a message could not be read. The client's connection ends with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Malformed {
    /// No JSON, or a list too short, or not a list at all.
    #[error("unexpected input, or the end of it, at byte {at}")]
    Unexpected { at: usize },
    #[error("not UTF-8 from byte {at}")]
    NotUtf8 { at: usize },
    /// What begins here stands in as many containers as there may be.
    #[error("nested too deep at byte {at}")]
    TooDeep { at: usize },
    /// A ref, a topic or an event, as it stands in the JSON.
    #[error("ref, topic or event of more than {max} bytes ends at byte {at}")]
    FieldTooLong { at: usize, max: usize },
    #[error("number at byte {at} is out of range")]
    NumberOutOfRange { at: usize },
    #[error("half a surrogate pair at byte {at}")]
    LoneSurrogate { at: usize },
    /// An object of the first version lacks one of the four keys it must have.
    #[error("key `{key}` is missing")]
    MissingKey { key: &'static str },
    /// A binary message is none of those a client may send.
    #[error("binary message of unknown kind {kind}")]
    UnknownKind { kind: u8 },
    #[error("binary message is truncated")]
    Truncated,
}
