//! Finding a line in a segment without reading those before it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use memchr::memchr;

use crate::audit::line::MAX_LINE;

/// The offset of the first line of which `is_there` says so, where it does of every line behind it; `None` where
/// there is none, or where a line is none that can be asked.
pub(super) fn first(
    file: &File,
    end: u64,
    is_there: &dyn Fn(&[u8]) -> Option<bool>,
) -> io::Result<Option<u64>> {
    // It is not so of the lines that begin before `low`, and it is of those from `high` on.
    let (mut low, mut high, mut found) = (0, end, None);
    while low < high {
        let middle = low.midpoint(high);
        let at = begin_of_line(file, middle, high)?;
        // What has no line end is being written, and no line yet.
        let line = at.map(|at| line_from(file, at)).transpose()?.flatten();
        let (Some(at), Some(line)) = (at, line) else {
            high = middle;
            continue;
        };
        match is_there(&line) {
            None => return Ok(None),
            Some(true) => (high, found) = (middle, Some(at)),
            Some(false) => low = at.saturating_add(length(&line)).saturating_add(1),
        }
    }
    Ok(found)
}

/// Where the first line at or behind `from` begins, before `end`.
pub(super) fn begin_of_line(file: &File, from: u64, end: u64) -> io::Result<Option<u64>> {
    let mut at = from.saturating_sub(1);
    let mut bytes = vec![0; MAX_LINE];
    // The file begins with a line.
    while from > 0 && at < end {
        let read = read_at(file, &mut bytes, at)?;
        let read = bytes.get(..read).unwrap_or_default();
        if let Some(newline) = memchr(b'\n', read) {
            let begin = at.saturating_add(u64::try_from(newline).unwrap_or(u64::MAX)) + 1;
            return Ok((begin < end).then_some(begin));
        }
        if read.is_empty() {
            return Ok(None);
        }
        at = at.saturating_add(length(read));
    }
    Ok((from == 0 && end > 0).then_some(0))
}

/// The line that begins at `offset`, without its line end, or as much of it as shows that it is too long; `None`
/// where the line end is not there yet.
pub(super) fn line_from(file: &File, offset: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; MAX_LINE + 1];
    let read = read_at(file, &mut bytes, offset)?;
    let is_cut = read < bytes.len();
    bytes.truncate(read);
    match memchr(b'\n', &bytes) {
        Some(end) => bytes.truncate(end),
        None if is_cut => return Ok(None),
        None => {}
    }
    Ok(Some(bytes))
}

/// Reads until `bytes` are full or the file ends.
pub(super) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let at = offset.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
        match file.read_at(rest, at) {
            Ok(0) => break,
            Ok(read) => filled = filled.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

pub(super) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_line_is_found_by_halves_wherever_it_stands(
            lengths in proptest::collection::vec(0_usize..200, 0..60), wanted in 0_usize..64,
        ) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("lines");
            let line = |(n, length): (usize, &usize)| format!("{n} {}\n", "x".repeat(*length));
            let lines: Vec<_> = lengths.iter().enumerate().map(line).collect();
            fs::write(&path, lines.concat()).unwrap();
            let file = File::open(&path).unwrap();
            let end = file.metadata().unwrap().len();
            let number = |line: &[u8]| {
                let number = str::from_utf8(line).unwrap().split(' ').next().unwrap();
                number.parse::<usize>().unwrap()
            };
            let found = first(&file, end, &|line| Some(number(line) >= wanted)).unwrap();
            let before: usize = lines.iter().take(wanted).map(String::len).sum();
            let expected = (wanted < lines.len()).then(|| u64::try_from(before).unwrap());
            prop_assert_eq!(found, expected);
        }
    }
}
