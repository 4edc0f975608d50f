//! Whether a log is what was signed of it, and whole (`audit.md` §6): from the files alone, with a verifier key.
//!
//! The records are read once. One thread hashes them and holds the hashes against the checkpoints and the
//! level files; another reads what they say. The first fault in the order of the log is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use super::recovery;
use super::sealer::{self, CHECKPOINT, HISTORY, VERIFIER};
use super::segment::{self, Lines};
use super::tree;
use crate::audit::merkle::{self, Edge, Hash, TILE_HEIGHT};
use crate::audit::note::{Checkpoint, Verifier};

/// So many octets of records are handed over at one time.
const CHUNK: usize = 1_024 * 1_024;
/// Chunks that may wait.
const WAITING: usize = 4;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Records that there are.
    pub records: u64,
    /// What the latest checkpoint says, and by whose key it is signed.
    pub checkpoint: Option<Checkpoint>,
    /// Earlier checkpoints that this log is a continuation of.
    pub earlier: u64,
    /// The times of the first and of the last record.
    pub times: Option<(String, String)>,
    /// Process epochs that the log tells of.
    pub epochs: u64,
    /// Calls that were let through and whose outcome nobody knows, because the process died.
    pub interrupted: u64,
    /// Calls that were let through and have no outcome yet.
    pub open: u64,
    /// Records that say that others may be missing, and how many those are at most, as far as that is known.
    pub gaps: (u64, u64),
    /// Octets behind the last whole record.
    pub torn: u64,
    /// The first thing that is not as it must be.
    pub fault: Option<Fault>,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The check that failed: V1 to V9 of `audit.md` §6.
    pub check: &'static str,
    /// The file.
    pub file: PathBuf,
    /// The line of the file, from 1, if it is about one.
    pub line: Option<u64>,
    /// The record, if it is about one.
    pub seq: Option<u64>,
    /// What is wrong.
    pub what: String,
}

/// Why nothing can be said of a log.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no checkpoint.
    #[error("`{}` has no signed checkpoint; a gate makes one when it runs", .0.display())]
    NoCheckpoint(PathBuf),
    /// There is no verifier key.
    #[error("`{}` is not a verifier key: NAME+NUMBER+KEY", .0.display())]
    NoKey(PathBuf),
    /// The thread that reads the records has ended without a word.
    #[error("the records of `{}` were not read to their end: a fault of opgate, please report it", .0.display())]
    Unread(PathBuf),
    /// The files cannot be read.
    #[error("`{}` cannot be read", .0.display())]
    Io(PathBuf, #[source] io::Error),
}

/// Whole records of one segment.
struct Chunk {
    file: Arc<Path>,
    first_line: u64,
    first_seq: u64,
    lines: Vec<u8>,
}

/// The verifier key that lies beside the log.
pub fn own_key(directory: &Path) -> Result<Verifier, VerifyError> {
    let path = directory.join(tree::DIRECTORY).join(VERIFIER);
    let text = fs::read_to_string(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => VerifyError::NoCheckpoint(directory.to_owned()),
        _ => VerifyError::Io(path.clone(), source),
    })?;
    Verifier::parse(&text).map_err(|_not| VerifyError::NoKey(path))
}

/// Verifies the log in `directory`, whose checkpoints `verifier` must have signed; also the one in the file
/// `kept`, which was kept elsewhere. `progress` is told how many records have been read.
pub fn verify(
    directory: &Path,
    verifier: &Verifier,
    kept: Option<&Path>,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, VerifyError> {
    let mut report = Report::default();
    let signed = match Signed::read(directory, verifier, kept)? {
        Ok(signed) => signed,
        Err(fault) => {
            report.fault = Some(fault);
            return Ok(report);
        }
    };
    report.checkpoint = Some(signed.latest.clone());
    let (chunks, received) = sync_channel::<Arc<Chunk>>(WAITING);
    let told = std::thread::scope(|scope| {
        let reader = scope.spawn(move || tell(&received));
        let mut hashing = Hashing::new(directory, &signed);
        let read = read(directory, &mut |chunk| {
            let chunk = Arc::new(chunk);
            // A reader that has ended has found a fault, which is told.
            let is_wanted = chunks.send(Arc::clone(&chunk)).is_ok();
            hashing.hash(&chunk);
            progress(hashing.edge.size());
            is_wanted && hashing.fault.is_none()
        });
        drop(chunks);
        let told = reader.join().map_err(|_panic| VerifyError::Unread(directory.to_owned()))?;
        read.map(|ended| (ended, hashing.end(&signed), told))
    });
    let ((ended, torn), (records, earlier, hashed), told) = told?;
    let Told { fault, .. } = &told;
    let faults = [ended, fault.clone(), hashed].into_iter().flatten();
    // A fault without a record is of the whole log: it comes last.
    report.fault = faults.min_by_key(|fault| fault.seq.unwrap_or(u64::MAX));
    (report.records, report.earlier, report.torn) = (records, earlier, torn);
    report.times = told.first.zip(told.last);
    report.epochs = told.epochs;
    report.interrupted = told.interrupted;
    report.open = u64::try_from(told.open.len()).unwrap_or(u64::MAX);
    report.gaps = told.gaps;
    Ok(report)
}

/// What was signed of the log.
struct Signed {
    path: PathBuf,
    latest: Checkpoint,
    /// The hashes that earlier checkpoints say, and the files they stand in, by their sizes.
    earlier: BTreeMap<u64, (Hash, Box<Path>)>,
}

impl Signed {
    /// V1: every checkpoint is signed, and no two of them say different things of one size.
    fn read(
        directory: &Path,
        verifier: &Verifier,
        kept: Option<&Path>,
    ) -> Result<Result<Self, Fault>, VerifyError> {
        let folder = directory.join(tree::DIRECTORY);
        let (path, history) = (folder.join(CHECKPOINT), folder.join(HISTORY));
        let note = text(&path)?.ok_or_else(|| VerifyError::NoCheckpoint(directory.to_owned()))?;
        let latest = match Checkpoint::open(&note, verifier) {
            Ok(latest) => latest,
            Err(error) => return Ok(Err(unsigned(&path, None, error.to_string()))),
        };
        let mut signed = Self { path, latest, earlier: BTreeMap::new() };
        let mut line = 1;
        for note in sealer::notes(&text(&history)?.unwrap_or_default()) {
            if let Err(what) = signed.add(note, verifier, &history) {
                return Ok(Err(unsigned(&history, Some(line), what)));
            }
            line += 1 + u64::try_from(note.lines().count()).unwrap_or(0);
        }
        if let Some(kept) = kept {
            let not_there = || VerifyError::Io(kept.to_owned(), io::ErrorKind::NotFound.into());
            let note = text(kept)?.ok_or_else(not_there)?;
            if let Err(what) = signed.add(&note, verifier, kept) {
                return Ok(Err(unsigned(kept, None, what)));
            }
        }
        Ok(Ok(signed))
    }

    /// Adds an earlier checkpoint, which stands in `file`.
    fn add(&mut self, note: &str, verifier: &Verifier, file: &Path) -> Result<(), String> {
        let Checkpoint { size, root, .. } =
            Checkpoint::open(note, verifier).map_err(|error| error.to_string())?;
        let (known, _) = self.earlier.entry(size).or_insert((root, file.into()));
        let fits = *known == root && (size != self.latest.size || root == self.latest.root);
        fits.then_some(())
            .ok_or_else(|| format!("two different logs of {size} records were signed"))
    }
}

/// The file at `path`, if there is one. What is no text is no checkpoint.
fn text(path: &Path) -> Result<Option<String>, VerifyError> {
    match fs::read(path) {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(VerifyError::Io(path.to_owned(), source)),
    }
}

fn unsigned(file: &Path, line: Option<u64>, what: String) -> Fault {
    Fault { check: "V1", file: file.to_owned(), line, seq: None, what }
}

/// Reads all segments, and hands on whole records; until `take` wants no more. What is behind the last whole
/// record is counted.
fn read(
    directory: &Path,
    take: &mut dyn FnMut(Chunk) -> bool,
) -> Result<(Option<Fault>, u64), VerifyError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| VerifyError::Io(path, source)
    };
    let places = segment::list(directory).map_err(io(directory))?;
    let mut seq = 0;
    for (n, place) in places.iter().enumerate() {
        let file: Arc<Path> = place.path.as_path().into();
        let fault = |line, seq, what: &str| Fault {
            check: "V4",
            file: place.path.clone(),
            line: Some(line),
            seq: Some(seq),
            what: what.to_owned(),
        };
        if place.first_seq != seq {
            let what =
                format!("the records {seq} to {} are missing", place.first_seq.wrapping_sub(1));
            return Ok((Some(fault(1, seq, &what)), 0));
        }
        let mut lines = Lines::open(&place.path).map_err(io(&place.path))?;
        let mut chunk =
            Chunk { file: Arc::clone(&file), first_line: 1, first_seq: seq, lines: Vec::new() };
        while let Some(line) = lines.advance().map_err(io(&place.path))? {
            if !line.ended {
                let torn = u64::try_from(line.bytes.len()).unwrap_or(u64::MAX);
                let is_last = n.saturating_add(1) == places.len();
                let number = line.number;
                take(chunk);
                let fault = (!is_last).then(|| fault(number, seq, "the line end is missing"));
                return Ok((fault, torn));
            }
            chunk.lines.extend_from_slice(line.bytes);
            chunk.lines.push(b'\n');
            seq += 1;
            if chunk.lines.len() >= CHUNK {
                let next = Chunk {
                    file: Arc::clone(&file),
                    first_line: line.number.saturating_add(1),
                    first_seq: seq,
                    lines: Vec::with_capacity(CHUNK),
                };
                if !take(std::mem::replace(&mut chunk, next)) {
                    return Ok((None, 0));
                }
            }
        }
        if !chunk.lines.is_empty() && !take(chunk) {
            return Ok((None, 0));
        }
    }
    Ok((None, 0))
}

/// V2 and V3: the hashes of the records, beside what is signed and what lies in the level files.
struct Hashing<'s> {
    edge: Edge,
    signed: &'s Signed,
    levels: Vec<(PathBuf, BufReader<File>)>,
    earlier: u64,
    fault: Option<Fault>,
}

impl<'s> Hashing<'s> {
    fn new(directory: &Path, signed: &'s Signed) -> Self {
        let folder = directory.join(tree::DIRECTORY);
        let levels = (0..u64::BITS / TILE_HEIGHT).map_while(|level| {
            let path = folder.join(level.to_string());
            let file = File::open(&path).ok()?;
            Some((path, BufReader::with_capacity(CHUNK / 4, file)))
        });
        let levels = levels.collect();
        Self { edge: Edge::default(), signed, levels, earlier: 0, fault: None }
    }

    fn hash(&mut self, chunk: &Chunk) {
        for (number, line) in (chunk.first_line..).zip(lines(&chunk.lines)) {
            let seq = self.edge.size();
            let is_sealed = seq < self.signed.latest.size;
            let (levels, mut differs) = (&mut self.levels, None);
            self.edge.push(merkle::leaf(line), |level, hash| {
                if is_sealed && level.is_multiple_of(TILE_HEIGHT) && differs.is_none() {
                    differs = differing(levels, level / TILE_HEIGHT, hash);
                }
            });
            let at = |check, file: &Path, what: String| Fault {
                check,
                file: file.to_owned(),
                line: Some(number),
                seq: Some(seq),
                what,
            };
            if let Some(level) = differs {
                let what =
                    format!("the record is not the one whose hash is in `{}`", level.display());
                self.fault.get_or_insert(at("V2", &chunk.file, what));
            }
            let size = self.edge.size();
            if let Some((root, file)) = self.signed.earlier.get(&size) {
                self.earlier += 1;
                if *root != self.edge.root() {
                    let what = format!("a signed checkpoint of {size} records says another hash");
                    self.fault.get_or_insert(at("V3", file, what));
                }
            }
            if size == self.signed.latest.size && self.edge.root() != self.signed.latest.root {
                let what = "the records do not hash to what the checkpoint says".to_owned();
                self.fault.get_or_insert(at("V2", &self.signed.path, what));
            }
            if self.fault.is_some() {
                return;
            }
        }
    }

    /// How many records there are, how many earlier checkpoints were met, and what is wrong.
    fn end(mut self, signed: &Signed) -> (u64, u64, Option<Fault>) {
        let (records, size) = (self.edge.size(), signed.latest.size);
        let latest = (size, &*signed.path);
        let earlier = signed.earlier.last_key_value().map(|(size, (_, file))| (*size, &**file));
        let (largest, file) = earlier.filter(|(other, _)| *other > size).unwrap_or(latest);
        if records < largest && self.fault.is_none() {
            self.fault = Some(Fault {
                check: "V2",
                file: file.to_owned(),
                line: None,
                seq: Some(records),
                what: format!("there are {records} records, and {largest} were signed"),
            });
        }
        (records, self.earlier, self.fault)
    }
}

/// The level file that has another hash in its next place.
fn differing(
    levels: &mut [(PathBuf, BufReader<File>)],
    level: u32,
    hash: &Hash,
) -> Option<PathBuf> {
    let place = usize::try_from(level).unwrap_or(usize::MAX);
    // A level that is not there is made again at the next start.
    let (path, file) = levels.get_mut(place)?;
    let mut own = [0; 32];
    let is_same = file.read_exact(&mut own).is_ok() && own == *hash;
    (!is_same).then(|| path.clone())
}

/// Each line of whole lines; also an empty one, which is no record and must be found.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

/// V4 to V6 and V9: what the records say of one another.
#[derive(Debug, Default)]
struct Told {
    next: u64,
    epoch: u64,
    epochs: u64,
    first: Option<String>,
    last: Option<String>,
    /// Calls that were let through, without an outcome so far.
    open: BTreeSet<u64>,
    interrupted: u64,
    gaps: (u64, u64),
    fault: Option<Fault>,
}

fn tell(chunks: &Receiver<Arc<Chunk>>) -> Told {
    let mut told = Told::default();
    while let Ok(chunk) = chunks.recv() {
        for (number, line) in (chunk.first_line..).zip(lines(&chunk.lines)) {
            if let Err((check, what)) = told.hear(line) {
                told.fault = Some(Fault {
                    check,
                    file: chunk.file.to_path_buf(),
                    line: Some(number),
                    seq: Some(
                        chunk.first_seq.saturating_add(number.saturating_sub(chunk.first_line)),
                    ),
                    what: what.to_owned(),
                });
                return told;
            }
        }
    }
    told
}

impl Told {
    fn hear(&mut self, line: &[u8]) -> Result<(), (&'static str, &'static str)> {
        let entry = recovery::judge(line).map_err(|what| ("V4", what))?;
        if entry.seq != self.next {
            return Err(("V4", "`seq` is not the place of the record"));
        }
        self.next = entry.seq.saturating_add(1);
        if entry.ep < self.epoch {
            return Err(("V5", "the epoch goes back"));
        }
        // Times are written in one form, so that their order is that of their texts.
        let is_same_epoch = entry.ep == self.epoch;
        if is_same_epoch && self.last.as_deref().is_some_and(|last| *last > *entry.ts) {
            return Err(("V4", "the time goes back"));
        }
        self.epoch = entry.ep;
        match &mut self.last {
            Some(last) => {
                last.clear();
                last.push_str(&entry.ts);
            }
            None => {
                (self.first, self.last) = (Some(entry.ts.to_string()), Some(entry.ts.to_string()));
            }
        }
        if entry.opens() {
            self.open.insert(entry.seq);
        }
        match &*entry.kind {
            "outcome" => {
                let of = entry.of.ok_or(("V6", "the outcome is of nothing"))?;
                if !self.open.remove(&of) {
                    return Err(("V6", "the outcome is of no call that was open"));
                }
                self.interrupted += u64::from(entry.result == "interrupted");
            }
            "start" => self.epochs += 1,
            "gap" => {
                self.gaps.0 += 1;
                self.gaps.1 = self.gaps.1.saturating_add(entry.at_most.unwrap_or(0));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
