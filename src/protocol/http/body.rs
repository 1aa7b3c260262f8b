//! What a request's head says of its body.

use super::{Error, Head};

/// What follows a request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    None,
    /// So many bytes, never zero.
    Sized(u64),
    /// Chunks, until an empty one.
    Chunked,
}

impl Head<'_> {
    /// What follows the head (RFC 9112 §6.3).
    ///
    /// # Errors
    ///
    /// When two readers could disagree on where the body ends.
    pub(crate) fn body(&self) -> Result<Body, Error> {
        let mut lengths = self.headers.all("content-length").flat_map(|value| {
            // The same length repeated, in one header or several, is allowed.
            value.split(|&byte| byte == b',').map(|length| parse_length(length.trim_ascii()))
        });
        let length = match lengths.next() {
            Some(first) => {
                let first = first?;
                for other in lengths {
                    if other? != first {
                        return Err(Error::ContentLength);
                    }
                }
                Some(first)
            }
            None => None,
        };
        if self.headers.get("transfer-encoding").is_some() {
            let mut codings = self.headers.list("transfer-encoding");
            let only_chunked =
                codings.next().is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"))
                    && codings.next().is_none();
            // Both lengths at once is how requests are smuggled; HTTP/1.0 knows no chunks.
            return if only_chunked && length.is_none() && self.http_11 {
                Ok(Body::Chunked)
            } else {
                Err(Error::TransferEncoding)
            };
        }
        Ok(match length {
            None | Some(0) => Body::None,
            Some(length) => Body::Sized(length),
        })
    }
}

/// Digits only: Rust's own parser would take a sign.
fn parse_length(digits: &[u8]) -> Result<u64, Error> {
    if digits.is_empty() {
        return Err(Error::ContentLength);
    }
    digits.iter().try_fold(0_u64, |length, &digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'));
        let length = length.checked_mul(10).zip(digit).and_then(|(tens, d)| tens.checked_add(d));
        length.ok_or(Error::ContentLength)
    })
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn body(headers: &str) -> Result<Body, Error> {
        let request = format!("POST / HTTP/1.1\r\n{headers}\r\n");
        parse(request.as_bytes(), 4096).expect("well-formed").expect("whole").0.body()
    }

    #[test]
    fn a_body_is_what_the_headers_announce() {
        for (headers, expected) in [
            ("", Ok(Body::None)),
            ("content-length: 0\r\n", Ok(Body::None)),
            ("Content-Length: 17\r\n", Ok(Body::Sized(17))),
            ("content-length: 5, 5\r\ncontent-length: 05\r\n", Ok(Body::Sized(5))),
            ("content-length: 18446744073709551615\r\n", Ok(Body::Sized(u64::MAX))),
            ("transfer-encoding: Chunked\r\n", Ok(Body::Chunked)),
        ] {
            assert_eq!(body(headers), expected, "{headers}");
        }
    }

    #[test]
    fn lengths_that_readers_could_disagree_on_are_refused() {
        for length in ["", "+5", "-1", "0x10", "5 5", "5,", "5, 6", "18446744073709551616", "5.0"] {
            let header = format!("content-length: {length}\r\n");
            assert_eq!(body(&header), Err(Error::ContentLength), "{length}");
        }
        let two = "content-length: 5\r\ncontent-length: 6\r\n";
        assert_eq!(body(two), Err(Error::ContentLength));
        for coding in ["", "gzip", "gzip, chunked", "chunked, chunked", "xchunked"] {
            let header = format!("transfer-encoding: {coding}\r\n");
            assert_eq!(body(&header), Err(Error::TransferEncoding), "{coding}");
        }
        let both = "transfer-encoding: chunked\r\ncontent-length: 5\r\n";
        assert_eq!(body(both), Err(Error::TransferEncoding));
        let old = b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n";
        let (head, _) = parse(old, 4096).expect("well-formed").expect("whole");
        assert_eq!(head.body(), Err(Error::TransferEncoding));
    }
}
