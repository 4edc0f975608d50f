//! Evidence: that the authorization server recorded what a person was shown and did
//! (draft-liu-oauth-authorization-evidence; `evidence.md`). It proves the record, not the person.
//!
//! The checks are numbered as in `evidence.md` §4. V1 to V5 depend on the token alone and are made with
//! it; the others depend on the operation. A prompt that a client claims to have received (form E4) is
//! looked at where nothing better is there ([`prompt`]), and evidence that a token only names (form E5)
//! is what its issuer tells of it ([`told`]).

pub mod told;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Map, Value};

use super::aoa::Person;
use super::claims::{self, Claims};
use super::delegation::{Delegation, Lineage};
use super::detached::Detached;
use super::hash;
use super::jcs;
use super::member;
use super::names;
use super::prompt::{self, Around, Prompted};
use super::signers::{Finding, Role, Signers, Verifier};
use super::trust::Issuer;
use super::verify::Halt;
use crate::model::confirmation::{Demand, Wanted};
use crate::model::date;
use crate::model::hex::hex;
use crate::model::need::Bond;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;

/// The longest text that a person can have been shown, in bytes.
const MAX_DISPLAYED: usize = 8 * 1_024;
/// The longest id, in characters.
const MAX_ID: usize = 512;
/// The longest name of an action, in bytes.
const MAX_ACTION: usize = 128;
/// The most of the displayed text that is kept, in characters.
const MAX_SUMMARY: usize = 200;
/// What was not done, but taken for granted: not enough where evidence is required.
const IMPLICIT: &str = "implicit_consent";

/// What a token says of the person's confirmation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidenced {
    /// Nothing.
    Nothing,
    /// No confirmation, but what a client says that the person typed.
    Prompted(Box<Prompted>),
    /// Something that fails a check: refused wherever evidence is looked at.
    Refused(Denial),
    /// A confirmation that is good in itself.
    Shown(Box<Evidence>),
}

/// A recorded confirmation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// `id`; form E3 may have none.
    pub id: Option<Box<str>>,
    /// `timestamp`: when the person acted.
    pub confirmed: Timestamp,
    /// `user_action`
    pub user_action: Box<str>,
    /// What vouches for it.
    pub vouched: Vouched,
    /// The beginning of what was displayed, at most 200 characters.
    pub summary: Box<str>,
    /// SHA-256 of all that was displayed.
    pub displayed: [u8; 32],
    /// With whom and what it is used; none of evidence without an id.
    pub bond: Option<Bond>,
}

/// What vouches for a confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vouched {
    /// A signature of its own.
    Signature,
    /// The signature of the token around it.
    Token,
}

impl Vouched {
    /// The word in records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Token => "token",
        }
    }
}

/// What evidence is part of: a token whose own signature, claims and chain were verified, or what its
/// issuer says of it.
#[derive(Clone, Copy, Debug)]
pub struct Carrier<'a> {
    /// Its claims, as they were written.
    pub payload: &'a Map<String, Value>,
    /// Its registered claims.
    pub claims: &'a Claims,
    /// The person that it names apart.
    pub person: Option<&'a Person>,
    /// Who issued it.
    pub issuer: &'a Issuer,
    /// Through whom it was delegated.
    pub delegation: Option<&'a Delegation>,
    /// The evidence is covered by the signature of the token around it. Where it is not, its own is the only
    /// one left.
    pub is_signed: bool,
}

/// Reads and verifies the evidence of a token.
pub fn verify(
    carrier: &Carrier<'_>,
    verifier: &mut Verifier<'_, impl Signers>,
) -> Result<Evidenced, Halt> {
    let Carrier { payload, claims, person, issuer, delegation, .. } = *carrier;
    let found = match structured(payload) {
        Ok(found) => found,
        Err(denial) => return Ok(Evidenced::Refused(denial)),
    };
    if found.is_empty() {
        let around = Around { claims, person, leeway: issuer.leeway };
        let prompted = prompt::verify(payload, around, verifier)?;
        return Ok(prompted.map_or(Evidenced::Nothing, |one| Evidenced::Prompted(Box::new(one))));
    }
    let mut shown = None;
    for evidence in found {
        match one(evidence, carrier, verifier)? {
            Ok(good) => shown = Some(good),
            Err(denial) => return Ok(Evidenced::Refused(denial)),
        }
    }
    if let (Some(good), Some(chain)) = (&shown, delegation) {
        check_anchor(good, chain)?;
    }
    Ok(shown.map_or(Evidenced::Nothing, |one| Evidenced::Shown(Box::new(one))))
}

/// V4, which is D15: the evidence in the token is that of the consent which the chain began with. The
/// first record names it whenever there is any.
fn check_anchor(evidence: &Evidence, chain: &Delegation) -> Result<(), Denial> {
    let is_anchored = chain.root_evidence.is_some() && chain.root_evidence == evidence.id;
    if is_anchored || chain.lineage != Lineage::Agents || evidence.id.is_none() {
        return Ok(());
    }
    Err(Denial::about(Reason::DelegationInvalid, "D15"))
}

const fn fails(check: &'static str) -> Denial {
    Denial::about(Reason::EvidenceInvalid, check)
}

/// The evidence objects of forms E1 (in `authorization_details`), E2 and E3 (in `evidence`). Several
/// must be one and the same: two confirmations of one token contradict each other.
fn structured(payload: &Map<String, Value>) -> Result<Vec<&Map<String, Value>>, Denial> {
    let mut found = Vec::new();
    let details = payload.get(member::AUTHORIZATION_DETAILS).and_then(Value::as_array);
    for detail in details.into_iter().flatten() {
        if is_evidence(detail) {
            let evidence = detail.get(member::EVIDENCE).and_then(Value::as_object);
            found.push(evidence.ok_or(fails("V1"))?);
        }
    }
    match payload.get(member::EVIDENCE) {
        None => {}
        Some(Value::Object(members)) => {
            let is_evidence = [
                member::AS_SIGNATURE,
                "id",
                member::USER_CONFIRMATION,
                member::USER_CONFIRMATION_RECORD,
            ]
            .iter()
            .any(|name| members.contains_key(*name));
            found.extend(is_evidence.then_some(members));
        }
        Some(_) => return Err(fails("V1")),
    }
    let id = |evidence: &Map<String, Value>| evidence.get("id").cloned();
    let is_one = found.windows(2).all(|pair| match pair {
        [one, other] => id(one).is_some() && id(one) == id(other),
        _ => true,
    });
    if is_one { Ok(found) } else { Err(fails("V1")) }
}

/// Whether an entry of `authorization_details` holds evidence.
fn is_evidence(detail: &Value) -> bool {
    detail.get("type").is_some_and(|kind| kind == member::AUTHORIZATION_EVIDENCE)
}

/// V1, V2, V3 and V5 of one object; the inner result is about the evidence, the outer about the world.
fn one(
    evidence: &Map<String, Value>,
    carrier: &Carrier<'_>,
    verifier: &mut Verifier<'_, impl Signers>,
) -> Result<Result<Evidence, Denial>, Halt> {
    let Carrier { payload, claims, issuer, delegation, .. } = *carrier;
    let server = delegation.and_then(|chain| chain.hops.last()).map(|oldest| &*oldest.authority);
    let Some(read) = Read::of(evidence, issuer) else { return Ok(Err(fails("V1"))) };
    let vouched = match read.signature {
        None if !carrier.is_signed => return Ok(Err(fails("V2"))),
        None => Vouched::Token,
        Some(signature) => {
            let signers =
                std::iter::once(&*issuer.id).chain(server.filter(|one| *one != &*issuer.id));
            if !read.is_signed(signature, signers, verifier)? {
                return Ok(Err(fails("V2")));
            }
            Vouched::Signature
        }
    };
    if read.confirmed > claims.issued.after(issuer.leeway) {
        return Ok(Err(fails("V3")));
    }
    if !read.belongs_to(payload, claims) {
        return Ok(Err(fails("V5")));
    }
    let displayed =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, read.displayed.as_bytes());
    Ok(Ok(Evidence {
        id: read.id.map(Into::into),
        confirmed: read.confirmed,
        user_action: read.user_action.into(),
        vouched,
        summary: read.displayed.chars().take(MAX_SUMMARY).collect::<String>().into(),
        displayed: displayed.as_ref().try_into().unwrap_or_default(),
        bond: read.id.map(|id| bond(id, payload, claims, server.unwrap_or(&issuer.id))),
    }))
}

/// V8: what evidence with this id is used with. Whoever was delegated to is another client with narrower
/// policies, so that only the person stays the same.
fn bond(id: &str, payload: &Map<String, Value>, claims: &Claims, server: &str) -> Bond {
    let is_delegated = claims.actor.is_some() || payload.contains_key(member::DELEGATION_CHAIN);
    let evidence = cut(&[server.as_bytes(), id.as_bytes()]);
    let grant = (!is_delegated).then(|| grant_of(payload, claims));
    Bond { evidence, person: cut(&[claims.subject.as_bytes()]), grant }
}

/// The client, and everything in the token that grants or bounds.
fn grant_of(payload: &Map<String, Value>, claims: &Claims) -> [u8; 16] {
    // A number without a canonical form must not keep a token out of the memory. Then its text stands for it,
    // which is the same whatever the order of the members.
    let text = |value: &Value| {
        jcs::canonical(value).unwrap_or_else(|_number| {
            let mut sorted = value.clone();
            sorted.sort_all_objects();
            sorted.to_string().into()
        })
    };
    let details = payload.get(member::AUTHORIZATION_DETAILS).and_then(Value::as_array);
    let is_granting = |detail: &&Value| {
        detail.get("type").is_none_or(|kind| kind != member::AUTHORIZATION_EVIDENCE)
    };
    let granting: Vec<Vec<u8>> =
        details.into_iter().flatten().filter(is_granting).map(text).collect();
    let named = names::POLICY_REF.all(payload);
    let named = named.chain(names::AGENT_OPERATION_AUTHORIZATION.all(payload));
    let named: Vec<Vec<u8>> = named.map(text).collect();
    let client = claims.client_id.as_deref().unwrap_or_default().as_bytes();
    // No text is empty, so that one stands between what grants and what bounds.
    let between = Vec::new();
    let parts = granting.iter().chain([&between]).chain(&named).map(Vec::as_slice);
    cut(&std::iter::once(client).chain(parts).collect::<Vec<_>>())
}

/// The beginning of the SHA-256 of several texts, each with its length, so that none runs into the next.
fn cut(parts: &[&[u8]]) -> [u8; 16] {
    let mut whole = Vec::new();
    for part in parts {
        whole.extend_from_slice(part.len().to_string().as_bytes());
        whole.push(b':');
        whole.extend_from_slice(part);
    }
    hash::sha256(&whole).first_chunk().copied().unwrap_or_default()
}

/// Evidence that is well formed.
struct Read<'a> {
    id: Option<&'a str>,
    /// `user_confirmation` or `user_confirmation_record`, and which.
    confirmation: (&'static str, &'a Value),
    members: &'a Map<String, Value>,
    all: &'a Map<String, Value>,
    displayed: &'a str,
    user_action: &'a str,
    confirmed: Timestamp,
    signature: Option<&'a str>,
}

const CONFIRMATION: &str = member::USER_CONFIRMATION;
const RECORD: &str = member::USER_CONFIRMATION_RECORD;

impl<'a> Read<'a> {
    /// V1. The record of the later draft (E3) may leave `id` and signature out; nothing else may.
    fn of(all: &'a Map<String, Value>, issuer: &Issuer) -> Option<Self> {
        let confirmation = match (all.get(CONFIRMATION), all.get(RECORD)) {
            (Some(value), None) => (CONFIRMATION, value),
            (None, Some(value)) => (RECORD, value),
            (Some(value), Some(other)) if value == other => (CONFIRMATION, value),
            _ => return None,
        };
        let members = confirmation.1.as_object()?;
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let id = match all.get("id") {
            None => None,
            Some(id) => Some(id.as_str().filter(|id| (1..=MAX_ID).contains(&id.chars().count()))?),
        };
        let signature = match all.get(member::AS_SIGNATURE) {
            None => None,
            Some(signature) => Some(signature.as_str()?),
        };
        if confirmation.0 == CONFIRMATION && (id.is_none() || signature.is_none()) {
            return None;
        }
        let confirmed = match members.get(member::TIMESTAMP)? {
            Value::String(text) if confirmation.0 == RECORD => date::rfc3339(text)?,
            _ => claims::date(members, member::TIMESTAMP, issuer).ok()??,
        };
        Some(Self {
            id,
            confirmation,
            members,
            all,
            displayed: text(member::DISPLAYED_CONTENT)
                .filter(|text| text.len() <= MAX_DISPLAYED)?,
            user_action: text(member::USER_ACTION)
                .filter(|act| (1..=MAX_ACTION).contains(&act.len()))?,
            confirmed,
            signature,
        })
    }

    /// V2: over `id` and the whole confirmation, and nothing beside them. The record of the later draft
    /// does not say whether `id` is signed with it: either is taken.
    fn is_signed(
        &self,
        signature: &str,
        signers: impl Iterator<Item = impl AsRef<str>>,
        verifier: &mut Verifier<'_, impl Signers>,
    ) -> Result<bool, Halt> {
        let Ok(signature) = Detached::read(signature) else { return Ok(false) };
        let id = self.all.get("id").map(|id| ("id", id));
        let mut payloads = vec![jcs::object(id.into_iter().chain([self.confirmation]))];
        if self.confirmation.0 == RECORD {
            payloads.push(jcs::map(self.members));
        }
        for signer in signers {
            for payload in payloads.iter().flatten() {
                if verifier.check(Role::Authority, signer.as_ref(), &signature, payload)?
                    == Finding::Good
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// V5: what the server signed of subject, client and policy is what the token says. It keeps evidence
    /// from being moved to another token, and a policy from being changed behind its name.
    fn belongs_to(&self, payload: &Map<String, Value>, claims: &Claims) -> bool {
        let is = |name: &str, expected: Option<&str>| match self.members.get(name) {
            None => true,
            Some(value) => value.as_str().is_some_and(|value| Some(value) == expected),
        };
        let is_policy =
            |digest: &Value| digest.as_str().is_some_and(|one| has_policy(payload, one));
        is("subject", Some(&claims.subject))
            && is(member::CLIENT_ID, claims.client_id.as_deref())
            && self.members.get(member::POLICY_DIGEST).is_none_or(is_policy)
    }
}

/// Whether the token carries a policy with this digest (`sha256:` and hexadecimal), or names one by it.
fn has_policy(payload: &Map<String, Value>, digest: &str) -> bool {
    let details = payload.get(member::AUTHORIZATION_DETAILS).and_then(Value::as_array);
    let carried = details.into_iter().flatten().filter_map(|detail| detail.get("policy"));
    let named = match payload.get(names::POLICY_REF.snake) {
        Some(Value::Array(several)) => several.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    };
    let binding = payload
        .get(names::AGENT_OPERATION_AUTHORIZATION.snake)
        .and_then(|authorization| authorization.get(names::POLICY_BINDING.snake)?.get("digest"));
    binding.is_some_and(|bound| bound == digest)
        || carried.chain(named).any(|policy| is_digest_of(policy, digest))
}

fn is_digest_of(policy: &Value, digest: &str) -> bool {
    let content = policy.get("content").and_then(Value::as_str).map(|content| {
        hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content.as_bytes()).as_ref())
    });
    let hash = policy.get("hash").and_then(Value::as_str).and_then(|hash| {
        let text = hash.strip_prefix("sha256-")?.trim_end_matches('=');
        let standard = text.replace('-', "+").replace('_', "/");
        STANDARD_NO_PAD.decode(standard).ok().map(|bytes| hex(&bytes))
    });
    let is = |known: String| digest.strip_prefix("sha256:") == Some(known.as_str());
    // Content wins over a reference: only what is evaluated counts.
    content.or(hash).is_some_and(is)
}

impl Evidenced {
    /// Whether what is there may stand, where it is looked at: the verdict on the token, and that the
    /// confirmation does not lie in the future (V3).
    pub fn check(&self, demand: &Demand, leeway: Duration, now: Timestamp) -> Result<(), Denial> {
        match self {
            _ if demand.evidence == Wanted::Ignored => Ok(()),
            Self::Refused(denial) => Err(*denial),
            Self::Prompted(prompted) => prompted.check(demand, leeway, now),
            Self::Shown(evidence) if evidence.confirmed > now.after(leeway) => Err(fails("V3")),
            Self::Nothing | Self::Shown(_) => Ok(()),
        }
    }

    /// Whether it is the confirmation that the operation demands: there (V9), recent (V6) and by an act
    /// that is accepted (V7). A new consent cures each.
    pub fn suffices(&self, demand: &Demand, now: Timestamp) -> Result<(), Denial> {
        let lacks = |check| Err(Denial::about(Reason::ConfirmationRequired, check));
        if self.is_lacking(demand) {
            return lacks("V9");
        }
        let (confirmed, user_action) = match self {
            Self::Prompted(prompted) => match prompted.good().filter(|_| demand.takes_prompts()) {
                // Typing is none of the acts that can be demanded.
                Some(prompt) => (prompt.typed, None),
                None => return Ok(()),
            },
            Self::Shown(evidence) => (evidence.confirmed, Some(&evidence.user_action)),
            Self::Nothing | Self::Refused(_) => return Ok(()),
        };
        if demand.evidence == Wanted::Ignored {
            return Ok(());
        }
        let is_required = demand.evidence == Wanted::Required;
        if demand.max_age.is_some_and(|longest| now.since(confirmed) > longest) {
            return lacks("V6");
        }
        let is_accepted = match demand.user_actions.as_slice() {
            [] => !is_required || user_action.is_none_or(|action| **action != *IMPLICIT),
            accepted => user_action.is_some_and(|action| accepted.contains(action)),
        };
        if is_accepted { Ok(()) } else { lacks("V7") }
    }

    /// The confirmation, when it is good.
    pub fn shown(&self) -> Option<&Evidence> {
        match self {
            Self::Shown(evidence) => Some(evidence),
            Self::Nothing | Self::Prompted(_) | Self::Refused(_) => None,
        }
    }

    /// Whether none that may stand is there, where one must be: not even a prompt that is good enough (V9).
    pub fn is_lacking(&self, demand: &Demand) -> bool {
        let has_any = match self {
            Self::Nothing | Self::Refused(_) => false,
            Self::Prompted(prompted) => demand.takes_prompts() && prompted.good().is_some(),
            Self::Shown(_) => true,
        };
        demand.evidence == Wanted::Required && !has_any
    }

    /// What the evidence is used with and when it was given, where the operation looks at evidence.
    pub fn bond(&self, demand: &Demand) -> Option<(Bond, Timestamp)> {
        let shown = self.shown().filter(|_| demand.evidence != Wanted::Ignored)?;
        Some((shown.bond?, shown.confirmed))
    }

    /// What a client says that the person typed, where there is no confirmation.
    pub fn prompted(&self) -> Option<&Prompted> {
        match self {
            Self::Prompted(prompted) => Some(prompted),
            Self::Nothing | Self::Refused(_) | Self::Shown(_) => None,
        }
    }
}
