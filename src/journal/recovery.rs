//! What the log on disk says about how its writer ended, and the one repair that is safe: cutting off
//! what was never acknowledged (`audit.md` §6).
//!
//! Everything else that does not fit is damage, and damage is never repaired in place: the log is set
//! aside whole, and a fresh one begins with a record that says so.

mod brief;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::Deserialize;

use crate::audit::line::{MAX_LINE, Members};
use crate::audit::record::{Body as _, Gap};
use crate::model::time::Timestamp;

use self::brief::{Brief, Form};
use super::sealer::{CHECKPOINT, SealError};
use super::segment::{self, Lines, Place};
use super::tree;

/// The most that one write of the journal holds. A write that the power cut short can leave holes within
/// its bytes, so this much of the end of the log may be torn.
pub const MAX_WRITE: u64 = 1024 * 1024;

/// The most calls without an outcome that are remembered, the oldest first.
pub const MAX_OPEN: usize = 100_000;

/// How many segments are read at one time.
const AT_ONCE: usize = 2;

/// A fresh log that is about to take the place of a damaged one.
const FRESH: &str = "seg.new";

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log contradicts itself where no cut-short write can be the cause.
    #[error(
        "the audit log is damaged: `{}` line {line} (byte {offset}): {what}; `opgate audit recover` sets the damaged log aside untouched and begins a fresh one that says so",
        file.display()
    )]
    Corrupt {
        /// The segment.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Bytes of the file before the line.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The file system refuses.
    #[error("cannot read or mend the audit log at `{}`", path.display())]
    Io {
        /// What was asked for.
        path: PathBuf,
        /// Why it was refused.
        #[source]
        source: io::Error,
    },
    /// The log is not what was signed of it.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Another process writes this log.
    #[error("the audit log at `{}` is in use by another process", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
    },
}

impl OpenError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// A call that was let through and has no outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCall {
    /// The `seq` of its decision.
    pub seq: u64,
    /// The decision's id.
    pub id: Box<str>,
}

/// The segment to go on writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The file.
    pub path: PathBuf,
    /// Bytes of whole lines: the file's length.
    pub length: u64,
    /// The `seq` of its first line, whether that is there already or not.
    pub first_seq: u64,
    /// The time of its first line, or of its making while it is empty. An empty segment must not be
    /// rotated away, however old: its successor would have the same name.
    pub began: Timestamp,
}

/// Where the log ends and what its last writer left undone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The place of the next line.
    pub next_seq: u64,
    /// The process epoch to begin.
    pub next_epoch: u64,
    /// Whether the last epoch ended with a `stop`; `None` when there is no log yet.
    pub previous_clean: Option<bool>,
    /// Lines cut off the end, the last one unfinished or not.
    pub lines_cut: u64,
    /// Bytes of them.
    pub bytes_cut: u64,
    /// Calls without an outcome, in the order of the log.
    pub open_calls: Vec<OpenCall>,
    /// The time of the last line; zero when there is none.
    pub last: Timestamp,
    /// The segment to go on writing, if there is one.
    pub segment: Option<Segment>,
}

/// Takes the lock of the log in `directory`, which is held until the file is closed.
pub fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .map_err(OpenError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::Locked { path }),
        Err(fs::TryLockError::Error(source)) => Err(OpenError::Io { path, source }),
    }
}

/// Reads the end of the log in `directory`, cuts off what was never acknowledged, and says where to go on.
///
/// The caller holds the lock. The segment to go on is read whole; of earlier ones the last line, and
/// the rest only as far back as the last epoch reaches.
pub fn recover(directory: &Path) -> Result<Recovered, OpenError> {
    finish_quarantine(directory).map_err(OpenError::io(directory))?;
    let places = segment::list(directory).map_err(OpenError::io(directory))?;
    let Some((current, earlier)) = places.split_last() else {
        return Ok(Recovered { next_epoch: 1, ..Recovered::default() });
    };
    check_chain(&places)?;
    let mut calls = Calls::default();
    let scan = scan(current, &mut calls)?;
    cut(&current.path, &scan).map_err(OpenError::io(&current.path))?;
    let last = match scan.last {
        None => earlier.last().map(read_last).transpose()?,
        last => last,
    };
    let signed = signed(directory);
    let others = places.iter().zip(places.iter().skip(1));
    let others: Vec<_> = others.map(|(place, next)| (place, next.first_seq <= signed)).collect();
    // One segment too many may be read, which then says nothing.
    for places in others.rchunks(AT_ONCE) {
        if calls.complete {
            break;
        }
        for skimmed in skim_all(places) {
            if !calls.complete {
                calls.join(skimmed?);
            }
        }
    }
    let began = scan.began.map_or_else(|| made(&current.path), Ok);
    Ok(Recovered {
        next_seq: scan.next_seq,
        next_epoch: last.as_ref().map_or(0, |last| last.epoch).saturating_add(1),
        previous_clean: last.as_ref().map(|last| last.stop),
        lines_cut: scan.lines_cut,
        bytes_cut: scan.length.saturating_sub(scan.whole),
        open_calls: calls.open(),
        last: last.map(|last| last.ts).unwrap_or_default(),
        segment: Some(Segment {
            path: current.path.clone(),
            length: scan.whole,
            first_seq: current.first_seq,
            began: began.map_err(OpenError::io(&current.path))?,
        }),
    })
}

/// The members of a line that recovery judges by; all others are skipped.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Entry<'a> {
    v: u64,
    pub(super) seq: u64,
    #[serde(borrow)]
    pub(super) ts: Cow<'a, str>,
    #[serde(borrow, default)]
    log: Cow<'a, str>,
    pub(super) ep: u64,
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    decision: Cow<'a, str>,
    #[serde(borrow, default)]
    mode: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) result: Cow<'a, str>,
    pub(super) of: Option<u64>,
    pub(super) at_most: Option<u64>,
    recovered: Option<Interrupted>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
struct Interrupted {
    interrupted: u64,
}

impl Entry<'_> {
    pub(super) fn opens(&self) -> bool {
        self.kind == "decision" && (self.decision == "allow" || self.mode == "observe")
    }
}

/// What must be known of the last line of the log.
#[derive(Clone, Debug)]
struct Last {
    seq: u64,
    epoch: u64,
    ts: Timestamp,
    stop: bool,
    log: Box<str>,
}

pub(super) fn judge(line: &[u8]) -> Result<Entry<'_>, &'static str> {
    if line.len() > MAX_LINE {
        return Err("line too long");
    }
    // An array is read as a struct, too.
    if line.first() != Some(&b'{') {
        return Err("not a record");
    }
    let Ok(entry) = serde_json::from_slice::<Entry<'_>>(line) else {
        return Err("not a record");
    };
    if entry.v == 1 { Ok(entry) } else { Err("unknown version") }
}

fn last(entry: &Entry<'_>) -> Result<Last, &'static str> {
    Ok(Last {
        seq: entry.seq,
        epoch: entry.ep,
        ts: timestamp(&entry.ts).ok_or("`ts` is not a time")?,
        stop: entry.kind == "stop",
        log: entry.log.as_ref().into(),
    })
}

/// A time as it stands in a record.
pub fn timestamp(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_microsecond()).ok().map(Timestamp::from_micros)
}

/// Which calls are open, gathered from the last segment backwards, and forwards within each.
#[derive(Debug, Default)]
struct Calls {
    open: BTreeMap<u64, Box<str>>,
    /// Calls of segments not read yet that this one, or a later one, closes.
    closed: HashSet<u64>,
    /// Outcomes written by an epoch for the one before it, since its `start`.
    interrupted: u64,
    /// Such outcomes that the `start` announced.
    announced: u64,
    started: bool,
    /// Whether everything back to the beginning of the last epoch was read, and that epoch has closed
    /// the calls of the one before it.
    complete: bool,
}

impl Calls {
    fn see(&mut self, entry: &Entry<'_>) {
        if entry.opens() {
            self.opened(entry.seq, &entry.id);
        } else if entry.kind == "outcome" {
            self.interrupted =
                self.interrupted.saturating_add((entry.result == "interrupted").into());
            if let Some(of) = entry.of {
                self.ended(of);
            }
        } else if entry.kind == "start" {
            self.started = true;
            self.interrupted = 0;
            self.announced = entry.recovered.map_or(0, |recovered| recovered.interrupted);
        }
    }

    fn hear(&mut self, seq: u64, brief: Brief<'_>) {
        match brief {
            Brief::Closes(of) => self.ended(of),
            Brief::Neither => {}
            Brief::Opens(id) => self.opened(seq, id),
        }
    }

    fn opened(&mut self, seq: u64, id: &str) {
        if !self.closed.remove(&seq) {
            self.open.insert(seq, id.into());
        }
        if self.open.len() > MAX_OPEN {
            self.open.pop_last();
        }
    }

    fn ended(&mut self, of: u64) {
        if self.open.remove(&of).is_none() && self.closed.len() < MAX_OPEN {
            self.closed.insert(of);
        }
    }

    /// Adds what an earlier segment says, which was read by itself.
    fn join(&mut self, earlier: Self) {
        for (seq, id) in earlier.open {
            self.opened(seq, &id);
        }
        for of in earlier.closed {
            self.ended(of);
        }
        self.complete |= earlier.complete;
    }

    /// Ends a segment. When its last epoch began in it and died before it had closed the calls of the
    /// epoch before, those calls stand further back, and the search goes on.
    fn end_segment(&mut self) {
        self.complete |= self.started && self.interrupted >= self.announced;
        self.started = false;
    }

    fn open(self) -> Vec<OpenCall> {
        self.open.into_iter().map(|(seq, id)| OpenCall { seq, id }).collect()
    }
}

/// What one segment holds.
#[derive(Debug)]
struct Scan {
    /// Bytes of the file.
    length: u64,
    /// Bytes of its whole lines.
    whole: u64,
    lines_cut: u64,
    next_seq: u64,
    began: Option<Timestamp>,
    last: Option<Last>,
}

/// Reads the segment that was written last and checks that it follows from its name line by line. Only it may
/// end torn.
fn scan(place: &Place, calls: &mut Calls) -> Result<Scan, OpenError> {
    let io = |source| OpenError::Io { path: place.path.clone(), source };
    let length = fs::metadata(&place.path).map_err(io)?.len();
    let mut lines = Lines::open(&place.path).map_err(io)?;
    let mut scan =
        Scan { length, whole: 0, lines_cut: 0, next_seq: place.first_seq, began: None, last: None };
    let mut epoch = 0;
    let mut last_line = Vec::new();
    while let Some(line) = lines.advance().map_err(io)? {
        // A writer acknowledges nothing before all of it is on the disk. So what lacks its line end,
        // or holds a block that never came to the disk, was not acknowledged.
        let hole = length.saturating_sub(line.offset) <= MAX_WRITE
            && memchr::memchr(0, line.bytes).is_some();
        if hole || (!line.ended && line.bytes.len() <= MAX_LINE) {
            scan.lines_cut = 1;
            break;
        }
        let entry = follows(line.bytes, line.ended, scan.next_seq, epoch);
        let entry = entry.and_then(|entry| {
            if scan.began.is_none() {
                scan.began = Some(timestamp(&entry.ts).ok_or("`ts` is not a time")?);
            }
            Ok(entry)
        });
        let entry = entry.map_err(|what| corrupt(place, line.number, line.offset, what))?;
        calls.see(&entry);
        scan.next_seq = scan.next_seq.saturating_add(1);
        epoch = entry.ep;
        last_line.clear();
        last_line.extend_from_slice(line.bytes);
        scan.whole = lines.offset();
    }
    while scan.lines_cut > 0 && lines.advance().map_err(io)?.is_some() {
        scan.lines_cut = scan.lines_cut.saturating_add(1);
    }
    if !last_line.is_empty() {
        let entry = judge(&last_line).and_then(|entry| last(&entry));
        scan.last = Some(entry.map_err(|what| corrupt(place, 0, scan.whole, what))?);
    }
    calls.end_segment();
    Ok(scan)
}

/// How many records are signed, as the checkpoint says. Whether it is to be believed, the sealer asks before
/// anything is served.
fn signed(directory: &Path) -> u64 {
    let note = fs::read_to_string(directory.join(tree::DIRECTORY).join(CHECKPOINT));
    let size = |note: String| note.lines().nth(1)?.parse().ok();
    note.ok().and_then(size).unwrap_or(0)
}

/// Reads a segment that others follow, for the calls that are open, and checks that it follows from its name.
/// What has the form that the writer gives it is not taken apart; and where its hash is signed, not read
/// further.
fn skim(place: &Place, is_signed: bool) -> Result<Calls, OpenError> {
    let mut calls = Calls::default();
    let io = |source| OpenError::Io { path: place.path.clone(), source };
    let mut lines = Lines::open(&place.path).map_err(io)?;
    let (mut seq, mut epoch, mut form) = (place.first_seq, 0, None::<Form>);
    while let Some(line) = lines.advance().map_err(io)? {
        let known = form.as_ref().filter(|_| line.ended);
        let brief = known.and_then(|form| form.read(line.bytes, seq));
        if let Some(brief) = brief.filter(|_| is_signed || brief::is_json(line.bytes)) {
            calls.hear(seq, brief);
        } else {
            let entry = follows(line.bytes, line.ended, seq, epoch)
                .map_err(|what| corrupt(place, line.number, line.offset, what))?;
            calls.see(&entry);
            epoch = entry.ep;
            form = Form::of(line.bytes, &entry);
        }
        seq = seq.saturating_add(1);
    }
    calls.end_segment();
    Ok(calls)
}

/// What segments say that others follow, the last of them first. Each has a thread, since a start waits for it.
fn skim_all(places: &[(&Place, bool)]) -> Vec<Result<Calls, OpenError>> {
    std::thread::scope(|scope| {
        let skim = |(place, is_signed)| (place, scope.spawn(move || skim(place, is_signed)));
        let all: Vec<_> = places.iter().rev().copied().map(skim).collect();
        let ended = || io::Error::other("a thread that read the log ended early");
        let told = all.into_iter().map(|(place, one)| {
            let path = || place.path.clone();
            one.join().unwrap_or_else(|_| Err(OpenError::Io { path: path(), source: ended() }))
        });
        told.collect()
    })
}

fn follows(line: &[u8], ended: bool, next_seq: u64, epoch: u64) -> Result<Entry<'_>, &'static str> {
    let entry = judge(line)?;
    if !ended {
        return Err("the line end is missing");
    }
    if entry.seq != next_seq {
        return Err("seq is not dense");
    }
    if entry.ep < epoch {
        return Err("epoch goes back");
    }
    Ok(entry)
}

fn corrupt(place: &Place, line: u64, offset: u64, what: impl Into<String>) -> OpenError {
    OpenError::Corrupt { file: place.path.clone(), line, offset, what: what.into() }
}

/// The last line of a segment that is not the last one, which must be whole.
fn read_last(place: &Place) -> Result<Last, OpenError> {
    let found = segment::last_line(&place.path).map_err(OpenError::io(&place.path))?;
    let Some((offset, bytes, ended)) = found else {
        return Err(corrupt(place, 1, 0, "the segment is empty and others follow it"));
    };
    let read = if ended { judge(&bytes) } else { Err("the line end is missing") };
    read.and_then(|entry| last(&entry)).map_err(|what| {
        let line = number_at(&place.path, offset).unwrap_or(0);
        corrupt(place, line, offset, what)
    })
}

/// The number of the line at `offset`.
fn number_at(path: &Path, offset: u64) -> io::Result<u64> {
    let mut lines = Lines::open(path)?;
    while let Some(line) = lines.advance()? {
        if line.offset >= offset {
            return Ok(line.number);
        }
    }
    Ok(0)
}

/// Checks that the log begins with 0 and that no segment is missing in it.
fn check_chain(places: &[Place]) -> Result<(), OpenError> {
    if let Some(first) = places.first().filter(|first| first.first_seq != 0) {
        let what =
            format!("the log begins with seq {}, what was before is missing", first.first_seq);
        return Err(corrupt(first, 1, 0, what));
    }
    for (place, next) in places.iter().zip(places.iter().skip(1)) {
        let seq = read_last(place)?.seq;
        if seq.checked_add(1) != Some(next.first_seq) {
            let what = format!(
                "the segment before ends with seq {seq}, this one begins with {}",
                next.first_seq
            );
            return Err(corrupt(next, 1, 0, what));
        }
    }
    Ok(())
}

/// Cuts off what follows the whole lines. After a crash here the next start cuts again.
fn cut(path: &Path, scan: &Scan) -> io::Result<()> {
    if scan.whole == scan.length {
        return Ok(());
    }
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(scan.whole)?;
    file.sync_all()
}

/// When the file was made, as far as the file system knows.
fn made(path: &Path) -> io::Result<Timestamp> {
    let since_epoch =
        fs::metadata(path)?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Timestamp::from_micros(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)))
}

/// Sets the log in `directory` aside, untouched, as `damaged-<time>/`, and begins a fresh one, whose first
/// record is a `gap` that names it. Returns where the old log is. The caller holds the lock.
pub fn quarantine(directory: &Path, now: Timestamp) -> io::Result<PathBuf> {
    finish_quarantine(directory)?;
    let aside = format!("damaged-{}", now.to_string().replace([':', '-'], ""));
    write_fresh(directory, now, &aside)?;
    // Died here: the old log still stands, and `seg.new` is removed at the next start.
    let target = directory.join(&aside);
    DirBuilder::new().mode(0o700).create(&target)?;
    fs::rename(directory.join(segment::DIRECTORY), target.join(segment::DIRECTORY))?;
    // Died here: the tree says that there were more records, and the next start refuses until the log is set
    // aside again.
    let tree = directory.join(tree::DIRECTORY);
    if tree.try_exists()? {
        fs::rename(tree, target.join(tree::DIRECTORY))?;
    }
    sync_directory(&target)?;
    sync_directory(directory)?;
    // Died here: there is no log but `seg.new`, which the next start puts in its place.
    finish_quarantine(directory)?;
    Ok(target)
}

/// Writes the fresh log beside the damaged one, durably. It goes on with the epochs of the old log where
/// its end can be read.
fn write_fresh(directory: &Path, now: Timestamp, aside: &str) -> io::Result<()> {
    let fresh = directory.join(FRESH);
    let before = last_readable(directory)?;
    let from = before.as_ref().map_or(now, |before| before.ts);
    let mut line = vec![b'{'];
    let mut prefix = Members::new(&mut line);
    prefix.number("v", 1);
    prefix.number("seq", 0);
    prefix.text("ts", &now.to_string());
    prefix
        .optional("log", before.as_ref().map(|before| &*before.log).filter(|log| !log.is_empty()));
    prefix.number("ep", before.as_ref().map_or(0, |before| before.epoch));
    line.push(b',');
    let gap = Gap { at_most: None, from, to: now, why: "damaged", set_aside: Some(aside) };
    gap.write(&mut line);
    line.extend_from_slice(b"}\n");
    DirBuilder::new().mode(0o700).create(&fresh)?;
    let path = fresh.join(segment::name(0));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&line)?;
    file.sync_all()?;
    sync_directory(&fresh)
}

/// The last line of the log that is one.
fn last_readable(directory: &Path) -> io::Result<Option<Last>> {
    for place in segment::list(directory)?.iter().rev() {
        let mut lines = Lines::open(&place.path)?;
        let mut found = None;
        while let Some(line) = lines.advance()? {
            if let Ok(read) = judge(line.bytes).and_then(|entry| last(&entry)) {
                found = Some(read);
            }
        }
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Brings a quarantine that a crash cut short to one of its two ends.
fn finish_quarantine(directory: &Path) -> io::Result<()> {
    let (log, fresh) = (directory.join(segment::DIRECTORY), directory.join(FRESH));
    if !fresh.try_exists()? {
        return Ok(());
    }
    if log.try_exists()? {
        fs::remove_dir_all(&fresh)?;
    } else {
        fs::rename(&fresh, &log)?;
    }
    sync_directory(directory)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests;
