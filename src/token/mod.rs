//! The operation token: from the bytes in a header to a [`grant::Grant`], or to a refusal.

pub mod aoa;
pub mod authentication;
pub mod claims;
pub mod date;
pub mod delegation;
pub mod detached;
pub mod details;
pub mod extract;
pub mod feed;
pub mod grant;
pub mod introspection;
pub mod jcs;
pub mod jws;
pub mod keys;
pub mod names;
pub mod parties;
pub mod policies;
pub mod presenter;
pub mod revocation;
pub mod signers;
pub mod status;
pub mod trust;
pub mod verify;
