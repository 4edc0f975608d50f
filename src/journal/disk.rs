//! The segment files, as the writer's thread sees them: append, make durable, begin a new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The folder of the segments below the audit directory.
pub const SEGMENTS: &str = "seg";

/// Where lines are kept. The files of a real log, or a disk that fails when a test says so.
pub trait Disk: Send {
    /// Begins a segment whose first record has this `seq`; what is appended from now on goes there.
    fn begin(&mut self, first_seq: u64) -> io::Result<()>;

    /// Appends lines. They may be lost until [`Disk::sync`] has returned.
    fn append(&mut self, lines: &[u8]) -> io::Result<()>;

    /// Makes everything appended so far durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// Segments in a directory.
#[derive(Debug)]
pub struct Files {
    directory: PathBuf,
    current: Option<File>,
}

impl Files {
    /// The segments below the audit directory `directory`, continued in `segment` where there is one.
    pub fn open(directory: &Path, segment: Option<&Path>) -> io::Result<Self> {
        let directory = directory.join(SEGMENTS);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let current = match segment {
            Some(path) => Some(OpenOptions::new().append(true).open(path)?),
            None => None,
        };
        Ok(Self { directory, current })
    }
}

impl Disk for Files {
    fn begin(&mut self, first_seq: u64) -> io::Result<()> {
        let path = self.directory.join(name(first_seq));
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        // Only a segment in which nothing was ever written may be begun again.
        if file.metadata()?.len() > 0 {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        // The name must survive too: a file without a directory entry is not there after a crash.
        File::open(&self.directory)?.sync_all()?;
        self.current = Some(file);
        Ok(())
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.current.as_mut().ok_or(io::ErrorKind::NotFound)?.write_all(lines)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.current.as_ref().ok_or(io::ErrorKind::NotFound)?.sync_data()
    }
}

/// The file name of the segment that begins with `first_seq`.
pub fn name(first_seq: u64) -> String {
    format!("{first_seq:012}.jsonl")
}
