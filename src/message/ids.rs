//! Who is who on this node.

/// A process of a shard. Void when it has ended, even if its place is taken again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ProcessId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl ProcessId {
    pub(crate) fn pack(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(crate) fn unpack(packed: u64) -> Self {
        Self { index: packed as u32, generation: (packed >> 32) as u32 }
    }
}

/// A process of any shard of this endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GlobalProcessId {
    pub(crate) shard: u32,
    pub(crate) process: ProcessId,
}

/// A client who is owed frames: for as long as it lives, whatever carries them to it.
///
/// A WebSocket's line has its connection's bits (ring, slot, generation), so that neither has to be
/// looked up from the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LineId(u64);

impl LineId {
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn to_bits(self) -> u64 {
        self.0
    }
}
