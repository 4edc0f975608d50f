//! JSON as it was written (RFC 8259): what decides about a call, and what is then forwarded byte for
//! byte, is read here once, strictly, and with its numbers kept as text.
//!
//! Refused is all that two readers could read differently: two members of one name, or of names that differ
//! in case alone, which some readers take for the same; numbers that a
//! double cannot hold, text that is not UTF-8, halves of surrogate pairs; and all that costs its reader
//! more than it cost its writer: depth, and many small values.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use super::decimal::Decimal;

/// The deepest nesting that is read (`verification.md` step 19).
pub const MAX_DEPTH: usize = 64;
/// The most values in one text. Each takes some forty bytes in memory, and may take two in the text.
pub const MAX_VALUES: usize = 100_000;

/// An object without members.
pub static EMPTY: Json = Json::Object(BTreeMap::new());

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(Box<str>),
    /// An array.
    Array(Vec<Self>),
    /// An object; its members in the order of their names.
    Object(BTreeMap<Box<str>, Self>),
}

/// A number as it was written, which [`Decimal`] can read. Numbers are equal by value: `5` is `5.0`.
#[derive(Clone, Debug)]
pub struct Number(Box<str>);

/// Why a text is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Nested deeper than [`MAX_DEPTH`].
    Depth,
    /// Two members of one name, or of names that differ in case alone.
    Duplicate,
    /// A number that a double cannot hold, or of more digits than any number has.
    Number,
    /// Not JSON.
    Syntax,
    /// Not UTF-8.
    Utf8,
    /// More than [`MAX_VALUES`] values.
    Values,
}

impl fmt::Display for Json {
    /// As JSON, without spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| serde_json::Value::from(text);
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(truth) => write!(f, "{truth}"),
            Self::Number(number) => f.write_str(number.text()),
            Self::String(text) => write!(f, "{}", quoted(text)),
            Self::Array(items) => {
                let items: Vec<_> = items.iter().map(Self::to_string).collect();
                write!(f, "[{}]", items.join(","))
            }
            Self::Object(members) => {
                let members = members.iter().map(|(name, one)| format!("{}:{one}", quoted(name)));
                write!(f, "{{{}}}", members.collect::<Vec<_>>().join(","))
            }
        }
    }
}

impl Number {
    /// Reads a number.
    pub fn parse(text: &str) -> Option<Self> {
        Decimal::parse(text).map(|_| Self(text.into()))
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Its value.
    pub fn decimal(&self) -> Option<Decimal<'_>> {
        Decimal::parse(&self.0)
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.decimal() == other.decimal()
    }
}

impl Eq for Number {}

impl Json {
    /// Reads one value from the whole of `text`.
    pub fn parse(text: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(text).map_err(|_error| Malformed::Utf8)?;
        let mut reader = Reader { rest: text, values: 0 };
        reader.skip_space();
        let value = reader.value(MAX_DEPTH)?;
        reader.skip_space();
        if reader.rest.is_empty() { Ok(value) } else { Err(Malformed::Syntax) }
    }

    /// The value that a JSON pointer (RFC 6901) names; the empty pointer is the value itself.
    pub fn at(&self, pointer: &str) -> Option<&Self> {
        if pointer.is_empty() {
            return Some(self);
        }
        pointer.strip_prefix('/')?.split('/').try_fold(self, |value, token| match value {
            Self::Object(members) => members.get(&*unescaped(token)),
            Self::Array(items) => items.get(index(token)?),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) => None,
        })
    }

    /// Whether something stands where `pointer` points to but for the case of its last name, and for spaces
    /// and control characters around it.
    pub fn has_like(&self, pointer: &str) -> bool {
        let Some((parent, name)) = pointer.rsplit_once('/') else { return false };
        let bare =
            |name: &str| folded(name.trim_matches(|c: char| c.is_whitespace() || c.is_control()));
        let name = bare(&unescaped(name));
        let members = self.at(parent).and_then(Self::as_object);
        members.is_some_and(|members| members.keys().any(|one| bare(one) == name))
    }

    /// The members, where it is an object.
    pub const fn as_object(&self) -> Option<&BTreeMap<Box<str>, Self>> {
        match self {
            Self::Object(members) => Some(members),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) | Self::Array(_) => None,
        }
    }
}

/// Whether two names differ in case alone. Readers of some languages look members up without regard to it,
/// and take the last.
fn has_alike(members: &BTreeMap<Box<str>, Json>) -> bool {
    let is_plain = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase();
    // Without a letter that has another case of its own, no two different names are alike.
    if members.len() < 2 || members.keys().all(|name| name.bytes().all(is_plain)) {
        return false;
    }
    let mut seen = HashSet::with_capacity(members.len());
    !members.keys().all(|name| seen.insert(folded(name)))
}

/// Text without regard to case. By way of the upper case, so that the long s is an `s` and the sign of Kelvin
/// a `k`.
pub fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// RFC 6901 §4: `~1` is `/`, and then `~0` is `~`.
pub fn unescaped(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// RFC 6901 §4: digits without leading zeros.
fn index(token: &str) -> Option<usize> {
    let is_plain = token == "0" || !token.starts_with('0');
    (is_plain && token.bytes().all(|byte| byte.is_ascii_digit())).then(|| token.parse().ok())?
}

struct Reader<'a> {
    rest: &'a str,
    values: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Json, Malformed> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(Malformed::Values);
        }
        match self.rest.as_bytes().first() {
            Some(b'{') => self.object(depth.checked_sub(1).ok_or(Malformed::Depth)?),
            Some(b'[') => self.array(depth.checked_sub(1).ok_or(Malformed::Depth)?),
            Some(b'"') => Ok(Json::String(self.string()?)),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(Malformed::Syntax),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, Malformed> {
        let mut members = BTreeMap::new();
        self.expect('{')?;
        if self.takes('}') {
            return Ok(Json::Object(members));
        }
        loop {
            if !self.rest.starts_with('"') {
                return Err(Malformed::Syntax);
            }
            let name = self.string()?;
            self.skip_space();
            self.expect(':')?;
            let value = self.value(depth)?;
            if members.insert(name, value).is_some() {
                return Err(Malformed::Duplicate);
            }
            self.skip_space();
            if self.takes('}') {
                let is_one = !has_alike(&members);
                return is_one.then_some(Json::Object(members)).ok_or(Malformed::Duplicate);
            }
            self.expect(',')?;
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, Malformed> {
        let mut items = Vec::new();
        self.expect('[')?;
        if self.takes(']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.skip_space();
            if self.takes(']') {
                return Ok(Json::Array(items));
            }
            self.expect(',')?;
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, Malformed> {
        self.rest = self.rest.strip_prefix(word).ok_or(Malformed::Syntax)?;
        Ok(value)
    }

    fn number(&mut self) -> Result<Json, Malformed> {
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let length = self.rest.bytes().take_while(is_part).count();
        let number = Number::parse(self.take(length)?).ok_or(Malformed::Number)?;
        Ok(Json::Number(number))
    }

    fn string(&mut self) -> Result<Box<str>, Malformed> {
        self.rest = self.rest.strip_prefix('"').ok_or(Malformed::Syntax)?;
        let mut text = String::new();
        loop {
            let ends = |byte: u8| byte == b'"' || byte == b'\\' || byte < 0x20;
            let length = self.rest.bytes().position(ends).ok_or(Malformed::Syntax)?;
            let plain = self.take(length)?;
            match self.rest.as_bytes().first() {
                Some(b'"') => {
                    self.take(1)?;
                    text.push_str(plain);
                    return Ok(text.into());
                }
                Some(b'\\') => {
                    self.take(1)?;
                    text.push_str(plain);
                    text.push(self.escape()?);
                }
                // A control character must be escaped.
                _ => return Err(Malformed::Syntax),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Malformed> {
        let mut after = self.rest.chars();
        let c = after.next().ok_or(Malformed::Syntax)?;
        self.rest = after.as_str();
        match c {
            '"' | '\\' | '/' => Ok(c),
            'b' => Ok('\u{8}'),
            'f' => Ok('\u{c}'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'u' => self.unicode(),
            _ => Err(Malformed::Syntax),
        }
    }

    /// RFC 8259 §7: what lies beyond the first plane is written as a pair. Half a pair is no character,
    /// and readers make different things of it.
    fn unicode(&mut self) -> Result<char, Malformed> {
        let first = self.hexadecimal()?;
        let code = if (0xD800..0xDC00).contains(&first) {
            self.rest = self.rest.strip_prefix("\\u").ok_or(Malformed::Syntax)?;
            let second = self.hexadecimal()?;
            let low = second.checked_sub(0xDC00).filter(|low| *low < 0x400);
            0x1_0000 + ((first - 0xD800) << 10) + low.ok_or(Malformed::Syntax)?
        } else {
            first
        };
        char::from_u32(code).ok_or(Malformed::Syntax)
    }

    fn hexadecimal(&mut self) -> Result<u32, Malformed> {
        let digits = self.take(4)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Malformed::Syntax);
        }
        u32::from_str_radix(digits, 16).map_err(|_error| Malformed::Syntax)
    }

    fn take(&mut self, length: usize) -> Result<&'a str, Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Syntax)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes a mark of the syntax and the space behind it.
    fn expect(&mut self, mark: char) -> Result<(), Malformed> {
        if self.takes(mark) { Ok(()) } else { Err(Malformed::Syntax) }
    }

    fn takes(&mut self, mark: char) -> bool {
        let Some(rest) = self.rest.strip_prefix(mark) else { return false };
        self.rest = rest;
        self.skip_space();
        true
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::json;

    #[test]
    fn names_that_differ_in_case_alone_are_names_of_one_thing() {
        for text in [
            r#"{"amount":1,"Amount":5000}"#,
            r#"{"a":{"b":[{"args":1,"x":2,"ARGS":3}]}}"#,
            "{\"kind\":1,\"\u{212a}ind\":2}",
            "{\"status\":1,\"\u{17f}tatus\":2}",
            "{\"\u{e4}\":1,\"\u{c4}\":2}",
        ] {
            assert_eq!(Json::parse(text.as_bytes()), Err(Malformed::Duplicate), "{text}");
        }
        for text in [
            r#"{"inputSchema":1,"input_schema":2,"Name":3}"#,
            r#"[{"a":1},{"A":1}]"#,
            r#"{"a":"A","b":{"A":1}}"#,
        ] {
            Json::parse(text.as_bytes()).unwrap();
        }
    }

    fn same(one: &Json, other: &serde_json::Value) -> bool {
        use serde_json::Value;
        match (one, other) {
            (Json::Null, Value::Null) => true,
            (Json::Bool(one), Value::Bool(other)) => one == other,
            (Json::String(one), Value::String(other)) => **one == **other,
            (Json::Number(one), Value::Number(other)) => {
                one.text().parse::<f64>().ok() == other.as_f64()
            }
            (Json::Array(one), Value::Array(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(a, b)| same(a, b))
            }
            (Json::Object(one), Value::Object(other)) => {
                one.len() == other.len()
                    && one.iter().all(|(k, v)| other.get(&**k).is_some_and(|w| same(v, w)))
            }
            _ => false,
        }
    }

    /// Both readers take the same texts, but for the numbers that only one of them minds.
    fn agree(text: &[u8]) -> bool {
        match (Json::parse(text), json::parse(text, MAX_DEPTH)) {
            (Ok(exact), Ok(read)) => same(&exact, &read),
            (Err(Malformed::Number | Malformed::Values), _) | (Err(_), Err(_)) => true,
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        }
    }

    #[test]
    fn ver_031_what_two_readers_could_read_differently_is_refused() {
        for (text, why) in [
            (r#"{"a":1,"a":1}"#, Malformed::Duplicate),
            (r#"{"a":1,"\u0061":2}"#, Malformed::Duplicate),
            (r#"[{"x":{"b":1,"b":2}}]"#, Malformed::Duplicate),
            ("1e400", Malformed::Number),
            ("[1e-400]", Malformed::Number),
            ("01", Malformed::Number),
            ("-", Malformed::Number),
            ("\u{feff}{}", Malformed::Syntax),
            ("{} {}", Malformed::Syntax),
            ("[1,]", Malformed::Syntax),
            ("{,}", Malformed::Syntax),
            ("{\"a\":1,}", Malformed::Syntax),
            ("{'a':1}", Malformed::Syntax),
            ("NaN", Malformed::Syntax),
            ("// x\n1", Malformed::Syntax),
            ("", Malformed::Syntax),
            (r#""\ud800""#, Malformed::Syntax),
            (r#""\udc00""#, Malformed::Syntax),
            (r#""\ud800\u0041""#, Malformed::Syntax),
            (r#""\u00+1""#, Malformed::Syntax),
            ("\"a\nb\"", Malformed::Syntax),
            ("\"a", Malformed::Syntax),
            ("\u{a0}1", Malformed::Syntax),
        ] {
            assert_eq!(Json::parse(text.as_bytes()), Err(why), "{text}");
            assert!(agree(text.as_bytes()), "{text}");
        }
        assert_eq!(Json::parse(b"\"\xff\""), Err(Malformed::Utf8));
    }

    #[test]
    fn depth_and_number_of_values_are_bounded() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(Json::parse(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(Json::parse(&nested(MAX_DEPTH + 1)), Err(Malformed::Depth));
        assert_eq!(Json::parse(&nested(1_000_000)), Err(Malformed::Depth));
        let many = |count: usize| format!("[{}]", vec!["1"; count].join(","));
        assert!(Json::parse(many(MAX_VALUES - 1).as_bytes()).is_ok());
        assert_eq!(Json::parse(many(MAX_VALUES).as_bytes()), Err(Malformed::Values));
    }

    #[test]
    fn numbers_stay_as_they_were_written() {
        let json = Json::parse(b"[9007199254740993, 1.10, 12345678901234567890123]").unwrap();
        let Json::Array(items) = json else { panic!("an array") };
        let texts: Vec<&str> = items
            .iter()
            .map(|item| match item {
                Json::Number(number) => number.text(),
                _ => panic!("a number"),
            })
            .collect();
        assert_eq!(texts, ["9007199254740993", "1.10", "12345678901234567890123"]);
    }

    #[test]
    fn pointers_are_those_of_rfc_6901() {
        let text = br#"{"foo":["bar","baz"],"":0,"a/b":1,"m~n":8," ":7,"01":{"x":2}}"#;
        let json = Json::parse(text).unwrap();
        for (pointer, expected) in [
            ("/foo/0", Some("\"bar\"")),
            ("/foo/1", Some("\"baz\"")),
            ("/foo/01", None),
            ("/foo/2", None),
            ("/foo/-", None),
            ("/", Some("0")),
            ("/a~1b", Some("1")),
            ("/m~0n", Some("8")),
            ("/ ", Some("7")),
            ("/01/x", Some("2")),
            ("foo", None),
            ("/foo/0/x", None),
        ] {
            let expected = expected.map(|text| Json::parse(text.as_bytes()).unwrap());
            assert_eq!(json.at(pointer), expected.as_ref(), "{pointer}");
        }
        assert_eq!(json.at(""), Some(&json));
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_the_library_reads_it(
            text in "[\\[\\]{}:,\" 0-9a-c\\\\u.eE+-]{0,24}|(\\{(\"[ab]\":(1|\"\\\\\\\\u0061\"|\\[\\]|null),?){0,3}\\})",
        ) {
            prop_assert!(agree(text.as_bytes()), "{}", text);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            prop_assert!(agree(&bytes));
        }
    }
}
