//! The smallest parts of a message's JSON: its strings, and what a field may weigh.

use std::borrow::Cow;

use wide::u8x16;

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
#[inline]
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let (plain, rest) = bytes.split_at(plain_len(bytes));
    out.extend_from_slice(plain);
    if !rest.is_empty() {
        write_escaped(out, rest);
    }
    out.push(b'"');
}

/// Appends what is left of a string from the first byte on that has to be escaped.
#[cold]
fn write_escaped(out: &mut Vec<u8>, mut rest: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    while let Some((&byte, after)) = rest.split_first() {
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
        let (plain, special) = after.split_at(plain_len(after));
        out.extend_from_slice(plain);
        rest = special;
    }
}

/// How many bytes stand before the first that is special inside a string: a quote, a backslash or
/// a control character.
#[inline]
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((sixteen, after)) = rest.split_first_chunk() {
        let special = special_bytes(*sixteen);
        if special != 0 {
            return bytes.len() - rest.len() + special.trailing_zeros() as usize;
        }
        rest = after;
    }
    // What is missing of sixteen is special, so that the end is found where it is.
    let mut last = [0; 16];
    last[..rest.len()].copy_from_slice(rest);
    bytes.len() - rest.len() + special_bytes(last).trailing_zeros() as usize
}

/// Marks which of these are special by a bit each, the first by the lowest.
///
/// A message has some ten strings, and most are shorter than this: what counts is not how many bytes
/// a second are looked at, but that one look says where the string ends.
#[inline]
fn special_bytes(sixteen: [u8; 16]) -> i32 {
    let bytes = u8x16::new(sixteen);
    let quote = bytes.cmp_eq(u8x16::splat(b'"'));
    let backslash = bytes.cmp_eq(u8x16::splat(b'\\'));
    // Those below a space are what the lesser of the two is.
    let control = bytes.min(u8x16::splat(b' ' - 1)).cmp_eq(bytes);
    (quote | backslash | control).move_mask()
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
