//! The arrows between the files of `src/`: who uses whom, and that nobody uses what stands above.
//!
//! ```text
//!  src/ ─▶ source ─▶ tree ─▶ arrows ─▶ rules ─▶ offences
//!          what a    what a  who uses  what the
//!          file says path    what of   tables
//!                    means   whom      below say
//! ```
//!
//! An arrow leads from a file that names an item, in a `use` or in a path, to the file that defines
//! it, through whatever hands it on. Two ways of using have no name and no arrow: to call a method and
//! to read a field. So methods have to stand near their type.
//!
//! Rooms, folders and files are called by their names in `src/`. A file may be a room by itself, and
//! stands in the innermost that it is in.

mod arrows;
mod circles;
mod rules;
mod source;
mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rules::Rules;
use tree::Tree;

/// From top to bottom: what stands in one of them may use what stands below.
const ROOMS: &[&str] = &[
    "main",
    "lib",
    "demo",
    "testing",
    "load",
    "endpoint",
    "running",
    "handle",
    "mount",
    "context",
    "address",
    "channel",
    "socket",
    "shard",
    "response",
    "pubsub",
    "event",
    "params",
    "payload",
    "io",
    "telemetry",
    "error",
    "config",
    "protocol",
];

/// Rooms that never use one another, though one has to be above the other.
const STRANGERS: &[(&str, &str)] = &[
    ("io", "protocol"),
    ("protocol/http", "protocol/phoenix"),
    ("protocol/http", "protocol/websocket"),
    ("protocol/phoenix", "protocol/websocket"),
];

/// Folders whose files may reach each other, and why.
const KNOW_THEMSELVES: &[(&str, &str)] = &[
    ("load", "its kinds of load say what is one, and what may fail"),
    ("shard", "its tables lie in one `Core`, which all of it reaches into"),
    ("testing", "a client offers the builder that makes one"),
];

/// Files that use what stands above them, and whom. The list may only get shorter.
const EXCEPTIONS: &[(&str, &str)] = &[
    // By nature: the methods of a channel are handed a context of that channel.
    ("channel.rs", "context.rs"),
    // What the application and the shard say to each other is defined above both.
    ("response.rs", "socket.rs"),
    ("shard/broadcast.rs", "channel.rs"),
    ("shard/calls.rs", "address.rs"),
    ("shard/deadlines.rs", "channel.rs"),
    ("shard/mod.rs", "channel.rs"),
    ("shard/mount.rs", "channel.rs"),
    ("shard/mount.rs", "socket.rs"),
    ("shard/remote.rs", "address.rs"),
    ("shard/run.rs", "channel.rs"),
    ("shard/session.rs", "channel.rs"),
    ("shard/transport/endings.rs", "channel.rs"),
    ("shard/transport/frames.rs", "channel.rs"),
    ("shard/transport/requests.rs", "socket.rs"),
    ("socket.rs", "channel.rs"),
    // Half of it is the application's types behind `Cell`.
    ("shard/process.rs", "channel.rs"),
    ("shard/process.rs", "context.rs"),
    ("shard/process.rs", "socket.rs"),
    // A broadcast says which process it is from.
    ("pubsub.rs", "shard/process.rs"),
];

/// Files with methods of a type that is another folder's or room's. The list may only get shorter.
const METHODS_ELSEWHERE: &[(&str, &str)] = &[
    ("shard/transport/admission.rs", "Core"),
    ("shard/transport/connecting.rs", "Core"),
    ("shard/transport/connecting.rs", "Local"),
    ("shard/transport/endings.rs", "Core"),
    ("shard/transport/endings.rs", "Local"),
    ("shard/transport/frames.rs", "Core"),
    ("shard/transport/frames.rs", "Local"),
    ("shard/transport/mod.rs", "Core"),
    ("shard/transport/mod.rs", "Local"),
    ("shard/transport/requests.rs", "Core"),
    ("shard/transport/requests.rs", "Local"),
    ("shard/transport/slow_readers.rs", "Core"),
    ("shard/transport/unfinished.rs", "Core"),
    ("shard/transport/unfinished.rs", "Phase"),
];

#[test]
fn nobody_uses_what_stands_above() {
    let rules = Rules {
        rooms: ROOMS,
        strangers: STRANGERS,
        know_themselves: KNOW_THEMSELVES,
        exceptions: EXCEPTIONS,
        methods_elsewhere: METHODS_ELSEWHERE,
    };
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    read(&src, &src, &mut files);
    let offences = rules.offences(&Tree::new(&files));
    assert!(offences.is_empty(), "\n{}\n{} offences", offences.join("\n"), offences.len());
}

/// Reads all the Rust in a folder, by its names from `src`.
///
/// # Panics
///
/// When a file can't be read: one that was passed over would be missed in silence.
fn read(src: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    for entry in entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.path();
        if path.is_dir() {
            read(src, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path);
            let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let name = path.strip_prefix(src).expect("the walk began there");
            files.insert(name.display().to_string(), text);
        }
    }
}
