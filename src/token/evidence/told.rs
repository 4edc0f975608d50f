//! Evidence that a token only names (form E5 of `evidence.md` §1): its issuer, asked of the token, tells
//! the rest (V9). What is told is verified like any other evidence, and is of use only if it is what the
//! token names: an answer is signed by nobody, so the signature of the evidence is the only one.

use serde_json::{Map, Value, json};

use super::{Carrier, Evidenced, fails, is_evidence};
use crate::model::time::Timestamp;
use crate::token::grant::Grant;
use crate::token::member;
use crate::token::names;
use crate::token::signers::{Signers, Verifier};
use crate::token::verify::Halt;

/// The ids by which a token names evidence: its own members, and the consent that its chain began with.
pub fn named<'a>(
    payload: &'a Map<String, Value>,
    grant: &'a Grant,
) -> impl Iterator<Item = &'a str> {
    let trails = names::AUDIT_TRAIL.all(payload).filter_map(|trail| trail.get(REFERENCE));
    let own = payload.get(REFERENCE).into_iter().chain(trails).filter_map(Value::as_str);
    own.chain(grant.delegation().and_then(|chain| chain.root_evidence.as_deref()))
}

const REFERENCE: &str = member::EVIDENCE_REF;

/// Verifies what `members` of the issuer's answer say of the evidence that the token with this `payload`
/// names. Whom, with what and since when it is for, the token itself says.
pub fn verify(
    payload: &Map<String, Value>,
    grant: &Grant,
    members: &Map<String, Value>,
    signers: &impl Signers,
    now: Timestamp,
) -> Result<Evidenced, Halt> {
    let whole = with(payload, members);
    let members = grant.members();
    let carrier = Carrier {
        payload: &whole,
        claims: grant.claims(),
        person: members.identity.as_ref().and_then(|identity| identity.issued_to.as_ref()),
        issuer: grant.issuer(),
        delegation: grant.delegation(),
        is_signed: false,
    };
    // What it relies on is not kept: an answer is looked at anew at every call.
    let told = super::verify(&carrier, &mut Verifier::new(signers, now))?;
    let Evidenced::Shown(evidence) = &told else { return Ok(told) };
    let is_named = named(payload, grant).all(|name| evidence.id.as_deref() == Some(name));
    Ok(if is_named { told } else { Evidenced::Refused(fails("V1")) })
}

/// The payload with the evidence of an answer in every place where that may stand, and with no other.
fn with(payload: &Map<String, Value>, members: &Map<String, Value>) -> Map<String, Value> {
    let mut whole = payload.clone();
    whole.remove(member::EVIDENCE);
    let own =
        [member::EVIDENCE, member::EVIDENCE_DETAILS].into_iter().find_map(|name| members.get(name));
    if let Some(evidence) = own {
        whole.insert(member::EVIDENCE.into(), evidence.clone());
    }
    let details = members.get(member::AUTHORIZATION_DETAILS).and_then(Value::as_array);
    let mut told = details.into_iter().flatten().filter(|detail| is_evidence(detail)).peekable();
    if told.peek().is_some()
        && let Value::Array(own) = whole.entry("authorization_details").or_insert_with(|| json!([]))
    {
        own.extend(told.cloned());
    }
    whole
}
