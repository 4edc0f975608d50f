//! DPoP: the caller proves at every call that it holds the key its token is bound to (RFC 9449 §4.3).

use std::time::Duration;

use serde_json::{Map, Value};

use super::claims;
use super::hash;
use super::jws::Jws;
use super::keys::Key;
use super::member;
use super::target::Target;
use super::trust::Algorithm;
use crate::model::need::{FirstUse, ProofKind};
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;

/// How far `iat` may lie from the time of the call, in either direction.
pub const TOLERANCE: Duration = Duration::from_mins(1);
/// The longest that a proof is valid: from `iat` in the future to `iat` in the past.
pub const LIFETIME: Duration = Duration::from_mins(2);
/// The longest proof that is read, in bytes.
pub const MAX_PROOF: usize = 8 * 1_024;
/// The longest `jti`, in bytes.
const MAX_ID: usize = 256;

/// What a proof must be about.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The method of the call.
    pub method: &'a str,
    /// The target of the call.
    pub target: Target<'a>,
    /// The SHA-256 of the access token.
    pub token: &'a [u8; 32],
    /// The algorithms that a proof may use.
    pub algorithms: &'a [Algorithm],
    /// The time of the call.
    pub now: Timestamp,
}

/// A verified proof. That it counts for the first time is not shown yet.
#[derive(Debug)]
pub struct Proof {
    /// The RFC 7638 thumbprint of the key that made it.
    pub thumbprint: [u8; 32],
    /// `nonce`, of which nothing is checked here.
    pub nonce: Option<Box<str>>,
    /// Its use.
    pub first_use: FirstUse,
}

const fn wrong(about: &'static str) -> Denial {
    Denial::about(Reason::DpopProofInvalid, about)
}

/// Verifies a proof, in the order of RFC 9449 §4.3.
pub fn verify(proof: &str, expected: &Expected<'_>) -> Result<Proof, Denial> {
    if proof.len() > MAX_PROOF {
        return Err(wrong("size"));
    }
    let told = |denial: Denial| denial.told_as(Reason::DpopProofInvalid);
    let (jws, members) = Jws::with_members(proof).map_err(told)?;
    if !jws.header.is_of_type("dpop+jwt") {
        return Err(wrong("typ"));
    }
    let algorithm = Algorithm::named(&jws.header.algorithm)
        .filter(|algorithm| expected.algorithms.contains(algorithm))
        .ok_or(wrong("alg"))?;
    let jwk = members.get("jwk").ok_or(wrong("jwk"))?;
    let key = Key::presented(jwk).map_err(|_why| wrong("jwk"))?;
    key.verify(jws.signing_input, jws.signature, algorithm)
        .map_err(|_invalid| wrong("signature"))?;
    let payload = jws.payload().map_err(told)?;
    check_call(&payload, expected)?;
    let issued = check_time(&payload, expected.now)?;
    if !hash::is(payload.get(member::ATH), expected.token) {
        return Err(wrong(member::ATH));
    }
    let nonce = match payload.get(member::NONCE) {
        None => None,
        Some(Value::String(nonce)) => Some(nonce.as_str().into()),
        Some(_) => return Err(wrong(member::NONCE)),
    };
    let thumbprint = key.thumbprint();
    let id = text(&payload, member::JTI)?;
    let id = identifier(ProofKind::Dpop, &thumbprint, id);
    let until = issued.after(TOLERANCE);
    let first_use = FirstUse { kind: ProofKind::Dpop, id, until };
    Ok(Proof { thumbprint, nonce, first_use })
}

fn check_call(payload: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), Denial> {
    if text(payload, member::HTM)? != expected.method {
        return Err(wrong(member::HTM));
    }
    let uri = payload.get(member::HTU).and_then(Value::as_str).ok_or(wrong(member::HTU))?;
    if expected.target.is_named_by(uri) { Ok(()) } else { Err(wrong(member::HTU)) }
}

fn check_time(payload: &Map<String, Value>, now: Timestamp) -> Result<Timestamp, Denial> {
    let issued = match payload.get(member::IAT) {
        Some(Value::Number(number)) => claims::numeric_date(number).ok_or(wrong(member::IAT))?,
        _ => return Err(wrong(member::IAT)),
    };
    if issued.before(TOLERANCE) > now || issued.after(TOLERANCE) < now {
        return Err(wrong(member::IAT));
    }
    Ok(issued)
}

fn text<'p>(payload: &'p Map<String, Value>, claim: &'static str) -> Result<&'p str, Denial> {
    let text = payload.get(claim).and_then(Value::as_str);
    text.filter(|text| (1..=MAX_ID).contains(&text.len())).ok_or(wrong(claim))
}

/// What the use of a proof is recognized by: two keys may choose the same `jti`, so the key is part of it.
pub(super) fn identifier(kind: ProofKind, key: &[u8; 32], id: &str) -> [u8; 16] {
    let kind: &[u8] = match kind {
        ProofKind::Dpop => b"dpop",
        ProofKind::Workload => b"wpt\0",
    };
    let digest = hash::sha256(&[kind, key, id.as_bytes()].concat());
    // Half of SHA-256: nobody finds two that are alike.
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9449 §7, figure 12 and 13: the proof and the token of the example request.
    const PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
    const ISSUED: Timestamp = Timestamp::from_seconds(1_562_262_618);
    const TARGET: Target<'_> = Target {
        origin: "https://resource.example.org",
        authority: "resource.example.org",
        path: "/protectedresource",
        resource: "https://resource.example.org",
        below: "/protectedresource",
    };

    fn expected(token: &[u8; 32]) -> Expected<'_> {
        Expected { method: "GET", target: TARGET, token, algorithms: &Algorithm::ALL, now: ISSUED }
    }

    #[test]
    fn r_ver_011_the_proof_of_rfc_9449_is_verified_with_the_thumbprint_it_prints() {
        let token = hash::sha256(TOKEN.as_bytes());
        let proof = verify(PROOF, &expected(&token)).unwrap();
        // RFC 9449 §6.1, figure 7.
        let printed = Value::from("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        assert!(hash::is(Some(&printed), &proof.thumbprint));
        assert_eq!(proof.first_use.until, ISSUED.after(TOLERANCE));
        assert_eq!(proof.nonce, None);
    }

    #[test]
    fn r_ver_011_the_proof_of_rfc_9449_is_for_its_call_alone() {
        let token = hash::sha256(TOKEN.as_bytes());
        let other = hash::sha256(b"another token");
        let good = expected(&token);
        let second = Duration::from_secs(1);
        for (case, expected) in [
            ("htm", Expected { method: "POST", ..good }),
            (
                "htu",
                Expected { target: Target { path: "/other", below: "/other", ..TARGET }, ..good },
            ),
            ("ath", Expected { token: &other, ..good }),
            ("alg", Expected { algorithms: &[Algorithm::EdDsa], ..good }),
            ("iat", Expected { now: ISSUED.after(TOLERANCE + second), ..good }),
            ("iat", Expected { now: ISSUED.before(TOLERANCE + second), ..good }),
        ] {
            assert_eq!(verify(PROOF, &expected).unwrap_err(), wrong(case), "{case}");
        }
        for edge in [ISSUED.after(TOLERANCE), ISSUED.before(TOLERANCE)] {
            verify(PROOF, &Expected { now: edge, ..good }).unwrap();
        }
    }

    #[test]
    fn one_use_is_told_from_another_by_kind_key_and_identifier() {
        let ids = [
            identifier(ProofKind::Dpop, &[1; 32], "a"),
            identifier(ProofKind::Dpop, &[2; 32], "a"),
            identifier(ProofKind::Dpop, &[1; 32], "b"),
            identifier(ProofKind::Workload, &[1; 32], "a"),
        ];
        for (n, id) in ids.iter().enumerate() {
            assert!(!ids[..n].contains(id));
        }
        assert_eq!(ids[0], identifier(ProofKind::Dpop, &[1; 32], "a"));
    }
}
