//! Reading the log while it is written or long after: forwards, backwards, one call, and as it grows.
//!
//! A reader never fails on what a line says: a line that is no record is given as [`Read::Bad`] with its
//! place, and the reading goes on.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::audit::line::MAX_LINE;
use crate::model::json;

use super::segment::{self, Lines, Place};

/// How long a follower waits before it looks again.
pub const POLL: Duration = Duration::from_millis(200);

const BLOCK: u64 = 256 * 1024;
const MAX_DEPTH: usize = 16;

/// A record as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The segment.
    pub file: PathBuf,
    /// Bytes of the file before the line.
    pub offset: u64,
    /// The line, without its line end.
    pub line: Box<str>,
    /// The members of the line.
    pub members: Map<String, Value>,
}

impl Record {
    /// The text at `path`, member by member; empty when there is none.
    pub fn text(&self, path: &[&str]) -> &str {
        self.value(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// The number at `path`.
    pub fn number(&self, path: &[&str]) -> Option<u64> {
        self.value(path).and_then(Value::as_u64)
    }

    /// The `seq`.
    pub fn seq(&self) -> Option<u64> {
        self.number(&["seq"])
    }

    /// The type.
    pub fn kind(&self) -> &str {
        self.text(&["type"])
    }

    fn value(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.members.get(*first)?, |value, name| value.get(*name))
    }
}

/// What was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Read {
    /// A line that is no record.
    Bad {
        /// The segment.
        file: PathBuf,
        /// The line from 1, or 0 where reading began at the end.
        line: u64,
        /// Bytes of the file before it.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A record.
    Record(Record),
}

/// What the line that stands at `offset` of `file` says.
pub fn read(file: &Path, offset: u64, line: &[u8]) -> Read {
    parse(file, 0, offset, line)
}

fn parse(file: &Path, number: u64, offset: u64, bytes: &[u8]) -> Read {
    let bad = |what| Read::Bad { file: file.to_owned(), line: number, offset, what };
    if bytes.len() > MAX_LINE {
        return bad("line too long".to_owned());
    }
    match (json::parse_object(bytes, MAX_DEPTH), str::from_utf8(bytes)) {
        (Ok(members), Ok(line)) => {
            Read::Record(Record { file: file.to_owned(), offset, line: line.into(), members })
        }
        (Err(error), _) => bad(error.to_string()),
        (_, Err(error)) => bad(error.to_string()),
    }
}

/// The log from its beginning on. At its end it gives nothing, and may give more later.
#[derive(Debug)]
pub struct Forward {
    directory: PathBuf,
    /// Segments not read yet.
    places: VecDeque<Place>,
    current: Option<(Place, Lines)>,
    number: u64,
}

/// The log in `directory`, from the beginning on.
pub fn forward(directory: &Path) -> io::Result<Forward> {
    let places = segment::list(directory)?.into();
    Ok(Forward { directory: directory.to_owned(), places, current: None, number: 0 })
}

/// The log in `directory` from its present end on.
pub fn follow(directory: &Path) -> io::Result<Forward> {
    let mut places = segment::list(directory)?;
    let mut current = None;
    if let Some(place) = places.pop() {
        let whole = match segment::last_line(&place.path)? {
            Some((offset, _, false)) => offset,
            _ => std::fs::metadata(&place.path)?.len(),
        };
        let mut file = File::open(&place.path)?;
        file.seek(SeekFrom::Start(whole))?;
        current = Some((place, Lines::after(file, whole, 0)));
    }
    Ok(Forward { directory: directory.to_owned(), places: VecDeque::new(), current, number: 0 })
}

impl Forward {
    /// The next record, if there is one by now. Call it again after [`POLL`] to follow a live log.
    pub fn advance(&mut self) -> io::Result<Option<Read>> {
        loop {
            if self.current.is_none() && !self.open_next()? {
                return Ok(None);
            }
            // Asked before reading: what was written before the next segment began is then seen.
            let more = !self.places.is_empty() || self.look_for_more()?;
            let Some((place, lines)) = &mut self.current else { return Ok(None) };
            let before = lines.offset();
            match lines.advance()? {
                Some(line) if line.ended || line.bytes.len() > MAX_LINE => {
                    self.number = self.number.saturating_add(1);
                    return Ok(Some(parse(&place.path, line.number, line.offset, line.bytes)));
                }
                // A line that is being written; or, in a segment with a successor, one cut short.
                Some(line) if more => {
                    let read = parse(&place.path, line.number, line.offset, line.bytes);
                    self.current = None;
                    return Ok(Some(read));
                }
                Some(line) => {
                    let number = line.number.saturating_sub(1);
                    lines.rewind(before, number)?;
                    return Ok(None);
                }
                None if more => self.current = None,
                None => return Ok(None),
            }
        }
    }

    fn open_next(&mut self) -> io::Result<bool> {
        if self.places.is_empty() && !self.look_for_more()? {
            return Ok(false);
        }
        if let Some(place) = self.places.pop_front() {
            let lines = Lines::open(&place.path)?;
            self.current = Some((place, lines));
        }
        Ok(self.current.is_some())
    }

    /// Looks for segments after the one that is read; only at the end of what is there.
    fn look_for_more(&mut self) -> io::Result<bool> {
        if let Some((place, lines)) = &self.current
            && std::fs::metadata(&place.path)?.len() > lines.offset()
        {
            return Ok(false);
        }
        let after = self.current.as_ref().map(|(place, _)| place.first_seq);
        let places = segment::list(&self.directory)?;
        self.places = places.into_iter().filter(|place| Some(place.first_seq) > after).collect();
        Ok(!self.places.is_empty())
    }
}

impl Iterator for Forward {
    type Item = io::Result<Read>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// The log from its end back.
#[derive(Debug)]
pub struct Backward {
    places: Vec<Place>,
    current: Option<Block>,
}

/// The part of a segment that is in memory: everything before `begin` is still to be read.
#[derive(Debug)]
struct Block {
    path: PathBuf,
    file: File,
    begin: u64,
    bytes: Vec<u8>,
}

/// The log in `directory`, from the end back.
pub fn backward(directory: &Path) -> io::Result<Backward> {
    Ok(Backward { places: segment::list(directory)?, current: None })
}

impl Backward {
    fn advance(&mut self) -> io::Result<Option<Read>> {
        loop {
            if let Some(block) = &mut self.current {
                if let Some((offset, line)) = block.last_line()? {
                    return Ok(Some(parse(&block.path, 0, offset, &line)));
                }
                self.current = None;
            }
            let Some(place) = self.places.pop() else { return Ok(None) };
            self.current = Some(Block::open(place.path)?);
        }
    }
}

impl Iterator for Backward {
    type Item = io::Result<Read>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

impl Block {
    /// The whole lines of a file; what follows them is being written.
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = File::open(&path)?;
        let begin = match segment::last_line(&path)? {
            Some((offset, _, false)) => offset,
            Some((offset, bytes, true)) => {
                offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(0)).saturating_add(1)
            }
            None => 0,
        };
        Ok(Self { path, file, begin, bytes: Vec::new() })
    }

    fn last_line(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        loop {
            let text = self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes);
            let end = memchr::memrchr(b'\n', text);
            // A line that is longer than any record is given in pieces, so that memory stays bounded.
            let whole = end.is_some() || self.begin == 0 || text.len() > MAX_LINE;
            if whole && !self.bytes.is_empty() {
                let length = text.len();
                let cut = end.map_or(0, |at| at.saturating_add(1));
                let mut line = self.bytes.split_off(cut);
                line.truncate(length.saturating_sub(cut));
                let offset = self.begin.saturating_add(u64::try_from(cut).unwrap_or(0));
                return Ok(Some((offset, line)));
            }
            if self.begin == 0 {
                return Ok(None);
            }
            let begin = self.begin.saturating_sub(BLOCK);
            let mut bytes = Vec::new();
            self.file.seek(SeekFrom::Start(begin))?;
            (&mut self.file).take(self.begin.saturating_sub(begin)).read_to_end(&mut bytes)?;
            bytes.append(&mut self.bytes);
            (self.begin, self.bytes) = (begin, bytes);
        }
    }
}

/// One call: its decision, and its outcome when there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The decision; or another record, where one was asked for.
    pub decision: Record,
    /// The outcome.
    pub outcome: Option<Record>,
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write as _;

    use super::*;

    fn record(seq: u64) -> String {
        match seq % 2 {
            0 => format!(r#"{{"v":1,"seq":{seq},"type":"decision","id":"id-{seq}"}}"#),
            _ => format!(
                r#"{{"v":1,"seq":{seq},"type":"outcome","of":{},"id":"id-{}"}}"#,
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

    fn append(directory: &Path, first: u64, text: &str) {
        let path = directory.join("seg").join(segment::name(first));
        OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn seqs(reads: impl Iterator<Item = io::Result<Read>>) -> Vec<Option<u64>> {
        reads
            .map(|read| match read.unwrap() {
                Read::Record(record) => record.seq(),
                Read::Bad { .. } => None,
            })
            .collect()
    }

    #[test]
    fn three_segments_are_read_in_order_both_ways() {
        let directory = tempfile::tempdir().unwrap();
        for range in [0..5_000, 5_000..5_001, 5_001..12_000] {
            write(directory.path(), range);
        }
        append(directory.path(), 5_001, r#"{"v":1,"seq":12000"#);
        let expected: Vec<_> = (0..12_000).map(Some).collect();
        assert_eq!(seqs(forward(directory.path()).unwrap()), expected);
        let mut back = seqs(backward(directory.path()).unwrap());
        back.reverse();
        assert_eq!(back, expected);
    }

    #[test]
    fn a_bad_line_is_reported_with_its_place_and_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), 0..2);
        append(directory.path(), 0, "nonsense\n\n");
        append(directory.path(), 0, &"x".repeat(70_000));
        append(directory.path(), 0, &format!("\n{}\n", record(2)));
        let found: Vec<_> = forward(directory.path()).unwrap().map(Result::unwrap).collect();
        let Read::Bad { file, line, .. } = &found[2] else { panic!() };
        assert!(file.ends_with("000000000000.jsonl") && *line == 3);
        for mut found in
            [seqs(forward(directory.path()).unwrap()), seqs(backward(directory.path()).unwrap())]
        {
            found.retain(Option::is_some);
            found.sort_unstable();
            assert_eq!(found, [Some(0), Some(1), Some(2)]);
        }
    }

    #[test]
    fn a_live_log_is_followed_through_halves_of_lines_and_new_segments() {
        let directory = tempfile::tempdir().unwrap();
        let mut empty = follow(directory.path()).unwrap();
        assert_eq!(empty.advance().unwrap(), None);
        write(directory.path(), 0..3);
        let mut live = follow(directory.path()).unwrap();
        assert_eq!(live.advance().unwrap(), None);
        let line = record(3);
        let (one, two) = line.split_at(9);
        append(directory.path(), 0, one);
        assert_eq!(live.advance().unwrap(), None);
        append(directory.path(), 0, &format!("{two}\n"));
        assert_eq!(seqs(live.by_ref()), [Some(3)]);
        append(directory.path(), 0, &(record(4) + "\n"));
        write(directory.path(), 5..7);
        assert_eq!(seqs(live.by_ref()), [Some(4), Some(5), Some(6)]);
        assert_eq!(seqs(empty.by_ref()).len(), 7);
    }
}
