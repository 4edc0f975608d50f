//! Delegation chains (draft-liu-oauth-chain-delegation §4 to §10; `delegation.md`): who passed the
//! person's consent on to whom, and that each hop was recorded, in order, and never widened.
//!
//! The checks are numbered as in `delegation.md` §4, and stand here in that order. D3, the signature of
//! the token, comes before all of them but the depth; D16 is revocation and D17 is [`presenter`].

pub mod presenter;
mod record;
mod tokens;

use serde_json::{Map, Value};

use self::record::Record;
use super::claims::Claims;
use super::detached::Detached;
use super::policies::Policy;
use super::signers::{Finding, Role, Signers, Verifier};
use super::trust::{Countersigned, Delegations, Issuer};
use super::verify::Halt;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;
use crate::token::member;

/// How deep `act` may nest (`tokens.md` §7).
const MAX_ACTORS: usize = 16;
/// The most of a summary that is kept, in characters.
const MAX_SUMMARY: usize = 200;

/// A chain of which every record was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// What the records are made of.
    pub lineage: Lineage,
    /// The records, newest first.
    pub hops: Vec<Hop>,
    /// The evidence of the consent that everything was delegated from.
    pub root_evidence: Option<Box<str>>,
}

/// What the records of a chain are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lineage {
    /// Agents, by their ids.
    Agents,
    /// Tokens, whose signatures nobody can verify: good for the record and for nothing else.
    Structural,
    /// Tokens, by their `jti`.
    Tokens,
}

impl Lineage {
    /// The word in records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::Structural => "structural",
            Self::Tokens => "tokens",
        }
    }
}

/// One delegation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The agent, or the token, that delegated.
    pub delegator: Box<str>,
    /// The agent that it delegated to.
    pub delegatee: Option<Box<str>>,
    /// The authorization server that recorded it.
    pub authority: Box<str>,
    /// When.
    pub at: Timestamp,
    /// What its delegator's own signature was found to be.
    pub countersignature: Countersignature,
    /// What it was for, in at most 200 characters.
    pub summary: Option<Box<str>>,
    /// `delegated_policy`: what bounds everything that is done under it.
    pub policy: Option<Policy>,
    /// Members that no signature covers, by name. They decide nothing.
    pub unsigned: Vec<Box<str>>,
}

/// The delegator's own signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Countersignature {
    /// There is none.
    Absent,
    /// There is one that nobody looked at.
    Ignored,
    /// There is one, and no key to hold it against.
    Unverifiable,
    /// It verifies.
    Verified,
}

impl Countersignature {
    /// The word in records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Ignored => "ignored",
            Self::Unverifiable => "unverifiable",
            Self::Verified => "verified",
        }
    }
}

/// A chain that fails the check with this number. The number goes into the record, never to the caller.
const fn fails(check: &'static str) -> Denial {
    Denial::about(Reason::DelegationInvalid, check)
}

/// D1, on a token of which nothing is believed yet: a long chain must not buy signature work, not even
/// that of the token's own signature.
pub fn check_depth(payload: &Map<String, Value>, issuer: &Issuer) -> Result<(), Denial> {
    match (payload.get(member::DELEGATION_CHAIN), &issuer.delegation) {
        (Some(Value::Array(records)), Some(terms)) if records.len() > terms.max_depth => {
            Err(fails("D1"))
        }
        _ => Ok(()),
    }
}

/// Verifies the chain of a token whose own signature and claims were verified. An empty chain is none.
pub fn verify(
    payload: &Map<String, Value>,
    claims: &Claims,
    issuer: &Issuer,
    verifier: &mut Verifier<'_, impl Signers>,
) -> Result<Option<Delegation>, Halt> {
    // A reference to a chain is for the introspection of a token, never for fetching (tokens.md §7).
    if payload.contains_key(member::DELEGATION_CHAIN_REF) {
        let about = member::DELEGATION_CHAIN_REF;
        return Err(Denial::about(Reason::DelegationUnverified, about).into());
    }
    let Some(chain) = payload.get(member::DELEGATION_CHAIN) else { return Ok(None) };
    if chain.as_array().is_some_and(Vec::is_empty) {
        return Ok(None);
    }
    let Some(terms) = &issuer.delegation else {
        return Err(Denial::about(Reason::DelegationUnverified, member::DELEGATION_CHAIN).into());
    };
    let records: Option<Vec<_>> =
        chain.as_array().and_then(|chain| chain.iter().map(Value::as_object).collect());
    let records = records.ok_or(fails("D1"))?;
    if records.first().is_some_and(|newest| newest.contains_key(member::DELEGATOR_JTI)) {
        return tokens::verify(&records, payload, claims, issuer, terms, verifier).map(Some);
    }
    agents(&records, payload, claims, issuer, terms, verifier).map(Some)
}

/// D2 to D15 over records of agents.
fn agents(
    records: &[&Map<String, Value>],
    payload: &Map<String, Value>,
    claims: &Claims,
    issuer: &Issuer,
    terms: &Delegations,
    verifier: &mut Verifier<'_, impl Signers>,
) -> Result<Delegation, Halt> {
    let read: Option<Vec<Record<'_>>> =
        records.iter().map(|record| Record::read(record, terms)).collect();
    let records = read.ok_or(fails("D2"))?;
    check_actors(payload, &records)?;
    check_lineage(&records)?;
    check_authorities(&records, issuer, terms, verifier)?;
    check_times(records.iter().map(|record| record.at), claims, terms)?;
    let mut hops = Vec::with_capacity(records.len());
    let mut signed = Vec::with_capacity(records.len());
    for record in &records {
        let payload = record.signing_payload().ok_or(fails("D11"))?;
        let signature = Detached::read(record.as_signature).map_err(|_form| fails("D11"))?;
        let check = verifier.check(Role::Authority, record.authority, &signature, &payload)?;
        if check != Finding::Good {
            return Err(fails("D11").into());
        }
        signed.push(payload);
    }
    for (record, payload) in records.iter().zip(&signed) {
        let countersignature = countersignature(record, payload, terms, verifier)?;
        hops.push(record.hop(countersignature));
    }
    check_scopes(&records, claims)?;
    let root_evidence = root_evidence(&records)?;
    Ok(Delegation { lineage: Lineage::Agents, hops, root_evidence })
}

/// D4 and D5: the actor is the newest delegatee, and prior actors, where they are told, are the
/// delegators in the same order. Two lineages that contradict each other are no lineage.
fn check_actors(payload: &Map<String, Value>, records: &[Record<'_>]) -> Result<(), Denial> {
    let mut expected = records.first().map(|newest| newest.delegatee);
    let mut older = records.iter();
    let mut actor = payload.get(member::ACT);
    let mut failure = "D4";
    if actor.is_none() {
        return Err(fails(failure));
    }
    for _ in 0..MAX_ACTORS {
        let Some(members) = actor else { return Ok(()) };
        let subject = members.get(member::SUB).and_then(Value::as_str);
        if subject.is_none() || subject != expected {
            return Err(fails(failure));
        }
        failure = "D5";
        actor = members.get(member::ACT);
        expected = older.next().map(|record| record.delegator);
    }
    Err(fails("D5"))
}

/// D6 and D7: each delegator was the delegatee before, and no agent receives twice.
fn check_lineage(records: &[Record<'_>]) -> Result<(), Denial> {
    let pairs = records.iter().zip(records.iter().skip(1));
    if pairs.clone().any(|(newer, older)| newer.delegator != older.delegatee) {
        return Err(fails("D6"));
    }
    for (n, record) in records.iter().enumerate() {
        let again = records.iter().skip(n + 1).any(|other| other.delegatee == record.delegatee);
        if again || record.delegator == record.delegatee {
            return Err(fails("D7"));
        }
    }
    Ok(())
}

/// D8 and D9: the newest record is the issuer's own, unless it passes foreign chains on, and each is of
/// a server that is trusted here.
fn check_authorities(
    records: &[Record<'_>],
    issuer: &Issuer,
    terms: &Delegations,
    verifier: &Verifier<'_, impl Signers>,
) -> Result<(), Halt> {
    let is_own = records.first().is_some_and(|newest| *newest.authority == *issuer.id);
    if !is_own && !terms.preserves_foreign {
        return Err(fails("D8").into());
    }
    for record in records {
        if !verifier.knows(Role::Authority, record.authority)? {
            return Err(fails("D9").into());
        }
    }
    Ok(())
}

/// D10. None lies in the future, because the newest does not lie after `iat`, and `iat` does not.
fn check_times(
    newest_first: impl Iterator<Item = f64>,
    claims: &Claims,
    terms: &Delegations,
) -> Result<(), Denial> {
    let mut latest = f64::INFINITY;
    let mut oldest = None;
    for (n, at) in newest_first.enumerate() {
        let whole = Timestamp::from_seconds(record::whole_seconds(at));
        if at > latest || (n == 0 && whole > claims.issued) {
            return Err(fails("D10"));
        }
        latest = at;
        oldest = Some(whole);
    }
    let earliest = claims.issued.before(terms.max_age);
    if oldest.is_some_and(|oldest| oldest >= earliest) { Ok(()) } else { Err(fails("D10")) }
}

/// D12.
fn countersignature(
    record: &Record<'_>,
    payload: &[u8],
    terms: &Delegations,
    verifier: &mut Verifier<'_, impl Signers>,
) -> Result<Countersignature, Halt> {
    let found = match (record.delegator_signature, terms.countersigned) {
        (None, _) => Countersignature::Absent,
        (Some(_), Countersigned::Ignored) => Countersignature::Ignored,
        (Some(text), Countersigned::Required | Countersigned::Verified) => {
            let signature = Detached::read(text).map_err(|_form| fails("D12"))?;
            match verifier.check(Role::Agent, record.delegator, &signature, payload)? {
                Finding::Bad => return Err(fails("D12").into()),
                Finding::Good => Countersignature::Verified,
                Finding::Unresolvable => Countersignature::Unverifiable,
            }
        }
    };
    let suffices =
        terms.countersigned != Countersigned::Required || found == Countersignature::Verified;
    if suffices { Ok(found) } else { Err(fails("D12").into()) }
}

/// D13: scopes only ever narrow. That the operation is covered follows from the token's own scope, which
/// is within each of them.
fn check_scopes(records: &[Record<'_>], claims: &Claims) -> Result<(), Denial> {
    let own: Vec<&str> = claims.scope.iter().map(|scope| &**scope).collect();
    let mut newer = own;
    for record in records {
        let Some(scope) = record.scope else { continue };
        let older: Vec<&str> = scope.split(' ').collect();
        if !newer.iter().all(|scope| older.contains(scope)) {
            return Err(fails("D13"));
        }
        newer = older;
    }
    Ok(())
}

/// D15, among the records: whoever names the evidence names the same.
fn root_evidence(records: &[Record<'_>]) -> Result<Option<Box<str>>, Denial> {
    let mut named = records.iter().filter_map(|record| record.root_evidence);
    let first = named.next();
    if named.any(|other| Some(other) != first) {
        return Err(fails("D15"));
    }
    Ok(first.map(Into::into))
}

fn summary(text: &str) -> Box<str> {
    text.chars().take(MAX_SUMMARY).collect::<String>().into()
}

impl Delegation {
    /// The records whose policy bounds every operation (D14), oldest first, by their place in the chain.
    pub fn policies(&self, newest_alone: bool) -> Vec<usize> {
        let places = self.hops.iter().enumerate().filter(|(_, hop)| hop.policy.is_some());
        let newest_first =
            places.map(|(place, _)| place).take(if newest_alone { 1 } else { usize::MAX });
        let mut places: Vec<usize> = newest_first.collect();
        places.reverse();
        places
    }

    /// The agent that may present the token.
    pub fn delegatee(&self) -> Option<&str> {
        self.hops.first().and_then(|newest| newest.delegatee.as_deref())
    }
}

#[cfg(test)]
mod tests;
