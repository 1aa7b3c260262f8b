//! A client's frame header (RFC 6455 §5.2), read and judged.

use super::Error;
use super::mask::Mask;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpCode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

impl OpCode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    pub(super) fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// The header of a frame from a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) is_final: bool,
    pub(super) opcode: OpCode,
    pub(super) mask: Mask,
    /// Of the header itself, in bytes: 6, 8 or 14.
    pub(super) size: usize,
    /// Of the payload, as announced and not yet held against any limit.
    pub(super) payload: u64,
}

impl Header {
    /// Reads a header from the start of `bytes`; `None` when it is not all there yet.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the header by itself, as soon as the byte is there that says so.
    #[inline]
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, Error> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & RESERVED_BITS != 0 {
            return Err(Error::ReservedBits);
        }
        let bits = first & OPCODE_BITS;
        let opcode = OpCode::from_bits(bits).ok_or(Error::ReservedOpCode(bits))?;
        let is_final = first & FINAL_BIT != 0;
        if opcode.is_control() && !is_final {
            return Err(Error::FragmentedControl);
        }

        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & MASK_BIT == 0 {
            return Err(Error::Unmasked);
        }
        let length = second & LENGTH_BITS;
        if opcode.is_control() && length > MAX_CONTROL_PAYLOAD {
            return Err(Error::ControlTooBig);
        }

        let after_length = &bytes[2..];
        let (payload, mask) = match length {
            LENGTH_IN_16_BITS => {
                let Some((length, rest)) = after_length.split_first_chunk() else {
                    return Ok(None);
                };
                let length = u64::from(u16::from_be_bytes(*length));
                if length <= u64::from(MAX_CONTROL_PAYLOAD) {
                    return Err(Error::LengthNotShortest);
                }
                (length, rest)
            }
            LENGTH_IN_64_BITS => {
                let Some((length, rest)) = after_length.split_first_chunk() else {
                    return Ok(None);
                };
                let length = u64::from_be_bytes(*length);
                if length >> 63 != 0 {
                    return Err(Error::LengthTooBig);
                }
                if length <= u64::from(u16::MAX) {
                    return Err(Error::LengthNotShortest);
                }
                (length, rest)
            }
            length => (u64::from(length), after_length),
        };
        let Some((key, rest)) = mask.split_first_chunk() else { return Ok(None) };
        let size = bytes.len() - rest.len();
        Ok(Some(Self { is_final, opcode, mask: Mask::new(*key), size, payload }))
    }

    /// How many bytes must be there before something can be done with the frame.
    pub(super) fn needs(&self) -> u64 {
        self.size as u64 + if self.opcode.is_control() { self.payload } else { 0 }
    }
}

/// What a control frame can hold at most, and the longest length that fits the second byte.
pub(super) const MAX_CONTROL_PAYLOAD: u8 = 125;
pub(super) const LENGTH_IN_16_BITS: u8 = 126;
pub(super) const LENGTH_IN_64_BITS: u8 = 127;

pub(super) const FINAL_BIT: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const OPCODE_BITS: u8 = 0x0f;
const MASK_BIT: u8 = 0x80;
const LENGTH_BITS: u8 = 0x7f;
