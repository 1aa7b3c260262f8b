//! Frames to a client, appended to a buffer. A server does not mask (RFC 6455 §5.1).

use super::header::{FINAL_BIT, LENGTH_IN_16_BITS, LENGTH_IN_64_BITS, MAX_CONTROL_PAYLOAD};
use super::{CloseCode, OpCode};

/// Appends one final frame to `out`: its header, then what `body` appends.
///
/// The payload is written once, in its place, and the header put before it afterwards. Room is left
/// for the header of a payload of 126 to 65,535 bytes; a shorter or longer one is moved up to it,
/// which for the short ones is at most 125 bytes.
///
/// Should `body` panic, `out` is as it was before.
///
/// # Errors
///
/// Those of `body`; `out` is then as it was before.
pub(crate) fn try_write_frame<R, E>(
    out: &mut Vec<u8>,
    opcode: OpCode,
    body: impl FnOnce(&mut Vec<u8>) -> Result<R, E>,
) -> Result<R, E> {
    let frame = Unfinished::begin(out);
    let result = body(frame.out)?;
    frame.finish(opcode);
    Ok(result)
}

/// Appends a close frame, with `code` or empty, and without a reason, as in Phoenix.
pub(crate) fn write_close(out: &mut Vec<u8>, code: Option<CloseCode>) {
    match code {
        Some(code) => write_control(out, OpCode::Close, &code.to_bytes()),
        None => write_control(out, OpCode::Close, &[]),
    }
}

/// Appends a close frame whose reason says what was wrong. Of a text longer than the 123 bytes that
/// there is room for (RFC 6455 §5.5) the beginning.
pub(crate) fn write_close_with(out: &mut Vec<u8>, code: CloseCode, reason: &str) {
    let mut end = reason.len().min(MAX_CLOSE_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let payload = [code.to_bytes().as_slice(), &reason.as_bytes()[..end]].concat();
    write_control(out, OpCode::Close, &payload);
}

/// Bytes of a Close's reason: what a control frame holds, without the code (RFC 6455 §5.5).
pub(crate) const MAX_CLOSE_REASON: usize = MAX_CONTROL_PAYLOAD as usize - 2;

/// Appends the answer to a ping with this payload.
pub(crate) fn write_pong(out: &mut Vec<u8>, payload: &[u8]) {
    write_control(out, OpCode::Pong, payload);
}

fn write_control(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    let length = payload.len();
    assert!(length <= usize::from(MAX_CONTROL_PAYLOAD), "control frame of {length} bytes");
    out.extend_from_slice(&[FINAL_BIT | opcode as u8, length as u8]);
    out.extend_from_slice(payload);
}

/// A frame whose payload is being written. Dropped before it is finished, it leaves no trace: a
/// payload that fails or panics halfway must not end up between two whole frames.
struct Unfinished<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    finished: bool,
}

impl<'a> Unfinished<'a> {
    fn begin(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_ROOM]);
        Self { out, start, finished: false }
    }

    fn finish(mut self, opcode: OpCode) {
        let payload_start = self.start + HEADER_ROOM;
        assert!(self.out.len() >= payload_start, "the body only appends");
        let length = self.out.len() - payload_start;

        let mut header = [0; MAX_HEADER_SIZE];
        header[0] = FINAL_BIT | opcode as u8;
        let header_size = if length <= usize::from(MAX_CONTROL_PAYLOAD) {
            header[1] = length as u8;
            2
        } else if let Ok(length) = u16::try_from(length) {
            header[1] = LENGTH_IN_16_BITS;
            header[2..4].copy_from_slice(&length.to_be_bytes());
            4
        } else {
            header[1] = LENGTH_IN_64_BITS;
            header[2..10].copy_from_slice(&(length as u64).to_be_bytes());
            10
        };

        let end = self.start + header_size + length;
        if header_size > HEADER_ROOM {
            self.out.resize(end, 0);
        }
        if header_size != HEADER_ROOM {
            let payload = payload_start..payload_start + length;
            self.out.copy_within(payload, self.start + header_size);
            self.out.truncate(end);
        }
        self.out[self.start..][..header_size].copy_from_slice(&header[..header_size]);
        self.finished = true;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.out.truncate(self.start);
        }
    }
}

const HEADER_ROOM: usize = 4;
const MAX_HEADER_SIZE: usize = 10;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn a_header_has_the_shortest_length_that_fits() {
        for (length, header) in [
            (0, &[0x82, 0][..]),
            (1, &[0x82, 1]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 0xff, 0xff]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (70_000, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]),
        ] {
            let payload: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let mut out = b"before".to_vec();
            let written = try_write_frame(&mut out, OpCode::Binary, |out| {
                out.extend_from_slice(&payload);
                Ok::<_, Infallible>("what the body returned")
            });
            assert_eq!(written, Ok("what the body returned"));
            assert_eq!(out, [b"before", header, &payload[..]].concat(), "length {length}");
        }
    }

    #[test]
    fn a_body_that_fails_or_panics_leaves_no_trace() {
        let mut out = b"before".to_vec();
        let failed = try_write_frame(&mut out, OpCode::Text, |out| {
            out.extend_from_slice(b"half a pay");
            Err::<(), _>("failed")
        });
        assert_eq!(failed, Err("failed"));
        assert_eq!(out, b"before");

        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            try_write_frame(&mut out, OpCode::Text, |out| -> Result<(), Infallible> {
                out.extend_from_slice(b"half a pay");
                std::panic::resume_unwind(Box::new("panicked"));
            })
        }))
        .expect_err("it panicked");
        assert_eq!(out, b"before");
    }

    #[test]
    fn control_frames() {
        let mut out = Vec::new();
        write_close(&mut out, Some(CloseCode::SERVICE_RESTART));
        write_close(&mut out, None);
        write_pong(&mut out, b"hi");
        assert_eq!(out, b"\x88\x02\x03\xf4\x88\x00\x8a\x02hi");

        let mut out = Vec::new();
        write_close_with(&mut out, CloseCode::INTERNAL_ERROR, "too deep");
        assert_eq!(out, b"\x88\x0a\x03\xf3too deep");
        out.clear();
        write_close_with(&mut out, CloseCode::INTERNAL_ERROR, &"é".repeat(100));
        assert_eq!(out[1], 124);
        assert!(std::str::from_utf8(&out[4..]).is_ok());
    }
}
