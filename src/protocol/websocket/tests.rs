//! The whole of it: bytes in, messages out, however the network cuts them.

use std::io::Cursor;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode as PeerOpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};
use tungstenite::protocol::{Role, WebSocket};

use super::partial::FIRST_ROOM;
use super::*;

const LIMITS: Limits = Limits { max_frame_size: 100_000, max_message_size: 150_000 };

// ---- What every test uses ----

#[derive(Debug, Clone, PartialEq)]
enum Received {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<CloseCode>),
}

impl From<Message<'_>> for Received {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.to_owned()),
            Message::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Message::Ping(payload) => Self::Ping(payload.to_vec()),
            Message::Pong => Self::Pong,
            Message::Close(code) => Self::Close(code),
        }
    }
}

/// A connection: what it has received, what ended it, what it keeps.
#[derive(Default)]
struct Connection {
    messages: Vec<Received>,
    error: Option<Error>,
    partial: Option<Box<Partial>>,
}

impl Connection {
    fn receive(&mut self, bytes: &[u8]) {
        self.receive_within(bytes, LIMITS);
    }

    fn receive_within(&mut self, bytes: &[u8], limits: Limits) {
        if self.error.is_some() || matches!(self.messages.last(), Some(Received::Close(_))) {
            return;
        }
        let mut bytes = bytes.to_vec();
        let mut input = Input::new(self.partial.take(), &mut bytes, limits);
        loop {
            match input.next_message() {
                Ok(Some(message)) => self.messages.push(message.into()),
                Ok(None) => break,
                Err(error) => {
                    self.error = Some(error);
                    assert_eq!(input.next_message(), Ok(None), "nothing is read after an error");
                    break;
                }
            }
        }
        self.partial = input.finish();
    }

    fn after<'a>(receives: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut connection = Self::default();
        receives.into_iter().for_each(|bytes| connection.receive(bytes));
        connection
    }

    fn buffered(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.buffered())
    }
}

/// A client's frame, written by somebody else.
fn frame(opcode: PeerOpCode, is_final: bool, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mask = Some(mask);
    let header = FrameHeader { is_final, opcode, mask, rsv1: false, rsv2: false, rsv3: false };
    let mut bytes = Vec::new();
    Frame::from_payload(header, payload.to_vec().into()).format(&mut bytes).expect("formatted");
    bytes
}

const MASK: [u8; 4] = [0x9a, 0x01, 0xfe, 0x37];
const TEXT: PeerOpCode = PeerOpCode::Data(Data::Text);
const BINARY: PeerOpCode = PeerOpCode::Data(Data::Binary);
const CONTINUE: PeerOpCode = PeerOpCode::Data(Data::Continue);
const PING: PeerOpCode = PeerOpCode::Control(Control::Ping);
const PONG: PeerOpCode = PeerOpCode::Control(Control::Pong);
const CLOSE: PeerOpCode = PeerOpCode::Control(Control::Close);

fn whole(opcode: PeerOpCode, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(opcode, true, MASK, payload.as_ref())
}

fn fragment(opcode: PeerOpCode, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(opcode, false, MASK, payload.as_ref())
}

/// Everything a client may say, and what is to be understood of it.
fn conversation() -> (Vec<u8>, Vec<Received>) {
    let text = "zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich, €\u{10ffff}";
    let binary: Vec<u8> = (0..=255).chain(0..=44).collect();
    let bytes = [
        whole(TEXT, ""),
        whole(TEXT, text),
        whole(BINARY, b""),
        whole(BINARY, &binary[..125]),
        whole(BINARY, &binary[..126]),
        whole(PING, b""),
        whole(PING, &binary[..125]),
        whole(PONG, b"unasked"),
        // Cut within the ö and the ä, with control frames in between (RFC 6455 §5.4).
        fragment(TEXT, &text.as_bytes()[..3]),
        whole(PING, b"between"),
        fragment(CONTINUE, b""),
        fragment(CONTINUE, &text.as_bytes()[3..12]),
        whole(PONG, b""),
        whole(CONTINUE, &text.as_bytes()[12..]),
        fragment(BINARY, b""),
        whole(CONTINUE, &binary),
        fragment(TEXT, b""),
        whole(CONTINUE, b""),
        whole(CLOSE, [&1001_u16.to_be_bytes()[..], "weiß".as_bytes()].concat()),
    ]
    .concat();
    let received = vec![
        Received::Text(String::new()),
        Received::Text(text.into()),
        Received::Binary(vec![]),
        Received::Binary(binary[..125].to_vec()),
        Received::Binary(binary[..126].to_vec()),
        Received::Ping(vec![]),
        Received::Ping(binary[..125].to_vec()),
        Received::Pong,
        Received::Ping(b"between".to_vec()),
        Received::Pong,
        Received::Text(text.into()),
        Received::Binary(binary),
        Received::Text(String::new()),
        Received::Close(Some(CloseCode::new(1001))),
    ];
    (bytes, received)
}

// ---- Messages ----

#[test]
fn the_example_frames_of_the_rfc_are_understood() {
    // RFC 6455 §5.7, those that a client sends.
    let hello = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    let pong = b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    let connection = Connection::after([&hello[..], pong]);
    assert_eq!(connection.messages, [Received::Text("Hello".into()), Received::Pong]);
}

#[test]
fn a_conversation_is_the_same_wherever_it_is_cut() {
    let (bytes, expected) = conversation();
    for cut in 0..=bytes.len() {
        let connection = Connection::after([&bytes[..cut], &bytes[cut..]]);
        assert_eq!(connection.error, None, "cut at {cut}");
        assert_eq!(connection.messages, expected, "cut at {cut}");
        assert!(connection.partial.is_none(), "cut at {cut}");
    }
}

#[test]
fn a_conversation_is_the_same_in_receives_of_any_size() {
    let (bytes, expected) = conversation();
    for size in 1..200 {
        let connection = Connection::after(bytes.chunks(size));
        assert_eq!(connection.error, None, "{size} bytes at a time");
        assert_eq!(connection.messages, expected, "{size} bytes at a time");
    }
}

#[test]
fn lengths_of_all_three_forms_are_understood_wherever_their_header_is_cut() {
    for length in [65_535, 65_536, 70_000] {
        let payload: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        let bytes = whole(BINARY, &payload);
        for cut in (0..20).chain([30_000, bytes.len() - 1, bytes.len()]) {
            let connection = Connection::after([&bytes[..cut], &bytes[cut..]]);
            assert_eq!(connection.error, None);
            assert!(connection.messages == [Received::Binary(payload.clone())], "cut at {cut}");
        }
    }
}

#[test]
fn a_message_within_one_receive_is_lent_from_where_it_lies() {
    let mut bytes = [whole(TEXT, "first"), whole(BINARY, b"second"), whole(PING, b"3")].concat();
    let range = bytes.as_ptr_range();
    let mut input = Input::new(None, &mut bytes, LIMITS);
    while let Some(message) = input.next_message().expect("a valid frame") {
        let start = match message {
            Message::Text(text) => text.as_ptr(),
            Message::Binary(bytes) | Message::Ping(bytes) => bytes.as_ptr(),
            Message::Pong | Message::Close(_) => panic!("no such frame"),
        };
        assert!(range.contains(&start));
    }
    assert!(input.finish().is_none());
}

#[test]
fn a_connection_keeps_something_only_within_a_frame_or_a_message() {
    let (bytes, _) = conversation();
    let mut connection = Connection::default();
    let mut at_rest = 0;
    for &byte in &bytes {
        connection.receive(&[byte]);
        at_rest += usize::from(connection.partial.is_none());
    }
    // After each of eight messages, the pong among them; of the fragmented ones after the last
    // fragment only; and after the close.
    assert_eq!(at_rest, 8 + 3 + 1);
}

#[test]
fn nothing_is_read_after_a_close() {
    let bytes = [whole(CLOSE, b""), whole(TEXT, "late"), fragment(TEXT, "later")].concat();
    let connection = Connection::after([&bytes[..]]);
    assert_eq!(connection.messages, [Received::Close(None)]);
    assert!(connection.partial.is_none());
}

#[test]
fn a_code_that_must_not_be_sent_is_handed_on_to_be_answered_with_1002() {
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999_u16] {
        let connection = Connection::after([&whole(CLOSE, code.to_be_bytes())[..]]);
        let code = CloseCode::new(code);
        assert_eq!(connection.messages, [Received::Close(Some(code))]);
        assert_eq!(close_reply(Some(code)), CloseCode::new(1002));
    }
}

// ---- Refusals ----

#[test]
fn what_the_rfc_forbids_is_refused() {
    // First byte, second byte, what follows: header bytes by hand, for what no client would write.
    let raw = |bytes: &[u8]| bytes.to_vec();
    let long = |byte: u8, length: u64| [&[byte, 0xff][..], &length.to_be_bytes(), &MASK].concat();
    let close = |payload: &[u8]| whole(CLOSE, payload);
    let table = [
        // §5.2: reserved bits without an extension that gives them a meaning.
        (raw(&[0xc1, 0x80]), Error::ReservedBits, 1002),
        (raw(&[0xa1, 0x80]), Error::ReservedBits, 1002),
        (raw(&[0x91, 0x80]), Error::ReservedBits, 1002),
        (raw(&[0xc9, 0x80]), Error::ReservedBits, 1002),
        // §5.2: opcodes that are reserved.
        (raw(&[0x83]), Error::ReservedOpCode(0x3), 1002),
        (raw(&[0x87]), Error::ReservedOpCode(0x7), 1002),
        (raw(&[0x8b]), Error::ReservedOpCode(0xb), 1002),
        (raw(&[0x8f]), Error::ReservedOpCode(0xf), 1002),
        // §5.1: a client masks all frames.
        (raw(&[0x81, 0x05]), Error::Unmasked, 1002),
        (raw(&[0x88, 0x00]), Error::Unmasked, 1002),
        // §5.2: the shortest form of the length, and 63 bits of it.
        (raw(&[0x82, 0xfe, 0, 125]), Error::LengthNotShortest, 1002),
        (long(0x82, 0xffff), Error::LengthNotShortest, 1002),
        (long(0x82, 5), Error::LengthNotShortest, 1002),
        (long(0x82, 1 << 63), Error::LengthTooBig, 1002),
        (long(0x82, u64::MAX), Error::LengthTooBig, 1002),
        // §5.5: control frames are of 125 bytes at most, and of one piece.
        (raw(&[0x89, 0xfe]), Error::ControlTooBig, 1002),
        (raw(&[0x8a, 0xff]), Error::ControlTooBig, 1002),
        (raw(&[0x88, 0xfe]), Error::ControlTooBig, 1002),
        (raw(&[0x09]), Error::FragmentedControl, 1002),
        (raw(&[0x08]), Error::FragmentedControl, 1002),
        // §5.4: fragments of one message, one after the other.
        (whole(CONTINUE, b"a"), Error::NothingToContinue, 1002),
        (fragment(CONTINUE, b"a"), Error::NothingToContinue, 1002),
        ([fragment(TEXT, "a"), whole(TEXT, "b")].concat(), Error::MessageUnfinished, 1002),
        ([fragment(TEXT, "a"), fragment(BINARY, b"b")].concat(), Error::MessageUnfinished, 1002),
        // §5.5.1: a code of two bytes, then UTF-8.
        (close(b"\x03"), Error::CloseCutShort, 1002),
        (close(b"\x03\xe8\xff"), Error::CloseReasonNotUtf8, 1007),
        (close(b"\x03\xe8\xc3"), Error::CloseReasonNotUtf8, 1007),
        // §8.1: text is UTF-8, also where frames or messages end.
        (whole(TEXT, b"\xff"), Error::TextNotUtf8, 1007),
        (whole(TEXT, b"a\xc3"), Error::TextNotUtf8, 1007),
        (whole(TEXT, b"\xed\xa0\x80"), Error::TextNotUtf8, 1007),
        ([fragment(TEXT, b"\xe2\x82"), whole(CONTINUE, b"")].concat(), Error::TextNotUtf8, 1007),
        ([fragment(TEXT, b"\xe2"), whole(CONTINUE, b"\x28")].concat(), Error::TextNotUtf8, 1007),
        (fragment(TEXT, b"\xc0"), Error::TextNotUtf8, 1007),
        // §10.4: limits of our own.
        (
            long(0x82, 100_001),
            Error::FrameTooBig { size: 100_001, max: LIMITS.max_frame_size },
            1009,
        ),
        (
            long(0x02, (1 << 63) - 1),
            Error::FrameTooBig { size: (1 << 63) - 1, max: LIMITS.max_frame_size },
            1009,
        ),
        (
            [fragment(BINARY, [0; 80_000]), fragment(CONTINUE, [0; 70_000]), whole(CONTINUE, [0])]
                .concat(),
            Error::MessageTooBig { size: 150_001, max: LIMITS.max_message_size },
            1009,
        ),
    ];
    for (bytes, error, code) in table {
        assert_eq!(error.close_code(), CloseCode::new(code), "{error}");
        let before = whole(TEXT, "before");
        let expected = vec![Received::Text("before".into())];
        // In one receive, and a byte at a time.
        for size in [usize::MAX, 1] {
            let bytes = [&before[..], &bytes[..]].concat();
            let connection = Connection::after(bytes.chunks(size));
            assert_eq!(connection.error, Some(error), "{:x?}", &bytes[..bytes.len().min(20)]);
            assert_eq!(connection.messages, expected, "{error}");
            assert!(connection.partial.is_none(), "{error}");
        }
    }
}

#[test]
fn a_header_is_judged_before_its_payload_is_there() {
    // Headers only, up to their last telling byte.
    let mut connection = Connection::after([&whole(BINARY, [0; 100_001])[..14]]);
    assert!(matches!(connection.error, Some(Error::FrameTooBig { size: 100_001, .. })));
    assert_eq!(connection.buffered(), 0);

    connection = Connection::after([&fragment(BINARY, [0; 100_000])[..]]);
    connection.receive(&fragment(CONTINUE, [0; 50_001])[..8]);
    assert!(matches!(connection.error, Some(Error::MessageTooBig { size: 150_001, .. })));
}

#[test]
fn text_is_judged_as_it_arrives() {
    let mut text = vec![b'a'; 50_000];
    text[20_000] = 0xff;
    let bytes = whole(TEXT, &text);
    let header = 8;
    let mut connection = Connection::after([&bytes[..header + 20_000]]);
    assert_eq!(connection.error, None);
    connection.receive(&bytes[header + 20_000..][..1]);
    assert_eq!(connection.error, Some(Error::TextNotUtf8));

    // In the first receive already, and in a character that is cut.
    for text in [&b"ab\xffde"[..], b"\xf4\x90\x80\x80b"] {
        let bytes = whole(TEXT, text);
        let connection = Connection::after([&bytes[..bytes.len() - 2]]);
        assert_eq!(connection.error, Some(Error::TextNotUtf8), "{text:x?}");
    }
}

#[test]
fn an_error_says_what_was_too_big() {
    let limits = Limits { max_frame_size: 10_000_000, max_message_size: 10_000_000 };
    let mut connection = Connection::default();
    connection.receive_within(b"\x82\xff\0\0\0\0\0\xb7\x1b\0\0\0\0\0", limits);
    assert_eq!(
        connection.error.expect("too big").to_string(),
        "frame of 12000000 bytes exceeds max_frame_size (10000000)"
    );
}

// ---- Memory ----

#[test]
fn memory_follows_what_arrives_and_not_what_is_announced() {
    let limits = Limits { max_frame_size: 10 << 20, max_message_size: 10 << 20 };
    for opcode in [TEXT, BINARY] {
        let bytes = whole(opcode, vec![b'x'; 10 << 20]);
        let mut connection = Connection::default();
        let mut received = 0;
        for piece in bytes[..bytes.len() - 1].chunks(50_000) {
            connection.receive_within(piece, limits);
            received += piece.len();
            let bound = FIRST_ROOM.max(2 * received).min(10 << 20) + size_of::<Partial>();
            assert!(connection.buffered() <= bound, "{} of {received}", connection.buffered());
        }
        assert_eq!(connection.error, None);

        // A small frame is allocated once, and exactly.
        let bytes = whole(opcode, [b'x'; 1000]);
        let mut connection = Connection::after([&bytes[..10]]);
        assert_eq!(connection.buffered(), 1000 + size_of::<Partial>());
        connection.receive(&bytes[10..900]);
        assert_eq!(connection.buffered(), 1000 + size_of::<Partial>());
    }
}

#[test]
fn a_growing_message_is_seldom_moved() {
    let mut connection = Connection::after([&fragment(BINARY, b"")[..]]);
    let mut rooms = std::collections::BTreeSet::new();
    for _ in 0..10_000 {
        connection.receive(&fragment(CONTINUE, b"0123456789"));
        rooms.insert(connection.buffered());
    }
    // Doubling, from ten bytes to 100,000.
    assert!(rooms.len() <= 15, "{rooms:?}");
}

#[test]
fn empty_and_tiny_fragments_hold_no_more_than_their_payload() {
    let mut connection = Connection::after([&fragment(BINARY, b"")[..]]);
    for _ in 0..1000 {
        connection.receive(&fragment(CONTINUE, b""));
    }
    assert_eq!(connection.buffered(), size_of::<Partial>());
    for _ in 0..1000 {
        connection.receive(&fragment(CONTINUE, b"x"));
    }
    assert!(connection.buffered() <= 2 * 1000 + size_of::<Partial>());
}

#[test]
fn what_an_unfinished_message_takes_is_small_beside_it() {
    assert!(size_of::<Partial>() <= 128, "{}", size_of::<Partial>());
}

// ---- Against a peer that is not ours ----

/// What a client says: a data message in fragments with control frames between them.
#[derive(Debug, Clone)]
struct Said {
    payload: Payload,
    cuts: Vec<Index>,
    controls: Vec<(bool, Vec<u8>)>,
    mask: [u8; 4],
}

#[derive(Debug, Clone)]
enum Payload {
    Text(String),
    Binary(Vec<u8>),
}

fn said() -> impl Strategy<Value = Said> {
    let payload = prop_oneof![
        any::<String>().prop_map(Payload::Text),
        vec(any::<char>(), 0..300).prop_map(|text| Payload::Text(text.into_iter().collect())),
        vec(any::<u8>(), 0..700).prop_map(Payload::Binary),
    ];
    let controls = vec((any::<bool>(), vec(any::<u8>(), 0..=125)), 0..3);
    (payload, vec(any::<Index>(), 0..4), controls, any::<[u8; 4]>())
        .prop_map(|(payload, cuts, controls, mask)| Said { payload, cuts, controls, mask })
}

impl Said {
    /// Its frames, and what is to be received of them.
    fn write(&self, bytes: &mut Vec<u8>, expected: &mut Vec<Received>) {
        let (first, payload, received) = match &self.payload {
            Payload::Text(text) => (TEXT, text.as_bytes(), Received::Text(text.clone())),
            Payload::Binary(data) => (BINARY, &data[..], Received::Binary(data.clone())),
        };
        let mut ends: Vec<usize> =
            self.cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(payload.len());
        let mut controls = self.controls.iter();
        let mut start = 0;
        for (index, &end) in ends.iter().enumerate() {
            let opcode = if index == 0 { first } else { CONTINUE };
            let is_final = index + 1 == ends.len();
            bytes.extend(frame(opcode, is_final, self.mask, &payload[start..end]));
            start = end;
            if !is_final && let Some((is_ping, payload)) = controls.next() {
                let opcode = if *is_ping { PING } else { PONG };
                bytes.extend(frame(opcode, true, self.mask, payload));
                expected.push(match is_ping {
                    true => Received::Ping(payload.clone()),
                    false => Received::Pong,
                });
            }
        }
        expected.push(received);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_a_peer_says_is_what_comes_out(
        said in vec(said(), 0..5),
        receives in vec(1_usize..400, 1..20),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        said.iter().for_each(|said| said.write(&mut bytes, &mut expected));
        let mut connection = Connection::default();
        let mut rest = &bytes[..];
        for size in receives.into_iter().cycle() {
            let (receive, after) = rest.split_at(size.min(rest.len()));
            connection.receive(receive);
            if after.is_empty() {
                break;
            }
            rest = after;
        }
        prop_assert_eq!(connection.error, None);
        prop_assert_eq!(connection.messages, expected);
        prop_assert!(connection.partial.is_none());
    }

    #[test]
    fn no_bytes_panic_or_take_memory(
        receives in vec(vec(any::<u8>(), 0..40), 0..20),
        prefix in prop_oneof![Just(vec![]), Just(vec![0x01, 0xfe, 0x7f, 0x80]), Just(vec![0x82])],
    ) {
        let mut connection = Connection::after([&prefix[..]]);
        for receive in &receives {
            connection.receive(receive);
            prop_assert!(connection.buffered() <= FIRST_ROOM + size_of::<Partial>());
        }
    }

    /// Damage makes frames that are nearly right, which random bytes hardly ever are. Cutting them
    /// must not change what is understood, nor the error.
    #[test]
    fn damage_is_understood_the_same_however_it_is_cut(
        damage in vec((any::<Index>(), any::<u8>()), 1..4),
        size in 1_usize..100,
    ) {
        let (mut bytes, _) = conversation();
        for (position, byte) in damage {
            let position = position.index(bytes.len());
            bytes[position] = byte;
        }
        let at_once = Connection::after([&bytes[..]]);
        let cut = Connection::after(bytes.chunks(size));
        prop_assert_eq!(at_once.error, cut.error);
        prop_assert_eq!(at_once.messages, cut.messages);
        prop_assert_eq!(at_once.partial.is_some(), cut.partial.is_some());
    }
}

fn write(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    let Ok(()) = try_write_frame(out, opcode, |out| {
        out.extend_from_slice(payload);
        Ok::<_, std::convert::Infallible>(())
    });
}

#[test]
fn a_peer_understands_what_is_written() {
    let lengths = [0, 1, 125, 126, 65_535, 65_536, 100_000];
    let mut out = Vec::new();
    for length in lengths {
        let payload: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        write(&mut out, OpCode::Binary, &payload);
    }
    write(&mut out, OpCode::Text, "größer".as_bytes());
    write_pong(&mut out, b"pong");
    write_close(&mut out, Some(CloseCode::SERVICE_RESTART));

    let mut peer = WebSocket::from_raw_socket(Cursor::new(out), Role::Client, None);
    let mut read = || peer.read().expect("a valid frame");
    for length in lengths {
        let payload = read().into_data();
        assert!(payload.iter().enumerate().all(|(i, &byte)| byte == (i % 251) as u8));
        assert_eq!(payload.len(), length);
    }
    assert_eq!(read(), tungstenite::Message::text("größer"));
    assert_eq!(read(), tungstenite::Message::Pong(b"pong"[..].into()));
    let tungstenite::Message::Close(Some(close)) = read() else { panic!("not a close") };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1012, ""));
}
