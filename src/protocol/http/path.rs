//! The segments of a path.

use std::borrow::Cow;
use std::str;

/// The segments of a path, as they were sent. Empty ones are left out, so `/ws//websocket/` has two.
pub(crate) fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// A segment, percent-decoded.
///
/// An escape that is malformed, and all of a segment that would not be UTF-8, stays as it stands.
pub(crate) fn decode_segment(segment: &str) -> Cow<'_, str> {
    match String::from_utf8(percent_decode(segment.as_bytes(), false).into_owned()) {
        Ok(decoded) if decoded != segment => Cow::Owned(decoded),
        _ => Cow::Borrowed(segment),
    }
}

/// Resolves `%XX`, and `+` to a space if that is asked for. A `%` without two hexadecimal digits
/// stands for itself.
pub(super) fn percent_decode(encoded: &[u8], plus_is_space: bool) -> Cow<'_, [u8]> {
    if !encoded.iter().any(|&byte| byte == b'%' || (byte == b'+' && plus_is_space)) {
        return Cow::Borrowed(encoded);
    }
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%'
            && let Some((&[high, low], after)) = after.split_first_chunk()
            && let (Some(high), Some(low)) = (hex_value(high), hex_value(low))
        {
            rest = after;
            decoded.push(high << 4 | low);
        } else {
            decoded.push(if byte == b'+' && plus_is_space { b' ' } else { byte });
        }
    }
    Cow::Owned(decoded)
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_segments_are_left_out_and_the_others_can_be_decoded() {
        for (path, expected) in [
            ("", &[][..]),
            ("/", &[]),
            ("*", &["*"]),
            ("/ws/websocket", &["ws", "websocket"]),
            ("//ws///websocket/", &["ws", "websocket"]),
            ("/a%20b/%C3%A5/%2f", &["a b", "å", "/"]),
            ("/a+b", &["a+b"]),
            ("/%zz/%4/%/%ff%41", &["%zz", "%4", "%", "%ff%41"]),
        ] {
            let decoded: Vec<_> = segments(path).map(decode_segment).collect();
            assert_eq!(decoded, expected, "{path}");
            let joined = segments(path).collect::<Vec<_>>().join("/");
            assert_eq!(joined, path.trim_matches('/').replace("///", "/"), "{path}");
        }
    }
}
