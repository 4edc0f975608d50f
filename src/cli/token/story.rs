//! What a token says beyond its claims: through whom it came, what it is bound to, and what the person
//! was shown. With a grant it is verified, and without one it is what the token says of itself.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use super::inspect::{date_of, plain};
use crate::cli::output::escaped;
use crate::model::time::Timestamp;
use crate::token::delegation::{Countersignature, Delegation};
use crate::token::evidence::Evidenced;
use crate::token::grant::Grant;
use crate::token::hash::sha256;
use crate::token::member;
use crate::token::names;

/// The most of a displayed text that is printed, in characters.
const MAX_SHOWN: usize = 200;

/// `alice → planner → buyer, 2 of 2 records verified`.
pub(super) fn through(payload: &Map<String, Value>, grant: Option<&Grant>) -> Option<String> {
    let chain = payload.get(member::DELEGATION_CHAIN).and_then(Value::as_array);
    let chain = chain.filter(|chain| !chain.is_empty())?;
    let person = payload.get(member::SUB).map_or_else(|| "nobody".to_owned(), plain);
    let names = [member::DELEGATOR_ID, member::DELEGATOR_JTI];
    let delegator = |record: &Value| {
        names.iter().find_map(|name| record.get(*name)).map_or_else(|| "?".to_owned(), plain)
    };
    let mut way = vec![person];
    way.extend(chain.iter().rev().map(delegator));
    way.extend(chain.first().and_then(|newest| newest.get(member::DELEGATEE_ID)).map(plain));
    let verified = match grant.and_then(Grant::delegation) {
        Some(delegation) => verified(delegation),
        None => format!("{} records, not verified", chain.len()),
    };
    let narrowed: Vec<String> = narrowings(chain).iter().map(ToString::to_string).collect();
    let narrowed = match narrowed.as_slice() {
        [] => String::new(),
        places => format!(", narrowed at {}", places.join(" and ")),
    };
    Some(format!("{}, {verified}{narrowed}", way.join(" → ")))
}

fn verified(delegation: &Delegation) -> String {
    let hops = delegation.hops.len();
    let own = delegation.hops.iter();
    let own = own.filter(|hop| hop.countersignature == Countersignature::Verified).count();
    format!("{hops} of {hops} records verified, {own} signed by the agent too")
}

/// The hops, from 1, that have fewer scopes than the hop before them, or a policy of their own.
fn narrowings(newest_first: &[Value]) -> Vec<usize> {
    let mut before: Option<usize> = None;
    let mut places = Vec::new();
    for (n, record) in newest_first.iter().rev().enumerate() {
        let scopes =
            record.get(member::SCOPE).and_then(Value::as_str).map(|s| s.split(' ').count());
        let is_fewer = matches!((before, scopes), (Some(before), Some(now)) if now < before);
        if is_fewer || record.get(member::DELEGATED_POLICY).is_some() {
            places.push(n + 1);
        }
        before = scopes.or(before);
    }
    places
}

/// What whoever presents the token must prove.
pub(super) fn bound(payload: &Map<String, Value>) -> Vec<String> {
    let Some(Value::Object(confirmation)) = payload.get(member::CNF) else { return Vec::new() };
    let word = |member: &str| match member {
        member::JKT => "a DPoP key",
        "jwk" | "kid" => "a key, by a workload's proof or DPoP",
        member::X5T_S256 => "a client certificate",
        _ => "something that no gate can check",
    };
    confirmation
        .iter()
        .map(|(member, value)| {
            let shown = if value.is_string() { plain(value) } else { "…".to_owned() };
            format!("{} ({} {shown})", word(member), escaped(member))
        })
        .collect()
}

/// Where it is said whether the token was taken back.
pub(super) fn status(payload: &Map<String, Value>) -> Option<String> {
    let list = payload.get(member::STATUS)?.get(member::STATUS_LIST)?;
    Some(format!("place {} of {}", list.get(member::IDX).map(plain)?, list.get("uri").map(plain)?))
}

/// What the person was shown, what they did and when, and what vouches for it.
pub(super) fn shown(
    payload: &Map<String, Value>,
    grant: Option<&Grant>,
    now: Timestamp,
) -> Option<String> {
    if let Some(Evidenced::Shown(evidence)) = grant.map(Grant::evidence) {
        let when = date_of(evidence.confirmed, now);
        let vouched = evidence.vouched.word();
        let action = escaped(&evidence.user_action);
        return Some(format!(
            "“{}” ({action}, {when}; good, by the {vouched})",
            escaped(&evidence.summary)
        ));
    }
    let Some(confirmation) = confirmation(payload) else { return named(payload) };
    let text = confirmation.get(member::DISPLAYED_CONTENT).and_then(Value::as_str)?;
    let text: String = text.chars().take(MAX_SHOWN).collect();
    let action =
        confirmation.get(member::USER_ACTION).map_or_else(|| "no action".to_owned(), plain);
    let at = confirmation.get(member::TIMESTAMP).and_then(Value::as_u64);
    let when = at
        .map_or_else(String::new, |at| format!(", {}", date_of(Timestamp::from_seconds(at), now)));
    Some(format!("“{}” ({action}{when}; not verified)", escaped(&text)))
}

/// Evidence of which the token has the name alone.
fn named(payload: &Map<String, Value>) -> Option<String> {
    let trails =
        names::AUDIT_TRAIL.all(payload).filter_map(|trail| trail.get(member::EVIDENCE_REF));
    let id = payload.get(member::EVIDENCE_REF).into_iter().chain(trails).next()?;
    Some(format!("named only ({}): its issuer tells it, where a gate can ask", plain(id)))
}

/// The confirmation in any of its places (`evidence.md` §1).
fn confirmation(payload: &Map<String, Value>) -> Option<&Value> {
    let details = payload.get(member::AUTHORIZATION_DETAILS).and_then(Value::as_array);
    let of_details =
        details.into_iter().flatten().filter_map(|detail| detail.get(member::EVIDENCE));
    let mut evidence = of_details.chain(payload.get(member::EVIDENCE));
    evidence.find_map(|evidence| {
        evidence
            .get(member::USER_CONFIRMATION)
            .or_else(|| evidence.get(member::USER_CONFIRMATION_RECORD))
    })
}

/// What an operation demands of its arguments: `amount ≤ 50`, `query limit ≤ 10`.
pub(super) fn constraints(operation: &Value) -> Vec<String> {
    let mut told = Vec::new();
    for (place, label) in [("args", ""), ("path_params", "path "), ("query", "query ")] {
        let demanded = operation.get(place).and_then(Value::as_object);
        for (name, words) in demanded.into_iter().flatten() {
            for (word, value) in words.as_object().into_iter().flatten() {
                told.push(format!("{label}{} {}", escaped(name), demand(word, value)));
            }
        }
    }
    told
}

fn demand(word: &str, value: &Value) -> String {
    let value = match value {
        Value::Array(several) => {
            several.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
        }
        one => one.to_string(),
    };
    let sign = match word {
        "const" => "=",
        "enum" => "is",
        "minimum" => "≥",
        "maximum" => "≤",
        "exclusiveMinimum" => ">",
        "exclusiveMaximum" => "<",
        "prefix" => "begins with",
        "pattern" => "is like",
        other => return format!("{} {}", escaped(other), escaped(&value)),
    };
    format!("{sign} {}", escaped(&value))
}

/// A policy that an entry carries or names: its language, and the digest of its text.
pub(super) fn carried(policy: &Map<String, Value>) -> String {
    let word = |name: names::Name| name.all(policy).next().map(plain);
    let language = word(names::LANGUAGE).or_else(|| word(names::TYPE)).unwrap_or_default();
    let rule = word(names::ENTRY_POINT).map_or_else(String::new, |rule| format!(", rule {rule}"));
    if let Some(content) = names::CONTENT.all(policy).find_map(Value::as_str) {
        let digest = BASE64_STANDARD.encode(sha256(content.as_bytes()));
        return format!("what its policy in {language} does (sha256-{digest}{rule})");
    }
    let hash = word(names::HASH).unwrap_or_else(|| "tied by no digest".to_owned());
    let uri = word(names::URI).unwrap_or_default();
    format!("what the policy in {language} at {uri} does ({hash}{rule})")
}

/// The policies that the token names.
pub(super) fn policies(payload: &Map<String, Value>) -> Vec<String> {
    let mut named = Vec::new();
    let authorizations = names::AGENT_OPERATION_AUTHORIZATION.all(payload);
    for authorization in authorizations.filter_map(Value::as_object) {
        named.extend(names::POLICY_ID.all(authorization).map(plain));
    }
    let identifier = |policy: &Value| policy.get("id").map_or_else(|| plain(policy), plain);
    for reference in names::POLICY_REF.all(payload) {
        match reference {
            Value::Array(several) => named.extend(several.iter().map(identifier)),
            one => named.push(identifier(one)),
        }
    }
    named
}
