//! Delegation chains, signed as the specification says and not as the gate computes it.

use serde_json::{Value, json};

use super::gate::ISSUER;
use super::issuer::{b64, canonical, now};
use super::{Key, Token};

/// The id of the agent with this number; agent 0 is the one that the person trusted.
pub(crate) fn agent(n: usize) -> String {
    format!("wit://agents.test/{n}")
}

/// A record that says that agent `n` delegated to agent `n + 1`, signed by `key` for `authority`.
pub(crate) fn record(n: usize, authority: &str, key: &Key) -> Value {
    let mut record = json!({
        "delegator_id": agent(n), "delegatee_id": agent(n + 1), "as_id": authority,
        "delegation_timestamp": now() - 5, "operation_summary": "buy one \u{2014} not two\u{1b}[2J\n",
    });
    sign(&mut record, key);
    record
}

/// Signs a record over its canonical form.
pub(crate) fn sign(record: &mut Value, key: &Key) {
    record.as_object_mut().unwrap().remove("as_signature");
    record["as_signature"] = json!(detached(record, key));
}

/// A detached signature over the canonical form of a plain value.
pub(crate) fn detached(value: &Value, key: &Key) -> String {
    let header = b64(json!({"alg": key.alg(), "kid": key.kid}).to_string().as_bytes());
    let input = format!("{header}.{}", b64(&canonical(value)));
    format!("{header}..{}", b64(&key.sign(input.as_bytes())))
}

/// Evidence that the person was shown `content` and did `action` some seconds ago.
pub(crate) fn evidence(id: &str, action: &str, ago: i64, key: &Key) -> Value {
    signed_evidence(
        id,
        &json!({"displayed_content": CONTENT, "user_action": action, "timestamp": now() - ago}),
        key,
    )
}

/// Evidence with any confirmation.
pub(crate) fn signed_evidence(id: &str, confirmation: &Value, key: &Key) -> Value {
    let mut evidence = json!({"id": id, "user_confirmation": confirmation});
    evidence["as_signature"] = json!(detached(&evidence, key));
    evidence
}

/// What the person was shown: longer than what a record keeps of it.
pub(crate) const CONTENT: &str = "Buy one book for at most 20 euros from the shop of your choice, and \
    send it to your home address, once and not again; the agent may look at every product that the shop \
    has, and at nothing else that is yours: secret-at-the-end-of-it";

/// A token that was delegated from agent 0 through `hops` agents, every record signed by `key`.
pub(crate) fn delegated(hops: usize, key: &Key) -> Token {
    let chain: Vec<Value> = (0..hops).rev().map(|n| record(n, ISSUER, key)).collect();
    Token::new().claim("act", json!({"sub": agent(hops)})).claim("delegation_chain", chain)
}
