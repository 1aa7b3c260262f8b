//! One test at a time: each of them wants the machine for itself.

use std::sync::{Mutex, MutexGuard, PoisonError};

static STAGE: Mutex<()> = Mutex::new(());

/// Waits until no other test of this binary is on.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    STAGE.lock().unwrap_or_else(PoisonError::into_inner)
}
