//! The audit log on disk.

pub mod recovery;
pub mod tag_key;
