//! Refusals: what a client is told that may not have what it asked for.

use super::payload::{IntoPayload, Payload};

/// A refusal that the client is told of: of a connection in
/// [`SocketHandler::connect`](crate::SocketHandler::connect), of a topic
/// in [`Channel::join`](crate::Channel::join).
///
/// ```
/// use simurgh::{Refused, Json};
///
/// // A join: {"status":"error","response":{"reason":"unauthorized"}}
/// let refused = Refused::reason("unauthorized");
/// // A connection: status 429 and a body
/// let refused = Refused::status(429).body("slow down");
/// ```
#[derive(Debug, Clone)]
pub struct Refused {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) response: Payload,
}

impl Refused {
    /// A join's refusal with `{"reason": reason}`.
    pub fn reason(reason: &str) -> Self {
        Self::with_response(serde_json::json!({ "reason": reason }))
    }

    /// A join's refusal with a response of its own; one that can't be made into JSON is `{}`.
    pub fn with_response(response: impl IntoPayload) -> Self {
        let response = response.into_payload().unwrap_or_else(|error| {
            tracing::error!(%error, "the response of a refusal can't be encoded");
            Payload::empty()
        });
        Self { response, ..Self::default() }
    }

    /// A connection's refusal with a status of its own, 400 to 599.
    ///
    /// # Panics
    ///
    /// When `status` is none of these: a refusal can't look like a success.
    pub fn status(status: u16) -> Self {
        assert!((400..600).contains(&status), "a refusal's status is 400 to 599, not {status}");
        Self { status, ..Self::default() }
    }

    /// The text that is sent with the status.
    #[must_use]
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }
}

impl Default for Refused {
    /// Status 403 without a body; for a join, the response `{}`.
    fn default() -> Self {
        Self { status: 403, body: String::new(), response: Payload::empty() }
    }
}
