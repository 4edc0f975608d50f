//! What a record says of a verified token and its way here: the agent, the person's confirmation, the
//! delegation.

use std::borrow::Cow;

use super::count;
use crate::audit::line::Members;
use crate::audit::tag::Tag;
use crate::model::time::Timestamp;

/// The most that the id of an agent may take in a line: eight hops must find room.
const MAX_AGENT: usize = 256;
/// The most that the summary of a delegation may take in a line, escapes included.
const MAX_SUMMARY: usize = 600;

/// What of tokens is written as a hash, so that it can be recognized and not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discretion {
    /// `hash_ids`: the ids of agents and clients stand as keyed hashes, as those of persons always do.
    pub ids: bool,
    /// `hash_only`: of texts that a person was shown, or that say what was delegated, only the SHA-256.
    pub texts: bool,
}

/// A verified token. The token itself is never written.
#[derive(Clone, Debug)]
pub struct Token<'a> {
    /// `iss`
    pub issuer: &'a str,
    /// SHA-256 of the compact serialization.
    pub sha256: &'a [u8],
    /// `jti`
    pub jti: Option<&'a str>,
    /// `exp`
    pub expires: Timestamp,
    /// The agent.
    pub agent: Agent<'a>,
    /// The user, as a keyed hash.
    pub user: Option<&'a Tag>,
    /// `client_id`
    pub client_id: Option<Cow<'a, str>>,
    /// The person's confirmation, verified.
    pub evidence: Option<Evidence<'a>>,
    /// What a client says that the person typed, where there is no confirmation.
    pub prompt: Option<Prompt<'a>>,
    /// Through whom it was delegated.
    pub delegation: Option<Delegation<'a>>,
    /// The way from intent to token.
    pub trail: Trail<'a>,
}

/// The agent, as the token and its presenter name it.
#[derive(Clone, Debug, Default)]
pub struct Agent<'a> {
    /// Who it is.
    pub id: Option<Cow<'a, str>>,
    /// `agent_identity.id`: the binding of the agent to the person.
    pub identity: Option<Cow<'a, str>>,
    /// `agent_identity.issued_for.platform`
    pub platform: Option<Cow<'a, str>>,
    /// `agent_identity.issued_for.client`
    pub client: Option<Cow<'a, str>>,
    /// `agent_identity.issued_for.client_instance`
    pub instance: Option<Cow<'a, str>>,
}

/// What lets a reviewer walk from intent to proposal to consent (`evidence.md` §7). Texts are there as
/// their hashes only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trail<'a> {
    /// `related_proposal_id`
    pub proposal: Option<&'a str>,
    /// `semantic_expansion_level`
    pub expansion: Option<&'static str>,
    /// `consent_interface_version`
    pub interface: Option<&'a str>,
    /// `user_acknowledge_timestamp`
    pub acknowledged: Option<Timestamp>,
    /// SHA-256 of `original_prompt_text`
    pub prompt: Option<&'a [u8]>,
    /// SHA-256 of `rendered_operation_text`
    pub operation: Option<&'a [u8]>,
    /// SHA-256 of `rendered_text`
    pub shown: Option<&'a [u8]>,
    /// A member that does not belong into an access token.
    pub stray: Option<&'static str>,
}

/// A verified confirmation of the person (`evidence.md` §7).
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Its id.
    pub id: Option<&'a str>,
    /// When the person acted.
    pub confirmed: Timestamp,
    /// What the person did.
    pub user_action: &'a str,
    /// What vouches for it: `signature` or `token`.
    pub verified: &'static str,
    /// The beginning of what was displayed, where it may be read.
    pub summary: Option<&'a str>,
    /// SHA-256 of all that was displayed.
    pub displayed: &'a [u8],
}

/// A prompt credential, which is known by its hash: nothing of the prompt is written.
#[derive(Clone, Copy, Debug)]
pub struct Prompt<'a> {
    /// SHA-256 of the credential.
    pub sha256: &'a [u8],
    /// What came of it: `signature`, `encrypted` or `unverified`.
    pub verified: &'static str,
    /// The id of one that was verified.
    pub id: Option<&'a str>,
    /// The client that vouches for it.
    pub issuer: Option<&'a str>,
    /// When the person typed it.
    pub typed: Option<Timestamp>,
}

/// A verified delegation chain.
#[derive(Clone, Copy, Debug)]
pub struct Delegation<'a> {
    /// What its records are made of: `agents`, `tokens`, `structural`.
    pub lineage: &'static str,
    /// The id of the evidence of the consent that was delegated.
    pub root_evidence: Option<&'a str>,
    /// The delegations, newest first.
    pub hops: &'a [Hop<'a>],
}

/// One delegation. Its server's signature was verified, or it would not stand here; but for a chain
/// that is `structural`.
#[derive(Clone, Debug)]
pub struct Hop<'a> {
    /// Who delegated.
    pub from: Cow<'a, str>,
    /// To whom.
    pub to: Option<Cow<'a, str>>,
    /// The server that recorded it.
    pub authority: &'a str,
    /// When.
    pub at: Timestamp,
    /// What the delegator's own signature was found to be.
    pub delegator_signature: &'static str,
    /// What it was for.
    pub summary: Option<Text<'a>>,
    /// The names of members that no signature covers.
    pub unsigned: String,
}

/// A text that a person wrote or read.
#[derive(Clone, Copy, Debug)]
pub enum Text<'a> {
    /// As it is, cut short.
    Clear(&'a str),
    /// Its SHA-256.
    Hashed([u8; 32]),
}

impl Token<'_> {
    /// Appends the members that say whose token it is, which are the same for every call with it.
    pub fn write(&self, into: &mut Vec<u8>) {
        let to = &mut Members::new(into);
        to.text("iss", self.issuer);
        to.hex("token_sha256", self.sha256);
        to.optional("jti", self.jti);
        to.number("exp", self.expires.seconds());
        self.agent.write(to);
        if let Some(user) = self.user {
            to.object("user", |to| to.text("tag", user.as_str()));
        }
        to.optional("client_id", self.client_id.as_deref());
        if let Some(evidence) = &self.evidence {
            to.object("evidence", |to| evidence.write(to));
        }
        if let Some(prompt) = &self.prompt {
            to.object("prompt_credential", |to| prompt.write(to));
        }
        if let Some(delegation) = &self.delegation {
            to.object("delegation", |to| delegation.write(to));
        }
        self.trail.write(to);
    }
}

impl Evidence<'_> {
    pub(super) fn write(&self, to: &mut Members<'_>) {
        to.optional("id", self.id);
        to.number("confirmed_at", self.confirmed.seconds());
        to.text_within(MAX_AGENT, "user_action", self.user_action);
        to.word("verified", self.verified);
        if let Some(summary) = self.summary {
            to.text_within(MAX_SUMMARY, "displayed_summary", summary);
        }
        to.hex("displayed_sha256", self.displayed);
    }
}

impl Prompt<'_> {
    fn write(&self, to: &mut Members<'_>) {
        to.hex("sha256", self.sha256);
        to.word("verified", self.verified);
        for (name, text) in [("id", self.id), ("iss", self.issuer)] {
            if let Some(text) = text {
                to.text_within(MAX_AGENT, name, text);
            }
        }
        if let Some(typed) = self.typed {
            to.number("typed_at", typed.seconds());
        }
    }
}

impl Agent<'_> {
    fn write(&self, to: &mut Members<'_>) {
        let members = [
            ("id", self.id.as_deref()),
            ("identity", self.identity.as_deref()),
            ("platform", self.platform.as_deref()),
            ("client", self.client.as_deref()),
            ("instance", self.instance.as_deref()),
        ];
        if members.iter().any(|(_, value)| value.is_some()) {
            to.object("agent", |to| {
                for (name, value) in members {
                    to.optional(name, value);
                }
            });
        }
    }
}

impl Trail<'_> {
    fn write(&self, to: &mut Members<'_>) {
        to.optional("proposal", self.proposal);
        if let Some(level) = self.expansion {
            to.word("semantic_expansion", level);
        }
        to.optional("consent_interface", self.interface);
        if let Some(moment) = self.acknowledged {
            to.text("acknowledged", &moment.to_string());
        }
        for (name, hash) in [
            ("prompt_sha256", self.prompt),
            ("operation_text_sha256", self.operation),
            ("shown_text_sha256", self.shown),
        ] {
            if let Some(hash) = hash {
                to.hex(name, hash);
            }
        }
        if let Some(stray) = self.stray {
            to.word("stray", stray);
        }
    }
}

impl Delegation<'_> {
    fn write(&self, to: &mut Members<'_>) {
        to.number("depth", count(self.hops.len()));
        to.word("lineage", self.lineage);
        to.optional("root_evidence", self.root_evidence);
        to.objects("hops", self.hops, |to, hop| {
            to.text_within(MAX_AGENT, "from", &hop.from);
            if let Some(agent) = &hop.to {
                to.text_within(MAX_AGENT, "to", agent);
            }
            to.text_within(MAX_AGENT, "as_id", hop.authority);
            to.number("at", hop.at.seconds());
            to.word("delegator_signature", hop.delegator_signature);
            match hop.summary {
                None => {}
                Some(Text::Clear(text)) => to.text_within(MAX_SUMMARY, "summary", text),
                Some(Text::Hashed(hash)) => to.hex("summary_sha256", &hash),
            }
            if !hop.unsigned.is_empty() {
                to.text_within(MAX_AGENT, "unsigned", &hop.unsigned);
            }
        });
    }
}
