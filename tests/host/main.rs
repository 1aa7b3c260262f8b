//! What a host gives the server and what becomes of it: descriptors, locked memory, memory, and
//! clients in numbers that one process cannot have by itself.
//!
//! A test that needs further processes starts its own binary again, with a part to play: see
//! `actor`. All of them share one machine, so each waits for the others: see `stage`.

#![expect(clippy::disallowed_methods, reason = "a test waits, and not for ever")]

mod actor;
mod app;
mod aside;
mod crowd;
mod lone_server;
mod memory;
mod restarts;
mod scarcity;
mod silence;
mod sixty_thousand;
mod stage;
mod stopped;
mod together;
