//! The audit log on disk.

pub mod recovery;
