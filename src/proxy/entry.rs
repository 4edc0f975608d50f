//! What the log says of a decision: the record, put together from what is known of the call.

use std::borrow::Cow;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use http::HeaderMap;
use http::request::Parts;
use uuid::{NoContext, Uuid};

use super::headers::{Caller, TRACEPARENT};
use super::visit::Visit;
use crate::audit::record::{
    Agent, Basis, Charge, Decision, Exceeded, Http, Kept, Operation, Proof, Token, Trail,
    Unverified,
};
use crate::audit::record::{
    Delegation as RecordedDelegation, Evidence as RecordedEvidence, Hop as RecordedHop,
    Prompt as RecordedPrompt, Text, Trace as RecordedTrace,
};
use crate::audit::tag::Tag;
use crate::decide::call::Call;
use crate::decide::permit::Ground;
use crate::facts::ledger::{Shortfall, Taken};
use crate::facts::replay::Fulfilled;
use crate::journal::writer::Journal;
use crate::model::consulted::Consulted;
use crate::model::need::FirstUse;
use crate::model::reason::Denial;
use crate::model::time::Timestamp;
use crate::model::written::Written;
use crate::policy::algebra;
use crate::token::aoa::Expansion;
use crate::token::delegation::Hop;
use crate::token::delegation::presenter::Method;
use crate::token::details;
use crate::token::evidence::{Evidence, Evidenced};
use crate::token::extract::Credentials;
use crate::token::grant::Grant;
use crate::token::hash::sha256;
use crate::token::jws;
use crate::token::names;
use crate::token::parties::Parties;
use crate::token::presenter::Presenter;

/// The id of a decision: a `UUIDv7`, so that ids sort by time.
#[derive(Clone, Copy, Debug)]
pub struct DecisionId([u8; 36]);

impl DecisionId {
    /// A new one for a call that came at `now`.
    pub fn new(now: Timestamp) -> Self {
        let micros = now.micros();
        let nanos = u32::try_from(micros % 1_000_000).unwrap_or_default().saturating_mul(1_000);
        let time = uuid::Timestamp::from_unix(NoContext, now.seconds(), nanos);
        let mut text = [0; 36];
        Uuid::new_v7(time).hyphenated().encode_lower(&mut text);
        Self(text)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The W3C trace context that a call continues, with the gate's own span.
#[derive(Clone, Debug)]
pub struct Trace {
    text: Box<str>,
    parent: Box<str>,
}

impl Trace {
    /// Continues the trace of a well-formed `traceparent`; the span is the end of the decision's id.
    pub fn continued(headers: &HeaderMap, id: &DecisionId) -> Option<Self> {
        let value = headers.get(TRACEPARENT)?.to_str().ok()?;
        let is_hex =
            |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let mut parts = value.split('-');
        let (version, trace) = (parts.next()?, parts.next()?);
        let (parent, flags) = (parts.next()?, parts.next()?);
        let lengths = [(version, 2), (trace, 32), (parent, 16), (flags, 2)];
        if version != "00"
            || parts.next().is_some()
            || !lengths.iter().all(|(text, length)| text.len() == *length && is_hex(text))
        {
            return None;
        }
        let mut text = String::with_capacity(55);
        write!(text, "00-{trace}-").ok()?;
        text.extend(id.as_str().chars().filter(|c| *c != '-').skip(16));
        write!(text, "-{flags}").ok()?;
        Some(Self { text: text.into(), parent: parent.into() })
    }

    /// The `traceparent` for the upstream.
    pub fn header(&self) -> &str {
        &self.text
    }

    fn recorded(&self) -> Option<RecordedTrace<'_>> {
        Some(RecordedTrace {
            id: self.text.get(3..35)?,
            span: self.text.get(36..52)?,
            parent: Some(&self.parent),
        })
    }
}

/// All that is known of a call when its decision is recorded.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The decision's id.
    pub id: &'a DecisionId,
    /// The trace that is continued.
    pub trace: Option<&'a Trace>,
    /// The caller.
    pub caller: Caller,
    /// The request head.
    pub parts: &'a Parts,
    /// The call, when the request could be read.
    pub call: Option<&'a Call<'a>>,
    /// The name of its upstream.
    pub upstream: Option<&'a str>,
    /// What was presented.
    pub credentials: Option<Credentials<'a>>,
    /// The grant, when the token was verified.
    pub grant: Option<&'a Grant>,
    /// What the caller has proven of itself, when it was admitted.
    pub presenter: Option<&'a Presenter>,
    /// Whether nothing was known of a task that the call names, so that it becomes the caller's.
    pub is_rebound: bool,
    /// Where and whose the call is among the sessions of an MCP server.
    pub visit: Option<&'a Visit>,
    /// The SHA-256 of the body, where it was read to be judged.
    pub body: Option<&'a [u8; 32]>,
    /// What is taken of every cap for it.
    pub taken: &'a [Taken],
    /// The cap that it does not fit into.
    pub shortfall: Option<&'a Shortfall>,
    /// What was done of what its permit owes.
    pub fulfilled: Fulfilled,
    /// What somebody should look at it for.
    pub alert: Option<&'static str>,
    /// The policies that were asked.
    pub consulted: &'a [Consulted],
    /// What was decided.
    pub verdict: Result<Ground, Denial>,
    /// Time spent deciding.
    pub took: Duration,
}

/// The parts of a record that are computed for it.
#[derive(Debug, Default)]
pub struct Computed {
    /// The token's part, where another presenter of the same token would be another agent.
    token: Option<Written>,
    query: Option<Tag>,
    session: Option<Tag>,
    scope: Option<String>,
    digest: Option<[u8; 32]>,
    issuer: Option<Box<str>>,
    charged: Vec<Charge>,
    exceeded: Option<Exceeded>,
    /// Where in the token the mistake is that it is refused for.
    place: Option<String>,
}

impl Entry<'_> {
    /// Computes keyed hashes, and for a refusal what helps to understand it.
    pub fn compute(&self, journal: &Journal) -> Computed {
        let mut computed = Computed {
            query: self.parts.uri.query().map(|query| journal.tag(query)),
            session: self
                .visit
                .and_then(|visit| visit.place.session.as_deref())
                .map(|session| journal.tag(session)),
            charged: self.taken.iter().filter_map(charge).collect(),
            exceeded: self.shortfall.map(exceeded),
            ..Computed::default()
        };
        if let Some((grant, parties)) = self.parties().filter(|(_, all)| all.rest_on_presenter) {
            let write = |into: &mut Vec<u8>| write_token(grant, parties, journal, into);
            computed.token = Some(Written::by(write));
        }
        let Some(denial) = self.denial() else { return computed };
        computed.scope = self.grant.map(|grant| grant.claims().scope.join(" "));
        if let (None, Some(credentials)) = (self.grant, self.credentials) {
            computed.issuer = jws::claimed_issuer(credentials.token);
            computed.digest = Some(credentials.digest);
            computed.place = details::place_of(denial, credentials.token);
        }
        computed
    }

    /// The record.
    pub fn decision<'r>(&'r self, computed: &'r Computed, journal: &Journal) -> Decision<'r> {
        let http = &self.parts;
        Decision {
            id: self.id.as_str(),
            trace: self.trace.and_then(Trace::recorded),
            refusal: self.denial(),
            place: computed.place.as_deref(),
            alert: self.alert,
            observed: match self.verdict {
                Ok(Ground::Observed(_)) => true,
                // Said of these too, so that a report can tell how many of all would be refused.
                Ok(Ground::Granted(_) | Ground::Public) => {
                    self.call.is_some_and(|call| call.resource().observed)
                }
                Err(_) => false,
            },
            kept: if self.fulfilled.must_last { Kept::Sync } else { journal.kept() },
            resource: self.call.map(|call| &*call.resource().id),
            token: computed.token.as_ref().or_else(|| self.token(journal)),
            presenter: self.presenter.and_then(|one| one.delegated).map(Method::word),
            evidence: self
                .presenter
                .and_then(Presenter::told)
                .and_then(Evidenced::shown)
                .map(|evidence| recorded(evidence, journal)),
            bond: self.fulfilled.bond,
            proof: self.presenter.map(|presenter| self.proof(presenter)),
            scope: computed.scope.as_deref(),
            unverified: computed.digest.as_ref().map(|digest| Unverified {
                sha256: Some(digest),
                issuer: computed.issuer.as_deref(),
                ..Unverified::default()
            }),
            basis: self.basis(),
            charged: &computed.charged,
            exceeded: computed.exceeded.as_ref(),
            policies: self.consulted,
            operation: self.call.and_then(|call| self.operation(call, computed)),
            http: Http {
                method: http.method.as_str(),
                path: http.uri.path(),
                host: self.call.map(Call::authority),
                query: computed.query.as_ref(),
                body: self.body,
            },
            client: self
                .caller
                .address
                .map(|address| SocketAddr::new(address, self.caller.port.unwrap_or(0))),
            upstream: self.upstream,
            elapsed: self.took,
        }
    }

    /// What is asked for, as far as that is known.
    fn operation<'r>(&self, call: &'r Call<'_>, computed: &'r Computed) -> Option<Operation<'r>> {
        let (asked, exchanged) = (call.asked(), call.exchanged());
        let method = exchanged.map(|asked| asked.method.name_in(asked.version));
        let method = method.or(asked.map(|asked| asked.method));
        let task = exchanged.and_then(|asked| asked.task.as_deref());
        Some(Operation {
            protocol: call.resource().protocol(),
            action: call.action().ok()?,
            method: method.unwrap_or(call.method().as_str()),
            name: task.or(asked.and_then(|asked| asked.name.as_deref())),
            path: call.path(),
            session: computed.session.as_ref(),
            rebound: self.visit.is_some_and(|visit| visit.is_rebound) || self.is_rebound,
        })
    }

    fn parties(&self) -> Option<(&Grant, Parties<'_>)> {
        self.grant.map(|grant| (grant, Parties::of(grant, self.presenter)))
    }

    /// Written once for each token: the key of its tags is that of the log, which does not change while
    /// the process lives.
    fn token(&self, journal: &Journal) -> Option<&Written> {
        let (grant, parties) = self.parties()?;
        Some(grant.written(|into| write_token(grant, parties, journal, into)))
    }

    /// Only the record of a call that is let through says that a proof was used: the memory of used proofs
    /// is filled from these records after a restart.
    fn proof(&self, presenter: &Presenter) -> Proof {
        let is_used = matches!(self.verdict, Ok(Ground::Granted(_)));
        let used = |first_use: Option<FirstUse>| first_use.filter(|_| is_used);
        Proof {
            certificate: presenter.certificate.as_ref().map(|shown| shown.thumbprint),
            dpop: presenter.dpop.map(|key| (key, used(presenter.dpop_use))),
            workload: presenter.workload_key.map(|key| (key, used(presenter.workload_use))),
        }
    }

    const fn denial(&self) -> Option<Denial> {
        match self.verdict {
            Ok(Ground::Granted(_) | Ground::Public) => None,
            Ok(Ground::Observed(denial)) | Err(denial) => Some(denial),
        }
    }

    const fn basis(&self) -> Option<Basis<'static>> {
        match self.verdict {
            Ok(Ground::Granted(algebra::Basis::Entry(entry))) => {
                Some(Basis { entry: Some(entry), how: "agent_operation" })
            }
            Ok(Ground::Granted(algebra::Basis::Policy(entry))) => {
                Some(Basis { entry: Some(entry), how: "policy" })
            }
            Ok(Ground::Granted(algebra::Basis::Boundaries)) => {
                Some(Basis { entry: None, how: "policy" })
            }
            Ok(Ground::Granted(algebra::Basis::Open)) => Some(Basis { entry: None, how: "token" }),
            Ok(Ground::Granted(algebra::Basis::Scopes)) => {
                Some(Basis { entry: None, how: "scope" })
            }
            Ok(Ground::Public) => Some(Basis { entry: None, how: "public" }),
            Ok(Ground::Observed(_)) | Err(_) => None,
        }
    }
}

/// What ends with its call is none of the log's concern: with the process, every call has ended.
fn charge(taken: &Taken) -> Option<Charge> {
    Some(Charge { cap: taken.cap.name.clone(), charged: taken.charged()? })
}

fn exceeded(shortfall: &Shortfall) -> Exceeded {
    Exceeded {
        cap: shortfall.cap.name.clone(),
        amount: shortfall.amount.to_string().into(),
        left: shortfall.left.map(|left| left.to_string().into()),
    }
}

fn write_token(grant: &Grant, parties: Parties<'_>, journal: &Journal, into: &mut Vec<u8>) {
    let claims = grant.claims();
    let user = parties.user.map(|user| journal.tag(user.id));
    let hops = grant.delegation().map_or(&[][..], |delegation| &delegation.hops);
    let hops: Vec<_> = hops.iter().map(|one| hop(one, journal)).collect();
    let token = Token {
        issuer: &grant.issuer().id,
        sha256: grant.digest(),
        jti: Some(&claims.jwt_id),
        expires: claims.expires,
        agent: agent(grant, parties, journal),
        user: user.as_ref(),
        client_id: parties.client.map(|client| named(client, journal)),
        evidence: grant.evidence().shown().map(|evidence| recorded(evidence, journal)),
        prompt: grant.evidence().prompted().map(|prompted| {
            let good = prompted.good();
            RecordedPrompt {
                sha256: &prompted.digest,
                verified: prompted.found.word(),
                id: good.map(|prompt| &*prompt.id),
                issuer: good.map(|prompt| &*prompt.issuer),
                typed: good.map(|prompt| prompt.typed),
            }
        }),
        delegation: grant.delegation().map(|delegation| RecordedDelegation {
            lineage: delegation.lineage.word(),
            root_evidence: delegation.root_evidence.as_deref(),
            hops: &hops,
        }),
        trail: trail(grant),
    };
    token.write(into);
}

/// The id of an agent or a client, as far as the log may hold it.
fn named<'v>(id: &'v str, journal: &Journal) -> Cow<'v, str> {
    if journal.discretion().ids {
        return Cow::Owned(journal.tag(id).as_str().to_owned());
    }
    Cow::Borrowed(id)
}

fn recorded<'r>(evidence: &'r Evidence, journal: &Journal) -> RecordedEvidence<'r> {
    RecordedEvidence {
        id: evidence.id.as_deref(),
        confirmed: evidence.confirmed,
        user_action: &evidence.user_action,
        verified: evidence.vouched.word(),
        summary: (!journal.discretion().texts).then_some(&evidence.summary),
        displayed: &evidence.displayed,
    }
}

fn agent<'r>(grant: &'r Grant, parties: Parties<'r>, journal: &Journal) -> Agent<'r> {
    let identity = grant.members().identity.as_ref();
    let id = |id: Option<&'r str>| id.map(|id| named(id, journal));
    Agent {
        id: id(parties.agent),
        identity: id(identity.map(|identity| &*identity.id)),
        // What runs the agent is none of its names.
        platform: identity.and_then(|identity| identity.platform.as_deref()).map(Cow::Borrowed),
        client: id(identity.and_then(|identity| identity.client.as_deref())),
        instance: id(identity.and_then(|identity| identity.instance.as_deref())),
    }
}

fn trail(grant: &Grant) -> Trail<'_> {
    let trail = &grant.members().trail;
    let stray = trail.has_binding_proposal.then_some(names::AGENT_USER_BINDING_PROPOSAL.snake);
    Trail {
        proposal: trail.proposal.as_deref(),
        expansion: trail.expansion.map(Expansion::word),
        interface: trail.interface.as_deref(),
        acknowledged: trail.acknowledged,
        prompt: trail.prompt.as_ref().map(<[u8; 32]>::as_slice),
        operation: trail.operation.as_ref().map(<[u8; 32]>::as_slice),
        shown: trail.shown.as_ref().map(<[u8; 32]>::as_slice),
        stray,
    }
}

fn hop<'r>(hop: &'r Hop, journal: &Journal) -> RecordedHop<'r> {
    let text = |text: &'r str| {
        if journal.discretion().texts {
            Text::Hashed(sha256(text.as_bytes()))
        } else {
            Text::Clear(text)
        }
    };
    RecordedHop {
        from: named(&hop.delegator, journal),
        to: hop.delegatee.as_deref().map(|id| named(id, journal)),
        authority: &hop.authority,
        at: hop.at,
        delegator_signature: hop.countersignature.word(),
        summary: hop.summary.as_deref().map(text),
        unsigned: hop.unsigned.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_continued_with_a_span_of_the_gate_or_not_at_all() {
        let id = DecisionId::new(Timestamp::from_seconds(1_790_000_000));
        let continued = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", value.parse().unwrap());
            Trace::continued(&headers, &id)
        };
        let trace = continued("00-305f05aabbccddeeff00112233445566-00f067aa0ba902b7-01").unwrap();
        assert!(trace.header().starts_with("00-305f05aabbccddeeff00112233445566-"));
        assert!(trace.header().ends_with("-01") && trace.header().len() == 55);
        assert_eq!(trace.recorded().unwrap().parent, Some("00f067aa0ba902b7"));
        for bad in [
            "",
            "00-305f05-00f067aa0ba902b7-01",
            "01-305f05aabbccddeeff00112233445566-00f067aa0ba902b7-01",
            "00-305F05aabbccddeeff00112233445566-00f067aa0ba902b7-01",
        ] {
            assert!(continued(bad).is_none(), "{bad}");
        }
    }
}
