//! The operation: which resource is asked, and for what, read in exactly one way.

pub mod catalog;
pub mod head;
pub mod path;
pub mod route;
