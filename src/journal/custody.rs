//! Whether the files of the log are the log's own (`audit.md` §3): looked at before anything is opened.
//!
//! The log is appended to, cut back and locked by name. A symbolic link under one of these names, or a
//! pipe, was put there by somebody else: records would go where that person reads and changes them, or
//! the start would hang. The audit directory itself may be a link: the operator chooses the place.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{segment, tree};

/// The files beside the segments.
const FILES: [&str; 3] = ["lock", "revocations", "tag.key"];
/// Who may write: group, and everybody.
const OTHERS_WRITE: u32 = 0o022;
/// In a directory with this bit only the owner of a file may move it away.
const STICKY: u32 = 0o1000;

/// Why the directory is not used.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// Something else stands where a file of the log belongs.
    #[error(
        "`{}` is {found}: the log is only ever written to files of its own; find out who put it there, and remove it",
        path.display()
    )]
    Foreign {
        /// Where.
        path: PathBuf,
        /// What stands there.
        found: &'static str,
    },
    /// It cannot be looked at.
    #[error("`{}` cannot be looked at", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What must stand under a name, if anything does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Directory,
    File,
}

/// How somebody else can take the log away, which nothing in it can prevent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exposure {
    /// Whoever owns a directory can change who may write it.
    #[error(
        "somebody else owns the directory of the log, and so can take the log away: `chown` it"
    )]
    Owned,
    /// Group or everybody can write it.
    #[error("others can write the directory of the log, and so take the log away: `chmod go-w`")]
    Writable,
}

/// Looks at the log in `directory`, and gives its directories that are not its own.
pub fn check(directory: &Path) -> Result<Vec<(PathBuf, Exposure)>, CustodyError> {
    let segments = directory.join(segment::DIRECTORY);
    look(&segments, Expected::Directory)?;
    for name in FILES {
        look(&directory.join(name), Expected::File)?;
    }
    let hashes = directory.join(tree::DIRECTORY);
    look(&hashes, Expected::Directory)?;
    if hashes.is_dir() {
        let entries = fs::read_dir(&hashes).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let failed = |source| CustodyError::Io { path: hashes.clone(), source };
        for entry in entries.map_err(failed)? {
            look(&entry.path(), Expected::File)?;
        }
    }
    let failed = |source| CustodyError::Io { path: segments.clone(), source };
    for place in segment::list(directory).map_err(failed)? {
        look(&place.path, Expected::File)?;
    }
    let mut exposed = Vec::new();
    for path in [directory.to_owned(), segments] {
        match fs::metadata(&path) {
            Ok(metadata) => {
                let exposure = exposure(metadata.mode(), metadata.uid(), process_owner());
                exposed.extend(exposure.map(|exposure| (path, exposure)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(CustodyError::Io { path, source }),
        }
    }
    Ok(exposed)
}

fn look(path: &Path, expected: Expected) -> Result<(), CustodyError> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(CustodyError::Io { path: path.to_owned(), source }),
    };
    let is_right = match expected {
        Expected::Directory => kind.is_dir(),
        Expected::File => kind.is_file(),
    };
    let found = match expected {
        _ if is_right => return Ok(()),
        _ if kind.is_symlink() => "a symbolic link",
        Expected::Directory => "no directory",
        Expected::File => "no plain file",
    };
    Err(CustodyError::Foreign { path: path.to_owned(), found })
}

/// Root can do anything anyway.
fn exposure(mode: u32, owner: u32, own: Option<u32>) -> Option<Exposure> {
    if owner != 0 && own.is_some_and(|own| own != owner) {
        return Some(Exposure::Owned);
    }
    (mode & OTHERS_WRITE != 0 && mode & STICKY == 0).then_some(Exposure::Writable)
}

/// The user that this process acts as, where the system tells it: in `/proc` a process belongs to it.
fn process_owner() -> Option<u32> {
    fs::metadata("/proc/self").ok().map(|own| own.uid())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_files_of_its_own_are_the_logs() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("file"), "").unwrap();
        for name in ["lock", "revocations", "tag.key", "seg", "seg/000000000000.jsonl"] {
            for target in [outside.path().to_owned(), outside.path().join("file")] {
                let log = tempfile::tempdir().unwrap();
                assert!(check(log.path()).unwrap().is_empty(), "no log yet");
                if name.contains('/') {
                    fs::create_dir(log.path().join("seg")).unwrap();
                }
                symlink(&target, log.path().join(name)).unwrap();
                let error = check(log.path()).unwrap_err();
                assert!(error.to_string().contains("a symbolic link"), "{name}: {error}");
            }
        }
        let log = tempfile::tempdir().unwrap();
        fs::create_dir(log.path().join("lock")).unwrap();
        assert!(check(log.path()).unwrap_err().to_string().contains("no plain file"));
        let log = tempfile::tempdir().unwrap();
        fs::write(log.path().join("seg"), "").unwrap();
        assert!(check(log.path()).unwrap_err().to_string().contains("no directory"));
    }

    #[test]
    fn a_directory_that_others_can_write_is_told_unless_they_can_move_nothing_in_it() {
        for (mode, expected) in
            [(0o700, false), (0o755, false), (0o770, true), (0o777, true), (0o1777, false)]
        {
            let expected = expected.then_some(Exposure::Writable);
            assert_eq!(exposure(mode, 7, Some(7)), expected, "{mode:o}");
            assert_eq!(exposure(mode, 7, None), expected, "{mode:o}");
        }
    }

    #[test]
    fn a_directory_that_somebody_else_owns_is_told_unless_that_is_root() {
        for (owner, own, expected) in [
            (7, Some(7), None),
            (0, Some(7), None),
            (8, Some(7), Some(Exposure::Owned)),
            (7, Some(0), Some(Exposure::Owned)),
        ] {
            assert_eq!(exposure(0o40_700, owner, own), expected, "{owner} {own:?}");
        }
        let directory = tempfile::tempdir().unwrap();
        let owner = fs::metadata(directory.path()).unwrap().uid();
        assert_eq!(process_owner(), Some(owner), "what a process makes is its own");
    }
}
