//! Whoever hears the answer to a call, in the words of its protocol.

use bytes::Bytes;
use http::HeaderMap;

use super::body::rewrite::Rewrite;
use super::{errand, mcp};
use crate::operation::a2a::card;

/// The most that is held of a card.
const MAX_CARD: usize = 1 << 20;

/// Whoever hears one answer.
#[derive(Debug)]
pub enum Hearing {
    /// That of an agent (A2A).
    A2a(errand::Ear),
    /// A card of an agent, which is to name this address.
    Card(Box<str>),
    /// That of an MCP server.
    Mcp(mcp::Ear),
}

impl Hearing {
    /// Hears the head of an answer. Gives who reads its body, where somebody must.
    pub fn hear(self, headers: &HeaderMap) -> Option<Box<dyn Rewrite>> {
        match self {
            Self::A2a(ear) => ear.hear(headers),
            Self::Card(url) => Some(Box::new(Card { url, held: Vec::new(), is_given_up: false })),
            Self::Mcp(ear) => ear.hear(headers),
        }
    }
}

/// A card that is rewritten. What cannot be read is not passed on: it would name the agent.
struct Card {
    url: Box<str>,
    held: Vec<u8>,
    is_given_up: bool,
}

impl Rewrite for Card {
    fn data(&mut self, data: Bytes) -> Bytes {
        self.is_given_up |= self.held.len() + data.len() > MAX_CARD;
        if !self.is_given_up {
            self.held.extend_from_slice(&data);
        }
        Bytes::new()
    }

    fn end(&mut self) -> Bytes {
        let held = std::mem::take(&mut self.held);
        let readable = Some(held).filter(|_| !self.is_given_up);
        let card = readable.and_then(|held| card::with_url(&held, &self.url));
        self.is_given_up = card.is_none();
        card.unwrap_or_default().into()
    }

    fn is_failure(&self) -> bool {
        self.is_given_up
    }
}
