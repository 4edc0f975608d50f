//! Whether a text may be compiled at all (`policy.md` §5.1): read token by token before it is parsed, and
//! rule by rule after.
//!
//! What is found here is what the engine does not bound itself. Recursion ends the process; so does an
//! expression that nests too deeply, or the parser takes twice as long with each bracket; some builtins
//! run for minutes on a short text.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{
    Lexer, Module, Parser, Ref, Rule, RuleHead, Source as Text, Span, TokenKind,
};

use super::builtins;
use super::reading::{self, Reading};
use crate::policy::engine::{Because, Class, Data, Language, NotAdmitted, Source};

/// The longest text, in bytes (§5: of a policy that is referred to; what a token holds is bounded there).
const MAX_TEXT: usize = 64 * 1_024;
/// The most lines.
const MAX_LINES: usize = 2_000;
/// The most rules and functions (§5).
const MAX_RULES: usize = 200;
/// The most expressions (§5).
const MAX_EXPRESSIONS: u32 = 20_000;
/// The most operators and opening brackets. A chain of thousands is parsed into a tree as deep.
const MAX_OPERATORS: u32 = 4_000;
/// What the nesting of brackets may cost: each opening bracket counts twice for each that it stands in,
/// because the parser tries what stands in one as a set and as an object.
const MAX_NESTING: u64 = 4_096;
/// The deepest nesting of expressions, statements and rules that are evaluated one inside another.
const MAX_DEPTH: u32 = 96;
/// The most comprehensions one inside another.
const MAX_COMPREHENSIONS: u32 = 4;
/// How often a value may be doubled on its way through the rules.
const MAX_GROWTH: u32 = 12;
/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 1_024;

/// A policy that may be compiled.
pub(super) struct Admitted {
    /// The rules.
    pub(super) module: Module,
    /// What is known of each rule and function, by name.
    pub(super) rules: BTreeMap<Box<str>, Reading>,
    /// Whether it was read as Rego was before version 1.
    pub(super) is_v0: bool,
    /// Where the engine finds that rule.
    pub(super) path: String,
}

impl Admitted {
    /// The builtins that any rule calls.
    pub(super) fn builtins(&self) -> BTreeSet<&str> {
        self.rules.values().flat_map(|rule| &rule.builtins).map(|called| &*called.name).collect()
    }
}

/// A complaint about the text as a whole.
fn about(because: Because, what: impl Into<Box<str>>) -> NotAdmitted {
    NotAdmitted { because, what: what.into(), rule: None, line: None }
}

/// A complaint about what stands at `span`.
pub(super) fn at(because: Because, what: impl Into<Box<str>>, span: &Span) -> NotAdmitted {
    NotAdmitted { because, what: what.into(), rule: None, line: Some(span.line) }
}

/// Reads `source`, or says which rule it breaks.
pub(super) fn admit(source: &Source<'_>, data: Option<&Data>) -> Result<Admitted, NotAdmitted> {
    if source.text.len() > MAX_TEXT || source.text.lines().count() > MAX_LINES {
        return Err(about(Because::Size, "longer than 64 KiB or 2000 lines"));
    }
    let text = Text::from_contents(super::NAME.to_owned(), source.text.to_owned())
        .map_err(|error| about(Because::Syntax, message(&error)))?;
    scan(&text)?;
    let (module, is_v0) = parse(&text, source.language)?;
    if module.num_expressions > MAX_EXPRESSIONS {
        return Err(about(Because::Size, "more than 20000 expressions"));
    }
    if module.policy.len() > MAX_RULES {
        return Err(about(Because::Size, "more than 200 rules"));
    }
    if let Some(target) = &module.target {
        return Err(about(Because::Import, format!("__target__ {target}")));
    }
    let package = package(&module)?;
    let aliases = imports(&module)?;
    let known: Vec<&str> =
        data.into_iter().flat_map(Data::members).map(|(name, _)| &**name).collect();
    if let Some(name) = package.first().filter(|name| known.contains(&name.as_str())) {
        return Err(at(Because::Shadow, name.as_str(), &module.package.span));
    }
    let rules = reading::read(&module, &package, &aliases, &known)?;
    for (name, rule) in &rules {
        check(rule, source.class)
            .map_err(|refused| NotAdmitted { rule: Some(name.clone()), ..refused })?;
    }
    for alias in &aliases {
        let names_builtins =
            builtins::admitted(Class::Local).any(|name| name.split('.').next() == Some(alias));
        if rules.contains_key(*alias) || names_builtins || matches!(*alias, "data" | "input") {
            return Err(about(Because::Shadow, *alias));
        }
    }
    bounds(&rules)?;
    let entry_point = entry_point(&module, &package, source.entry_point)?;
    let path = path(&package, &entry_point);
    Ok(Admitted { module, rules, is_v0, path })
}

/// Bounds what the parser will have to do, by the tokens it will see.
fn scan(text: &Text) -> Result<(), NotAdmitted> {
    let mut lexer = Lexer::new(text);
    let (mut operators, mut nesting, mut depth) = (0_u32, 0_u64, 0_u32);
    loop {
        let token = lexer.next_token().map_err(|error| about(Because::Syntax, message(&error)))?;
        match (&token.0, token.1.text()) {
            (TokenKind::Eof, _) => return Ok(()),
            (TokenKind::Symbol, "{" | "[") => {
                nesting = nesting.saturating_add(1_u64.checked_shl(depth).unwrap_or(u64::MAX));
                depth = depth.saturating_add(1);
                operators = operators.saturating_add(1);
            }
            (TokenKind::Symbol, "}" | "]") => depth = depth.saturating_sub(1),
            (TokenKind::Symbol, ")" | "," | ";" | ":" | ":=") => {}
            (TokenKind::Symbol, _) | (TokenKind::Ident, "in" | "not") => {
                operators = operators.saturating_add(1);
            }
            (
                TokenKind::Ident | TokenKind::Number | TokenKind::RawString | TokenKind::String,
                _,
            ) => {}
        }
        if nesting > MAX_NESTING || operators > MAX_OPERATORS {
            return Err(at(Because::Depth, "too many brackets or operators", &token.1));
        }
    }
}

/// Version 1 first; the older reading only where it is allowed, and only because the text does not parse.
fn parse(text: &Text, language: Language) -> Result<(Module, bool), NotAdmitted> {
    let first = parse_as(text, true);
    match (first, language) {
        (Ok(module), _) => Ok((module, false)),
        (Err(_), Language::RegoV0) => Ok((parse_as(text, false)?, true)),
        (Err(refused), Language::RegoV1 | Language::Cedar) => Err(refused),
    }
}

fn parse_as(text: &Text, is_v1: bool) -> Result<Module, NotAdmitted> {
    let parsed = Parser::new(text).and_then(|mut parser| {
        if is_v1 {
            parser.enable_rego_v1()?;
        }
        parser.parse()
    });
    parsed.map_err(|error| {
        let message = message(&error);
        NotAdmitted { line: line(&error), ..about(Because::Syntax, message) }
    })
}

/// What the engine says, without the excerpt of the text that it draws.
pub(super) fn message(error: &anyhow::Error) -> String {
    let text = error.to_string();
    let last = text.lines().rev().find_map(|line| line.trim().strip_prefix("error: "));
    last.unwrap_or(text.lines().next().unwrap_or_default()).chars().take(200).collect()
}

/// Where the engine says it is: `--> file:line:column`.
pub(super) fn line(error: &anyhow::Error) -> Option<u32> {
    let text = error.to_string();
    let place = text.lines().find_map(|line| line.trim().strip_prefix("--> "))?;
    place.rsplit(':').nth(1)?.parse().ok()
}

fn package(module: &Module) -> Result<Vec<String>, NotAdmitted> {
    reading::components(&module.package.refr)
        .ok_or_else(|| at(Because::Syntax, "the package has no plain name", &module.package.span))
}

/// The names under which parts of `input` are imported. Anything else but the keywords of the language is
/// refused: there is no data.
fn imports(module: &Module) -> Result<Vec<&str>, NotAdmitted> {
    let mut aliases = Vec::new();
    for import in &module.imports {
        let path = reading::components(&import.refr).unwrap_or_default();
        let words: Vec<_> = path.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["rego", "v1"]
            | ["future", "keywords"]
            | ["future", "keywords", "contains" | "every" | "if" | "in"] => {}
            ["input", ..] => match &import.r#as {
                Some(alias) => aliases.push(alias.text()),
                None if words.len() > 1 => {
                    aliases.push(import.refr.span().text().rsplit('.').next().unwrap_or_default());
                }
                None => {}
            },
            _ => return Err(at(Because::Import, path.join("."), &import.span)),
        }
    }
    Ok(aliases)
}

/// What one rule may do.
fn check(rule: &Reading, class: Class) -> Result<(), NotAdmitted> {
    for called in &rule.builtins {
        let refused = |because| NotAdmitted {
            because,
            what: called.name.clone(),
            rule: None,
            line: Some(called.line),
        };
        if !builtins::is_admitted(&called.name, class) {
            return Err(refused(Because::Builtin));
        }
        if let Some(n) = builtins::pattern(&called.name) {
            let pattern = called.literals.get(n).and_then(Option::as_deref);
            let pattern = pattern
                .filter(|text| text.len() <= MAX_PATTERN)
                .ok_or(refused(Because::Pattern))?;
            if &*called.name == "sprintf" && !builtins::is_plain_format(pattern) {
                return Err(refused(Because::Pattern));
            }
        }
    }
    if rule.comprehensions > MAX_COMPREHENSIONS {
        let what = format!("{} comprehensions one inside another", rule.comprehensions);
        return Err(NotAdmitted { line: Some(rule.line), ..about(Because::Depth, what) });
    }
    Ok(())
}

/// The calls of all rules: none leads back to itself, and none too deep.
fn bounds(rules: &BTreeMap<Box<str>, Reading>) -> Result<(), NotAdmitted> {
    let mut known = BTreeMap::new();
    for name in rules.keys() {
        bound(name, rules, &mut known, &mut Vec::new())?;
    }
    Ok(())
}

/// How deep the evaluation of a rule goes, and how often a value can double in it.
#[derive(Clone, Copy, Default)]
struct Bound {
    depth: u32,
    growth: u32,
    combines: bool,
}

fn bound<'a>(
    name: &'a str,
    rules: &'a BTreeMap<Box<str>, Reading>,
    known: &mut BTreeMap<&'a str, Bound>,
    above: &mut Vec<&'a str>,
) -> Result<Bound, NotAdmitted> {
    let Some(rule) = rules.get(name) else { return Ok(Bound::default()) };
    if let Some(bound) = known.get(name) {
        return Ok(*bound);
    }
    let refused = |because, what: String| NotAdmitted {
        because,
        what: what.into(),
        rule: Some(name.into()),
        line: Some(rule.line),
    };
    if above.contains(&name) {
        above.push(name);
        return Err(refused(Because::Recursion, above.join(" → ")));
    }
    above.push(name);
    let mut inner = Bound::default();
    let mut calls = 0_u32;
    for (name, times) in &rule.uses {
        let used = bound(name, rules, known, above)?;
        if used.combines && rule.collects.contains(name) {
            return Err(refused(
                Because::Growth,
                "sets are combined where the results are collected".to_owned(),
            ));
        }
        inner.depth = inner.depth.max(used.depth);
        inner.growth = inner.growth.max(used.growth);
        inner.combines |= used.combines;
        calls = calls.saturating_add(times.saturating_sub(1).saturating_mul(used.growth));
    }
    above.pop();
    let bound = Bound {
        depth: rule.depth.saturating_add(inner.depth),
        growth: rule.growth.saturating_add(inner.growth).saturating_add(calls),
        combines: rule.combines.is_some() || inner.combines,
    };
    if bound.depth > MAX_DEPTH {
        return Err(refused(
            Because::Depth,
            format!("{} expressions deep, through the rules it uses", bound.depth),
        ));
    }
    if bound.growth > MAX_GROWTH {
        return Err(refused(
            Because::Growth,
            "values are built from values too many times over".to_owned(),
        ));
    }
    known.insert(name, bound);
    Ok(bound)
}

/// The rule that decides: named alone, or with its own package (§5, rule 1).
fn entry_point(module: &Module, package: &[String], named: &str) -> Result<Box<str>, NotAdmitted> {
    let name = match named.strip_prefix("data.") {
        None => named,
        Some(path) => path
            .strip_prefix(package.join(".").as_str())
            .and_then(|rest| rest.strip_prefix('.'))
            .ok_or_else(|| about(Because::EntryPoint, named))?,
    };
    let decides = module.policy.iter().any(|rule| is_decision(rule, name));
    if decides { Ok(name.into()) } else { Err(about(Because::EntryPoint, name)) }
}

/// Whether `rule` can give `name` a value: a function or a set has none that decides.
fn is_decision(rule: &Ref<Rule>, name: &str) -> bool {
    match &**rule {
        Rule::Spec { head: RuleHead::Compr { refr, .. }, .. } => reading::is_named(refr, name),
        Rule::Spec { head: RuleHead::Set { refr, key: None, .. }, .. } => {
            reading::is_named(refr, name)
        }
        Rule::Spec { .. } => false,
        Rule::Default { refr, args, .. } => args.is_empty() && reading::is_named(refr, name),
    }
}

/// `data`, the package and the rule, as the engine writes paths.
fn path(package: &[String], rule: &str) -> String {
    let mut path = "data".to_owned();
    for word in package {
        if reading::is_name(word) {
            path.push('.');
            path.push_str(word);
        } else {
            path.push('[');
            path.push_str(&serde_json::Value::from(word.as_str()).to_string());
            path.push(']');
        }
    }
    path.push('.');
    path.push_str(rule);
    path
}
