//! The manual for those who review or change opgate. The README is for those who run it.

#[doc = include_str!("architecture.md")]
pub mod architecture {}

#[doc = include_str!("audit.md")]
pub mod audit {}

#[doc = include_str!("threats.md")]
pub mod threats {}

#[doc = include_str!("decisions.md")]
pub mod decisions {}

#[expect(clippy::doc_markdown, reason = "it quotes the rules as they are written")]
#[doc = include_str!("coverage.md")]
pub mod coverage {}
