//! Text from outside, as it may stand in a log: on one line, of a bounded length.
//!
//! Everything in an event that a client could have made goes through here: names by [`Text`], whatever
//! else by [`told`]. A line feed would begin a line that looks like one of ours, an escape sequence
//! reaches the terminal of whoever reads, and a long text fills the disk.

use std::fmt::{self, Write};

use tracing::Value;
use tracing::field::{self, DebugValue};

use crate::message::beginning;

/// A name: a topic, an event, a path, an id. Quoted by whoever prints it.
pub(crate) enum Text<'a> {
    /// As it is, for subscribers that keep values.
    Plain(&'a str),
    /// Escaped, cut, or both.
    Odd(DebugValue<Cut<'a>>),
}

impl<'a> Text<'a> {
    #[inline]
    pub(crate) fn of(text: &'a str) -> Self {
        if text.len() <= MAX_NAME && !text.chars().any(is_odd) {
            Self::Plain(text)
        } else {
            Self::Odd(field::debug(Cut(text)))
        }
    }

    /// What a field of an event gets.
    pub(crate) fn value(&self) -> &dyn Value {
        match self {
            Self::Plain(text) => text,
            Self::Odd(text) => text,
        }
    }
}

/// A text of which the beginning is printed, quoted, and the true length if that was not all.
pub(crate) struct Cut<'a>(&'a str);

impl fmt::Debug for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        if text.len() <= MAX_NAME {
            return text.fmt(f);
        }
        f.write_char('"')?;
        write!(f, "{}", beginning(text, MAX_NAME).escape_debug())?;
        write!(f, "…\" ({} bytes)", text.len())
    }
}

/// Something longer: an error, or parameters. Escaped and cut, and not quoted: it stands last in a
/// line, where nothing that follows it could be forged. Nothing is done unless it is printed.
pub(crate) fn told(text: &dyn fmt::Display) -> impl fmt::Display {
    struct Told<'a>(&'a dyn fmt::Display);
    impl fmt::Display for Told<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let mut out = Escaped { f, length: 0, is_cut: false };
            // One that fails has said what it could.
            let _ = write!(out, "{}", self.0);
            let Escaped { length, is_cut, .. } = out;
            if is_cut { write!(f, "… ({length} bytes)") } else { Ok(()) }
        }
    }
    Told(text)
}

/// Escapes what is written, up to so many bytes, and counts the rest.
struct Escaped<'f, 'b> {
    f: &'f mut fmt::Formatter<'b>,
    length: usize,
    is_cut: bool,
}

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (at, char) in text.char_indices() {
            if self.is_cut || self.length + char.len_utf8() > MAX_ERROR {
                self.is_cut = true;
                self.length += text.len() - at;
                return Ok(());
            }
            self.length += char.len_utf8();
            if is_odd(char) {
                write!(self.f, "{}", char.escape_debug())?;
            } else {
                self.f.write_char(char)?;
            }
        }
        Ok(())
    }
}

/// Whether this is no character to be seen: a control, or what turns the direction of a line.
fn is_odd(char: char) -> bool {
    let is_seen = matches!(char, ' '..='~') || char.escape_debug().len() == 1;
    !is_seen
}

/// A number as it is read: 1,204.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Bytes of a name. Topics and events that people choose are shorter, ids too; and a line with
/// several of them still fits where logs are read.
pub(super) const MAX_NAME: usize = 256;

/// Bytes of an error or of parameters. An error with its causes and a panic with its place fit.
const MAX_ERROR: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> String {
        match Text::of(text) {
            Text::Plain(text) => format!("{text:?}"),
            Text::Odd(text) => format!("{text:?}"),
        }
    }

    #[test]
    fn a_name_stays_as_it_is_and_what_could_forge_a_line_is_escaped() {
        for plain in ["room:lobby", "", "räume:1 \"a\" \\ 日本"] {
            assert!(matches!(Text::of(plain), Text::Plain(its) if its == plain), "{plain}");
        }
        for (odd, told) in [
            ("a\nb", r#""a\nb""#),
            ("a\u{1b}[31m", r#""a\u{1b}[31m""#),
            ("a\u{9b}31m", r#""a\u{9b}31m""#),
            ("a\u{202e}b\u{2028}", r#""a\u{202e}b\u{2028}""#),
        ] {
            assert_eq!(name(odd), told);
        }
    }

    #[test]
    fn a_long_name_is_cut_between_characters_and_says_how_long_it_is() {
        assert_eq!(name(&"x".repeat(256)).len(), 258);
        let told = name(&format!("x{}", "é".repeat(4_000_000)));
        assert_eq!(told, format!("\"x{}…\" (8000001 bytes)", "é".repeat(127)));
    }

    #[test]
    fn errors_are_escaped_and_cut_too() {
        assert_eq!(told(&"no \"room\" for \\ it").to_string(), "no \"room\" for \\ it");
        assert_eq!(told(&"a\nERROR \u{1b}[2J").to_string(), r"a\nERROR \u{1b}[2J");
        let long = told(&format_args!("{}{}", "é".repeat(600), "x".repeat(100))).to_string();
        assert_eq!(long, format!("{}… (1300 bytes)", "é".repeat(512)));
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1_204, 1_000_000].map(grouped), ["0", "999", "1,204", "1,000,000"]);
    }
}
