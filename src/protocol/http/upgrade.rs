//! The upgrade of a request to a WebSocket (RFC 6455 §4.2).

use tungstenite::handshake::derive_accept_key;

use super::Head;
use super::response::write_header;

/// The server's proof that it has read the client's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AcceptKey(String);

/// Why a request cannot become a WebSocket. What it displays is the body of the 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UpgradeError {
    #[error("HTTP version HTTP/1.0 unsupported")]
    Http10,
    #[error("HTTP method {0} unsupported")]
    Method(String),
    #[error("'{0}' header is absent")]
    Absent(&'static str),
    #[error("'{header}' header must contain '{token}', got {got:?}")]
    Lacks { header: &'static str, token: &'static str, got: Vec<String> },
    #[error("'{header}' header must equal '{value}', got {got:?}")]
    Differs { header: &'static str, value: &'static str, got: Vec<String> },
}

/// Whether a request asks for a WebSocket at all, be it well or badly.
pub(crate) fn is_upgrade(head: &Head<'_>) -> bool {
    head.headers.has_token("upgrade", "websocket")
}

/// Checks a request that is to become a WebSocket, in Phoenix's order.
///
/// # Errors
///
/// The first thing that is wrong with it.
pub(crate) fn check_upgrade(head: &Head<'_>) -> Result<AcceptKey, UpgradeError> {
    let headers = &head.headers;
    let values = |header| -> Vec<String> {
        headers.all(header).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    };
    if !head.http_11 {
        return Err(UpgradeError::Http10);
    }
    if head.method != "GET" {
        return Err(UpgradeError::Method(head.method.to_owned()));
    }
    if headers.get("host").is_none() {
        return Err(UpgradeError::Absent("host"));
    }
    for (header, token) in [("connection", "upgrade"), ("upgrade", "websocket")] {
        if !headers.has_token(header, token) {
            return Err(UpgradeError::Lacks { header, token, got: values(header) });
        }
    }
    let key = headers.get("sec-websocket-key").ok_or(UpgradeError::Absent("sec-websocket-key"))?;
    let (header, value) = ("sec-websocket-version", "13");
    if !headers.all(header).eq([value.as_bytes()]) {
        return Err(UpgradeError::Differs { header, value, got: values(header) });
    }
    Ok(AcceptKey(derive_accept_key(key)))
}

/// Appends the answer after which the connection speaks WebSocket.
pub(crate) fn write_switching_protocols(
    out: &mut Vec<u8>,
    key: &AcceptKey,
    extra_headers: &[(&str, &str)],
) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n",
    );
    write_header(out, "sec-websocket-accept", &key.0);
    for (name, value) in extra_headers {
        write_header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    /// The request of RFC 6455 §1.3, without the headers named in `without`.
    fn check(method: &str, without: &[&str], with: &str) -> Result<AcceptKey, String> {
        let mut request = format!("{method} /socket/websocket HTTP/1.1\r\n{with}");
        for (name, value) in [
            ("Host", "server.example.com"),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Version", "13"),
        ] {
            if !without.contains(&name) {
                request += &format!("{name}: {value}\r\n");
            }
        }
        request += "\r\n";
        let (head, _) = parse(request.as_bytes(), 4096).expect("well-formed").expect("whole");
        check_upgrade(&head).map_err(|error| error.to_string())
    }

    #[test]
    fn the_accept_key_is_that_of_the_rfc() {
        let key = check("GET", &[], "").expect("a complete upgrade");
        assert_eq!(key, AcceptKey("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into()));
        let mut out = Vec::new();
        write_switching_protocols(&mut out, &key, &[("sec-websocket-protocol", "phoenix")]);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "HTTP/1.1 101 Switching Protocols\r\n\
             upgrade: websocket\r\n\
             connection: Upgrade\r\n\
             sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
             sec-websocket-protocol: phoenix\r\n\r\n"
        );
    }

    #[test]
    fn tokens_are_found_in_lists_in_any_case() {
        let lists =
            "Connection: keep-alive\r\nconnection: foo ,UPGRADE\r\nUpgrade: h2c, WebSocket\r\n";
        check("GET", &["Connection", "Upgrade"], lists).expect("both tokens are there");
        check("GET", &["Connection"], "Connection: upgraded\r\n").expect_err("another token");
    }

    #[test]
    fn the_first_thing_that_is_wrong_is_named() {
        let all = ["Host", "Connection", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version"];
        let messages = [
            "'host' header is absent",
            "'connection' header must contain 'upgrade', got []",
            "'upgrade' header must contain 'websocket', got []",
            "'sec-websocket-key' header is absent",
            "'sec-websocket-version' header must equal '13', got []",
        ];
        assert_eq!(check("POST", &all, ""), Err("HTTP method POST unsupported".into()));
        for (first, message) in messages.iter().enumerate() {
            assert_eq!(check("GET", &all[first..], ""), Err(message.to_string()));
        }
        for (without, with, message) in [
            (
                "Connection",
                "connection: close\r\nconnection: a, b\r\n",
                r#"'connection' header must contain 'upgrade', got ["close", "a, b"]"#,
            ),
            (
                "Sec-WebSocket-Version",
                "sec-websocket-version: 8\r\n",
                r#"'sec-websocket-version' header must equal '13', got ["8"]"#,
            ),
            (
                "",
                "sec-websocket-version: 13\r\n",
                r#"'sec-websocket-version' header must equal '13', got ["13", "13"]"#,
            ),
        ] {
            assert_eq!(check("GET", &[without], with), Err(message.into()));
        }
    }

    #[test]
    fn http_1_0_cannot_upgrade() {
        let request = b"GET / HTTP/1.0\r\nUpgrade: websocket\r\n\r\n";
        let (head, _) = parse(request, 4096).expect("well-formed").expect("whole");
        assert_eq!(check_upgrade(&head), Err(UpgradeError::Http10));
        assert!(is_upgrade(&head));
    }
}
