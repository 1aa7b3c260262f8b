//! Answers to plain requests.

use std::io::Write;

use super::Afterwards;

/// Appends an answer with a body that is all there.
///
/// `cache-control` is Phoenix's unless `extra_headers` has one. A client that is not to keep the
/// connection is told so; that it is closed is the caller's part.
pub(crate) fn write_response<'a>(
    out: &mut Vec<u8>,
    status: u16,
    content_type: impl Into<Option<&'a str>>,
    body: &[u8],
    extra_headers: &[(&str, &str)],
    afterwards: Afterwards,
) {
    write_head_response(out, status, content_type, body, extra_headers, afterwards);
    if may_have_body(status) {
        out.extend_from_slice(body);
    }
}

/// Appends the answer to a HEAD request: the one to GET, of which the body stays out.
pub(crate) fn write_head_response<'a>(
    out: &mut Vec<u8>,
    status: u16,
    content_type: impl Into<Option<&'a str>>,
    body: &[u8],
    extra_headers: &[(&str, &str)],
    afterwards: Afterwards,
) {
    write!(out, "HTTP/1.1 {status} {}\r\n", reason(status)).expect("a Vec takes all");
    if may_have_body(status) {
        write!(out, "content-length: {}\r\n", body.len()).expect("a Vec takes all");
        if let Some(content_type) = content_type.into() {
            write_header(out, "content-type", content_type);
        }
    }
    if !extra_headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("cache-control")) {
        write_header(out, "cache-control", "max-age=0, private, must-revalidate");
    }
    for (name, value) in extra_headers {
        write_header(out, name, value);
    }
    match afterwards {
        Afterwards::Close => write_header(out, "connection", "close"),
        Afterwards::Keep => {}
        Afterwards::KeepAsAsked => write_header(out, "connection", "keep-alive"),
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends one header.
///
/// What would end it early becomes a space: an application may put into a header what a client
/// told it, and must not thereby write headers of the client's choice.
pub(super) fn write_header(out: &mut Vec<u8>, name: &str, value: &str) {
    let harmless = |byte| if matches!(byte, b'\r' | b'\n' | b'\0') { b' ' } else { byte };
    out.extend(name.bytes().map(harmless));
    out.extend_from_slice(b": ");
    out.extend(value.bytes().map(harmless));
    out.extend_from_slice(b"\r\n");
}

/// Statuses that say that nothing follows (RFC 9110 §15.3.5, §15.4.5).
fn may_have_body(status: u16) -> bool {
    !matches!(status, 100..=199 | 204 | 304)
}

/// The usual words for a status; none for an unusual one, which HTTP allows.
fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_refusal_is_empty_and_not_cached() {
        assert_eq!(
            response(|out| write_response(out, 403, None, b"", &[], Afterwards::Close)),
            "HTTP/1.1 403 Forbidden\r\n\
             content-length: 0\r\n\
             cache-control: max-age=0, private, must-revalidate\r\n\
             connection: close\r\n\r\n"
        );
    }

    #[test]
    fn a_page_has_its_type_and_a_cache_control_of_its_own() {
        let headers = [("Cache-Control", "no-store"), ("access-control-allow-origin", "*")];
        let head = "HTTP/1.1 200 OK\r\n\
             content-length: 2\r\n\
             content-type: text/html\r\n\
             Cache-Control: no-store\r\n\
             access-control-allow-origin: *\r\n\r\n";
        let get = response(|out| {
            write_response(out, 200, "text/html", b"hi", &headers, Afterwards::Keep)
        });
        assert_eq!(get, format!("{head}hi"));
        let to_head = response(|out| {
            write_head_response(out, 200, "text/html", b"hi", &headers, Afterwards::Keep)
        });
        assert_eq!(to_head, head);
    }

    #[test]
    fn a_status_without_a_body_has_none() {
        assert_eq!(
            response(|out| write_response(
                out,
                204,
                "text/plain",
                b"ignored",
                &[],
                Afterwards::Keep
            )),
            "HTTP/1.1 204 No Content\r\ncache-control: max-age=0, private, must-revalidate\r\n\r\n"
        );
    }

    #[test]
    fn a_client_is_told_what_it_can_not_take_for_granted() {
        for (afterwards, told) in [
            (Afterwards::Close, Some("close")),
            (Afterwards::Keep, None),
            (Afterwards::KeepAsAsked, Some("keep-alive")),
        ] {
            let text = response(|out| write_response(out, 200, None, b"", &[], afterwards));
            let header = told.map(|told| format!("\r\nconnection: {told}\r\n"));
            match header {
                Some(header) => assert!(text.contains(&header), "{text}"),
                None => assert!(!text.contains("connection"), "{text}"),
            }
        }
    }

    #[test]
    fn a_header_cannot_be_ended_from_within() {
        let evil = [("location", "/a\r\nset-cookie: stolen=1\r\n\r\n<html>\0")];
        let text = response(|out| write_response(out, 302, None, b"", &evil, Afterwards::Keep));
        assert!(text.contains("location: /a  set-cookie: stolen=1    <html> \r\n"), "{text}");
    }

    #[test]
    fn an_unusual_status_has_no_reason() {
        let text = response(|out| write_response(out, 599, None, b"", &[], Afterwards::Keep));
        assert!(text.starts_with("HTTP/1.1 599 \r\n"), "{text}");
    }
}
