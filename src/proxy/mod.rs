//! The enforcing proxy: from the caller's connection to the upstream's and back.

pub mod body;
pub mod challenge;
pub mod headers;
pub mod metadata;
pub mod reject;
pub mod upstream;
