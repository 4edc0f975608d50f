//! The operation: which resource is asked, and for what, read in exactly one way.

pub mod a2a;
pub mod catalog;
pub mod contract;
pub mod head;
pub mod jsonrpc;
pub mod mcp;
pub mod openapi;
pub mod path;
pub mod route;
pub mod schema;
pub mod templates;
