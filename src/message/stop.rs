//! Why a channel ends.

/// Why a channel ends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// It was done. The client sees `phx_close` and does not rejoin.
    Normal,
    /// The application ends it. The client sees `phx_close` and does not rejoin.
    Shutdown,
    /// The client left the topic.
    Left,
    /// The connection is gone.
    Closed,
    /// The server stops.
    Draining,
    /// Something else, in the application's words. The client sees `phx_error` and rejoins.
    Error(String),
}

impl Stop {
    /// Whether the client sees `phx_close` rather than `phx_error`.
    pub(crate) fn is_graceful(&self) -> bool {
        !matches!(self, Self::Error(_))
    }
}
