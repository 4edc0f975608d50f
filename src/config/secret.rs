//! Secrets: named by reference in the file, read at load, wiped from every message.

use std::fmt;
use std::path::PathBuf;

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
