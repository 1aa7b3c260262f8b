//! The crate's modules, and what a path in one of them means.

use std::collections::BTreeMap;

use crate::source::Source;

/// The modules of the library, and of the command beside it.
pub(crate) struct Tree {
    pub(crate) modules: Vec<Module>,
}

/// A place in [`Tree::modules`].
pub(crate) type ModuleId = usize;

pub(crate) struct Module {
    /// By its name from `src/`.
    pub(crate) file: String,
    pub(crate) source: Source,
    /// The module it is declared in. The library and the command are their own.
    parent: ModuleId,
    children: BTreeMap<String, ModuleId>,
}

/// What a name stands for: it may be a module's and an item's at once. Nothing, if it is no name of
/// this crate.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub(crate) module: Option<ModuleId>,
    pub(crate) item: Option<Definition>,
}

/// An item, where it is defined.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) module: ModuleId,
    pub(crate) name: String,
}

impl Tree {
    /// `files` are texts by their names from `src/`. What no `mod` leads to is not looked at.
    ///
    /// # Panics
    ///
    /// When a module has no file, or a file is not Rust.
    pub(crate) fn new(files: &BTreeMap<String, String>) -> Self {
        let mut tree = Self { modules: Vec::new() };
        for root in ["lib.rs", "main.rs"] {
            if files.contains_key(root) {
                tree.add(files, root, "", tree.modules.len(), None);
            }
        }
        tree
    }

    /// `folder` is where the files of its modules are, and `body` what it says if it stands within
    /// another module's file.
    fn add(
        &mut self,
        files: &BTreeMap<String, String>,
        file: &str,
        folder: &str,
        parent: ModuleId,
        body: Option<Source>,
    ) -> ModuleId {
        let mut source = body.unwrap_or_else(|| {
            Source::parse(&files[file]).unwrap_or_else(|error| panic!("src/{file}: {error}"))
        });
        let declared = std::mem::take(&mut source.modules);
        let id = self.modules.len();
        let children = BTreeMap::new();
        self.modules.push(Module { file: file.to_owned(), source, parent, children });
        for (name, body) in declared {
            let inner = format!("{folder}{name}/");
            let places = [format!("{folder}{name}.rs"), format!("{inner}mod.rs")];
            let place = if body.is_some() {
                file
            } else {
                let place = places.iter().find(|place| files.contains_key(*place));
                place.unwrap_or_else(|| panic!("src/{file}: `mod {name}` has no file"))
            };
            let child = self.add(files, place, &inner, id, body);
            self.modules[id].children.insert(name, child);
        }
        id
    }

    /// What a path means in this module, seen through everything that only hands it on.
    pub(crate) fn resolve(&self, module: ModuleId, path: &[String]) -> Meaning {
        self.follow(module, path, &mut Vec::new())
    }

    /// All that a glob of `module` brings into the module `to`.
    pub(crate) fn shown(&self, module: ModuleId, to: ModuleId) -> Vec<Definition> {
        let mut shown = Vec::new();
        // Globs of globs too; two modules may show all of each other.
        let mut modules = vec![module];
        let mut looked_at = 0;
        while let Some(&module) = modules.get(looked_at) {
            looked_at += 1;
            let Module { source, .. } = &self.modules[module];
            let items = source.items.iter().cloned();
            shown.extend(items.map(|name| Definition { module, name }));
            // What is private to a module is its children's too.
            let is_inside = self.is_within(to, module);
            for import in source.imports.iter().filter(|import| import.is_public || is_inside) {
                let meaning = self.resolve(module, &import.path.segments);
                if import.name.is_some() {
                    shown.extend(meaning.item);
                } else {
                    modules.extend(meaning.module.filter(|other| !modules.contains(other)));
                }
            }
        }
        shown
    }

    /// Whether a module is another one, or stands somewhere in it.
    pub(crate) fn is_within(&self, module: ModuleId, outer: ModuleId) -> bool {
        let parent = self.modules[module].parent;
        module == outer || (parent != module && self.is_within(parent, outer))
    }

    /// The module that a module's whole file is.
    pub(crate) fn page(&self, module: ModuleId) -> ModuleId {
        let Module { file, parent, .. } = &self.modules[module];
        let is_page = *parent == module || self.modules[*parent].file != *file;
        if is_page { module } else { self.page(*parent) }
    }

    /// `seen` are the names that are being looked up: one that leads back to itself is none.
    fn follow(&self, module: ModuleId, path: &[String], seen: &mut Seen) -> Meaning {
        let mut here = match path[0].as_str() {
            "crate" => Meaning::of_module(self.root(module)),
            "self" => Meaning::of_module(module),
            "super" => Meaning::of_module(self.modules[module].parent),
            first => match self.member(module, first, seen) {
                Meaning { module: None, item: None } if first == env!("CARGO_PKG_NAME") => {
                    Meaning::of_module(LIBRARY)
                }
                meaning => meaning,
            },
        };
        for name in &path[1..] {
            // What follows an item is of its own: a variant, a method.
            let Some(module) = here.module else { break };
            here = match name.as_str() {
                "super" => Meaning::of_module(self.modules[module].parent),
                name => self.member(module, name, seen),
            };
            if here == Meaning::default() {
                // The compiler has found it, so a macro has put it there.
                here.item = Some(Definition { module, name: name.clone() });
            }
        }
        here
    }

    /// What a name means that stands in a module.
    fn member(&self, module: ModuleId, name: &str, seen: &mut Seen) -> Meaning {
        let Module { source, children, .. } = &self.modules[module];
        let is_defined = source.items.iter().any(|item| item == name);
        let mut meaning = Meaning {
            module: children.get(name).copied(),
            item: is_defined.then(|| Definition { module, name: name.to_owned() }),
        };
        let key = (module, name.to_owned());
        if seen.contains(&key) {
            return meaning;
        }
        seen.push(key);
        for import in source.imports.iter().filter(|import| import.name.as_deref() == Some(name)) {
            meaning = meaning.or(self.follow(module, &import.path.segments, seen));
        }
        // What has a name of its own hides what a glob brings in.
        if meaning == Meaning::default() {
            for glob in source.imports.iter().filter(|import| import.name.is_none()) {
                if let Some(from) = self.follow(module, &glob.path.segments, seen).module {
                    meaning = meaning.or(self.member(from, name, seen));
                }
            }
        }
        seen.pop();
        meaning
    }

    fn root(&self, module: ModuleId) -> ModuleId {
        let parent = self.modules[module].parent;
        if parent == module { module } else { self.root(parent) }
    }
}

impl Meaning {
    fn of_module(module: ModuleId) -> Self {
        Self { module: Some(module), item: None }
    }

    fn or(self, other: Self) -> Self {
        Self { module: self.module.or(other.module), item: self.item.or(other.item) }
    }
}

type Seen = Vec<(ModuleId, String)>;

const LIBRARY: ModuleId = 0;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A made-up crate, of files by their names.
    pub(crate) fn tree(files: &[(&str, &str)]) -> Tree {
        let files = files.iter().map(|(file, text)| (file.to_string(), text.to_string()));
        Tree::new(&files.collect())
    }

    /// The item that a path means in a file, and where that is defined.
    fn find(tree: &Tree, file: &str, path: &str) -> Option<(String, String)> {
        let module = tree.modules.iter().position(|module| module.file == file).unwrap();
        let path: Vec<_> = path.split("::").map(str::to_owned).collect();
        let Definition { module, name } = tree.resolve(module, &path).item?;
        Some((tree.modules[module].file.clone(), name))
    }

    fn found(file: &str, name: &str) -> Option<(String, String)> {
        Some((file.to_owned(), name.to_owned()))
    }

    #[test]
    fn a_path_leads_from_the_crate_from_here_and_from_above() {
        let tree = tree(&[
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod c; pub(crate) struct A;"),
            ("a/c.rs", "pub(crate) struct C;"),
            ("b.rs", "mod d;"),
            ("b/d.rs", "pub(crate) enum D { V }"),
            ("main.rs", "mod e;"),
            ("e.rs", "fn f() {}"),
        ]);
        assert_eq!(find(&tree, "b.rs", "crate::a::c::C"), found("a/c.rs", "C"));
        assert_eq!(find(&tree, "a/mod.rs", "c::C"), found("a/c.rs", "C"));
        assert_eq!(find(&tree, "a/mod.rs", "self::c::C"), found("a/c.rs", "C"));
        assert_eq!(find(&tree, "a/c.rs", "super::super::b::d::D::V"), found("b/d.rs", "D"));
        assert_eq!(find(&tree, "a/c.rs", "self::super::A"), found("a/mod.rs", "A"));
        // The command is a crate of its own.
        assert_eq!(find(&tree, "e.rs", "simurgh::a::A"), found("a/mod.rs", "A"));
        assert_eq!(find(&tree, "main.rs", "crate::e::f"), found("e.rs", "f"));
        for strange in ["std::fmt::Debug", "A", "d"] {
            assert_eq!(find(&tree, "a/c.rs", strange), None);
        }
        assert_eq!(find(&tree, "b.rs", "d"), None, "a module is no item");
    }

    #[test]
    fn a_path_is_seen_through_what_hands_it_on() {
        let tree = tree(&[
            (
                "lib.rs",
                "mod a; mod b; pub mod all { pub use crate::{Renamed, b::*}; } pub use a::Renamed;",
            ),
            ("a/mod.rs", "mod c; pub(crate) mod f; pub(crate) use {c::C as Renamed, f::f};"),
            ("a/c.rs", "pub struct C;"),
            ("a/f.rs", "pub(crate) fn f() {}"),
            ("b.rs", "use crate::a; pub(crate) use super::all::*; pub(crate) struct B; make!();"),
        ]);
        assert_eq!(find(&tree, "b.rs", "crate::Renamed"), found("a/c.rs", "C"));
        assert_eq!(find(&tree, "b.rs", "crate::all::Renamed"), found("a/c.rs", "C"));
        assert_eq!(find(&tree, "a/c.rs", "crate::all::B"), found("b.rs", "B"));
        assert_eq!(find(&tree, "b.rs", "Renamed"), found("a/c.rs", "C"), "by its own glob");
        assert_eq!(find(&tree, "b.rs", "a::f"), found("a/f.rs", "f"), "a module is called so too");
        assert_eq!(find(&tree, "a/c.rs", "crate::b::Made"), found("b.rs", "Made"), "by a macro");
    }

    #[test]
    fn a_glob_brings_in_what_may_be_seen() {
        let tree = tree(&[
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "mod inner; pub use crate::b::B; use crate::c::C; pub struct A;"),
            ("a/inner.rs", ""),
            ("b.rs", "pub struct B;"),
            ("c.rs", "pub struct C;"),
            ("d.rs", ""),
        ]);
        let module = |file| tree.modules.iter().position(|module| module.file == file).unwrap();
        let shown = |to| -> Vec<_> {
            tree.shown(module("a.rs"), module(to)).into_iter().map(|item| item.name).collect()
        };
        assert_eq!(shown("d.rs"), ["A", "B"]);
        assert_eq!(shown("a/inner.rs"), ["A", "B", "C"]);
    }
}
