//! The parameters of a request: its query, decoded as Plug does it.

use std::fmt;

use smallvec::SmallVec;

use super::path::percent_decode;

/// The parameters of a request, in the order in which their names first appeared.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Params {
    pub(crate) entries: Vec<(String, Param)>,
}

/// The value of a parameter.
#[derive(Clone, PartialEq, Eq)]
pub enum Param {
    /// `name=value`
    Text(String),
    /// `name[]=value`, any number of times
    List(Vec<Param>),
    /// `name[key]=value`
    Map(Params),
}

/// A query that is not UTF-8 once it is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("query is not UTF-8")]
pub(crate) struct NotUtf8;

/// Decodes a query: pairs of name and value, of which the last one of a name wins.
///
/// `a[]=1&a[]=2` is a list, `a[k]=v` a map, to any mixture and [`MAX_DEPTH`]. A name nested deeper
/// is taken as it stands, brackets and all. Where two names contradict each other (`a=1&a[k]=2`)
/// the last one wins. What follows the first [`MAX_PARAMS`] pairs is not looked at.
///
/// # Errors
///
/// When a name or a value is not UTF-8.
pub(crate) fn decode_query(query: &str) -> Result<Params, NotUtf8> {
    let mut params = Params::default();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    for pair in pairs.take(MAX_PARAMS) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode_form(name)?, decode_form(value)?);
        if let Some((first, keys)) = split_name(&name) {
            params.insert_nested(first, &keys, value);
        } else {
            params.insert(name, Param::Text(value));
        }
    }
    Ok(params)
}

impl Params {
    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&Param> {
        self.entries.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// The value of this name, if it is neither a list nor a map.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Param::Text(text) => Some(text),
            Param::List(_) | Param::Map(_) => None,
        }
    }

    /// Names and values, in the order in which the names first appeared.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Param)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sets a value, in place of the one that the name had.
    pub fn insert(&mut self, name: impl Into<String>, value: Param) {
        let name = name.into();
        match self.entries.iter_mut().find(|(other, _)| *other == name) {
            Some((_, old)) => *old = value,
            None => self.entries.push((name, value)),
        }
    }

    /// Sets the value of `first[key][key]…`, where an empty key stands for a list.
    fn insert_nested(&mut self, first: &str, keys: &[&str], value: String) {
        let mut place = self.slot(first);
        for (index, key) in keys.iter().enumerate() {
            let is_last = index + 1 == keys.len();
            place = if key.is_empty() { place.list_slot(is_last) } else { place.map_slot(key) };
        }
        *place = Param::Text(value);
    }

    fn slot(&mut self, name: &str) -> &mut Param {
        let index = match self.entries.iter().position(|(other, _)| other == name) {
            Some(index) => index,
            None => {
                self.entries.push((name.to_owned(), Param::Text(String::new())));
                self.entries.len() - 1
            }
        };
        &mut self.entries[index].1
    }
}

impl Param {
    /// The place for an item of the list that this is, or becomes.
    ///
    /// Values are appended. What is nested in an item (`a[][x]=1&a[][y]=2`) is all nested in one,
    /// `[{x: 1, y: 2}]`: in a query nothing tells where one item ends and the next begins.
    fn list_slot(&mut self, is_value: bool) -> &mut Param {
        if !matches!(self, Self::List(_)) {
            *self = Self::List(Vec::new());
        }
        let Self::List(items) = self else { unreachable!("it has just been made a list") };
        let nested = items.iter().position(|item| !matches!(item, Self::Text(_)));
        let index = match nested {
            Some(index) if !is_value => index,
            _ => {
                items.push(Self::Text(String::new()));
                items.len() - 1
            }
        };
        &mut items[index]
    }

    /// The place for `key` in the map that this is, or becomes.
    fn map_slot(&mut self, key: &str) -> &mut Param {
        if !matches!(self, Self::Map(_)) {
            *self = Self::Map(Params::default());
        }
        let Self::Map(params) = self else { unreachable!("it has just been made a map") };
        params.slot(key)
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::List(items) => items.fmt(f),
            Self::Map(params) => params.fmt(f),
        }
    }
}

/// Splits `first[key][key]…`. `None` for any other name, which is then one flat name.
fn split_name(name: &str) -> Option<(&str, Keys<'_>)> {
    let (first, keys) = name.strip_suffix(']')?.split_once('[')?;
    let keys: Keys<'_> = keys.split("][").take(MAX_DEPTH + 1).collect();
    (!first.is_empty() && keys.len() <= MAX_DEPTH).then_some((first, keys))
}

type Keys<'a> = SmallVec<[&'a str; 4]>;

fn decode_form(encoded: &str) -> Result<String, NotUtf8> {
    let decoded = percent_decode(encoded.as_bytes(), true).into_owned();
    String::from_utf8(decoded).map_err(|_| NotUtf8)
}

/// How many pairs of a query are decoded. Names are looked up one by one, so this also bounds the
/// time that a query can take.
pub(crate) const MAX_PARAMS: usize = 512;

/// How many brackets a name can have. Values are nested as deep, and dropped recursively.
pub(crate) const MAX_DEPTH: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded_as_plug_does() {
        for (query, expected) in [
            ("", "{}"),
            ("vsn=2.0.0&", r#"{"vsn": "2.0.0"}"#),
            ("&x=1&&y=2&", r#"{"x": "1", "y": "2"}"#),
            ("vsn=1.0.0&vsn=2.0.0", r#"{"vsn": "2.0.0"}"#),
            ("a+b=c+d", r#"{"a b": "c d"}"#),
            ("a%20b=%C3%A5%c2%ae", r#"{"a b": "å®"}"#),
            ("a=b=c", r#"{"a": "b=c"}"#),
            ("a%3Db=%26", r#"{"a=b": "&"}"#),
            ("key", r#"{"key": ""}"#),
            ("key=", r#"{"key": ""}"#),
            ("=value", r#"{"": "value"}"#),
            ("=", r#"{"": ""}"#),
            // A malformed escape stands for itself.
            ("a=%zz&b=%4&c=%&d=%%41", r#"{"a": "%zz", "b": "%4", "c": "%", "d": "%A"}"#),
            ("a[]=1&a[]=2", r#"{"a": ["1", "2"]}"#),
            ("a[]", r#"{"a": [""]}"#),
            ("a[k]=v", r#"{"a": {"k": "v"}}"#),
            ("a%5Bk%5D=v", r#"{"a": {"k": "v"}}"#),
            ("a[k]=1&a[k]=2&a[l]=3", r#"{"a": {"k": "2", "l": "3"}}"#),
            ("x[y][z]=1", r#"{"x": {"y": {"z": "1"}}}"#),
            ("x[y][z][]=1&x[y][z][]=2", r#"{"x": {"y": {"z": ["1", "2"]}}}"#),
            ("x[][][]=1", r#"{"x": [[["1"]]]}"#),
            ("x[y][][z]=1", r#"{"x": {"y": [{"z": "1"}]}}"#),
            ("a[][x]=1&a[][y]=2", r#"{"a": [{"x": "1", "y": "2"}]}"#),
            ("a[]=1&a[][y]=2&a[]=3", r#"{"a": ["1", {"y": "2"}, "3"]}"#),
            // Not nested: no name before, or no bracket at the end.
            ("[a]=1", r#"{"[a]": "1"}"#),
            ("a[b=1", r#"{"a[b": "1"}"#),
            ("a]=1", r#"{"a]": "1"}"#),
            ("a[b]c]=1", r#"{"a": {"b]c": "1"}}"#),
            // Shapes that contradict each other: the last one wins.
            ("x=1&x[y]=2", r#"{"x": {"y": "2"}}"#),
            ("x[y]=1&x=2", r#"{"x": "2"}"#),
            ("x[]=1&x[y]=2", r#"{"x": {"y": "2"}}"#),
            ("x[y]=1&x[]=2", r#"{"x": ["2"]}"#),
            ("x[y][][w]=2&x[y]=1", r#"{"x": {"y": "1"}}"#),
        ] {
            let params = decode_query(query).expect(query);
            assert_eq!(format!("{params:?}"), expected, "{query}");
        }
    }

    #[test]
    fn a_query_that_is_not_utf8_is_refused() {
        for query in ["a=%ff", "%ff=a", "a=%C3", "a[%ff]=1", "ok=1&a=%ED%A0%80"] {
            assert_eq!(decode_query(query), Err(NotUtf8), "{query}");
        }
        // What escapes make together is what counts.
        assert!(decode_query("a=%C3%A5").is_ok());
    }

    #[test]
    fn a_hostile_query_costs_no_more_than_its_bounds() {
        let many: String = (0..2 * MAX_PARAMS).map(|i| format!("p{i}=&")).collect();
        assert_eq!(decode_query(&many).expect("UTF-8").iter().count(), MAX_PARAMS);

        let deep = format!("a{}=1", "[b]".repeat(MAX_DEPTH));
        assert!(matches!(decode_query(&deep).expect("UTF-8").get("a"), Some(Param::Map(_))));
        for brackets in ["[b]", "[]"] {
            let name = format!("a{}", brackets.repeat(100_000));
            let params = decode_query(&format!("{name}=1")).expect("UTF-8");
            assert_eq!(params.text(&name), Some("1"), "taken as it stands");
        }
    }

    #[test]
    fn a_path_variable_replaces_a_parameter_in_its_place() {
        let mut params = decode_query("a=1&b=2&c[]=3").expect("UTF-8");
        params.insert("a", Param::Text("path".into()));
        params.insert("d", Param::Text("new".into()));
        assert_eq!(format!("{params:?}"), r#"{"a": "path", "b": "2", "c": ["3"], "d": "new"}"#);
        assert_eq!(
            (params.text("a"), params.text("c"), params.text("e")),
            (Some("path"), None, None)
        );
    }
}
