//! opgate stands in front of agent tool APIs and lets through exactly the operations that a person
//! consented to.
//!
//! The map of the crate, lowest layer first; a module imports only from layers above its own line
//! here (`tests/it/architecture.rs` holds the table).

// Layer 0: the nouns.
pub mod model;

// Layer 1: computation. No I/O, no clock, no randomness, no async.
pub mod audit;
pub mod operation;
pub mod token;

// Layer 1 still: what combines grants and policies.
pub mod policy;

// Layer 2: the decision, as pure as what it is made of.
pub mod decide;

// Layer 3: settings and machinery.
pub mod config;
pub mod runtime;

// Layer 4: the world that decisions depend on.
pub mod facts;
pub mod journal;
pub mod state;

// Layer 5: the servers.
pub mod admin;
pub mod proxy;

// Layer 6: the command line.
pub mod cli;

// Beside the code: why it is as it is.
pub mod manual;
