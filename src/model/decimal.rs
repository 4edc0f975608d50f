//! Decimal numbers as JSON writes them (RFC 8259 §6), compared exactly.
//!
//! An amount must not pass through a binary fraction on its way to the rule that limits it: as doubles,
//! 9007199254740993 and 9007199254740992 are the same number (R-POL-024).

use std::cmp::Ordering;

/// The longest number that is read. No amount has as many digits; a longer one is an attack on whoever
/// computes with it.
const LONGEST: usize = 1_024;

/// A number: its significant digits, and where the decimal point stands. Borrowed from the text.
#[derive(Clone, Copy, Debug)]
pub struct Decimal<'a> {
    negative: bool,
    /// The significant digits before the point as written, without leading zeros.
    whole: &'a str,
    /// Those after it, without trailing zeros, and without leading ones where `whole` is empty.
    fraction: &'a str,
    /// The number is 0.DIGITS times ten to this power.
    point: i64,
}

impl<'a> Decimal<'a> {
    /// Reads a number by the grammar of JSON. `None` for anything else, and for one that a double cannot
    /// hold at all: readers make infinity or zero of `1e400` and `1e-400`, or refuse it.
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, power(exponent)?),
            None => (text, 0),
        };
        let unsigned = mantissa.strip_prefix('-').unwrap_or(mantissa);
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (unsigned, ""),
        };
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        if whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        let number = Self::normal(unsigned.len() < mantissa.len(), whole, fraction, exponent)?;
        let nearest: f64 = text.parse().ok()?;
        (nearest.is_finite() && (nearest != 0.0 || number.is_zero())).then_some(number)
    }

    /// Takes away the zeros that say nothing, so that equal numbers have equal digits.
    fn normal(negative: bool, whole: &'a str, fraction: &'a str, exponent: i64) -> Option<Self> {
        let fraction = fraction.trim_end_matches('0');
        let length = |text: &str| i64::try_from(text.len()).ok();
        if whole == "0" {
            let digits = fraction.trim_start_matches('0');
            let zeros = length(fraction)?.checked_sub(length(digits)?)?;
            let point = exponent.checked_sub(zeros)?;
            return Some(Self { negative, whole: "", fraction: digits, point });
        }
        let point = exponent.checked_add(length(whole)?)?;
        let whole = if fraction.is_empty() { whole.trim_end_matches('0') } else { whole };
        Some(Self { negative, whole, fraction, point })
    }

    /// Whether it is zero, of either sign.
    pub const fn is_zero(&self) -> bool {
        self.whole.is_empty() && self.fraction.is_empty()
    }

    /// Whether it has no fraction: `5.0` and `5e1` are whole numbers too.
    pub fn is_whole(&self) -> bool {
        self.is_zero() || i64::try_from(self.digits()).is_ok_and(|digits| digits <= self.point)
    }

    /// Whether it is a multiple of `other`, exactly; `None` where `other` is zero or has more digits than
    /// can be divided by.
    pub fn is_multiple_of(&self, other: &Self) -> Option<bool> {
        let divisor = u128::from(other.integer().filter(|divisor| *divisor > 0)?);
        if self.is_zero() {
            return Some(true);
        }
        let length = |number: &Self| i64::try_from(number.digits()).ok();
        let power = |number: &Self| number.point.checked_sub(length(number)?);
        let zeros = power(self)?.checked_sub(power(other)?)?;
        // Digits end in no zero, so that none of them can be divided by ten.
        let Ok(zeros) = usize::try_from(zeros) else { return Some(false) };
        let digits = self.whole.bytes().chain(self.fraction.bytes()).map(|digit| digit - b'0');
        let all = digits.chain(std::iter::repeat_n(0, zeros));
        let rest = all.fold(0, |rest, digit| (rest * 10 + u128::from(digit)) % divisor);
        Some(rest == 0)
    }

    /// Its digits as a whole number.
    fn integer(&self) -> Option<u64> {
        [self.whole, self.fraction].concat().parse().ok()
    }

    /// The number times ten to the power of `places`, where that is a whole number of 64 bits, exactly.
    pub fn scaled(&self, places: i64) -> Option<i64> {
        if self.is_zero() {
            return Some(0);
        }
        let digits = i64::try_from(self.digits()).ok()?;
        let zeros = self.point.checked_add(places)?.checked_sub(digits)?;
        let power = 10_i128.checked_pow(u32::try_from(zeros).ok()?)?;
        let magnitude = i128::from(self.integer()?).checked_mul(power)?;
        i64::try_from(if self.negative { -magnitude } else { magnitude }).ok()
    }

    /// How many significant digits it has.
    pub const fn digits(&self) -> usize {
        self.whole.len() + self.fraction.len()
    }

    fn magnitude(&self, other: &Self) -> Ordering {
        let digits = |number: &Self| number.whole.bytes().chain(number.fraction.bytes());
        match (self.is_zero(), other.is_zero()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => {
                self.point.cmp(&other.point).then_with(|| digits(self).cmp(digits(other)))
            }
        }
    }
}

/// The power of ten that an exponent says.
fn power(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // What has more digits is out of range whatever the mantissa, unless that is zero: refused alike.
    let significant = digits.trim_start_matches('0');
    if significant.len() > 9 {
        return None;
    }
    let power: i64 = if significant.is_empty() { 0 } else { significant.parse().ok()? };
    Some(if text.starts_with('-') { -power } else { power })
}

impl Ord for Decimal<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match (number.is_zero(), number.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        sign(self).cmp(&sign(other)).then_with(|| {
            let order = self.magnitude(other);
            if self.negative { order.reverse() } else { order }
        })
    }
}

impl PartialOrd for Decimal<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal<'_> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Decimal<'_> {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn a_scaled_number_is_exact_or_none() {
        for (text, places, expected) in [
            ("50", 0, Some(50)),
            ("50.0", 0, Some(50)),
            ("5e1", 0, Some(50)),
            ("50.5", 0, None),
            ("50.5", 4, Some(505_000)),
            ("0.0001", 4, Some(1)),
            ("0.00010", 4, Some(1)),
            ("0.00001", 4, None),
            ("-0.0", 0, Some(0)),
            ("-1.25e1", 4, Some(-125_000)),
            ("9223372036854775807", 0, Some(i64::MAX)),
            ("-9223372036854775808", 0, Some(i64::MIN)),
            ("9223372036854775808", 0, None),
            ("922337203685477.5807", 4, Some(i64::MAX)),
            ("922337203685477.5808", 4, None),
            ("1e300", 0, None),
            ("123456789012345678901234567890e-20", 0, None),
        ] {
            assert_eq!(number(text).scaled(places), expected, "{text} {places}");
        }
    }

    #[test]
    fn a_multiple_is_one_exactly() {
        for (number_, of, expected) in [
            ("19.99", "0.01", Some(true)),
            ("19.995", "0.01", Some(false)),
            ("0.07", "0.01", Some(true)),
            ("0", "7", Some(true)),
            ("-21", "7", Some(true)),
            ("22", "7", Some(false)),
            ("1e20", "1e3", Some(true)),
            ("1e2", "1e3", Some(false)),
            ("1500", "1e2", Some(true)),
            ("9007199254740993", "2", Some(false)),
            ("9007199254740993", "3", Some(true)),
            ("7", "2.5", Some(false)),
            ("7.5", "2.5", Some(true)),
            ("1", "0", None),
            ("1", "0.123456789012345678901", None),
        ] {
            assert_eq!(number(number_).is_multiple_of(&number(of)), expected, "{number_} {of}");
        }
    }

    #[test]
    fn pol_024_numbers_are_compared_exactly() {
        for (one, order, other) in [
            ("9007199254740993", Ordering::Greater, "9007199254740992"),
            ("50", Ordering::Equal, "50.0"),
            ("50", Ordering::Equal, "5e1"),
            ("50", Ordering::Equal, "0.0500e3"),
            ("50.0000000000000000001", Ordering::Greater, "50"),
            ("49.9999999999999999999", Ordering::Less, "50"),
            ("0.1", Ordering::Less, "0.10000000000000000001"),
            ("-5", Ordering::Less, "0"),
            ("-5", Ordering::Greater, "-50"),
            ("-0", Ordering::Equal, "0.000"),
            ("0", Ordering::Less, "1e-300"),
            ("99", Ordering::Less, "100"),
            ("123456789012345678901234567890", Ordering::Less, "123456789012345678901234567891"),
        ] {
            assert_eq!(number(one).cmp(&number(other)), order, "{one} {other}");
            assert_eq!(number(other).cmp(&number(one)), order.reverse(), "{other} {one}");
        }
    }

    #[test]
    fn what_is_no_number_of_json_or_beyond_a_double_is_none() {
        for text in [
            "",
            "-",
            "+1",
            "01",
            "-01",
            "1.",
            ".5",
            "1e",
            "1e+",
            "0x1",
            "NaN",
            "Infinity",
            "1_0",
            " 1",
            "1 ",
            "1e400",
            "-1e400",
            "1e-400",
            "1e99999999999",
            "0e99999999999",
            "１",
        ] {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
        assert!(Decimal::parse(&"1".repeat(LONGEST + 1)).is_none());
    }

    #[test]
    fn a_whole_number_is_known_by_its_value() {
        for (text, whole) in [
            ("5", true),
            ("5.0", true),
            ("50e-1", true),
            ("5.5", false),
            ("5.5e1", true),
            ("0.0", true),
        ] {
            assert_eq!(number(text).is_whole(), whole, "{text}");
        }
    }

    proptest! {
        #[test]
        fn integers_are_ordered_as_integers(one: i64, other: i64, scale in 0_u32..5) {
            let scaled = format!("{one}{}e-{scale}", "0".repeat(usize::try_from(scale).unwrap()));
            prop_assume!(one != 0);
            prop_assert_eq!(number(&scaled).cmp(&number(&other.to_string())), one.cmp(&other));
        }
    }
}
