//! Why a request's head was refused.

/// What is wrong with a request, whatever it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("request head exceeds max_head_size ({max})")]
    HeadTooLarge { max: usize },
    #[error("request with more than {max} headers")]
    TooManyHeaders { max: usize },
    #[error("malformed request: {0}")]
    Malformed(httparse::Error),
    #[error("line feed without a carriage return")]
    BareLineFeed,
    #[error("request target neither a path nor a URL")]
    Target,
    #[error("more than one host header")]
    SecondHost,
    #[error("content-length is not one number")]
    ContentLength,
    #[error("transfer-encoding of a body whose end cannot be known")]
    TransferEncoding,
    #[error("HTTP version neither 1.0 nor 1.1")]
    Version,
}

impl Error {
    /// The status to answer with, before the connection is closed.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::HeadTooLarge { .. } | Self::TooManyHeaders { .. } => 431,
            Self::Version => 505,
            Self::Malformed(_)
            | Self::BareLineFeed
            | Self::Target
            | Self::SecondHost
            | Self::ContentLength
            | Self::TransferEncoding => 400,
        }
    }
}
