//! One test at a time: each of them wants the machine for itself.

use std::sync::{Mutex, MutexGuard, PoisonError};

static STAGE: Mutex<()> = Mutex::new(());

/// Whether the tests are to take the time that they would like to: see `tests/README.md`.
pub(crate) fn is_long() -> bool {
    std::env::var_os("SIMURGH_LONG").is_some()
}

/// Waits until no other test of this binary is on.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    STAGE.lock().unwrap_or_else(PoisonError::into_inner)
}
