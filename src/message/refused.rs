//! Refusals: what a client is told that may not join.

use super::payload::{IntoPayload, Payload};

/// A topic is refused to a client, in [`Channel::join`](crate::Channel::join), and what it is told:
/// `{"status":"error","response":…}`.
///
/// ```
/// use serde_json::json;
/// use simurgh::Refused;
///
/// // The response is {"reason":"unauthorized"}.
/// let refused = Refused::reason("unauthorized");
/// let refused = Refused::with_response(json!({ "reason": "full", "retry_in": 30 }));
/// ```
#[derive(Debug, Clone)]
pub struct Refused {
    pub(crate) response: Payload,
    /// Why the response is not the one that was meant.
    pub(crate) unencoded: Option<String>,
}

impl Refused {
    /// A refusal with `{"reason": reason}`, as clients expect it.
    pub fn reason(reason: &str) -> Self {
        Self::with_response(serde_json::json!({ "reason": reason }))
    }

    /// A refusal with a response of its own; one that can't be made into JSON is `{}`.
    pub fn with_response(response: impl IntoPayload) -> Self {
        match response.into_payload() {
            Ok(response) => Self { response, ..Self::default() },
            Err(error) => Self { unencoded: Some(error.to_string()), ..Self::default() },
        }
    }
}

impl Default for Refused {
    /// With the response `{}`.
    fn default() -> Self {
        Self { response: Payload::empty(), unencoded: None }
    }
}
