//! The audit log on disk.

mod batch;
pub mod disk;
pub mod floods;
pub mod reader;
pub mod recovery;
pub mod segment;
pub mod stamp;
pub mod tag_key;
pub mod uses;
pub mod writer;
