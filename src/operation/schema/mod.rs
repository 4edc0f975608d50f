//! JSON Schema (2020-12, and what OpenAPI 3.0 writes instead), held against JSON as it was written.
//!
//! Ours, because arguments are judged here: numbers are compared as they were written and not as doubles,
//! and a schema that mentions itself twice cannot make the gate walk a text for hours. Every step is
//! counted, and a text that takes too many is refused.

mod compile;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use regex::Regex;

pub use self::compile::{Compiler, Dialect};
use crate::model::exact::{Json, Number};

/// The most steps that one text may take: some ten milliseconds.
const MAX_STEPS: u32 = 500_000;
/// The deepest that schemas may lie in each other while one text is walked.
const MAX_DEPTH: u32 = 512;

/// The schemas of a document, compiled once.
#[derive(Debug, Default)]
pub struct Schemas {
    nodes: Vec<Vec<Test>>,
}

/// One of the schemas of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaId(usize);

/// What does not fit a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The JSON pointer to the value that does not, in the text that was given.
    pub pointer: String,
    /// The word of JSON Schema that it breaks.
    pub keyword: &'static str,
}

/// One demand. A value of another type than the one that it speaks of passes, as JSON Schema has it.
#[derive(Debug)]
enum Test {
    Array(ArrayTest),
    Combined(Combination),
    /// `const`, `enum`
    Equal(Vec<Json>, &'static str),
    /// The schema `false`.
    Never,
    Number(NumberTest),
    Object(ObjectTest),
    Text(TextTest),
    /// `type`
    Types(Types),
}

#[derive(Debug)]
enum NumberTest {
    Above(Number),
    AtLeast(Number),
    AtMost(Number),
    Below(Number),
    MultipleOf(Number),
}

#[derive(Debug)]
enum TextTest {
    Longest(usize),
    Pattern(Regex),
    Shortest(usize),
}

#[derive(Debug)]
enum ArrayTest {
    /// `contains`, `minContains`, `maxContains`
    Contains(SchemaId, usize, Option<usize>),
    /// `prefixItems`, `items`
    Items(Vec<SchemaId>, Option<SchemaId>),
    Longest(usize),
    Shortest(usize),
    Unique,
}

#[derive(Debug)]
enum ObjectTest {
    /// `dependentRequired`
    Dependent(BTreeMap<Box<str>, Vec<Box<str>>>),
    Largest(usize),
    /// `properties`, `patternProperties`, `additionalProperties`
    Members(Members),
    /// `propertyNames`
    Names(SchemaId),
    Required(Vec<Box<str>>),
    Smallest(usize),
}

#[derive(Debug, Default)]
struct Members {
    named: BTreeMap<Box<str>, SchemaId>,
    patterns: Vec<(Regex, SchemaId)>,
    others: Option<SchemaId>,
}

/// Schemas that the same value is held against.
#[derive(Debug)]
enum Combination {
    All(Vec<SchemaId>),
    Any(Vec<SchemaId>),
    /// `dependentSchemas`
    Dependent(BTreeMap<Box<str>, SchemaId>),
    /// `if`, `then`, `else`
    If(SchemaId, Option<SchemaId>, Option<SchemaId>),
    Not(SchemaId),
    One(Vec<SchemaId>),
    Reference(SchemaId),
}

impl Combination {
    fn schemas(&self) -> Vec<SchemaId> {
        match self {
            Self::All(all) | Self::Any(all) | Self::One(all) => all.clone(),
            Self::Dependent(dependent) => dependent.values().copied().collect(),
            Self::If(first, then, otherwise) => {
                [Some(*first), *then, *otherwise].into_iter().flatten().collect()
            }
            Self::Not(one) | Self::Reference(one) => vec![*one],
        }
    }
}

/// A set of types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Types(u8);

impl Types {
    const NAMES: [(&'static str, Self); 7] = [
        ("array", Self(1)),
        ("boolean", Self(2)),
        ("integer", Self(4)),
        ("null", Self::NULL),
        ("number", Self(16)),
        ("object", Self(32)),
        ("string", Self(64)),
    ];
    const NULL: Self = Self(8);

    fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, types)| *types)
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    fn hold(self, value: &Json) -> bool {
        match value {
            Json::Array(_) => self.has(1),
            Json::Bool(_) => self.has(2),
            Json::Null => self.has(8),
            Json::Number(number) => {
                let is_whole = |number: &Number| number.decimal().is_some_and(|own| own.is_whole());
                self.has(16) || (self.has(4) && is_whole(number))
            }
            Json::Object(_) => self.has(32),
            Json::String(_) => self.has(64),
        }
    }
}

impl Schemas {
    /// Holds `value` against a schema. The first demand that it does not meet is told.
    pub fn check(&self, schema: SchemaId, value: &Json) -> Result<(), Violation> {
        let mut walk = Walk { schemas: self, at: Vec::new(), steps: 0, depth: 0 };
        match walk.schema(schema, value) {
            Ok(()) => Ok(()),
            Err(Stop::Violated(violation)) => Err(violation),
            Err(Stop::Exhausted) => Err(Violation { pointer: String::new(), keyword: "steps" }),
        }
    }
}

/// Why a walk ends early. Only a violation can be what `not` and `anyOf` ask for.
#[derive(Debug)]
enum Stop {
    Exhausted,
    Violated(Violation),
}

struct Walk<'s, 'v> {
    schemas: &'s Schemas,
    at: Vec<Token<'v>>,
    steps: u32,
    depth: u32,
}

#[derive(Clone, Copy)]
enum Token<'v> {
    Index(usize),
    Name(&'v str),
}

impl<'v> Walk<'_, 'v> {
    fn schema(&mut self, schema: SchemaId, value: &'v Json) -> Result<(), Stop> {
        self.spend(1)?;
        if self.depth >= MAX_DEPTH {
            return Err(Stop::Exhausted);
        }
        self.depth += 1;
        let schemas = self.schemas;
        let tests = schemas.nodes.get(schema.0).ok_or(Stop::Exhausted)?;
        let result = tests.iter().try_for_each(|test| self.test(test, value));
        self.depth -= 1;
        result
    }

    fn test(&mut self, test: &Test, value: &'v Json) -> Result<(), Stop> {
        self.spend(1)?;
        match (test, value) {
            (Test::Never, _) => Err(self.violated("false")),
            (Test::Types(types), _) => self.demand(types.hold(value), "type"),
            (Test::Equal(values, word), _) => {
                self.spend(values.len())?;
                self.demand(values.contains(value), word)
            }
            (Test::Number(test), Json::Number(number)) => self.number(test, number),
            (Test::Text(test), Json::String(text)) => self.text(test, text),
            (Test::Array(test), Json::Array(items)) => self.array(test, items),
            (Test::Object(test), Json::Object(members)) => self.object(test, members),
            (Test::Combined(test), _) => self.combined(test, value),
            (Test::Number(_) | Test::Text(_) | Test::Array(_) | Test::Object(_), _) => Ok(()),
        }
    }

    fn number(&self, test: &NumberTest, number: &Number) -> Result<(), Stop> {
        let ordered = |limit: &Number, passes: fn(Ordering) -> bool| {
            number
                .decimal()
                .zip(limit.decimal())
                .is_some_and(|(one, limit)| passes(one.cmp(&limit)))
        };
        let (holds, word) = match test {
            NumberTest::Above(limit) => (ordered(limit, Ordering::is_gt), "exclusiveMinimum"),
            NumberTest::AtLeast(limit) => (ordered(limit, Ordering::is_ge), "minimum"),
            NumberTest::AtMost(limit) => (ordered(limit, Ordering::is_le), "maximum"),
            NumberTest::Below(limit) => (ordered(limit, Ordering::is_lt), "exclusiveMaximum"),
            NumberTest::MultipleOf(of) => {
                let both = number.decimal().zip(of.decimal());
                let is_multiple = both.and_then(|(one, of)| one.is_multiple_of(&of));
                (is_multiple == Some(true), "multipleOf")
            }
        };
        self.demand(holds, word)
    }

    fn text(&mut self, test: &TextTest, text: &str) -> Result<(), Stop> {
        // Both take time by the length of the text.
        self.spend(text.len() / 64)?;
        let (holds, word) = match test {
            TextTest::Longest(most) => (text.chars().count() <= *most, "maxLength"),
            TextTest::Pattern(pattern) => (pattern.is_match(text), "pattern"),
            TextTest::Shortest(least) => (text.chars().count() >= *least, "minLength"),
        };
        self.demand(holds, word)
    }

    fn array(&mut self, test: &ArrayTest, items: &'v [Json]) -> Result<(), Stop> {
        match test {
            ArrayTest::Contains(schema, least, most) => {
                let mut found = 0;
                for item in items {
                    found += usize::from(self.holds(*schema, item)?.is_ok());
                }
                self.demand(found >= *least, "contains")?;
                self.demand(most.is_none_or(|most| found <= most), "maxContains")
            }
            ArrayTest::Items(first, rest) => {
                let schemas = first.iter().copied().map(Some).chain(std::iter::repeat(*rest));
                for (n, (item, schema)) in items.iter().zip(schemas).enumerate() {
                    let Some(schema) = schema else { break };
                    self.within(Token::Index(n), schema, item)?;
                }
                Ok(())
            }
            ArrayTest::Longest(most) => self.demand(items.len() <= *most, "maxItems"),
            ArrayTest::Shortest(least) => self.demand(items.len() >= *least, "minItems"),
            ArrayTest::Unique => {
                let mut sorted: Vec<&Json> = items.iter().collect();
                self.spend(items.len().saturating_mul(16))?;
                sorted.sort_by(|one, other| order(one, other));
                let twice = sorted.windows(2).any(|pair| matches!(pair, [a, b] if a == b));
                self.demand(!twice, "uniqueItems")
            }
        }
    }

    fn object(
        &mut self,
        test: &ObjectTest,
        members: &'v BTreeMap<Box<str>, Json>,
    ) -> Result<(), Stop> {
        let has = |name: &str| members.contains_key(name);
        match test {
            ObjectTest::Dependent(dependent) => {
                let asked = dependent.iter().filter(|(name, _)| has(name));
                let holds = asked.flat_map(|(_, names)| names).all(|name| has(name));
                self.demand(holds, "dependentRequired")
            }
            ObjectTest::Largest(most) => self.demand(members.len() <= *most, "maxProperties"),
            ObjectTest::Members(described) => {
                for (name, value) in members {
                    self.member(described, name, value)?;
                }
                Ok(())
            }
            ObjectTest::Names(schema) => {
                for name in members.keys() {
                    // Not a part of the text that a pointer could name: its value is what is shown.
                    let text = Json::String(name.clone());
                    let mut names = Walk {
                        schemas: self.schemas,
                        at: Vec::new(),
                        steps: self.steps,
                        depth: self.depth,
                    };
                    let result = names.schema(*schema, &text);
                    self.steps = names.steps;
                    self.at.push(Token::Name(name));
                    let told = match result {
                        Err(Stop::Violated(_)) => Err(self.violated("propertyNames")),
                        other => other,
                    };
                    self.at.pop();
                    told?;
                }
                Ok(())
            }
            ObjectTest::Required(names) => {
                self.demand(names.iter().all(|name| has(name)), "required")
            }
            ObjectTest::Smallest(least) => self.demand(members.len() >= *least, "minProperties"),
        }
    }

    fn member(&mut self, described: &Members, name: &'v str, value: &'v Json) -> Result<(), Stop> {
        let own = described.named.get(name);
        if let Some(schema) = own {
            self.within(Token::Name(name), *schema, value)?;
        }
        let mut is_described = own.is_some();
        for (pattern, schema) in &described.patterns {
            self.spend(1 + name.len() / 64)?;
            if pattern.is_match(name) {
                is_described = true;
                self.within(Token::Name(name), *schema, value)?;
            }
        }
        match described.others {
            Some(schema) if !is_described => {
                let told = self.within(Token::Name(name), schema, value);
                told.map_err(|stop| match stop {
                    Stop::Violated(Violation { pointer, keyword: "false" }) => {
                        Stop::Violated(Violation { pointer, keyword: "additionalProperties" })
                    }
                    other => other,
                })
            }
            _ => Ok(()),
        }
    }

    fn combined(&mut self, test: &Combination, value: &'v Json) -> Result<(), Stop> {
        match test {
            Combination::All(all) => all.iter().try_for_each(|one| self.schema(*one, value)),
            Combination::Any(all) => self.choice(all, value, "anyOf"),
            Combination::Dependent(dependent) => {
                let members = value.as_object();
                let has = |name: &str| members.is_some_and(|members| members.contains_key(name));
                let mut asked = dependent.iter().filter(|(name, _)| has(name));
                asked.try_for_each(|(_, schema)| self.schema(*schema, value))
            }
            Combination::If(first, then, otherwise) => {
                let next = if self.holds(*first, value)?.is_ok() { then } else { otherwise };
                next.map_or(Ok(()), |schema| self.schema(schema, value))
            }
            Combination::Not(one) => {
                let is_other = self.holds(*one, value)?.is_err();
                self.demand(is_other, "not")
            }
            Combination::One(all) => self.choice(all, value, "oneOf"),
            Combination::Reference(one) => self.schema(*one, value),
        }
    }

    /// One schema of several must hold, or exactly one. Where none does, what the nearest of them has to
    /// say is told: the one that the value fits down to the deepest place.
    fn choice(
        &mut self,
        all: &[SchemaId],
        value: &'v Json,
        word: &'static str,
    ) -> Result<(), Stop> {
        let mut nearest: Option<Violation> = None;
        let mut holding = 0;
        for schema in all {
            match self.holds(*schema, value)? {
                Ok(()) if word == "anyOf" => return Ok(()),
                Ok(()) => holding += 1,
                Err(violation) => {
                    let depth = |one: &Violation| one.pointer.matches('/').count();
                    if nearest.as_ref().is_none_or(|known| depth(known) < depth(&violation)) {
                        nearest = Some(violation);
                    }
                }
            }
        }
        let here = self.at.len();
        match nearest {
            _ if holding == 1 => Ok(()),
            Some(nearest) if holding == 0 && nearest.pointer.matches('/').count() > here => {
                Err(Stop::Violated(nearest))
            }
            _ => Err(self.violated(word)),
        }
    }

    fn within(&mut self, token: Token<'v>, schema: SchemaId, value: &'v Json) -> Result<(), Stop> {
        self.at.push(token);
        let result = self.schema(schema, value);
        self.at.pop();
        result
    }

    /// Whether a schema holds; an error where that cannot be told.
    fn holds(&mut self, schema: SchemaId, value: &'v Json) -> Result<Result<(), Violation>, Stop> {
        match self.schema(schema, value) {
            Ok(()) => Ok(Ok(())),
            Err(Stop::Violated(violation)) => Ok(Err(violation)),
            Err(Stop::Exhausted) => Err(Stop::Exhausted),
        }
    }

    fn spend(&mut self, steps: usize) -> Result<(), Stop> {
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        self.steps = self.steps.saturating_add(steps);
        if self.steps > MAX_STEPS { Err(Stop::Exhausted) } else { Ok(()) }
    }

    fn demand(&self, holds: bool, word: &'static str) -> Result<(), Stop> {
        if holds { Ok(()) } else { Err(self.violated(word)) }
    }

    fn violated(&self, keyword: &'static str) -> Stop {
        let mut pointer = String::new();
        for token in &self.at {
            pointer.push('/');
            match token {
                Token::Index(n) => pointer.push_str(&n.to_string()),
                Token::Name(name) => pointer.push_str(&escaped(name)),
            }
        }
        Stop::Violated(Violation { pointer, keyword })
    }
}

/// RFC 6901 §3.
pub fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// An order in which equal values are neighbors.
fn order(one: &Json, other: &Json) -> Ordering {
    const fn rank(value: &Json) -> u8 {
        match value {
            Json::Null => 0,
            Json::Bool(_) => 1,
            Json::Number(_) => 2,
            Json::String(_) => 3,
            Json::Array(_) => 4,
            Json::Object(_) => 5,
        }
    }
    match (one, other) {
        (Json::Bool(one), Json::Bool(other)) => one.cmp(other),
        (Json::Number(one), Json::Number(other)) => one.decimal().cmp(&other.decimal()),
        (Json::String(one), Json::String(other)) => one.cmp(other),
        (Json::Array(one), Json::Array(other)) => one.len().cmp(&other.len()).then_with(|| {
            let mut pairs = one.iter().zip(other).map(|(one, other)| order(one, other));
            pairs.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        }),
        (Json::Object(one), Json::Object(other)) => one.len().cmp(&other.len()).then_with(|| {
            let mut pairs = one.iter().zip(other).map(|((name, value), (other_name, other))| {
                name.cmp(other_name).then_with(|| order(value, other))
            });
            pairs.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        }),
        _ => rank(one).cmp(&rank(other)),
    }
}

#[cfg(test)]
mod tests;
