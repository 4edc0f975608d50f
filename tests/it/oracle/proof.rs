//! The book's chapters on what a token is bound to (`tokens.md` §8), on DPoP (RFC 9449 §4.3, §7) and on
//! status lists (`verification.md`, step 11).

use serde_json::{Map, Value};

use super::book::{Asked, INVALID_TOKEN, Step, Told, UNAVAILABLE, bytes, string};
use super::json;
use super::request::Scheme;
use super::setting::{ISSUERS, Issuer, Key, Resource};
use super::workload;
use crate::support::proof::hash;

const INVALID_PROOF: Told = (401, "invalid_dpop_proof");
pub(super) const INVALID_WORKLOAD: Told = (401, "invalid_workload_proof");

/// What must be proven: thumbprints, in base64url.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Bound {
    dpop: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

/// `cnf`: every member that is known counts, and one must be.
pub(super) fn read_confirmation(claims: &Map<String, Value>) -> Step<Option<Bound>> {
    let Some(confirmation) = claims.get("cnf") else { return Ok(None) };
    let members = confirmation.as_object().ok_or(INVALID_TOKEN)?;
    let print = |name: &str| match members.get(name) {
        None => Ok(None),
        Some(value) => thumbprint(value).map(Some).ok_or(INVALID_TOKEN),
    };
    let key = match (members.get("jwk"), members.get("kid")) {
        (Some(jwk), _) => {
            Some(thumbprint_of(jwk.as_object().ok_or(INVALID_TOKEN)?).ok_or(INVALID_TOKEN)?)
        }
        // A name that is no thumbprint says nothing of the key.
        (None, Some(name)) => thumbprint(name),
        (None, None) => None,
    };
    let bound = Bound { dpop: print("jkt")?, certificate: print("x5t#S256")?, key };
    if bound == Bound::default() { Err(INVALID_TOKEN) } else { Ok(Some(bound)) }
}

/// base64url of just 32 octets.
fn thumbprint(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    bytes(text).ok().filter(|bytes| bytes.len() == 32).map(|_| text.to_owned())
}

/// RFC 7638 §3.2, of a public key that this oracle's callers have: P-256, P-384, Ed25519.
pub(super) fn thumbprint_of(jwk: &Map<String, Value>) -> Option<String> {
    if ["d", "k", "p", "q", "dp", "dq", "qi", "oth"].iter().any(|name| jwk.contains_key(*name)) {
        return None;
    }
    if jwk.get("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let part = |name: &str, octets: usize| {
        let text = string(jwk, name)?;
        bytes(text).ok().filter(|bytes| bytes.len() == octets).map(|_| text)
    };
    let (fitting, canonical) = match (string(jwk, "kty")?, string(jwk, "crv")?) {
        ("EC", crv @ ("P-256" | "P-384")) => {
            let (octets, alg) = if crv == "P-256" { (32, "ES256") } else { (48, "ES384") };
            let (x, y) = (part("x", octets)?, part("y", octets)?);
            (alg, format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#))
        }
        ("OKP", "Ed25519") => {
            let x = part("x", 32)?;
            ("EdDSA", format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#))
        }
        _ => return None,
    };
    if jwk.get("alg").is_some_and(|alg| alg != fitting) {
        return None;
    }
    Some(hash(canonical))
}

/// What proofs are held against.
pub(super) struct Proving<'a> {
    pub(super) asked: &'a Asked,
    pub(super) scheme: Scheme,
    pub(super) token: &'a str,
    pub(super) resource: &'a Resource,
    pub(super) keys: &'a [Vec<Key>],
    pub(super) now: u64,
}

/// Steps 12 and 13: the workload that has proven who it is, if any has.
pub(super) fn check(proving: &Proving<'_>, bound: Option<&Bound>) -> Step<Option<String>> {
    let Proving { asked, scheme, token, resource, keys, now } = *proving;
    let by_dpop = bound.and_then(|bound| bound.dpop.as_ref());
    let by_key = bound.and_then(|bound| bound.key.as_ref());
    match scheme {
        // RFC 9449 §7.2, and the other way round.
        Scheme::Bearer if by_dpop.is_some() => return Err(INVALID_TOKEN),
        Scheme::Dpop if by_dpop.is_none() && by_key.is_none() => return Err(INVALID_TOKEN),
        Scheme::Bearer | Scheme::Dpop => {}
    }
    let mut proven = None;
    if scheme == Scheme::Dpop {
        let proof = asked.proofs.first().ok_or(INVALID_PROOF)?;
        proven = Some(verify(asked, proof, token, resource, now).ok_or(INVALID_PROOF)?);
    }
    // The holder of such a key is a workload, where it is not proven by DPoP.
    let is_called_for = by_key.is_some() && scheme != Scheme::Dpop;
    let workload = workload::check(asked, is_called_for, token, resource, keys, now)?;
    let shown = workload.as_ref().map(|workload| &workload.thumbprint);
    let is_proven = |wanted: Option<&String>| wanted.is_none() || wanted == proven.as_ref();
    let is_key = is_proven(by_key) || by_key == shown;
    // Nobody has a certificate.
    if is_proven(by_dpop) && is_key && bound.is_none_or(|bound| bound.certificate.is_none()) {
        Ok(workload.map(|workload| workload.subject))
    } else {
        Err(INVALID_TOKEN)
    }
}

/// RFC 9449 §4.3, check by check: the thumbprint of the key that made a good proof.
fn verify(
    asked: &Asked,
    proof: &str,
    token: &str,
    resource: &Resource,
    now: u64,
) -> Option<String> {
    let parts: Vec<&str> = proof.split('.').collect();
    // 2. A well-formed JWT. Stricter: of at most 8 KiB.
    let [head, body, signature] = parts.as_slice() else { return None };
    if proof.len() > 8 * 1_024 {
        return None;
    }
    let (header, claims) = (json::object(&bytes(head).ok()?)?, json::object(&bytes(body).ok()?)?);
    let refused = ["crit", "enc", "zip"].iter().any(|name| header.contains_key(*name));
    let is_kid =
        header.get("kid").is_none_or(|kid| kid.as_str().is_some_and(|kid| kid.len() <= 256));
    if refused || !is_kid {
        return None;
    }
    // 4. typ.
    let kind = string(&header, "typ")?.to_lowercase();
    if kind.strip_prefix("application/").unwrap_or(&kind) != "dpop+jwt" {
        return None;
    }
    // 5. An asymmetric algorithm that is allowed.
    let algorithm = string(&header, "alg")?;
    let plain = if algorithm == "Ed25519" { "EdDSA" } else { algorithm };
    if !resource.dpop_algorithms.contains(&plain) {
        return None;
    }
    // 6 and 7. The key is public, and made the signature.
    let jwk = header.get("jwk")?.as_object()?;
    let thumbprint = thumbprint_of(jwk)?;
    let mut known = jwk.clone();
    let fitting = match string(jwk, "crv")? {
        "P-256" => "ES256",
        "P-384" => "ES384",
        _ => "EdDSA",
    };
    known.insert("alg".to_owned(), Value::from(fitting));
    let key = Key::of_jwk(Value::Object(known));
    let input = &proof[..head.len() + 1 + body.len()];
    if !key.fits(algorithm) || !key.verifies(algorithm, input.as_bytes(), &bytes(signature).ok()?) {
        return None;
    }
    // 3. The claims that must be there, 8. htm, 9. htu, 11. iat, 12. ath.
    let named = |name: &str| string(&claims, name).filter(|text| (1..=256).contains(&text.len()));
    named("jti")?;
    if named("htm")? != asked.method || !is_target(string(&claims, "htu")?, &asked.path, resource) {
        return None;
    }
    let issued = proof_date(claims.get("iat")?)?;
    let (now, second, minute) = (i128::from(now), 1_000_000, 60);
    let issued = i128::from(issued);
    if (issued - minute) * second > now || (issued + minute) * second < now {
        return None;
    }
    if string(&claims, "ath")? != hash(token) {
        return None;
    }
    // 10. No nonce is asked for here; one that stands there must be text.
    claims.get("nonce").is_none_or(Value::is_string).then_some(thumbprint)
}

/// A `NumericDate` (`tokens.md` §3).
pub(super) fn proof_date(value: &Value) -> Option<u64> {
    let Value::Number(number) = value else { return None };
    let seconds = number.as_f64().filter(|seconds| (0.0..=253_402_300_799.0).contains(seconds))?;
    number
        .as_u64()
        .or_else(|| format!("{:.0}", seconds.floor()).trim_start_matches('-').parse().ok())
}

/// The URI of the call, as the gate is reached or as the resource is called, without query and fragment.
pub(super) fn is_target(uri: &str, path: &str, resource: &Resource) -> bool {
    let uri = uri.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = uri.split_once("://") else { return false };
    let (authority, named) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let authority = authority.to_lowercase();
    let is_here = scheme.to_lowercase() == "https"
        && authority.strip_suffix(":443").unwrap_or(&authority) == "tools.test"
        && resource.id.starts_with("https://tools.test");
    is_here && segments(named) == segments(path)
}

/// RFC 3986 §6.2.2: one spelling of each octet, and no dot segments.
fn segments(path: &str) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    let parts: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    for (n, part) in parts.iter().enumerate() {
        let part = spelled(part);
        let is_last = n + 1 == parts.len();
        match part.as_str() {
            "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(part.clone()),
        }
        if is_last && (part == "." || part == "..") {
            kept.push(String::new());
        }
    }
    kept
}

fn spelled(part: &str) -> String {
    let mut text = String::new();
    let mut rest = part;
    while let Some(c) = rest.chars().next() {
        let digits =
            rest.get(1..3).filter(|two| c == '%' && two.bytes().all(|b| b.is_ascii_hexdigit()));
        if let Some(two) = digits {
            let octet = char::from(u8::from_str_radix(two, 16).unwrap());
            if octet.is_ascii_alphanumeric() || "-._~".contains(octet) {
                text.push(octet);
            } else {
                text.push_str(&format!("%{}", two.to_uppercase()));
            }
            rest = &rest[3..];
        } else {
            text.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    text
}

// ── Status lists ─────────────────────────────────────────────────────────────────────────────────

/// The list that the issuer with chains publishes: two bits for each token, the first byte from its least
/// significant end 0, 1, 2, 3.
pub(super) const LIST: [u8; 2] = [0b11_10_01_00, 0b00_00_00_00];
pub(super) const LIST_URI: &str = "https://hops.test/status";

/// A reference that can be followed, or none.
pub(super) fn check_reference(claims: &Map<String, Value>, issuer: &Issuer) -> Step<()> {
    let Some(status) = claims.get("status") else { return Ok(()) };
    let status = status.as_object().ok_or(INVALID_TOKEN)?;
    let list = status.get("status_list").and_then(Value::as_object).ok_or(INVALID_TOKEN)?;
    let uri = string(list, "uri").ok_or(INVALID_TOKEN)?;
    let index = list.get("idx").and_then(Value::as_u64);
    // Only the issuer's own host has its lists. Stricter: another mechanism beside the list is refused.
    let is_own = uri.strip_prefix(issuer.id).is_some_and(|rest| rest.starts_with('/'));
    let is_fit = status.len() == 1 && index.is_some() && is_own && uri.len() <= 2_048;
    if is_fit { Ok(()) } else { Err(INVALID_TOKEN) }
}

/// Only 0 is valid. Of no list but this one can anything be learned.
pub(super) fn check_status(claims: &Map<String, Value>, issuer: usize) -> Step<()> {
    let Some(list) = claims.get("status").and_then(|status| status.get("status_list")) else {
        return Ok(());
    };
    if ISSUERS[issuer].id != "https://hops.test" || list["uri"] != LIST_URI {
        return Err(UNAVAILABLE);
    }
    let index = usize::try_from(list["idx"].as_u64().unwrap()).unwrap_or(usize::MAX);
    let byte = LIST.get(index / 4).ok_or(INVALID_TOKEN)?;
    if (byte >> (index % 4 * 2)) % 4 == 0 { Ok(()) } else { Err(INVALID_TOKEN) }
}
