//! The key of keyed hashes, made on first use where the operator gives none.

use std::io;
use std::path::Path;

use super::key_file;
use crate::audit::tag::Tagger;

const FILE: &str = "tag.key";

/// The tagger of the log in `directory`: under its `tag.key`, which is made if there is none.
pub fn tagger(directory: &Path) -> io::Result<Tagger> {
    let key = key_file::read_or_make(&directory.join(FILE))?;
    Ok(Tagger::new(key.as_bytes()))
}

/// The tagger of the log in `directory`, which has a key.
pub fn existing(directory: &Path) -> io::Result<Tagger> {
    let key = key_file::read(&directory.join(FILE))?;
    Ok(Tagger::new(key.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let first = tagger(directory.path()).unwrap().tag(b"alice");
        assert_eq!(first, tagger(directory.path()).unwrap().tag(b"alice"));
        let path = directory.path().join("tag.key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "short").unwrap();
        tagger(directory.path()).unwrap_err();
    }
}
