//! The answers of an MCP server as they pass: whose a session becomes, what the server asks its client, and
//! lists that hold what the token could use (`mcp-a2a.md` §5 and §6).

use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::body::rewrite::{self, Events, Rewrite};
use super::jsonrpc;
use crate::audit::record;
use crate::facts::sessions::{Owner, Place, Sessions};
use crate::facts::tools::{News, Tools};
use crate::journal::writer::Journal;
use crate::model::exact::Json;
use crate::model::media;
use crate::model::time::Timestamp;
use crate::operation::jsonrpc::{Id, Kind, Message};
use crate::operation::mcp::agreement::SESSION;
use crate::operation::mcp::definition::Definition;
use crate::operation::mcp::listing::{Listing, TOOLS};
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
    /// It lists what there is. Perhaps not all of it may be seen, and perhaps somebody looks whether it is
    /// what it was.
    Listing(Listing, Option<Keeps>),
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

/// Whoever looks whether tools are what they were.
#[derive(Debug)]
pub struct Watch {
    /// What is known of them.
    pub tools: Arc<Tools>,
    /// Where what is new of them is recorded.
    pub journal: Journal,
    /// Whether a list that cannot be read must not pass, since tools could change in it unseen.
    pub is_strict: bool,
}

impl Watch {
    /// Records that a list came in which tools could have changed unseen.
    fn missed(&self, resource: &str) {
        tracing::warn!(resource, "a list of tools cannot be read");
        let (sha256, approved, resembles) = (None, None, None);
        let news = "unreadable";
        let record = record::Tool { resource, name: "", news, sha256, approved, resembles };
        self.journal.note(now(), &record);
    }

    /// Remembers and records what is new about `tools`, which a server lists as those of `resource`.
    fn see(&self, resource: &str, tools: &[Json]) {
        let definitions = Definition::all(tools);
        let (news, is_pending) = self.tools.see(resource, &definitions);
        for (tool, news) in &news {
            if *news != News::First {
                let what = news.word();
                tracing::warn!(resource, tool = &**tool, what, "a tool is not what was approved");
            }
            let known = self.tools.known(resource, tool).unwrap_or_default();
            let record = record::Tool {
                resource,
                name: tool,
                news: news.word(),
                sha256: known.seen.as_ref().map(|seen| &seen.sha256),
                approved: known.approved.as_ref().map(|approved| &approved.sha256),
                resembles: known.resembles.as_deref(),
            };
            self.journal.note(now(), &record);
        }
        if is_pending {
            let tools = Arc::clone(&self.tools);
            // The disk may take its time, and the answer must not wait for it.
            tokio::task::spawn_blocking(move || {
                if let Err(error) = tools.keep() {
                    tracing::error!(%error, "what is known of tools was not kept");
                }
            });
        }
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
    /// Whoever looks whether tools are what they were.
    pub watch: Option<Watch>,
    /// Whether a list of tools came that could not be read.
    pub is_unread: Cell<bool>,
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
            return self.unreadable().map(|text| -> Box<dyn Rewrite> { Box::new(Instead(text)) });
        }
        let mut kinds = headers.get_all(CONTENT_TYPE).iter();
        let kind = kinds.next().and_then(|kind| kind.to_str().ok());
        let kind = kind.filter(|_| kinds.next().is_none()).unwrap_or_default();
        if media::is_event_stream(kind) {
            return Some(Box::new(Streamed { ear: self, events: Events::default() }));
        }
        if media::is_json(kind) && !matches!(self.purpose, Purpose::Questions) {
            return Some(Box::new(Whole {
                ear: self,
                held: Vec::new(),
                is_given_up: false,
                instead: None,
            }));
        }
        // Of another type a client may make what it likes.
        self.unreadable().map(|text| -> Box<dyn Rewrite> { Box::new(Instead(text)) })
    }

    /// Whether a client could find other tools in the answer than are found here: where that must not be, it
    /// is one list and no more, or an error, or none of our business.
    fn is_suspect(listing: &Listing, answer: &Json) -> bool {
        let Some(members) = answer.as_object() else { return true };
        let is_ours = members.get("id").and_then(Id::read).as_ref() == Some(&listing.id);
        match (listing.items(answer), members.contains_key("result")) {
            (Some(tools), _) => Definition::only(tools).is_none(),
            (None, true) => true,
            (None, false) => !is_ours && !members.contains_key("method"),
        }
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
            Purpose::Listing(listing, keeps) => match Json::parse(text) {
                Ok(answer) if self.is_strict() && Self::is_suspect(listing, &answer) => {
                    return self.unreadable();
                }
                Ok(answer) => {
                    if listing.member == TOOLS {
                        self.look(listing.items(&answer));
                    }
                    if let Some(keeps) = keeps
                        && let Some(rewritten) = listing.rewrite(answer, keeps)
                    {
                        return Some(rewritten);
                    }
                }
                Err(_unreadable) => return self.unreadable(),
            },
            Purpose::Questions => {}
        }
        self.question(text);
        None
    }

    /// Whether a list of tools is awaited that must be read.
    fn is_strict(&self) -> bool {
        let is_listed =
            matches!(&self.purpose, Purpose::Listing(listing, _) if listing.member == TOOLS);
        is_listed && self.watch.as_ref().is_some_and(|watch| watch.is_strict)
    }

    /// What stands in the place of a list that cannot be read, where it must not pass.
    fn unreadable(&self) -> Option<String> {
        let is_listed =
            matches!(&self.purpose, Purpose::Listing(listing, _) if listing.member == TOOLS);
        if let Some(watch) = self.watch.as_ref().filter(|_| is_listed && !self.is_unread.get()) {
            watch.missed(&self.place.resource);
        }
        self.is_unread.set(is_listed);
        match &self.purpose {
            Purpose::Listing(listing, _) if self.is_strict() => {
                Some(jsonrpc::upstream_error(&listing.id))
            }
            Purpose::Beginning | Purpose::Listing(..) | Purpose::Questions => None,
        }
    }

    fn look(&self, tools: Option<&[Json]>) {
        if let (Some(watch), Some(tools)) = (&self.watch, tools) {
            watch.see(&self.place.resource, tools);
        }
    }

    /// What was negotiated stands in the result.
    fn began(&self, text: &[u8]) {
        let json = Json::parse(text).ok();
        let version = json.as_ref().and_then(|json| json.at("/result/protocolVersion"));
        if let Some(Json::String(version)) = version {
            self.bind(Version::parse(version));
        }
    }

    /// What the server asks its client; and a list that comes late, on a stream that is taken up again.
    fn question(&self, text: &[u8]) {
        // Most of what a server says is neither, and is not read for that.
        let holds = |name: &[u8]| memchr::memmem::find(text, name).is_some();
        let may_list = self.watch.is_some() && holds(b"\"tools\"");
        if !may_list && !holds(b"\"method\"") {
            return;
        }
        let Ok(json) = Json::parse(text) else { return };
        if let Ok(Message { kind: Kind::Request(id), .. }) = Message::read(&json) {
            self.sessions.ask(&self.place, self.owner, &id, now());
        }
        if let Some(Json::Array(tools)) = json.at("/result/tools") {
            self.look(Some(tools));
        }
    }
}

fn now() -> Timestamp {
    clock::now()
}

/// Something else in the place of an answer that cannot be read.
struct Instead(String);

impl Rewrite for Instead {
    fn data(&mut self, _data: Bytes) -> Bytes {
        Bytes::new()
    }

    fn end(&mut self) -> Bytes {
        std::mem::take(&mut self.0).into()
    }

    fn is_failure(&self) -> bool {
        true
    }
}

/// An answer in one piece.
struct Whole {
    ear: Ear,
    held: Vec<u8>,
    /// It was too large to be read: it passes.
    is_given_up: bool,
    /// What is said in its place, whatever else comes.
    instead: Option<String>,
}

impl Rewrite for Whole {
    fn data(&mut self, data: Bytes) -> Bytes {
        if self.is_given_up {
            return data;
        }
        if self.instead.is_some() {
            return Bytes::new();
        }
        self.held.extend_from_slice(&data);
        if self.held.len() <= MAX_HELD {
            return Bytes::new();
        }
        self.instead = self.ear.unreadable();
        if self.instead.is_some() {
            self.held = Vec::new();
            return Bytes::new();
        }
        self.is_given_up = true;
        std::mem::take(&mut self.held).into()
    }

    fn end(&mut self) -> Bytes {
        if let Some(error) = self.instead.take() {
            return error.into();
        }
        if self.is_given_up {
            return Bytes::new();
        }
        let held = std::mem::take(&mut self.held);
        match self.ear.message(&held) {
            Some(rewritten) => rewritten.into(),
            None => held.into(),
        }
    }

    fn is_failure(&self) -> bool {
        self.ear.is_unread.get() && self.ear.is_strict()
    }
}

/// An answer in events. What may be changed waits until its event is whole; everything else passes at once.
struct Streamed {
    ear: Ear,
    events: Events,
}

impl Streamed {
    fn changes(&self) -> bool {
        matches!(&self.ear.purpose, Purpose::Listing(_, keeps) if keeps.is_some())
            || self.ear.is_strict()
    }

    /// What goes on of an event that may be changed. Where it must be read, nothing of it goes on that was
    /// not: it is written anew.
    fn changed(&self, event: Vec<u8>) -> Vec<u8> {
        let said = rewrite::data(&event);
        let other = match &said {
            Some(said) => self.ear.message(said.as_bytes()),
            None if std::str::from_utf8(&event).is_err() => self.ear.unreadable(),
            None => None,
        };
        let is_strict = self.ear.is_strict();
        match (other, said) {
            (Some(other), _) => rewrite::anew(&event, &other).into_bytes(),
            (None, Some(said)) if is_strict => rewrite::anew(&event, &said).into_bytes(),
            (None, None) if is_strict => Vec::new(),
            (None, _) => event,
        }
    }
}

impl Rewrite for Streamed {
    fn data(&mut self, data: Bytes) -> Bytes {
        let mut changed = Vec::new();
        self.events.push(&data);
        while let Some(event) = self.events.pop() {
            if self.changes() {
                changed.extend(self.changed(event));
            } else if let Some(said) = rewrite::data(&event) {
                self.ear.message(said.as_bytes());
            }
        }
        let mut given_up = Vec::new();
        if self.events.pending() > MAX_HELD {
            given_up = self.events.give_up();
            if let Some(error) = self.ear.unreadable() {
                // What is still to come of it is a comment to whoever reads it.
                given_up = format!("data: {error}\n\n: ").into_bytes();
            }
        }
        if self.changes() {
            changed.extend_from_slice(&given_up);
            return changed.into();
        }
        data
    }

    /// What is no whole event is none; where it would be taken for one all the same, it was read as one.
    fn end(&mut self) -> Bytes {
        let rest = self.events.give_up();
        if self.changes() { self.changed(rest).into() } else { Bytes::new() }
    }

    fn is_failure(&self) -> bool {
        self.ear.is_unread.get() && self.ear.is_strict()
    }
}
