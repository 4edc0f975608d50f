//! Facts (the policy information point): what a decision may ask of the world, and what is remembered.

pub mod bindings;
pub mod bonds;
pub mod engine;
mod hearing;
pub mod introspection;
pub mod jwks;
pub mod ledger;
pub mod liveness;
pub mod pins;
pub mod policies;
pub mod replay;
pub mod revocation;
pub mod sessions;
pub mod store;
pub mod tasks;
pub mod tools;
