//! Transports by name, as an application sees them.

use std::fmt;

/// What carries a client's messages, as Phoenix names it. Others will follow.
///
/// ```
/// use simurgh::TransportName;
///
/// assert_eq!(TransportName::WebSocket.to_string(), "websocket");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportName {
    /// A WebSocket.
    WebSocket,
}

impl TransportName {
    /// The name that Phoenix has for it: `websocket`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
        }
    }
}

impl fmt::Display for TransportName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
