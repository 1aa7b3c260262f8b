//! Unmasking of payloads, in place.

/// A client's masking key, turned to where in the payload it applies next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mask([u8; 4]);

impl Mask {
    pub(super) fn new(key: [u8; 4]) -> Self {
        Self(key)
    }

    /// Unmasks the payload's next bytes (RFC 6455 §5.3).
    ///
    /// The blocks compile to unaligned vector instructions, so neither the bytes' address nor the
    /// phase of the key matters.
    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        let length = bytes.len();
        let key = self.0;
        let block_key: [u8; BLOCK] = std::array::from_fn(|i| key[i % 4]);
        let (blocks, rest) = bytes.as_chunks_mut::<BLOCK>();
        for block in blocks {
            for (byte, key) in block.iter_mut().zip(&block_key) {
                *byte ^= key;
            }
        }
        let (words, rest) = rest.as_chunks_mut::<4>();
        for word in words {
            *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(key)).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(&key) {
            *byte ^= key;
        }
        self.0.rotate_left(length % 4);
    }
}

/// Two vectors of the instruction set that every x86-64 has.
const BLOCK: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_alignment_and_split_gives_what_byte_by_byte_gives() {
        let key = [0x11, 0x22, 0x44, 0x88];
        let masked: Vec<u8> = (0..=200).collect();
        let plain: Vec<u8> = masked.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
        for length in 0..=120 {
            for offset in 0..8 {
                // The buffer's address differs by `offset`; the payload begins there.
                let mut buffer = vec![0; offset];
                buffer.extend_from_slice(&masked[..length]);
                Mask::new(key).apply(&mut buffer[offset..]);
                assert_eq!(buffer[offset..], plain[..length], "length {length}, offset {offset}");
            }
        }
        for split in 0..masked.len() {
            let mut bytes = masked.clone();
            let mut mask = Mask::new(key);
            mask.apply(&mut bytes[..split]);
            mask.apply(&mut bytes[split..]);
            assert_eq!(bytes, plain, "split at {split}");
        }
    }
}
