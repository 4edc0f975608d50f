//! Whether the files of the log are the log's own (`audit.md` §3): looked at before anything is opened.
//!
//! The log is appended to, cut back and locked by name. A symbolic link under one of these names, or a
//! pipe, was put there by somebody else: records would go where that person reads and changes them, or
//! the start would hang. The audit directory itself may be a link: the operator chooses the place.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::segment;

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

/// Looks at the log in `directory`, and gives its directories that others can write: whoever can may take
/// the log away, which nothing in it can prevent.
pub fn check(directory: &Path) -> Result<Vec<PathBuf>, CustodyError> {
    let segments = directory.join(segment::DIRECTORY);
    look(&segments, Expected::Directory)?;
    for name in FILES {
        look(&directory.join(name), Expected::File)?;
    }
    let failed = |source| CustodyError::Io { path: segments.clone(), source };
    for place in segment::list(directory).map_err(failed)? {
        look(&place.path, Expected::File)?;
    }
    let mut exposed = Vec::new();
    for path in [directory.to_owned(), segments] {
        match fs::metadata(&path) {
            Ok(metadata) if is_exposed(metadata.permissions().mode()) => exposed.push(path),
            Ok(_) => {}
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

const fn is_exposed(mode: u32) -> bool {
    mode & OTHERS_WRITE != 0 && mode & STICKY == 0
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
                assert_eq!(check(log.path()).unwrap(), Vec::<PathBuf>::new(), "no log yet");
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
            assert_eq!(is_exposed(mode), expected, "{mode:o}");
        }
    }
}
