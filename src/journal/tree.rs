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
    files: Vec<File>,
    /// What was added and is not written yet, by level.
    pending: Vec<Vec<u8>>,
}

impl Levels {
    /// The level files below the audit directory for the tree of `size` records: what was written behind it
    /// is cut off. Fails where one is shorter.
    pub fn open(directory: &Path, size: u64) -> io::Result<Self> {
        let folder = directory.join(DIRECTORY);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let mut levels = Self { folder, files: Vec::new(), pending: Vec::new() };
        for level in 0..LEVELS {
            let length = (size >> (TILE_HEIGHT * level)) * HASH;
            let path = levels.path(level);
            if length == 0 && !path.try_exists()? {
                break;
            }
            let file = levels.add()?;
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
        let mut levels = Self { folder, files: Vec::new(), pending: Vec::new() };
        for level in 0..LEVELS {
            match File::open(levels.path(level)) {
                Ok(file) => levels.files.push(file),
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
    fn add(&mut self) -> io::Result<&File> {
        let level = u32::try_from(self.files.len()).unwrap_or(LEVELS);
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        self.files.push(options.open(self.path(level))?);
        self.pending.push(Vec::new());
        self.files.last().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Adds the hash of a subtree that has become complete; those between the levels of files are made of
    /// others when they are asked for.
    pub fn keep(&mut self, level: u32, hash: &Hash) -> io::Result<()> {
        if !level.is_multiple_of(TILE_HEIGHT) {
            return Ok(());
        }
        let place = usize::try_from(level / TILE_HEIGHT).unwrap_or(usize::MAX);
        while self.files.len() <= place {
            self.add()?;
        }
        self.pending.get_mut(place).ok_or(io::ErrorKind::NotFound)?.extend_from_slice(hash);
        Ok(())
    }

    /// Writes what was added. It may be lost until [`Levels::sync`] has returned.
    pub fn write(&mut self) -> io::Result<()> {
        for (mut file, pending) in self.files.iter().zip(&mut self.pending) {
            if !pending.is_empty() {
                file.write_all(pending)?;
                pending.clear();
            }
        }
        Ok(())
    }

    /// Makes everything that was written durable.
    pub fn sync(&self) -> io::Result<()> {
        self.files.iter().try_for_each(File::sync_data)?;
        File::open(&self.folder)?.sync_all()
    }

    /// Bytes of the file of a level, from `offset` on, at most `most`: a tile, or a part of one.
    pub fn read(&self, level: u32, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        let place = usize::try_from(level).unwrap_or(usize::MAX);
        let Some(file) = self.files.get(place) else { return Ok(Vec::new()) };
        let length = file.metadata()?.len().saturating_sub(offset);
        let mut bytes = vec![0; most.min(usize::try_from(length).unwrap_or(most))];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

impl Nodes for Levels {
    type Error = io::Error;

    fn node(&self, level: u32, index: u64) -> io::Result<Hash> {
        let width = 1_u64 << (level % TILE_HEIGHT);
        let place = usize::try_from(level / TILE_HEIGHT).unwrap_or(usize::MAX);
        let file = self.files.get(place).ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut bytes = vec![0; usize::try_from(width * HASH).unwrap_or_default()];
        let offset = index.checked_mul(width * HASH).ok_or(io::ErrorKind::InvalidInput)?;
        file.read_exact_at(&mut bytes, offset)?;
        let (hashes, _) = bytes.as_chunks::<32>();
        let mut hashes = hashes.to_vec();
        while hashes.len() > 1 {
            let (pairs, _) = hashes.as_chunks::<2>();
            hashes = pairs.iter().map(|[left, right]| node(left, right)).collect();
        }
        hashes.first().copied().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// Replaces the file at `path`, so that after a crash it is the old one or the new one, whole.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(path.parent().unwrap_or(path))?.sync_all()
}
