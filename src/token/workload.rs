//! Workload identity: a token that says which workload calls, and a proof that it is this one
//! (WIMSE workload credentials and workload proof token; `tokens.md` §10).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::claims;
use super::dpop::identifier;
use super::hash;
use super::jws::Jws;
use super::keys::{Key, KeySet};
use super::member;
use super::target::Target;
use super::trust::{Algorithm, Issuer};
use super::verify::{self, Halt};
use crate::model::need::{FirstUse, ProofKind};
use crate::model::presented::Presented;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;

/// The longest that a proof may still be valid when it is presented.
pub const MAX_AHEAD: Duration = Duration::from_mins(5);
/// The longest time between the presentation of a proof and its end, with the leeway on both sides.
pub const LIFETIME: Duration = Duration::from_mins(9);
/// The longest identity token or proof that is read, in bytes.
const MAX_TOKEN: usize = 16 * 1_024;
/// The schemes of workload identifiers.
const SCHEMES: [&str; 3] = ["spiffe", "wimse", "wit"];
/// The longest `sub` and `jti`, in bytes.
const MAX_SUBJECT: usize = 2_048;
const MAX_ID: usize = 256;

/// A trust domain: whose word on workloads is taken, and for which.
#[derive(Clone, Debug)]
pub struct TrustDomain {
    /// Who issues its identity tokens.
    pub issuer: Arc<Issuer>,
    /// The authority that its identifiers have: one domain cannot speak of the workloads of another.
    pub domain: Box<str>,
    /// The ids of agents that its workloads are, where those are not their own identifiers.
    pub agents: HashMap<Box<str>, Box<str>>,
    /// Where its keys are among those of all issuers.
    pub keys: usize,
}

/// A workload whose identity token is verified. That the caller is this workload, its proof must show.
#[derive(Debug)]
pub struct Identity {
    /// `sub`
    pub subject: Box<str>,
    /// The agent that the operator says it is, by that agent's id.
    pub agent: Option<Box<str>>,
    /// The thumbprint of its key.
    pub thumbprint: [u8; 32],
    key: Key,
    algorithm: Algorithm,
    /// The SHA-256 of the identity token.
    digest: [u8; 32],
    leeway: Duration,
}

/// An identity token of which nothing is believed yet.
#[derive(Debug)]
pub struct UnverifiedIdentity<'a> {
    jws: Jws<'a>,
    payload: Map<String, Value>,
    digest: [u8; 32],
}

const fn bad_identity(about: &'static str) -> Denial {
    Denial::about(Reason::WorkloadIdentityInvalid, about)
}

const fn bad_proof(about: &'static str) -> Denial {
    Denial::about(Reason::WorkloadProofInvalid, about)
}

impl<'a> UnverifiedIdentity<'a> {
    /// Splits and reads the token.
    pub fn read(token: &'a str) -> Result<Self, Denial> {
        if token.len() > MAX_TOKEN {
            return Err(bad_identity("size"));
        }
        let told = |denial: Denial| denial.told_as(Reason::WorkloadIdentityInvalid);
        let jws = Jws::read(Presented::new(token)).map_err(told)?;
        if !jws.header.is_of_type("wit+jwt") {
            return Err(bad_identity("typ"));
        }
        let payload = jws.payload().map_err(told)?;
        Ok(Self { jws, payload, digest: hash::sha256(token.as_bytes()) })
    }

    /// The trust domain that the token names: by `iss`, or where there is none by its `sub`.
    pub fn domain<'d>(&self, domains: &'d [TrustDomain]) -> Result<&'d TrustDomain, Denial> {
        let found = match self.payload.get(member::ISS) {
            Some(Value::String(issuer)) => domains.iter().find(|own| *own.issuer.id == **issuer),
            Some(_) => None,
            None => {
                let subject =
                    self.payload.get(member::SUB).and_then(Value::as_str).unwrap_or_default();
                domains.iter().find(|own| authority(subject) == Some(&*own.domain))
            }
        };
        found.ok_or(bad_identity(member::ISS))
    }

    /// Verifies the token against the keys of its domain at `now`.
    pub fn verify(
        &self,
        domain: &TrustDomain,
        keys: &Arc<KeySet>,
        now: Timestamp,
    ) -> Result<Identity, Halt> {
        let issuer = &domain.issuer;
        verify::signer(&self.jws, issuer, keys).map_err(|halt| match halt {
            Halt::KeyUnknown | Halt::Need(_) => halt,
            Halt::Refuse(denial) => denial.told_as(Reason::WorkloadIdentityInvalid).into(),
        })?;
        self.check_dates(issuer.leeway, now)?;
        let subject = self.payload.get(member::SUB).and_then(Value::as_str).unwrap_or_default();
        if subject.len() > MAX_SUBJECT || authority(subject) != Some(&*domain.domain) {
            return Err(bad_identity(member::SUB).into());
        }
        let jwk = self.payload.get(member::CNF).and_then(|cnf| cnf.get("jwk"));
        let jwk = jwk.ok_or(bad_identity(member::CNF))?;
        let key = Key::presented(jwk).map_err(|_why| bad_identity(member::CNF))?;
        let algorithm = jwk.get("alg").and_then(|_| key.only_algorithm());
        Ok(Identity {
            subject: subject.into(),
            agent: domain.agents.get(subject).cloned(),
            thumbprint: key.thumbprint(),
            algorithm: algorithm.ok_or(bad_identity(member::CNF))?,
            key,
            digest: self.digest,
            leeway: issuer.leeway,
        })
    }

    fn check_dates(&self, leeway: Duration, now: Timestamp) -> Result<(), Denial> {
        let date = |claim: &'static str| match self.payload.get(claim) {
            None => Ok(None),
            Some(Value::Number(number)) => {
                claims::numeric_date(number).map(Some).ok_or(bad_identity(claim))
            }
            Some(_) => Err(bad_identity(claim)),
        };
        let expires = date(member::EXP)?.ok_or(bad_identity(member::EXP))?;
        if now >= expires.after(leeway) {
            return Err(bad_identity(member::EXP));
        }
        for claim in [member::IAT, member::NBF] {
            if date(claim)?.is_some_and(|start| start.before(leeway) > now) {
                return Err(bad_identity(claim));
            }
        }
        Ok(())
    }
}

/// The trust domain of a workload identifier, as in `spiffe://domain/path`.
pub fn authority(subject: &str) -> Option<&str> {
    let (scheme, rest) = subject.split_once("://")?;
    let (authority, path) = rest.split_once('/')?;
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let is_known = SCHEMES.contains(&scheme) && !authority.is_empty() && !path.is_empty();
    (is_known && is_plain(subject)).then_some(authority)
}

/// What a proof must be about.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The target of the call.
    pub target: Target<'a>,
    /// The SHA-256 of the operation token.
    pub token: &'a [u8; 32],
    /// The header that the operation token came in, where it did not come in `Authorization`.
    pub token_header: Option<&'a str>,
    /// The SHA-256 of the transaction token, when there is one.
    pub transaction: Option<[u8; 32]>,
    /// Whether the token is one of the profile `open-agent-auth`.
    pub is_open_agent_auth: bool,
    /// The time of the call.
    pub now: Timestamp,
}

/// Verifies the proof of a workload (`verification.md`, "WPT").
pub fn verify_proof(
    proof: &str,
    identity: &Identity,
    expected: &Expected<'_>,
) -> Result<FirstUse, Denial> {
    if proof.len() > MAX_TOKEN {
        return Err(bad_proof("size"));
    }
    let told = |denial: Denial| denial.told_as(Reason::WorkloadProofInvalid);
    let jws = Jws::read(Presented::new(proof)).map_err(told)?;
    if !jws.header.is_of_type("wpt+jwt") {
        return Err(bad_proof("typ"));
    }
    if Algorithm::named(&jws.header.algorithm) != Some(identity.algorithm) {
        return Err(bad_proof("alg"));
    }
    identity
        .key
        .verify(jws.signing_input, jws.signature, identity.algorithm)
        .map_err(|_invalid| bad_proof("signature"))?;
    let payload = jws.payload().map_err(told)?;
    let until = check_end(&payload, identity.leeway, expected.now)?;
    if !hash::is(payload.get(member::WTH), &identity.digest) {
        return Err(bad_proof(member::WTH));
    }
    check_audience(&payload, expected)?;
    check_tokens(&payload, expected)?;
    let id = payload.get(member::JTI).and_then(Value::as_str);
    let id = id.filter(|id| (1..=MAX_ID).contains(&id.len())).ok_or(bad_proof(member::JTI))?;
    let id = identifier(ProofKind::Workload, &identity.thumbprint, id);
    Ok(FirstUse { kind: ProofKind::Workload, id, until })
}

/// `exp` lies ahead, and not far.
fn check_end(
    payload: &Map<String, Value>,
    leeway: Duration,
    now: Timestamp,
) -> Result<Timestamp, Denial> {
    let expires = match payload.get(member::EXP) {
        Some(Value::Number(number)) => {
            claims::numeric_date(number).ok_or(bad_proof(member::EXP))?
        }
        _ => return Err(bad_proof(member::EXP)),
    };
    let until = expires.after(leeway);
    if now >= until || expires > now.after(MAX_AHEAD).after(leeway) {
        return Err(bad_proof(member::EXP));
    }
    Ok(until)
}

/// `aud` names the target. The public reference implementation leaves it out, which its profile allows;
/// a wrong one is never right.
fn check_audience(payload: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), Denial> {
    let names = |value: &Value| value.as_str().is_some_and(|uri| expected.target.is_named_by(uri));
    let is_named = match payload.get(member::AUD) {
        None => expected.is_open_agent_auth,
        Some(Value::Array(several)) => several.iter().any(names),
        Some(one) => names(one),
    };
    if is_named { Ok(()) } else { Err(bad_proof(member::AUD)) }
}

/// The proof must be tied to the operation token, or it could be put beside another one; and what it
/// says of any token must be understood and true.
fn check_tokens(payload: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), Denial> {
    let mut is_tied = false;
    if let Some(hash) = payload.get(member::ATH) {
        if !hash::is(Some(hash), expected.token) {
            return Err(bad_proof(member::ATH));
        }
        is_tied = true;
    }
    let is_transaction =
        |hash: &Value| expected.transaction.as_ref().is_some_and(|own| hash::is(Some(hash), own));
    if payload.get(member::TTH).is_some_and(|hash| !is_transaction(hash)) {
        return Err(bad_proof(member::TTH));
    }
    let empty = Map::new();
    let others = match payload.get(member::OTH) {
        None => &empty,
        Some(Value::Object(others)) => others,
        Some(_) => return Err(bad_proof(member::OTH)),
    };
    for (name, hash) in others {
        let is_token = Some(name.as_str()) == expected.token_header
            || (name == member::AOAT && expected.is_open_agent_auth);
        let is_right = if is_token {
            hash::is(Some(hash), expected.token)
        } else {
            name == "txn-token" && is_transaction(hash)
        };
        if !is_right {
            return Err(bad_proof(member::OTH));
        }
        is_tied |= is_token;
    }
    // In the profile nothing but this member is agreed on.
    if expected.is_open_agent_auth && !others.contains_key(member::AOAT) {
        return Err(bad_proof(member::OTH));
    }
    if is_tied { Ok(()) } else { Err(bad_proof(member::ATH)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_workload_identifier_is_a_uri_with_a_domain_and_a_path() {
        for (subject, expected) in [
            ("spiffe://td.test/buyer", Some("td.test")),
            ("wimse://td.test/a/b", Some("td.test")),
            ("https://td.test/buyer", None),
            ("spiffe://td.test", None),
            ("spiffe://td.test/", None),
            ("spiffe:///buyer", None),
            ("spiffe://td.test/a b", None),
            ("td.test/buyer", None),
            ("", None),
        ] {
            assert_eq!(authority(subject), expected, "{subject}");
        }
    }

    proptest! {
        #[test]
        fn r_ver_031_no_text_makes_the_reader_panic(text in "[A-Za-z0-9_.=-]{0,200}") {
            drop(UnverifiedIdentity::read(&text));
        }
    }
}
