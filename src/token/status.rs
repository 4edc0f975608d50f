//! Token status lists (draft-ietf-oauth-status-list; `verification.md`, Token Status List): the
//! reference in a token, and the list that it refers to.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::read::ZlibDecoder;
use serde_json::{Map, Value};

use super::claims::date;
use super::jws::Jws;
use super::keys::{KeySet, Signer};
use super::member;
use super::trust::Issuer;
use super::verify::{self, Halt};
use crate::model::presented::Presented;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;

/// The most bytes of an inflated list: 80 million tokens of one bit. A bomb is given up there.
pub const MAX_LIST: u64 = 10 * 1_024 * 1_024;
/// The longest URI of a list.
const MAX_URI: usize = 2_048;

/// `status.status_list`: where the status of a token is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// `idx`: its place in the list.
    pub index: u64,
    /// `uri` of the list, which is also its `sub`.
    pub uri: Box<str>,
}

impl Reference {
    /// Reads the reference of a verified payload. A status that cannot be checked refuses the token.
    pub fn read(payload: &Map<String, Value>, issuer: &Issuer) -> Result<Option<Self>, Denial> {
        let malformed = Denial::about(Reason::ClaimMalformed, member::STATUS);
        let unchecked = |about| Denial::about(Reason::StatusUnchecked, about);
        let status = match payload.get(member::STATUS) {
            None if issuer.liveness.status_required => {
                return Err(Denial::about(Reason::ClaimMissing, member::STATUS));
            }
            None => return Ok(None),
            Some(Value::Object(status)) => status,
            Some(_) => return Err(malformed),
        };
        // Another mechanism beside a list could say that the token is revoked.
        if status.keys().any(|mechanism| mechanism != member::STATUS_LIST) {
            return Err(unchecked(member::STATUS));
        }
        let list = status.get(member::STATUS_LIST).and_then(Value::as_object).ok_or(malformed)?;
        let index = list.get(member::IDX).and_then(Value::as_u64).ok_or(malformed)?;
        let uri = list.get("uri").and_then(Value::as_str).ok_or(malformed)?;
        if uri.len() > MAX_URI || !issuer.liveness.serves_lists_at(uri) {
            return Err(unchecked("uri"));
        }
        Ok(Some(Self { index, uri: uri.into() }))
    }
}

/// A verified status list.
#[derive(Debug)]
pub struct StatusList {
    signer: Signer,
    bits: u8,
    bytes: Box<[u8]>,
    expires: Option<Timestamp>,
    ttl: Option<Duration>,
}

impl StatusList {
    /// Verifies the list token that was found at `uri`, and inflates the list.
    pub fn read(
        text: &str,
        uri: &str,
        issuer: &Issuer,
        keys: &Arc<KeySet>,
        now: Timestamp,
    ) -> Result<Self, Halt> {
        let jws = Jws::read(Presented::new(text)).map_err(|_error| unusable("jws"))?;
        if !jws.header.is_of_type("statuslist+jwt") {
            return Err(unusable("typ").into());
        }
        let signer = verify::signer(&jws, issuer, keys)?;
        let payload = jws.payload().map_err(|_error| unusable("payload"))?;
        if payload.get(member::SUB).and_then(Value::as_str) != Some(uri) {
            return Err(unusable(member::SUB).into());
        }
        if payload.get(member::ISS).is_some_and(|own| own.as_str() != Some(&issuer.id)) {
            return Err(unusable(member::ISS).into());
        }
        let moment = |claim| date(&payload, claim, issuer).map_err(|_error| unusable(claim));
        let issued = moment(member::IAT)?.ok_or(unusable(member::IAT))?;
        let expires = moment(member::EXP)?;
        if issued.before(issuer.leeway) > now || expires.is_some_and(|end| end <= now) {
            return Err(unusable(member::EXP).into());
        }
        let ttl = match payload.get(member::TTL) {
            None => None,
            Some(ttl) => {
                let seconds = ttl.as_u64().filter(|seconds| *seconds > 0);
                Some(Duration::from_secs(seconds.ok_or(unusable(member::TTL))?))
            }
        };
        let list = payload.get(member::STATUS_LIST).and_then(Value::as_object);
        let list = list.ok_or(unusable(member::STATUS_LIST))?;
        let bits = list.get(member::BITS).and_then(Value::as_u64);
        let bits = bits.and_then(|bits| u8::try_from(bits).ok()).unwrap_or_default();
        if !matches!(bits, 1 | 2 | 4 | 8) {
            return Err(unusable(member::BITS).into());
        }
        let packed = list.get(member::LST).and_then(Value::as_str).ok_or(unusable(member::LST))?;
        Ok(Self { signer, bits, bytes: inflate(packed)?, expires, ttl })
    }

    /// The status at `index`: 0 is valid. `None` behind the end of the list.
    pub fn status(&self, index: u64) -> Option<u8> {
        let per_byte = u64::from(8 / self.bits);
        let byte = self.bytes.get(usize::try_from(index / per_byte).ok()?)?;
        let place = u8::try_from(index % per_byte).ok()?.checked_mul(self.bits)?;
        let mask = u8::MAX >> (8 - self.bits);
        Some(byte.checked_shr(place.into())? & mask)
    }

    /// Until when it may be used that was fetched at `fetched`: its own bounds and the operator's.
    pub fn usable_until(&self, fetched: Timestamp, max_age: Duration) -> Timestamp {
        let aged = fetched.after(self.ttl.map_or(max_age, |ttl| ttl.min(max_age)));
        self.expires.map_or(aged, |end| end.min(aged))
    }

    /// Whether the key that signed it still is one of the issuer's.
    pub fn is_signed_by(&self, keys: &Arc<KeySet>) -> bool {
        self.signer.is_of(keys)
    }
}

const fn unusable(about: &'static str) -> Denial {
    Denial::about(Reason::StatusUnavailable, about)
}

/// base64url of zlib, inflated as far as a list may be large.
fn inflate(packed: &str) -> Result<Box<[u8]>, Denial> {
    let packed = URL_SAFE_NO_PAD.decode(packed).map_err(|_error| unusable(member::LST))?;
    let mut bytes = Vec::new();
    let mut reader = ZlibDecoder::new(packed.as_slice()).take(MAX_LIST.saturating_add(1));
    reader.read_to_end(&mut bytes).map_err(|_error| unusable(member::LST))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_LIST) {
        Ok(bytes.into())
    } else {
        Err(unusable(member::LST))
    }
}

#[cfg(test)]
mod tests;
