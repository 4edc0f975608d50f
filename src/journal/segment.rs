//! Segments: the files of the log, `seg/000000000000.jsonl` (`audit.md` §3), and their lines.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::audit::line::MAX_LINE;

/// The directory of the segments, below that of the log.
pub const DIRECTORY: &str = "seg";

const SUFFIX: &str = ".jsonl";
const BUFFER: usize = 256 * 1024;
/// A line of the greatest length, its line end, and one byte that proves that it is longer.
const LINE_BOUND: u64 = 65_537;
const _: () = assert!(MAX_LINE + 2 == 65_537, "the bound follows the longest line");

/// A segment by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The `seq` of its first line.
    pub first_seq: u64,
    /// The file.
    pub path: PathBuf,
}

/// The name of the segment that begins with `first_seq`.
pub fn name(first_seq: u64) -> String {
    format!("{first_seq:012}{SUFFIX}")
}

/// The segments of the log in `directory`, in the order of the log. None when there is no log.
pub fn list(directory: &Path) -> io::Result<Vec<Place>> {
    let entries = match fs::read_dir(directory.join(DIRECTORY)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut places = Vec::new();
    for entry in entries {
        let entry = entry?;
        let first_seq = entry.file_name().to_str().and_then(first_seq);
        if let Some(first_seq) = first_seq {
            places.push(Place { first_seq, path: entry.path() });
        }
    }
    places.sort_unstable_by_key(|place| place.first_seq);
    Ok(places)
}

fn first_seq(file: &str) -> Option<u64> {
    let seq = file.strip_suffix(SUFFIX)?.parse().ok()?;
    (name(seq) == file).then_some(seq)
}

/// A line as it stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Bytes of the file before it.
    pub offset: u64,
    /// Its number, from 1; 0 where reading did not begin with the file.
    pub number: u64,
    /// Its bytes, without the line end, and at most one more than a record may have.
    pub bytes: &'a [u8],
    /// Whether its line end is there.
    pub ended: bool,
}

/// The lines of a file from its beginning on, in bounded memory.
#[derive(Debug)]
pub struct Lines {
    file: BufReader<File>,
    offset: u64,
    number: u64,
    buffer: Vec<u8>,
}

impl Lines {
    /// The lines of the file at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::after(File::open(path)?, 0, 0))
    }

    /// The lines of `file`, which stands at `offset`, after `number` lines.
    pub fn after(file: File, offset: u64, number: u64) -> Self {
        Self { file: BufReader::with_capacity(BUFFER, file), offset, number, buffer: Vec::new() }
    }

    /// Bytes that were read.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes back to `offset`, the beginning of the line after the first `number`.
    pub fn rewind(&mut self, offset: u64, number: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        (self.offset, self.number) = (offset, number);
        Ok(())
    }

    /// The next line, or what stands after the last line end; `None` at the end of the file.
    ///
    /// A longer line than a record may have is given in pieces, the first of which already shows that
    /// it is too long.
    pub fn advance(&mut self) -> io::Result<Option<Line<'_>>> {
        self.buffer.clear();
        let read = (&mut self.file).take(LINE_BOUND).read_until(b'\n', &mut self.buffer)?;
        if read == 0 {
            return Ok(None);
        }
        let offset = self.offset;
        self.offset = offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        self.number = self.number.saturating_add(1);
        let (bytes, ended) = match self.buffer.strip_suffix(b"\n") {
            Some(bytes) => (bytes, true),
            None => (self.buffer.as_slice(), false),
        };
        Ok(Some(Line { offset, number: self.number, bytes, ended }))
    }
}

/// The last line of the file at `path`, with its offset and whether its line end is there, found without
/// reading the lines before it. `None` when the file is empty.
pub fn last_line(path: &Path) -> io::Result<Option<(u64, Vec<u8>, bool)>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let begin = length.saturating_sub(LINE_BOUND.saturating_add(1));
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.take(LINE_BOUND.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let ended = bytes.last() == Some(&b'\n');
    if ended {
        bytes.pop();
    }
    let cut = memchr::memrchr(b'\n', &bytes).map_or(0, |at| at.saturating_add(1));
    let offset = begin.saturating_add(u64::try_from(cut).unwrap_or(u64::MAX));
    Ok(Some((offset, bytes.split_off(cut), ended)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_listed_by_number_and_strangers_are_left_out() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(list(directory.path()).unwrap(), []);
        let seg = directory.path().join(DIRECTORY);
        fs::create_dir(&seg).unwrap();
        let names = ["1000000000000.jsonl", "000000000000.jsonl", "000000000009.jsonl"];
        for file in
            names.iter().chain(&["9.jsonl", "x.jsonl", "000000000000.idx", "+00000000001.jsonl"])
        {
            fs::write(seg.join(file), "").unwrap();
        }
        let found: Vec<_> = list(directory.path()).unwrap().iter().map(|p| p.first_seq).collect();
        assert_eq!(found, [0, 9, 1_000_000_000_000]);
    }

    #[test]
    fn the_last_line_is_found_from_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        let long = "x".repeat(MAX_LINE);
        for (text, expected) in [
            (String::new(), None),
            ("a\nbc\n".to_owned(), Some((2, "bc".to_owned(), true))),
            ("a\nbc".to_owned(), Some((2, "bc".to_owned(), false))),
            ("abc\n".to_owned(), Some((0, "abc".to_owned(), true))),
            (format!("a\n{long}\n"), Some((2, long, true))),
        ] {
            fs::write(&path, &text).unwrap();
            let found = last_line(&path).unwrap();
            assert_eq!(found.map(|(o, b, e)| (o, String::from_utf8(b).unwrap(), e)), expected);
        }
    }
}
