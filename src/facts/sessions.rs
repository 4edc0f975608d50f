//! Sessions of MCP servers, and what servers have asked their clients (`mcp-a2a.md` §5).
//!
//! A session is learned from the answer to `initialize` and belongs to whoever began it: knowing its id is
//! no authentication (R-MCP-012, 013). Bounded; what is forgotten is not known, and the operator says what
//! becomes of that.

use std::fmt;
use std::time::Duration;

use quick_cache::sync::Cache;

use crate::model::time::Timestamp;
use crate::operation::jsonrpc::Id;
use crate::operation::mcp::version::Version;
use crate::token::grant::Grant;
use crate::token::hash::sha256;
use crate::token::parties::Parties;
use crate::token::presenter::Presenter;

/// The most sessions that are remembered, and the most questions of servers.
const CAPACITY: usize = 100_000;
/// How long either is remembered.
const LIFETIME: Duration = Duration::from_hours(24);

/// Whose a session is: issuer and subject of the token, the agent, and the key that was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner([u8; 32]);

/// A session of a server, or a caller's calls outside of any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The identifier of the resource.
    pub resource: Box<str>,
    /// `Mcp-Session-Id`
    pub session: Option<Box<str>>,
}

/// What is known of a session that is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is another's.
    Foreign,
    /// It is the caller's, and this was negotiated in it as far as that was heard.
    Own(Option<Version>),
    /// Nothing.
    Unknown,
}

impl Standing {
    /// What was negotiated in a session of the caller's.
    pub const fn version(self) -> Option<Version> {
        match self {
            Self::Own(version) => version,
            Self::Foreign | Self::Unknown => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Session {
    owner: Owner,
    version: Option<Version>,
    until: Timestamp,
}

/// What is remembered.
pub struct Sessions {
    known: Cache<[u8; 32], Session>,
    /// What servers have asked, until when an answer may come.
    asked: Cache<[u8; 32], Timestamp>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { known: Cache::new(CAPACITY), asked: Cache::new(CAPACITY) }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sessions({})", self.known.len())
    }
}

impl Owner {
    /// Somebody, for tests.
    #[cfg(test)]
    pub(super) const fn sample(n: u8) -> Self {
        Self([n; 32])
    }

    /// Whoever presents the token of `grant` so.
    pub fn of(grant: &Grant, presenter: &Presenter) -> Self {
        let parties = Parties::of(grant, Some(presenter));
        let certificate = presenter.certificate.as_ref().map(|shown| shown.thumbprint);
        let key = presenter.dpop.or(certificate).or(presenter.workload_key);
        let name = |name: Option<&str>| name.unwrap_or_default().as_bytes().to_vec();
        Self(digest(&[
            grant.issuer().id.as_bytes(),
            &name(parties.user.map(|user| user.id)),
            &name(parties.agent),
            key.as_ref().map_or(&[][..], |key| key),
        ]))
    }
}

impl Place {
    fn key(&self) -> [u8; 32] {
        digest(&[self.resource.as_bytes(), self.session.as_deref().unwrap_or_default().as_bytes()])
    }
}

/// Of parts that cannot run into one another.
pub(super) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut text = Vec::with_capacity(256);
    for part in parts {
        text.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        text.extend_from_slice(part);
    }
    sha256(&text)
}

impl Sessions {
    /// What is known of the session at `place`, where `owner` names it.
    pub fn look(&self, place: &Place, owner: Owner, now: Timestamp) -> Standing {
        match self.known.get(&place.key()) {
            Some(session) if session.until < now => Standing::Unknown,
            Some(session) if session.owner == owner => Standing::Own(session.version),
            Some(_) => Standing::Foreign,
            None => Standing::Unknown,
        }
    }

    /// Gives the session at `place` to `owner`.
    pub fn bind(&self, place: &Place, owner: Owner, version: Option<Version>, now: Timestamp) {
        let until = now.after(LIFETIME);
        self.known.insert(place.key(), Session { owner, version, until });
    }

    /// Remembers that the server asked `owner` something under `id`.
    pub fn ask(&self, place: &Place, owner: Owner, id: &Id, now: Timestamp) {
        self.asked.insert(question(place, owner, id), now.after(LIFETIME));
    }

    /// Whether the server asked `owner` something under `id` (R-MCP-014).
    pub fn was_asked(&self, place: &Place, owner: Owner, id: &Id, now: Timestamp) -> bool {
        self.asked.get(&question(place, owner, id)).is_some_and(|until| now <= until)
    }
}

fn question(place: &Place, owner: Owner, id: &Id) -> [u8; 32] {
    digest(&[&place.key(), &owner.0, id.json().as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::exact::Json;

    const ALICE: Owner = Owner([1; 32]);
    const MALLORY: Owner = Owner([2; 32]);

    fn place(session: &str) -> Place {
        Place { resource: "https://tools.test/mcp".into(), session: Some(session.into()) }
    }

    #[test]
    fn mcp_012_a_session_is_known_to_its_owner_alone_and_not_for_ever() {
        let (sessions, now) = (Sessions::default(), Timestamp::from_seconds(1_790_000_000));
        assert_eq!(sessions.look(&place("s"), ALICE, now), Standing::Unknown);
        sessions.bind(&place("s"), ALICE, Some(Version::V2025_06_18), now);
        let own = Standing::Own(Some(Version::V2025_06_18));
        assert_eq!(sessions.look(&place("s"), ALICE, now), own);
        assert_eq!(sessions.look(&place("s"), MALLORY, now), Standing::Foreign);
        assert_eq!(sessions.look(&place("S"), MALLORY, now), Standing::Unknown);
        let elsewhere = Place { resource: "https://tools.test/mcps".into(), ..place("s") };
        assert_eq!(sessions.look(&elsewhere, MALLORY, now), Standing::Unknown);
        let later = now.after(LIFETIME + Duration::from_secs(1));
        assert_eq!(sessions.look(&place("s"), MALLORY, later), Standing::Unknown);
    }

    #[test]
    fn mcp_014_what_was_asked_is_known_by_its_id_in_its_session_of_whom_it_was_asked() {
        let (sessions, now) = (Sessions::default(), Timestamp::from_seconds(1_790_000_000));
        let id = |text: &str| Id::read(&Json::parse(text.as_bytes()).unwrap()).unwrap();
        sessions.ask(&place("s"), ALICE, &id("1"), now);
        assert!(sessions.was_asked(&place("s"), ALICE, &id("1"), now));
        assert!(!sessions.was_asked(&place("s"), ALICE, &id("\"1\""), now));
        assert!(!sessions.was_asked(&place("s"), ALICE, &id("2"), now));
        assert!(!sessions.was_asked(&place("t"), ALICE, &id("1"), now));
        assert!(!sessions.was_asked(&place("s"), MALLORY, &id("1"), now));
    }
}
