//! The smallest parts of a message's JSON: its strings, and what a field may weigh.

use std::borrow::Cow;

/// What a string says, given as it stands in a text that the scanner has passed; `None` for any
/// other value.
#[inline]
pub(super) fn as_text(raw: &str) -> Option<Cow<'_, str>> {
    let text = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !is_plain(text) {
        let text = serde_json::from_str(raw);
        return Some(Cow::Owned(text.expect("the scanner is stricter than serde_json")));
    }
    Some(Cow::Borrowed(text))
}

/// Whether a string means itself, for lack of escapes.
#[inline]
fn is_plain(text: &str) -> bool {
    plain_len(text.as_bytes()) == text.len()
}

/// Appends a JSON string with no escape that could be done without.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text.as_bytes();
    out.push(b'"');
    loop {
        let (plain, special) = rest.split_at(plain_len(rest));
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else { break };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            _ => {
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
        }
        rest = after;
    }
    out.push(b'"');
}

/// How many bytes stand before the first that is special inside a string: a quote, a backslash or
/// a control character.
#[inline]
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((sixteen, after)) = rest.split_first_chunk()
        && !has_special(sixteen)
    {
        rest = after;
    }
    while let Some((eight, after)) = rest.split_first_chunk() {
        let special = special_bytes(u64::from_le_bytes(*eight));
        if special != 0 {
            return bytes.len() - rest.len() + special.trailing_zeros() as usize / 8;
        }
        rest = after;
    }
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    bytes.len() - rest.len() + rest.iter().position(special).unwrap_or(rest.len())
}

/// Whether one of these is special. Written so that the loop becomes a few instructions on a vector,
/// half as many for a byte as eight at a time need.
#[inline]
fn has_special(bytes: &[u8; 16]) -> bool {
    let mut any = 0;
    for &byte in bytes {
        any |= u8::from(byte < 0x20) | u8::from(byte == b'"') | u8::from(byte == b'\\');
    }
    any != 0
}

/// Marks the special bytes among eight with their highest bit.
///
/// `(x - n) & !x & 0x80` is set in a byte below `n`. A borrow may set it in a byte *above* such a
/// one too, so only the lowest mark is to be trusted, which is the one that is asked for.
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGHEST: u64 = u64::from_le_bytes([0x80; 8]);
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGHEST
}

/// How deep a ref, a topic or an event may be nested: refs are put into normal form by recursion,
/// and whoever nests one at all is trying something out.
pub(super) const MAX_FIELD_DEPTH: usize = 8;

/// Bytes of a ref, a topic or an event as it stands in the JSON: sixteen times what a binary message
/// can say of them, so that escapes have room. A socket keeps two of them for each of its topics.
pub(super) const MAX_FIELD_SIZE: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_far_as_they_must_be_and_no_further() {
        let all: String =
            (0..0x100).filter_map(char::from_u32).chain("漢🐦\u{2028}".chars()).collect();
        let mut out = Vec::new();
        write_string(&mut out, &all);
        // serde_json escapes just what the standard asks for.
        assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&all).unwrap());
    }

    #[test]
    fn special_bytes_are_found_wherever_they_stand() {
        for len in 0..20 {
            let plain = vec![b'x'; len];
            assert_eq!(plain_len(&plain), len);
            for at in 0..len {
                for byte in 0..=255 {
                    let special = byte < 0x20 || byte == b'"' || byte == b'\\';
                    let mut bytes = plain.clone();
                    bytes[at] = byte;
                    assert_eq!(plain_len(&bytes), if special { at } else { len }, "{bytes:?}");
                    // What follows doesn't change it.
                    bytes.extend_from_slice(b"\"\x00\x80\xff\\ !#[]\x1f");
                    assert_eq!(plain_len(&bytes), if special { at } else { len }, "{bytes:?}");
                }
            }
        }
    }
}
