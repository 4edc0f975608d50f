//! The registered claims, typed (`tokens.md` §3). A claim of another type than its own is no claim.

use serde_json::{Map, Value};

use super::member;
use super::trust::Issuer;
use crate::model::date;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;

/// The last second that a date may name: 9999-12-31T23:59:59Z.
pub(super) const LAST_SECOND: f64 = 253_402_300_799.0;

/// The longest `sub`, in characters.
const MAX_SUBJECT: usize = 255;
/// The longest id of an agent, in bytes (`delegation.md` §2).
pub const MAX_AGENT: usize = 2_048;

/// The claims that every access token has (RFC 9068 §2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `aud`: one or several.
    pub audience: Vec<Box<str>>,
    /// `client_id`
    pub client_id: Option<Box<str>>,
    /// `exp`
    pub expires: Timestamp,
    /// `iat`
    pub issued: Timestamp,
    /// `jti`
    pub jwt_id: Box<str>,
    /// `nbf`
    pub not_before: Option<Timestamp>,
    /// `scope`, split
    pub scope: Vec<Box<str>>,
    /// `sub`
    pub subject: Box<str>,
    /// `act.sub`: who acts for the subject (RFC 8693 §4.1).
    pub actor: Option<Box<str>>,
    /// `azp`
    pub authorized_party: Option<Box<str>>,
    /// Whether there is a `cnf`: the token is bound to a key.
    pub is_bound: bool,
}

impl Claims {
    /// Reads the claims of a verified payload.
    pub fn read(payload: &Map<String, Value>, issuer: &Issuer) -> Result<Self, Denial> {
        let client_id = text(payload, member::CLIENT_ID, 255)?;
        if issuer.rfc9068_strict && client_id.is_none() {
            return Err(Denial::about(Reason::ClaimMissing, member::CLIENT_ID));
        }
        Ok(Self {
            audience: audience(payload)?,
            expires: date(payload, member::EXP, issuer)?.ok_or(missing(member::EXP))?,
            issued: date(payload, member::IAT, issuer)?.ok_or(missing(member::IAT))?,
            jwt_id: text(payload, member::JTI, 255)?.ok_or(missing(member::JTI))?,
            not_before: date(payload, member::NBF, issuer)?,
            scope: scope(payload, issuer)?,
            subject: subject(payload)?,
            actor: actor(payload)?,
            authorized_party: text(payload, member::AZP, 255)?,
            is_bound: payload.contains_key(member::CNF),
            client_id,
        })
    }

    /// Checks the dates against `now` (RFC 7519 §4.1.4–6; `tokens.md` §3).
    pub fn check_dates(&self, issuer: &Issuer, now: Timestamp) -> Result<(), Denial> {
        self.check_current(issuer, now)?;
        if self.expires < self.issued {
            return Err(malformed(member::EXP));
        }
        if self.expires.since(self.issued) > issuer.max_lifetime {
            return Err(Denial::about(Reason::LifetimeTooLong, member::EXP));
        }
        Ok(())
    }

    /// The dates that time alone can make wrong: checked on each use of a remembered token.
    pub fn check_current(&self, issuer: &Issuer, now: Timestamp) -> Result<(), Denial> {
        if now >= self.expires.after(issuer.leeway) {
            return Err(Denial::about(Reason::TokenExpired, member::EXP));
        }
        if self.not_before.is_some_and(|start| start.before(issuer.leeway) > now) {
            return Err(Denial::about(Reason::TokenNotYetValid, member::NBF));
        }
        // A clock that was set back makes this wrong too.
        if self.issued.before(issuer.leeway) > now {
            return Err(Denial::about(Reason::IssuedInFuture, member::IAT));
        }
        Ok(())
    }
}

const fn missing(claim: &'static str) -> Denial {
    Denial::about(Reason::ClaimMissing, claim)
}

const fn malformed(claim: &'static str) -> Denial {
    Denial::about(Reason::ClaimMalformed, claim)
}

pub(super) fn text(
    payload: &Map<String, Value>,
    claim: &'static str,
    longest: usize,
) -> Result<Option<Box<str>>, Denial> {
    match payload.get(claim) {
        None => Ok(None),
        Some(Value::String(text)) if (1..=longest).contains(&text.len()) => {
            Ok(Some(text.as_str().into()))
        }
        Some(_) => Err(malformed(claim)),
    }
}

/// `sub`: 1 to 255 characters, whatever their length in bytes (`tokens.md` §3).
fn subject(payload: &Map<String, Value>) -> Result<Box<str>, Denial> {
    match payload.get(member::SUB).ok_or(missing(member::SUB))? {
        Value::String(text) if (1..=MAX_SUBJECT).contains(&text.chars().count()) => {
            Ok(text.as_str().into())
        }
        _ => Err(malformed(member::SUB)),
    }
}

fn audience(payload: &Map<String, Value>) -> Result<Vec<Box<str>>, Denial> {
    match payload.get(member::AUD).ok_or(missing(member::AUD))? {
        Value::String(one) => Ok(vec![one.as_str().into()]),
        Value::Array(several) => strings(several).ok_or(malformed(member::AUD)),
        _ => Err(malformed(member::AUD)),
    }
}

fn scope(payload: &Map<String, Value>, issuer: &Issuer) -> Result<Vec<Box<str>>, Denial> {
    match payload.get(member::SCOPE) {
        None => Ok(Vec::new()),
        Some(Value::String(list)) => {
            Ok(list.split(' ').filter(|scope| !scope.is_empty()).map(Into::into).collect())
        }
        Some(Value::Array(list)) if issuer.scope_array => {
            strings(list).ok_or(malformed(member::SCOPE))
        }
        Some(_) => Err(malformed(member::SCOPE)),
    }
}

fn actor(payload: &Map<String, Value>) -> Result<Option<Box<str>>, Denial> {
    match payload.get(member::ACT) {
        None => Ok(None),
        Some(Value::Object(actor)) => {
            Ok(Some(text(actor, member::SUB, MAX_AGENT)?.ok_or(malformed(member::ACT))?))
        }
        Some(_) => Err(malformed(member::ACT)),
    }
}

fn strings(list: &[Value]) -> Option<Vec<Box<str>>> {
    list.iter().map(|value| value.as_str().map(Into::into)).collect()
}

/// A `NumericDate` (RFC 7519 §2): fractions are floored; strings are refused, but for the strict
/// RFC 3339 form where the issuer is configured so (`tokens.md` §3).
pub(super) fn date(
    payload: &Map<String, Value>,
    claim: &'static str,
    issuer: &Issuer,
) -> Result<Option<Timestamp>, Denial> {
    match payload.get(claim) {
        None => Ok(None),
        Some(Value::Number(number)) => numeric_date(number).map(Some).ok_or(malformed(claim)),
        Some(Value::String(text)) if issuer.iso8601_dates => {
            written_date(text).map(Some).ok_or(malformed(claim))
        }
        Some(_) => Err(malformed(claim)),
    }
}

/// The moment that a `NumericDate` names (RFC 7519 §2), a fraction floored.
pub fn numeric_date(number: &serde_json::Number) -> Option<Timestamp> {
    let seconds = number.as_f64().filter(|seconds| (0.0..=LAST_SECOND).contains(seconds))?;
    match number.as_u64() {
        Some(whole) => Some(Timestamp::from_seconds(whole)),
        None => Some(Timestamp::from_seconds(whole_seconds(seconds))),
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 ≤ seconds ≤ LAST_SECOND"
)]
pub(super) const fn whole_seconds(seconds: f64) -> u64 {
    seconds as u64
}

/// `YYYY-MM-DDThh:mm:ss[.fraction]Z` and nothing else, in whole seconds as numbers are.
fn written_date(text: &str) -> Option<Timestamp> {
    let moment = date::rfc3339(text).filter(|_| text.ends_with('Z'))?;
    Some(Timestamp::from_seconds(moment.seconds()))
}
