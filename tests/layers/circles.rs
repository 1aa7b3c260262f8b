//! Circles: files that reach each other.

use std::collections::{BTreeMap, VecDeque};

/// The shortest circles among these arrows, the first and the last of each being the same. No two of
/// them have a file in common: of a knot that is the one to undo first.
pub(crate) fn circles<'t>(arrows: &[(&'t str, &'t str)]) -> Vec<Vec<&'t str>> {
    let mut heads: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (from, to) in arrows {
        heads.entry(*from).or_default().push(*to);
    }
    let mut all: Vec<_> = heads.keys().filter_map(|from| shortest(&heads, from)).collect();
    all.sort_by_key(Vec::len);
    let mut apart: Vec<Vec<_>> = Vec::new();
    for circle in all {
        if !apart.iter().flatten().any(|file| circle.contains(file)) {
            apart.push(circle);
        }
    }
    apart
}

/// The shortest way from a file back to itself.
fn shortest<'t>(heads: &BTreeMap<&'t str, Vec<&'t str>>, start: &'t str) -> Option<Vec<&'t str>> {
    // Where each file was reached from.
    let mut before = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for next in heads.get(file).into_iter().flatten() {
            if *next == start {
                let mut circle = vec![start, file];
                while let Some(earlier) = before.get(circle[circle.len() - 1]) {
                    circle.push(*earlier);
                }
                circle.reverse();
                return Some(circle);
            }
            before.entry(*next).or_insert_with(|| {
                queue.push_back(*next);
                file
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_that_never_come_back_have_no_circle() {
        assert!(circles(&[("a", "b"), ("a", "c"), ("b", "c"), ("c", "d")]).is_empty());
    }

    #[test]
    fn a_circle_is_found_however_long_it_is() {
        assert_eq!(circles(&[("a", "b"), ("b", "a")]), [["a", "b", "a"]]);
        let long = [("x", "a"), ("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"), ("d", "y")];
        assert_eq!(circles(&long), [["a", "b", "c", "d", "a"]]);
    }

    #[test]
    fn a_knot_is_told_by_its_shortest_circle_and_others_by_their_own() {
        let arrows =
            [("a", "b"), ("b", "c"), ("c", "a"), ("c", "b"), ("x", "y"), ("y", "z"), ("z", "x")];
        assert_eq!(circles(&arrows), [vec!["b", "c", "b"], vec!["x", "y", "z", "x"]]);
    }
}
