//! What recovery asks of the lines of a long epoch, read from the form that the writer gives them: a start after
//! weeks must not wait until all of them are taken apart. What has another form is.

use memchr::memmem::Finder;
use serde::de::IgnoredAny;

use super::Entry;

/// The length of a time.
const TS: usize = 27;
/// The beginning of every line, up to its number.
const BEGIN: &[u8] = br#"{"v":1,"seq":"#;

/// What stands between time and type in the lines of one epoch.
#[derive(Debug)]
pub(super) struct Form {
    middle: Vec<u8>,
    decision: Finder<'static>,
}

/// What a line says of the calls that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brief<'a> {
    /// A call is let through.
    Opens(&'a str),
    /// A call ends, which was not interrupted.
    Closes(u64),
    /// A call is refused.
    Neither,
}

impl Form {
    /// The form of the lines that follow `line`, which says `entry`.
    pub(super) fn of(line: &[u8], entry: &Entry<'_>) -> Option<Self> {
        let rest = after_number(line, entry.seq)?.get(TS..)?;
        let name = br#"","log":""#;
        let behind = rest.strip_prefix(name)?;
        let log = quoted(behind)?;
        let mut middle = name.to_vec();
        middle.extend_from_slice(log);
        middle.extend_from_slice(format!(r#"","ep":{},"type":""#, entry.ep).as_bytes());
        let decision = Finder::new(r#","decision":""#).into_owned();
        rest.starts_with(&middle).then_some(Self { middle, decision })
    }

    /// What `line` says, which must be the record `seq`.
    pub(super) fn read<'a>(&self, line: &'a [u8], seq: u64) -> Option<Brief<'a>> {
        let rest = after_number(line, seq)?;
        // What never came to the disk has bytes that no text has.
        let is_text = line.iter().copied().min() >= Some(b' ');
        if !is_text || line.last() != Some(&b'}') {
            return None;
        }
        let rest = rest.get(TS..)?.strip_prefix(&*self.middle)?;
        if let Some(rest) = rest.strip_prefix(br#"outcome","of":"#) {
            let (of, rest) = number(rest)?;
            let rest = rest.strip_prefix(br#","id":""#)?;
            let rest = rest.get(quoted(rest)?.len()..)?.strip_prefix(br#"","result":""#)?;
            // The outcomes of an earlier epoch are counted by whoever reads them whole.
            return (quoted(rest)? != b"interrupted").then_some(Brief::Closes(of));
        }
        let rest = rest.strip_prefix(br#"decision","id":""#)?;
        let id = quoted(rest)?;
        // Within a text the quotes would be escaped.
        let at = self.decision.find(rest)?;
        let verdict = rest.get(at.checked_add(self.decision.needle().len())?..)?;
        if verdict.starts_with(br#"allow""#) || verdict.starts_with(br#"deny","mode":"observe""#) {
            return Some(Brief::Opens(str::from_utf8(id).ok()?));
        }
        verdict.starts_with(br#"deny""#).then_some(Brief::Neither)
    }
}

/// Whether a line is JSON, also where nothing is asked of it.
pub(super) fn is_json(line: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(line).is_ok()
}

/// What follows `,"ts":"` in a line that begins with the number `seq`.
fn after_number(line: &[u8], seq: u64) -> Option<&[u8]> {
    let (found, rest) = number(line.strip_prefix(BEGIN)?)?;
    (found == seq).then(|| rest.strip_prefix(br#","ts":""#)).flatten()
}

/// A number as it is written, and what follows it.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (at, byte) in text.iter().enumerate() {
        if !byte.is_ascii_digit() {
            return (at > 0 && (at == 1 || text.first() != Some(&b'0')))
                .then_some((number, text.get(at..)?));
        }
        number = number.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
    }
    None
}

/// The text before the next quote, where nothing in it is escaped.
fn quoted(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    (text.get(end) == Some(&b'"')).then(|| text.get(..end)).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::judge;
    use super::*;

    const START: &str = r#"{"v":1,"seq":6,"ts":"2026-11-23T14:13:20.000989Z","log":"gw","ep":3,"type":"start","version":"0.1.0"}"#;

    fn line(rest: &str) -> String {
        START
            .replace(r#""seq":6"#, r#""seq":7"#)
            .replace(r#""type":"start","version":"0.1.0""#, rest)
    }

    fn form() -> Form {
        Form::of(START.as_bytes(), &judge(START.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn calls_that_begin_and_end_are_known_by_the_form_of_their_lines() {
        let form = form();
        for (rest, expected) in [
            (
                r#""type":"decision","id":"i","decision":"allow","reason":"granted""#,
                Some(Brief::Opens("i")),
            ),
            (
                r#""type":"decision","id":"i","trace_id":"t","decision":"deny","mode":"observe","x":1"#,
                Some(Brief::Opens("i")),
            ),
            (r#""type":"decision","id":"i","decision":"deny","reason":"r""#, Some(Brief::Neither)),
            (
                r#""type":"outcome","of":4,"id":"i","result":"success","us":7"#,
                Some(Brief::Closes(4)),
            ),
            // What is rare is read whole.
            (r#""type":"outcome","of":4,"id":"i","result":"interrupted""#, None),
            (r#""type":"outcome","of":04,"id":"i","result":"success""#, None),
            (r#""type":"decision","id":"i\n","decision":"allow""#, None),
            (r#""clk":5,"type":"decision","id":"i","decision":"allow""#, None),
            (r#""type":"stop","open":0"#, None),
        ] {
            assert_eq!(form.read(line(rest).as_bytes(), 7), expected, "{rest}");
        }
        let allowed = line(r#""type":"decision","id":"i","decision":"allow""#);
        for (text, seq) in [
            (allowed.clone(), 8),
            (allowed.replace("ep\":3", "ep\":4"), 7),
            (allowed.replace("gw", "other"), 7),
            (allowed.replace(r#""v":1"#, r#""v":2"#), 7),
            (allowed.replace('i', "\0"), 7),
            (allowed.trim_end_matches('}').to_owned(), 7),
        ] {
            assert_eq!(form.read(text.as_bytes(), seq), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_known_by_its_form_is_what_is_read(
            rest in prop_oneof![
                Just(r#""type":"decision","id":"0","parent":",\"decision\":\"allow","decision":"deny","mode":"observe""#),
                Just(r#""type":"decision","id":"0","decision":"allow","x":{"decision":"deny"}"#),
                Just(r#""type":"outcome","of":4,"id":"0","result":"success","x":[1]"#),
            ],
            at in any::<proptest::sample::Index>(), byte in prop_oneof![any::<u8>(), proptest::sample::select(b"\"\\,:{}0".to_vec())],
        ) {
            let mut line = line(rest).into_bytes();
            let at = at.index(line.len());
            line[at] = byte;
            let read = form().read(&line, 7);
            if let (Some(brief), Ok(entry)) = (read, judge(&line)) {
                prop_assert_eq!((entry.seq, entry.ep), (7, 3));
                let expected = match &*entry.kind {
                    "decision" if entry.opens() => Brief::Opens(&entry.id),
                    "decision" => Brief::Neither,
                    _ => Brief::Closes(entry.of.unwrap()),
                };
                prop_assert_eq!(brief, expected);
            }
        }
    }
}
