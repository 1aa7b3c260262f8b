//! WebSocket frames as the load client needs them: finished ones to send, and headers to count.
//!
//! The client knows what it sends long before it sends it, so every frame is masked once and sent
//! a million times. Of what the server sends only the headers are read; a payload is looked at when
//! the caller asks for it.

/// A text frame as a client sends it, masked with `MASK`.
pub fn masked_text(text: &str) -> Vec<u8> {
    masked(WHOLE_TEXT, text.as_bytes())
}

/// A text frame as a server sends it.
pub fn text(text: &str) -> Vec<u8> {
    unmasked(WHOLE_TEXT, text.as_bytes())
}

/// A Close as a client sends it, masked with `MASK`.
pub(crate) fn masked_close(code: u16) -> Vec<u8> {
    masked(CLOSE, &code.to_be_bytes())
}

/// A Close as a server sends it.
pub fn close(code: u16) -> Vec<u8> {
    unmasked(CLOSE, &code.to_be_bytes())
}

fn masked(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first_byte, payload.len(), MASK_BIT);
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn unmasked(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first_byte, payload.len(), 0);
    frame.extend_from_slice(payload);
    frame
}

fn header(first_byte: u8, length: usize, mask_bit: u8) -> Vec<u8> {
    let mut header = vec![first_byte];
    match length {
        0..=125 => header.push(mask_bit | length as u8),
        126..=0xffff => {
            header.push(mask_bit | 126);
            header.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            header.push(mask_bit | 127);
            header.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    header
}

/// A frame of the server, all of which has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// FIN, the reserved bits and the opcode.
    pub(crate) first_byte: u8,
    pub(crate) length: u64,
    /// Absent when the frame came in several reads: nothing is kept between two of them.
    pub(crate) payload: Option<&'a [u8]>,
}

/// Where a connection's stream stands between two reads: within a header, or within a payload.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    /// Zero where nothing has arrived.
    header: [u8; MAX_HEADER],
    /// How much of `header` has arrived.
    filled: u8,
    /// How much of the payload has arrived; nothing before the header is whole.
    arrived: u64,
}

impl FrameReader {
    /// Takes what one read has brought and calls `each` for every frame that ends in it.
    ///
    /// # Errors
    ///
    /// What the server may never send: a masked frame, or one longer than any server means.
    pub(crate) fn read<'a>(
        &mut self,
        mut bytes: &'a [u8],
        mut each: impl FnMut(Frame<'a>),
    ) -> Result<(), Nonsense> {
        while !bytes.is_empty() {
            while usize::from(self.filled) < self.header_size() {
                let Some((&byte, rest)) = bytes.split_first() else { return Ok(()) };
                bytes = rest;
                self.header[usize::from(self.filled)] = byte;
                self.filled += 1;
            }
            let length = self.length();
            if self.header[1] & MASK_BIT != 0 || length > MAX_LENGTH {
                return Err(Nonsense);
            }
            let here = (length - self.arrived).min(bytes.len() as u64);
            let (payload, rest) = bytes.split_at(here as usize);
            bytes = rest;
            self.arrived += here;
            if self.arrived < length {
                return Ok(());
            }
            each(Frame {
                first_byte: self.header[0],
                length,
                payload: (here == length).then_some(payload),
            });
            *self = Self::default();
        }
        Ok(())
    }

    /// How long the header is. The second byte says it, which is zero until it has arrived.
    fn header_size(&self) -> usize {
        match self.header[1] & !MASK_BIT {
            126 => 4,
            127 => MAX_HEADER,
            _ => 2,
        }
    }

    fn length(&self) -> u64 {
        let [_, short, long @ ..] = self.header;
        match short & !MASK_BIT {
            126 => u64::from(u16::from_be_bytes([long[0], long[1]])),
            127 => u64::from_be_bytes(long),
            short => u64::from(short),
        }
    }
}

/// The server broke the framing; nothing after it can be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nonsense;

/// The first byte of a text message in one frame.
pub(crate) const WHOLE_TEXT: u8 = FIN | TEXT;
/// The first byte of a close frame.
pub const CLOSE: u8 = FIN | 8;

const FIN: u8 = 0x80;
const TEXT: u8 = 1;
const MASK_BIT: u8 = 0x80;

/// Constant, so that frames can be finished beforehand; not zero, so that a server that forgets to
/// unmask understands nothing. To a server it costs what any other mask does.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Two bytes and eight of length; a server's frame has no mask.
const MAX_HEADER: usize = 10;

/// Far beyond what a load asks for. A stream that has lost its framing is found out by it.
const MAX_LENGTH: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn read_in_pieces(stream: &[u8], piece: usize) -> Vec<(u8, u64, bool)> {
        let mut reader = FrameReader::default();
        let mut frames = Vec::new();
        for bytes in stream.chunks(piece) {
            reader
                .read(bytes, |frame| {
                    frames.push((frame.first_byte, frame.length, frame.payload.is_some()))
                })
                .unwrap();
        }
        frames
    }

    #[test]
    fn frames_are_counted_wherever_the_stream_is_cut() {
        let lengths = [0, 1, 125, 126, 127, 65_535, 65_536, 3];
        let stream: Vec<u8> = lengths.iter().flat_map(|&n| text(&"x".repeat(n))).collect();
        for piece in [1, 2, 3, 5, 7, 127, 128, 129, 4_096, 65_540, stream.len()] {
            let frames = read_in_pieces(&stream, piece);
            let seen: Vec<usize> = frames.iter().map(|frame| frame.1 as usize).collect();
            assert_eq!(seen, lengths, "in pieces of {piece}");
            assert!(frames.iter().all(|frame| frame.0 == WHOLE_TEXT));
        }
    }

    #[test]
    fn a_payload_is_shown_when_it_came_in_one_read() {
        let stream = [text("one"), text("two")].concat();
        let mut shown = Vec::new();
        let mut reader = FrameReader::default();
        let mut keep = |frame: Frame<'_>| shown.push(frame.payload.map(<[u8]>::to_vec));
        reader.read(&stream[..8], &mut keep).unwrap();
        reader.read(&stream[8..], &mut keep).unwrap();
        assert_eq!(shown, [Some(b"one".to_vec()), None]);
    }

    #[test]
    fn a_masked_frame_of_the_server_is_nonsense() {
        let masked = masked_text("hello");
        assert_eq!(FrameReader::default().read(&masked, |_| ()), Err(Nonsense));
    }

    #[test]
    fn a_length_beyond_all_reason_is_nonsense() {
        let endless = [FIN | TEXT, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(FrameReader::default().read(&endless, |_| ()), Err(Nonsense));
    }

    #[test]
    fn a_server_can_unmask_what_was_masked() {
        for length in [0, 5, 125, 126, 70_000] {
            let said = "phoenix ".repeat(length / 8 + 1);
            let said = &said[..length];
            let frame = masked_text(said);
            let header = frame.len() - length - MASK.len();
            assert_eq!(frame[header..header + 4], MASK);
            let heard: Vec<u8> = frame[header + 4..]
                .iter()
                .zip(MASK.iter().cycle())
                .map(|(byte, mask)| byte ^ mask)
                .collect();
            assert_eq!(heard, said.as_bytes());
        }
    }
}
