//! The audit log on disk.

mod batch;
pub mod custody;
pub mod disk;
pub mod find;
pub mod floods;
mod key_file;
mod queue;
pub mod reader;
pub mod recovery;
pub mod sealer;
pub mod sealing;
pub mod search;
mod seek;
pub mod segment;
pub mod stamp;
pub mod tag_key;
mod tail;
pub mod tree;
pub mod uses;
pub mod verify;
pub mod writer;
