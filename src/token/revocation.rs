//! Revocation: what a token can be revoked by, and what is revoked (`verification.md` step 11).
//!
//! A revocation names one thing: a token, a person, a client, an agent, a policy, a piece of evidence,
//! the root of a delegation, or a whole issuer. A token dies of it when it carries that name anywhere,
//! in its delegation chain too, so that a revoked ancestor kills every descendant (`delegation.md` D16).

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::claims::Claims;
use super::member;
use super::names;
use crate::model::hex::hex;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;

/// The longest name, in bytes: that of a delegation's agents (`delegation.md` §2).
pub const MAX_NAME: usize = 2_048;

/// What kind of thing is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An agent: the one that acts, or any in the delegation chain.
    Agent,
    /// A client, by `client_id` or `azp`.
    Client,
    /// The root of a delegation: its agent, its first token or its evidence.
    DelegationRoot,
    /// Consent that was withdrawn, by the id of its evidence.
    Evidence,
    /// Everything of an issuer.
    Issuer,
    /// A policy that the token names.
    Policy,
    /// A person, by `sub` or the user part of `issued_to`.
    Subject,
    /// One token, by `jti`; one without, by `sha256:` and the hexadecimal SHA-256 of its text.
    Token,
}

impl Kind {
    /// Every kind, in the order of their names.
    pub const ALL: [Self; 8] = [
        Self::Agent,
        Self::Client,
        Self::DelegationRoot,
        Self::Evidence,
        Self::Issuer,
        Self::Policy,
        Self::Subject,
        Self::Token,
    ];

    /// The word in documents and records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Client => member::CLIENT_ID,
            Self::DelegationRoot => "delegation_root",
            Self::Evidence => "evidence_id",
            Self::Issuer => "issuer",
            Self::Policy => "policy_id",
            Self::Subject => member::SUB,
            Self::Token => member::JTI,
        }
    }
}

/// What a revocation is of: one name, within one issuer or whoever issued the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The kind of thing.
    pub kind: Kind,
    /// Its name.
    pub value: Box<str>,
    /// The issuer whose tokens are meant; every issuer's where there is none.
    pub issuer: Option<Box<str>>,
}

impl Target {
    /// Reads the one member that names the thing: `{"jti": "…"}`. `issuer` beside it narrows it, alone
    /// it is the thing. An unknown member could have been another narrowing, so it must not stand there
    /// unless it is one of `others`.
    pub fn read(members: &Map<String, Value>, others: &[&str]) -> Result<Self, &'static str> {
        let mut issuer = None;
        let mut named = None;
        for (member, value) in members {
            if others.contains(&member.as_str()) {
                continue;
            }
            let kind = Kind::ALL.into_iter().find(|kind| kind.word() == member);
            let kind = kind.ok_or("a member is not known")?;
            let value = value.as_str().filter(|name| is_name(name));
            let value = Box::from(value.ok_or("a name is not a plain string of 1 to 2048 bytes")?);
            if kind == Kind::Issuer {
                issuer = Some(value);
            } else if named.replace((kind, value)).is_some() {
                return Err("more than one thing is named");
            }
        }
        match (named, issuer) {
            (Some((kind, value)), issuer) => Ok(Self { kind, value, issuer }),
            (None, Some(value)) => Ok(Self { kind: Kind::Issuer, value, issuer: None }),
            (None, None) => Err("nothing is named"),
        }
    }

    /// Writes the members that [`Target::read`] reads.
    pub fn write(&self, into: &mut Map<String, Value>) {
        into.insert(self.kind.word().to_owned(), Value::from(&*self.value));
        if let Some(issuer) = &self.issuer {
            into.insert(Kind::Issuer.word().to_owned(), Value::from(&**issuer));
        }
    }
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// What is revoked at one time. Looking up costs nothing while it is empty.
#[derive(Clone, Debug, Default)]
pub struct Set(HashMap<Box<str>, Vec<Revoked>>);

#[derive(Clone, Debug)]
struct Revoked {
    kind: Kind,
    issuer: Option<Box<str>>,
    until: Option<Timestamp>,
}

/// How a token was found to be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// By a name of this kind.
    pub kind: Kind,
    /// Which stands in its delegation chain and nowhere else.
    pub inherited: bool,
}

impl From<Hit> for Denial {
    fn from(hit: Hit) -> Self {
        let reason = if hit.inherited { Reason::DelegationRevoked } else { Reason::TokenRevoked };
        Self::about(reason, hit.kind.word())
    }
}

impl Set {
    /// Adds a revocation, which ends at `until` where that is given.
    pub fn add(&mut self, target: &Target, until: Option<Timestamp>) {
        let revoked = Revoked { kind: target.kind, issuer: target.issuer.clone(), until };
        self.0.entry(target.value.clone()).or_default().push(revoked);
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many revocations there are.
    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// The first of the token's names that is revoked at `now`.
    pub fn find(&self, named: &Named, now: Timestamp) -> Option<Hit> {
        if self.is_empty() {
            return None;
        }
        named.all().find_map(|(name, value)| {
            let is_hit = self.has(name.kind, value, named, now);
            is_hit.then_some(Hit { kind: name.kind, inherited: name.inherited })
        })
    }

    /// Whether the agent of this name is revoked, which presents a token and need not stand in it.
    pub fn find_agent(&self, agent: &str, named: &Named, now: Timestamp) -> Option<Hit> {
        let is_hit = self.has(Kind::Agent, agent, named, now);
        is_hit.then_some(Hit { kind: Kind::Agent, inherited: false })
    }

    fn has(&self, kind: Kind, value: &str, named: &Named, now: Timestamp) -> bool {
        let applies = |revoked: &Revoked| {
            revoked.kind == kind
                && revoked.until.is_none_or(|until| now < until)
                && revoked.issuer.as_deref().is_none_or(|issuer| named.is_of(issuer))
        };
        self.0.get(value).is_some_and(|all| all.iter().any(applies))
    }
}

impl<'a> FromIterator<(&'a Target, Option<Timestamp>)> for Set {
    fn from_iter<T: IntoIterator<Item = (&'a Target, Option<Timestamp>)>>(all: T) -> Self {
        let mut set = Self::default();
        for (target, until) in all {
            set.add(target, until);
        }
        set
    }
}

/// Everything that one verified token can be revoked by. Kept for each token that is remembered, so its
/// texts stand in one piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    text: String,
    names: Vec<Name>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    kind: Kind,
    inherited: bool,
    /// Where its text ends, which began where the one before ends.
    end: u32,
}

impl Named {
    /// The names in a verified payload. They are read leniently, from every place where one can stand:
    /// a name too many refuses a token only if somebody revoked that very name.
    pub fn of(
        issuer: &str,
        claims: &Claims,
        digest: &[u8; 32],
        payload: &Map<String, Value>,
    ) -> Self {
        let mut named = Self::default();
        named.add(Kind::Issuer, issuer);
        named.add(Kind::Token, &claims.jwt_id);
        named.add(Kind::Token, &token_name(digest));
        named.add(Kind::Subject, &claims.subject);
        let agents = [&claims.actor, &claims.client_id, &claims.authorized_party];
        for agent in agents.into_iter().flatten() {
            named.add(Kind::Agent, agent);
        }
        if let Some(client) = &claims.client_id {
            named.add(Kind::Client, client);
        }
        named.add_text(Kind::Client, payload.get(member::AZP));
        named.add_operation(payload);
        named.add_evidence(payload);
        if let Some(chain) = payload.get(member::DELEGATION_CHAIN).and_then(Value::as_array) {
            named.add_chain(chain);
        }
        let mut actor = payload.get(member::ACT).and_then(|actor| actor.get(member::ACT));
        while let Some(Value::Object(members)) = actor {
            named.inherit(Kind::Agent, members.get(member::SUB));
            actor = members.get(member::ACT);
        }
        named.text.shrink_to_fit();
        named.names.shrink_to_fit();
        named
    }

    fn all(&self) -> impl Iterator<Item = (Name, &str)> {
        let mut start = 0;
        self.names.iter().map(move |name| {
            let end = usize::try_from(name.end).unwrap_or(usize::MAX);
            let value = self.text.get(start..end).unwrap_or_default();
            start = end;
            (*name, value)
        })
    }

    /// Adds a name that the token carries itself.
    pub fn add(&mut self, kind: Kind, value: &str) {
        self.push(kind, false, value);
    }

    fn push(&mut self, kind: Kind, inherited: bool, value: &str) {
        self.text.push_str(value);
        // A token has 16 KiB at most.
        let end = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        self.names.push(Name { kind, inherited, end });
    }

    fn add_text(&mut self, kind: Kind, value: Option<&Value>) {
        if let Some(Value::String(text)) = value {
            self.add(kind, text);
        }
    }

    /// Adds a name that the token has from one of its ancestors.
    fn inherit(&mut self, kind: Kind, value: Option<&Value>) {
        if let Some(Value::String(text)) = value {
            self.push(kind, true, text);
        }
    }

    /// The members of operation authorization (`tokens.md` §4) and the policies that are named (§6).
    fn add_operation(&mut self, payload: &Map<String, Value>) {
        for identity in names::AGENT_IDENTITY.all(payload).filter_map(Value::as_object) {
            self.add_text(Kind::Agent, identity.get(names::ID.snake));
            for person in names::ISSUED_TO.all(identity).filter_map(Value::as_str) {
                self.add(Kind::Subject, person);
                if let Some((_, user)) = person.rsplit_once('|') {
                    self.add(Kind::Subject, user);
                }
            }
        }
        let authorizations = names::AGENT_OPERATION_AUTHORIZATION.all(payload);
        for authorization in authorizations.filter_map(Value::as_object) {
            for policy in names::POLICY_ID.all(authorization) {
                self.add_text(Kind::Policy, Some(policy));
            }
        }
        let one = |named: &mut Self, policy: &Value| {
            named.add_text(Kind::Policy, Some(policy));
            named.add_text(Kind::Policy, policy.get("id"));
        };
        for reference in names::POLICY_REF.all(payload) {
            match reference {
                Value::Array(several) => several.iter().for_each(|policy| one(self, policy)),
                policy => one(self, policy),
            }
        }
    }

    /// Every place of `evidence.md` §1.
    fn add_evidence(&mut self, payload: &Map<String, Value>) {
        let details = payload.get(member::AUTHORIZATION_DETAILS).and_then(Value::as_array);
        let of_details =
            details.into_iter().flatten().filter_map(|detail| detail.get(member::EVIDENCE));
        let claims = [member::EVIDENCE, member::EVIDENCE_DETAILS]
            .into_iter()
            .filter_map(|name| payload.get(name));
        for evidence in of_details.chain(claims) {
            self.add_text(Kind::Evidence, evidence.get("id"));
            let trail = evidence.get("audit_trail");
            self.add_text(Kind::Evidence, trail.and_then(|trail| trail.get(member::EVIDENCE_REF)));
        }
        self.add_text(Kind::Evidence, payload.get(member::EVIDENCE_REF));
        for member in ["audit_trail", "auditTrail"] {
            let trail = payload.get(member);
            self.add_text(Kind::Evidence, trail.and_then(|trail| trail.get(member::EVIDENCE_REF)));
        }
    }

    /// Both shapes of a record (`tokens.md` §7). The last record is the first hop.
    fn add_chain(&mut self, chain: &[Value]) {
        for record in chain {
            self.inherit(Kind::Agent, record.get(member::DELEGATEE_ID));
            self.inherit(Kind::Agent, record.get(member::DELEGATOR_ID));
            self.inherit(Kind::Issuer, record.get(member::AS_ID));
            self.inherit(Kind::Token, record.get(member::DELEGATOR_JTI));
            self.inherit(Kind::Evidence, record.get(member::ROOT_EVIDENCE_REF));
            let identity = record.get(member::DELEGATOR_AGENT_IDENTITY);
            self.inherit(Kind::Agent, identity.and_then(|identity| identity.get("id")));
        }
        if let Some(first) = chain.last() {
            for name in [member::DELEGATOR_ID, member::DELEGATOR_JTI, member::ROOT_EVIDENCE_REF] {
                self.inherit(Kind::DelegationRoot, first.get(name));
            }
        }
    }

    /// Whether `issuer` issued the token, or signed a record of its chain.
    pub fn is_of(&self, issuer: &str) -> bool {
        self.all().any(|(name, value)| name.kind == Kind::Issuer && value == issuer)
    }
}

/// The name of a token that has no `jti`, or none that its holder could not change: the hash of its
/// text.
pub fn token_name(digest: &[u8; 32]) -> String {
    format!("sha256:{}", hex(digest))
}

#[cfg(test)]
mod tests;
