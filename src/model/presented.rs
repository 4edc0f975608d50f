//! What the caller presented as its credential, before anything of it is believed.

use std::fmt;

/// An operation token as it came in: unverified, borrowed from the request, never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Presented<'a>(&'a str);

impl<'a> Presented<'a> {
    /// Marks `token` as presented. It proves nothing.
    pub const fn new(token: &'a str) -> Self {
        Self(token)
    }

    /// The compact serialization, exactly as sent.
    pub const fn token(self) -> &'a str {
        self.0
    }
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Presented({} bytes)", self.0.len())
    }
}
