//! Text that was put together once and is copied from then on.

/// Members of a record that do not change from call to call, as they stand in its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written(Box<[u8]>);

impl Written {
    /// What `write` appends.
    pub fn by(write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut into = Vec::new();
        write(&mut into);
        Self(into.into())
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
