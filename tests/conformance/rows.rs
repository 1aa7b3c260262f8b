use std::fs;
use std::path::Path;

use serde::Deserialize;

/// One fact, as `rows.toml` lists it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    /// How tests name it: an area and a name, `area.some-name`.
    pub(crate) id: String,
    /// The part of the protocol it belongs to.
    pub(crate) section: String,
    /// What Simurgh does, in one sentence.
    pub(crate) fact: String,
    /// The difference from Phoenix it is part of; absent where there is none.
    pub(crate) differs: Option<u32>,
    /// Why no test shows it yet; absent when one must.
    pub(crate) open: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    row: Vec<Row>,
}

/// The rows of a table, in its order.
///
/// # Panics
///
/// When it can't be read or isn't such a table: there is nothing to test then.
pub(crate) fn read(path: &Path) -> Vec<Row> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let table: Table = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    table.row
}

impl Row {
    /// What is wrong with this row by itself.
    pub(crate) fn offences(&self) -> Vec<String> {
        let checks = [
            (is_id(&self.id), "an id is an area, a dot and a name of letters, digits and hyphens"),
            (is_section(&self.section), "a section is numbers, with a letter at an end at most"),
            (is_sentence(&self.fact), "a fact is one line that ends with a full stop"),
            (self.differs.is_none_or(|n| (1..=18).contains(&n)), "there is no such difference"),
            (self.open.as_ref().is_none_or(|why| !why.is_empty()), "an open row says why"),
        ];
        let wrong = checks.into_iter().filter(|(right, _)| !right);
        wrong.map(|(_, rule)| format!("{}: {rule}", self.id)).collect()
    }
}

fn is_id(id: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    id.split_once('.').is_some_and(|(area, name)| is_name(area) && is_name(name))
}

/// `6`, `10.4`, `6.2c`; `D4` for a difference.
fn is_section(section: &str) -> bool {
    let numbers = section.strip_prefix('D').unwrap_or(section);
    let numbers = numbers.strip_suffix(|c: char| c.is_ascii_lowercase()).unwrap_or(numbers);
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    numbers.split('.').all(is_number)
}

fn is_sentence(fact: &str) -> bool {
    fact.ends_with('.') && fact.len() > 1 && !fact.contains('\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, section: &str, fact: &str) -> Row {
        let (id, section, fact) = (id.into(), section.into(), fact.into());
        Row { id, section, fact, differs: None, open: None }
    }

    #[test]
    fn a_row_of_the_right_shape_has_no_offence() {
        for (id, section) in [("own.J1", "7"), ("size.frame-1009", "10.4"), ("a.b", "6.2c")] {
            assert!(row(id, section, "It is.").offences().is_empty());
        }
    }

    #[test]
    fn what_is_wrong_with_a_row_is_told() {
        for (id, section, fact) in [
            ("one", "1", "It is."),
            ("a.", "1", "It is."),
            ("a.b c", "1", "It is."),
            ("a.b.c", "1", "It is."),
            ("a.b", "", "It is."),
            ("a.b", "1.", "It is."),
            ("a.b", "one", "It is."),
            ("a.b", "1", "It is"),
            ("a.b", "1", "."),
        ] {
            assert_eq!(row(id, section, fact).offences().len(), 1, "{id:?} {section:?} {fact:?}");
        }
        let row = Row { differs: Some(19), open: Some("".into()), ..row("a.b", "1", "It is.") };
        assert_eq!(row.offences().len(), 2);
    }
}
