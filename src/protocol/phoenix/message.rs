//! A message, cut into its parts.

use std::borrow::Cow;

use super::Ref;
use super::text::as_text;

/// What a client said; all of it borrowed from the bytes it came in, as far as that is possible.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message<'a> {
    /// Which join of the topic this belongs to.
    pub(crate) join_ref: Ref<'a>,
    /// What the reply is to be numbered with.
    pub(crate) message_ref: Ref<'a>,
    pub(crate) topic: Field<'a>,
    pub(crate) event: Field<'a>,
    pub(crate) payload: RawPayload<'a>,
}

/// A topic or an event.
///
/// Nothing keeps a client from sending something other than a string. That is no error of form:
/// such a topic has no route, and the reply that says so repeats it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Field<'a> {
    /// A string, decoded; borrowed unless there were escapes in it.
    Text(Cow<'a, str>),
    /// Any other value, as JSON.
    Other(&'a [u8]),
}

impl<'a> Field<'a> {
    pub(super) fn new(raw: &'a str) -> Self {
        match as_text(raw) {
            Some(text) => Self::Text(text),
            None => Self::Other(raw.as_bytes()),
        }
    }

    /// The string, or the JSON text of what is none.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.to_string(),
            Self::Other(raw) => String::from_utf8_lossy(raw).into_owned(),
        }
    }

    /// The string, if it is one as it came.
    pub(crate) fn as_borrowed(&self) -> Option<&'a str> {
        match self {
            Self::Text(Cow::Borrowed(text)) => Some(text),
            Self::Text(Cow::Owned(_)) | Self::Other(_) => None,
        }
    }
}

impl<'a> From<&'a str> for Field<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

/// A payload nobody has read yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RawPayload<'a> {
    /// One JSON value, checked to be one and to be UTF-8, without white space around it.
    Json(&'a [u8]),
    /// Whatever the application means by it.
    Binary(&'a [u8]),
}
