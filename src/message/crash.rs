//! Failures of the application, and the two ways to say no.

use std::fmt;

use super::refused::Refused;

/// Why a join or a connection is not granted: it is refused, and the client is told, or it failed.
///
/// Made by `?` from [`Refused`] or from any error.
#[derive(Debug)]
pub enum Rejection {
    /// The client is told so.
    Refused(Refused),
    /// A failure of the application: logged with its text; a joining client is told
    /// `join crashed`, a connecting one gets status 500.
    Crash(Crash),
}

impl From<Refused> for Rejection {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<Crash> for Rejection {
    fn from(crash: Crash) -> Self {
        Self::Crash(crash)
    }
}

impl<E: std::error::Error + 'static> From<E> for Rejection {
    fn from(error: E) -> Self {
        Self::Crash(Crash::from(error))
    }
}

/// An error that ends a channel.
///
/// Made by `?` from any error, or by [`Crash::new`] from a text. Like the well-known dynamic error
/// types it is itself no `Error`, so that it can be made from all that are.
pub struct Crash(Box<dyn std::error::Error>);

impl Crash {
    /// A failure described by a text.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into().into())
    }
}

impl<E: std::error::Error + 'static> From<E> for Crash {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
