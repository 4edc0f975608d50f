//! The book's chapter on chains of tokens (`delegation.md` §7), and what could be changed in one.

use serde_json::{Map, Value, json};

use super::book::{INVALID_CHAIN, Step, bytes, string};
use super::chain::{self, Chain, Found, Signers, canonical};
use super::change::{Change, pick, remove};
use super::draft::{Draft, NOW};
use super::hops::{detached, records, set};
use super::setting::{ISSUERS, PAIRS};
use super::{json, members};
use crate::support::issuer::jws;

/// What a chain of tokens says that holds.
pub(super) fn check(
    claims: &Map<String, Value>,
    records: &[&Map<String, Value>],
    signers: Signers<'_>,
) -> Step<Chain> {
    let issuer = &ISSUERS[signers.issuer];
    let identity = members::object(claims, "agent_identity")?;
    let person = identity.and_then(person_of).ok_or(INVALID_CHAIN)?;
    let mut tokens = vec![string(claims, "jti").unwrap_or_default()];
    let mut times = Vec::new();
    for record in records {
        let (token, at) = read(record, person).ok_or(INVALID_CHAIN)?;
        // Each token once, and never the one that carries the chain.
        if tokens.contains(&token) {
            return Err(INVALID_CHAIN);
        }
        tokens.push(token);
        times.push(at);
    }
    chain::check_order(claims, &times, issuer)?;
    for record in records {
        if !is_signed(record, signers)? {
            return Err(INVALID_CHAIN);
        }
    }
    Ok(Chain { length: records.len(), ..Chain::default() })
}

fn person_of(identity: &Map<String, Value>) -> Option<&str> {
    members::one_of(identity, "issued_to", 2_048).ok()?
}

/// The token that was delegated from, and when in seconds; its identity was that of the same person, and
/// had not ended.
fn read<'r>(record: &'r Map<String, Value>, person: &str) -> Option<(&'r str, f64)> {
    let foreign = ["delegator_id", "delegatee_id"];
    let identity = record.get("delegator_agent_identity")?.as_object()?;
    let at = members::moment_of(string(record, "delegation_timestamp")?)?;
    let ends = members::moment(identity, "expires").ok()??;
    let token = string(record, "delegator_jti").filter(|jti| (1..=255).contains(&jti.len()))?;
    let is_fit = !foreign.iter().any(|name| record.contains_key(*name))
        && person_of(identity) == Some(person)
        && at < ends
        && record.get("operation_summary").is_none_or(Value::is_string)
        && record.get("as_signature").is_some_and(Value::is_string);
    let micros = u64::try_from(at).ok()?;
    is_fit.then(|| (token, std::time::Duration::from_micros(micros).as_secs_f64()))
}

/// A detached signature over the other members, or a JWS whose payload tells each of them alike.
fn is_signed(record: &Map<String, Value>, signers: Signers<'_>) -> Step<bool> {
    let mut others = record.clone();
    let signature = others.remove("as_signature").unwrap();
    let signature = signature.as_str().unwrap();
    let issuer = ISSUERS[signers.issuer].id;
    if signature.contains("..") {
        let payload = canonical(&Value::Object(others));
        return Ok(signers.check(issuer, signature, payload.as_deref())? == Found::Good);
    }
    let parts: Vec<&str> = signature.split('.').collect();
    let [head, body, tail] = parts.as_slice() else { return Ok(false) };
    let Ok(text) = bytes(body) else { return Ok(false) };
    let (Some(told), Ok(text)) = (json::object(&text), String::from_utf8(text)) else {
        return Ok(false);
    };
    let is_told = |(name, value): (&String, &Value)| {
        let own = canonical(value);
        own.is_some() && told.get(name).and_then(canonical) == own
    };
    if !others.iter().all(is_told) {
        return Ok(false);
    }
    Ok(signers.check(issuer, &format!("{head}..{tail}"), Some(&text))? == Found::Good)
}

// ── Drafts ───────────────────────────────────────────────────────────────────────────────────────

/// Makes a good draft of a delegated one: two tokens before this one, and no agents named.
fn chain_of_tokens(draft: &mut Draft) {
    let identity = |id: &str| {
        json!({"version": "1.0", "id": id, "issuer": ISSUERS[draft.issuer].id,
            "issued_to": "https://idp.test|user-1", "expires": "2026-09-21T15:00:00Z"})
    };
    let record = |token: &str, at: &str| {
        json!({"delegator_jti": token, "delegator_agent_identity": identity(token),
            "delegation_timestamp": at, "operation_summary": "Look \u{2014} \"7\""})
    };
    let chain = [record("t-2", "2026-09-21T14:13:00.5Z"), record("t-1", "2026-09-21T14:12:50Z")];
    draft.payload["agent_identity"] = identity("urn:uuid:1");
    draft.payload["delegation_chain"] = json!(chain);
    remove(&mut draft.payload, "act");
}

/// Signs a record of a token as its issuer would.
pub(super) fn sign(record: &Map<String, Value>, by: (usize, usize), is_compact: bool) -> Value {
    let others = Value::Object(record.clone());
    if !is_compact {
        return detached(&others, by, &Value::Null);
    }
    let pair = &PAIRS[by.0][by.1 % PAIRS[by.0].len()];
    let header = json!({"alg": pair.alg(), "kid": pair.kid});
    json!(jws(&header.to_string(), &others.to_string(), pair))
}

fn record_member(n: usize) -> (&'static str, Value) {
    let identity = |edit: (&str, Value)| {
        let mut identity = json!({"id": "x", "issued_to": "https://idp.test|user-1",
            "expires": "2026-09-21T15:00:00Z"});
        identity[edit.0] = edit.1;
        identity
    };
    let values = [
        ("delegator_jti", json!("token-1")),
        ("delegator_jti", json!("t-1")),
        ("delegator_jti", json!("")),
        ("delegator_jti", json!("t".repeat(256))),
        ("delegator_jti", json!(7)),
        ("delegation_timestamp", json!("2026-09-21T14:13:10Z")),
        ("delegation_timestamp", json!("2026-09-21T14:13:11Z")),
        ("delegation_timestamp", json!("2026-09-21T14:13:00.500001Z")),
        ("delegation_timestamp", json!("2026-09-20T14:13:10Z")),
        ("delegation_timestamp", json!("2026-09-20T14:13:09.999999Z")),
        ("delegation_timestamp", json!("2026-09-21T16:12:55+02:00")),
        ("delegation_timestamp", json!(NOW - 20)),
        ("delegation_timestamp", json!("yesterday")),
        ("delegator_agent_identity", identity(("expires", json!("2026-09-21T14:12:50Z")))),
        ("delegator_agent_identity", identity(("expires", json!("2026-09-21T14:13:00.500001Z")))),
        ("delegator_agent_identity", identity(("expires", json!(NOW)))),
        ("delegator_agent_identity", identity(("issued_to", json!("https://idp.test|mallory")))),
        ("delegator_agent_identity", identity(("issuedTo", json!("https://idp.test|mallory")))),
        ("delegator_agent_identity", identity(("issuedTo", json!("https://idp.test|user-1")))),
        ("delegator_agent_identity", identity(("level", json!(1.5e-7)))),
        ("delegator_agent_identity", identity(("level", json!(18_446_744_073_709_551_615_u64)))),
        ("delegator_agent_identity", json!("x")),
        ("operation_summary", json!("\u{20ac}\u{1f600}\u{7f}\u{0}/\\")),
        ("operation_summary", json!(7)),
        ("delegatee_id", json!("wit://a.test/1")),
        ("as_id", json!("https://evil.test")),
        ("unheard_of", json!({"decides": ["nothing"]})),
    ];
    pick(&values, n)
}

pub(super) const CHAINS: &[(&str, Change)] = &[
    ("a chain of tokens", |d, n| {
        chain_of_tokens(d);
        d.hops.is_compact = n % 2 == 1;
        match n % 6 {
            2 => d.payload["act"] = json!({"sub": "anyone"}),
            3 => d.payload["agent_identity"]["issued_to"] = json!("https://idp.test|mallory"),
            4 => remove(&mut d.payload, "agent_identity"),
            5 => remove(&mut d.payload["agent_identity"], "issued_to"),
            _ => {}
        }
    }),
    ("a member of a record of a token", |d, n| {
        chain_of_tokens(d);
        d.hops.is_compact = n % 4 > 1;
        let (name, value) = record_member(n / 4);
        if let Some(record) = records(d).and_then(|records| records.get_mut(n % 2)) {
            set(record, name, value);
        }
    }),
    ("a member of a record of a token after it was signed", |d, n| {
        chain_of_tokens(d);
        d.hops.is_compact = n % 4 > 1;
        let (name, value) = record_member(n / 4);
        d.hops.after.push((n % 2, name, value));
    }),
    ("a record of a token left short", |d, n| {
        chain_of_tokens(d);
        let names = [
            "delegator_jti",
            "delegator_agent_identity",
            "delegation_timestamp",
            "operation_summary",
        ];
        if let Some(record) = records(d).and_then(|records| records.get_mut(n % 2)) {
            remove(record, names[n / 2 % names.len()]);
        }
    }),
    ("another signer of a record of a token", |d, n| {
        chain_of_tokens(d);
        d.hops.is_compact = n % 2 == 1;
        d.hops.signers.push((n / 2 % 2, super::hops::inner_signer(n / 4)));
    }),
    ("another form of the signature of a record of a token", |d, n| {
        chain_of_tokens(d);
        let forms = ["", "..", "a.b.c", "e30.e30.AAAA", "eyJhbGciOiJFUzI1NiJ9.e30.AAAA", "a..b.c"];
        d.hops.after.push((n % 2, "as_signature", json!(pick(&forms, n / 2))));
    }),
    ("records of tokens in another order", |d, n| {
        chain_of_tokens(d);
        let Some(records) = records(d) else { return };
        match n % 5 {
            0 => records.reverse(),
            1 => drop(records.pop()),
            2 => records.push(records[1].clone()),
            3 => records.resize(4, records[0].clone()),
            _ => records.push(json!({"delegator_id": "wit://a.test/0"})),
        }
    }),
];
