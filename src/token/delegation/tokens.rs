//! Chains of tokens (Agent Operation Authorization §6; `delegation.md` §7): records that name the token
//! delegated from instead of agents, in either form in which their signature can mean something.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{Countersignature, Delegation, Hop, Lineage, check_times, fails, summary};
use crate::model::date;
use crate::model::presented::Presented;
use crate::model::time::Timestamp;
use crate::token::claims::Claims;
use crate::token::detached::Detached;
use crate::token::jcs;
use crate::token::jws::Jws;
use crate::token::member;
use crate::token::names;
use crate::token::signers::{Finding, Role, Signers, Verifier};
use crate::token::trust::{Delegations, Issuer};
use crate::token::verify::Halt;

/// The longest name of a person, in bytes.
const MAX_PERSON: usize = 2_048;

struct Record<'a> {
    members: &'a Map<String, Value>,
    token: &'a str,
    at: f64,
    summary: Option<&'a str>,
    signature: &'a str,
}

/// Verifies the chain of a token whose own signature and claims were verified.
pub(super) fn verify(
    records: &[&Map<String, Value>],
    payload: &Map<String, Value>,
    claims: &Claims,
    issuer: &Issuer,
    terms: &Delegations,
    verifier: &mut Verifier<'_, impl Signers>,
) -> Result<Delegation, Halt> {
    let identity = names::AGENT_IDENTITY.object(payload)?;
    let human = identity.and_then(issued_to).ok_or(fails("D2"))?;
    let read: Option<Vec<Record<'_>>> =
        records.iter().map(|members| Record::read(members, human)).collect();
    let records = read.ok_or(fails("D2"))?;
    let mut seen = HashSet::from([&*claims.jwt_id]);
    if !records.iter().all(|record| seen.insert(record.token)) {
        return Err(fails("D7").into());
    }
    check_times(records.iter().map(|record| record.at), claims, terms)?;
    let mut lineage = Lineage::Tokens;
    for record in &records {
        if !record.is_signed(issuer, verifier)? {
            if !terms.structural {
                return Err(fails("D11").into());
            }
            lineage = Lineage::Structural;
        }
    }
    let hops = records.iter().map(|record| record.hop(issuer)).collect();
    Ok(Delegation { lineage, hops, root_evidence: None })
}

impl<'a> Record<'a> {
    /// D2: every member of its type, the same person as in the token, and an identity that had not
    /// expired when it was delegated from.
    fn read(members: &'a Map<String, Value>, human: &str) -> Option<Self> {
        if members.contains_key(member::DELEGATOR_ID) || members.contains_key(member::DELEGATEE_ID)
        {
            return None;
        }
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let identity = members.get(member::DELEGATOR_AGENT_IDENTITY)?.as_object()?;
        let at = date::rfc3339(text(member::DELEGATION_TIMESTAMP)?)?;
        let expires = names::EXPIRES.moment(identity).ok()??;
        if issued_to(identity)? != human || at >= expires {
            return None;
        }
        if members.get(member::OPERATION_SUMMARY).is_some_and(|summary| !summary.is_string()) {
            return None;
        }
        Some(Self {
            members,
            token: text(member::DELEGATOR_JTI).filter(|jti| (1..=255).contains(&jti.len()))?,
            at: Duration::from_micros(at.micros()).as_secs_f64(),
            summary: text(member::OPERATION_SUMMARY),
            signature: text(member::AS_SIGNATURE)?,
        })
    }

    /// Either a detached signature over the other members, or a JWS whose payload repeats each of them.
    /// The draft says neither; every other reading would leave a member that nobody signed.
    fn is_signed(
        &self,
        issuer: &Issuer,
        verifier: &mut Verifier<'_, impl Signers>,
    ) -> Result<bool, Halt> {
        let others = self.members.iter().filter(|(name, _)| *name != member::AS_SIGNATURE);
        let others: Vec<_> = others.map(|(name, value)| (name.as_str(), value)).collect();
        let (detached, payload) = if self.signature.contains("..") {
            (self.signature.into(), jcs::object(others).map_err(|_number| fails("D11"))?)
        } else {
            let Ok(jws) = Jws::read(Presented::new(self.signature)) else { return Ok(false) };
            let Ok(told) = jws.payload() else { return Ok(false) };
            // A number without a canonical form is like no other.
            let same = |(name, value): &(&str, &Value)| {
                let (told, own) = (told.get(*name).map(jcs::canonical), jcs::canonical(value));
                matches!((told, own), (Some(Ok(told)), Ok(own)) if told == own)
            };
            if !others.iter().all(same) {
                return Ok(false);
            }
            (jws.detached(), jws.payload_octets())
        };
        let Ok(signature) = Detached::read(&detached) else { return Ok(false) };
        let check = verifier.check(Role::Authority, &issuer.id, &signature, &payload)?;
        Ok(check == Finding::Good)
    }

    fn hop(&self, issuer: &Issuer) -> Hop {
        Hop {
            delegator: self.token.into(),
            delegatee: None,
            authority: issuer.id.clone(),
            at: Timestamp::from_seconds(super::record::whole_seconds(self.at)),
            countersignature: Countersignature::Absent,
            summary: self.summary.map(summary),
            policy: None,
            unsigned: Vec::new(),
        }
    }
}

/// The person an identity was issued to. Told in two ways, it is nobody.
fn issued_to(identity: &Map<String, Value>) -> Option<&str> {
    names::ISSUED_TO.text(identity, MAX_PERSON).ok()?
}
