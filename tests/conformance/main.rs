//! What Simurgh owes to Phoenix's clients, and the test that shows each part of it.
//!
//! `rows.toml` lists every fact, one a row, each with an id. A test that shows a fact says so in a
//! comment of its own line, in Rust or in JavaScript:
//!
//! ```text
//! // shows: v2.too-few-elements-1011, v2.not-json-1011
//! ```
//!
//! A list that ends with a comma goes on in the next comment line. The test below holds the two
//! together: a fact that nothing shows, and a name that is no fact's, are failures. It can't tell
//! whether a test shows what it claims; whoever reads the test can.

mod claims;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use claims::Claim;
use rows::Row;

#[test]
fn every_fact_is_shown_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rows = rows::read(&root.join("tests/conformance/rows.toml"));
    let claims = claims::in_tree(root);

    let open = rows.iter().filter(|row| row.open.is_some()).count();
    let shown: BTreeSet<_> = claims.iter().map(|claim| claim.id.as_str()).collect();
    let shown = rows.iter().filter(|row| shown.contains(row.id.as_str())).count();
    println!("{} rows: {shown} shown, {open} open", rows.len());

    let offences = offences(&rows, &claims);
    assert!(offences.is_empty(), "\n{}\n{} offences", offences.join("\n"), offences.len());
}

/// Everything that is wrong with the rows and with what the tests claim to show, a line each.
fn offences(rows: &[Row], claims: &[Claim]) -> Vec<String> {
    let mut offences = Vec::new();
    let mut by_id = BTreeMap::new();
    for row in rows {
        offences.extend(row.offences());
        if by_id.insert(row.id.as_str(), row).is_some() {
            offences.push(format!("{}: there are two rows of this id", row.id));
        }
    }

    let mut shown = BTreeSet::new();
    for Claim { id, place } in claims {
        shown.insert(id.as_str());
        match by_id.get(id.as_str()) {
            None => offences.push(format!("{id}: named in {place}, but there is no such row")),
            Some(Row { open: Some(why), .. }) => {
                offences.push(format!("{id}: shown in {place}, but its row is open ({why})"));
            }
            Some(_) => {}
        }
    }
    for row in by_id.values().filter(|row| row.open.is_none()) {
        if !shown.contains(row.id.as_str()) {
            offences.push(format!("{}: shown by no test: {}", row.id, row.fact));
        }
    }
    offences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str) -> Row {
        Row { id: id.into(), section: "1".into(), fact: "It is.".into(), differs: None, open: None }
    }

    fn claim(id: &str) -> Claim {
        Claim { id: id.into(), place: "a.rs:1".into() }
    }

    #[test]
    fn rows_that_are_shown_or_open_are_no_offence() {
        let open = Row { open: Some("later".into()), ..row("a.open") };
        let claims = [claim("a.one"), claim("a.one"), claim("a.two")];
        assert!(offences(&[row("a.one"), row("a.two"), open], &claims).is_empty());
    }

    #[test]
    fn a_row_that_nothing_shows_is_an_offence() {
        let offences = offences(&[row("a.one"), row("a.two")], &[claim("a.two")]);
        assert_eq!(offences, ["a.one: shown by no test: It is."]);
    }

    #[test]
    fn a_claim_without_a_row_is_an_offence() {
        let offences = offences(&[row("a.one")], &[claim("a.one"), claim("a.uno")]);
        assert_eq!(offences, ["a.uno: named in a.rs:1, but there is no such row"]);
    }

    #[test]
    fn an_open_row_that_is_shown_is_an_offence() {
        let open = Row { open: Some("later".into()), ..row("a.open") };
        let offences = offences(&[open], &[claim("a.open")]);
        assert_eq!(offences, ["a.open: shown in a.rs:1, but its row is open (later)"]);
    }

    #[test]
    fn two_rows_of_one_id_are_an_offence() {
        let offences = offences(&[row("a.one"), row("a.one")], &[claim("a.one")]);
        assert_eq!(offences, ["a.one: there are two rows of this id"]);
    }

    #[test]
    fn all_offences_are_told_at_once() {
        let rows = [row("a.one"), row("a.two"), row("not an id")];
        assert_eq!(offences(&rows, &[claim("a.uno")]).len(), 5);
    }
}
