//! Amounts: decimal numbers that are never less than nothing, added without rounding.
//!
//! A double would make 0.1 + 0.2 something else than 0.3, and would not see one cent in a hundred
//! million millions. What does not fit here is not read, and a call with it is refused.

#![deny(clippy::arithmetic_side_effects)]

use std::fmt;

/// Digits after the point. Prices have two to four, and the smallest coin of any ledger has eighteen.
const SCALE: usize = 18;
/// What [`Amount::ONE`] is made of.
const UNIT: u128 = 10_u128.pow(18);
/// The most digits before the point, so that no sum of two amounts overflows.
const WHOLE: usize = 18;

/// A decimal number from 0 to below 10^18, of at most 18 digits after the point; sums may be larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One.
    pub const ONE: Self = Self(UNIT);

    /// A whole number.
    pub fn whole(number: u64) -> Self {
        Self(u128::from(number).saturating_mul(UNIT))
    }

    /// Reads a number by the grammar of JSON, exactly or not at all.
    pub fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, power(exponent)?),
            None => (text, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_padded = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || is_padded || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        let digits = [whole, fraction].concat();
        let significant = digits.trim_start_matches('0').trim_end_matches('0');
        if significant.is_empty() {
            return Some(Self::ZERO);
        }
        // The number is `significant` times ten to `shift`, in units of 10^-18.
        let zeros = digits.len().checked_sub(digits.trim_end_matches('0').len())?;
        let shift = i64::try_from(SCALE.checked_add(zeros)?).ok()?;
        let shift =
            shift.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(exponent)?;
        let shift = usize::try_from(shift).ok()?;
        if significant.len().checked_add(shift)? > SCALE.checked_add(WHOLE)? {
            return None;
        }
        let factor = 10_u128.checked_pow(u32::try_from(shift).ok()?)?;
        significant.parse::<u128>().ok()?.checked_mul(factor).map(Self)
    }

    /// The sum, where it can be written.
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// What is left when `other` is taken away; nothing where that is more.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// The power of ten that an exponent says.
fn power(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let power: i64 = digits.parse().ok()?;
    if text.starts_with('-') { power.checked_neg() } else { Some(power) }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) =
            (self.0.checked_div(UNIT).unwrap_or(0), self.0.checked_rem(UNIT).unwrap_or(0));
        write!(f, "{whole}")?;
        if fraction == 0 {
            return Ok(());
        }
        let digits = format!("{fraction:0SCALE$}");
        write!(f, ".{}", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pol_023_amounts_are_read_exactly_or_not_at_all() {
        for (text, expected) in [
            ("0", Some("0")),
            ("0.00", Some("0")),
            ("0e5", Some("0")),
            ("10", Some("10")),
            ("10.50", Some("10.5")),
            ("1.05e1", Some("10.5")),
            ("105e-1", Some("10.5")),
            ("0.000000000000000001", Some("0.000000000000000001")),
            ("0.0000000000000000010", Some("0.000000000000000001")),
            ("0.0000000000000000001", None),
            (
                "999999999999999999.999999999999999999",
                Some("999999999999999999.999999999999999999"),
            ),
            ("1000000000000000000", None),
            ("1e17", Some("100000000000000000")),
            ("1e18", None),
            ("1e999999999", None),
            ("1e-999999999", None),
            ("1e99999999999", None),
            ("9007199254740993", Some("9007199254740993")),
            ("-1", None),
            ("-0", None),
            ("+1", None),
            ("01", None),
            ("1.", None),
            (".5", None),
            ("1.2.3", None),
            ("1e", None),
            ("", None),
            ("NaN", None),
            ("١", None),
        ] {
            let read = Amount::parse(text).map(|amount| amount.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn sums_are_not_rounded() {
        let amount = |text| Amount::parse(text).unwrap();
        assert_eq!(amount("0.1").plus(amount("0.2")), Some(amount("0.3")));
        let large = amount("999999999999999999.99");
        assert_eq!(large.plus(amount("0.01")).unwrap().to_string(), "1000000000000000000");
        assert_eq!(amount("1").less(amount("2")), Amount::ZERO);
        assert_eq!(Amount::whole(7), amount("7"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(units in 0_u128..10_u128.pow(36)) {
            let amount = Amount(units);
            prop_assert_eq!(Amount::parse(&amount.to_string()), Some(amount));
        }
    }
}
