//! Topics by their names.

use std::fmt;
use std::rc::Rc;

/// A topic as a channel sees it: its name, and the part that a route's `*` stood for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Topic {
    name: Rc<str>,
    wildcard: u32,
}

impl Topic {
    pub(crate) fn new(name: Rc<str>, wildcard: usize) -> Self {
        Self { name, wildcard: u32::try_from(wildcard).expect("a route's prefix is short") }
    }

    /// The whole name, `room:lobby`.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// What the `*` of the route stands for: `lobby` in `room:lobby` under `room:*`; empty for an
    /// exact route.
    pub fn wildcard(&self) -> &str {
        &self.name[self.wildcard as usize..]
    }
}

impl std::ops::Deref for Topic {
    type Target = str;

    fn deref(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.name, f)
    }
}
