//! What the application calls its types, for whoever tells of a shard from outside.

use super::watched::{Code, Note};

/// The socket handler of each mount, and its channels.
#[derive(Debug, Default)]
pub(crate) struct Names(Vec<MountNames>);

#[derive(Debug)]
pub(crate) struct MountNames {
    pub(crate) handler: &'static str,
    pub(crate) channels: Vec<&'static str>,
}

impl Names {
    pub(crate) fn new(mounts: impl Iterator<Item = MountNames>) -> Self {
        Self(mounts.collect())
    }

    /// The type that something that runs is of, where that is known, and what it is.
    pub(crate) fn of(&self, note: Note) -> Option<(Option<&'static str>, &'static str)> {
        let code = note.code()?;
        let mount = self.0.get(usize::from(note.mount()));
        let its_type = match code {
            _ if code.is_of_channel() => {
                mount.and_then(|mount| mount.channels.get(usize::from(note.route()))).copied()
            }
            Code::Connect => mount.map(|mount| mount.handler),
            _ => None,
        };
        Some((its_type, code.name()))
    }
}
