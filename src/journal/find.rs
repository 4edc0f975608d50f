//! Finding one call in the log: by the id of its decision, or by the `seq` of its decision or outcome.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use super::reader::{self, Call, Read, Record};
use super::search::{self, Hit, Order, Query};
use crate::audit::line;
use crate::audit::outline::Outline;

/// The call with this id or `seq` in the log in `directory`. An id may be cut short; the latest call that fits
/// is given. A number that begins with 0 is the beginning of an id.
pub fn call(directory: &Path, id_or_seq: &str) -> io::Result<Option<Call>> {
    let is_id = id_or_seq.len() > 1 && id_or_seq.starts_with('0');
    match id_or_seq.parse::<u64>() {
        Ok(seq) if !is_id => by_seq(directory, seq),
        _ if id_or_seq.is_empty() => Ok(None),
        _ => by_id(directory, id_or_seq),
    }
}

fn by_seq(directory: &Path, seq: u64) -> io::Result<Option<Call>> {
    let Some(hit) = search::at_seq(directory, seq)? else { return Ok(None) };
    let Some(record) = record(&hit) else { return Ok(None) };
    let decision = match record.number(&["of"]) {
        Some(of) if record.kind() == "outcome" => search::at_seq(directory, of)?,
        _ => return with_outcome(directory, &hit),
    };
    let decision = decision.as_ref().and_then(self::record);
    Ok(decision.map(|decision| Call { decision, outcome: Some(record) }))
}

fn by_id(directory: &Path, id: &str) -> io::Result<Option<Call>> {
    let mut needle = br#""id":"#.to_vec();
    line::string(&mut needle, id);
    // Behind the beginning of an id anything may stand.
    needle.pop();
    let Ok(needle) = String::from_utf8(needle) else { return Ok(None) };
    let query = Query::with(&needle, |record: &Outline<'_>| {
        record.kind != "outcome" && record.id.starts_with(id)
    });
    let mut found = None;
    search::search(directory, &query, Order::Newest, 1, &mut |hit| {
        found = Some(hit);
        Ok(ControlFlow::Break(()))
    })?;
    found.map_or(Ok(None), |hit| with_outcome(directory, &hit))
}

/// The call of a decision. Its outcome stands behind it, mostly near.
fn with_outcome(directory: &Path, hit: &Hit) -> io::Result<Option<Call>> {
    let Some(decision) = record(hit) else { return Ok(None) };
    let outline = Outline::read(hit.line.as_bytes());
    let Some(seq) = outline.filter(Outline::is_forwarded).map(|outline| outline.seq) else {
        return Ok(Some(Call { decision, outcome: None }));
    };
    let query = Query::with(&format!(r#""of":{seq},"#), |record: &Outline<'_>| {
        record.kind == "outcome" && record.of == Some(seq)
    });
    let outcome = search::next_after(directory, &query, (&hit.file, hit.offset))?;
    Ok(Some(Call { decision, outcome: outcome.as_ref().and_then(record) }))
}

/// The record in a line that was found.
fn record(hit: &Hit) -> Option<Record> {
    match reader::read(&hit.file, hit.offset, hit.line.as_bytes()) {
        Read::Record(record) => Some(record),
        Read::Bad { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::journal::segment;

    fn record(seq: u64) -> String {
        match seq % 2 {
            0 => format!(
                r#"{{"v":1,"seq":{seq},"ts":"t","type":"decision","id":"id-{seq}","decision":"allow"}}"#
            ),
            _ => format!(
                r#"{{"v":1,"seq":{seq},"ts":"t","type":"outcome","of":{},"id":"id-{}"}}"#,
                seq - 1,
                seq - 1
            ),
        }
    }

    fn write(directory: &Path, seqs: std::ops::Range<u64>) {
        let seg = directory.join("seg");
        fs::create_dir_all(&seg).unwrap();
        let text: String = seqs.clone().map(|seq| record(seq) + "\n").collect();
        fs::write(seg.join(segment::name(seqs.start)), text).unwrap();
    }

    #[test]
    fn a_call_is_found_by_id_by_seq_and_by_the_seq_of_its_outcome() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), 0..9);
        write(directory.path(), 9..21);
        for (what, decision, outcome) in [
            ("id-8", Some(8), Some(9)),
            ("8", Some(8), Some(9)),
            ("9", Some(8), Some(9)),
            ("0", Some(0), Some(1)),
            ("id-20", Some(20), None),
            ("20", Some(20), None),
            ("id-1", Some(18), Some(19)),
            ("21", None, None),
            ("id-9", None, None),
            ("08", None, None),
            ("", None, None),
        ] {
            let call = call(directory.path(), what).unwrap();
            assert_eq!(call.as_ref().and_then(|call| call.decision.seq()), decision, "{what}");
            assert_eq!(call.and_then(|call| call.outcome?.seq()), outcome, "{what}");
        }
    }

    #[test]
    fn a_record_is_found_where_numbers_do_not_follow_each_other() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), 0..9);
        let path = directory.path().join("seg").join(segment::name(0));
        let mut lines: Vec<_> = (0..9).map(record).collect();
        lines.swap(0, 8);
        lines.insert(4, "nonsense".to_owned());
        fs::write(path, lines.join("\n") + "\n").unwrap();
        for seq in 0..9 {
            let call = call(directory.path(), &seq.to_string()).unwrap().unwrap();
            assert_eq!(call.decision.seq(), Some(seq / 2 * 2));
        }
    }
}
