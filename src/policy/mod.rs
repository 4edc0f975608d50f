//! The policy decision: how what a token grants and what bounds it combine, and the engines that evaluate
//! policies written in a language.

pub mod algebra;
pub mod cache;
#[cfg(feature = "cedar")]
mod cedar;
pub mod engine;
pub mod input;
pub mod library;
pub mod quantities;
pub mod record;
pub mod registry;
mod rego;
