//! What arrows may do, and what is wrong with those that do otherwise.

use std::collections::BTreeSet;

use crate::arrows::{Arrow, arrows, methods_elsewhere};
use crate::circles::circles;
use crate::tree::Tree;

/// The tables of `main.rs`, where it stands what each of them is.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) rooms: &'static [&'static str],
    pub(crate) strangers: Pairs,
    pub(crate) know_themselves: Pairs,
    pub(crate) exceptions: Pairs,
    pub(crate) methods_elsewhere: Pairs,
}

type Pairs = &'static [(&'static str, &'static str)];

impl Rules {
    /// Everything that is wrong with a tree, and with the tables, a line each.
    pub(crate) fn offences(&self, tree: &Tree) -> Vec<String> {
        let mut offences = self.unknown_names(tree);
        let mut forbidden = Vec::new();
        let mut allowed = Vec::new();
        for arrow in arrows(tree) {
            match self.objection(&arrow) {
                Some(why) => forbidden.push(((arrow.from, arrow.to), format!("{arrow}, {why}"))),
                None => allowed.push(arrow),
            }
        }
        offences.extend(but_for("EXCEPTIONS", self.exceptions, forbidden));
        offences.extend(self.circles(&allowed));
        let methods = methods_elsewhere(tree);
        offences.extend(but_for("METHODS_ELSEWHERE", self.methods_elsewhere, self.far(&methods)));
        offences
    }

    /// Files in no room, and names in the tables that nothing is called by.
    fn unknown_names(&self, tree: &Tree) -> Vec<String> {
        let files: BTreeSet<_> = tree.modules.iter().map(|module| module.file.as_str()).collect();
        let homeless = files.iter().filter(|file| self.room(file).is_none());
        let mut offences: Vec<_> =
            homeless.map(|file| format!("src/{file} stands in none of ROOMS")).collect();
        let named = [
            ("ROOMS", self.rooms.to_vec()),
            ("STRANGERS", self.strangers.iter().flat_map(|(one, other)| [*one, *other]).collect()),
            ("KNOW_THEMSELVES", self.know_themselves.iter().map(|(folder, _)| *folder).collect()),
        ];
        for (table, names) in named {
            for name in names {
                if !files.iter().any(|file| is_in(file, name)) {
                    offences
                        .push(format!("{table} has {name}, and src/ has no such file or folder"));
                }
            }
        }
        offences
    }

    /// Why there must be no such arrow.
    fn objection(&self, arrow: &Arrow<'_>) -> Option<String> {
        // Who has no room is told so, and of nothing else.
        let (from, to) = (self.room(arrow.from)?, self.room(arrow.to)?);
        if to < from {
            return Some("which stands above it".to_owned());
        }
        let are_strangers = |one, other| is_in(arrow.from, one) && is_in(arrow.to, other);
        let (one, other) = self
            .strangers
            .iter()
            .find(|(one, other)| are_strangers(one, other) || are_strangers(other, one))?;
        Some(format!("and {one} and {other} are strangers"))
    }

    /// How far down a file stands: the place of the innermost room it is in.
    fn room(&self, file: &str) -> Option<usize> {
        let rooms = self.rooms.iter().enumerate().filter(|(_, room)| is_in(file, room));
        rooms.max_by_key(|(_, room)| room.len()).map(|(place, _)| place)
    }

    /// Files that reach each other. A folder that knows itself counts as one file.
    fn circles<'t>(&self, arrows: &[Arrow<'t>]) -> Vec<String> {
        let mut offences = Vec::new();
        let ends = |arrow: &Arrow<'t>| (self.node(arrow.from), self.node(arrow.to));
        let outside: Vec<_> = arrows.iter().map(ends).filter(|(from, to)| from != to).collect();
        for circle in circles(&outside) {
            let steps = circle.windows(2).map(|step| {
                let arrow = arrows.iter().find(|arrow| ends(arrow) == (step[0], step[1]));
                arrow.expect("the circle is made of these").to_string()
            });
            offences.push(format!("a circle: {}", steps.collect::<Vec<_>>().join(", ")));
        }
        for (folder, _) in self.know_themselves {
            let inside: Vec<_> = arrows
                .iter()
                .filter(|arrow| is_in(arrow.from, folder) && is_in(arrow.to, folder))
                .map(|arrow| (arrow.from, arrow.to))
                .collect();
            if circles(&inside).is_empty() {
                offences.push(format!("KNOW_THEMSELVES has {folder}, which has no circle"));
            }
        }
        offences
    }

    /// The file, or the folder around it that knows itself.
    fn node<'t>(&self, file: &'t str) -> &'t str {
        let mut folders = self.know_themselves.iter().map(|(folder, _)| *folder);
        folders.find(|folder| is_in(file, folder)).unwrap_or(file)
    }

    /// Methods that stand in another folder than their type, or in another room.
    fn far<'t>(&self, methods: &'t [Arrow<'t>]) -> Vec<((&'t str, &'t str), String)> {
        let mut far = Vec::new();
        for Arrow { from, line, item, to } in methods {
            if folder(from) != folder(to) || self.room(from) != self.room(to) {
                let offence =
                    format!("src/{from}:{line} has methods of {item}, which src/{to} defines");
                far.push(((*from, item.as_str()), offence));
            }
        }
        far
    }
}

/// The offences that a table of exceptions does not excuse, and what it excuses for nothing.
fn but_for(table: &str, exceptions: Pairs, offences: Vec<((&str, &str), String)>) -> Vec<String> {
    let needed: BTreeSet<_> = offences.iter().map(|(pair, _)| *pair).collect();
    let needless = exceptions.iter().filter(|exception| !needed.contains(exception));
    let needless: Vec<_> = needless
        .map(|(one, other)| format!("{table} has {one} with {other}, which is needed no more"))
        .collect();
    let rest = offences.into_iter().filter(|(pair, _)| !exceptions.contains(pair));
    rest.map(|(_, offence)| offence).chain(needless).collect()
}

/// Whether a file is a room, or stands somewhere in it.
fn is_in(file: &str, room: &str) -> bool {
    let name = file.strip_suffix(".rs").unwrap_or(file);
    let name = name.strip_suffix("/mod").unwrap_or(name);
    name.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::tree;

    /// `a` above `b` above `c`, which has a room within it.
    const RULES: Rules = Rules {
        rooms: &["lib", "a", "b", "c/inner", "c"],
        strangers: &[],
        know_themselves: &[],
        exceptions: &[],
        methods_elsewhere: &[],
    };

    /// The rooms of `RULES`, with these texts in them.
    fn offences(rules: Rules, [a, b, inner, c, d]: [&str; 5]) -> Vec<String> {
        rules.offences(&tree(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", a),
            ("b.rs", b),
            ("c/mod.rs", &format!("mod inner; mod d;\n{c}")),
            ("c/inner.rs", inner),
            ("c/d.rs", d),
        ]))
    }

    #[test]
    fn down_is_allowed() {
        assert_eq!(
            offences(
                RULES,
                [
                    "use crate::{b::B, c::d::D};",
                    "use crate::c::inner::I; struct B;",
                    "use super::d::D; struct I;",
                    "use d::D;",
                    "struct D;",
                ]
            ),
            [""; 0],
        );
    }

    #[test]
    fn up_is_an_offence_with_its_place() {
        assert_eq!(
            offences(RULES, ["struct A;", "", "", "\nfn f(_: crate::a::A, _: inner::I) {}", ""]),
            [
                "src/c/mod.rs:3 uses A of src/a.rs, which stands above it",
                "src/c/mod.rs:3 uses I of src/c/inner.rs, which stands above it",
            ],
        );
    }

    #[test]
    fn up_is_an_offence_through_a_front_page_too() {
        let texts = [
            "struct A;",
            "use crate::c::I;",
            "pub(crate) struct I;",
            "pub(crate) use inner::I;",
            "use super::I;",
        ];
        assert_eq!(
            offences(RULES, texts),
            ["src/c/d.rs:1 uses I of src/c/inner.rs, which stands above it"],
        );
    }

    #[test]
    fn an_exception_holds_for_two_files_until_none_is_needed() {
        let rules = Rules { exceptions: &[("b.rs", "a.rs"), ("c/d.rs", "a.rs")], ..RULES };
        let b = "use crate::a::A;";
        assert_eq!(offences(rules, ["struct A;", b, "", "", b]), [""; 0]);
        assert_eq!(
            offences(rules, ["struct A;", b, b, "", ""]),
            [
                "src/c/inner.rs:1 uses A of src/a.rs, which stands above it",
                "EXCEPTIONS has c/d.rs with a.rs, which is needed no more",
            ],
        );
    }

    #[test]
    fn strangers_do_not_use_each_other_though_one_stands_above() {
        let rules = Rules { strangers: &[("c", "a")], ..RULES };
        let texts = ["use crate::c::d::D;", "use crate::c::d::D;", "", "", "struct D;"];
        assert_eq!(
            offences(rules, texts),
            ["src/a.rs:1 uses D of src/c/d.rs, and c and a are strangers"],
        );
    }

    #[test]
    fn a_circle_is_an_offence_unless_its_folder_knows_itself() {
        let texts = ["", "", "", "use d::D;\nstruct C;", "use super::C;\nstruct D;"];
        assert_eq!(
            offences(RULES, texts),
            ["a circle: src/c/d.rs:1 uses C of src/c/mod.rs, \
                 src/c/mod.rs:2 uses D of src/c/d.rs",],
        );
        let rules = Rules { know_themselves: &[("c", "by nature")], ..RULES };
        assert_eq!(offences(rules, texts), [""; 0]);
        assert_eq!(offences(rules, [""; 5]), ["KNOW_THEMSELVES has c, which has no circle"],);
    }

    #[test]
    fn a_circle_through_a_folder_that_knows_itself_is_still_one() {
        // Room by room everything goes down.
        let rules = Rules {
            rooms: &["lib", "a", "c/inner", "b", "c"],
            know_themselves: &[("c", "by nature")],
            ..RULES
        };
        let texts = [
            "",
            "use crate::c::d::D; pub(crate) struct B;",
            "use crate::b::B;",
            "use d::D; pub(crate) struct C;",
            "use super::C; pub(crate) struct D;",
        ];
        assert_eq!(
            offences(rules, texts),
            ["a circle: src/b.rs:1 uses D of src/c/d.rs, src/c/inner.rs:1 uses B of src/b.rs"],
        );
    }

    #[test]
    fn methods_in_another_folder_or_room_are_an_offence_unless_they_are_listed() {
        let texts = [
            "pub(crate) struct A;",
            "use crate::{a::A, c::C}; impl C {}",
            "impl super::C {}",
            "pub(crate) struct C;",
            "impl super::C {}",
        ];
        let rules = Rules {
            rooms: &["lib", "b", "a", "c/inner", "c"],
            methods_elsewhere: &[("c/inner.rs", "C"), ("c/inner.rs", "A")],
            ..RULES
        };
        assert_eq!(
            offences(rules, texts),
            [
                "src/b.rs:1 has methods of C, which src/c/mod.rs defines",
                "METHODS_ELSEWHERE has c/inner.rs with A, which is needed no more",
            ],
        );
        // `c` is one room without the one within, and its files are in one folder.
        let rules = Rules { rooms: &["lib", "b", "a", "c"], ..RULES };
        assert_eq!(
            offences(rules, texts),
            ["src/b.rs:1 has methods of C, which src/c/mod.rs defines"],
        );
    }

    #[test]
    fn a_file_without_a_room_is_an_offence_and_so_is_a_room_without_a_file() {
        let rules = Rules { rooms: &["lib", "a", "c", "d"], ..RULES };
        assert_eq!(
            offences(rules, [""; 5]),
            [
                "src/b.rs stands in none of ROOMS",
                "ROOMS has d, and src/ has no such file or folder",
            ],
        );
    }
}
