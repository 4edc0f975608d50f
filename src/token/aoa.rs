//! The members of agent operation authorization (`tokens.md` §4; drafts 00 to 02): which policy was
//! registered, whose agent it is, what the person was shown.
//!
//! Recognized member by member, whatever else the token is. Texts of the person are kept as their
//! SHA-256 only, which is all that a record says of them.

use std::time::Duration;

use aws_lc_rs::digest;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value};

use super::names::{self, Name};
use super::policies::PolicyId;
use super::trust::Issuer;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;

/// The longest identifier among these members, in bytes.
const MAX_ID: usize = 512;
/// The longest text, in bytes: no bound of its own, since the token has one.
const MAX_TEXT: usize = usize::MAX;
/// The one version of an agent identity.
const VERSION: &str = "1.0";

/// What the token says in these members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// `agent_operation_authorization`, which makes it such a token.
    pub authorization: Option<PolicyId>,
    /// `agent_identity`
    pub identity: Option<AgentIdentity>,
    /// `context`, `audit_trail` and `references`
    pub trail: Trail,
}

/// `agent_identity`: one binding of an agent to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentIdentity {
    /// `id`: unique for each binding.
    pub id: Box<str>,
    /// `issuer`: the token's own, or one that the operator lists.
    pub issuer: Box<str>,
    /// `issued_to`: the person.
    pub issued_to: Option<Person>,
    /// `issued_for.platform`
    pub platform: Option<Box<str>>,
    /// `issued_for.client`
    pub client: Option<Box<str>>,
    /// `issued_for.client_instance`
    pub instance: Option<Box<str>>,
    /// The three of `issued_for` as one name, with `/` between them.
    pub agent: Option<Box<str>>,
    /// `issuance_date`
    pub issued: Option<Timestamp>,
    /// `valid_from`
    pub valid_from: Option<Timestamp>,
    /// `expires`
    pub expires: Timestamp,
}

/// A person at an identity provider: `<issuer>|<user>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// What stands before the last `|`.
    pub issuer: Option<Box<str>>,
    /// What stands after it.
    pub user: Box<str>,
}

/// The way from intent to token, as far as records name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// SHA-256 of `audit_trail.original_prompt_text`
    pub prompt: Option<[u8; 32]>,
    /// SHA-256 of `audit_trail.rendered_operation_text`
    pub operation: Option<[u8; 32]>,
    /// SHA-256 of `context.rendered_text`
    pub shown: Option<[u8; 32]>,
    /// `audit_trail.semantic_expansion_level`
    pub expansion: Option<Expansion>,
    /// `audit_trail.user_acknowledge_timestamp`
    pub acknowledged: Option<Timestamp>,
    /// `audit_trail.consent_interface_version`
    pub interface: Option<Box<str>>,
    /// `references.related_proposal_id`
    pub proposal: Option<Box<str>>,
    /// Whether `agent_user_binding_proposal` is there, which belongs into a request.
    pub has_binding_proposal: bool,
}

/// How far an agent went beyond the words of the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expansion {
    /// `none`
    None,
    /// `low`
    Low,
    /// `medium`
    Medium,
    /// `high`
    High,
}

impl Members {
    /// Those of a token that has none of them.
    pub const NONE: Self = Self {
        authorization: None,
        identity: None,
        trail: Trail {
            prompt: None,
            operation: None,
            shown: None,
            expansion: None,
            acknowledged: None,
            interface: None,
            proposal: None,
            has_binding_proposal: false,
        },
    };

    /// Reads the members of a verified payload (`verification.md` step 14).
    pub fn read(payload: &Map<String, Value>, issuer: &Issuer) -> Result<Self, Denial> {
        let authorization = names::AGENT_OPERATION_AUTHORIZATION.object(payload)?;
        let authorization = authorization.map(PolicyId::read).transpose()?;
        let identity = names::AGENT_IDENTITY.object(payload)?;
        let identity = identity.map(|members| AgentIdentity::read(members, issuer)).transpose()?;
        if authorization.is_some() && identity.is_none() && issuer.require_agent_identity {
            return Err(names::AGENT_IDENTITY.missing());
        }
        Ok(Self { authorization, identity, trail: Trail::read(payload)? })
    }

    /// Checks the dates against `now`, at each use of a remembered token too: a token whose agent
    /// identity has ended is dead even while its own time lasts.
    pub fn check_current(&self, leeway: Duration, now: Timestamp) -> Result<(), Denial> {
        let Some(identity) = &self.identity else { return Ok(()) };
        if now >= identity.expires.after(leeway) {
            return Err(names::EXPIRES.invalid());
        }
        for (name, date) in
            [(names::VALID_FROM, identity.valid_from), (names::ISSUANCE_DATE, identity.issued)]
        {
            if date.is_some_and(|date| date.before(leeway) > now) {
                return Err(name.invalid());
            }
        }
        Ok(())
    }
}

impl Name {
    /// The refusal of an agent identity because of this member.
    const fn invalid(self) -> Denial {
        Denial::about(Reason::AgentIdentityInvalid, self.snake)
    }
}

impl AgentIdentity {
    fn read(members: &Map<String, Value>, issuer: &Issuer) -> Result<Self, Denial> {
        if names::VERSION.text(members, MAX_ID)?.is_some_and(|version| version != VERSION) {
            return Err(names::VERSION.malformed());
        }
        let by = names::ISSUER.text(members, MAX_ID)?.ok_or(names::ISSUER.missing())?;
        let empty = Map::new();
        let issued_for = names::ISSUED_FOR.object(members)?.unwrap_or(&empty);
        let platform = names::PLATFORM.owned(issued_for, MAX_ID)?;
        let client = names::CLIENT.owned(issued_for, MAX_ID)?;
        let instance = names::CLIENT_INSTANCE.owned(issued_for, MAX_ID)?;
        let issued_to = names::ISSUED_TO.text(members, MAX_ID)?;
        let read = Self {
            id: names::ID.owned(members, MAX_ID)?.ok_or(names::ID.missing())?,
            issuer: by.into(),
            issued_to: issued_to
                .map(|text| Person::read(text).ok_or(names::ISSUED_TO.malformed()))
                .transpose()?,
            agent: joined([&platform, &client, &instance]),
            platform,
            client,
            instance,
            issued: names::ISSUANCE_DATE.moment(members)?,
            valid_from: names::VALID_FROM.moment(members)?,
            expires: names::EXPIRES.moment(members)?.ok_or(names::EXPIRES.missing())?,
        };
        // Draft 00 lets somebody on the client's side issue identities; the later ones let the server.
        if *by != *issuer.id && !issuer.agent_identity_issuers.iter().any(|other| **other == *by) {
            return Err(names::ISSUER.invalid());
        }
        Ok(read)
    }
}

impl Person {
    /// `https://idp|user`. Without a `|` the whole is the user.
    pub fn read(text: &str) -> Option<Self> {
        let (issuer, user) = match text.rsplit_once('|') {
            Some((issuer, user)) => (Some(issuer), user),
            None => (None, text),
        };
        if user.is_empty() || issuer.is_some_and(str::is_empty) {
            return None;
        }
        Some(Self { issuer: issuer.map(Into::into), user: user.into() })
    }
}

/// One name of several parts. A `/` in a part is encoded, so that no two tuples have one name.
fn joined(parts: [&Option<Box<str>>; 3]) -> Option<Box<str>> {
    const ENCODED: &AsciiSet = &CONTROLS.add(b'/').add(b'%');
    if parts.iter().all(|part| part.is_none()) {
        return None;
    }
    let parts = parts
        .map(|part| utf8_percent_encode(part.as_deref().unwrap_or_default(), ENCODED).to_string());
    Some(parts.join("/").into())
}

impl Trail {
    fn read(payload: &Map<String, Value>) -> Result<Self, Denial> {
        let empty = Map::new();
        let context = names::CONTEXT.object(payload)?.unwrap_or(&empty);
        let trail = names::AUDIT_TRAIL.object(payload)?.unwrap_or(&empty);
        let references = names::REFERENCES.object(payload)?.unwrap_or(&empty);
        let level = names::SEMANTIC_EXPANSION_LEVEL.text(trail, MAX_ID)?;
        Ok(Self {
            prompt: hash(names::ORIGINAL_PROMPT_TEXT, trail)?,
            operation: hash(names::RENDERED_OPERATION_TEXT, trail)?,
            shown: hash(names::RENDERED_TEXT, context)?,
            expansion: level.and_then(Expansion::named),
            acknowledged: names::USER_ACKNOWLEDGE_TIMESTAMP.moment(trail)?,
            interface: names::CONSENT_INTERFACE_VERSION.owned(trail, MAX_ID)?,
            proposal: names::RELATED_PROPOSAL_ID.owned(references, MAX_ID)?,
            has_binding_proposal: names::AGENT_USER_BINDING_PROPOSAL.is_in(payload),
        })
    }
}

/// The SHA-256 of a text, which may be empty.
fn hash(name: Name, members: &Map<String, Value>) -> Result<Option<[u8; 32]>, Denial> {
    let text = match name.of(members)? {
        Some(Value::String(text)) if text.is_empty() => Some(""),
        _ => name.text(members, MAX_TEXT)?,
    };
    let digest = |text: &str| digest::digest(&digest::SHA256, text.as_bytes());
    Ok(text.and_then(|text| digest(text).as_ref().try_into().ok()))
}

impl Expansion {
    /// The level that a word names. Another word says nothing (`evidence.md` §2).
    fn named(word: &str) -> Option<Self> {
        [Self::None, Self::Low, Self::Medium, Self::High].into_iter().find(|one| one.word() == word)
    }

    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_766_041_200);

    fn issuer() -> Issuer {
        Issuer::named("https://as.test")
    }

    fn identity() -> Value {
        json!({
            "version": "1.0", "id": "urn:uuid:1", "issuer": "https://as.test", "issued_to": "https://idp.test|user-1",
            "issued_for": {"platform": "p/1", "client": "c", "client_instance": "i"},
            "issuance_date": "2025-12-18T06:00:00.123Z", "valid_from": "2025-12-18T06:00:00Z",
            "expires": "2025-12-18T08:00:00.000000001Z",
        })
    }

    fn read(identity: &Value) -> Result<Members, Denial> {
        let payload = json!({
            "agent_operation_authorization": {"policy_id": "p"}, "agent_identity": identity,
        });
        let members = Members::read(payload.as_object().unwrap(), &issuer())?;
        members.check_current(Duration::from_secs(30), NOW)?;
        Ok(members)
    }

    #[test]
    fn r_tok_024_an_identity_has_its_members_and_its_time() {
        let good = read(&identity()).unwrap().identity.unwrap();
        assert_eq!(good.agent.as_deref(), Some("p%2F1/c/i"));
        for (member, value, reason) in [
            ("version", json!("2.0"), Reason::ClaimMalformed),
            ("id", json!(null), Reason::ClaimMalformed),
            ("id", json!(""), Reason::ClaimMalformed),
            ("issued_to", json!("https://idp.test|"), Reason::ClaimMalformed),
            ("issued_to", json!("|user"), Reason::ClaimMalformed),
            ("issued_for", json!("c"), Reason::ClaimMalformed),
            ("issued_for", json!({"client": 7}), Reason::ClaimMalformed),
            ("issuance_date", json!(1_766_037_600), Reason::ClaimMalformed),
            ("issuance_date", json!("2025-12-18T07:01:00Z"), Reason::AgentIdentityInvalid),
            ("valid_from", json!("2025-12-18T07:00:31Z"), Reason::AgentIdentityInvalid),
            ("valid_from", json!("soon"), Reason::ClaimMalformed),
            ("expires", json!("2025-12-18T06:59:30Z"), Reason::AgentIdentityInvalid),
            ("expires", json!("2025-12-18"), Reason::ClaimMalformed),
            ("issuer", json!("https://as.test/"), Reason::AgentIdentityInvalid),
            ("expiresAt", json!("x"), Reason::ClaimMissing),
        ] {
            let mut identity = identity();
            if member == "expiresAt" {
                identity.as_object_mut().unwrap().remove("expires");
            }
            identity[member] = value.clone();
            assert_eq!(read(&identity).unwrap_err().reason, reason, "{member} {value}");
        }
        for (member, value) in [
            ("valid_from", "2025-12-18T07:00:30Z"),
            ("expires", "2025-12-18T06:59:31Z"),
            ("issued_to", "user-1"),
        ] {
            let mut identity = identity();
            identity[member] = json!(value);
            assert!(read(&identity).is_ok(), "{member} {value}");
        }
    }

    #[test]
    fn r_tok_025_another_issuer_of_identities_must_be_configured() {
        let mut foreign = identity();
        foreign["issuer"] = json!("https://idp.client.test");
        assert_eq!(read(&foreign).unwrap_err().about, Some("issuer"));
        let trusting =
            Issuer { agent_identity_issuers: vec!["https://idp.client.test".into()], ..issuer() };
        let payload = json!({ "agent_identity": foreign });
        assert!(Members::read(payload.as_object().unwrap(), &trusting).is_ok());
    }

    #[test]
    fn r_tok_033_the_person_stands_behind_the_last_bar() {
        let person = |text: &str| Person::read(text).map(|p| (p.issuer, p.user));
        let some = |issuer: &str, user: &str| Some((Some(issuer.into()), user.into()));
        assert_eq!(person("https://idp|alice"), some("https://idp", "alice"));
        assert_eq!(person("a|b|c"), some("a|b", "c"));
        assert_eq!(person("alice"), Some((None, "alice".into())));
        assert_eq!((person("x|"), person("|x"), person("")), (None, None, None));
    }

    #[test]
    fn r_tok_021_the_trail_is_the_same_in_both_spellings_and_holds_no_text() {
        let read = |payload: Value| Members::read(payload.as_object().unwrap(), &issuer()).unwrap();
        let snake = read(json!({
            "context": {"rendered_text": "abc"},
            "audit_trail": {"original_prompt_text": "abc", "rendered_operation_text": "",
                "semantic_expansion_level": "medium", "user_acknowledge_timestamp": "2025-12-18T06:00:00Z",
                "consent_interface_version": "v1"},
            "references": {"related_proposal_id": "urn:uuid:2"},
        }));
        let camel = read(json!({
            "context": {"renderedText": "abc"},
            "auditTrail": {"originalPromptText": "abc", "renderedOperationText": "",
                "semanticExpansionLevel": "medium", "userAcknowledgeTimestamp": "2025-12-18T06:00:00Z",
                "consentInterfaceVersion": "v1"},
            "references": {"relatedProposalId": "urn:uuid:2"},
        }));
        assert_eq!(snake, camel);
        assert_eq!(snake.trail.shown.unwrap()[..2], [0xba, 0x78]);
        assert!(!format!("{snake:?}").contains("abc"));
        let unheard_of = read(json!({"audit_trail": {"semantic_expansion_level": "extreme"}}));
        assert_eq!(unheard_of.trail.expansion, None);
    }
}
