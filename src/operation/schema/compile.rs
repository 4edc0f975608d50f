//! Schemas as documents write them, made into what can be walked. What constrains and cannot be held is a
//! mistake here: to leave it out would let through what somebody meant to forbid.

use std::collections::{BTreeMap, HashMap};

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::{
    ArrayTest, Combination, Members, NumberTest, ObjectTest, SchemaId, Schemas, Test, TextTest,
    Types, escaped,
};
use crate::model::exact::{Json, Number};
use crate::model::json::is_exact;

/// The most schemas of one document.
const MAX_SCHEMAS: usize = 500_000;
/// How far a schema may lead to others that the same value is held against.
const MAX_CHAIN: u8 = 32;
/// The longest pattern, in bytes, and the largest that it may become when it is compiled.
const MAX_PATTERN: usize = 1_024;
const MAX_COMPILED: usize = 512 * 1_024;

/// Words that constrain a value, and that this reader does not hold.
const UNREAD: [&str; 7] = [
    "$dynamicRef",
    "$id",
    "$recursiveRef",
    "additionalItems",
    "dependencies",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Which words are read, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAPI 3.0: `nullable`, limits that are made exclusive by a word of their own, and nothing counts
    /// beside a `$ref`.
    OpenApi30,
    /// OpenAPI 3.1: JSON Schema 2020-12.
    OpenApi31,
}

/// Compiles the schemas of one document, each once, however often it is referred to.
#[derive(Debug)]
pub struct Compiler<'d> {
    root: &'d Value,
    dialect: Dialect,
    nodes: Vec<Vec<Test>>,
    places: Vec<String>,
    known: HashMap<String, SchemaId>,
    waiting: Vec<(SchemaId, &'d Value)>,
    faults: Vec<(String, String)>,
}

type Words<'d> = &'d Map<String, Value>;
type MakeLimit = fn(Number) -> NumberTest;
type MakeCombination = fn(Vec<SchemaId>) -> Combination;

impl<'d> Compiler<'d> {
    /// A compiler for the schemas of the document `root`, whose references were all followed before.
    pub fn new(root: &'d Value, dialect: Dialect) -> Self {
        Self {
            root,
            dialect,
            nodes: Vec::new(),
            places: Vec::new(),
            known: HashMap::new(),
            waiting: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// The schema at `place`, to be compiled.
    pub fn schema(&mut self, schema: &'d Value, place: String) -> SchemaId {
        if let Some(known) = self.known.get(&place) {
            return *known;
        }
        let id = SchemaId(self.nodes.len());
        if id.0 >= MAX_SCHEMAS {
            if id.0 == MAX_SCHEMAS {
                self.fault(&place, format!("there are more than {MAX_SCHEMAS} schemas"));
                self.nodes.push(vec![Test::Never]);
            }
            return SchemaId(MAX_SCHEMAS);
        }
        self.nodes.push(Vec::new());
        self.places.push(place.clone());
        self.known.insert(place, id);
        self.waiting.push((id, schema));
        id
    }

    /// All of them, and what is wrong with any: the place, and what it is.
    pub fn finish(mut self) -> (Schemas, Vec<(String, String)>) {
        while let Some((id, schema)) = self.waiting.pop() {
            let place = self.places.get(id.0).cloned().unwrap_or_default();
            let tests = self.tests(schema, &place);
            if let Some(node) = self.nodes.get_mut(id.0) {
                *node = tests;
            }
        }
        let schemas = Schemas { nodes: self.nodes };
        let mut lengths = vec![None; schemas.nodes.len()];
        for id in 0..schemas.nodes.len() {
            if chain(&schemas, SchemaId(id), MAX_CHAIN, &mut lengths).is_none() {
                let place = self.places.get(id).cloned().unwrap_or_default();
                let message = format!(
                    "leads back to itself, or through more than {MAX_CHAIN} others, without going deeper"
                );
                self.faults.push((place, message));
                break;
            }
        }
        (schemas, self.faults)
    }

    fn fault(&mut self, place: &str, message: impl Into<String>) {
        self.faults.push((place.to_owned(), message.into()));
    }

    fn tests(&mut self, schema: &'d Value, at: &str) -> Vec<Test> {
        let words = match schema {
            Value::Bool(true) => return Vec::new(),
            Value::Bool(false) => return vec![Test::Never],
            Value::Object(words) => words,
            _ => {
                self.fault(at, "is not a schema");
                return vec![Test::Never];
            }
        };
        let mut tests = Vec::new();
        if let Some(Value::String(target)) = words.get("$ref") {
            tests.push(Test::Combined(Combination::Reference(self.target(target, at))));
            if self.dialect == Dialect::OpenApi30 {
                return tests;
            }
        }
        for word in UNREAD.iter().filter(|word| words.contains_key(**word)) {
            self.fault(&format!("{at}/{word}"), "is a word that no value can be held against here");
        }
        self.types(words, at, &mut tests);
        self.values(words, at, &mut tests);
        self.numbers(words, at, &mut tests);
        self.texts(words, at, &mut tests);
        self.arrays(words, at, &mut tests);
        self.objects(words, at, &mut tests);
        self.combinations(words, at, &mut tests);
        tests
    }

    fn target(&mut self, target: &str, at: &str) -> SchemaId {
        let pointer = target.strip_prefix('#').unwrap_or_default();
        let pointer =
            percent_encoding::percent_decode_str(pointer).decode_utf8_lossy().into_owned();
        if let Some(schema) = self.root.pointer(&pointer).filter(|_| !pointer.is_empty()) {
            return self.schema(schema, pointer);
        }
        self.fault(&format!("{at}/$ref"), "leads to nothing in this document");
        self.schema(&Value::Bool(false), format!("{at}/$ref"))
    }

    fn types(&mut self, words: Words<'d>, at: &str, tests: &mut Vec<Test>) {
        let Some(value) = words.get("type") else { return };
        let one = |name: &Value| name.as_str().and_then(Types::named);
        let named = match value {
            Value::Array(names) => names
                .iter()
                .try_fold(Types::default(), |types, name| Some(types.and(one(name)?)))
                .filter(|_| self.dialect == Dialect::OpenApi31 && !names.is_empty()),
            name => one(name),
        };
        let Some(named) = named else {
            return self.fault(&format!("{at}/type"), "is not a type");
        };
        // OpenAPI 3.0.3 §4.7.24: it means something beside `type` alone.
        let is_nullable = self.dialect == Dialect::OpenApi30
            && words.get("nullable").and_then(Value::as_bool) == Some(true);
        tests.push(Test::Types(if is_nullable { named.and(Types::NULL) } else { named }));
    }

    fn values(&mut self, words: Words<'d>, at: &str, tests: &mut Vec<Test>) {
        let one = words.get("const").map(|value| (std::slice::from_ref(value), "const"));
        let several = match words.get("enum") {
            Some(Value::Array(values)) => Some((values.as_slice(), "enum")),
            Some(_) => return self.fault(&format!("{at}/enum"), "is not an array"),
            None => None,
        };
        for (values, word) in one.into_iter().chain(several) {
            match values.iter().map(exact).collect() {
                Some(values) => tests.push(Test::Equal(values, word)),
                None => self.fault(&format!("{at}/{word}"), INEXACT),
            }
        }
    }

    fn numbers(&mut self, words: Words<'d>, at: &str, tests: &mut Vec<Test>) {
        let is_exclusive = |word: &str| {
            self.dialect == Dialect::OpenApi30
                && words.get(word).and_then(Value::as_bool) == Some(true)
        };
        let (above, below) = (is_exclusive("exclusiveMinimum"), is_exclusive("exclusiveMaximum"));
        let limits: [(&str, MakeLimit); 5] = [
            ("minimum", if above { NumberTest::Above } else { NumberTest::AtLeast }),
            ("maximum", if below { NumberTest::Below } else { NumberTest::AtMost }),
            ("exclusiveMinimum", NumberTest::Above),
            ("exclusiveMaximum", NumberTest::Below),
            ("multipleOf", NumberTest::MultipleOf),
        ];
        for (word, make) in limits {
            let Some(value) = words.get(word) else { continue };
            if self.dialect == Dialect::OpenApi30 && value.is_boolean() {
                continue;
            }
            let number = match exact(value) {
                Some(Json::Number(number)) => Some(number),
                _ => None,
            };
            let divides = |by: &Number| {
                let one = Number::parse("1").unwrap_or_else(|| by.clone());
                one.decimal().zip(by.decimal()).and_then(|(one, by)| one.is_multiple_of(&by))
            };
            match number {
                Some(by) if word == "multipleOf" && divides(&by).is_none() => {
                    self.fault(&format!("{at}/{word}"), "is not a number that can be divided by");
                }
                Some(number) => tests.push(Test::Number(make(number))),
                None => self.fault(&format!("{at}/{word}"), INEXACT),
            }
        }
    }

    fn texts(&mut self, words: Words<'d>, at: &str, tests: &mut Vec<Test>) {
        if let Some(least) = self.count(words, "minLength", at) {
            tests.push(Test::Text(TextTest::Shortest(least)));
        }
        if let Some(most) = self.count(words, "maxLength", at) {
            tests.push(Test::Text(TextTest::Longest(most)));
        }
        if let Some(pattern) = words.get("pattern") {
            let place = format!("{at}/pattern");
            match pattern.as_str().map(expression) {
                Some(Ok(pattern)) => tests.push(Test::Text(TextTest::Pattern(pattern))),
                Some(Err(message)) => self.fault(&place, message),
                None => self.fault(&place, "is not a string"),
            }
        }
    }

    fn arrays(&mut self, words: Words<'d>, at: &str, tests: &mut Vec<Test>) {
        let first = self.several(words, "prefixItems", at).unwrap_or_default();
        let rest = self.inner(words, "items", at);
        if rest.is_some() || !first.is_empty() {
            tests.push(Test::Array(ArrayTest::Items(first, rest)));
        }
        if let Some(schema) = self.inner(words, "contains", at) {
            let least = self.count(words, "minContains", at).unwrap_or(1);
            let most = self.count(words, "maxContains", at);
            tests.push(Test::Array(ArrayTest::Contains(schema, least, most)));
        }
        if let Some(least) = self.count(words, "minItems", at) {
            tests.push(Test::Array(ArrayTest::Shortest(least)));
        }
        if let Some(most) = self.count(words, "maxItems", at) {
            tests.push(Test::Array(ArrayTest::Longest(most)));
        }
        if words.get("uniqueItems").and_then(Value::as_bool) == Some(true) {
            tests.push(Test::Array(ArrayTest::Unique));
        }
    }

    fn objects(&mut self, words: Words<'d>, at: &str, tests: &mut Vec<Test>) {
        if let Some(names) = self.names(words.get("required"), &format!("{at}/required")) {
            // OpenAPI 3.0.3 §4.7.24: what is only read is required of responses alone.
            let names = names.into_iter().filter(|name| !self.is_read_only(words, name)).collect();
            tests.push(Test::Object(ObjectTest::Required(names)));
        }
        let named = self.by_name(words, "properties", at);
        let mut patterns = Vec::new();
        for (text, schema) in self.by_name(words, "patternProperties", at).into_iter().flatten() {
            match expression(&text) {
                Ok(pattern) => patterns.push((pattern, schema)),
                Err(message) => self.fault(&format!("{at}/patternProperties"), message),
            }
        }
        let others = self.inner(words, "additionalProperties", at);
        if named.is_some() || !patterns.is_empty() || others.is_some() {
            let named = named.unwrap_or_default();
            tests.push(Test::Object(ObjectTest::Members(Members { named, patterns, others })));
        }
        if let Some(schema) = self.inner(words, "propertyNames", at) {
            tests.push(Test::Object(ObjectTest::Names(schema)));
        }
        if let Some(least) = self.count(words, "minProperties", at) {
            tests.push(Test::Object(ObjectTest::Smallest(least)));
        }
        if let Some(most) = self.count(words, "maxProperties", at) {
            tests.push(Test::Object(ObjectTest::Largest(most)));
        }
        if let Some(Value::Object(dependent)) = words.get("dependentRequired") {
            let place = format!("{at}/dependentRequired");
            let of = |(name, names)| {
                Some((Box::from(String::as_str(name)), self.names(Some(names), &place)?))
            };
            let dependent = dependent.iter().filter_map(of).collect();
            tests.push(Test::Object(ObjectTest::Dependent(dependent)));
        }
    }

    fn combinations(&mut self, words: Words<'d>, at: &str, tests: &mut Vec<Test>) {
        let lists: [(&str, MakeCombination); 3] =
            [("allOf", Combination::All), ("anyOf", Combination::Any), ("oneOf", Combination::One)];
        for (word, make) in lists {
            if let Some(all) = self.several(words, word, at) {
                tests.push(Test::Combined(make(all)));
            }
        }
        if let Some(schema) = self.inner(words, "not", at) {
            tests.push(Test::Combined(Combination::Not(schema)));
        }
        if let Some(first) = self.inner(words, "if", at) {
            let then = self.inner(words, "then", at);
            let otherwise = self.inner(words, "else", at);
            tests.push(Test::Combined(Combination::If(first, then, otherwise)));
        }
        if let Some(dependent) = self.by_name(words, "dependentSchemas", at) {
            tests.push(Test::Combined(Combination::Dependent(dependent)));
        }
    }

    fn inner(&mut self, words: Words<'d>, word: &str, at: &str) -> Option<SchemaId> {
        let schema = words.get(word)?;
        Some(self.schema(schema, format!("{at}/{word}")))
    }

    fn several(&mut self, words: Words<'d>, word: &str, at: &str) -> Option<Vec<SchemaId>> {
        match words.get(word)? {
            Value::Array(all) if !all.is_empty() => {
                let numbered = all.iter().enumerate();
                Some(
                    numbered.map(|(n, one)| self.schema(one, format!("{at}/{word}/{n}"))).collect(),
                )
            }
            _ => {
                self.fault(&format!("{at}/{word}"), "is not an array of schemas");
                None
            }
        }
    }

    fn by_name(
        &mut self,
        words: Words<'d>,
        word: &str,
        at: &str,
    ) -> Option<BTreeMap<Box<str>, SchemaId>> {
        let Value::Object(all) = words.get(word)? else {
            self.fault(&format!("{at}/{word}"), "is not an object of schemas");
            return None;
        };
        let of = |(name, schema): (&'d String, &'d Value)| {
            let place = format!("{at}/{word}/{}", escaped(name));
            (Box::from(name.as_str()), self.schema(schema, place))
        };
        Some(all.iter().map(of).collect())
    }

    fn names(&mut self, value: Option<&Value>, place: &str) -> Option<Vec<Box<str>>> {
        let names = value?.as_array().and_then(|names| {
            names.iter().map(|name| name.as_str().map(Into::into)).collect::<Option<Vec<_>>>()
        });
        if names.is_none() {
            self.fault(place, "is not an array of names");
        }
        names
    }

    fn count(&mut self, words: Words<'d>, word: &str, at: &str) -> Option<usize> {
        let count = words.get(word)?.as_u64().and_then(|count| usize::try_from(count).ok());
        if count.is_none() {
            self.fault(&format!("{at}/{word}"), "is not a whole number from 0");
        }
        count
    }

    fn is_read_only(&self, words: Words<'d>, name: &str) -> bool {
        let mut schema = words.get("properties").and_then(|properties| properties.get(name));
        for _ in 0..MAX_CHAIN {
            let Some(Value::Object(found)) = schema else { return false };
            if found.get("readOnly").and_then(Value::as_bool) == Some(true) {
                return true;
            }
            let target = found.get("$ref").and_then(Value::as_str);
            schema = target.and_then(|target| self.root.pointer(target.strip_prefix('#')?));
        }
        false
    }
}

/// How many schemas stand between one and the last that the same value is held against; `None` where there
/// are more than `most`, as there are where it leads back to itself.
fn chain(schemas: &Schemas, id: SchemaId, most: u8, lengths: &mut Vec<Option<u8>>) -> Option<u8> {
    if let Some(Some(known)) = lengths.get(id.0) {
        return Some(*known).filter(|known| *known <= most);
    }
    let mut longest = 0;
    for test in schemas.nodes.get(id.0).into_iter().flatten() {
        let Test::Combined(combination) = test else { continue };
        for next in combination.schemas() {
            let length = chain(schemas, next, most.checked_sub(1)?, lengths)?;
            longest = longest.max(length.saturating_add(1));
        }
    }
    if let Some(length) = lengths.get_mut(id.0) {
        *length = Some(longest);
    }
    Some(longest)
}

const INEXACT: &str = "is not a value that can be compared exactly";

/// A value of the document as texts are read.
fn exact(value: &Value) -> Option<Json> {
    is_exact(value).then(|| Json::parse(value.to_string().as_bytes()).ok())?
}

/// A pattern of ECMA-262, which JSON Schema uses, as the engine takes it, in time linear in its text.
fn expression(text: &str) -> Result<Regex, String> {
    if text.len() > MAX_PATTERN {
        return Err(format!("is longer than {MAX_PATTERN} bytes"));
    }
    RegexBuilder::new(&translated(text))
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED)
        .build()
        .map_err(|_error| "is not a pattern that can be matched in linear time".to_owned())
}

/// What a dot does not stand for there.
const LINE_ENDS: &str = r"\n\r\u{2028}\u{2029}";
/// What is space there.
const SPACE: &str = r"\t\n\x0B\x0C\r\p{Zs}\u{FEFF}\u{2028}\u{2029}";

/// The same pattern in the words of the engine: there `\d`, `\w` and `\b` are of ASCII, a dot is no end of a
/// line, and a bracket within a class is itself.
fn translated(text: &str) -> String {
    let mut into = String::with_capacity(text.len());
    let (mut rest, mut in_class) = (text, false);
    while let Some(c) = rest.chars().next() {
        let (taken, written): (usize, String) = match c {
            '\\' => {
                let escaped = rest.get(1..).and_then(|rest| rest.chars().next());
                let taken = 1 + escaped.map_or(0, char::len_utf8);
                let class =
                    |class: &str| if in_class { class.to_owned() } else { format!("[{class}]") };
                let written = match escaped {
                    Some('d') => class("0-9"),
                    Some('D') => "[^0-9]".to_owned(),
                    Some('w') => class("0-9A-Za-z_"),
                    Some('W') => "[^0-9A-Za-z_]".to_owned(),
                    Some('s') => class(SPACE),
                    Some('S') => format!("[^{SPACE}]"),
                    Some('b' | 'B') if !in_class => {
                        format!(r"(?-u:{})", rest.get(..taken).unwrap_or_default())
                    }
                    _ => rest.get(..taken).unwrap_or_default().to_owned(),
                };
                (taken, written)
            }
            '[' if in_class => (1, r"\[".to_owned()),
            // Nothing, and anything.
            '[' if rest.starts_with("[]") => (2, r"[^\s\S]".to_owned()),
            '[' if rest.starts_with("[^]") => (3, r"[\s\S]".to_owned()),
            '[' | ']' => {
                in_class = c == '[';
                (1, c.to_string())
            }
            // Doubled, these combine classes here.
            '&' | '~' if in_class => (1, format!(r"\{c}")),
            '-' if in_class && rest.starts_with("--") => (2, r"-\-".to_owned()),
            '.' if !in_class => (1, format!("[^{LINE_ENDS}]")),
            _ => (c.len_utf8(), c.to_string()),
        };
        into.push_str(&written);
        rest = rest.get(taken..).unwrap_or_default();
    }
    into
}
