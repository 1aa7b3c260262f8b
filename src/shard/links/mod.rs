//! Other shards and other threads: the ways in and out of a shard that are no client's.

pub(crate) mod gaps;
pub(crate) mod interest;
pub(crate) mod mesh;
pub(crate) mod remote;
pub(crate) mod wakers;
