//! Objects that are no lists.

use std::fmt;

use serde::de::{MapAccess, Visitor};

/// A visitor that takes an object and nothing else.
///
/// serde fills the fields of a struct from a list too, one after the other, so that `["x"]` would
/// pass for `{"name":"x"}` and `[]` for an object without fields.
pub(super) struct Object<V>(pub(super) V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Object<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(map)
    }
}
