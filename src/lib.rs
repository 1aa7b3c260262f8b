//! Phoenix Channels for Rust, on Linux: thread-per-core over io_uring.

#[cfg(not(target_os = "linux"))]
compile_error!("simurgh runs on Linux only: it is built on io_uring");

mod io;
mod protocol;
#[cfg(feature = "testing")]
pub mod testing;
