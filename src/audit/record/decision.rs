//! The record of a decision, written before the call is forwarded or refused.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Body, Effect, Evidence, Kept, count, micros, policy};
use crate::audit::line::Members;
use crate::audit::tag::Tag;
use crate::model::consulted::Consulted;
use crate::model::need::{Bond, Charged, FirstUse};
use crate::model::reason::Denial;
use crate::model::written::Written;

/// The most that a path may take in a line, escapes included.
const MAX_PATH: usize = 8_192;
/// The most that the name of a tool or the URI of a resource may take in a line, escapes included.
const MAX_NAME: usize = 1_024;
/// The most that a scope may take in a line, escapes included.
const MAX_SCOPE: usize = 4_096;
/// The most of a value that nobody has verified.
const MAX_UNVERIFIED: usize = 256;
/// How much of a thumbprint is written: enough to tell keys apart, and none that can be bound to.
const THUMBPRINT_PREFIX: usize = 8;

/// A decision: written before the call is forwarded, or before the refusal is sent.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// The decision's id, a `UUIDv7` in text.
    pub id: &'a str,
    /// The trace the call belongs to.
    pub trace: Option<Trace<'a>>,
    /// Why the call is refused; `None` when it is allowed.
    pub refusal: Option<Denial>,
    /// Where in a claim the mistake is that the token is refused for, as far as it is known.
    pub place: Option<&'a str>,
    /// What somebody should look at it for: it was let through, or refused because of it.
    pub alert: Option<&'static str>,
    /// Whether the call is forwarded whatever is decided (`mode = "observe"`).
    pub observed: bool,
    /// How the record is kept.
    pub kept: Kept,
    /// The identifier of the resource.
    pub resource: Option<&'a str>,
    /// The verified token: what [`Token::write`](super::Token::write) wrote.
    pub token: Option<&'a Written>,
    /// How the presenter of a delegated token was known.
    pub presenter: Option<&'static str>,
    /// The person's confirmation, where the token only names it and its issuer told the rest.
    pub evidence: Option<Evidence<'a>>,
    /// With whom and what the evidence is used, where the call is let through and that is remembered; the
    /// person under the key of the log.
    pub bond: Option<Bond>,
    /// What the presenter has proven, when it was admitted.
    pub proof: Option<Proof>,
    /// `scope` of the verified token.
    pub scope: Option<&'a str>,
    /// What a token said that was not verified.
    pub unverified: Option<Unverified<'a>>,
    /// The grant entry that covers the operation.
    pub basis: Option<Basis<'a>>,
    /// The policies that were asked, in order.
    pub policies: &'a [Consulted],
    /// What the call was charged under every cap, when it is allowed.
    pub charged: &'a [Charge],
    /// The cap it did not fit into, when that is why it is refused.
    pub exceeded: Option<&'a Exceeded>,
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
    /// How it covers the operation: `agent_operation`, `policy`, `scope`.
    pub how: &'a str,
}

/// What a call was charged under one cap. The ledger is filled from these after a restart.
#[derive(Clone, Debug)]
pub struct Charge {
    /// The name of the cap.
    pub cap: Box<str>,
    /// Whose account it went to, how much, and until when it counts.
    pub charged: Charged,
}

/// A cap that a call did not fit into.
#[derive(Clone, Debug)]
pub struct Exceeded {
    /// The name of the cap.
    pub cap: Box<str>,
    /// What the call would have counted, in decimal.
    pub amount: Box<str>,
    /// What was left, in decimal, where that is known.
    pub left: Option<Box<str>>,
}

/// The operation.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// `http`, `mcp`, `a2a`.
    pub protocol: &'static str,
    /// The action.
    pub action: &'a str,
    /// The method: of the request, or of the message in it.
    pub method: &'a str,
    /// What a message names: a tool, a prompt, the URI of a resource, or a task.
    pub name: Option<&'a str>,
    /// The path below the resource.
    pub path: &'a str,
    /// The session it is in, keyed: who knows its id can join it.
    pub session: Option<&'a Tag>,
    /// Whether nothing was known of that session, so that it became the caller's.
    pub rebound: bool,
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
    /// The SHA-256 of the body, where it was read to be judged.
    pub body: Option<&'a [u8; 32]>,
}

impl Decision<'_> {
    const fn is_forwarded(&self) -> bool {
        self.refusal.is_none() || self.observed
    }

    fn asked(&self, to: &mut Members<'_>) {
        if !self.policies.is_empty() {
            to.objects("policies", self.policies, |to, one| policy::write(one, to));
        }
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
        if let Some(place) = self.place {
            to.text_within(MAX_UNVERIFIED, "place", place);
        }
        if let Some(alert) = self.alert {
            to.word("alert", alert);
        }
        to.word("durability", self.kept.word());
    }

    fn quantities(&self, to: &mut Members<'_>) {
        if !self.charged.is_empty() {
            to.objects("charged", self.charged, |to, one| {
                to.text("cap", &one.cap);
                to.hex("account", &one.charged.account);
                to.text("amount", &one.charged.amount);
                to.text("until", &one.charged.until.to_string());
            });
        }
        if let Some(exceeded) = self.exceeded {
            to.object("exceeded", |to| {
                to.text("cap", &exceeded.cap);
                to.text("amount", &exceeded.amount);
                to.optional("left", exceeded.left.as_deref());
            });
        }
    }

    fn request(&self, to: &mut Members<'_>) {
        if let Some(operation) = &self.operation {
            to.object("op", |to| {
                to.word("protocol", operation.protocol);
                to.text("action", operation.action);
                to.text("method", operation.method);
                if let Some(name) = operation.name {
                    to.text_within(MAX_NAME, "name", name);
                }
                to.text_within(MAX_PATH, "path", operation.path);
                if let Some(session) = operation.session {
                    to.text("session", session.as_str());
                }
                if operation.rebound {
                    to.switch("rebound", true);
                }
            });
        }
        to.object("http", |to| {
            to.text("method", self.http.method);
            to.text_within(MAX_PATH, "path", self.http.path);
            to.optional("host", self.http.host);
            to.optional("query", self.http.query.map(Tag::as_str));
            if let Some(body) = self.http.body {
                to.hex("body_sha256", body);
            }
        });
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
        if let Some(evidence) = &self.evidence {
            to.object("evidence", |to| evidence.write(to));
        }
        if let Some(bond) = self.bond {
            to.object("bond", |to| {
                to.hex("evidence", &bond.evidence);
                to.hex("person", &bond.person);
                if let Some(grant) = bond.grant {
                    to.hex("grant", &grant);
                }
            });
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
        self.asked(to);
        self.quantities(to);
        self.request(to);
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

#[cfg(test)]
mod tests;
