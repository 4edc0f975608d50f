//! The `ts` member: never goes back within an epoch, and is cheap to write.

use crate::model::time::Timestamp;

/// The last time written, and the text of its second.
#[derive(Debug, Default)]
pub struct Stamp {
    last: Timestamp,
    second: Option<u64>,
    text: String,
}

impl Stamp {
    /// Writes `,"ts":"…"`. Gives the microseconds by which `now` lay behind what was written before,
    /// which is written again in that case.
    pub fn write(&mut self, now: Timestamp, into: &mut Vec<u8>) -> u64 {
        let at = now.max(self.last);
        self.last = at;
        if self.second != Some(at.seconds()) {
            self.second = Some(at.seconds());
            self.text = Timestamp::from_seconds(at.seconds()).to_string();
        }
        into.extend_from_slice(b",\"ts\":\"");
        // `YYYY-MM-DDThh:mm:ss.` is the first 20 bytes, whatever the year up to 9999.
        into.extend_from_slice(self.text.as_bytes().get(..20).unwrap_or_default());
        let mut fraction = at.micros() % 1_000_000;
        let mut digits = *b"000000";
        for digit in digits.iter_mut().rev() {
            *digit += u8::try_from(fraction % 10).unwrap_or(0);
            fraction /= 10;
        }
        into.extend_from_slice(&digits);
        into.extend_from_slice(b"Z\"");
        at.micros() - now.micros()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_written_in_full_and_never_goes_back() {
        let mut stamp = Stamp::default();
        for (micros, text, behind) in [
            (1_763_907_200_000_989, "2025-11-23T14:13:20.000989Z", 0),
            (1_763_907_200_900_000, "2025-11-23T14:13:20.900000Z", 0),
            (1_763_907_199_900_000, "2025-11-23T14:13:20.900000Z", 1_000_000),
            (1_763_907_201_000_001, "2025-11-23T14:13:21.000001Z", 0),
        ] {
            let mut line = Vec::new();
            assert_eq!(stamp.write(Timestamp::from_micros(micros), &mut line), behind);
            assert_eq!(String::from_utf8(line).unwrap(), format!(",\"ts\":\"{text}\""));
        }
    }
}
