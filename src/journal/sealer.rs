//! The sealer: follows the durable part of the log, hashes its records into the tree, and signs what the log
//! has come to (`audit.md` §4, §6). It is never on the way of a call.
//!
//! Where the tree ends is where sealing goes on, at a start as at any other moment:
//!
//! | step | what is true after a crash there |
//! |---|---|
//! | the records are durable | they are sealed after the next start |
//! | their hashes are written | what is behind the checkpoint is cut off at the start and made again |
//! | the hashes are durable | the same |
//! | the checkpoint stands in the history | it is one that will be made again: the records of it are durable |
//! | the checkpoint is published | a log with fewer or other records than these is refused |

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::key_file;
use super::segment::{self, Lines};
use super::tree::{self, Levels};
use crate::audit::merkle::{self, Edge};
use crate::audit::note::{Checkpoint, Signer, Verifier};
use crate::model::hex::unhex;
use crate::model::time::Timestamp;
use crate::runtime::file;

/// The latest checkpoint, below [`tree::DIRECTORY`].
pub const CHECKPOINT: &str = "checkpoint";
/// Checkpoints that there were, one a minute, one after another, each ended by an empty line.
pub const HISTORY: &str = "checkpoints";
/// The verifier key: what an auditor needs beside a copy of the log.
pub const VERIFIER: &str = "verifier";
/// The signing key, where the configuration names no other place.
const KEY: &str = "key";
/// The name of the log, which no other log has.
const ORIGIN: &str = "origin";

/// So many hashes are written at once at the most.
const CHUNK: u64 = 65_536;

/// Why a log cannot be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The log has less than it had.
    #[error(
        "the audit log was rolled back: it has {records} records, and its checkpoint `{}` says that there were {size}; {RECOVER}",
        checkpoint.display()
    )]
    RolledBack {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// Records that there are.
        records: u64,
        /// Records that there were.
        size: u64,
    },
    /// The log is not the one that was signed.
    #[error("the audit log was changed: its records do not hash to what `{}` says; {RECOVER}", checkpoint.display())]
    Changed {
        /// The checkpoint.
        checkpoint: PathBuf,
    },
    /// The checkpoint is not this gate's.
    #[error("the checkpoint `{}` is not to be believed: {why}; {RECOVER}", checkpoint.display())]
    Foreign {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The key cannot be used.
    #[error("the signing key `{}` is not 32 bytes in hexadecimal", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The file system refuses.
    #[error("the tree of the audit log cannot be read or written")]
    Io(#[from] io::Error),
}

const RECOVER: &str = "`opgate audit recover` sets the log aside untouched and begins a fresh one that says so; `opgate audit verify` says what is wrong with it";

/// The end of the tree, and what goes on from there.
#[derive(Debug)]
pub struct Sealer {
    directory: PathBuf,
    signer: Signer,
    levels: Levels,
    edge: Edge,
    /// The segment that is read.
    lines: Option<Lines>,
}

impl Sealer {
    /// The sealer of the log in `directory`, which has `records` records, with the signing key in `key` or, if
    /// there is none, beside the tree; it is made if it is not there. What was signed must still be so.
    pub fn open(
        directory: &Path,
        key: Option<&Path>,
        (name, now): (&str, Timestamp),
        records: u64,
    ) -> Result<Self, SealError> {
        let folder = directory.join(tree::DIRECTORY);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let signer = signer(&folder, key, (name, now))?;
        let verifier = signer.verifier();
        let checkpoint = published(&folder, &verifier)?;
        let size = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
        let path = folder.join(CHECKPOINT);
        if size > records {
            return Err(SealError::RolledBack { checkpoint: path, records, size });
        }
        let is_signed = |edge: &Edge| checkpoint.as_ref().is_none_or(|one| one.root == edge.root());
        let known = Levels::open(directory, size)
            .and_then(|levels| Ok((Edge::of(size, &levels)?, levels)))
            .ok()
            .filter(|(edge, _)| is_signed(edge));
        let has_hashes = known.is_some();
        let (edge, levels) = match known {
            Some(known) => known,
            None => (Edge::default(), Levels::open(directory, 0)?),
        };
        let mut sealer =
            Self { directory: directory.to_owned(), signer, levels, edge, lines: None };
        if !has_hashes {
            // The hashes are not those of the checkpoint. If the records are, the hashes are made again.
            tracing::warn!("the tree of the audit log is made again from its records");
            sealer.hash(size)?;
            if !is_signed(&sealer.edge) {
                return Err(SealError::Changed { checkpoint: path });
            }
        }
        // Not before: a start that is refused leaves everything as it was for those who look into it.
        file::replace(&folder.join(VERIFIER), format!("{verifier}\n").as_bytes())?;
        Ok(sealer)
    }

    /// How many records are sealed.
    pub const fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Seals the records before `until`, all of which are durable, and publishes a checkpoint, which is also
    /// kept in the history where `keep` says so. After a failure the sealer is to be opened again.
    pub fn seal(&mut self, until: u64, keep: bool) -> io::Result<()> {
        if self.edge.size() >= until {
            return Ok(());
        }
        self.hash(until)?;
        let checkpoint = Checkpoint {
            origin: self.signer.verifier().name().into(),
            size: self.edge.size(),
            root: self.edge.root(),
        };
        let note = self.signer.sign(&checkpoint.to_string());
        let folder = self.directory.join(tree::DIRECTORY);
        if keep {
            let mut options = OpenOptions::new();
            let mut history =
                options.append(true).create(true).mode(0o600).open(folder.join(HISTORY))?;
            history.write_all(format!("{note}\n").as_bytes())?;
            history.sync_data()?;
        }
        file::replace(&folder.join(CHECKPOINT), note.as_bytes())
    }

    /// Hashes the records before `until`, and makes the hashes durable.
    fn hash(&mut self, until: u64) -> io::Result<()> {
        while self.edge.size() < until {
            let leaf = self.next()?;
            let (edge, levels) = (&mut self.edge, &mut self.levels);
            let mut kept = Ok(());
            edge.push(leaf, |level, hash| {
                if kept.is_ok() {
                    kept = levels.keep(level, hash);
                }
            });
            kept?;
            if self.edge.size().is_multiple_of(CHUNK) {
                self.levels.write()?;
            }
        }
        self.levels.write()?;
        self.levels.sync()
    }

    /// The hash of the first record that is not sealed. It is durable, so that it is there.
    fn next(&mut self) -> io::Result<merkle::Hash> {
        let seq = self.edge.size();
        loop {
            if let Some(lines) = &mut self.lines
                && let Some(line) = lines.advance()?
            {
                if !line.ended {
                    return Err(io::Error::other(format!("the record {seq} has no line end")));
                }
                return Ok(merkle::leaf(line.bytes));
            }
            let places = segment::list(&self.directory)?;
            let place = places.iter().rev().find(|place| place.first_seq <= seq);
            let lost = || io::Error::other(format!("the record {seq} is not in the log"));
            let place = place.ok_or_else(lost)?;
            // At the end of a segment the next one begins with this record.
            if self.lines.is_some() && place.first_seq != seq {
                return Err(lost());
            }
            let mut lines = Lines::open(&place.path)?;
            for _ in place.first_seq..seq {
                lines.advance()?.ok_or_else(lost)?;
            }
            self.lines = Some(lines);
        }
    }
}

/// The published checkpoint; none where nothing was ever published.
fn published(folder: &Path, verifier: &Verifier) -> Result<Option<Checkpoint>, SealError> {
    let path = folder.join(CHECKPOINT);
    let foreign = |why: String| SealError::Foreign { checkpoint: path.clone(), why };
    let note = match fs::read_to_string(&path) {
        Ok(note) => note,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if folder.join(HISTORY).try_exists()? {
                // The first of all is published behind its place in the history.
                let history = fs::read_to_string(folder.join(HISTORY))?;
                if notes(&history).count() > 1 {
                    return Err(foreign("it is missing, and there were several".to_owned()));
                }
            }
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    Checkpoint::open(&note, verifier).map(Some).map_err(|error| foreign(error.to_string()))
}

/// The notes of a history, in order.
pub fn notes(history: &str) -> impl Iterator<Item = &str> {
    // A note has one empty line within, and one after it.
    let mut rest = history;
    std::iter::from_fn(move || {
        let text = rest.find("\n\n")?.checked_add(2)?;
        let end = rest.get(text..)?.find("\n\n")?.checked_add(text)?;
        let note = rest.get(..end.checked_add(1)?)?;
        rest = rest.get(end.checked_add(2)?..)?;
        Some(note)
    })
}

/// The key of the log and its name, each made if it is not there.
fn signer(
    folder: &Path,
    key: Option<&Path>,
    (name, now): (&str, Timestamp),
) -> Result<Signer, SealError> {
    let origin = folder.join(ORIGIN);
    if !origin.try_exists()? {
        // A log that is begun anew must not look like a fork of the one before.
        file::replace(&origin, format!("{name}/{}\n", now.seconds()).as_bytes())?;
    }
    let origin = fs::read_to_string(origin)?;
    let own = folder.join(KEY);
    let path = key.unwrap_or(&own);
    let unusable = || SealError::Key { path: path.to_owned() };
    let seed = match key_file::read_or_make(path) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(unusable()),
        seed => unhex(&seed?).ok_or_else(unusable)?,
    };
    Signer::new(origin.trim(), &seed).ok_or_else(unusable)
}

#[cfg(test)]
mod tests;
