//! Who uses whom: an arrow leads from a file to the one that defines what it uses.

use std::collections::BTreeMap;
use std::fmt;

use crate::tree::{Definition, ModuleId, Tree};

/// A file's use of an item of another file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arrow<'t> {
    pub(crate) from: &'t str,
    /// The first that names the item.
    pub(crate) line: usize,
    pub(crate) item: String,
    pub(crate) to: &'t str,
}

impl fmt::Display for Arrow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, line, item, to } = self;
        write!(f, "src/{from}:{line} uses {item} of src/{to}")
    }
}

/// All arrows, of which a front page has none to what it only hands on: who asks for it there has.
///
/// A glob is a use of everything it brings in, for the methods of a trait are called without its name.
pub(crate) fn arrows(tree: &Tree) -> Vec<Arrow<'_>> {
    let mut uses = Uses::of(tree);
    for (id, module) in tree.modules.iter().enumerate() {
        let page = tree.page(id);
        for import in &module.source.imports {
            let meaning = tree.resolve(id, &import.path.segments);
            let items = match meaning.module {
                Some(from) if import.name.is_none() => tree.shown(from, id),
                _ => meaning.item.into_iter().collect(),
            };
            for item in items {
                if !(import.is_public && tree.is_within(item.module, page)) {
                    uses.add(id, item, import.path.line);
                }
            }
        }
        for path in &module.source.paths {
            if let Some(item) = tree.resolve(id, &path.segments).item {
                uses.add(id, item, path.line);
            }
        }
    }
    uses.into_arrows()
}

/// Arrows from methods to their type, where they stand in another file than it does. Whoever calls
/// them names the type's file alone, or no file at all.
pub(crate) fn methods_elsewhere(tree: &Tree) -> Vec<Arrow<'_>> {
    let mut uses = Uses::of(tree);
    for (id, module) in tree.modules.iter().enumerate() {
        for path in &module.source.impls {
            if let Some(item) = tree.resolve(id, &path.segments).item {
                uses.add(id, item, path.line);
            }
        }
    }
    uses.into_arrows()
}

struct Uses<'t> {
    tree: &'t Tree,
    /// The first line, for who uses what of whom.
    lines: BTreeMap<(&'t str, &'t str, String), usize>,
}

impl<'t> Uses<'t> {
    fn of(tree: &'t Tree) -> Self {
        Self { tree, lines: BTreeMap::new() }
    }

    fn add(&mut self, user: ModuleId, item: Definition, line: usize) {
        let file = |module: ModuleId| self.tree.modules[module].file.as_str();
        let (from, to) = (file(user), file(item.module));
        if from != to {
            let first = self.lines.entry((from, to, item.name)).or_insert(line);
            *first = line.min(*first);
        }
    }

    fn into_arrows(self) -> Vec<Arrow<'t>> {
        let lines = self.lines.into_iter();
        lines.map(|((from, to, item), line)| Arrow { from, line, item, to }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::tree;

    /// Each as `from:line item to`.
    fn told(arrows: Vec<Arrow<'_>>) -> Vec<String> {
        let told = arrows
            .iter()
            .map(|Arrow { from, line, item, to }| format!("{from}:{line} {item} {to}"));
        told.collect()
    }

    #[test]
    fn imports_and_paths_are_arrows_to_where_the_item_is_defined() {
        let tree = tree(&[
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod c;\npub(crate) use c::{C, D};"),
            ("a/c.rs", "pub(crate) struct C;\npub(crate) struct D;"),
            (
                "b.rs",
                "use crate::a::{\n  self,\n  C as Renamed\n};\nfn f(_: a::D, _: a::C) {}\nfn g(_: D) {}\nstruct D;",
            ),
        ]);
        assert_eq!(told(arrows(&tree)), ["b.rs:3 C a/c.rs", "b.rs:5 D a/c.rs"]);
    }

    #[test]
    fn a_front_page_uses_what_it_names_besides_handing_it_on() {
        let tree = tree(&[
            ("lib.rs", "mod a; mod b;"),
            (
                "a/mod.rs",
                "mod c;\npub(crate) use c::{C, D};\npub(crate) use crate::b::B;\nstruct A(C);",
            ),
            ("a/c.rs", "pub(crate) struct C;\npub(crate) struct D;"),
            ("b.rs", "pub(crate) struct B;"),
        ]);
        assert_eq!(told(arrows(&tree)), ["a/mod.rs:4 C a/c.rs", "a/mod.rs:3 B b.rs"]);
    }

    #[test]
    fn a_glob_is_a_use_of_all_that_it_brings_in() {
        let tree = tree(&[
            ("lib.rs", "mod a; mod b;\npub mod prelude { pub use crate::a::{A, B}; }"),
            ("a.rs", "pub struct A;\npub trait B {}\nstruct C;"),
            ("b.rs", "use crate::prelude::*;"),
        ]);
        assert_eq!(told(arrows(&tree)), ["b.rs:1 A a.rs", "b.rs:1 B a.rs"]);
    }

    #[test]
    fn methods_stand_elsewhere_if_their_type_is_of_another_file() {
        let tree = tree(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "pub(crate) struct A;\nimpl A {}\nimpl A {}"),
            ("b.rs", "use crate::a::A;\nimpl Clone for A {}\nimpl A {}\nstruct B;\nimpl B {}"),
        ]);
        assert_eq!(told(methods_elsewhere(&tree)), ["b.rs:3 A a.rs"]);
    }
}
