//! The audit log on disk.

pub mod recovery;
pub mod segment;
pub mod tag_key;
