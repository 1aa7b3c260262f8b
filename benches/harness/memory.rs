//! What a process and the kernel hold in memory.

use std::fs;
use std::io;

/// The resident memory of a process, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Heap, stacks and what else belongs to no file.
    pub(crate) anonymous: u64,
    /// All of it: the pages shared with the kernel's rings and the program's own file too.
    pub(crate) resident: u64,
}

impl Memory {
    /// Of process `id`, counted page by page: the figures in `/proc/PID/status` lag behind.
    pub(crate) fn of(id: u32) -> io::Result<Self> {
        let counts = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
        Ok(Self { anonymous: bytes(&counts, "Anonymous:")?, resident: bytes(&counts, "Rss:")? })
    }
}

/// What the kernel's slabs hold, for all processes: sockets, files, requests of a ring, in bytes.
pub(crate) fn slabs() -> io::Result<u64> {
    bytes(&fs::read_to_string("/proc/meminfo")?, "Slab:")
}

/// The figure of a line `name: 123 kB`.
fn bytes(lines: &str, name: &str) -> io::Result<u64> {
    let line = lines.lines().find_map(|line| line.strip_prefix(name));
    let figure = line.and_then(|line| line.split_whitespace().next());
    let figure: Option<u64> = figure.and_then(|figure| figure.parse().ok());
    let unknown = || io::Error::other(format!("the kernel says nothing of {name}"));
    figure.map(|kib| kib << 10).ok_or_else(unknown)
}
