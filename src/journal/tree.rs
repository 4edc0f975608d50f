//! The tree of the log on the disk: level files of hashes, from which tiles are cut (`audit.md` §3, C2SP
//! `tlog-tiles`).
//!
//! `tree/0` holds the hash of every record, `tree/1` that of every 256 of them, `tree/2` that of every 65,536:
//! tile N of level L is the bytes from 8192 · N on, at most 8192 of them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::audit::merkle::{Hash, Nodes, TILE_HEIGHT, node};

/// The folder of the tree below the audit directory.
pub const DIRECTORY: &str = "tree";

/// The octets of a hash.
const HASH: u64 = 32;
/// Levels of a tree of 2^64 records.
const LEVELS: u32 = 8;

/// The level files.
#[derive(Debug)]
pub struct Levels {
    folder: PathBuf,
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    file: File,
    /// What was added and is not written yet.
    pending: Vec<u8>,
    /// Something was written, or the file was made, and is not durable yet.
    owes_sync: bool,
}

impl Levels {
    /// The level files below the audit directory for the tree of `size` records: what was written behind it
    /// is cut off. Fails where one is shorter.
    pub fn open(directory: &Path, size: u64) -> io::Result<Self> {
        let folder = directory.join(DIRECTORY);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let mut levels = Self { folder, levels: Vec::new() };
        for level in 0..LEVELS {
            let length = (size >> (TILE_HEIGHT * level)) * HASH;
            let path = levels.path(level);
            if length == 0 {
                // What lies there is of a larger tree that was never signed.
                if path.try_exists()? {
                    fs::remove_file(path)?;
                }
                continue;
            }
            let file = &levels.add()?.file;
            let found = file.metadata()?.len();
            if found < length {
                let what = format!("`{}` has {found} bytes of {length}", path.display());
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
            }
            if found > length {
                file.set_len(length)?;
                file.sync_all()?;
            }
        }
        Ok(levels)
    }

    /// The level files as they are, to be read alone.
    pub fn peek(directory: &Path) -> io::Result<Self> {
        let folder = directory.join(DIRECTORY);
        let mut levels = Self { folder, levels: Vec::new() };
        for level in 0..LEVELS {
            match File::open(levels.path(level)) {
                Ok(file) => {
                    levels.levels.push(Level { file, pending: Vec::new(), owes_sync: false });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
        }
        Ok(levels)
    }

    fn path(&self, level: u32) -> PathBuf {
        self.folder.join(level.to_string())
    }

    /// The file of the next level.
    fn add(&mut self) -> io::Result<&mut Level> {
        let path = self.path(u32::try_from(self.levels.len()).unwrap_or(LEVELS));
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(path)?;
        self.levels.push(Level { file, pending: Vec::new(), owes_sync: true });
        self.levels.last_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Adds the hash of a subtree that has become complete; those between the levels of files are made of
    /// others when they are asked for.
    pub fn keep(&mut self, level: u32, hash: &Hash) -> io::Result<()> {
        if !level.is_multiple_of(TILE_HEIGHT) {
            return Ok(());
        }
        let place = usize::try_from(level / TILE_HEIGHT).unwrap_or(usize::MAX);
        while self.levels.len() <= place {
            self.add()?;
        }
        let level = self.levels.get_mut(place).ok_or(io::ErrorKind::NotFound)?;
        level.pending.extend_from_slice(hash);
        Ok(())
    }

    /// Writes what was added. It may be lost until [`Levels::sync`] has returned.
    pub fn write(&mut self) -> io::Result<()> {
        for level in self.levels.iter_mut().filter(|level| !level.pending.is_empty()) {
            level.file.write_all(&level.pending)?;
            level.pending.clear();
            level.owes_sync = true;
        }
        Ok(())
    }

    /// Makes everything that was written durable. That the files have their names is made so with the
    /// checkpoint, which lies beside them.
    pub fn sync(&mut self) -> io::Result<()> {
        for level in self.levels.iter_mut().filter(|level| level.owes_sync) {
            level.file.sync_data()?;
            level.owes_sync = false;
        }
        Ok(())
    }
}

impl Nodes for Levels {
    type Error = io::Error;

    fn node(&self, level: u32, index: u64) -> io::Result<Hash> {
        let width = 1_u64 << (level % TILE_HEIGHT);
        let place = usize::try_from(level / TILE_HEIGHT).unwrap_or(usize::MAX);
        let level = self.levels.get(place).ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut bytes = vec![0; usize::try_from(width * HASH).unwrap_or_default()];
        let offset = index.checked_mul(width * HASH).ok_or(io::ErrorKind::InvalidInput)?;
        level.file.read_exact_at(&mut bytes, offset)?;
        let (hashes, _) = bytes.as_chunks::<32>();
        let mut hashes = hashes.to_vec();
        while hashes.len() > 1 {
            let (pairs, _) = hashes.as_chunks::<2>();
            hashes = pairs.iter().map(|[left, right]| node(left, right)).collect();
        }
        hashes.first().copied().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}
