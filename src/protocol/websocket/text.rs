//! Text that arrives in pieces, checked as it arrives.

use std::str;

/// The text so far, and the character that the last piece cut.
#[derive(Debug, Default)]
pub(super) struct Text {
    whole: String,
    /// The first bytes of a character whose rest is to come.
    cut: [u8; 4],
    cut_length: usize,
}

/// Bytes that no continuation can make UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotUtf8;

impl Text {
    /// Appends a piece.
    ///
    /// # Errors
    ///
    /// At the first byte that cannot belong to UTF-8, also within a character that is cut.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<(), NotUtf8> {
        while self.cut_length > 0
            && let Some((&byte, rest)) = piece.split_first()
        {
            piece = rest;
            self.cut[self.cut_length] = byte;
            self.cut_length += 1;
            match str::from_utf8(&self.cut[..self.cut_length]) {
                Ok(character) => {
                    self.whole.push_str(character);
                    self.cut_length = 0;
                }
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(NotUtf8),
            }
        }
        let (whole, cut) = piece.split_at(piece.len() - cut_length(piece));
        self.whole.push_str(str::from_utf8(whole).map_err(|_| NotUtf8)?);
        if let Err(error) = str::from_utf8(cut) {
            if error.error_len().is_some() {
                return Err(NotUtf8);
            }
            self.cut[..cut.len()].copy_from_slice(cut);
            self.cut_length = cut.len();
        }
        Ok(())
    }

    /// Called when the message is whole: it must not end within a character.
    pub(super) fn finish(self) -> Result<String, NotUtf8> {
        if self.cut_length > 0 { Err(NotUtf8) } else { Ok(self.whole) }
    }

    pub(super) fn capacity(&self) -> usize {
        self.whole.capacity()
    }

    /// Bytes received, those of a cut character included.
    pub(super) fn len(&self) -> usize {
        self.whole.len() + self.cut_length
    }

    pub(super) fn grow_to(&mut self, capacity: usize) {
        self.whole.reserve_exact(capacity - self.whole.len());
    }
}

/// How many bytes at the end of `piece` begin a character that it does not finish.
///
/// Whether those bytes are valid so far is not looked at.
fn cut_length(piece: &[u8]) -> usize {
    for (back, &byte) in piece.iter().rev().take(3).enumerate() {
        let width = match byte {
            0x00..0x80 => 1,
            0x80..0xc0 => continue,
            0xc0..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0.. => 4,
        };
        return if width > back + 1 { back + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push_all(pieces: &[&[u8]]) -> Result<String, NotUtf8> {
        let mut text = Text::default();
        pieces.iter().try_for_each(|piece| text.push(piece))?;
        text.finish()
    }

    #[test]
    fn text_is_the_same_however_it_is_cut() {
        let text = "aß\u{800}\u{ffff}\u{10000}\u{10ffff}€\0z";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let bytes = text.as_bytes();
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(push_all(&pieces).as_deref(), Ok(text), "{first}, {second}");
            }
        }
    }

    #[test]
    fn an_impossible_byte_is_refused_when_it_arrives() {
        for (start, bad) in [
            (&b"\xc3"[..], b'('),
            (b"\xe2\x82", b'a'),
            (b"", 0x80),
            (b"", 0xff),
            (b"", 0xc0),
            (b"", 0xf5),
            (b"\xe0", 0x80), // overlong
            (b"\xed", 0xa0), // a surrogate
            (b"\xf4", 0x90), // beyond U+10FFFF
        ] {
            let mut text = Text::default();
            text.push(start).expect("may still become UTF-8");
            assert_eq!(text.push(&[bad]), Err(NotUtf8), "{start:x?} {bad:x}");
            // And the same in one piece.
            assert_eq!(Text::default().push(&[start, &[bad]].concat()), Err(NotUtf8));
        }
    }

    #[test]
    fn text_must_not_end_within_a_character() {
        for cut in [&b"a\xc3"[..], b"\xe2\x82", b"\xf0\x90\x80"] {
            assert_eq!(push_all(&[cut]), Err(NotUtf8), "{cut:x?}");
        }
    }
}
