//! Secrets: named by reference in the file, read at load, wiped from every message.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Where a secret is: `{ file = "…" }` or `{ env = "…" }`. Never in the configuration itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The name of an environment variable.
    Env(Box<str>),
    /// A file; one trailing line end is not part of the secret.
    File(PathBuf),
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one place that needs it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The longest secret that is read, in bytes.
const LONGEST: usize = 64 * 1_024;

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It is there, and holds nothing.
    #[error("the secret is empty")]
    Empty,
    /// The file cannot be read.
    #[error("the secret's file cannot be read")]
    File(#[source] io::Error),
    /// It is longer than any secret is: the wrong file.
    #[error("the secret is longer than {LONGEST} bytes")]
    Long,
    /// The variable is not set.
    #[error("environment variable `{0}` is not set")]
    Unset(Box<str>),
}

impl Reference {
    /// Reads the secret; `environment` looks up variables.
    pub fn read(
        &self,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Secret<Vec<u8>>, SecretError> {
        let mut bytes = match self {
            Self::Env(name) => {
                environment(name).ok_or_else(|| SecretError::Unset(name.clone()))?.into_bytes()
            }
            Self::File(path) => read_bounded(path).map_err(SecretError::File)?,
        };
        if bytes.len() > LONGEST {
            return Err(SecretError::Long);
        }
        if matches!(self, Self::File(_)) && bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if bytes.is_empty() { Err(SecretError::Empty) } else { Ok(Secret::new(bytes)) }
    }
}

/// At most one byte more than is allowed, so that it shows.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let bound = u64::try_from(LONGEST).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(bound).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_not_part_of_a_secret_and_an_empty_one_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let reference = Reference::File(file.path().to_owned());
        std::fs::write(file.path(), "s\n\n").unwrap();
        assert_eq!(reference.read(&|_| None).unwrap().expose(), b"s\n");
        std::fs::write(file.path(), "\n").unwrap();
        assert!(matches!(reference.read(&|_| None), Err(SecretError::Empty)));
        let unset = Reference::Env("ABSENT".into());
        assert!(matches!(unset.read(&|_| None), Err(SecretError::Unset(_))));
        let endless = Reference::File("/dev/zero".into());
        assert!(matches!(endless.read(&|_| None), Err(SecretError::Long)));
    }
}
