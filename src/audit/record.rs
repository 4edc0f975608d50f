//! The records of the audit log (`audit.md` §2), each written as the members of its line after the
//! prefix that the journal puts before them.
//!
//! What is not in these types cannot get into the log: no token, proof, cookie, query value or secret
//! has a field here, and a user is known by a keyed hash only.

use std::net::SocketAddr;
use std::time::Duration;

use crate::model::need::FirstUse;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;
use crate::model::written::Written;

use super::line::Members;
use super::tag::Tag;

/// The most that a path may take in a line, escapes included.
const MAX_PATH: usize = 8_192;
/// The most that a scope may take in a line, escapes included.
const MAX_SCOPE: usize = 4_096;
/// The most that the id of an agent may take in a line: eight hops must find room.
const MAX_AGENT: usize = 256;
/// The most that the summary of a delegation may take in a line, escapes included.
const MAX_SUMMARY: usize = 600;
/// The most of a value that nobody has verified.
const MAX_UNVERIFIED: usize = 256;

/// Something that the journal can write as a line.
pub trait Body: Sync {
    /// Appends the members of the record, without braces.
    fn write(&self, into: &mut Vec<u8>);

    /// What the record does to the set of calls that have begun and not ended.
    fn effect(&self) -> Effect<'_> {
        Effect::None
    }
}

/// What a record does to the set of open calls: each call that is let through gets one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// An outcome: one call ends.
    Closes,
    /// Neither.
    None,
    /// A call with this decision id is let through.
    Opens(&'a str),
}

/// How well a record is kept before the call goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In memory, for a moment.
    Batched,
    /// On the disk.
    Sync,
}

impl Kept {
    /// The word in records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Batched => "batched",
            Self::Sync => "sync",
        }
    }
}

/// A decision: written before the call is forwarded, or before the refusal is sent.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// The decision's id, a `UUIDv7` in text.
    pub id: &'a str,
    /// The trace the call belongs to.
    pub trace: Option<Trace<'a>>,
    /// Why the call is refused; `None` when it is allowed.
    pub refusal: Option<Denial>,
    /// Whether the call is forwarded whatever was decided (`mode = "observe"`).
    pub observed: bool,
    /// How the record is kept.
    pub kept: Kept,
    /// The identifier of the resource.
    pub resource: Option<&'a str>,
    /// The verified token: what [`Token::write`] wrote.
    pub token: Option<&'a Written>,
    /// How the presenter of a delegated token was known.
    pub presenter: Option<&'static str>,
    /// What the presenter has proven, when it was admitted.
    pub proof: Option<Proof>,
    /// `scope` of the verified token.
    pub scope: Option<&'a str>,
    /// What a token said that was not verified.
    pub unverified: Option<Unverified<'a>>,
    /// The grant entry that covers the operation.
    pub basis: Option<Basis<'a>>,
    /// The operation, as far as it was recognized.
    pub operation: Option<Operation<'a>>,
    /// The request.
    pub http: Http<'a>,
    /// The peer.
    pub client: Option<SocketAddr>,
    /// The upstream's name.
    pub upstream: Option<&'a str>,
    /// Time spent deciding.
    pub elapsed: Duration,
}

/// W3C trace context.
#[derive(Clone, Copy, Debug)]
pub struct Trace<'a> {
    /// The trace, 32 hexadecimal digits.
    pub id: &'a str,
    /// The gate's own span, 16 hexadecimal digits.
    pub span: &'a str,
    /// The caller's span.
    pub parent: Option<&'a str>,
}

/// A verified token. The token itself is never written.
#[derive(Clone, Copy, Debug)]
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
    pub client_id: Option<&'a str>,
    /// The person's confirmation, verified.
    pub evidence: Option<Evidence<'a>>,
    /// Through whom it was delegated.
    pub delegation: Option<Delegation<'a>>,
    /// The way from intent to token.
    pub trail: Trail<'a>,
}

/// The agent, as the token and its presenter name it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Agent<'a> {
    /// Who it is.
    pub id: Option<&'a str>,
    /// `agent_identity.id`: the binding of the agent to the person.
    pub identity: Option<&'a str>,
    /// `agent_identity.issued_for.platform`
    pub platform: Option<&'a str>,
    /// `agent_identity.issued_for.client`
    pub client: Option<&'a str>,
    /// `agent_identity.issued_for.client_instance`
    pub instance: Option<&'a str>,
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
    /// The beginning of what was displayed.
    pub summary: &'a str,
    /// SHA-256 of all that was displayed.
    pub displayed: &'a [u8],
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
    pub from: &'a str,
    /// To whom.
    pub to: Option<&'a str>,
    /// The server that recorded it.
    pub authority: &'a str,
    /// When.
    pub at: Timestamp,
    /// What the delegator's own signature was found to be.
    pub delegator_signature: &'static str,
    /// What it was for.
    pub summary: Option<&'a str>,
    /// The names of members that no signature covers.
    pub unsigned: String,
}

/// How the presenter has proven who it is, beside holding the token. The proof itself is never written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// The thumbprint of the client certificate.
    pub certificate: Option<[u8; 32]>,
    /// The thumbprint of the key of a DPoP proof, and the proof's use.
    pub dpop: Option<([u8; 32], Option<FirstUse>)>,
    /// The thumbprint of the key of a workload, and the use of its proof.
    pub workload: Option<([u8; 32], Option<FirstUse>)>,
}

/// How much of a thumbprint is written: enough to tell keys apart, and none that can be bound to.
const THUMBPRINT_PREFIX: usize = 8;

impl Proof {
    fn write(self, to: &mut Members<'_>) {
        let prefix = |thumbprint: &[u8; 32], to: &mut Members<'_>| {
            to.hex("key", thumbprint.get(..THUMBPRINT_PREFIX).unwrap_or_default());
        };
        for (name, proven) in [("dpop", self.dpop), ("wpt", self.workload)] {
            let Some((thumbprint, first_use)) = proven else { continue };
            to.object(name, |to| {
                prefix(&thumbprint, to);
                if let Some(first_use) = first_use {
                    to.hex("use", &first_use.id);
                    to.number("until", first_use.until.seconds());
                }
            });
        }
        if let Some(thumbprint) = self.certificate {
            to.object("mtls", |to| prefix(&thumbprint, to));
        }
    }
}

/// What an unverified token said. Never written where a verified value stands, and cut short.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unverified<'a> {
    /// SHA-256 of what was presented.
    pub sha256: Option<&'a [u8]>,
    /// `iss`
    pub issuer: Option<&'a str>,
    /// `kid`
    pub kid: Option<&'a str>,
    /// `jti`
    pub jti: Option<&'a str>,
    /// `client_id`
    pub client_id: Option<&'a str>,
    /// The agent.
    pub agent: Option<&'a str>,
}

/// Why a call is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// The index of the grant entry in the token, when there is one.
    pub entry: Option<usize>,
    /// How it covers the operation: `agent_operation`, `scope`.
    pub how: &'a str,
}

/// The operation.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// `http`, `mcp`, `a2a`.
    pub protocol: &'a str,
    /// The action.
    pub action: &'a str,
    /// The method.
    pub method: &'a str,
    /// The path below the resource.
    pub path: &'a str,
}

/// The request.
#[derive(Clone, Copy, Debug)]
pub struct Http<'a> {
    /// The method.
    pub method: &'a str,
    /// The path as received, without the query.
    pub path: &'a str,
    /// The authority.
    pub host: Option<&'a str>,
    /// The query, as a keyed hash.
    pub query: Option<&'a Tag>,
}

impl Decision<'_> {
    const fn is_forwarded(&self) -> bool {
        self.refusal.is_none() || self.observed
    }

    fn verdict(&self, to: &mut Members<'_>) {
        to.word("decision", if self.refusal.is_none() { "allow" } else { "deny" });
        if self.observed {
            to.word("mode", "observe");
        }
        to.word("reason", self.refusal.map_or("granted", |denial| denial.reason.code()));
        if let Some(about) = self.refusal.and_then(|denial| denial.about) {
            to.word("about", about);
        }
        to.word("durability", self.kept.word());
    }
}

impl Body for Decision<'_> {
    fn write(&self, into: &mut Vec<u8>) {
        let to = &mut Members::new(into);
        to.word("type", "decision");
        to.text("id", self.id);
        if let Some(trace) = self.trace {
            to.text("trace_id", trace.id);
            to.text("span_id", trace.span);
            to.optional("parent", trace.parent);
        }
        self.verdict(to);
        to.optional("resource", self.resource);
        if let Some(token) = self.token {
            to.written(token);
        }
        if let Some(presenter) = self.presenter {
            to.word("presenter", presenter);
        }
        if let Some(proof) = self.proof {
            to.object("proof", |to| proof.write(to));
        }
        if let Some(scope) = self.scope {
            to.text_within(MAX_SCOPE, "scope", scope);
        }
        if let Some(unverified) = &self.unverified {
            to.object("unverified", |to| unverified.write(to));
        }
        if let Some(basis) = &self.basis {
            to.object("grant", |to| {
                if let Some(entry) = basis.entry {
                    to.number("entry", count(entry));
                }
                to.text("how", basis.how);
            });
        }
        if let Some(operation) = &self.operation {
            to.object("op", |to| {
                to.text("protocol", operation.protocol);
                to.text("action", operation.action);
                to.text("method", operation.method);
                to.text_within(MAX_PATH, "path", operation.path);
            });
        }
        to.object("http", |to| {
            to.text("method", self.http.method);
            to.text_within(MAX_PATH, "path", self.http.path);
            to.optional("host", self.http.host);
            to.optional("query", self.http.query.map(Tag::as_str));
        });
        if let Some(client) = self.client {
            to.object("client", |to| {
                to.address("address", client.ip());
                to.number("port", client.port().into());
            });
        }
        to.optional("upstream", self.upstream);
        to.number("us", micros(self.elapsed));
    }

    fn effect(&self) -> Effect<'_> {
        if self.is_forwarded() { Effect::Opens(self.id) } else { Effect::None }
    }
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
        to.optional("client_id", self.client_id);
        if let Some(evidence) = &self.evidence {
            to.object("evidence", |to| {
                to.optional("id", evidence.id);
                to.number("confirmed_at", evidence.confirmed.seconds());
                to.text_within(MAX_AGENT, "user_action", evidence.user_action);
                to.word("verified", evidence.verified);
                to.text_within(MAX_SUMMARY, "displayed_summary", evidence.summary);
                to.hex("displayed_sha256", evidence.displayed);
            });
        }
        if let Some(delegation) = &self.delegation {
            to.object("delegation", |to| delegation.write(to));
        }
        self.trail.write(to);
    }
}

impl Agent<'_> {
    fn write(&self, to: &mut Members<'_>) {
        let members = [
            ("id", self.id),
            ("identity", self.identity),
            ("platform", self.platform),
            ("client", self.client),
            ("instance", self.instance),
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
            to.text_within(MAX_AGENT, "from", hop.from);
            if let Some(agent) = hop.to {
                to.text_within(MAX_AGENT, "to", agent);
            }
            to.text_within(MAX_AGENT, "as_id", hop.authority);
            to.number("at", hop.at.seconds());
            to.word("delegator_signature", hop.delegator_signature);
            if let Some(summary) = hop.summary {
                to.text_within(MAX_SUMMARY, "summary", summary);
            }
            if !hop.unsigned.is_empty() {
                to.text_within(MAX_AGENT, "unsigned", &hop.unsigned);
            }
        });
    }
}

impl Unverified<'_> {
    fn write(&self, to: &mut Members<'_>) {
        if let Some(sha256) = self.sha256 {
            to.hex("token_sha256", sha256);
        }
        for (name, value) in [
            ("iss", self.issuer),
            ("kid", self.kid),
            ("jti", self.jti),
            ("client_id", self.client_id),
            ("agent", self.agent),
        ] {
            if let Some(value) = value {
                to.text_within(MAX_UNVERIFIED, name, value);
            }
        }
    }
}

/// How a forwarded call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The caller went away.
    ClientAborted,
    /// The upstream answered with a failure, or broke off.
    Failure,
    /// The gate ended before the call did.
    Interrupted,
    /// The upstream answered.
    Success,
    /// The upstream did not answer in time.
    Timeout,
    /// The upstream could not be reached.
    Unreachable,
}

impl Ending {
    /// The word in records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ClientAborted => "client_aborted",
            Self::Failure => "failure",
            Self::Interrupted => "interrupted",
            Self::Success => "success",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
        }
    }
}

/// The outcome of a call that was let through: exactly one for each.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The `seq` of its decision.
    pub of: u64,
    /// The decision's id.
    pub id: &'a str,
    /// How it ended.
    pub ending: Ending,
    /// The status that the upstream sent.
    pub status: Option<u16>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// From the decision to the end, when known.
    pub duration: Option<Duration>,
    /// From the decision to the first byte of the response.
    pub first_byte: Option<Duration>,
    /// Why it failed.
    pub error: Option<Reason>,
}

impl<'a> Outcome<'a> {
    /// An outcome of which nothing is known but that the call ended.
    pub const fn bare(of: u64, id: &'a str, ending: Ending, error: Option<Reason>) -> Self {
        Self {
            of,
            id,
            ending,
            status: None,
            bytes_in: 0,
            bytes_out: 0,
            duration: None,
            first_byte: None,
            error,
        }
    }
}

impl Body for Outcome<'_> {
    fn write(&self, into: &mut Vec<u8>) {
        let to = &mut Members::new(into);
        to.word("type", "outcome");
        to.number("of", self.of);
        to.text("id", self.id);
        to.word("result", self.ending.word());
        if let Some(error) = self.error {
            to.word("error", error.code());
        }
        if let Some(status) = self.status {
            to.object("http", |to| to.number("status", status.into()));
        }
        if let Some(duration) = self.duration {
            to.number("bytes_in", self.bytes_in);
            to.number("bytes_out", self.bytes_out);
            to.number("us", micros(duration));
        }
        if let Some(first_byte) = self.first_byte {
            to.number("first_byte_us", micros(first_byte));
        }
    }

    fn effect(&self) -> Effect<'_> {
        Effect::Closes
    }
}

/// Refusals of callers without a valid token that were counted instead of written one by one.
#[derive(Clone, Copy, Debug)]
pub struct Aggregate<'a> {
    /// Why they were refused.
    pub reason: Reason,
    /// The address, the IPv6 network, or `other`.
    pub source: &'a str,
    /// How many.
    pub count: u64,
    /// The first.
    pub start: Timestamp,
    /// The last.
    pub end: Timestamp,
}

impl Body for Aggregate<'_> {
    fn write(&self, into: &mut Vec<u8>) {
        let to = &mut Members::new(into);
        to.word("type", "aggregate");
        to.word("decision", "deny");
        to.word("reason", self.reason.code());
        to.text("source", self.source);
        to.number("count", self.count);
        to.text("start", &self.start.to_string());
        to.text("end", &self.end.to_string());
    }
}

/// Records that are missing, or may be.
#[derive(Clone, Copy, Debug)]
pub struct Gap<'a> {
    /// How many at most; `None` when that is not known.
    pub at_most: Option<u64>,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// Why: `queue_full`, `unclean_end`, `damaged`.
    pub why: &'a str,
    /// Where a damaged log was set aside, below the audit directory.
    pub set_aside: Option<&'a str>,
}

impl Body for Gap<'_> {
    fn write(&self, into: &mut Vec<u8>) {
        let to = &mut Members::new(into);
        to.word("type", "gap");
        if let Some(at_most) = self.at_most {
            to.number("at_most", at_most);
        }
        to.text("from", &self.from.to_string());
        to.text("to", &self.to.to_string());
        to.text("why", self.why);
        to.optional("set_aside", self.set_aside);
    }
}

/// The beginning of a process epoch.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The version of the program.
    pub version: &'a str,
    /// The digest of the configuration.
    pub config: &'a str,
    /// How decisions are kept.
    pub kept: Kept,
    /// How bytes are made durable: `fdatasync`.
    pub sync: &'a str,
    /// How the epoch before ended; `None` when there was none.
    pub previous_clean: Option<bool>,
    /// Torn lines that were cut off.
    pub lines_cut: u64,
    /// Bytes of them.
    pub bytes_cut: u64,
    /// Calls of the epoch before that had no outcome and get one now.
    pub interrupted: u64,
}

impl Body for Start<'_> {
    fn write(&self, into: &mut Vec<u8>) {
        let to = &mut Members::new(into);
        to.word("type", "start");
        to.text("version", self.version);
        to.object("config", |to| to.text("sha256", self.config));
        to.word("durability", self.kept.word());
        to.text("sync", self.sync);
        if let Some(clean) = self.previous_clean {
            to.word("previous", if clean { "clean" } else { "unclean" });
            to.object("recovered", |to| {
                to.number("lines_cut", self.lines_cut);
                to.number("bytes_cut", self.bytes_cut);
                to.number("interrupted", self.interrupted);
            });
        }
    }
}

/// The clean end of a process epoch.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    /// Calls without an outcome, which the next epoch will close.
    pub open: u64,
}

impl Body for Stop {
    fn write(&self, into: &mut Vec<u8>) {
        let to = &mut Members::new(into);
        to.word("type", "stop");
        to.number("open", self.open);
    }
}

/// A new configuration took effect.
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    /// The digest of the one before.
    pub old: &'a str,
    /// The digest of the new one.
    pub new: &'a str,
}

impl Body for Config<'_> {
    fn write(&self, into: &mut Vec<u8>) {
        let to = &mut Members::new(into);
        to.word("type", "config");
        to.object("old", |to| to.text("sha256", self.old));
        to.object("new", |to| to.text("sha256", self.new));
    }
}

/// Something was revoked at this gate, or a revocation was lifted.
#[derive(Clone, Copy, Debug)]
pub struct Revocation<'a> {
    /// The id of the revocation.
    pub id: &'a str,
    /// What was done.
    pub change: Change,
    /// The kind of thing that is revoked.
    pub kind: &'static str,
    /// Its name; that of a person as a keyed hash.
    pub name: Revoked<'a>,
    /// The issuer whose tokens are meant.
    pub issuer: Option<&'a str>,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// Why, in the words of who made it.
    pub reason: Option<&'a str>,
    /// How it came: `admin`, `push`.
    pub by: &'static str,
}

/// What was done to a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was lifted.
    Lifted,
    /// It was made.
    Made,
}

/// The name of what is revoked.
#[derive(Clone, Copy, Debug)]
pub enum Revoked<'a> {
    /// A name that says nothing of a person.
    Plain(&'a str),
    /// That of a person.
    Tagged(&'a Tag),
}

impl Body for Revocation<'_> {
    fn write(&self, into: &mut Vec<u8>) {
        let to = &mut Members::new(into);
        to.word("type", "revocation");
        to.text("id", self.id);
        to.word(
            "change",
            match self.change {
                Change::Lifted => "lift",
                Change::Made => "revoke",
            },
        );
        to.object("revoked", |to| {
            to.word("kind", self.kind);
            match self.name {
                Revoked::Plain(name) => to.text("name", name),
                Revoked::Tagged(tag) => to.text("tag", tag.as_str()),
            }
            to.optional("iss", self.issuer);
        });
        if let Some(until) = self.until {
            to.number("until", until.seconds());
        }
        to.optional("why", self.reason);
        to.word("by", self.by);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::line::MAX_LINE;
    use super::super::tag::Tagger;
    use super::*;
    use crate::model::need::ProofKind;

    fn text(body: &impl Body) -> String {
        let mut into = Vec::new();
        body.write(&mut into);
        String::from_utf8(into).unwrap()
    }

    fn token(any: &str, tag: &Tag) -> Written {
        let hop = Hop {
            from: any,
            to: Some(any),
            authority: any,
            at: Timestamp::from_seconds(1_790_000_000),
            delegator_signature: "unverifiable",
            summary: Some(any),
            unsigned: any.to_owned(),
        };
        let hops = vec![hop; if any.len() > 1 { 8 } else { 1 }];
        let delegation =
            Delegation { lineage: "structural", root_evidence: Some(any), hops: &hops };
        let token = Token {
            issuer: any,
            sha256: &[0xab; 32],
            jti: Some(any),
            expires: Timestamp::from_seconds(1_790_000_000),
            agent: Agent {
                id: Some(any),
                identity: Some(any),
                platform: Some(any),
                client: Some(any),
                instance: Some(any),
            },
            user: Some(tag),
            client_id: Some(any),
            evidence: Some(Evidence {
                id: Some(any),
                confirmed: Timestamp::from_seconds(7),
                user_action: any,
                verified: "signature",
                summary: any,
                displayed: &[0xef; 2],
            }),
            delegation: Some(delegation),
            trail: Trail {
                proposal: Some(any),
                expansion: Some("high"),
                interface: Some(any),
                acknowledged: Some(Timestamp::from_seconds(0)),
                prompt: Some(&[0xcd; 32]),
                operation: None,
                shown: None,
                stray: Some("agent_user_binding_proposal"),
            },
        };
        Written::by(|into| token.write(into))
    }

    fn first_use() -> FirstUse {
        let until = Timestamp::from_seconds(1_790_000_060);
        FirstUse { kind: ProofKind::Dpop, id: [4; 16], until }
    }

    fn decision<'a>(any: &'a str, tag: &'a Tag, token: &'a Written) -> Decision<'a> {
        Decision {
            id: any,
            trace: Some(Trace { id: any, span: any, parent: Some(any) }),
            refusal: None,
            observed: false,
            kept: Kept::Sync,
            resource: Some(any),
            token: Some(token),
            presenter: Some("workload"),
            proof: Some(Proof {
                certificate: Some([1; 32]),
                dpop: Some(([2; 32], Some(first_use()))),
                workload: Some(([3; 32], None)),
            }),
            scope: Some(any),
            unverified: None,
            basis: Some(Basis { entry: Some(2), how: any }),
            operation: Some(Operation { protocol: any, action: any, method: any, path: any }),
            http: Http { method: any, path: any, host: Some(any), query: Some(tag) },
            client: Some("10.1.2.123:53252".parse().unwrap()),
            upstream: Some(any),
            elapsed: Duration::from_micros(41),
        }
    }

    #[test]
    fn a_decision_has_the_members_of_the_specification_in_their_order() {
        let tag = Tagger::new(b"Jefe").tag(b"what do ya want for nothing?");
        let hex = "ab".repeat(32);
        let expected = format!(
            concat!(
                r#""type":"decision","id":"x","trace_id":"x","span_id":"x","parent":"x","#,
                r#""decision":"allow","reason":"granted","durability":"sync","resource":"x","#,
                r#""iss":"x","token_sha256":"{}","jti":"x","exp":1790000000,"agent":{{"id":"x","identity":"x","platform":"x","client":"x","instance":"x"}},"#,
                r#""user":{{"tag":"h1:W9zBRr9gdU5qBCQmCJV1xw"}},"client_id":"x","#,
                r#""evidence":{{"id":"x","confirmed_at":7,"user_action":"x","verified":"signature","#,
                r#""displayed_summary":"x","displayed_sha256":"efef"}},"#,
                r#""delegation":{{"depth":1,"lineage":"structural","root_evidence":"x","hops":["#,
                r#"{{"from":"x","to":"x","as_id":"x","at":1790000000,"#,
                r#""delegator_signature":"unverifiable","summary":"x","unsigned":"x"}}]}},"#,
                r#""proposal":"x","semantic_expansion":"high","consent_interface":"x","#,
                r#""acknowledged":"1970-01-01T00:00:00.000000Z","prompt_sha256":"{}","stray":"agent_user_binding_proposal","presenter":"workload","#,
                r#""proof":{{"dpop":{{"key":"0202020202020202","use":"04040404040404040404040404040404","until":1790000060}},"#,
                r#""wpt":{{"key":"0303030303030303"}},"mtls":{{"key":"0101010101010101"}}}},"scope":"x","#,
                r#""grant":{{"entry":2,"how":"x"}},"#,
                r#""op":{{"protocol":"x","action":"x","method":"x","path":"x"}},"#,
                r#""http":{{"method":"x","path":"x","host":"x","query":"h1:W9zBRr9gdU5qBCQmCJV1xw"}},"#,
                r#""client":{{"address":"10.1.2.123","port":53252}},"upstream":"x","us":41"#
            ),
            hex,
            "cd".repeat(32)
        );
        assert_eq!(text(&decision("x", &tag, &token("x", &tag))), expected);
    }

    #[test]
    fn a_refusal_keeps_what_was_not_verified_apart_and_short() {
        let tag = Tagger::new(b"k").tag(b"v");
        let long = "i".repeat(5_000);
        let written = token("x", &tag);
        let body = Decision {
            refusal: Some(Reason::SignatureInvalid.into()),
            token: None,
            presenter: None,
            scope: None,
            unverified: Some(Unverified { issuer: Some(&long), ..Unverified::default() }),
            observed: true,
            ..decision("x", &tag, &written)
        };
        let line = text(&body);
        assert!(
            line.contains(r#""decision":"deny","mode":"observe","reason":"signature_invalid""#)
        );
        assert!(line.contains(&format!(r#""unverified":{{"iss":"{}…"}}"#, "i".repeat(256))));
        assert!(!line.contains(r#""agent""#) && !line.contains(r#""user""#));
        assert_eq!(body.effect(), Effect::Opens("x"), "observed calls are forwarded");
        assert_eq!(Decision { observed: false, ..body }.effect(), Effect::None);
    }

    #[test]
    fn the_worst_decision_fits_a_line() {
        let tag = Tagger::new(b"k").tag(b"v");
        let worst = "\u{1b}".repeat(70_000);
        let written = token(&worst, &tag);
        let all = Unverified {
            sha256: Some(&[0; 32]),
            issuer: Some(&worst),
            kid: Some(&worst),
            jti: Some(&worst),
            client_id: Some(&worst),
            agent: Some(&worst),
        };
        let line = text(&Decision { unverified: Some(all), ..decision(&worst, &tag, &written) });
        assert!(line.len() < MAX_LINE - 2_000, "{}", line.len());
    }

    #[test]
    fn the_other_records_are_json_objects_that_name_their_type() {
        let now = Timestamp::from_seconds(1);
        let outcome = Outcome {
            status: Some(201),
            bytes_out: 7,
            duration: Some(Duration::from_millis(1)),
            ..Outcome::bare(7, "x", Ending::Success, None)
        };
        let start = Start {
            version: "0.1.0",
            config: "ab",
            kept: Kept::Sync,
            sync: "fdatasync",
            previous_clean: Some(false),
            lines_cut: 1,
            bytes_cut: 9,
            interrupted: 2,
        };
        let reason = Reason::TokenAbsent;
        let revocation = Revocation {
            id: "x",
            change: Change::Made,
            kind: "jti",
            name: Revoked::Plain("y"),
            issuer: Some("https://as.test"),
            until: Some(now),
            reason: Some("lost"),
            by: "admin",
        };
        let gap = Gap { at_most: Some(3), from: now, to: now, why: "queue_full", set_aside: None };
        for (kind, line) in [
            ("outcome", text(&outcome)),
            ("start", text(&start)),
            ("stop", text(&Stop { open: 0 })),
            ("config", text(&Config { old: "a", new: "b" })),
            ("gap", text(&gap)),
            ("revocation", text(&revocation)),
            (
                "aggregate",
                text(&Aggregate { reason, source: "10.0.0.1", count: 9, start: now, end: now }),
            ),
        ] {
            let value: serde_json::Value = serde_json::from_str(&format!("{{{line}}}")).unwrap();
            assert_eq!(value["type"], kind);
        }
        assert_eq!(
            text(&outcome),
            r#""type":"outcome","of":7,"id":"x","result":"success","http":{"status":201},"bytes_in":0,"bytes_out":7,"us":1000"#
        );
    }
}
