//! Strict JSON (RFC 8259 with the limits of `specs`: no duplicate members, bounded depth, UTF-8 only).
//!
//! Two readers of a text with two members of one name may each believe another one, so there is no
//! such text here: the parse fails.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Parses `text` as one JSON value. Fails on duplicate member names at any depth, on nesting deeper
/// than `max_depth` and on anything that RFC 8259 does not allow.
pub fn parse(text: &[u8], max_depth: usize) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict { depth: max_depth }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Parses `text` as one JSON object, under the same rules.
pub fn parse_object(
    text: &[u8],
    max_depth: usize,
) -> Result<Map<String, Value>, serde_json::Error> {
    match parse(text, max_depth)? {
        Value::Object(members) => Ok(members),
        _ => Err(Error::custom("not a JSON object")),
    }
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deeply"))?;
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom("duplicate member name"));
            }
            map.insert(name, members.next_value_seed(inner)?);
        }
        Ok(Value::Object(map))
    }
}

/// Whether every number in `value` is the one that was written. Beyond 2^53 a number that is no integer of
/// 64 bits was rounded when it was read.
pub fn is_exact(value: &Value) -> bool {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => {
            number.is_i64()
                || number.is_u64()
                || number.as_f64().is_some_and(|double| double.abs() < EXACT)
        }
        Value::Array(items) => items.iter().all(is_exact),
        Value::Object(members) => members.values().all(is_exact),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_members_are_refused_at_any_depth_and_in_any_spelling() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"x":[{"b":{"a":1,"a":2}}]}"#]
        {
            let error = parse(text.as_bytes(), 32).unwrap_err().to_string();
            assert!(error.contains("duplicate member name"), "{text}: {error}");
        }
        parse(br#"{"a":{"a":1},"b":[{"a":1},{"a":2}]}"#, 32).unwrap();
    }

    #[test]
    fn depth_is_bounded_where_it_is_said() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        parse(&nested(32), 32).unwrap();
        parse(&nested(33), 32).unwrap_err();
    }

    #[test]
    fn what_rfc_8259_does_not_allow_is_refused() {
        for text in [
            "\u{feff}{}",
            "{} {}",
            "{,}",
            "NaN",
            "[1,]",
            "// x\n{}",
            "",
            "1e999",
            "{'a':1}",
            "\"\\ud800\"",
        ] {
            parse(text.as_bytes(), 32).unwrap_err();
        }
        parse(b"{\"a\":\"\xff\"}", 32).unwrap_err();
    }

    #[test]
    fn an_array_is_not_an_object() {
        parse_object(b"[]", 32).unwrap_err();
        assert_eq!(parse_object(br#"{"a":1}"#, 32).unwrap()["a"], 1);
    }
}
