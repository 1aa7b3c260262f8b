//! Sockets and their channels.

pub(crate) mod calls;
pub(crate) mod mount;
pub(crate) mod process;
pub(crate) mod run;
pub(crate) mod session;
pub(crate) mod timers;
