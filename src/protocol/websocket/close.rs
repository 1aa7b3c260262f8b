//! Close codes: what they say, and which of them answers which.

/// Why a WebSocket ends, as its Close says it in two bytes (RFC 6455 §7.4).
///
/// Those with a name are all that we ever send. Their names are those of the IANA's WebSocket Close
/// Code Number Registry. A client's own may be any number, one that nobody must send among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CloseCode(u16);

impl CloseCode {
    /// RFC 6455 §7.4.1: what the connection was for is done.
    pub(crate) const NORMAL_CLOSURE: Self = Self(1000);
    /// RFC 6455 §7.4.1: an endpoint goes away.
    pub(crate) const GOING_AWAY: Self = Self(1001);
    /// RFC 6455 §7.4.1: the peer has broken the protocol.
    pub(crate) const PROTOCOL_ERROR: Self = Self(1002);
    /// RFC 6455 §7.4.1: what a message holds is not of its type, such as text that is not UTF-8.
    pub(crate) const INVALID_FRAME_PAYLOAD_DATA: Self = Self(1007);
    /// RFC 6455 §7.4.1: a message is too big to be taken.
    pub(crate) const MESSAGE_TOO_BIG: Self = Self(1009);
    /// RFC 6455 §7.4.1: the server met what it did not expect.
    pub(crate) const INTERNAL_ERROR: Self = Self(1011);
    /// Registered after the RFC: the service restarts, and clients may come back in a while.
    pub(crate) const SERVICE_RESTART: Self = Self(1012);
    /// Registered after the RFC: the server has too much to do, and clients should try again later.
    pub(crate) const TRY_AGAIN_LATER: Self = Self(1013);

    /// A code that a server may send: RFC 6455 §7.4.1 names those below 1012 and keeps 1010 for
    /// clients, 1012 to 1014 were registered after it, and §7.4.2 leaves 3000 to 4999 to libraries
    /// and applications.
    pub(crate) fn of_a_server(code: u16) -> Option<Self> {
        let is_legal = matches!(code, 1000..=1003 | 1007..=1009 | 1011..=1014 | 3000..=4999);
        is_legal.then_some(Self(code))
    }

    pub(super) fn new(code: u16) -> Self {
        Self(code)
    }

    /// As it stands in a Close.
    pub(super) fn to_bytes(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }
}

/// The code to answer a client's close with.
///
/// A close without a code, or with one that an endpoint may send, is answered with 1000; a code
/// that must not appear on the wire is a protocol error, 1002. The codes are those that Phoenix
/// takes for valid: 1012 to 1014, registered after RFC 6455 and sent by servers only, are not
/// among them.
pub(crate) fn close_reply(code: Option<CloseCode>) -> CloseCode {
    match code {
        None | Some(CloseCode(1000..=1003 | 1007..=1011 | 3000..)) => CloseCode::NORMAL_CLOSURE,
        Some(_) => CloseCode::PROTOCOL_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_sends_no_code_that_is_reserved_or_a_clients() {
        let named = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014];
        for code in 0..=u16::MAX {
            let is_legal = named.contains(&code) || (3000..5000).contains(&code);
            assert_eq!(CloseCode::of_a_server(code).is_some(), is_legal, "{code}");
        }
    }

    #[test]
    fn codes_that_may_be_sent_are_answered_with_1000_and_all_others_with_1002() {
        let reply = |code: Option<u16>| close_reply(code.map(CloseCode::new)).0;
        assert_eq!(reply(None), 1000);
        let valid = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011];
        for code in 0..=5000 {
            let expected = if valid.contains(&code) || code > 2999 { 1000 } else { 1002 };
            assert_eq!(reply(Some(code)), expected, "{code}");
        }
        assert_eq!(reply(Some(u16::MAX)), 1000);
    }
}
