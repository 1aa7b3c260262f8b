//! A request's head: request line and headers.

use std::mem::MaybeUninit;

use smallvec::SmallVec;

use super::Error;

/// The head of a request, borrowed from the bytes it was read from.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a str,
    /// As it stood in the request line.
    pub(crate) target: &'a str,
    /// The target's path, still percent-encoded; `*` of an `OPTIONS *`.
    pub(crate) path: &'a str,
    /// What follows the target's question mark, still encoded; empty without one.
    pub(crate) query: &'a str,
    pub(crate) headers: Headers<'a>,
    /// HTTP/1.1, or else 1.0.
    pub(crate) http_11: bool,
}

/// Reads a request's head from the start of `bytes`: the head and its length, or `None` when it is
/// not all there yet.
///
/// # Errors
///
/// When no bytes to come can make it a head, or when it takes more than `max_head_size` bytes.
pub(crate) fn parse(
    bytes: &[u8],
    max_head_size: usize,
) -> Result<Option<(Head<'_>, usize)>, Error> {
    let too_large = Error::HeadTooLarge { max: max_head_size };
    let within_limit = &bytes[..bytes.len().min(max_head_size)];
    let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let size = match request.parse_with_uninit_headers(within_limit, &mut fields) {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) if bytes.len() >= max_head_size => return Err(too_large),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Error::TooManyHeaders { max: MAX_HEADERS });
        }
        Err(httparse::Error::Version) => return Err(Error::Version),
        Err(error) => return Err(Error::Malformed(error)),
    };
    // The parser takes a line feed alone for the end of a line. A proxy in front of us may not, and
    // would see other headers than we do (RFC 9112 §2.2).
    if has_bare_line_feed(&bytes[..size]) {
        return Err(Error::BareLineFeed);
    }
    let (Some(method), Some(target)) = (request.method, request.path) else { return Ok(None) };
    let (path, query) = split_target(target)?;
    let http_11 = request.version == Some(1);
    let headers = Headers(SmallVec::from_slice(request.headers));
    if headers.all("host").nth(1).is_some() {
        return Err(Error::SecondHost);
    }
    Ok(Some((Head { method, target, path, query, headers, http_11 }, size)))
}

impl Head<'_> {
    /// What becomes of the connection when the request is answered (RFC 9112 §9.3).
    pub(crate) fn afterwards(&self) -> Afterwards {
        let says = |token| self.headers.has_token("connection", token);
        match self.http_11 {
            _ if says("close") => Afterwards::Close,
            true => Afterwards::Keep,
            false if says("keep-alive") => Afterwards::KeepAsAsked,
            false => Afterwards::Close,
        }
    }
}

/// What becomes of a connection when a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Afterwards {
    Close,
    /// Another request may follow.
    Keep,
    /// The same for HTTP/1.0, where it is asked for and told.
    KeepAsAsked,
}

/// Whether what follows a request that asked for a WebSocket in vain is another request: its method
/// begins with a letter.
///
/// It may also be frames of a client that took the upgrade for granted. Their first byte is below
/// 0x10 or from 0x80 on, since it has the bits of extensions only where one was agreed upon
/// (RFC 6455 §5.2), so that no frame begins with a letter.
pub(crate) fn may_begin_request(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
}

/// The headers of a request, in its order. Names are compared without regard to case.
///
/// A value is bytes without the white space around it: nothing makes a client send UTF-8, and a
/// header that is present must never look absent for it.
#[derive(Debug, Clone)]
pub(crate) struct Headers<'a>(SmallVec<[httparse::Header<'a>; USUAL_HEADERS]>);

impl<'a> Headers<'a> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.0.iter().map(|header| (header.name, header.value))
    }

    /// The first header of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The values of all headers of this name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The entries of a comma-separated list, over all headers of this name. Empty ones are left
    /// out. Where case matters not is for the caller to know.
    pub(crate) fn list(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name)
            .flat_map(|value| value.split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|entry| !entry.is_empty())
    }

    /// Whether a comma-separated list has this token, whatever its case.
    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|entry| entry.eq_ignore_ascii_case(token.as_bytes()))
    }
}

/// Path and query of a request target (RFC 9112 §3.2). A whole URL stands for the path in it.
pub(crate) fn split_target(target: &str) -> Result<(&str, &str), Error> {
    let from_path = if target.starts_with('/') || target == "*" {
        target
    } else {
        let (_, after_scheme) = target.split_once("://").ok_or(Error::Target)?;
        let authority = after_scheme.find(['/', '?', '#']).unwrap_or(after_scheme.len());
        &after_scheme[authority..]
    };
    // No client should send a fragment; none of it is part of the query.
    let (from_path, _) = from_path.split_once('#').unwrap_or((from_path, ""));
    let (path, query) = from_path.split_once('?').unwrap_or((from_path, ""));
    Ok((if path.is_empty() { "/" } else { path }, query))
}

fn has_bare_line_feed(head: &[u8]) -> bool {
    // No short cut at the first one: without it the compiler looks at sixteen bytes at a time.
    let pairs = head.iter().zip(&head[1..]);
    let bare = pairs
        .fold(0, |bare, (&byte, &next)| bare | (u8::from(byte != b'\r') & u8::from(next == b'\n')));
    bare != 0 || head[0] == b'\n'
}

/// Headers of one request.
const MAX_HEADERS: usize = 100;

/// How many are kept without an allocation. Browsers send 17 with an upgrade; proxies add theirs.
const USUAL_HEADERS: usize = 24;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 16 << 10;

    fn refusal(bytes: impl AsRef<[u8]>) -> Option<Error> {
        parse(bytes.as_ref(), MAX).err()
    }

    const REQUEST: &[u8] = b"GET /ws/websocket?vsn=2.0.0&a=b%20c?d HTTP/1.1\r\n\
        Host: example.com\r\nX-Empty:\r\nx-Spaced: \t a b \t\r\nAccept: a, ,b\r\naccept: C\r\n\r\n";

    #[test]
    fn a_head_is_the_same_wherever_it_is_cut() {
        for cut in 0..REQUEST.len() {
            assert!(matches!(parse(&REQUEST[..cut], MAX), Ok(None)), "cut at {cut}");
        }
        let followed = [REQUEST, b"\x81\x80\0\0\0\0"].concat();
        let (head, size) = parse(&followed, MAX).expect("well-formed").expect("whole");
        assert_eq!(size, REQUEST.len());
        assert_eq!((head.method, head.http_11), ("GET", true));
        assert_eq!(head.target, "/ws/websocket?vsn=2.0.0&a=b%20c?d");
        assert_eq!((head.path, head.query), ("/ws/websocket", "vsn=2.0.0&a=b%20c?d"));
        let headers = &head.headers;
        assert_eq!(headers.get("hOST"), Some(&b"example.com"[..]));
        assert_eq!(headers.get("x-empty"), Some(&b""[..]));
        assert_eq!(headers.get("x-spaced"), Some(&b"a b"[..]));
        assert_eq!(headers.get("absent"), None);
        assert_eq!(headers.all("accept").collect::<Vec<_>>(), [&b"a, ,b"[..], b"C"]);
        assert_eq!(headers.list("accept").collect::<Vec<_>>(), [b"a", b"b", b"C"]);
        assert!(headers.has_token("ACCEPT", "c") && !headers.has_token("accept", ""));
        assert_eq!(headers.iter().count(), 5);
    }

    #[test]
    fn a_target_is_a_path_or_a_url() {
        for (target, path, query) in [
            ("/", "/", ""),
            ("/a?", "/a", ""),
            ("/a?b#c", "/a", "b"),
            ("//a", "//a", ""),
            ("*", "*", ""),
            ("http://host:80/a/b?c", "/a/b", "c"),
            ("http://host", "/", ""),
            ("http://host?c", "/", "c"),
            ("/ö", "/ö", ""),
        ] {
            let request = format!("GET {target} HTTP/1.1\r\n\r\n");
            let (head, _) = parse(request.as_bytes(), MAX).expect(target).expect("whole");
            assert_eq!((head.path, head.query), (path, query), "{target}");
        }
        assert_eq!(refusal("CONNECT host:80 HTTP/1.1\r\n\r\n"), Some(Error::Target));
    }

    #[test]
    fn hostile_heads_are_refused() {
        use httparse::Error as Syntax;
        for (head, error) in [
            // RFC 9112 §2.2: a bare line feed is no end of a line everywhere.
            ("GET / HTTP/1.1\nHost: a\n\n", Error::BareLineFeed),
            ("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", Error::BareLineFeed),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", Error::BareLineFeed),
            ("\nGET / HTTP/1.1\r\n\r\n", Error::BareLineFeed),
            // RFC 9112 §3.2: more than one host.
            ("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", Error::SecondHost),
            // RFC 9112 §5.1: white space before the colon.
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Error::Malformed(Syntax::HeaderName)),
            // RFC 9112 §5.2: a folded line.
            ("GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n", Error::Malformed(Syntax::HeaderName)),
            ("GET / HTTP/1.1\r\nX: a\0b\r\n\r\n", Error::Malformed(Syntax::HeaderValue)),
            ("GET / HTTP/1.1\r\nX: a\rb\r\n\r\n", Error::Malformed(Syntax::HeaderValue)),
            ("GET / HTTP/1.1\r\n: a\r\n\r\n", Error::Malformed(Syntax::HeaderName)),
            ("GET /\0 HTTP/1.1\r\n\r\n", Error::Malformed(Syntax::Token)),
            ("GET  / HTTP/1.1\r\n\r\n", Error::Malformed(Syntax::Token)),
            ("G\u{e9}T / HTTP/1.1\r\n\r\n", Error::Malformed(Syntax::Token)),
            ("\x16\x03\x01\x02", Error::Malformed(Syntax::Token)), // somebody speaks TLS
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Error::Version),
            ("GET / HTTP/1.2\r\n\r\n", Error::Version),
        ] {
            assert_eq!(refusal(head), Some(error), "{head:?}");
        }
        assert_eq!(Error::Version.status(), 505);
        assert_eq!(Error::BareLineFeed.status(), 400);
    }

    #[test]
    fn a_head_is_bounded_in_size_and_number_of_headers() {
        let limit = REQUEST.len();
        assert!(matches!(parse(REQUEST, limit), Ok(Some(_))));
        // Refused as soon as it is as long as it may be and not whole; whole or not, past that.
        let too_large = Error::HeadTooLarge { max: limit - 1 };
        assert_eq!(parse(REQUEST, limit - 1).err(), Some(too_large));
        assert_eq!(parse(&REQUEST[..limit - 1], limit - 1).err(), Some(too_large));
        assert_eq!(too_large.status(), 431);
        assert_eq!(parse(b"", 0).err(), Some(Error::HeadTooLarge { max: 0 }));

        let with_headers = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert_eq!(refusal(with_headers(MAX_HEADERS)), None);
        let too_many = refusal(with_headers(MAX_HEADERS + 1));
        assert_eq!(too_many, Some(Error::TooManyHeaders { max: MAX_HEADERS }));
    }

    #[test]
    fn a_connection_is_kept_as_the_version_and_the_header_say() {
        for (version, connection, kept) in [
            ("1.1", "", Afterwards::Keep),
            ("1.1", "connection: Close\r\n", Afterwards::Close),
            ("1.1", "connection: upgrade, close\r\n", Afterwards::Close),
            ("1.0", "", Afterwards::Close),
            ("1.0", "connection: Keep-Alive\r\n", Afterwards::KeepAsAsked),
            ("1.0", "connection: keep-alive, close\r\n", Afterwards::Close),
        ] {
            let request = format!("GET / HTTP/{version}\r\n{connection}\r\n");
            let (head, _) = parse(request.as_bytes(), MAX).expect("well-formed").expect("whole");
            assert_eq!(head.afterwards(), kept, "{request}");
        }
    }

    #[test]
    fn no_frame_is_taken_for_a_request() {
        assert!(may_begin_request(b"GET / HTTP/1.1\r\n") && may_begin_request(b"P"));
        assert!(!may_begin_request(b""));
        // Every first byte of a frame without the bits of an extension.
        for byte in (0..0x10).chain(0x80..0x90) {
            assert!(!may_begin_request(&[byte, b'G', b'E', b'T']), "{byte:#x}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes, MAX);
        }

        /// Nearly well-formed heads get further than random bytes do.
        #[test]
        fn no_damage_panics(
            damage in proptest::collection::vec((0..REQUEST.len(), any::<u8>()), 0..6),
        ) {
            let mut bytes = REQUEST.to_vec();
            for (position, byte) in damage {
                bytes[position] = byte;
            }
            if let Ok(Some((head, size))) = parse(&bytes, MAX) {
                prop_assert!(size <= bytes.len());
                let _ = (head.body(), head.afterwards(), super::super::check_upgrade(&head));
                let _ = super::super::decode_query(head.query);
                prop_assert!(super::super::segments(head.path).count() <= head.path.len());
            }
        }
    }
}
