//! The answers of an MCP server as they pass: whose a session becomes, what the server asks its client, and
//! lists that hold what the token could use (`mcp-a2a.md` §5 and §6).

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::body::rewrite::{self, Events, Rewrite};
use crate::facts::sessions::{Owner, Place, Sessions};
use crate::model::exact::Json;
use crate::model::media;
use crate::model::time::Timestamp;
use crate::operation::mcp::agreement::SESSION;
use crate::operation::mcp::listing::Listing;
use crate::operation::mcp::message::{Kind, Message};
use crate::operation::mcp::version::Version;
use crate::runtime::clock;

/// The most that is held of one answer or event. What is larger passes as it is, unread.
const MAX_HELD: usize = 4 << 20;

/// Whether a name of a list may be seen.
pub type Keeps = Box<dyn Fn(&str) -> bool + Send>;

/// What an answer is heard for.
pub enum Purpose {
    /// It begins a session.
    Beginning,
    /// It lists what there is.
    Listing(Listing, Keeps),
    /// The server may ask something in it.
    Questions,
}

impl std::fmt::Debug for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Beginning => "Beginning",
            Self::Listing(..) => "Listing",
            Self::Questions => "Questions",
        })
    }
}

/// Whoever hears one answer.
#[derive(Debug)]
pub struct Ear {
    /// Where what is heard is remembered.
    pub sessions: Arc<Sessions>,
    /// The session that the call names.
    pub place: Place,
    /// Whose call it is.
    pub owner: Owner,
    /// What for.
    pub purpose: Purpose,
}

impl Ear {
    /// Hears the head of an answer. Gives who reads its body, where somebody must.
    pub fn hear(mut self, headers: &HeaderMap) -> Option<Box<dyn Rewrite>> {
        if matches!(self.purpose, Purpose::Beginning)
            && let Some(session) = headers.get(SESSION).and_then(|value| value.to_str().ok())
        {
            self.place.session = Some(session.into());
            self.bind(None);
        }
        if headers.contains_key(CONTENT_ENCODING) {
            return None;
        }
        let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        if media::is_event_stream(kind) {
            return Some(Box::new(Streamed { ear: self, events: Events::default() }));
        }
        let is_read = media::is_json(kind) && !matches!(self.purpose, Purpose::Questions);
        is_read.then(|| -> Box<dyn Rewrite> { Box::new(Whole { ear: self, held: Vec::new() }) })
    }

    fn bind(&self, version: Option<Version>) {
        if self.place.session.is_some() {
            self.sessions.bind(&self.place, self.owner, version, now());
        }
    }

    /// Reads one message of the server; gives another in its place, where that goes on instead.
    fn message(&self, text: &[u8]) -> Option<String> {
        match &self.purpose {
            Purpose::Beginning => self.began(text),
            Purpose::Listing(listing, keeps) => {
                if let Some(rewritten) = listing.rewrite(text, keeps) {
                    return Some(rewritten);
                }
            }
            Purpose::Questions => {}
        }
        self.question(text);
        None
    }

    /// What was negotiated stands in the result.
    fn began(&self, text: &[u8]) {
        let json = Json::parse(text).ok();
        let version = json.as_ref().and_then(|json| json.at("/result/protocolVersion"));
        if let Some(Json::String(version)) = version {
            self.bind(Version::parse(version));
        }
    }

    fn question(&self, text: &[u8]) {
        // Most of what a server says is no question, and is not read for that.
        if memchr::memmem::find(text, b"\"method\"").is_none() {
            return;
        }
        let Ok(json) = Json::parse(text) else { return };
        if let Ok(Message { kind: Kind::Request(id), .. }) = Message::read(&json) {
            self.sessions.ask(&self.place, self.owner, &id, now());
        }
    }
}

fn now() -> Timestamp {
    clock::now()
}

/// An answer in one piece.
struct Whole {
    ear: Ear,
    held: Vec<u8>,
}

impl Rewrite for Whole {
    fn data(&mut self, data: Bytes) -> Bytes {
        let is_given_up =
            self.held.capacity() == 0 && matches!(self.ear.purpose, Purpose::Questions);
        if is_given_up {
            return data;
        }
        self.held.extend_from_slice(&data);
        if self.held.len() <= MAX_HELD {
            return Bytes::new();
        }
        // Too large to be read: from here on it passes.
        self.ear.purpose = Purpose::Questions;
        std::mem::take(&mut self.held).into()
    }

    fn end(&mut self) -> Bytes {
        let held = std::mem::take(&mut self.held);
        match self.ear.message(&held) {
            Some(rewritten) => rewritten.into(),
            None => held.into(),
        }
    }
}

/// An answer in events. What may be changed waits until its event is whole; everything else passes at once.
struct Streamed {
    ear: Ear,
    events: Events,
}

impl Streamed {
    const fn changes(&self) -> bool {
        matches!(self.ear.purpose, Purpose::Listing(..))
    }
}

impl Rewrite for Streamed {
    fn data(&mut self, data: Bytes) -> Bytes {
        let mut changed = Vec::new();
        self.events.push(&data);
        while let Some(event) = self.events.pop() {
            let said = rewrite::data(&event);
            let other = said.and_then(|said| self.ear.message(said.as_bytes()));
            if self.changes() {
                let event = other
                    .and_then(|said| rewrite::with_data(&event, &said))
                    .map_or(event, String::into_bytes);
                changed.extend_from_slice(&event);
            }
        }
        let given_up =
            if self.events.pending() > MAX_HELD { self.events.give_up() } else { Vec::new() };
        if self.changes() {
            changed.extend_from_slice(&given_up);
            return changed.into();
        }
        data
    }

    fn end(&mut self) -> Bytes {
        let rest = self.events.give_up();
        if self.changes() { rest.into() } else { Bytes::new() }
    }
}
