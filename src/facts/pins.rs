//! Pins: the first text behind each name that nothing ties to its tokens (`policy.md` §6.3), kept across
//! restarts in one append-only file. A change is on the disk before it is in force, so that no restart gives
//! a name another text while a token that means the first one lives.
//!
//! A line is a JSON object. Bytes behind the last line end are those of a change that was never in force,
//! and are cut off at the next change.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::model::hex::{hex, unhex};
use crate::model::time::Timestamp;
use crate::policy::library::{Pin, PinName};
use crate::runtime::file;

/// The most pins in force at one time; where there is no room, calls that need one are refused.
pub const MAX_PINS: usize = 100_000;
/// How many lines may have been written since the file was last written anew.
const MAX_LINES: usize = 4 * MAX_PINS;

/// Why pins are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// A line is not as it was written: which names it had pinned cannot be told.
    #[error("`{}` is damaged at line {line}; restore it, or move it away to pin every name anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// There is no room.
    #[error("{MAX_PINS} names of policies are pinned")]
    Full,
    /// The file cannot be read or written.
    #[error("`{}` cannot be used", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The pins of this gate.
#[derive(Debug)]
pub struct Pins {
    path: PathBuf,
    /// Guards the file and what it says; held while the disk is written.
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    pins: HashMap<PinName, Pin>,
    lines: usize,
    /// Where the last whole line ends.
    end: u64,
    /// Nothing is kept: whoever only asks leaves no trace.
    is_only_asked: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    issuer: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    policy: std::borrow::Cow<'a, str>,
    sha256: Box<str>,
    until: u64,
}

impl Pins {
    /// The pins that the file at `path` holds; none where there is no such file. It is made when something
    /// is pinned.
    pub fn read(path: &Path) -> Result<Self, PinsError> {
        let failed = |source| PinsError::Io { path: path.to_owned(), source };
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(failed)?,
        };
        let mut ledger = Ledger::default();
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines = text.get(..whole).unwrap_or_default().split_inclusive(|byte| *byte == b'\n');
        for (line, n) in lines.zip(1..) {
            let damaged = || PinsError::Damaged { path: path.to_owned(), line: n };
            let (name, pin) = parsed(line).ok_or_else(damaged)?;
            ledger.pins.insert(name, pin);
            ledger.lines = n;
        }
        ledger.end = u64::try_from(whole).unwrap_or(u64::MAX);
        Ok(Self { path: path.to_owned(), ledger: Mutex::new(ledger) })
    }

    /// Keeps nothing from here on: what is only explained is not pinned.
    pub fn only_ask(&self) {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).is_only_asked = true;
    }

    /// Where they are kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every pin that was ever in force and is remembered.
    pub fn all(&self) -> HashMap<PinName, Pin> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).pins.clone()
    }

    /// Pins a text to a name, or lets the pin of the same text last longer. Of several texts at the same
    /// time the first one stays. Blocks for the disk.
    pub fn pin(&self, name: &PinName, wanted: Pin, now: Timestamp) -> Result<(), PinsError> {
        let failed = |source| PinsError::Io { path: self.path.clone(), source };
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let known = ledger.pins.get(name).filter(|pin| now < pin.until);
        if known.is_some_and(|pin| pin.sha256 != wanted.sha256 || pin.until >= wanted.until) {
            return Ok(());
        }
        if ledger.pins.len() >= MAX_PINS || ledger.lines >= MAX_LINES {
            ledger.pins.retain(|_, pin| now < pin.until);
            if ledger.pins.len() >= MAX_PINS {
                return Err(PinsError::Full);
            }
            if !ledger.is_only_asked {
                self.rewrite(&mut ledger).map_err(failed)?;
            }
        }
        if !ledger.is_only_asked {
            let line = written(name, wanted).map_err(failed)?;
            let file = self.open(&mut ledger).map_err(failed)?;
            (&file).write_all(&line).and_then(|()| file.sync_data()).map_err(failed)?;
            ledger.end = ledger.end.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
            ledger.lines += 1;
        }
        ledger.pins.insert(name.clone(), wanted);
        Ok(())
    }

    /// The same. What cannot be pinned is missed by whoever needs the pin.
    pub fn pin_or_log(&self, name: &PinName, wanted: Pin, now: Timestamp) {
        if let Err(error) = self.pin(name, wanted, now) {
            tracing::error!(%error, "a policy was not pinned");
        }
    }

    /// The file, cut to its last whole line.
    fn open(&self, ledger: &mut Ledger) -> io::Result<File> {
        let is_new = !self.path.exists();
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
        file.set_len(ledger.end)?;
        if let Some(directory) = self.path.parent().filter(|_| is_new) {
            // The name must survive too.
            File::open(directory)?.sync_all()?;
        }
        Ok(file)
    }

    /// Writes what is in force beside the file and puts it in its place, so that a crash leaves one of both.
    fn rewrite(&self, ledger: &mut Ledger) -> io::Result<()> {
        let mut text = Vec::new();
        for (name, pin) in &ledger.pins {
            text.extend(written(name, *pin)?);
        }
        file::replace(&self.path, &text)?;
        ledger.lines = ledger.pins.len();
        ledger.end = u64::try_from(text.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

fn written(name: &PinName, pin: Pin) -> io::Result<Vec<u8>> {
    let (issuer, policy) = name;
    let line = Line {
        issuer: (&**issuer).into(),
        policy: (&**policy).into(),
        sha256: hex(&pin.sha256).into(),
        until: pin.until.seconds(),
    };
    let mut text = serde_json::to_vec(&line)?;
    text.push(b'\n');
    Ok(text)
}

fn parsed(line: &[u8]) -> Option<(PinName, Pin)> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    let sha256 = unhex(&line.sha256)?;
    let name = (Box::from(&*line.issuer), Box::from(&*line.policy));
    Some((name, Pin { sha256, until: Timestamp::from_seconds(line.until) }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);

    fn name(policy: &str) -> PinName {
        ("https://as.test".into(), policy.into())
    }

    fn pin(text: u8, hours: u64) -> Pin {
        Pin { sha256: [text; 32], until: NOW.after(Duration::from_hours(hours)) }
    }

    #[test]
    fn r_pol_019_the_first_text_stays_whatever_happens_to_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pins");
        let pins = Pins::read(&path).unwrap();
        pins.pin(&name("p"), pin(1, 1), NOW).unwrap();
        pins.pin(&name("p"), pin(2, 9), NOW).unwrap();
        assert_eq!(pins.all()[&name("p")], pin(1, 1));
        // A torn line was never in force.
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"issuer\":\"https").unwrap();
        let again = Pins::read(&path).unwrap();
        assert_eq!(again.all(), pins.all());
        again.pin(&name("p"), pin(1, 5), NOW).unwrap();
        again.pin(&name("q"), pin(3, 1), NOW).unwrap();
        let again = Pins::read(&path).unwrap();
        assert_eq!(again.all()[&name("p")], pin(1, 5));
        assert_eq!(again.all().len(), 2);
        // Once no token can mean it any more, the name is free.
        again.pin(&name("q"), pin(4, 9), NOW.after(Duration::from_hours(2))).unwrap();
        assert_eq!(again.all()[&name("q")], pin(4, 9));
    }

    #[test]
    fn a_damaged_file_is_refused_and_who_only_asks_writes_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pins");
        let pins = Pins::read(&path).unwrap();
        pins.only_ask();
        pins.pin(&name("p"), pin(1, 1), NOW).unwrap();
        assert!(pins.all().len() == 1 && !path.exists());
        for damage in [
            "{}\n",
            "x\n",
            "\n",
            "{\"issuer\":\"a\",\"policy\":\"b\",\"sha256\":\"00\",\"until\":1}\n",
        ] {
            fs::write(&path, damage).unwrap();
            assert!(
                matches!(Pins::read(&path), Err(PinsError::Damaged { line: 1, .. })),
                "{damage}"
            );
        }
    }

    #[test]
    fn a_file_that_grew_is_written_anew_with_what_is_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pins");
        let pins = Pins::read(&path).unwrap();
        pins.pin(&name("old"), pin(1, 1), NOW).unwrap();
        pins.pin(&name("p"), pin(1, 9), NOW).unwrap();
        pins.ledger.lock().unwrap().lines = MAX_LINES;
        let later = NOW.after(Duration::from_hours(2));
        pins.pin(&name("q"), pin(2, 9), later).unwrap();
        let again = Pins::read(&path).unwrap().all();
        assert_eq!(again, pins.all());
        assert!(again.len() == 2 && !again.contains_key(&name("old")));
    }
}
