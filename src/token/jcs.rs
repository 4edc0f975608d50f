//! The JSON Canonicalization Scheme (RFC 8785): one JSON value, one sequence of bytes to sign.
//!
//! Two issuers that write the same record with other spaces, escapes or member orders sign the same
//! bytes, and a record means the same to whoever verifies it.

use serde_json::{Map, Number, Value};

/// A value that I-JSON (RFC 7493) does not carry from reader to reader unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a number that not every reader keeps exactly")]
pub struct NotInteroperable;

/// The largest integer up to which every double is exact: 2^53 (RFC 7493 §2.2).
const LARGEST: u64 = 1 << 53;
/// From here on ECMAScript writes an exponent, which no reader takes for an integer.
const EXPONENT: f64 = 1e21;

/// The canonical form of `value`.
pub fn canonical(value: &Value) -> Result<Vec<u8>, NotInteroperable> {
    let mut into = Vec::new();
    write(value, &mut into)?;
    Ok(into)
}

/// The canonical form of the object that has the given members, each name once.
pub fn object<'v>(
    members: impl IntoIterator<Item = (&'v str, &'v Value)>,
) -> Result<Vec<u8>, NotInteroperable> {
    let mut into = Vec::new();
    write_object(members.into_iter().collect(), &mut into)?;
    Ok(into)
}

/// The canonical form of an object that is already a map.
pub fn map(members: &Map<String, Value>) -> Result<Vec<u8>, NotInteroperable> {
    object(members.iter().map(|(name, value)| (name.as_str(), value)))
}

fn write(value: &Value, into: &mut Vec<u8>) -> Result<(), NotInteroperable> {
    match value {
        Value::Null => into.extend_from_slice(b"null"),
        Value::Bool(true) => into.extend_from_slice(b"true"),
        Value::Bool(false) => into.extend_from_slice(b"false"),
        Value::Number(number) => write_number(number, into)?,
        Value::String(text) => write_string(text, into),
        Value::Array(items) => {
            into.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    into.push(b',');
                }
                write(item, into)?;
            }
            into.push(b']');
        }
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.as_str(), value));
            write_object(members.collect(), into)?;
        }
    }
    Ok(())
}

/// RFC 8785 §3.2.3: members stand in the order of the UTF-16 code units of their names, which is not
/// that of their UTF-8 bytes once a name leaves the basic plane.
fn write_object(
    mut members: Vec<(&str, &Value)>,
    into: &mut Vec<u8>,
) -> Result<(), NotInteroperable> {
    members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    into.push(b'{');
    for (n, (name, value)) in members.into_iter().enumerate() {
        if n > 0 {
            into.push(b',');
        }
        write_string(name, into);
        into.push(b':');
        write(value, into)?;
    }
    into.push(b'}');
    Ok(())
}

/// RFC 8785 §3.2.2.3. What ECMAScript would write as an integer that a reader of doubles cannot tell
/// from its neighbor is refused: two numbers must never have one form.
fn write_number(number: &Number, into: &mut Vec<u8>) -> Result<(), NotInteroperable> {
    let whole = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
    if whole.is_some_and(|whole| whole > LARGEST) {
        return Err(NotInteroperable);
    }
    let double = number.as_f64().filter(|double| double.is_finite()).ok_or(NotInteroperable)?;
    let is_rounded = double.abs() > 9_007_199_254_740_992.0 && double.abs() < EXPONENT;
    if is_rounded {
        return Err(NotInteroperable);
    }
    into.extend_from_slice(ryu_js::Buffer::new().format_finite(double).as_bytes());
    Ok(())
}

/// RFC 8785 §3.2.2.2: the two-character escapes where there is one, `\u00xx` in lower case for other
/// control characters, and everything else as it is.
fn write_string(text: &str, into: &mut Vec<u8>) {
    into.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => into.extend_from_slice(b"\\\""),
            b'\\' => into.extend_from_slice(b"\\\\"),
            0x08 => into.extend_from_slice(b"\\b"),
            b'\t' => into.extend_from_slice(b"\\t"),
            b'\n' => into.extend_from_slice(b"\\n"),
            0x0c => into.extend_from_slice(b"\\f"),
            b'\r' => into.extend_from_slice(b"\\r"),
            0x00..=0x1f => {
                const DIGITS: [u8; 16] = *b"0123456789abcdef";
                let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
                into.extend_from_slice(b"\\u00");
                into.extend([digit(byte >> 4), digit(byte & 15)]);
            }
            _ => into.push(byte),
        }
    }
    into.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::json;

    fn canonical_text(text: &str) -> Result<String, NotInteroperable> {
        let value = json::parse(text.as_bytes(), 32).unwrap();
        canonical(&value).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn r_del_027_the_sample_of_rfc_8785_is_canonical_byte_for_byte() {
        let sample = r#"{
            "numbers": [333333333.33333329, 1E30, 4.50,
                        2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        // RFC 8785 §3.2.4, in hexadecimal as printed there.
        let expected = "7b 22 6c 69 74 65 72 61 6c 73 22 3a 5b 6e 75 6c 6c 2c 74 72 75 65 2c 66 61 6c 73 65 5d 2c 22 6e 75 6d 62 65 72 73 22 3a 5b 33 33 33 33 33 33 33 33 33 2e 33 33 33 33 33 33 33 2c 31 65 2b 33 30 2c 34 2e 35 2c 30 2e 30 30 32 2c 31 65 2d 32 37 5d 2c 22 73 74 72 69 6e 67 22 3a 22 e2 82 ac 24 5c 75 30 30 30 66 5c 6e 41 27 42 5c 22 5c 5c 5c 5c 5c 22 2f 22 7d";
        let text = canonical_text(sample).unwrap();
        let hexadecimal: Vec<_> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hexadecimal.join(" "), expected);
    }

    #[test]
    fn r_del_027_members_are_sorted_by_utf_16_code_units() {
        // RFC 8785 §3.2.3.
        let text = r#"{
            "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh",
            "1": "One", "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control",
            "\u00f6": "Latin Small Letter O With Diaeresis"
        }"#;
        let order = [
            "Carriage Return",
            "One",
            "Control",
            "Latin Small Letter O With Diaeresis",
            "Euro Sign",
            "Emoji: Grinning Face",
            "Hebrew Letter Dalet With Dagesh",
        ];
        let canonical = canonical_text(text).unwrap();
        let places: Vec<_> = order.iter().map(|value| canonical.find(value).unwrap()).collect();
        assert!(places.is_sorted(), "{canonical}");
    }

    #[test]
    fn r_del_027_numbers_are_written_as_ecmascript_does() {
        // RFC 8785 appendix B: IEEE 754 bits and their form, less those that I-JSON excludes.
        for (bits, form) in [
            (0x0000_0000_0000_0000_u64, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ] {
            let number = Number::from_f64(f64::from_bits(bits)).unwrap();
            let mut into = Vec::new();
            write_number(&number, &mut into).unwrap();
            assert_eq!(String::from_utf8(into).unwrap(), form, "{bits:016x}");
        }
        for text in ["9007199254740993", "-9007199254740993", "18446744073709551615", "1e20"] {
            assert_eq!(canonical_text(text), Err(NotInteroperable), "{text}");
        }
        assert_eq!(canonical_text("9007199254740992").unwrap(), "9007199254740992");
        assert_eq!(canonical_text("1734516900.0").unwrap(), "1734516900");
        assert_eq!(canonical_text("-0").unwrap(), "0");
    }

    proptest! {
        #[test]
        fn spelling_does_not_matter_and_canonical_text_is_its_own_canonical_form(
            names in prop::collection::btree_map("\\PC{0,6}", "[\\x00-\\x7f\u{e4}\u{20ac}\u{1f600}]{0,8}", 0..6),
            number in -1_000_000_i64..1_000_000,
        ) {
            let mut members: Map<String, Value> =
                names.into_iter().map(|(name, text)| (name, Value::String(text))).collect();
            members.insert("n".into(), number.into());
            let value = Value::Object(members);
            let canonical_form = canonical(&value).unwrap();
            prop_assert_eq!(&json::parse(&canonical_form, 32).unwrap(), &value);
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(canonical(&json::parse(pretty.as_bytes(), 32).unwrap()).unwrap(), canonical_form);
        }
    }
}
