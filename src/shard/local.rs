//! A shard on its own thread.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::core::Core;
use super::links::{Here, Remote, Shared};

/// A shard as the code on its thread sees it.
pub(crate) struct Local {
    /// Borrowed by whoever is at work on it, and never while the application's code runs.
    pub(super) core: RefCell<Core>,
    pub(super) shared: Arc<Shared>,
    /// What its wakers find of it while it is borrowed.
    pub(super) here: Here,
}

impl Local {
    pub(super) fn remote(&self) -> &Arc<Remote> {
        &self.here.remote
    }

    /// Makes this the shard of this thread for a while.
    pub(crate) fn enter(self: &Rc<Self>) -> Entered {
        Entered {
            before: CURRENT.replace(Some(self.clone())),
            here: Here::enter(Some(self.here.clone())),
        }
    }

    /// The shard of this thread, if it has one.
    pub(super) fn current() -> Option<Rc<Self>> {
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }
}

/// While this lives, a shard is its thread's own.
pub(crate) struct Entered {
    before: Option<Rc<Local>>,
    here: Option<Here>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
        Here::enter(self.here.take());
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Local>>> = const { RefCell::new(None) };
}
