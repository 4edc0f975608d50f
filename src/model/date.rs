//! Dates as text (RFC 3339), as the drafts write them beside the numbers of RFC 7519.

use crate::model::time::Timestamp;

/// How far a fraction of a second is read; more digits say nothing that is compared here.
const DIGITS: usize = 9;

/// `YYYY-MM-DDThh:mm:ss[.fraction](Z|±hh:mm)`, the fraction of any length. No leap second and no day
/// before 1970: nothing that is compared here happens then.
pub fn rfc3339(text: &str) -> Option<Timestamp> {
    let (seconds, rest) = text.split_at_checked(19)?;
    let shape = seconds.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        10 => byte == b'T',
        13 | 16 => byte == b':',
        _ => byte.is_ascii_digit(),
    });
    let (fraction, offset) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count()),
        None => ("0", rest),
    };
    let is_offset = offset == "Z"
        || (offset.len() == 6
            && offset.bytes().enumerate().all(|(at, byte)| match at {
                0 => byte == b'+' || byte == b'-',
                3 => byte == b':',
                _ => byte.is_ascii_digit(),
            }));
    // RFC 3339 §5.6: an hour of an offset is one of a day; the parser takes more.
    let is_offset = is_offset && offset.get(1..3).is_none_or(|hours| hours < "24");
    if !shape || !is_offset || fraction.is_empty() || seconds.ends_with("60") {
        return None;
    }
    let fraction = fraction.get(..DIGITS).unwrap_or(fraction);
    let moment: jiff::Timestamp = format!("{seconds}.{fraction}{offset}").parse().ok()?;
    u64::try_from(moment.as_microsecond()).ok().map(Timestamp::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_tok_026_fractions_have_any_length_and_offsets_are_honored() {
        for (text, micros) in [
            ("2025-12-18T06:00:00Z", 1_766_037_600_000_000),
            ("2025-12-18T06:00:00.123Z", 1_766_037_600_123_000),
            ("2025-12-18T06:00:00.123456Z", 1_766_037_600_123_456),
            ("2025-12-18T06:00:00.123456789Z", 1_766_037_600_123_456),
            ("2025-12-18T06:00:00.12345678901234567890Z", 1_766_037_600_123_456),
            ("2025-12-18T08:00:00+02:00", 1_766_037_600_000_000),
            ("2025-12-17T20:30:00.5-09:30", 1_766_037_600_500_000),
            ("1970-01-01T00:00:00Z", 0),
        ] {
            assert_eq!(rfc3339(text), Some(Timestamp::from_micros(micros)), "{text}");
        }
        for text in [
            "",
            "2025-12-18",
            "2025-12-18T06:00:00",
            "2025-12-18T06:00:00+24:00",
            "2025-12-18T06:00:00+02:60",
            "2025-12-18t06:00:00Z",
            "2025-12-18T06:00:00z",
            "2025-12-18 06:00:00Z",
            "2025-12-18T06:00:00.Z",
            "2025-12-18T06:00:60Z",
            "2025-02-30T06:00:00Z",
            "2025-12-18T24:00:00Z",
            "2025-12-18T06:00:00+0200",
            "2025-12-18T06:00:00+99:00",
            "2025-12-18T06:00:00Z[UTC]",
            "+002025-12-18T06:00:00Z",
            "1969-12-31T23:59:59Z",
            "1766037600",
            "2025-12-18T06:00:0\u{666}Z",
        ] {
            assert_eq!(rfc3339(text), None, "{text}");
        }
    }
}
