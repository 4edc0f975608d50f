//! The kill switch: what the operator has revoked at this gate, kept in one append-only file.
//!
//! A line is a check value, a space and a JSON object: `{"revoke":{…}}` or `{"lift":{…}}`. The check
//! value is the beginning of the SHA-256 over the line and the check value before it, so that a line
//! which was changed, removed or moved is noticed. Bytes behind the last line end are those of a change
//! that was never acknowledged, and are cut off.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use aws_lc_rs::digest;
use serde_json::{Map, Value, json};
use uuid::{NoContext, Uuid};

use crate::model::hex::hex;
use crate::model::json;
use crate::model::time::Timestamp;
use crate::runtime::signal::Signal;
use crate::token::revocation::{Kind, Set, Target};

/// The most revocations in force at one time.
pub const MAX_REVOCATIONS: usize = 100_000;
/// The longest reason, in bytes.
pub const MAX_REASON: usize = 256;
/// The longest line: the longest name with every character escaped, and room for the rest.
const MAX_LINE: usize = 32 * 1_024;
/// Hexadecimal digits of a check value.
const CHECK: usize = 16;

/// One revocation in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// By which it is lifted: a `UUIDv7`.
    pub id: Box<str>,
    /// What is revoked.
    pub target: Target,
    /// When it was made.
    pub at: Timestamp,
    /// When it ends by itself, in whole seconds.
    pub until: Option<Timestamp>,
    /// Why, for people.
    pub reason: Option<Box<str>>,
}

/// Whether a change outlives the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is on the disk.
    Durably,
    /// It is in force until the process ends; the file could not be written.
    InMemory,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There are too many.
    #[error("there are already {MAX_REVOCATIONS} revocations in force")]
    Full,
    /// No revocation has this id.
    #[error("no revocation has this id")]
    Unknown,
    /// The file cannot be written, so the revocation stays.
    #[error("the file of revocations cannot be written")]
    Unwritable(#[source] io::Error),
}

/// Why the file cannot be used. The gate does not start: what it lacks might be a revocation.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A line is not as it was written.
    #[error(
        "`{}` is damaged at line {line}: {why}; restore the file, or move it away and revoke anew what it held",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It cannot be read or written.
    #[error("`{}` cannot be used", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another gate uses it.
    #[error("`{}` is used by another process", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
}

/// The revocations of this gate. One for the life of the process, whatever is reloaded.
#[derive(Debug)]
pub struct Revocations {
    /// Replaced whole at each change; readers never wait.
    current: ArcSwap<Set>,
    /// Guards the file and what it says; held while the disk is written.
    ledger: Mutex<Ledger>,
    signal: Signal,
}

#[derive(Debug)]
struct Ledger {
    /// By their ids, which sort in the order in which they were made.
    entries: BTreeMap<Box<str>, Revocation>,
    file: File,
    /// Where the last whole line ends.
    end: u64,
    /// The check value of the last line.
    check: String,
}

impl Revocations {
    /// Opens or makes the file at `path`, which nobody else may use meanwhile.
    pub fn open(path: &Path, signal: Signal) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let made = !path.exists();
        let mut options = OpenOptions::new();
        options.create(true).read(true).append(true).mode(0o600);
        let file = options.open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(OpenError::Locked { path: path.to_owned() });
            }
            Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
        }
        let text = fs::read(path).map_err(failed)?;
        let (entries, end, check) = recovered(path, &text)?;
        file.set_len(end).and_then(|()| file.sync_all()).map_err(failed)?;
        if let Some(directory) = path.parent().filter(|_| made) {
            // The name must survive too.
            File::open(directory).and_then(|open| open.sync_all()).map_err(failed)?;
        }
        Ok(Self::of(Ledger { entries, file, end, check }, signal))
    }

    /// What the file at `path` says, for whoever only asks: nothing is locked, made or changed, and
    /// what is revoked here is not kept.
    pub fn peek(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let source = if path.exists() { path } else { Path::new("/dev/null") };
        let file = File::open(source).map_err(failed)?;
        let text = fs::read(source).map_err(failed)?;
        let (entries, end, check) = recovered(path, &text)?;
        Ok(Self::of(Ledger { entries, file, end, check }, Signal::default()))
    }

    fn of(ledger: Ledger, signal: Signal) -> Self {
        Self { current: ArcSwap::from_pointee(ledger.set()), ledger: Mutex::new(ledger), signal }
    }

    /// What is revoked: one atomic load.
    pub fn current(&self) -> Guard<Arc<Set>> {
        self.current.load()
    }

    /// The signal that is raised whenever something is revoked, here or by an issuer.
    pub const fn signal(&self) -> &Signal {
        &self.signal
    }

    /// Every revocation in force at `now`, the oldest first.
    pub fn list(&self, now: Timestamp) -> Vec<Revocation> {
        self.ledger().entries.values().filter(|one| one.is_in_force(now)).cloned().collect()
    }

    /// How many of each kind are in force at `now`.
    pub fn counts(&self, now: Timestamp) -> Vec<(Kind, usize)> {
        let ledger = self.ledger();
        let of = |kind| {
            let in_force = |one: &&Revocation| one.target.kind == kind && one.is_in_force(now);
            ledger.entries.values().filter(in_force).count()
        };
        Kind::ALL.into_iter().map(|kind| (kind, of(kind))).collect()
    }

    /// Revokes. It is in force when this returns, whether or not the disk could be written: a
    /// revocation that is forgotten at the next start is better than none. Blocks for the disk.
    ///
    /// What is already revoked for as long is not revoked again.
    pub fn revoke(
        &self,
        target: Target,
        until: Option<Timestamp>,
        reason: Option<Box<str>>,
        now: Timestamp,
    ) -> Result<(Revocation, Kept), ChangeError> {
        let mut ledger = self.ledger();
        ledger.entries.retain(|_, one| one.is_in_force(now));
        if let Some(same) = ledger.entries.values().find(|one| one.says(&target, until)) {
            return Ok((same.clone(), Kept::Durably));
        }
        if ledger.entries.len() >= MAX_REVOCATIONS {
            return Err(ChangeError::Full);
        }
        let id = ledger.next_id(now);
        let one = Revocation { id, target, at: now, until, reason };
        let kept = ledger.append(&json!({ "revoke": one.to_json() }));
        ledger.entries.insert(one.id.clone(), one.clone());
        self.publish(&ledger);
        match kept {
            Ok(()) => Ok((one, Kept::Durably)),
            Err(error) => {
                tracing::error!(%error, id = %one.id, "a revocation is in force, and not on the disk");
                Ok((one, Kept::InMemory))
            }
        }
    }

    /// The revocation with this id.
    pub fn find(&self, id: &str) -> Option<Revocation> {
        self.ledger().entries.get(id).cloned()
    }

    /// Ends a revocation. It stays in force unless the disk says that it has ended. Blocks for the disk.
    pub fn lift(&self, id: &str, now: Timestamp) -> Result<Revocation, ChangeError> {
        let mut ledger = self.ledger();
        if !ledger.entries.contains_key(id) {
            return Err(ChangeError::Unknown);
        }
        ledger
            .append(&json!({ "lift": { "id": id, "at": now.seconds() } }))
            .map_err(ChangeError::Unwritable)?;
        let lifted = ledger.entries.remove(id).ok_or(ChangeError::Unknown)?;
        self.publish(&ledger);
        Ok(lifted)
    }

    fn publish(&self, ledger: &Ledger) {
        self.current.store(Arc::new(ledger.set()));
        self.signal.raise();
    }

    /// What it guards is whole between any two statements, so a panic elsewhere spoils nothing.
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn set(&self) -> Set {
        self.entries.values().map(|one| (&one.target, one.until)).collect()
    }

    /// A `UUIDv7` above every one in force: also of two within a millisecond, and after the clock was set
    /// back, the later one sorts behind the earlier (RFC 9562 §6.2).
    fn next_id(&self, now: Timestamp) -> Box<str> {
        let made = identifier(now);
        let last = self.entries.last_key_value().and_then(|(id, _)| Uuid::try_parse(id).ok());
        let above = last.and_then(|last| last.as_u128().checked_add(1)).map(Uuid::from_u128);
        above.map_or(made, |above| made.max(above)).to_string().into()
    }

    /// Appends a line and makes it durable. After a failure the file is cut back to its last whole line,
    /// or the line after would be lost with what stands there.
    fn append(&mut self, change: &Value) -> io::Result<()> {
        let text = change.to_string();
        let check = check(&self.check, text.as_bytes());
        let line = format!("{check} {text}\n");
        self.file.set_len(self.end)?;
        self.file.seek(SeekFrom::End(0))?;
        self.file.write_all(line.as_bytes())?;
        self.file.sync_data()?;
        self.end = self.end.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
        self.check = check;
        Ok(())
    }
}

impl Revocation {
    /// Whether it has not ended by itself.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    fn says(&self, target: &Target, until: Option<Timestamp>) -> bool {
        self.target == *target
            && (self.until.is_none() || until.is_some_and(|until| self.until >= Some(until)))
    }

    /// As it stands in the file, and as the admin listener shows it.
    pub fn to_json(&self) -> Value {
        let mut members = Map::new();
        members.insert("id".into(), Value::from(&*self.id));
        members.insert("at".into(), self.at.seconds().into());
        self.target.write(&mut members);
        if let Some(until) = self.until {
            members.insert("until".into(), until.seconds().into());
        }
        if let Some(reason) = &self.reason {
            members.insert("reason".into(), Value::from(&**reason));
        }
        Value::Object(members)
    }

    /// Reads what [`Revocation::to_json`] wrote.
    pub fn from_json(value: &Value) -> Result<Self, &'static str> {
        let members = value.as_object().ok_or("not a revocation")?;
        let text = |name| members.get(name).and_then(Value::as_str).map(Box::from);
        let seconds = |name| members.get(name).map(|at| at.as_u64().ok_or("a date is wrong"));
        let at = seconds("at").ok_or("a date is missing")??;
        Ok(Self {
            id: text("id").ok_or("no id")?,
            target: Target::read(members, &["id", "at", "until", "reason"])?,
            at: Timestamp::from_seconds(at),
            until: seconds("until").transpose()?.map(Timestamp::from_seconds),
            reason: text("reason"),
        })
    }
}

fn identifier(now: Timestamp) -> Uuid {
    let nanos = u32::try_from(now.micros() % 1_000_000).unwrap_or_default().saturating_mul(1_000);
    let time = uuid::Timestamp::from_unix(NoContext, now.seconds(), nanos);
    Uuid::new_v7(time)
}

type Recovered = (BTreeMap<Box<str>, Revocation>, u64, String);

/// What the text of the file at `path` says, where its last whole line ends, and its check value.
fn recovered(path: &Path, text: &[u8]) -> Result<Recovered, OpenError> {
    let damaged = |(line, why)| OpenError::Damaged { path: path.to_owned(), line, why };
    recover(text).map_err(damaged)
}

/// Reads the whole lines of the file: what is in force, where they end, and the last check value.
fn recover(text: &[u8]) -> Result<Recovered, (usize, &'static str)> {
    let mut entries = BTreeMap::new();
    let mut last = String::new();
    let mut end: usize = 0;
    for (n, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let Some(whole) = line.strip_suffix(b"\n") else { break };
        let damaged = |why| (n.saturating_add(1), why);
        last = read_line(whole, &last, &mut entries).map_err(damaged)?;
        end = end.saturating_add(line.len());
    }
    if text.len().saturating_sub(end) > MAX_LINE {
        return Err((0, "what stands behind the last line is no unfinished change"));
    }
    Ok((entries, u64::try_from(end).unwrap_or(u64::MAX), last))
}

fn read_line(
    line: &[u8],
    before: &str,
    entries: &mut BTreeMap<Box<str>, Revocation>,
) -> Result<String, &'static str> {
    let (stated, rest) = line.split_at_checked(CHECK).ok_or("it is too short")?;
    let change = rest.strip_prefix(b" ").ok_or("it has no check value")?;
    let computed = check(before, change);
    if stated != computed.as_bytes() {
        return Err("its check value is wrong");
    }
    let change = json::parse_object(change, 8).map_err(|_error| "it is not JSON")?;
    match (change.get("revoke"), change.get("lift")) {
        (Some(made), None) => {
            let made = Revocation::from_json(made)?;
            entries.insert(made.id.clone(), made);
        }
        (None, Some(lifted)) => {
            let id = lifted.get("id").and_then(Value::as_str).ok_or("it lifts nothing")?;
            entries.remove(id);
        }
        _ => return Err("it neither revokes nor lifts"),
    }
    Ok(computed)
}

fn check(before: &str, text: &[u8]) -> String {
    let mut all = digest::Context::new(&digest::SHA256);
    all.update(before.as_bytes());
    all.update(text);
    hex(all.finish().as_ref()).chars().take(CHECK).collect()
}

#[cfg(test)]
mod tests;
