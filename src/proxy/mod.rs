//! The enforcing proxy: from the caller's connection to the upstream's and back.

pub mod asking;
pub mod body;
pub mod challenge;
pub mod connection;
pub mod entry;
pub mod errand;
pub mod exchange;
pub mod forward;
pub mod framing;
pub mod gate;
pub mod headers;
pub mod hearing;
pub mod jsonrpc;
pub mod judge;
pub mod listener;
pub mod mcp;
pub mod metadata;
pub mod places;
pub mod reject;
pub mod serving;
pub mod session;
pub mod tether;
pub mod tls;
pub mod upstream;
pub mod visit;
