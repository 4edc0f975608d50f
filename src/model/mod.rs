//! The nouns of the crate: what every other module speaks of, and nothing that computes a decision.

pub mod argument;
pub mod authentication;
pub mod body;
pub mod confirmation;
pub mod consulted;
pub mod date;
pub mod decimal;
pub mod exact;
pub mod hex;
pub mod json;
pub mod media;
pub mod need;
pub mod operation;
pub mod pattern;
pub mod presented;
pub mod reason;
pub mod template;
pub mod time;
pub mod written;
