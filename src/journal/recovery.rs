//! What the end of a segment says about how its writer ended: whole, torn, or damaged.

use std::borrow::Cow;

use serde::Deserialize;

use crate::audit::line::MAX_LINE;

/// The members of a line that recovery judges by; all others are skipped.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Entry<'a> {
    /// The version of the line's form.
    pub v: u64,
    /// Its place in the log.
    pub seq: u64,
    /// The process epoch.
    pub ep: u64,
    /// The record's type.
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
}

/// Lines that are whole, and what follows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail<'a> {
    /// Bytes of whole lines.
    pub whole: usize,
    /// Bytes after them: a write that was cut short, never acknowledged.
    pub torn: usize,
    /// The last whole line.
    pub last: Option<Entry<'a>>,
}

/// A whole line that no writer of this log wrote there: corruption, not a torn write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Bytes before the line.
    pub offset: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

/// Reads whole lines from the beginning of `bytes`, which must be the beginning of a line.
///
/// Only bytes after the last line end can be torn: a writer appends, and acknowledges nothing before
/// all of it is on the disk.
pub fn scan_tail(bytes: &[u8]) -> Result<Tail<'_>, Damage> {
    let mut tail = Tail::default();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(text) = line.strip_suffix(b"\n") else {
            tail.torn = line.len();
            break;
        };
        let entry =
            judge(text, tail.last.as_ref()).map_err(|what| Damage { offset: tail.whole, what })?;
        tail.whole = tail.whole.saturating_add(line.len());
        tail.last = Some(entry);
    }
    Ok(tail)
}

fn judge<'a>(line: &'a [u8], before: Option<&Entry<'_>>) -> Result<Entry<'a>, &'static str> {
    if line.len() > MAX_LINE {
        return Err("line too long");
    }
    let Ok(entry) = serde_json::from_slice::<Entry<'a>>(line) else {
        return Err("not a record");
    };
    if entry.v != 1 {
        return Err("unknown version");
    }
    if before.is_some_and(|before| before.seq.checked_add(1) != Some(entry.seq)) {
        return Err("seq is not dense");
    }
    if before.is_some_and(|before| entry.ep < before.ep) {
        return Err("epoch goes back");
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINES: &str = "{\"v\":1,\"seq\":7,\"ep\":1,\"type\":\"start\"}\n{\"v\":1,\"seq\":8,\"ep\":1,\"type\":\"stop\"}\n";

    #[test]
    fn a_tail_torn_at_any_byte_of_the_last_line_keeps_the_lines_before() {
        let first = LINES.find('\n').unwrap() + 1;
        for end in first..LINES.len() {
            let tail = scan_tail(&LINES.as_bytes()[..end]).unwrap();
            assert_eq!((tail.whole, tail.torn), (first, end - first));
            assert_eq!(tail.last.unwrap().seq, 7);
        }
        assert_eq!(scan_tail(LINES.as_bytes()).unwrap().last.unwrap().seq, 8);
    }

    #[test]
    fn a_bad_whole_line_is_damage() {
        let offset = LINES.find('\n').unwrap() + 1;
        for (from, to, what) in [
            ("\"seq\":8", "\"seq\":9", "seq is not dense"),
            ("1,\"type\":\"stop", "0,\"type\":\"stop", "epoch goes back"),
            ("{\"v\":1,\"seq\":8", "\"v\":1,\"seq\":8", "not a record"),
            ("{\"v\":1,\"seq\":8", "{\"v\":2,\"seq\":8", "unknown version"),
        ] {
            let damaged = LINES.replace(from, to);
            assert_eq!(scan_tail(damaged.as_bytes()), Err(Damage { offset, what }));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_panic(bytes in any::<Vec<u8>>(), cut in 0_usize..90) {
            scan_tail(&bytes).ok();
            let mixed = [&LINES.as_bytes()[..cut.min(LINES.len())], &bytes].concat();
            scan_tail(&mixed).ok();
        }
    }
}
