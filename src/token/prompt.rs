//! Prompt credentials (form E4 of evidence; `evidence.md` §5): a client says, in a credential that it
//! signs, what a person typed. That is no record of a consent, and counts only where an operation says
//! that it does. Nothing of the prompt is kept: its credential is known by a hash.

use std::time::Duration;

use serde_json::{Map, Value};

use super::aoa::Person;
use super::claims::{self, Claims};
use super::detached::Detached;
use super::hash;
use super::jws::Jws;
use super::member;
use super::names;
use super::signers::{Finding, Role, Signers, Verifier};
use super::verify::Halt;
use crate::model::confirmation::Demand;
use crate::model::date;
use crate::model::presented::Presented;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;

/// The longest id, in bytes.
const MAX_ID: usize = 512;

/// What a token carries of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompted {
    /// SHA-256 of the credential as it stands in the token.
    pub digest: [u8; 32],
    /// What came of looking at it.
    pub found: Found,
}

/// What came of looking at a prompt credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is right in itself.
    Good(Prompt),
    /// It fails the check of this member.
    Refused(&'static str),
    /// It is encrypted, and not for us.
    Sealed,
}

impl Prompted {
    /// Refuses a token whose prompt fails, where the operation takes prompts for evidence. An encrypted one
    /// is not wrong: nobody here can tell.
    pub fn check(&self, demand: &Demand, leeway: Duration, now: Timestamp) -> Result<(), Denial> {
        let fails = |member| Err(Denial::about(Reason::EvidenceInvalid, member));
        match &self.found {
            _ if !demand.takes_prompts() => Ok(()),
            Found::Good(prompt) if now >= prompt.ends.after(leeway) => fails(member::EXP),
            Found::Refused(member) => fails(member),
            Found::Good(_) | Found::Sealed => Ok(()),
        }
    }

    /// The prompt that a client vouches for.
    pub const fn good(&self) -> Option<&Prompt> {
        match &self.found {
            Found::Good(prompt) => Some(prompt),
            Found::Refused(_) | Found::Sealed => None,
        }
    }
}

impl Found {
    /// The word in records.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Good(_) => "signature",
            Self::Refused(_) => "unverified",
            Self::Sealed => "encrypted",
        }
    }
}

/// A prompt that a trusted client vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// `jti`
    pub id: Box<str>,
    /// `iss`
    pub issuer: Box<str>,
    /// `credentialSubject.timestamp`: when the person typed it.
    pub typed: Timestamp,
    /// When it ends: the earlier of `exp` and `expirationDate`.
    pub ends: Timestamp,
}

/// What a credential must fit: the token around it.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// The claims of the token.
    pub claims: &'a Claims,
    /// The person its agent was issued to, where it says so.
    pub person: Option<&'a Person>,
    /// How far clocks may differ.
    pub leeway: Duration,
}

/// Reads and verifies the prompt credential of a token whose own signature and claims were verified.
pub fn verify(
    payload: &Map<String, Value>,
    around: Around<'_>,
    verifier: &mut Verifier<'_, impl Signers>,
) -> Result<Option<Prompted>, Halt> {
    let Some(evidence) = payload.get(member::EVIDENCE).and_then(Value::as_object) else {
        return Ok(None);
    };
    let Some(credential) = names::SOURCE_PROMPT_CREDENTIAL.of(evidence)? else { return Ok(None) };
    let text = credential.as_str().ok_or(names::SOURCE_PROMPT_CREDENTIAL.malformed())?;
    let digest = hash::sha256(text.as_bytes());
    // Five parts are encrypted (RFC 7516 §3.1).
    if text.bytes().filter(|byte| *byte == b'.').count() == 4 {
        return Ok(Some(Prompted { digest, found: Found::Sealed }));
    }
    let found = match one(text, around, verifier) {
        Ok(prompt) => Found::Good(prompt),
        Err(Stop::Refused(member)) => Found::Refused(member),
        Err(Stop::Halt(halt)) => return Err(halt),
    };
    Ok(Some(Prompted { digest, found }))
}

/// Why a credential was not read to its end: its own fault, or a fact that is lacking.
enum Stop {
    Refused(&'static str),
    Halt(Halt),
}

impl From<Denial> for Stop {
    fn from(denial: Denial) -> Self {
        Self::Refused(denial.about.unwrap_or("jws"))
    }
}

fn one(
    text: &str,
    around: Around<'_>,
    verifier: &mut Verifier<'_, impl Signers>,
) -> Result<Prompt, Stop> {
    let jws = Jws::read(Presented::new(text))?;
    if !jws.header.is_of_type("jwt") && !jws.header.is_of_type("vc+jwt") {
        return Err(Stop::Refused("typ"));
    }
    let payload = jws.payload()?;
    let issuer = string(&payload, member::ISS)?;
    if jws.header.key_id.as_deref().is_some_and(|key_id| is_elsewhere(key_id, issuer)) {
        return Err(Stop::Refused("kid"));
    }
    let detached = jws.detached();
    let signature = Detached::read(&detached).map_err(|_form| Stop::Refused("jws"))?;
    let found = verifier.check(Role::Client, issuer, &signature, &jws.payload_octets());
    let refused = match found.map_err(Stop::Halt)? {
        Finding::Good => None,
        Finding::Bad => Some("signature"),
        Finding::Unresolvable => {
            let is_known = verifier.knows(Role::Client, issuer).map_err(Stop::Halt)?;
            Some(if is_known { "kid" } else { member::ISS })
        }
    };
    if let Some(member) = refused {
        return Err(Stop::Refused(member));
    }
    read(&payload, issuer, around)
}

/// A `kid` may be a URL whose fragment is the key's name (`https://client/jwks.json#key-01`). It is
/// never fetched, and one of another origin than the issuer's is somebody else's name for a key.
fn is_elsewhere(key_id: &str, issuer: &str) -> bool {
    let origin = |text: &str| {
        let uri = text.split(['#', '?']).next()?.parse::<http::Uri>().ok()?;
        Some((
            uri.scheme_str()?.to_ascii_lowercase(),
            uri.authority()?.as_str().to_ascii_lowercase(),
        ))
    };
    key_id.contains("://") && (origin(key_id).is_none() || origin(key_id) != origin(issuer))
}

/// The members of a credential whose signature was verified. `proof` says nothing that the signature
/// does not, and is not looked at.
fn read(payload: &Map<String, Value>, issuer: &str, around: Around<'_>) -> Result<Prompt, Stop> {
    let id = string(payload, member::JTI)?;
    for (holds, member) in [
        (is_of(payload.get("type"), "VerifiableCredential"), "type"),
        (string(payload, "issuer")? == issuer, "issuer"),
        (around.is_for(string(payload, member::SUB)?), member::SUB),
    ] {
        if !holds {
            return Err(Stop::Refused(member));
        }
    }
    let subject = payload.get(member::CREDENTIAL_SUBJECT).and_then(Value::as_object);
    let subject = subject.ok_or(Stop::Refused(member::CREDENTIAL_SUBJECT))?;
    if !is_of(subject.get("type"), "UserInputEvidence")
        || subject.get("prompt").and_then(Value::as_str).is_none_or(str::is_empty)
    {
        return Err(Stop::Refused(member::CREDENTIAL_SUBJECT));
    }
    let typed = moment(subject, member::TIMESTAMP)?;
    let latest = around.claims.issued.after(around.leeway);
    for (made, member) in [
        (number(payload, member::IAT)?, member::IAT),
        (moment(payload, names::ISSUANCE_DATE.camel)?, names::ISSUANCE_DATE.camel),
        (typed, member::TIMESTAMP),
    ] {
        // What the person typed comes before the token that it led to.
        if made > latest {
            return Err(Stop::Refused(member));
        }
    }
    let ends = number(payload, member::EXP)?.min(moment(payload, member::EXPIRATION_DATE)?);
    Ok(Prompt { id: id.into(), issuer: issuer.into(), typed, ends })
}

impl Around<'_> {
    /// Whether the person of the credential is that of the token. A token that names none cannot be
    /// compared.
    fn is_for(&self, subject: &str) -> bool {
        let own = &*self.claims.subject;
        let Some(person) = self.person else {
            return subject == own || self.claims.client_id.as_deref() == Some(own);
        };
        let full = person.issuer.as_ref().map(|issuer| format!("{issuer}|{}", person.user));
        subject == own || *subject == *person.user || full.as_deref() == Some(subject)
    }
}

/// `type` as a string, or as one of a list (Verifiable Credentials Data Model §4.3).
fn is_of(kind: Option<&Value>, expected: &str) -> bool {
    match kind {
        Some(Value::String(one)) => one == expected,
        Some(Value::Array(several)) => several.iter().any(|one| one == expected),
        _ => false,
    }
}

fn string<'m>(members: &'m Map<String, Value>, name: &'static str) -> Result<&'m str, Stop> {
    let text = members.get(name).and_then(Value::as_str);
    text.filter(|text| (1..=MAX_ID).contains(&text.len())).ok_or(Stop::Refused(name))
}

fn moment(members: &Map<String, Value>, name: &'static str) -> Result<Timestamp, Stop> {
    let text = members.get(name).and_then(Value::as_str);
    text.and_then(date::rfc3339).ok_or(Stop::Refused(name))
}

fn number(members: &Map<String, Value>, name: &'static str) -> Result<Timestamp, Stop> {
    let number = members.get(name).and_then(Value::as_number);
    number.and_then(claims::numeric_date).ok_or(Stop::Refused(name))
}
