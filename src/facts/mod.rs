//! Facts (the policy information point): what a decision may ask of the world, and what is remembered.

pub mod bindings;
pub mod jwks;
pub mod revocation;
pub mod store;
