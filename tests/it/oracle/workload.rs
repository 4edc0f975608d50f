//! The book's chapter on workload identity (`tokens.md` §10; `verification.md`, step 13 and "WPT"), and what
//! could be changed in a token of identity and its proof.

use serde_json::{Map, Value, json};

use super::book::{Asked, INVALID_REQUEST, Step, bytes, string};
use super::change::{Change, pick, remove};
use super::draft::{Draft, NOW, Wire, rewired};
use super::json;
use super::proof::{INVALID_WORKLOAD, is_target, proof_date, thumbprint_of};
use super::setting::{DOMAIN, HOLDERS, Key, PAIRS, Resource, STRANGER};
use crate::support::issuer::jws;
use crate::support::proof::{hash, public};

/// The one trust domain, and who speaks for it.
const DOMAIN_ISSUER: &str = "wimse://b.test";
const DOMAIN_NAME: &str = "b.test";
const LEEWAY: i128 = 30;

/// A workload that has proven who it is.
pub(super) struct Workload {
    pub(super) subject: String,
    pub(super) thumbprint: String,
}

/// Step 13. `None` where nothing is shown and nothing is called for.
pub(super) fn check(
    asked: &Asked,
    is_called_for: bool,
    token: &str,
    resource: &Resource,
    keys: &[Vec<Key>],
    now: u64,
) -> Step<Option<Workload>> {
    if asked.identities.is_empty() && asked.workload_proofs.is_empty() && !is_called_for {
        return Ok(None);
    }
    let text = asked.identities.first().ok_or(INVALID_WORKLOAD)?;
    // WIMSE: a bad identity is a bad request, and a bad proof an unauthorized one.
    let (subject, jwk) = identity(text, &keys[DOMAIN], now).ok_or(INVALID_REQUEST)?;
    let proof = asked.workload_proofs.first().ok_or(INVALID_WORKLOAD)?;
    let thumbprint = thumbprint_of(&jwk).ok_or(INVALID_REQUEST)?;
    verify(asked, proof, text, &jwk, token, resource, now).ok_or(INVALID_WORKLOAD)?;
    Ok(Some(Workload { subject, thumbprint }))
}

/// Header and claims of a JWT of one kind, what is signed, and the signature. Stricter: at most 16 KiB.
type Parts<'a> = (Map<String, Value>, Map<String, Value>, &'a str, Vec<u8>);

fn split<'a>(text: &'a str, kind: &str) -> Option<Parts<'a>> {
    let parts: Vec<&str> = text.split('.').collect();
    let [head, body, signature] = parts.as_slice() else { return None };
    let header = json::object(&bytes(head).ok()?)?;
    let refused = ["crit", "enc", "zip"].iter().any(|name| header.contains_key(*name));
    let is_kid =
        header.get("kid").is_none_or(|kid| kid.as_str().is_some_and(|kid| kid.len() <= 256));
    let own = string(&header, "typ")?.to_lowercase();
    if refused || !is_kid || own.strip_prefix("application/").unwrap_or(&own) != kind {
        return None;
    }
    let claims = json::object(&bytes(body).ok()?)?;
    let signature = bytes(signature).ok()?;
    (text.len() <= 16_384).then_some((
        header,
        claims,
        &text[..head.len() + 1 + body.len()],
        signature,
    ))
}

/// The workload and its key, which must say its algorithm.
fn identity(text: &str, keys: &[Key], now: u64) -> Option<(String, Map<String, Value>)> {
    let (header, claims, input, signature) = split(text, "wit+jwt")?;
    let subject = string(&claims, "sub").unwrap_or_default();
    let is_of_domain = |subject: &str| {
        let known = ["spiffe://", "wimse://", "wit://"];
        let rest = known.iter().find_map(|scheme| subject.strip_prefix(scheme));
        let path = rest.and_then(|rest| rest.strip_prefix(DOMAIN_NAME)?.strip_prefix('/'));
        // Stricter: printable ASCII.
        path.is_some_and(|path| !path.is_empty()) && subject.chars().all(|c| c.is_ascii_graphic())
    };
    match claims.get("iss") {
        Some(issuer) if issuer == DOMAIN_ISSUER => {}
        None if is_of_domain(subject) => {}
        _ => return None,
    }
    let algorithm = string(&header, "alg")?;
    let kid = string(&header, "kid");
    let named = keys.iter().filter(|key| kid.is_none_or(|kid| key.kid == kid));
    let fitting: Vec<&Key> = named.filter(|key| key.fits(algorithm)).collect();
    let [key] = fitting.as_slice() else { return None };
    if !key.verifies(algorithm, input.as_bytes(), &signature) {
        return None;
    }
    let now = i128::from(now);
    let seconds = |name: &str| match claims.get(name) {
        None => Some(None),
        Some(value) => proof_date(value).map(|date| Some(i128::from(date))),
    };
    let is_over = now >= (seconds("exp")?? + LEEWAY) * 1_000_000;
    let is_early = |date: Option<i128>| date.is_some_and(|date| (date - LEEWAY) * 1_000_000 > now);
    if is_over || is_early(seconds("iat")?) || is_early(seconds("nbf")?) {
        return None;
    }
    if subject.len() > 2_048 || !is_of_domain(subject) {
        return None;
    }
    let jwk = claims.get("cnf")?.get("jwk")?.as_object()?;
    string(jwk, "alg")?;
    thumbprint_of(jwk)?;
    Some((subject.to_owned(), jwk.clone()))
}

/// A proof by the key of the identity, for this call with this token.
fn verify(
    asked: &Asked,
    proof: &str,
    identity: &str,
    jwk: &Map<String, Value>,
    token: &str,
    resource: &Resource,
    now: u64,
) -> Option<()> {
    let (header, claims, input, signature) = split(proof, "wpt+jwt")?;
    let key = Key::of_jwk(Value::Object(jwk.clone()));
    let algorithm = string(&header, "alg")?;
    if !key.fits(algorithm) || !key.verifies(algorithm, input.as_bytes(), &signature) {
        return None;
    }
    let now = i128::from(now);
    let expires = i128::from(proof_date(claims.get("exp")?)?);
    let is_over = now >= (expires + LEEWAY) * 1_000_000;
    let is_far = expires * 1_000_000 > now + (300 + LEEWAY) * 1_000_000;
    let is_here =
        |value: &Value| value.as_str().is_some_and(|uri| is_target(uri, &asked.path, resource));
    let is_named = match claims.get("aud")? {
        Value::Array(several) => several.iter().any(is_here),
        one => is_here(one),
    };
    // Nothing but the token is shown that `oth` or `tth` could speak of.
    let is_silent = !claims.contains_key("tth")
        && claims.get("oth").is_none_or(|others| others.as_object().is_some_and(Map::is_empty));
    let is_fit = !is_over
        && !is_far
        && is_named
        && is_silent
        && string(&claims, "wth") == Some(&hash(identity))
        && string(&claims, "ath") == Some(&hash(token))
        && string(&claims, "jti").is_some_and(|jti| (1..=256).contains(&jti.len()));
    is_fit.then_some(())
}

// ── Drafts ───────────────────────────────────────────────────────────────────────────────────────

/// What a workload shows, before it is signed.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    identity: Part,
    proof: Part,
}

#[derive(Clone, Debug)]
struct Part {
    header: Value,
    payload: Value,
    wires: Vec<Wire>,
    is_sent: bool,
    /// Whose pair signs the identity; which of the holder's keys the proof.
    key: (usize, usize),
}

impl Part {
    fn sign(&self, pair: &crate::support::Key) -> String {
        let mut text = jws(&self.header.to_string(), &self.payload.to_string(), pair);
        for wire in &self.wires {
            text = rewired(&text, *wire);
        }
        text
    }

    fn sent(&self, text: String) -> Vec<String> {
        if self.is_sent { vec![text] } else { Vec::new() }
    }
}

impl Shown {
    /// The headers of identity and proof.
    pub(super) fn finish(&self, token: &str) -> (Vec<String>, Vec<String>) {
        let (owner, key) = self.identity.key;
        let identity = self.identity.sign(&PAIRS[owner][key % PAIRS[owner].len()]);
        let mut proof = self.proof.clone();
        for (name, text) in [("wth", &*identity), ("ath", token)] {
            if proof.payload[name] == "{}" {
                proof.payload[name] = json!(hash(text));
            }
        }
        let text = proof.sign(&HOLDERS[proof.key.1]);
        (self.identity.sent(identity), proof.sent(text))
    }
}

fn key_of(at: usize) -> Value {
    let mut jwk = public(&HOLDERS[at]);
    jwk["alg"] = json!(HOLDERS[at].alg());
    jwk
}

/// Lets the workload that the last agent is present the token.
fn present(draft: &mut Draft) -> &mut Shown {
    let part = |typ: &str, alg: &str, payload: Value, key| Part {
        header: json!({"typ": typ, "alg": alg}),
        payload,
        wires: Vec::new(),
        is_sent: true,
        key,
    };
    let identity = json!({"iss": DOMAIN_ISSUER, "sub": "spiffe://b.test/2", "exp": NOW + 300,
        "iat": NOW - 5, "jti": "identity-1", "cnf": {"jwk": key_of(1)}});
    let proof = json!({"wth": "{}", "ath": "{}", "exp": NOW + 60, "jti": "proof-1",
        "aud": format!("https://tools.test{}", draft.path)});
    let own = PAIRS[DOMAIN][0].alg();
    draft.workload.insert(Shown {
        identity: part("wit+jwt", own, identity, (DOMAIN, 0)),
        proof: part("wpt+jwt", HOLDERS[1].alg(), proof, (DOMAIN, 1)),
    })
}

pub(super) const WORKLOADS: &[(&str, Change)] = &[
    ("a workload", |d, n| {
        present(d);
        let (own, other) = (
            crate::support::proof::thumbprint(&HOLDERS[1]),
            crate::support::proof::thumbprint(&HOLDERS[0]),
        );
        match n % 6 {
            1 => d.payload["cnf"] = json!({"jwk": key_of(1)}),
            2 => d.payload["cnf"] = json!({"kid": own}),
            3 => d.payload["cnf"] = json!({"jwk": key_of(0)}),
            4 => d.payload["cnf"] = json!({"kid": other}),
            5 => remove(&mut d.payload, "delegation_chain"),
            _ => {}
        }
    }),
    ("a workload without one of the two", |d, n| {
        let shown = present(d);
        if n % 2 == 0 {
            shown.identity.is_sent = false;
        } else {
            shown.proof.is_sent = false;
        }
    }),
    ("a member of the workload's identity", |d, n| {
        let members = [
            ("iss", json!("wimse://other.test")),
            ("iss", json!(7)),
            ("sub", json!("spiffe://b.test/3")),
            ("sub", json!("wimse://b.test/2")),
            ("sub", json!("spiffe://b.test")),
            ("sub", json!("spiffe://b.test/")),
            ("sub", json!("spiffe://b.test.evil.test/2")),
            ("sub", json!("https://b.test/2")),
            ("sub", json!("spiffe://b.test/2 ")),
            ("sub", json!(7)),
            ("exp", json!(NOW - 30)),
            ("exp", json!(NOW - 29)),
            ("exp", json!("later")),
            ("iat", json!(NOW + 30)),
            ("iat", json!(NOW + 31)),
            ("nbf", json!(NOW + 31)),
            ("nbf", json!(null)),
            ("cnf", json!({"jwk": public(&HOLDERS[1])})),
            ("cnf", json!({"jwk": key_of(0)})),
            ("cnf", json!({"jkt": "x"})),
            ("cnf", json!(null)),
        ];
        let (name, value) = pick(&members, n);
        present(d).identity.payload[name] = value;
    }),
    ("a claim of the workload's identity left out", |d, n| {
        remove(&mut present(d).identity.payload, ["iss", "sub", "exp", "iat", "cnf", "jti"][n % 6]);
    }),
    ("a member of the workload's proof", |d, n| {
        let members = [
            ("wth", json!(hash("another identity"))),
            ("wth", json!("")),
            ("ath", json!(hash("another token"))),
            ("ath", json!(7)),
            ("tth", json!(hash("x"))),
            ("oth", json!({})),
            ("oth", json!({"txn-token": hash("x")})),
            ("oth", json!({"aoat": "{}"})),
            ("oth", json!([])),
            ("exp", json!(NOW - 30)),
            ("exp", json!(NOW - 29)),
            ("exp", json!(NOW + 330)),
            ("exp", json!(NOW + 331)),
            ("exp", json!(null)),
            ("aud", json!("https://tools.test/other")),
            ("aud", json!(["https://x.test", format!("https://tools.test{}", d.path)])),
            ("aud", json!([])),
            ("aud", json!(format!("https://evil.test{}", d.path))),
            ("jti", json!("")),
            ("jti", json!("j".repeat(257))),
            ("iat", json!("never looked at")),
        ];
        let (name, value) = pick(&members, n);
        present(d).proof.payload[name] = value;
    }),
    ("a claim of the workload's proof left out", |d, n| {
        remove(&mut present(d).proof.payload, ["wth", "ath", "exp", "jti", "aud"][n % 5]);
    }),
    ("the header of what a workload shows", |d, n| {
        let members = [
            ("typ", json!("WIT+JWT")),
            ("typ", json!("application/wpt+jwt")),
            ("typ", json!("JWT")),
            ("typ", json!(null)),
            ("alg", json!("none")),
            ("alg", json!("ES384")),
            ("alg", json!("Ed25519")),
            ("kid", json!("domain")),
            ("kid", json!("unknown")),
            ("kid", json!(7)),
            ("crit", json!(["x"])),
            ("b64", json!(true)),
            ("jwk", key_of(0)),
        ];
        let (name, value) = pick(&members, n / 2);
        let shown = present(d);
        let part = if n % 2 == 0 { &mut shown.identity } else { &mut shown.proof };
        part.header[name] = value;
    }),
    ("another signer of what a workload shows", |d, n| {
        let shown = present(d);
        match n % 4 {
            0 => shown.identity.key = (STRANGER, 0),
            1 => shown.identity.key = (4, 0),
            2 => shown.proof.key.1 = 0,
            _ => {
                shown.proof.key.1 = 0;
                shown.proof.header["alg"] = json!(HOLDERS[0].alg());
            }
        }
    }),
    ("damage to what a workload shows", |d, n| {
        let wires = [
            Wire::Flip(n % 3, n / 3 * 7),
            Wire::Pad(n),
            Wire::Parts(2),
            Wire::Empty(n),
            Wire::Loose,
        ];
        let shown = present(d);
        let part = if n % 2 == 0 { &mut shown.identity } else { &mut shown.proof };
        part.wires.push(wires[n / 2 % wires.len()]);
    }),
];
