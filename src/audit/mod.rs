//! What the audit log says: the records, and nothing about where they are kept.

pub mod filter;
pub mod line;
pub mod merkle;
pub mod note;
pub mod outline;
pub mod proof;
pub mod record;
pub mod tag;
pub mod tally;
