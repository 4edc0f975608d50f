//! From a presented token to a grant (`verification.md` stage C; RFC 9068 §4, RFC 8725).

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use super::aoa::Members;
use super::authentication::Authentication;
use super::claims::Claims;
use super::confirmation::Confirmation;
use super::delegation::{self, Delegation};
use super::details;
use super::evidence::{self, Carrier, Evidenced, told};
use super::grant::{Boundary, Grant, Origin};
use super::hash;
use super::introspection::{self, Answer, Introspected};
use super::jws::{Header, Jws};
use super::keys::{Key, KeySet, Selected, Signer};
use super::member;
use super::names;
use super::parties;
use super::policies::PolicyRef;
use super::revocation::{Named, token_name};
use super::signers::{Signers, Verifier};
use super::status::Reference;
use super::trust::{Algorithm, Issuer};
use crate::model::need::Need;
use crate::model::presented::Presented;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;

/// The SHA-256 of a token, under which it is remembered.
pub fn digest(presented: Presented<'_>) -> [u8; 32] {
    hash::sha256(presented.token().as_bytes())
}

/// A token that has been split and read, and of which nothing is believed yet.
#[derive(Debug)]
pub struct Unverified<'a> {
    jws: Jws<'a>,
    payload: Map<String, Value>,
    digest: [u8; 32],
}

/// What stops a verification that is not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// The key set at hand lacks the key that the token names.
    KeyUnknown,
    /// Something else is lacking: keys of another signer.
    Need(Need),
    /// The token is refused.
    Refuse(Denial),
}

impl From<Denial> for Halt {
    fn from(denial: Denial) -> Self {
        Self::Refuse(denial)
    }
}

impl<'a> Unverified<'a> {
    /// Splits and reads the token.
    pub fn read(presented: Presented<'a>, digest: [u8; 32]) -> Result<Self, Denial> {
        let jws = Jws::read(presented)?;
        let payload = jws.payload()?;
        Ok(Self { jws, payload, digest })
    }

    /// The issuer that the token names: good for choosing whose keys to try, and for nothing else.
    pub fn issuer_hint(&self) -> Result<&str, Denial> {
        match self.payload.get(member::ISS) {
            Some(Value::String(issuer)) => Ok(issuer),
            Some(_) => Err(Denial::about(Reason::ClaimMalformed, member::ISS)),
            None => Err(Denial::about(Reason::ClaimMissing, member::ISS)),
        }
    }

    /// What the header alone can refuse (`verification.md` step 10d), for which no key is needed.
    pub fn check_header(&self, issuer: &Issuer) -> Result<(), Denial> {
        algorithm(&self.jws.header, issuer)?;
        check_type(&self.jws.header, issuer).map(drop)
    }

    /// Verifies the token against an issuer and its keys at `now`, and what it carries inside against
    /// `signers`.
    pub fn verify(
        &self,
        issuer: &Arc<Issuer>,
        keys: &Arc<KeySet>,
        signers: &impl Signers,
        now: Timestamp,
    ) -> Result<Grant, Halt> {
        let is_access_token = check_type(&self.jws.header, issuer)?;
        delegation::check_depth(&self.payload, issuer)?;
        let signer = signer(&self.jws, issuer, keys)?;
        if *self.issuer_hint()? != *issuer.id {
            return Err(Denial::about(Reason::IssuerUnknown, member::ISS).into());
        }
        if !is_access_token {
            check_kind(&self.payload)?;
        }
        grant(&self.payload, issuer, Origin::Signed(signer), self.digest, signers, now)
    }

    /// The evidence that this token only names, whose grant is at hand, as `members` of its issuer's
    /// answer tell it (form E5).
    pub fn told(
        &self,
        grant: &Grant,
        members: &Map<String, Value>,
        signers: &impl Signers,
        now: Timestamp,
    ) -> Result<Evidenced, Halt> {
        told::verify(&self.payload, grant, members, signers, now)
    }

    /// Whether it names evidence, whatever else it says of any.
    pub fn names_evidence(&self, grant: &Grant) -> bool {
        told::named(&self.payload, grant).next().is_some()
    }
}

/// The grant of an opaque token that its issuer says is active at `now` (RFC 7662).
pub fn introspected(
    introspected: &Introspected,
    issuer: &Arc<Issuer>,
    digest: [u8; 32],
    signers: &impl Signers,
    now: Timestamp,
) -> Result<Grant, Halt> {
    let Introspected { answer, asked, until } = introspected;
    let Answer::Active(members) = answer else {
        return Err(Denial::from(Reason::TokenInactive).into());
    };
    let payload = introspection::payload(members, issuer, &token_name(&digest), *asked)?;
    let origin = Origin::Introspected { asked: *asked, until: *until };
    grant(&payload, issuer, origin, digest, signers, now)
}

/// The grant of a payload that the issuer vouches for.
fn grant(
    payload: &Map<String, Value>,
    issuer: &Arc<Issuer>,
    origin: Origin,
    digest: [u8; 32],
    signers: &impl Signers,
    now: Timestamp,
) -> Result<Grant, Halt> {
    let claims = Claims::read(payload, issuer)?;
    parties::check_actors(payload)?;
    let authentication = Authentication::read(payload, issuer)?;
    let entries = details::read(payload)?;
    let references = PolicyRef::read_all(payload)?;
    let status = unless_malformed(Reference::read(payload, issuer))?;
    let confirmation = unless_malformed(Confirmation::read(payload))?;
    let members = unless_malformed(Members::read(payload, issuer))?;
    claims.check_dates(issuer, now)?;
    let (status, confirmation, members) = (status?, confirmation?, members?);
    members.check_current(issuer.leeway, now)?;
    // From here on there are signatures to verify: nothing that can be refused without one comes later.
    let mut verifier = Verifier::new(signers, now);
    delegation::check_depth(payload, issuer)?;
    let delegation = delegation::verify(payload, &claims, issuer, &mut verifier)?;
    let chain = delegation.as_ref();
    let person = members.identity.as_ref().and_then(|identity| identity.issued_to.as_ref());
    let is_signed = matches!(origin, Origin::Signed(_));
    let carrier =
        Carrier { payload, claims: &claims, person, issuer, delegation: chain, is_signed };
    let evidence = evidence::verify(&carrier, &mut verifier)?;
    Ok(Grant {
        evidence,
        boundaries: boundaries(&members, references, chain, issuer),
        authentication,
        members: (members != Members::NONE).then(|| Box::new(members)),
        context: payload.get("context").and_then(Value::as_object).cloned(),
        kept: kept(payload, issuer),
        confirmation: confirmation.map(Box::new),
        entries: entries.into(),
        named: Named::of(&issuer.id, &claims, &digest, payload),
        status,
        issuer: Arc::clone(issuer),
        origin,
        digest,
        delegation,
        relied: verifier.relied(),
        claims,
        written: OnceLock::new(),
    })
}

/// Refuses what is malformed at once (`verification.md` step 10g), and leaves any other refusal for its
/// turn: what cannot be honored is told only of a token whose time it is.
fn unless_malformed<T>(read: Result<T, Denial>) -> Result<Result<T, Denial>, Denial> {
    match read {
        Err(denial) if matches!(denial.reason, Reason::ClaimMalformed | Reason::ClaimMissing) => {
            Err(denial)
        }
        read => Ok(read),
    }
}

/// The claims that policies may be shown, and no others: what is remembered of a token is no more than
/// decisions need.
fn kept(payload: &Map<String, Value>, issuer: &Issuer) -> Map<String, Value> {
    let named = issuer.kept_claims.iter();
    named.filter_map(|name| Some((String::from(&**name), payload.get(&**name)?.clone()))).collect()
}

/// Verifies the signature of a compact JWS with a key of the issuer, which the header names.
pub(super) fn signer(jws: &Jws<'_>, issuer: &Issuer, keys: &Arc<KeySet>) -> Result<Signer, Halt> {
    let algorithm = algorithm(&jws.header, issuer)?;
    let key = select(keys, &jws.header, algorithm)?;
    key.verify(jws.signing_input, jws.signature, algorithm)?;
    Ok(Signer::new(keys, key, algorithm))
}

/// The allow-list of the issuer decides, never the token (RFC 8725 §3.1).
fn algorithm(header: &Header, issuer: &Issuer) -> Result<Algorithm, Denial> {
    Algorithm::named(&header.algorithm)
        .filter(|algorithm| issuer.algorithms.contains(algorithm))
        .ok_or(Denial::about(Reason::AlgorithmRefused, "alg"))
}

/// RFC 9068 §4: `typ` must be `at+jwt`, so that an ID token signed with the same key can never pass
/// for an access token. Says whether it is; where it is not, the issuer is configured to do without.
fn check_type(header: &Header, issuer: &Issuer) -> Result<bool, Denial> {
    let refused = Denial::about(Reason::TypeRefused, "typ");
    let Some(kind) = header.kind.as_deref() else {
        return if issuer.allow_typ_absent { Ok(false) } else { Err(refused) };
    };
    match kind.to_ascii_lowercase().as_str() {
        _ if header.is_of_type("at+jwt") => Ok(true),
        "jwt" | "application/jwt" if issuer.allow_typ_jwt => Ok(false),
        _ => Err(refused),
    }
}

/// What an unknown `kid` can cure, fresher keys, is told apart from what nothing can.
fn select<'k>(keys: &'k KeySet, header: &Header, algorithm: Algorithm) -> Result<&'k Key, Halt> {
    match keys.select(header.key_id.as_deref(), algorithm) {
        Selected::Key(key) => Ok(key),
        Selected::Unknown if header.key_id.is_some() => Err(Halt::KeyUnknown),
        Selected::Unknown | Selected::Ambiguous => {
            Err(Denial::about(Reason::KeyUnknown, "kid").into())
        }
        Selected::OtherAlgorithm => Err(Denial::about(Reason::AlgorithmRefused, "alg").into()),
    }
}

/// The cross-JWT guard (RFC 8725 §3.11): without `typ`, the members say what a token is not.
fn check_kind(payload: &Map<String, Value>) -> Result<(), Denial> {
    const OTHER_KINDS: [&str; 11] = [
        names::AGENT_OPERATION_PROPOSAL.snake,
        names::AGENT_OPERATION_PROPOSAL.camel,
        member::AT_HASH,
        member::C_HASH,
        member::CREDENTIAL_SUBJECT,
        member::EVENTS,
        member::HTM,
        member::HTU,
        member::NONCE,
        member::RESPONSE_TYPE,
        member::WTH,
    ];
    let grants = payload.contains_key(member::AUTHORIZATION_DETAILS)
        || names::AGENT_OPERATION_AUTHORIZATION.is_in(payload);
    match OTHER_KINDS.into_iter().find(|member| payload.contains_key(*member)) {
        Some(member) => Err(Denial::about(Reason::ForeignToken, member)),
        None if !grants => Err(Reason::ForeignToken.into()),
        None => Ok(()),
    }
}

/// The policies that the token names, in the order in which they are evaluated.
fn boundaries(
    members: &Members,
    references: Vec<PolicyRef>,
    delegation: Option<&Delegation>,
    issuer: &Issuer,
) -> Vec<Boundary> {
    let registered = members.authorization.iter().cloned().map(Boundary::PolicyId);
    let referred = references.into_iter().map(Boundary::PolicyRef);
    let newest_alone = issuer.delegation.as_ref().is_some_and(|terms| terms.newest_policy_alone);
    let delegated = delegation.map(|delegation| delegation.policies(newest_alone));
    let delegated = delegated.into_iter().flatten().map(Boundary::DelegatedPolicy);
    registered.chain(referred).chain(delegated).collect()
}

#[cfg(test)]
mod tests;
