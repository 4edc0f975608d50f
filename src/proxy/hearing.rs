//! Whoever hears the answer to a call, in the words of its protocol.

use http::HeaderMap;

use super::body::rewrite::Rewrite;
use super::{errand, mcp};

/// Whoever hears one answer.
#[derive(Debug)]
pub enum Hearing {
    /// That of an agent (A2A).
    A2a(errand::Ear),
    /// That of an MCP server.
    Mcp(mcp::Ear),
}

impl Hearing {
    /// Hears the head of an answer. Gives who reads its body, where somebody must.
    pub fn hear(self, headers: &HeaderMap) -> Option<Box<dyn Rewrite>> {
        match self {
            Self::A2a(ear) => ear.hear(headers),
            Self::Mcp(ear) => ear.hear(headers),
        }
    }
}
