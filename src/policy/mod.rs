//! The policy decision: how what a token grants and what bounds it combine.

pub mod algebra;
