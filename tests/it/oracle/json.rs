//! JSON as RFC 8259 prints it, read letter by letter: no member twice, no nesting beyond a bound.
//!
//! Written for the oracle alone, so that it and the program cannot share a mistake.

use serde_json::{Map, Number, Value};

/// How deep a token's JSON may nest (`tokens.md` §2).
const DEEPEST: usize = 32;

/// Reads one object and nothing behind it.
pub(super) fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut reader = Reader { rest: text };
    let value = reader.value(0)?;
    reader.space();
    match value {
        Value::Object(members) if reader.rest.is_empty() => Some(members),
        _ => None,
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Takes `text` if it comes next.
    fn take(&mut self, text: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        self.space();
        match self.rest.chars().next()? {
            '{' => self.members(depth + 1),
            '[' => self.elements(depth + 1),
            '"' => self.string().map(Value::String),
            't' => self.take("true").map(|()| Value::Bool(true)),
            'f' => self.take("false").map(|()| Value::Bool(false)),
            'n' => self.take("null").map(|()| Value::Null),
            _ => self.number(),
        }
    }

    fn members(&mut self, depth: usize) -> Option<Value> {
        let mut members = Map::new();
        self.take("{").filter(|()| depth <= DEEPEST)?;
        self.space();
        if self.take("}").is_some() {
            return Some(Value::Object(members));
        }
        loop {
            self.space();
            let name = self.string()?;
            self.space();
            self.take(":")?;
            let value = self.value(depth)?;
            if members.insert(name, value).is_some() {
                return None;
            }
            self.space();
            if self.take(",").is_none() {
                return self.take("}").map(|()| Value::Object(members));
            }
        }
    }

    fn elements(&mut self, depth: usize) -> Option<Value> {
        let mut elements = Vec::new();
        self.take("[").filter(|()| depth <= DEEPEST)?;
        self.space();
        if self.take("]").is_some() {
            return Some(Value::Array(elements));
        }
        loop {
            elements.push(self.value(depth)?);
            self.space();
            if self.take(",").is_none() {
                return self.take("]").map(|()| Value::Array(elements));
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        self.take("\"")?;
        let mut text = String::new();
        loop {
            let c = self.rest.chars().next()?;
            self.rest = &self.rest[c.len_utf8()..];
            match c {
                '"' => return Some(text),
                '\\' => text.push(self.escaped()?),
                c if u32::from(c) < 0x20 => return None,
                c => text.push(c),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(),
            _ => return None,
        })
    }

    /// Four digits, or eight that are a surrogate pair; half a pair is no character.
    fn unicode(&mut self) -> Option<char> {
        let first = self.unit()?;
        if (0xd800..0xdc00).contains(&first) {
            self.take("\\u")?;
            let second = self.unit().filter(|unit| (0xdc00..0xe000).contains(unit))?;
            return char::from_u32(0x1_0000 + (first - 0xd800) * 0x400 + (second - 0xdc00));
        }
        char::from_u32(first)
    }

    fn unit(&mut self) -> Option<u32> {
        let digits = self.rest.get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        self.rest = &self.rest[4..];
        u32::from_str_radix(digits, 16).ok()
    }

    /// RFC 8259 §6: no plus sign, no leading zero, digits on both sides of a point.
    fn number(&mut self) -> Option<Value> {
        let is_part = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let text = &self.rest[..end];
        self.rest = &self.rest[end..];
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (text, None),
        };
        let positive = mantissa.strip_prefix('-').unwrap_or(mantissa);
        let (whole, fraction) = match positive.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (positive, None),
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let is_number = digits(whole)
            && (whole == "0" || !whole.starts_with('0'))
            && fraction.is_none_or(digits)
            && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)));
        if !is_number {
            return None;
        }
        if fraction.is_none() && exponent.is_none() {
            if let Ok(whole) = text.parse::<u64>() {
                return Some(Value::from(whole));
            }
            if let Ok(whole) = text.parse::<i64>() {
                return Some(Value::from(whole));
            }
        }
        // What no double can hold, 1e400, is not a number that two readers agree on.
        Number::from_f64(text.parse().ok()?).map(Value::Number)
    }
}

#[test]
fn the_oracles_own_reader_reads_what_rfc_8259_allows_and_no_more() {
    let good = r#" {"a":[1,-0.5e3,"\u0041\ud83d\ude00\n",true,null,{}],"b":{"a":1}} "#;
    let value = Value::Object(object(good.as_bytes()).unwrap());
    assert_eq!(value, serde_json::from_str::<Value>(good).unwrap());
    for bad in [
        "[]",
        "{",
        r#"{"a":1,"\u0061":2}"#,
        r#"{"a":01}"#,
        r#"{"a":1.}"#,
        r#"{"a":+1}"#,
        r#"{"a":1,}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":1} x"#,
        "\u{feff}{}",
        r#"{"a":1e400}"#,
        "{\"a\":\"\n\"}",
        "{'a':1}",
        r#"{"a":NaN}"#,
    ] {
        assert_eq!(object(bad.as_bytes()), None, "{bad}");
    }
    let nested = |depth: usize| format!("{}{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    assert!(object(nested(32).replace(":}", ":1}").as_bytes()).is_some());
    assert!(object(nested(33).replace(":}", ":1}").as_bytes()).is_none());
}
