//! The book's chapter on prompt credentials (form E4; `evidence.md` §5), and what could be changed in one.

use serde_json::{Map, Value, json};

use super::book::{INVALID_TOKEN, Step, bytes, date, string};
use super::chain::{Shown, Signers};
use super::change::{Change, pick};
use super::draft::{Draft, NOW, Wire, rewired};
use super::setting::{CLIENT, ISSUERS, Key, PAIRS, STRANGER};
use super::{json, members};
use crate::support::issuer::jws;

/// Who vouches for what a person typed.
const ISSUER: &str = "https://client.test";

/// What a token without other evidence carries of a prompt.
pub(super) fn read(claims: &Map<String, Value>, signers: Signers<'_>) -> Step<Shown> {
    let Some(Value::Object(evidence)) = claims.get("evidence") else { return Ok(Shown::Nothing) };
    let Some(text) = members::either(evidence, "source_prompt_credential")? else {
        return Ok(Shown::Nothing);
    };
    let text = text.as_str().ok_or(INVALID_TOKEN)?;
    // Five parts are encrypted: nobody here can tell.
    if text.split('.').count() == 5 {
        return Ok(Shown::Sealed);
    }
    let issuer = &ISSUERS[signers.issuer];
    let issued = date(claims, "iat", issuer)?.unwrap() + issuer.leeway;
    let found = verify(text, claims, i128::from(issued) * 1_000_000, &signers.keys[CLIENT]);
    Ok(found.map_or(Shown::Untrue, |(typed, ends)| Shown::Typed { typed, ends }))
}

/// When it was typed and when it ends, in microseconds.
fn verify(
    text: &str,
    claims: &Map<String, Value>,
    latest: i128,
    keys: &[Key],
) -> Option<(i128, i128)> {
    let parts: Vec<&str> = text.split('.').collect();
    let [head, body, signature] = parts.as_slice() else { return None };
    let (header, payload) = (json::object(&bytes(head).ok()?)?, json::object(&bytes(body).ok()?)?);
    let refused = ["b64", "crit", "enc", "zip"].iter().any(|name| header.contains_key(*name));
    let kind = string(&header, "typ")?.to_lowercase();
    let kind = kind.strip_prefix("application/").unwrap_or(&kind);
    if refused || !["jwt", "vc+jwt"].contains(&kind) {
        return None;
    }
    let kid = match header.get("kid") {
        None => None,
        Some(kid) => Some(kid.as_str().filter(|kid| kid.len() <= 256)?),
    };
    // A name that is a URL must be one of the issuer's own origin; its fragment is the name of the key.
    if kid.is_some_and(|kid| kid.contains("://") && origin(kid).as_deref() != Some(ISSUER)) {
        return None;
    }
    let is_named = |key: &&Key| {
        kid.is_none_or(|kid| {
            key.kid == kid || kid.rsplit_once('#').is_some_and(|(_, name)| key.kid == name)
        })
    };
    let algorithm = string(&header, "alg")?;
    let input = &text[..head.len() + 1 + body.len()];
    let signature = bytes(signature).ok()?;
    let mut fitting = keys.iter().filter(is_named).filter(|key| key.fits(algorithm));
    let is_signed = fitting.any(|key| key.verifies(algorithm, input.as_bytes(), &signature));
    let named = |name: &str| string(&payload, name).filter(|text| (1..=512).contains(&text.len()));
    let is_of = |value: Option<&Value>, kind: &str| match value {
        Some(Value::Array(several)) => several.iter().any(|one| one == kind),
        Some(one) => one == kind,
        None => false,
    };
    let subject = payload.get("credentialSubject")?.as_object()?;
    let is_fit = is_signed
        && named("iss")? == ISSUER
        && named("issuer")? == ISSUER
        && named("jti").is_some()
        && is_of(payload.get("type"), "VerifiableCredential")
        && is_of(subject.get("type"), "UserInputEvidence")
        && string(subject, "prompt").is_some_and(|prompt| !prompt.is_empty())
        && is_for(claims, named("sub")?);
    let moment =
        |members: &Map<String, Value>, name: &str| members::moment_of(string(members, name)?);
    let typed = moment(subject, "timestamp")?;
    let made = [typed, moment(&payload, "issuanceDate")?, number(&payload, "iat")?];
    let ends = number(&payload, "exp")?.min(moment(&payload, "expirationDate")?);
    (is_fit && made.iter().all(|at| *at <= latest)).then_some((typed, ends))
}

fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(format!("{}://{}", scheme.to_lowercase(), authority.to_lowercase()))
}

fn number(members: &Map<String, Value>, name: &str) -> Option<i128> {
    super::proof::proof_date(members.get(name)?).map(|seconds| i128::from(seconds) * 1_000_000)
}

/// The person of the credential is that of the token, where that names one.
fn is_for(claims: &Map<String, Value>, subject: &str) -> bool {
    let own = string(claims, "sub").unwrap();
    let identity = members::object(claims, "agent_identity").ok().flatten();
    let person = identity.and_then(|one| members::one_of(one, "issued_to", 512).ok().flatten());
    match person {
        None => subject == own || claims.get("client_id").is_some_and(|client| client == own),
        Some(person) => {
            let user = person.rsplit_once('|').map_or(person, |(_, user)| user);
            subject == own || subject == user || (person.contains('|') && subject == person)
        }
    }
}

// ── Drafts ───────────────────────────────────────────────────────────────────────────────────────

/// A credential before it is signed.
#[derive(Clone, Debug)]
pub(super) struct Prompt {
    key: (usize, usize),
    header: Value,
    payload: Value,
    wires: Vec<Wire>,
}

impl Prompt {
    pub(super) fn finish(&self) -> String {
        let pair = &PAIRS[self.key.0][self.key.1 % PAIRS[self.key.0].len()];
        let mut header = self.header.clone();
        for (name, own) in [("alg", pair.alg()), ("kid", &*pair.kid)] {
            if header.get(name).is_none() {
                header[name] = json!(own);
            } else if header[name].is_null() {
                super::change::remove(&mut header, name);
            }
        }
        let mut text = jws(&header.to_string(), &self.payload.to_string(), pair);
        for wire in &self.wires {
            text = rewired(&text, *wire);
        }
        text
    }
}

/// A prompt in place of evidence, where the operation takes prompts.
fn typed(draft: &mut Draft) -> &mut Prompt {
    draft.method = "PUT";
    draft.payload["evidence"] = json!({"source_prompt_credential": "signed in the end"});
    draft.hops.prompt.insert(Prompt {
        key: (CLIENT, 0),
        header: json!({"typ": "JWT"}),
        payload: json!({
            "jti": "urn:uuid:9", "iss": ISSUER, "sub": "user-1", "iat": NOW - 60, "exp": NOW + 600,
            "type": "VerifiableCredential", "issuer": ISSUER,
            "issuanceDate": "2026-09-21T14:12:20Z", "expirationDate": "2026-09-21T14:23:20Z",
            "credentialSubject": {"type": "UserInputEvidence", "prompt": "look", "channel": "web",
                "timestamp": "2026-09-21T14:12:20Z"},
        }),
        wires: Vec::new(),
    })
}

pub(super) const PROMPTS: &[(&str, Change)] = &[
    ("a prompt", |d, n| {
        typed(d);
        // Elsewhere a prompt is no evidence.
        d.method = ["PUT", "GET", "POST"][n % 3];
    }),
    ("a member of the prompt", |d, n| {
        let members = [
            ("jti", json!("")),
            ("jti", json!("j".repeat(513))),
            ("iss", json!("https://other.test")),
            ("iss", json!(7)),
            ("issuer", json!("https://client.test/")),
            ("sub", json!("user-2")),
            ("sub", json!("https://idp.test|user-1")),
            ("iat", json!(NOW + 20)),
            ("iat", json!(NOW + 21)),
            ("iat", json!("now")),
            ("exp", json!(NOW - 30)),
            ("exp", json!(NOW - 29)),
            ("exp", json!(null)),
            ("type", json!(["Other", "VerifiableCredential"])),
            ("type", json!("Other")),
            ("issuanceDate", json!("2026-09-21T14:13:40Z")),
            ("issuanceDate", json!("2026-09-21T14:13:40.000001Z")),
            ("issuanceDate", json!(NOW)),
            ("expirationDate", json!("2026-09-21T14:12:50Z")),
            ("expirationDate", json!("2026-09-21T14:12:50.000001Z")),
            ("proof", json!(7)),
        ];
        let (name, value) = pick(&members, n);
        typed(d).payload[name] = value;
    }),
    ("a member of what was typed", |d, n| {
        let members = [
            ("type", json!("Other")),
            ("type", json!(["UserInputEvidence"])),
            ("prompt", json!("")),
            ("prompt", json!(7)),
            ("timestamp", json!("2026-09-21T13:13:20Z")),
            ("timestamp", json!("2026-09-21T13:13:19.999999Z")),
            ("timestamp", json!("2026-09-21T14:13:40Z")),
            ("timestamp", json!("2026-09-21T14:13:41Z")),
            ("timestamp", json!("2026-09-21")),
            ("channel", json!(7)),
        ];
        let (name, value) = pick(&members, n);
        typed(d).payload["credentialSubject"][name] = value;
    }),
    ("the header of the prompt", |d, n| {
        let members = [
            ("typ", json!("vc+jwt")),
            ("typ", json!("application/JWT")),
            ("typ", json!("at+jwt")),
            ("typ", json!(null)),
            ("kid", json!(null)),
            ("kid", json!("https://client.test/keys.json#client")),
            ("kid", json!("HTTPS://Client.Test#client")),
            ("kid", json!("https://evil.test/keys.json#client")),
            ("kid", json!("https://client.test@evil.test/#client")),
            ("kid", json!("keys#client")),
            ("kid", json!("client-2")),
            ("kid", json!("unknown")),
            ("kid", json!(7)),
            ("alg", json!("none")),
            ("alg", json!("ES384")),
            ("crit", json!(["x"])),
            ("b64", json!(true)),
            ("jku", json!("https://evil.test")),
        ];
        let (name, value) = pick(&members, n);
        typed(d).header[name] = value;
    }),
    ("another signer of the prompt", |d, n| {
        typed(d).key = pick(&[(CLIENT, 1), (STRANGER, 0), (4, 0), (0, 0)], n);
    }),
    ("a damaged prompt", |d, n| {
        let wires = [
            Wire::Flip(n % 3, n / 3 * 7),
            Wire::Pad(n),
            Wire::Parts(2),
            Wire::Parts(5),
            Wire::Parts(4),
            Wire::Empty(n),
            Wire::Loose,
        ];
        typed(d).wires.push(wires[n % wires.len()]);
    }),
    ("a prompt in another place", |d, n| {
        typed(d);
        let evidences = [
            json!({"sourcePromptCredential": "x"}),
            json!({"source_prompt_credential": 7}),
            json!({"source_prompt_credential": "x", "sourcePromptCredential": "y"}),
            json!({"source_prompt_credential": "a.b.c.d.e"}),
            json!({"source_prompt_credential": ""}),
        ];
        d.hops.prompt = None;
        d.payload["evidence"] = pick(&evidences, n);
    }),
];
