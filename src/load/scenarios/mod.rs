//! What a load can do: one file a scenario.

mod connections;
mod joins;

mod pushes;

mod broadcasts;
mod listeners;

mod visits;

pub use visits::Visit;
