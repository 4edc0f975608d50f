//! What an operation of an `agent_operation` entry demands of the arguments of a call.
//!
//! The words are those of JSON Schema where it has them. A word that is not known could be a limit, so
//! it makes the token malformed. Every test says what it takes and nothing else passes: a string, `null`
//! or `true` is never at most 50 (`policy.md` §5.2).

use std::fmt;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value, json};

use super::fault::Fault;
use super::member;
use crate::model::decimal::Decimal;
use crate::model::exact::{Json, Number};
use crate::model::operation::Operation;
use crate::model::reason::{Denial, Reason};

/// The most arguments that one operation constrains.
const MAX_ARGUMENTS: usize = 64;
/// The longest pattern, in bytes, and the largest that it may become when it is compiled.
const MAX_PATTERN: usize = 256;
const MAX_COMPILED: usize = 64 * 1_024;

const MALFORMED: Denial = Denial::about(Reason::ClaimMalformed, member::AUTHORIZATION_DETAILS);

/// The constraints of one operation: all of them must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constraints {
    /// `args`: by JSON pointer into the body.
    args: Vec<(Box<str>, Constraint)>,
    /// `path_params`: by the name in the path's template.
    path_params: Vec<(Box<str>, Constraint)>,
    /// `query`: by name; every value of that name is held against it.
    query: Vec<(Box<str>, Constraint)>,
}

/// What one argument must be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Constraint {
    /// Whether it may be absent.
    optional: bool,
    tests: Vec<Test>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    /// `const`, `enum`
    OneOf(Vec<Json>),
    /// `minimum`
    AtLeast(Number),
    /// `maximum`
    AtMost(Number),
    /// `exclusiveMinimum`
    Above(Number),
    /// `exclusiveMaximum`
    Below(Number),
    /// `prefix`
    Prefix(Box<str>),
    /// `pattern`
    Pattern(Expression),
}

/// A regular expression that the whole of a string must match, in time linear in its length.
#[derive(Clone, Debug)]
struct Expression {
    text: Box<str>,
    whole: Regex,
}

/// The value of an argument.
#[derive(Clone, Copy, Debug)]
enum Given<'a> {
    /// In a body, where it has a type.
    Json(&'a Json),
    /// In a path or a query, where it is text that may spell a number.
    Text(&'a str),
}

/// Those of an operation whose arguments may be anything.
pub static NONE: Constraints =
    Constraints { args: Vec::new(), path_params: Vec::new(), query: Vec::new() };

impl Constraints {
    /// Reads one member of an operation; `false` where it is none of these.
    pub fn read(&mut self, name: &str, value: &Value) -> Result<bool, Fault> {
        let into = match name {
            "args" => &mut self.args,
            "path_params" => &mut self.path_params,
            "query" => &mut self.query,
            _ => return Ok(false),
        };
        let Value::Object(members) = value else { return Err(MALFORMED.into()) };
        if members.is_empty() || members.len() > MAX_ARGUMENTS {
            return Err(MALFORMED.into());
        }
        for (argument, constraint) in members {
            let in_argument = |fault: Fault| fault.in_member(argument);
            let place = match name {
                "args" => pointer(argument).map_err(|denial| in_argument(denial.into()))?,
                _ => argument.as_str().into(),
            };
            into.push((place, Constraint::read(constraint).map_err(in_argument)?));
        }
        Ok(true)
    }

    /// Whether the body must be read for them.
    pub const fn judge_body(&self) -> bool {
        !self.args.is_empty()
    }

    /// Constraints of the same arguments that hold for this call of `operation` and for none with others: what
    /// an agent would have to ask for. An argument that is absent or no plain value is left out.
    pub fn for_this_call(&self, operation: &Operation<'_>) -> Map<String, Value> {
        let exactly = |value: Value| json!({ "const": value });
        let text = |value: &str| exactly(value.into());
        let args = self.args.iter().filter_map(|(pointer, _)| {
            let value = match operation.args()?.at(pointer)? {
                Json::Bool(truth) => Value::from(*truth),
                Json::Number(number) => serde_json::from_str(number.text()).ok()?,
                Json::String(text) => Value::from(&**text),
                Json::Null | Json::Array(_) | Json::Object(_) => return None,
            };
            Some((String::from(&**pointer), exactly(value)))
        });
        let path_params = self.path_params.iter().filter_map(|(name, _)| {
            let (_, value) = operation.path_params().find(|(known, _)| *known == &**name)?;
            Some((String::from(&**name), text(value)))
        });
        let query = self.query.iter().filter_map(|(name, _)| {
            let (_, value) = operation.query().flatten().find(|(known, _)| known == &**name)?;
            Some((String::from(&**name), text(&value)))
        });
        let all: [(&str, Map<String, Value>); 3] = [
            ("args", args.collect()),
            ("path_params", path_params.collect()),
            ("query", query.collect()),
        ];
        let given = all.into_iter().filter(|(_, members)| !members.is_empty());
        given.map(|(name, members)| (name.to_owned(), Value::Object(members))).collect()
    }

    /// Whether they hold for the arguments of `operation`. What was not read does not hold.
    pub fn hold(&self, operation: &Operation<'_>) -> bool {
        self.first_broken(operation).is_none()
    }

    /// The first that does not hold for `operation`, in words for a person: which argument it is, and what it
    /// would have to be.
    pub fn unmet(&self, operation: &Operation<'_>) -> Option<String> {
        let (place, name, constraint) = self.first_broken(operation)?;
        Some(format!("`{name}` of the {place}, which must be {constraint}"))
    }

    fn first_broken(&self, operation: &Operation<'_>) -> Option<(&'static str, &str, &Constraint)> {
        let in_body = |pointer: &str, constraint: &Constraint| {
            let given = operation.args().and_then(|args| args.at(pointer));
            // To some servers another spelling is the same argument.
            let is_hidden =
                given.is_none() && operation.args().is_some_and(|args| args.has_like(pointer));
            !is_hidden && constraint.holds(given.map(Given::Json))
        };
        let in_path = |name: &str, constraint: &Constraint| {
            let given = operation.path_params().find(|(known, _)| *known == name);
            constraint.holds(given.map(|(_, value)| Given::Text(value)))
        };
        let in_query = |name: &str, constraint: &Constraint| constraint.holds_in(operation, name);
        broken(&self.args, in_body)
            .map(|(name, constraint)| ("body", name, constraint))
            .or_else(|| {
                let found = broken(&self.path_params, in_path)?;
                Some(("path", found.0, found.1))
            })
            .or_else(|| broken(&self.query, in_query).map(|found| ("query", found.0, found.1)))
    }
}

/// The first that does not hold.
fn broken(
    all: &[(Box<str>, Constraint)],
    holds: impl Fn(&str, &Constraint) -> bool,
) -> Option<(&str, &Constraint)> {
    all.iter()
        .map(|(name, constraint)| (&**name, constraint))
        .find(|(name, constraint)| !holds(name, constraint))
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tests: Vec<String> = self.tests.iter().map(ToString::to_string).collect();
        match (&*tests, self.optional) {
            ([], _) => f.write_str("there"),
            (tests, false) => f.write_str(&tests.join(" and ")),
            (tests, true) => write!(f, "{} or absent", tests.join(" and ")),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneOf(values) => {
                let values: Vec<String> = values.iter().map(Json::to_string).collect();
                match &*values {
                    [value] => f.write_str(value),
                    values => write!(f, "one of {}", values.join(", ")),
                }
            }
            Self::AtLeast(limit) => write!(f, "at least {}", limit.text()),
            Self::AtMost(limit) => write!(f, "at most {}", limit.text()),
            Self::Above(limit) => write!(f, "above {}", limit.text()),
            Self::Below(limit) => write!(f, "below {}", limit.text()),
            Self::Prefix(prefix) => write!(f, "a text that begins with `{prefix}`"),
            Self::Pattern(pattern) => write!(f, "a text that matches `{}`", pattern.text),
        }
    }
}

/// A name is that of a member of the body; what begins with `/` is a JSON pointer (RFC 6901).
fn pointer(argument: &str) -> Result<Box<str>, Denial> {
    match argument {
        "" => Err(MALFORMED),
        pointer if pointer.starts_with('/') => Ok(pointer.into()),
        name => Ok(format!("/{}", name.replace('~', "~0").replace('/', "~1")).into()),
    }
}

impl Constraint {
    fn read(value: &Value) -> Result<Self, Fault> {
        let Value::Object(words) = value else { return Err(MALFORMED.into()) };
        let mut constraint = Self { optional: false, tests: Vec::new() };
        for (word, value) in words {
            if word == "optional" {
                let optional = value.as_bool();
                constraint.optional =
                    optional.ok_or_else(|| Fault::from(MALFORMED).in_member(word))?;
                continue;
            }
            let test = Test::read(word, value);
            constraint.tests.push(test.map_err(|denial| Fault::from(denial).in_member(word))?);
        }
        Ok(constraint)
    }

    fn holds(&self, given: Option<Given<'_>>) -> bool {
        match given {
            None => self.optional,
            Some(given) => self.tests.iter().all(|test| test.passes(given)),
        }
    }

    /// Servers take the first value of a name, or the last, or all: every one must pass. In a query with
    /// a pair that cannot be read, any name may be hidden; behind a `;`, where some servers begin a pair;
    /// and in a name that some servers make this one of.
    fn holds_in(&self, operation: &Operation<'_>, name: &str) -> bool {
        let folded = folded(name);
        let mut found = false;
        let all = operation.query().all(|pair| match pair {
            None => false,
            Some((other, value)) if other == name => {
                found = true;
                self.holds(Some(Given::Text(&value)))
            }
            Some((other, _)) => self::folded(&other) != folded,
        });
        let is_split = operation.query.is_some_and(|query| query.contains(';'));
        all && !is_split && (found || self.optional)
    }
}

/// A name without all in which servers differ: case, blanks around it, what stands in brackets or behind
/// a zero, and dots and blanks that some turn into underscores.
fn folded(name: &str) -> String {
    let name = name.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    let end = name.find(['[', '\0']).unwrap_or(name.len());
    let kept = name.get(..end).unwrap_or_default().trim_end();
    kept.replace(['.', ' ', '-'], "_").to_lowercase()
}

impl Test {
    fn read(word: &str, value: &Value) -> Result<Self, Denial> {
        Ok(match word {
            "const" => Self::OneOf(vec![json(value)?]),
            "enum" => Self::OneOf(choices(value)?),
            "minimum" => Self::AtLeast(limit(value)?),
            "maximum" => Self::AtMost(limit(value)?),
            "exclusiveMinimum" => Self::Above(limit(value)?),
            "exclusiveMaximum" => Self::Below(limit(value)?),
            "prefix" => Self::Prefix(value.as_str().ok_or(MALFORMED)?.into()),
            "pattern" => Self::Pattern(Expression::read(value)?),
            _ => return Err(MALFORMED),
        })
    }

    fn passes(&self, given: Given<'_>) -> bool {
        let ordered = |limit: &Number, passes: fn(std::cmp::Ordering) -> bool| {
            given.number().zip(limit.decimal()).is_some_and(|(one, limit)| passes(one.cmp(&limit)))
        };
        match self {
            Self::OneOf(values) => values.iter().any(|value| given.is(value)),
            Self::AtLeast(limit) => ordered(limit, std::cmp::Ordering::is_ge),
            Self::AtMost(limit) => ordered(limit, std::cmp::Ordering::is_le),
            Self::Above(limit) => ordered(limit, std::cmp::Ordering::is_gt),
            Self::Below(limit) => ordered(limit, std::cmp::Ordering::is_lt),
            Self::Prefix(prefix) => given.text().is_some_and(|text| text.starts_with(&**prefix)),
            Self::Pattern(pattern) => given.text().is_some_and(|text| pattern.whole.is_match(text)),
        }
    }
}

impl<'a> Given<'a> {
    fn number(self) -> Option<Decimal<'a>> {
        match self {
            Self::Json(Json::Number(number)) => number.decimal(),
            Self::Json(_) => None,
            Self::Text(text) => Decimal::parse(text),
        }
    }

    const fn text(self) -> Option<&'a str> {
        match self {
            Self::Json(Json::String(text)) => Some(text),
            Self::Json(_) => None,
            Self::Text(text) => Some(text),
        }
    }

    /// In a path or a query, `7` is both the number and the text.
    fn is(self, value: &Json) -> bool {
        match (self, value) {
            (Self::Json(given), value) => given == value,
            (Self::Text(text), Json::String(value)) => **value == *text,
            (Self::Text(text), Json::Number(value)) => {
                Decimal::parse(text).is_some_and(|given| Some(given) == value.decimal())
            }
            (Self::Text(text), Json::Bool(value)) => text == if *value { "true" } else { "false" },
            (Self::Text(_), Json::Null | Json::Array(_) | Json::Object(_)) => false,
        }
    }
}

impl Expression {
    fn read(value: &Value) -> Result<Self, Denial> {
        let text = value.as_str().filter(|text| text.len() <= MAX_PATTERN).ok_or(MALFORMED)?;
        let compile = |text: &str| {
            RegexBuilder::new(text)
                .size_limit(MAX_COMPILED)
                .dfa_size_limit(MAX_COMPILED)
                .build()
                .map_err(|_error| MALFORMED)
        };
        // By itself first: `a)|(b` is no expression, and would be one within the parentheses.
        compile(text)?;
        Ok(Self { text: text.into(), whole: compile(&format!(r"\A(?:{text})\z"))? })
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

fn choices(value: &Value) -> Result<Vec<Json>, Denial> {
    value.as_array().ok_or(MALFORMED)?.iter().map(json).collect()
}

fn json(value: &Value) -> Result<Json, Denial> {
    Json::parse(value.to_string().as_bytes()).map_err(|_error| MALFORMED)
}

/// A limit must be the number that was consented to. Beyond 2^53 a number that is no integer of 64 bits
/// was already rounded when the token was read.
fn limit(value: &Value) -> Result<Number, Denial> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let Value::Number(number) = value else { return Err(MALFORMED) };
    let is_exact = number.is_i64() || number.is_u64();
    if !is_exact && number.as_f64().is_none_or(|rounded| rounded.abs() >= EXACT) {
        return Err(MALFORMED);
    }
    Number::parse(&number.to_string()).ok_or(MALFORMED)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Method;
    use serde_json::json;

    use super::*;
    use crate::model::body::Body;
    use crate::model::template;

    fn constraints(value: &Value) -> Result<Constraints, Denial> {
        let mut constraints = Constraints::default();
        for (name, value) in value.as_object().unwrap() {
            assert!(constraints.read(name, value).map_err(|fault| fault.denial)?, "{name}");
        }
        Ok(constraints)
    }

    #[test]
    fn what_does_not_hold_is_told_with_what_it_must_be() {
        let constraints = constraints(&json!({
            "args": {
                "amount": {"minimum": 0, "maximum": 50},
                "currency": {"enum": ["EUR", "USD"], "optional": true},
                "to": {"prefix": "DE"},
            },
        }))
        .unwrap();
        for (body, told) in [
            (
                r#"{"amount":51,"to":"DE1"}"#,
                "`/amount` of the body, which must be at most 50 and at least 0",
            ),
            (r#"{"to":"DE1"}"#, "`/amount` of the body, which must be at most 50 and at least 0"),
            (
                r#"{"amount":5,"to":"DE1","currency":"GBP"}"#,
                "`/currency` of the body, which must be one of \"EUR\", \"USD\" or absent",
            ),
            (
                r#"{"amount":5,"to":7}"#,
                "`/to` of the body, which must be a text that begins with `DE`",
            ),
        ] {
            let body = Body {
                json: Json::parse(body.as_bytes()).unwrap(),
                octets: Bytes::from(body.to_owned()),
                sha256: [0; 32],
            };
            let method = Method::POST;
            let mut operation =
                Operation::bare("pay", &method, "/orders", "https://tools.test/shop");
            operation.body = Some(&body);
            let words = |text: &str| {
                let mut words: Vec<_> = text.split(' ').map(str::to_owned).collect();
                words.sort_unstable();
                words
            };
            // Members of a token may come in any order.
            assert_eq!(words(&constraints.unmet(&operation).unwrap()), words(told), "{told}");
        }
    }

    /// Whether `constraint`, of the member `x` of a body, holds for `body`.
    fn holds(constraint: &Value, body: &str) -> bool {
        let constraints = constraints(&json!({"args": {"x": constraint}})).unwrap();
        assert!(constraints.judge_body());
        let octets = Bytes::copy_from_slice(body.as_bytes());
        let body = Body { json: Json::parse(&octets).unwrap(), octets, sha256: [0; 32] };
        constraints.hold(&operation("/", None, Some(&body)))
    }

    fn operation<'a>(
        path: &'a str,
        query: Option<&'a str>,
        body: Option<&'a Body>,
    ) -> Operation<'a> {
        let operation = Operation::bare("act", &Method::POST, path, "https://tools.test");
        Operation { query, body, ..operation }
    }

    #[test]
    fn pol_024_ranges_are_exact_and_hold_for_numbers_alone() {
        let range = json!({"minimum": 0, "maximum": 50});
        for (value, expected) in [
            ("0", true),
            ("50", true),
            ("50.00", true),
            ("5e1", true),
            ("50.0000000000000000001", false),
            ("-0.0000000000000000001", false),
            ("5000", false),
            ("null", false),
            ("\"10\"", false),
            ("true", false),
            ("[10]", false),
            ("{}", false),
        ] {
            assert_eq!(holds(&range, &format!(r#"{{"x":{value}}}"#)), expected, "{value}");
        }
        let large = json!({"maximum": 9_007_199_254_740_992_u64});
        assert!(holds(&large, r#"{"x":9007199254740992}"#));
        assert!(!holds(&large, r#"{"x":9007199254740993}"#));
        let open = json!({"exclusiveMinimum": 0, "exclusiveMaximum": 1});
        for (value, expected) in [("0", false), ("0.5", true), ("1", false), ("1.0", false)] {
            assert_eq!(holds(&open, &format!(r#"{{"x":{value}}}"#)), expected, "{value}");
        }
    }

    #[test]
    fn equality_and_sets_mind_the_type() {
        for (constraint, value, expected) in [
            (json!({"const": "EUR"}), "\"EUR\"", true),
            (json!({"const": "EUR"}), "\"eur\"", false),
            (json!({"const": 7}), "7.0", true),
            (json!({"const": 7}), "\"7\"", false),
            (json!({"const": null}), "null", true),
            (json!({"const": {"a": [1, 2]}}), r#"{"a":[1.0,2]}"#, true),
            (json!({"const": {"a": 1}}), r#"{"a":1,"b":2}"#, false),
            (json!({"enum": ["a", "b"]}), "\"b\"", true),
            (json!({"enum": []}), "\"b\"", false),
            (json!({}), "null", true),
        ] {
            assert_eq!(
                holds(&constraint, &format!(r#"{{"x":{value}}}"#)),
                expected,
                "{constraint}"
            );
        }
    }

    #[test]
    fn prefixes_and_patterns_are_of_strings_and_patterns_of_the_whole() {
        for (constraint, value, expected) in [
            (json!({"prefix": "/docs/"}), "/docs/a", true),
            (json!({"prefix": "/docs/"}), "/docsx", false),
            (json!({"pattern": "a|ab"}), "ab", true),
            (json!({"pattern": "[a-z]+"}), "abc", true),
            (json!({"pattern": "[a-z]+"}), "abc1", false),
            (json!({"pattern": "(?m)^a$"}), "b\\na", false),
            (json!({"pattern": ".*@corp\\.example"}), "a@corp.example", true),
            (json!({"pattern": ".*@corp\\.example"}), "a@corp.example.evil", false),
        ] {
            let body = format!(r#"{{"x":"{value}"}}"#);
            assert_eq!(holds(&constraint, &body), expected, "{constraint} {value}");
        }
        assert!(!holds(&json!({"prefix": ""}), r#"{"x":7}"#));
    }

    #[test]
    fn pol_008_a_pattern_takes_linear_time() {
        let body = format!(r#"{{"x":"{}!"}}"#, "a".repeat(64 * 1_024));
        assert!(!holds(&json!({"pattern": "^(a+)+$"}), &body));
    }

    #[test]
    fn what_is_absent_does_not_hold_unless_it_may_be() {
        assert!(!holds(&json!({"maximum": 50}), "{}"));
        assert!(!holds(&json!({"maximum": 50}), "[]"));
        assert!(holds(&json!({"maximum": 50, "optional": true}), "{}"));
        assert!(!holds(&json!({"maximum": 50, "optional": true}), r#"{"x":null}"#));
        let constraints = constraints(&json!({"args": {"x": {"const": 1}}})).unwrap();
        assert!(!constraints.hold(&operation("/", None, None)), "a body that was not read");
    }

    #[test]
    fn a_pointer_names_what_lies_deeper_and_a_name_a_member() {
        let octets = Bytes::from_static(br#"{"to":{"country":"DE"},"a/b":1,"items":[{"n":2}]}"#);
        let body = Body { json: Json::parse(&octets).unwrap(), octets, sha256: [0; 32] };
        for (args, expected) in [
            (json!({"/to/country": {"const": "DE"}}), true),
            (json!({"/to/country": {"const": "FR"}}), false),
            (json!({"/items/0/n": {"maximum": 2}}), true),
            (json!({"a/b": {"const": 1}}), true),
            (json!({"to/country": {"const": "DE"}}), false),
        ] {
            let constraints = constraints(&json!({ "args": args })).unwrap();
            assert_eq!(constraints.hold(&operation("/", None, Some(&body))), expected, "{args}");
        }
    }

    #[test]
    fn every_value_of_a_query_parameter_is_held_against_it() {
        let constraints = constraints(&json!({"query": {"limit": {"maximum": 100}}})).unwrap();
        assert!(!constraints.judge_body());
        for (query, expected) in [
            (Some("limit=100"), true),
            (Some("limit=10&limit=20&x=1000"), true),
            (Some("limit=10&limit=1000"), false),
            (Some("limit=10&%6cimit=1000"), false),
            (Some("limit=10&x=%ff"), false),
            (Some("limit="), false),
            (Some("limit"), false),
            (Some("limit=0x10"), false),
            (Some("limit=1e400"), false),
            (Some("Limit=10"), false),
            // What some server reads as another value of the same name.
            (Some("limit=5&z=1;limit=50"), false),
            (Some("limit=5&limit[]=50"), false),
            (Some("limit=5&limit%5B$gt%5D=50"), false),
            (Some("limit=5&+limit=50"), false),
            (Some("limit=5&limit%00x=50"), false),
            (Some("limit=5&LIMIT=50"), false),
            (Some("limit=5&limits=50&offset=7"), true),
            (None, false),
        ] {
            assert_eq!(constraints.hold(&operation("/", query, None)), expected, "{query:?}");
        }
    }

    #[test]
    fn path_parameters_go_by_the_name_in_the_template() {
        let (_, parameters) = template::parse("/orders/{id}/{part}").unwrap();
        let at = |path| Operation { parameters: &parameters, ..operation(path, None, None) };
        let constraints =
            constraints(&json!({"path_params": {"id": {"const": 7}, "part": {"enum": ["a"]}}}));
        let constraints = constraints.unwrap();
        assert!(constraints.hold(&at("/orders/7/a")));
        assert!(!constraints.hold(&at("/orders/70/a")));
        assert!(!constraints.hold(&at("/orders/7/b")));
        assert!(!constraints.hold(&operation("/orders/7/a", None, None)), "a path without names");
    }

    #[test]
    fn a_word_that_is_not_known_and_a_limit_that_is_no_number_are_malformed() {
        for members in [
            json!({"args": {"x": {"max": 5}}}),
            json!({"args": {"x": {"maximum": "5"}}}),
            json!({"args": {"x": {"maximum": null}}}),
            json!({"args": {"x": {"maximum": 1e20}}}),
            json!({"args": {"x": {"enum": 5}}}),
            json!({"args": {"x": {"optional": "yes"}}}),
            json!({"args": {"x": {"pattern": "("}}}),
            json!({"args": {"x": {"pattern": "a)|(?:b"}}}),
            json!({"args": {"x": {"pattern": "(?x)a#"}}}),
            json!({"args": {"x": {"pattern": "(a{100}){100}{100}"}}}),
            json!({"args": {"x": {"pattern": "a".repeat(MAX_PATTERN + 1)}}}),
            json!({"args": {"x": {"prefix": 5}}}),
            json!({"args": {"x": 5}}),
            json!({"args": {"": {}}}),
            json!({"args": {}}),
            json!({"args": []}),
            json!({"query": {"x": {"type": "number"}}}),
        ] {
            assert_eq!(constraints(&members), Err(MALFORMED), "{members}");
        }
    }
}
