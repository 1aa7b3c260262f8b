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
    "lib",
    "demo",
    "testing",
    "load",
    // What runs.
    "endpoint",
    "fallback",
    "running",
    "mount",
    // What an application writes.
    "callbacks",
    "channel",
    "socket",
    // One core.
    "shard",
    "shard/transport",
    "shard/channels",
    "shard/topics",
    "shard/lines",
    "shard/links",
    "shard/chores",
    "shard/deadlines",
    "shard/clock",
    "shard/pace",
    "shard/blocking",
    "shard/promise",
    "shard/panics",
    "shard/table",
    // What both have in common.
    "error",
    "runtime",
    "telemetry",
    "message",
    "stream",
    "io",
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
    ("channel", "a channel's methods are handed a context of that channel"),
    ("load", "a scenario is handed the run that plays it, and a report says what went wrong"),
];

/// Files that use what stands above them, and whom. The list may only get shorter.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// Files with methods of a type that is another folder's or room's. The list may only get shorter.
const METHODS_ELSEWHERE: &[(&str, &str)] = &[
    // Each scenario gives a load the method that plays it.
    ("load/scenarios/broadcasts.rs", "Load"),
    ("load/scenarios/connections.rs", "Load"),
    ("load/scenarios/joins.rs", "Load"),
    ("load/scenarios/listeners.rs", "Load"),
    ("load/scenarios/pushes.rs", "Load"),
    ("load/scenarios/visits.rs", "Load"),
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
