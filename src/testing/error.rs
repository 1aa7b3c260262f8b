use std::fmt;
use std::time::Duration;

use super::message::{Malformed, Message};

/// Why a client did not come to be connected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server answered with something other than an upgrade.
    #[error("refused with status {status}: {body:?}")]
    Refused {
        /// The status, 403 and the like.
        status: u16,
        /// The body, with what is not UTF-8 replaced.
        body: String,
        /// The headers in the order they came, their names in lower case.
        headers: Vec<(String, String)>,
    },
    /// The server could not be reached, or hung up.
    #[error("no connection to {addr}")]
    Io {
        /// The address tried.
        addr: std::net::SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The request was not answered in time.
    #[error("the request was not answered within {0:?}")]
    TimedOut(Duration),
    /// The request can't be made, or the answer to it is no proper handshake.
    #[error("the handshake failed")]
    Handshake(#[source] Box<tungstenite::Error>),
}

/// Why a wait ended without what was waited for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It did not come in time.
    #[error("waited {waited:?} for {waiting_for}; {unread}")]
    TimedOut {
        /// What was waited for.
        waiting_for: String,
        /// How long.
        waited: Duration,
        /// What had arrived and was not read.
        unread: Unread,
    },
    /// The server closed the connection first.
    #[error("waited for {waiting_for}, but the server closed with {code:?}; {unread}")]
    Closed {
        /// What was waited for.
        waiting_for: String,
        /// The code in the close frame; absent when that was empty.
        code: Option<u16>,
        /// What had arrived and was not read.
        unread: Unread,
    },
    /// The connection ended without a close frame.
    #[error("waited for {waiting_for}, but the connection was lost ({cause}); {unread}")]
    Lost {
        /// What was waited for.
        waiting_for: String,
        /// What the system or the WebSocket said.
        cause: String,
        /// What had arrived and was not read.
        unread: Unread,
    },
    /// Something else came first.
    #[error("expected {waiting_for}, but there came {came}; {unread}")]
    Unexpected {
        /// What was waited for.
        waiting_for: String,
        /// What came.
        came: Box<Message>,
        /// What had arrived after it.
        unread: Unread,
    },
    /// A frame came that no server should send.
    #[error("the server sent a malformed frame")]
    Malformed(#[from] Malformed),
}

/// What had arrived and was not read when a wait ended, for its error to tell.
#[derive(Clone, Debug, Default)]
pub struct Unread {
    count: usize,
    first: Vec<String>,
}

impl Unread {
    pub(super) fn new<'a>(messages: impl ExactSizeIterator<Item = &'a Message>) -> Self {
        let count = messages.len();
        let shorten = |message: &Message| {
            let text = message.to_string();
            match text.char_indices().nth(MAX_TOLD_CHARS) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            }
        };
        Self { count, first: messages.take(MAX_TOLD).map(shorten).collect() }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return f.write_str("nothing is unread");
        }
        write!(f, "unread: {}", self.first.join(" "))?;
        match self.count - self.first.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Messages an error tells of, and the characters it gives each: enough to see what went wrong,
/// little enough to find it in a test's output.
const MAX_TOLD: usize = 10;
const MAX_TOLD_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::message::Version;

    fn message(event: &str) -> Message {
        Version::V2.decode(&format!(r#"[null,null,"t","{event}",{{}}]"#)).unwrap()
    }

    fn told(messages: &[Message]) -> String {
        Unread::new(messages.iter()).to_string()
    }

    #[test]
    fn what_is_unread_is_told_in_its_order() {
        assert_eq!(told(&[]), "nothing is unread");
        let two = told(&[message("a"), message("b")]);
        assert_eq!(two, r#"unread: [null,null,"t","a",{}] [null,null,"t","b",{}]"#);
    }

    #[test]
    fn of_many_unread_messages_the_first_are_told_and_the_rest_counted() {
        assert!(!told(&vec![message("e"); MAX_TOLD]).contains("more"));
        let many = told(&vec![message("e"); MAX_TOLD + 2]);
        assert!(many.ends_with(r#""e",{}] and 2 more"#), "{many}");
    }

    #[test]
    fn a_long_message_is_told_by_its_beginning() {
        // Cut between characters, not between their bytes.
        for long in ["x", "é", "…"] {
            let told = told(&[message(&long.repeat(MAX_TOLD_CHARS))]);
            let Some(beginning) = told.strip_prefix("unread: ") else { panic!("{told}") };
            assert_eq!(beginning.chars().count(), MAX_TOLD_CHARS + 1);
            assert!(beginning.ends_with(&format!("{long}…")), "{told}");
        }
    }
}
