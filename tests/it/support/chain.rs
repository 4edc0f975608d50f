//! Delegation chains, signed as the specification says and not as the gate computes it.

use serde_json::{Value, json};

use super::gate::ISSUER;
use super::issuer::{b64, now};
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

/// Signs a record whose members are plain enough that sorting them by name is their canonical form.
pub(crate) fn sign(record: &mut Value, key: &Key) {
    let members = record.as_object_mut().unwrap();
    members.remove("as_signature");
    let mut names: Vec<&String> = members.keys().collect();
    names.sort();
    let canonical: Vec<String> =
        names.iter().map(|name| format!("{}:{}", json!(name), members[*name])).collect();
    let text = format!("{{{}}}", canonical.join(","));
    let header = b64(json!({"alg": key.alg(), "kid": key.kid}).to_string().as_bytes());
    let input = format!("{header}.{}", b64(text.as_bytes()));
    record["as_signature"] = json!(format!("{header}..{}", b64(&key.sign(input.as_bytes()))));
}

/// A token that was delegated from agent 0 through `hops` agents, every record signed by `key`.
pub(crate) fn delegated(hops: usize, key: &Key) -> Token {
    let chain: Vec<Value> = (0..hops).rev().map(|n| record(n, ISSUER, key)).collect();
    Token::new().claim("act", json!({"sub": agent(hops)})).claim("delegation_chain", chain)
}
