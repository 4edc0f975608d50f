//! The key of keyed hashes, made on first use where the operator gives none.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::rand;

use crate::audit::tag::Tagger;

const BYTES: usize = 32;

/// The tagger of the log in `directory`: under its `tag.key`, which is made if there is none.
pub fn tagger(directory: &Path) -> io::Result<Tagger> {
    let path = directory.join("tag.key");
    if !path.try_exists()? {
        make(&path)?;
    }
    existing(directory)
}

/// The tagger of the log in `directory`, which has a key.
pub fn existing(directory: &Path) -> io::Result<Tagger> {
    let text = fs::read_to_string(directory.join("tag.key"))?;
    let key = text.trim_end();
    if key.len() != 2 * BYTES || !key.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "`tag.key` is not 32 bytes in hex"));
    }
    Ok(Tagger::new(key.as_bytes()))
}

fn make(path: &Path) -> io::Result<()> {
    let mut key = [0; BYTES];
    rand::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    for byte in key {
        write!(file, "{byte:02x}")?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
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
