//! What an application has to build that depends on the library.

use std::collections::BTreeSet;
use std::process::Command;

#[test]
fn an_application_builds_nothing_that_only_the_command_wants() {
    for features in ["--no-default-features", "--all-features"] {
        let library = built_for("simurgh", features);
        let command = built_for("simurgh-command", features);
        for package in ["clap", "tracing-subscriber"] {
            assert!(!library.contains(package), "the library wants {package} ({features})");
            // So that the name is known to be one that would be found.
            assert!(command.contains(package), "the command does without {package} ({features})");
        }
    }
}

/// The names of all packages that cargo builds for this one, itself among them, its tests apart.
fn built_for(package: &str, features: &str) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "no-dev", "--prefix", "none", "--format", "{p}"])
        .args(["--package", package, features])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo is there");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).expect("text");
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}
