//! One record of a chain of agents, and the bytes that its signatures are over (`delegation.md` §2, §3).

use serde_json::{Map, Value};

use super::{Countersignature, Hop, summary};
use crate::model::time::Timestamp;
use crate::token::claims::MAX_AGENT as MAX_ID;
use crate::token::jcs;
use crate::token::member;
use crate::token::policies::Policy;
use crate::token::trust::Delegations;

/// The members that signatures cover, those that may be absent last.
const SIGNED: [&str; 8] = [
    member::AS_ID,
    member::DELEGATEE_ID,
    member::DELEGATION_TIMESTAMP,
    member::DELEGATOR_ID,
    member::DELEGATED_POLICY,
    member::OPERATION_SUMMARY,
    member::ROOT_EVIDENCE_REF,
    member::SCOPE,
];
const SIGNATURES: [&str; 2] = [member::AS_SIGNATURE, member::DELEGATOR_SIGNATURE];
/// How many names of members that no signature covers are kept, and how long each may be.
const MAX_UNSIGNED: (usize, usize) = (8, 64);

/// A record as it stands in the token: well formed, and not verified.
#[derive(Debug)]
pub(super) struct Record<'a> {
    members: &'a Map<String, Value>,
    pub(super) delegator: &'a str,
    pub(super) delegatee: &'a str,
    pub(super) authority: &'a str,
    /// Seconds, with the fraction: two records of one second keep their order.
    pub(super) at: f64,
    pub(super) scope: Option<&'a str>,
    pub(super) root_evidence: Option<&'a str>,
    pub(super) as_signature: &'a str,
    pub(super) delegator_signature: Option<&'a str>,
    policy: Option<Policy>,
}

impl<'a> Record<'a> {
    /// D2. A member that is there must be of its type; `null` is of none.
    pub(super) fn read(members: &'a Map<String, Value>, terms: &Delegations) -> Option<Self> {
        // What belongs to the other shape of record would make this one mean two things.
        if members.contains_key(member::DELEGATOR_JTI)
            || members.contains_key(member::DELEGATOR_AGENT_IDENTITY)
        {
            return None;
        }
        let id = |name| text(members, name).filter(|id| is_agent_id(id, terms));
        let policy = match members.get(member::DELEGATED_POLICY) {
            None => None,
            Some(policy) if is_policy(policy) => Some(Policy::of(policy.as_object()?).ok()?),
            Some(_) => return None,
        };
        optional(members, member::OPERATION_SUMMARY)?;
        let scope = optional(members, member::SCOPE)?;
        if scope.is_some_and(|list| !is_scope(list)) {
            return None;
        }
        let root_evidence = optional(members, member::ROOT_EVIDENCE_REF)?;
        if root_evidence.is_some_and(|id| !(1..=512).contains(&id.chars().count())) {
            return None;
        }
        Some(Self {
            members,
            delegator: id(member::DELEGATOR_ID)?,
            delegatee: id(member::DELEGATEE_ID)?,
            authority: text(members, member::AS_ID)
                .filter(|id| (1..=MAX_ID).contains(&id.len()))?,
            at: seconds(members.get(member::DELEGATION_TIMESTAMP)?)?,
            scope,
            root_evidence,
            as_signature: text(members, member::AS_SIGNATURE)?,
            delegator_signature: optional(members, member::DELEGATOR_SIGNATURE)?,
            policy,
        })
    }

    /// What both signatures are over: the canonical form of exactly the members that are to be signed,
    /// as received. `None` for a number that has no canonical form.
    pub(super) fn signing_payload(&self) -> Option<Vec<u8>> {
        let signed = SIGNED.iter().filter_map(|name| Some((*name, self.members.get(*name)?)));
        jcs::object(signed).ok()
    }

    pub(super) fn hop(&self, countersignature: Countersignature) -> Hop {
        let (many, long) = MAX_UNSIGNED;
        let known = |name: &str| SIGNED.contains(&name) || SIGNATURES.contains(&name);
        let unsigned = self.members.keys().filter(|name| !known(name)).take(many);
        Hop {
            delegator: self.delegator.into(),
            delegatee: Some(self.delegatee.into()),
            authority: self.authority.into(),
            at: Timestamp::from_seconds(whole_seconds(self.at)),
            countersignature,
            summary: text(self.members, member::OPERATION_SUMMARY).map(summary),
            policy: self.policy.clone(),
            unsigned: unsigned
                .map(|name| name.chars().take(long).collect::<String>().into())
                .collect(),
        }
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name)?.as_str()
}

/// `None` where the member is there and is not a string.
#[expect(
    clippy::option_option,
    reason = "absent and wrong are two things, and `?` is for the second"
)]
fn optional<'a>(members: &'a Map<String, Value>, name: &str) -> Option<Option<&'a str>> {
    match members.get(name) {
        None => Some(None),
        Some(Value::String(text)) => Some(Some(text)),
        Some(_) => None,
    }
}

/// A URI of an accepted scheme. It is compared octet by octet and never dereferenced.
fn is_agent_id(id: &str, terms: &Delegations) -> bool {
    let scheme = id.split_once(':').filter(|(_, rest)| !rest.is_empty());
    id.len() <= MAX_ID
        && id.bytes().all(|byte| byte.is_ascii_graphic())
        && scheme.is_some_and(|(scheme, _)| terms.id_schemes.iter().any(|one| **one == *scheme))
}

/// RFC 6749 §3.3.
fn is_scope(list: &str) -> bool {
    list.split(' ').all(|scope| {
        !scope.is_empty() && scope.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
    })
}

fn is_policy(policy: &Value) -> bool {
    const TEXTS: [&str; 6] = ["content", "entry_point", "hash", "language", "type", "uri"];
    let Value::Object(members) = policy else { return false };
    let contradicts =
        matches!((members.get("language"), members.get("type")), (Some(a), Some(b)) if a != b);
    let has = |name: &str| members.contains_key(name);
    TEXTS.iter().all(|name| members.get(*name).is_none_or(Value::is_string))
        && (has("language") || has("type"))
        && (has("content") || has("uri"))
        && !contradicts
}

/// A `NumericDate` (RFC 7519 §2), with its fraction.
fn seconds(value: &Value) -> Option<f64> {
    value.as_f64().filter(|seconds| (0.0..=crate::token::claims::LAST_SECOND).contains(seconds))
}

/// Whole seconds of a date that [`seconds`] read.
pub(super) const fn whole_seconds(seconds: f64) -> u64 {
    crate::token::claims::whole_seconds(seconds)
}
