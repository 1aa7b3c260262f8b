//! The `simurgh` command.
fn main() {}
