//! What the server says of itself.
//!
//! Whatever happens on a shard that anybody may want to hear of is an [`Event`] of the `catalogue`,
//! and is told once, where it happens. The catalogue knows what is counted of it and what the log
//! says: whoever else is to listen one day listens there, and no path changes for it.

mod catalogue;
mod counts;
#[cfg(feature = "testing")]
mod holdings;
mod log;
pub(crate) mod rates;
pub(crate) mod text;
mod who;

pub(crate) use catalogue::{Event, Held, Telemetry, Unexpected};
pub use counts::ShardCounts;
pub(crate) use counts::Tally;
#[cfg(feature = "testing")]
pub use holdings::Holdings;
pub(crate) use who::Who;
