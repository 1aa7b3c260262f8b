//! The code to answer a client's close with.

/// The code to answer a client's close with.
///
/// A close without a code, or with one that an endpoint may send, is answered with 1000; a code
/// that must not appear on the wire is a protocol error, 1002. The codes are those that Phoenix
/// takes for valid: 1012 to 1014, registered after RFC 6455 and sent by servers only, are not
/// among them.
pub(crate) fn close_reply(code: Option<u16>) -> u16 {
    match code {
        None | Some(1000..=1003 | 1007..=1011 | 3000..) => 1000,
        Some(_) => 1002,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_be_sent_are_answered_with_1000_and_all_others_with_1002() {
        assert_eq!(close_reply(None), 1000);
        let valid = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011];
        for code in 0..=5000 {
            let expected = if valid.contains(&code) || code > 2999 { 1000 } else { 1002 };
            assert_eq!(close_reply(Some(code)), expected, "{code}");
        }
        assert_eq!(close_reply(Some(u16::MAX)), 1000);
    }
}
