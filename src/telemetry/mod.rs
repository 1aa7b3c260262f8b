//! What the server says of itself.

pub(crate) mod log;
