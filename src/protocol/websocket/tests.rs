//! The whole of it: bytes in, messages out, however they are cut.

use super::*;

const LIMITS: Limits = Limits { max_frame_size: 1 << 20, max_message_size: 1 << 20 };

#[test]
fn a_message_within_one_receive_is_read_in_place() {
    let mut bytes = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    let mut input = Input::new(None, &mut bytes, LIMITS);
    assert_eq!(input.next_message(), Ok(Some(Message::Text("Hello"))));
    assert_eq!(input.next_message(), Ok(None));
    assert!(input.finish().is_none());
}
