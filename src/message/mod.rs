//! The words that an application and the engine have in common: what is said, to whom, and how it
//! may end.
//!
//! Plain values. Nothing here knows a shard, a connection's state or a channel's type; both sides
//! import this folder, and it imports `protocol` and streams alone.

mod topic;
mod transport;

mod payload;
mod raw_json;

mod event;
mod params;

mod decode_error;
mod explained;
mod object;

mod broadcast;

mod request;
mod response;

mod encoding;

mod crash;
mod end_reason;
mod refusal;
mod refused;
mod stop;

mod ids;
mod kept;

pub use broadcast::{Broadcast, BroadcastError};
pub(crate) use crash::Rejected;
pub use crash::{Crash, JoinError, Rejection};
pub use decode_error::DecodeError;
pub(crate) use decode_error::beginning;
pub(crate) use encoding::Encoding;
pub(crate) use end_reason::{EndReason, Farewell};
pub(crate) use event::decode_params;
pub use event::{EventError, FromEvent, NoEvents, RawEvent};
pub(crate) use ids::{GlobalProcessId, LineId, ProcessId};
pub(crate) use kept::{keep, kept};
pub(crate) use params::from_params;
pub use payload::{IntoPayload, Json, Payload, PayloadError, PayloadRef};
pub use raw_json::RawJson;
pub use refusal::{AddressError, ReplyError};
pub use refused::Refused;
pub use request::Request;
pub use response::Response;
pub(crate) use response::{Fallback, Handle, PlainRoute, Routes, segments};
pub use stop::Stop;
pub use topic::Topic;
pub use transport::TransportName;
