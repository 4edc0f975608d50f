//! The catalog of one resource: which method and path is which operation. What is not in it does not
//! exist (`verification.md` step 5).

use std::collections::HashMap;
use std::sync::Arc;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use http::Method;

use super::contract::Contract;
use super::templates::{self, Templates};
use crate::model::argument::Declared;
use crate::model::authentication::Demand;
use crate::model::confirmation;
use crate::model::pattern::{Pattern, Segment};
use crate::model::template::Parameter;

/// An operation of the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The name of the action, as grants and policies name it.
    pub action: Box<str>,
    /// The scopes that the token must carry for it, all of them.
    pub scopes: Vec<Box<str>>,
    /// How the person must have been authenticated.
    pub authentication: Demand,
    /// How the person must have confirmed it.
    pub confirmation: confirmation::Demand,
    /// The parameters in its path.
    pub parameters: Vec<Parameter>,
    /// What a document says of its parameters.
    pub declared: Vec<Declared>,
    /// What its arguments must keep to, where they are validated.
    pub contract: Option<Arc<Contract>>,
    /// What becomes of the body before the decision.
    pub body: BodyUse,
    /// Whether a valid token is enough for it.
    pub is_open: bool,
    /// Whether it is for everybody, without a token.
    pub is_public: bool,
}

/// Whether the body of an operation is read before the decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyUse {
    /// Always, and it must be JSON.
    Json,
    /// Never: it may be endless, or no JSON. No rule can look at it then.
    Stream,
    /// Where a rule of the token or of the operator looks at it.
    #[default]
    WhenNeeded,
}

/// Operations by method and path, compiled once.
#[derive(Debug, Default)]
pub struct Catalog {
    entries: Vec<Entry>,
    tables: HashMap<Method, Table>,
    /// The operations of a document, looked at where no rule of the file matches.
    described: Templates,
}

#[derive(Debug)]
struct Table {
    globs: GlobSet,
    /// For each glob of the set, its entry. Ascending, because rules are added in file order.
    entries: Vec<usize>,
}

/// What the catalog says of a method and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identified<'a> {
    /// Two operations of the document claim the path for this method, so that none has it.
    Disputed,
    /// The first operation of the file that matches.
    Operation(&'a Entry),
    /// The path exists for these methods, sorted.
    OtherMethods(Vec<&'a Method>),
    /// Nothing has this path.
    Unknown,
}

impl Catalog {
    /// Compiles `rules`: the methods and the path of each operation, in file order.
    ///
    /// Fails only when `globset` refuses the size of all patterns together.
    pub fn compile<'r>(
        rules: impl IntoIterator<Item = (&'r [Method], &'r Pattern, Entry)>,
    ) -> Result<Self, globset::Error> {
        let mut entries = Vec::new();
        let mut builders: HashMap<Method, (GlobSetBuilder, Vec<usize>)> = HashMap::new();
        for (methods, path, entry) in rules {
            let glob = GlobBuilder::new(&glob_text(path)).literal_separator(true).build()?;
            for method in methods {
                let (globs, positions) = builders
                    .entry(method.clone())
                    .or_insert_with(|| (GlobSetBuilder::new(), Vec::new()));
                globs.add(glob.clone());
                positions.push(entries.len());
            }
            entries.push(entry);
        }
        let tables = builders
            .into_iter()
            .map(|(method, (globs, entries))| {
                Ok((method, Table { globs: globs.build()?, entries }))
            })
            .collect::<Result<_, globset::Error>>()?;
        Ok(Self { entries, tables, described: Templates::default() })
    }

    /// Adds an operation of a document: its path is what `pattern` and the parameters of `entry` say, and
    /// `rivals` are the numbers of others that some path could belong to as well.
    pub fn describe(&mut self, method: &Method, pattern: &Pattern, rivals: &[usize], entry: Entry) {
        let parts = templates::parts(pattern, &entry.parameters);
        self.described.add(method, parts, self.entries.len(), rivals);
        self.entries.push(entry);
    }

    /// The operation that `method` on the decoded canonical path `path` is.
    pub fn identify(&self, method: &Method, path: &str) -> Identified<'_> {
        if let Some(entry) = self.find(method, path) {
            return Identified::Operation(entry);
        }
        if self.described.is_disputed(method, path) {
            return Identified::Disputed;
        }
        let mut others: Vec<_> = self
            .tables
            .iter()
            .filter(|(_, table)| table.globs.is_match(path))
            .map(|(method, _)| method)
            .chain(self.described.methods_of(path))
            .collect();
        if others.is_empty() {
            return Identified::Unknown;
        }
        others.sort_unstable_by_key(|method| method.as_str());
        others.dedup();
        Identified::OtherMethods(others)
    }

    /// The first entry whose method and path match, if any.
    pub fn find(&self, method: &Method, path: &str) -> Option<&Entry> {
        let written = self.tables.get(method).and_then(|table| {
            let first = table.globs.matches(path).into_iter().min()?;
            table.entries.get(first).copied()
        });
        self.entries.get(written.or_else(|| self.described.find(method, path))?)
    }

    /// Every method that some operation has.
    pub fn methods(&self) -> impl Iterator<Item = &Method> {
        self.tables.keys().chain(self.described.methods())
    }
}

/// The pattern in the dialect of `globset`, where `*` alone would also stand for an empty segment.
fn glob_text(pattern: &Pattern) -> String {
    let mut text = String::new();
    for segment in pattern.segments() {
        text.push('/');
        match segment {
            Segment::Any => text.push_str("**"),
            Segment::Literal(literal) => text.push_str(&globset::escape(literal)),
            Segment::One => text.push_str("?*"),
            Segment::Wild(wild) => {
                let escaped: Vec<_> = wild.split('*').map(globset::escape).collect();
                text.push_str(&escaped.join("*"));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(action: &str) -> Entry {
        Entry { action: action.into(), ..Entry::default() }
    }

    fn catalog(rules: &[(&[Method], &str, &str)]) -> Catalog {
        let patterns: Vec<_> =
            rules.iter().map(|(_, path, _)| Pattern::parse(path).unwrap()).collect();
        let rules = rules
            .iter()
            .zip(&patterns)
            .map(|((methods, _, action), path)| (*methods, path, entry(action)));
        Catalog::compile(rules).unwrap()
    }

    #[test]
    fn the_first_rule_that_matches_names_the_action() {
        let catalog = catalog(&[
            (&[Method::GET], "/orders/recent", "recent_orders"),
            (&[Method::GET, Method::HEAD], "/orders/*", "read_order"),
            (&[Method::POST], "/orders", "create_order"),
        ]);
        for (method, path, action) in [
            (Method::GET, "/orders/recent", "recent_orders"),
            (Method::HEAD, "/orders/recent", "read_order"),
            (Method::GET, "/orders/7", "read_order"),
            (Method::POST, "/orders", "create_order"),
        ] {
            assert_eq!(
                catalog.identify(&method, path),
                Identified::Operation(&entry(action)),
                "{method} {path}"
            );
        }
        assert_eq!(
            catalog.identify(&Method::DELETE, "/orders/7"),
            Identified::OtherMethods(vec![&Method::GET, &Method::HEAD])
        );
        assert_eq!(catalog.identify(&Method::GET, "/users"), Identified::Unknown);
    }

    #[test]
    fn thousands_of_operations_keep_their_order() {
        let patterns: Vec<_> =
            (0..3_000).map(|n| Pattern::parse(&format!("/r{n}/*/x")).unwrap()).collect();
        let methods = [Method::GET];
        let rules = patterns
            .iter()
            .enumerate()
            .map(|(n, path)| (&methods[..], path, entry(&n.to_string())));
        let catalog = Catalog::compile(rules).unwrap();
        assert_eq!(catalog.find(&Method::GET, "/r2999/7/x").unwrap().action.as_ref(), "2999");
        assert_eq!(catalog.find(&Method::GET, "/r3000/7/x"), None);
    }

    proptest! {
        #[test]
        fn globset_and_the_segment_walk_agree(
            glob in "(/(\\*\\*|\\*|[ab]|a\\*|\\*b|a\\*b|\\[|!a|[.]x|%5B|\\{)){1,4}/?",
            path in "(/([ab]|ab|axb|\\[|!a|[.]x|\\{|x)){1,5}/?",
        ) {
            if let Ok(pattern) = Pattern::parse(&glob) {
                let methods = [Method::GET];
                let catalog = Catalog::compile([(&methods[..], &pattern, entry("x"))]).unwrap();
                prop_assert_eq!(catalog.find(&Method::GET, &path).is_some(), pattern.matches(&path), "{} {}", glob, path);
            }
        }

        #[test]
        fn what_a_pattern_covers_it_matches(
            wider in "(/(\\*\\*|\\*|[ab]|a\\*)){1,4}/?", narrower in "(/(\\*\\*|\\*|[ab]|a\\*)){1,4}/?",
            path in "(/([ab]|ab)){1,5}/?",
        ) {
            if let (Ok(wider), Ok(narrower)) = (Pattern::parse(&wider), Pattern::parse(&narrower))
                && wider.covers(&narrower) && narrower.matches(&path)
            {
                prop_assert!(wider.matches(&path), "{} {} {}", wider.text(), narrower.text(), path);
            }
        }
    }
}
