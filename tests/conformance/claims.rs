use std::fs;
use std::path::Path;

/// A test's word that it shows a fact.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The fact it names, which need not exist.
    pub(crate) id: String,
    /// Where, as `path:line`.
    pub(crate) place: String,
}

/// Every claim in the tests of the tree at `root`: Rust under `src` and `tests`, JavaScript under
/// `tests`.
///
/// # Panics
///
/// When a file can't be read: a test that was passed over would be missed in silence.
pub(crate) fn in_tree(root: &Path) -> Vec<Claim> {
    let mut claims = Vec::new();
    in_directory(root, &root.join("src"), &["rs"], &mut claims);
    in_directory(root, &root.join("tests"), &["rs", "mjs", "js"], &mut claims);
    claims
}

fn in_directory(root: &Path, directory: &Path, extensions: &[&str], claims: &mut Vec<Claim>) {
    let entries =
        fs::read_dir(directory).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = entries.unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            if entry.file_name() != "node_modules" {
                in_directory(root, &path, extensions, claims);
            }
        } else if path.extension().is_some_and(|found| extensions.iter().any(|e| found == *e)) {
            let text = fs::read_to_string(&path);
            let text = text.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let name = path.strip_prefix(root).expect("the walk began there");
            claims.extend(in_file(&name.display().to_string(), &text));
        }
    }
}

/// The claims in one file, of which `name` is what their places are told by.
fn in_file(name: &str, text: &str) -> Vec<Claim> {
    let mut claims = Vec::new();
    let mut goes_on = false;
    for (index, line) in text.lines().enumerate() {
        let list = match comment(line) {
            Some(comment) if goes_on => Some(comment),
            Some(comment) => comment.strip_prefix("shows:").map(str::trim),
            None => None,
        };
        let place = || format!("{name}:{}", index + 1);
        goes_on = list.is_some_and(|list| list.ends_with(','));
        // An empty list names nothing, which is no row's id and is told as such.
        let list = list.map(|list| list.strip_suffix(',').unwrap_or(list));
        let ids = list.into_iter().flat_map(|list| list.split(','));
        claims.extend(ids.map(|id| Claim { id: id.trim().to_owned(), place: place() }));
    }
    claims
}

/// The text of a line that is a `//` comment and nothing else, a doc comment included.
fn comment(line: &str) -> Option<&str> {
    let slashes = line.trim().strip_prefix("//")?;
    Some(slashes.trim_start_matches(['/', '!']).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<String> {
        in_file("a.rs", text).into_iter().map(|claim| claim.id).collect()
    }

    #[test]
    fn a_claim_names_its_facts_behind_a_colon() {
        let found = in_file("a.rs", "#[test]\n    // shows: a.one, a.two\nfn f() {}\n");
        let claim = |id: &str| Claim { id: id.into(), place: "a.rs:2".into() };
        assert_eq!(found, [claim("a.one"), claim("a.two")]);
    }

    #[test]
    fn doc_comments_may_claim() {
        assert_eq!(ids("/// shows: a.one\n//! shows:a.two"), ["a.one", "a.two"]);
    }

    #[test]
    fn a_list_that_ends_with_a_comma_goes_on_in_the_next_comment() {
        let found = in_file("a.rs", "// shows: a.one,\n//   a.two, a.three\n// and more");
        let found: Vec<_> = found.iter().map(|c| (c.id.as_str(), c.place.as_str())).collect();
        assert_eq!(found, [("a.one", "a.rs:1"), ("a.two", "a.rs:2"), ("a.three", "a.rs:2")]);
        assert_eq!(ids("// shows: a.one,\nfn f() {}\n// a.two"), ["a.one"]);
    }

    #[test]
    fn only_a_comment_that_begins_so_claims() {
        assert!(ids("let s = \"// shows: a.one\";").is_empty());
        assert!(ids("f(); // shows: a.one").is_empty());
        assert!(ids("// This shows: a.one").is_empty());
        assert!(ids("shows: a.one").is_empty());
    }

    #[test]
    fn a_list_that_is_no_list_names_what_is_no_fact() {
        assert_eq!(ids("// shows:"), [""]);
        assert_eq!(ids("// shows: a.one a.two"), ["a.one a.two"]);
        assert_eq!(ids("// shows: a.one,, a.two"), ["a.one", "", "a.two"]);
    }

    #[test]
    fn the_walk_finds_tests_of_both_languages_and_passes_over_what_is_installed() {
        let root = std::env::temp_dir().join(format!("simurgh-claims-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("src/deep/er/a.rs", "// shows: src.rust");
        write("src/page.js", "// shows: src.script");
        write("tests/b.rs", "// shows: tests.rust");
        write("tests/browser/c.mjs", "// shows: tests.module");
        write("tests/browser/d.js", "// shows: tests.script");
        write("tests/browser/e.txt", "// shows: tests.text");
        write("tests/browser/node_modules/f.js", "// shows: tests.installed");
        let mut found: Vec<_> = in_tree(&root).into_iter().map(|claim| claim.id).collect();
        fs::remove_dir_all(&root).unwrap();
        found.sort();
        assert_eq!(found, ["src.rust", "tests.module", "tests.rust", "tests.script"]);
    }
}
