//! What one file says: the names it has, those it brings in, and those it calls.
//!
//! Nothing is looked up here. What is compiled for tests only is left out.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{
    Attribute, ImplItem, Item, ItemImpl, ItemUse, Macro, Meta, MetaList, Token, Type, UseTree,
    Visibility,
};

/// What a module says, as it stands in its file.
#[derive(Default)]
pub(crate) struct Source {
    /// The modules declared here, with what they say if they stand in this file too.
    pub(crate) modules: Vec<(String, Option<Source>)>,
    /// The items defined here, modules apart.
    pub(crate) items: Vec<String>,
    pub(crate) imports: Vec<Import>,
    /// Every path that is no import: in types, expressions and patterns, and in what macros are given.
    pub(crate) paths: Vec<Path>,
    /// The types that have methods here, by a block that is of no trait.
    pub(crate) impls: Vec<Path>,
}

/// One leaf of a `use`.
pub(crate) struct Import {
    /// Of a glob, the path before the star.
    pub(crate) path: Path,
    /// What it is called here; absent for a glob.
    pub(crate) name: Option<String>,
    /// Other modules find it here.
    pub(crate) is_public: bool,
}

pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

impl Source {
    /// # Errors
    ///
    /// When the text is not Rust.
    pub(crate) fn parse(text: &str) -> syn::Result<Self> {
        Ok(Self::of_items(&syn::parse_file(text)?.items))
    }

    fn of_items(items: &[Item]) -> Self {
        let mut source = Self::default();
        for item in items {
            let (name, attributes) = head(item);
            match item {
                _ if is_for_tests(attributes) => {}
                Item::Mod(module) => {
                    let body = module.content.as_ref().map(|(_, items)| Self::of_items(items));
                    source.modules.push((module.ident.to_string(), body));
                }
                _ => {
                    source.items.extend(name.map(Ident::to_string));
                    source.visit_item(item);
                }
            }
        }
        source
    }

    fn add_imports(&mut self, tree: &UseTree, above: &[&Ident], is_public: bool) {
        let (leaf, name) = match tree {
            UseTree::Path(path) => {
                return self.add_imports(&path.tree, &[above, &[&path.ident]].concat(), is_public);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_imports(tree, above, is_public);
                }
                return;
            }
            UseTree::Name(leaf) => (Some(&leaf.ident), Some(&leaf.ident)),
            UseTree::Rename(leaf) => (Some(&leaf.ident), Some(&leaf.rename)),
            UseTree::Glob(_) => (None, None),
        };
        // `a::{self}` is `a`, and called so.
        let leaf = leaf.filter(|leaf| above.is_empty() || *leaf != "self");
        let name = name.map(|name| if name == "self" { above[above.len() - 1] } else { name });
        let Some(path) = Path::new(above.iter().copied().chain(leaf)) else { return };
        self.imports.push(Import { path, name: name.map(Ident::to_string), is_public });
    }

    /// The paths in what a macro is given, which has no syntax before the macro has run. A name by
    /// itself is one if it is a type's or a constant's; any other may be a variable or a field.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<Ident> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.add_words(&mut path);
                    }
                    colons = 0;
                    path.push(ident);
                }
                other => {
                    self.add_words(&mut path);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.add_tokens(group.stream());
                    }
                }
            }
        }
        self.add_words(&mut path);
    }

    fn add_words(&mut self, words: &mut Vec<Ident>) {
        let is_path = match &words[..] {
            [word] => word.to_string().starts_with(char::is_uppercase),
            _ => true,
        };
        self.paths.extend(Path::new(words.iter()).filter(|_| is_path));
        words.clear();
    }
}

impl<'a> Visit<'a> for Source {
    fn visit_item(&mut self, item: &'a Item) {
        let (_, attributes) = head(item);
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'a ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            ImplItem::Macro(item) => &item.attrs,
            _ => return,
        };
        if !is_for_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'a ItemUse) {
        if item.leading_colon.is_none() {
            let is_public = !matches!(item.vis, Visibility::Inherited);
            self.add_imports(&item.tree, &[], is_public);
        }
    }

    fn visit_item_impl(&mut self, item: &'a ItemImpl) {
        if item.trait_.is_none()
            && let Type::Path(of) = &*item.self_ty
        {
            self.impls.extend(Path::of(&of.path));
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        self.paths.extend(Path::of(path));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'a Macro) {
        self.visit_path(&call.path);
        self.add_tokens(call.tokens.clone());
    }

    // Neither uses anything by its paths.
    fn visit_attribute(&mut self, _: &'a Attribute) {}
    fn visit_visibility(&mut self, _: &'a Visibility) {}
}

impl Path {
    /// `None` for a path that begins in another crate.
    fn of(path: &syn::Path) -> Option<Self> {
        if path.leading_colon.is_some() {
            return None;
        }
        Self::new(path.segments.iter().map(|segment| &segment.ident))
    }

    fn new<'a>(words: impl Iterator<Item = &'a Ident>) -> Option<Self> {
        let mut line = None;
        let segments: Vec<_> = words
            .map(|word| {
                line = Some(word.span().start().line);
                word.to_string()
            })
            .collect();
        line.map(|line| Self { segments, line })
    }
}

/// An item's name, if it has one and is no module, and its attributes.
fn head(item: &Item) -> (Option<&Ident>, &[Attribute]) {
    match item {
        Item::Const(item) => (Some(&item.ident), &item.attrs),
        Item::Enum(item) => (Some(&item.ident), &item.attrs),
        Item::Fn(item) => (Some(&item.sig.ident), &item.attrs),
        Item::Macro(item) => (item.ident.as_ref(), &item.attrs),
        Item::Static(item) => (Some(&item.ident), &item.attrs),
        Item::Struct(item) => (Some(&item.ident), &item.attrs),
        Item::Trait(item) => (Some(&item.ident), &item.attrs),
        Item::TraitAlias(item) => (Some(&item.ident), &item.attrs),
        Item::Type(item) => (Some(&item.ident), &item.attrs),
        Item::Union(item) => (Some(&item.ident), &item.attrs),
        Item::Impl(item) => (None, &item.attrs),
        Item::Mod(item) => (None, &item.attrs),
        Item::Use(item) => (None, &item.attrs),
        _ => (None, &[]),
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .any(|cfg| cfg.parse_args().is_ok_and(|condition| !may_hold(&condition)))
}

/// Whether a condition may hold for what is no test; of all but `test` nothing is known.
fn may_hold(condition: &Meta) -> bool {
    let parts = |list: &MetaList| {
        list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).unwrap_or_default()
    };
    match condition {
        Meta::Path(path) => !path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("all") => parts(list).iter().all(may_hold),
        Meta::List(list) if list.path.is_ident("any") => parts(list).iter().any(may_hold),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Source {
        Source::parse(text).unwrap()
    }

    fn joined(path: &Path) -> String {
        path.segments.join("::")
    }

    /// Path, name and line of each import.
    fn imports(text: &str) -> Vec<(String, Option<String>, usize)> {
        let source = parse(text);
        let imports = source.imports.iter();
        imports.map(|leaf| (joined(&leaf.path), leaf.name.clone(), leaf.path.line)).collect()
    }

    fn paths(text: &str) -> Vec<String> {
        parse(text).paths.iter().map(joined).collect()
    }

    #[test]
    fn a_use_is_its_leaves() {
        let leaf = |path: &str, name: &str, line| (path.to_owned(), Some(name.to_owned()), line);
        assert_eq!(
            imports("use a::{self, b::{C as D},\n  e::*};\nuse f;\nfn g() { use super::h; }"),
            [
                leaf("a", "a", 1),
                leaf("a::b::C", "D", 1),
                ("a::e".to_owned(), None, 2),
                leaf("f", "f", 3),
                leaf("super::h", "h", 4),
            ],
        );
        assert!(imports("use ::other::a;").is_empty());
    }

    #[test]
    fn paths_are_found_wherever_they_stand() {
        assert_eq!(
            paths("fn f(a: &a::B<c::D>) -> impl e::F { if let g::H(x) = i::j::<k::L>() { m!() } }"),
            ["a::B", "c::D", "e::F", "g::H", "i::j", "k::L", "m"],
        );
        // Of what a macro is given, names that may be variables are left out.
        assert_eq!(
            paths("fn f() { m!(a, x: B, c.d, self::e::f(g::H { i }), [J], \"k::l\"); }"),
            ["m", "B", "self::e::f", "g::H", "J"],
        );
        assert!(paths("#[a::b] pub(in crate::c) struct D;").is_empty());
    }

    #[test]
    fn what_is_for_tests_only_is_left_out() {
        let text = "
            #[cfg(test)] mod a;
            #[cfg(all(test, feature = \"b\"))] mod b;
            #[cfg(any(test, feature = \"c\"))] mod c;
            #[cfg(feature = \"d\")] mod d;
            #[cfg(not(test))] mod e;
            #[cfg(test)] use x::Y;
            struct S;
            impl S { #[cfg(test)] fn f() { x::y() } }
            fn g() { #[cfg(test)] fn h() { x::y() } }
        ";
        let source = parse(text);
        let modules: Vec<_> = source.modules.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(modules, ["c", "d", "e"]);
        assert!(source.imports.is_empty());
        assert_eq!(paths(text), ["S"]);
    }

    #[test]
    fn impls_are_those_of_no_trait() {
        let source = parse("impl<T> a::B<T> {} impl c::D for E {} impl F { }");
        assert_eq!(source.impls.iter().map(joined).collect::<Vec<_>>(), ["a::B", "F"]);
    }

    #[test]
    fn a_module_in_the_file_has_names_of_its_own() {
        let source =
            parse("struct A; mod b { pub(crate) use x::Y; fn c() {} } macro_rules! d { () => {} }");
        assert_eq!(source.items, ["A", "d"]);
        let (name, Some(inner)) = &source.modules[0] else { panic!("it stands here") };
        assert_eq!((name.as_str(), &inner.items[..]), ("b", &["c".to_owned()][..]));
        assert!(inner.imports[0].is_public);
    }
}
