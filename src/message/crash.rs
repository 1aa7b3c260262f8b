//! Failures of the application, and the ways to say no.

use std::fmt;

use super::refused::Refused;
use super::response::Response;

/// Why a join is not granted: it is refused, and the client is told what the [`Refused`] says, or it
/// failed, which is logged, and the client is told `join crashed`.
///
/// Made by `?` from a [`Refused`], a [`Crash`] or from any error.
#[derive(Debug)]
pub enum JoinError {
    /// The client is told so.
    Refused(Refused),
    /// A failure of the application.
    Crash(Crash),
}

impl From<Refused> for JoinError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<Crash> for JoinError {
    fn from(crash: Crash) -> Self {
        Self::Crash(crash)
    }
}

impl<E: Into<AnyError>> From<E> for JoinError {
    fn from(error: E) -> Self {
        Self::Crash(Crash::from(error))
    }
}

/// Why a connection is not accepted: it is refused, and the client gets an answer of the
/// application's, or `connect` failed, which is logged, and the client gets status 500.
///
/// Made by [`status`](Self::status) and [`response`](Self::response), or by `?` from a [`Crash`] or
/// any error.
///
/// ```
/// use simurgh::{Rejection, Response};
///
/// let forbidden = Rejection::status(403);
/// let later = Response::new(429).header("retry-after", "10").text("slow down");
/// let later = Rejection::response(later);
/// ```
#[derive(Debug)]
pub struct Rejection(pub(crate) Rejected);

#[derive(Debug)]
pub(crate) enum Rejected {
    Refused(Response),
    Crash(Crash),
}

impl Rejection {
    /// A refusal with this status, 400 to 599, and no body. Phoenix's is 403.
    ///
    /// # Panics
    ///
    /// When `status` is none of these: a refusal can't look like a success.
    pub fn status(status: u16) -> Self {
        assert!((400..600).contains(&status), "a refusal's status is 400 to 599, not {status}");
        Self::response(Response::new(status))
    }

    /// A refusal with an answer of its own. A browser's WebSocket shows its page none of it.
    ///
    /// # Panics
    ///
    /// When the answer's status is not 400 to 599: a refusal can't look like a success.
    pub fn response(response: Response) -> Self {
        let status = response.status;
        assert!((400..600).contains(&status), "a refusal's status is 400 to 599, not {status}");
        Self(Rejected::Refused(response))
    }
}

impl From<Crash> for Rejection {
    fn from(crash: Crash) -> Self {
        Self(Rejected::Crash(crash))
    }
}

impl<E: Into<AnyError>> From<E> for Rejection {
    fn from(error: E) -> Self {
        Crash::from(error).into()
    }
}

/// An error that ends a channel.
///
/// Made by `?` from whatever can be made a `Box<dyn Error + Send + Sync>`: any error, such a box
/// itself, a `String` or a `&str`, an `anyhow::Error`. Like the well-known dynamic error types it is
/// itself no `Error`, so that it can be made from all that are.
///
/// ```
/// use simurgh::Crash;
///
/// fn half(text: &str) -> Result<u32, Crash> {
///     let number: u32 = text.parse()?;
///     if number % 2 == 1 {
///         Err(format!("{number} is odd"))?;
///     }
///     Ok(number / 2)
/// }
///
/// assert_eq!(half("7").unwrap_err().to_string(), "7 is odd");
/// ```
pub struct Crash(AnyError);

type AnyError = Box<dyn std::error::Error + Send + Sync>;

impl Crash {
    /// A failure described by a text.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into().into())
    }
}

impl<E: Into<AnyError>> From<E> for Crash {
    fn from(error: E) -> Self {
        Self(error.into())
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

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    /// What `?` takes in each callback.
    fn fails<E: Into<AnyError>>(error: E) -> [String; 3] {
        fn in_a_callback<E: Into<AnyError>>(error: E) -> Result<(), Crash> {
            Err(error)?
        }
        fn in_join(crash: Crash) -> Result<(), JoinError> {
            Err(crash)?
        }
        fn in_connect(error: impl Into<AnyError>) -> Result<(), Rejection> {
            Err(error)?
        }
        let crash = in_a_callback(error).unwrap_err();
        let first = crash.to_string();
        let JoinError::Crash(crash) = in_join(crash).unwrap_err() else { panic!("it crashed") };
        let second = crash.to_string();
        let Rejected::Crash(crash) = in_connect(first.clone()).unwrap_err().0 else { panic!() };
        [first, second, crash.to_string()]
    }

    #[test]
    fn whatever_can_be_a_boxed_error_is_a_crash() {
        let boxed = || Box::<dyn Error + Send + Sync>::from("boxed");
        assert_eq!(fails("text"), ["text"; 3]);
        assert_eq!(fails("a string".to_owned()), ["a string"; 3]);
        assert_eq!(fails(boxed()), ["boxed"; 3]);
        assert_eq!(fails(fmt::Error)[0], fmt::Error.to_string());
        let outer = anyhow::Error::from(fmt::Error).context("outer");
        assert_eq!(fails(outer)[0], format!("outer: {}", fmt::Error));
    }

    #[test]
    fn a_refused_join_is_no_crash() {
        fn join() -> Result<(), JoinError> {
            Err(Refused::reason("unauthorized"))?
        }
        assert!(matches!(join(), Err(JoinError::Refused(_))));
    }
}
