//! Keys of the log in files of their own, made on first use: 32 random bytes in hexadecimal.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::rand;

use crate::model::hex::hex;

const BYTES: usize = 32;

/// The key in the file at `path`, as its hexadecimal digits. Made if there is no file.
pub(super) fn read_or_make(path: &Path) -> io::Result<String> {
    if !path.try_exists()? {
        make(path)?;
    }
    read(path)
}

/// The key in the file at `path`, as its hexadecimal digits.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(1_024).read_to_string(&mut text)?;
    let key = text.trim_end();
    if key.len() == 2 * BYTES && key.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(key.to_owned());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let what = format!("`{name}` is not 32 bytes in hexadecimal");
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

fn make(path: &Path) -> io::Result<()> {
    let mut key = [0; BYTES];
    rand::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(hex(&key).as_bytes())?;
    file.sync_all()
}
