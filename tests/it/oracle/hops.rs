//! Tokens that were delegated, with evidence, a status and a proof: how they are made, and what an
//! attacker, a careless server or a foreign shape would change.

use serde_json::{Value, json};

use super::book::string;
use super::chain::{SIGNED, canonical};
use super::change::{Change, pick, remove};
use super::draft::{Draft, NOW, Wire, rewired};
use super::prompt::{self, Prompt};
use super::proof::LIST_URI;
use super::setting::{AGENTS, HOLDERS, ISSUERS, PAIRS, STRANGER};
use super::{tokens, workload};
use crate::support::Key;
use crate::support::issuer::{b64, jws};
use crate::support::proof::{hash, public, thumbprint};

/// The place of the issuer with chains.
pub(super) const HOPS: usize = 4;
const EVIDENCE: &str = "urn:uuid:5f0c7a52-0001";

/// How what is inside the token is signed.
#[derive(Clone, Debug, Default)]
pub(super) struct Hops {
    /// With whose key a record is signed, by its place; that of its `as_id` where nothing is said.
    pub(super) signers: Vec<(usize, (usize, usize))>,
    /// The header of the signatures of records, `alg` and `kid` of the key where they are not set.
    head: Value,
    /// Members that are set after a record was signed.
    pub(super) after: Vec<(usize, &'static str, Value)>,
    /// With whose key an agent signs a record too, by its place, and the header of that signature.
    agents: Vec<(usize, (usize, usize), Value)>,
    /// Whether the records of tokens are signed as a whole JWS.
    pub(super) is_compact: bool,
    /// What stands in place of evidence.
    pub(super) prompt: Option<Prompt>,
    evidence_signer: Option<(usize, usize)>,
    evidence_head: Value,
    evidence_after: Vec<(&'static str, Value)>,
}

/// A proof of possession before it is signed.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    /// Which of the holder's keys signs.
    key: usize,
    header: Value,
    /// `ath` as `{}` stands for the hash of the token.
    payload: Value,
    /// How often it is sent.
    lines: usize,
    wires: Vec<Wire>,
}

impl Proof {
    fn of(method: &str, path: &str) -> Self {
        Self {
            key: 0,
            header: json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": public(&HOLDERS[0])}),
            payload: json!({
                "jti": "proof-1", "htm": method, "htu": format!("https://tools.test{path}"),
                "iat": NOW, "ath": "{}",
            }),
            lines: 1,
            wires: Vec::new(),
        }
    }

    pub(super) fn finish(&self, token: &str) -> Vec<String> {
        let mut payload = self.payload.clone();
        if payload["ath"] == "{}" {
            payload["ath"] = json!(hash(token));
        }
        let mut proof = jws(&self.header.to_string(), &payload.to_string(), &HOLDERS[self.key]);
        for wire in &self.wires {
            proof = rewired(&proof, *wire);
        }
        vec![proof; self.lines]
    }
}

/// Makes a good draft one that was delegated twice; bound to a key where the resource is for such.
pub(super) fn delegate(draft: &mut Draft, form: usize, is_bound: bool) {
    let record = |from: &str, to: &str, by: &str, ago: i64| {
        json!({
            "delegator_id": from, "delegatee_id": to, "as_id": by, "delegation_timestamp": NOW - ago,
            "scope": "tools tools.write orders.read orders.write", "root_evidence_ref": EVIDENCE,
            "operation_summary": "Look \u{2014} at \"7\"\n\u{1b}\u{e9}",
        })
    };
    // Where no other server is trusted beside the issuer, it recorded everything itself.
    let first = if is_bound { ISSUERS[HOPS].id } else { ISSUERS[0].id };
    draft.payload["delegation_chain"] = json!([
        record("wit://a.test/1", "spiffe://b.test/2", ISSUERS[HOPS].id, 20),
        record("wit://a.test/0", "wit://a.test/1", first, 30),
    ]);
    draft.payload["act"] = json!({"sub": "spiffe://b.test/2", "act": {"sub": "wit://a.test/1"}});
    draft.payload["evidence"] = json!({
        "id": EVIDENCE,
        "user_confirmation": {"displayed_content": "Look?", "user_action": "button_click",
            "timestamp": NOW - 60},
    });
    draft.payload["authorization_details"] = json!([
        {"type": "agent_operation",
            "operations": [{"action": "look"}, {"action": "change"}, {"action": "tell"}]},
    ]);
    if is_bound {
        bind(draft, form);
    }
}

fn bind(draft: &mut Draft, form: usize) {
    let key = &HOLDERS[0];
    draft.payload["cnf"] = match form % 3 {
        0 => json!({"jkt": thumbprint(key)}),
        1 => json!({"jwk": public(key)}),
        _ => json!({"jkt": thumbprint(key), "kid": thumbprint(key), "unheard_of": 1}),
    };
    draft.lines = vec!["DPoP {}".to_owned()];
    draft.proof = Some(Proof::of(draft.method, &draft.path));
}

/// Signs what is inside a payload.
pub(super) fn sign(payload: &mut Value, hops: &Hops) {
    if let Some(records) = payload.get_mut("delegation_chain").and_then(Value::as_array_mut) {
        for (at, record) in records.iter_mut().enumerate() {
            sign_record(record, at, hops);
        }
    }
    let entries = payload.get_mut("authorization_details").and_then(Value::as_array_mut);
    for entry in entries.into_iter().flatten() {
        if entry["type"] == "authorization_evidence"
            && let Some(evidence) = entry.get_mut("evidence")
        {
            sign_evidence(evidence, hops);
        }
    }
    if let Some(evidence) = payload.get_mut("evidence") {
        sign_evidence(evidence, hops);
        if let Some(prompt) = &hops.prompt {
            set(evidence, "source_prompt_credential", json!(prompt.finish()));
        }
    }
}

fn sign_record(record: &mut Value, at: usize, hops: &Hops) {
    let Some(members) = record.as_object() else { return };
    let said = hops.signers.iter().find(|(place, _)| *place == at).map(|(_, key)| *key);
    if members.contains_key("delegator_jti") && !members.contains_key("delegator_id") {
        record["as_signature"] = tokens::sign(members, said.unwrap_or((HOPS, 0)), hops.is_compact);
    } else if !members.contains_key("as_signature") {
        let mut kept = members.clone();
        kept.retain(|name, _| SIGNED.contains(&name.as_str()));
        let named = string(members, "as_id");
        let own = ISSUERS.iter().position(|issuer| Some(issuer.id) == named).unwrap_or(HOPS);
        let kept = Value::Object(kept);
        record["as_signature"] = detached(&kept, said.unwrap_or((own, 0)), &hops.head);
        for (_, key, head) in hops.agents.iter().filter(|(place, ..)| *place == at) {
            record["delegator_signature"] = detached(&kept, *key, head);
        }
    }
    for (_, name, value) in hops.after.iter().filter(|(place, ..)| *place == at) {
        record[*name] = value.clone();
    }
}

fn sign_evidence(evidence: &mut Value, hops: &Hops) {
    let Some(members) = evidence.as_object() else { return };
    if !members.contains_key("as_signature") && members.contains_key("user_confirmation") {
        let mut kept = members.clone();
        kept.retain(|name, _| matches!(name.as_str(), "id" | "user_confirmation"));
        let by = hops.evidence_signer.unwrap_or((HOPS, 0));
        evidence["as_signature"] = detached(&Value::Object(kept), by, &hops.evidence_head);
    }
    for (name, value) in &hops.evidence_after {
        evidence[*name] = value.clone();
    }
}

pub(super) fn detached(value: &Value, (owner, key): (usize, usize), head: &Value) -> Value {
    let pair: &Key = &PAIRS[owner][key % PAIRS[owner].len()];
    let mut header = if head.is_object() { head.clone() } else { json!({}) };
    for (name, own) in [("alg", pair.alg()), ("kid", &*pair.kid)] {
        match header.get(name) {
            None => header[name] = json!(own),
            Some(Value::Null) => remove(&mut header, name),
            Some(_) => {}
        }
    }
    // What has no canonical form is signed as it is written.
    let payload = canonical(value).unwrap_or_else(|| value.to_string());
    let header = b64(header.to_string().as_bytes());
    let input = format!("{header}.{}", b64(payload.as_bytes()));
    json!(format!("{header}..{}", b64(&pair.sign(input.as_bytes()))))
}

/// The status list, as the issuer signs it.
pub(super) fn list(lst: &str) -> String {
    let pair = &PAIRS[HOPS][0];
    let header = json!({"typ": "statuslist+jwt", "alg": pair.alg(), "kid": pair.kid});
    let payload = json!({
        "iss": ISSUERS[HOPS].id, "sub": LIST_URI, "iat": NOW - 10, "status_list": {"bits": 2, "lst": lst},
    });
    jws(&header.to_string(), &payload.to_string(), pair)
}

/// Sets a member of what is an object.
pub(super) fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

pub(super) fn records(draft: &mut Draft) -> Option<&mut Vec<Value>> {
    draft.payload.get_mut("delegation_chain")?.as_array_mut()
}

/// What a member of a record may be.
fn record_member(n: usize) -> (&'static str, Value) {
    let members = [
        ("delegator_id", json!("wit://a.test/9")),
        ("delegator_id", json!("https://a.test/1")),
        ("delegator_id", json!("wit:")),
        ("delegator_id", json!("spiffe://b.test/2")),
        ("delegatee_id", json!("wit://a.test/9")),
        ("delegatee_id", json!("wit://a.test/0")),
        ("delegatee_id", json!("wit://a.test/1 ")),
        ("delegatee_id", json!(7)),
        ("as_id", json!("https://as.test")),
        ("as_id", json!("https://away.test")),
        ("as_id", json!("https://compatible.test")),
        ("as_id", json!("https://hops.test/")),
        ("as_id", json!("")),
        ("delegation_timestamp", json!(NOW - 20)),
        ("delegation_timestamp", json!(NOW - 25)),
        ("delegation_timestamp", json!(NOW - 10)),
        ("delegation_timestamp", json!(NOW - 9)),
        ("delegation_timestamp", json!(NOW - 86_410)),
        ("delegation_timestamp", json!(NOW - 86_411)),
        ("delegation_timestamp", json!((NOW - 20).to_string())),
        ("delegation_timestamp", json!(1_789_999_979.5)),
        ("delegation_timestamp", json!(1_789_999_990.75)),
        ("delegation_timestamp", json!(1e300)),
        ("delegation_timestamp", json!(-1)),
        ("delegation_timestamp", json!(9_007_199_254_740_993_u64)),
        ("scope", json!("tools tools.write orders.read orders.write more")),
        ("scope", json!("tools")),
        ("scope", json!("tools  tools.write")),
        ("scope", json!("")),
        ("scope", json!(["tools"])),
        ("operation_summary", json!("")),
        ("operation_summary", json!("\u{20ac}\u{1f600}\u{7f}\u{0}/\\")),
        ("operation_summary", json!(null)),
        ("root_evidence_ref", json!("urn:uuid:other")),
        ("root_evidence_ref", json!("")),
        ("root_evidence_ref", json!("x".repeat(513))),
        ("delegated_policy", json!({"type": "rego", "content": "package a"})),
        ("delegated_policy", json!({"type": "rego", "uri": "https://as.test/p", "level": 1.5e-7})),
        (
            "delegated_policy",
            json!({"type": "rego", "uri": "https://as.test/p", "deep": [{"b": 1, "a": [null, true]}]}),
        ),
        (
            "delegated_policy",
            json!({"type": "rego", "uri": "x", "n": 18_446_744_073_709_551_615_u64}),
        ),
        ("delegated_policy", json!({"type": "rego", "language": "cedar", "content": "x"})),
        ("delegated_policy", json!({"content": "x"})),
        ("delegated_policy", json!("rego")),
        ("delegator_jti", json!("j")),
        ("delegator_agent_identity", json!({})),
        ("unheard_of", json!({"decides": "nothing"})),
        ("delegator_signature", json!("e30..AAAA")),
        ("delegator_signature", json!("eyJhbGciOiJFUzI1NiJ9..AAAA")),
        ("delegator_signature", json!("eyJhbGciOiJFUzI1NiJ9.e30.AAAA")),
        ("delegator_signature", json!(null)),
    ];
    pick(&members, n)
}

const REQUIRED: [&str; 7] = [
    "delegator_id",
    "delegatee_id",
    "as_id",
    "delegation_timestamp",
    "scope",
    "operation_summary",
    "root_evidence_ref",
];

/// The header of a signature inside a token.
fn inner_head(n: usize) -> Value {
    pick(
        &[
            json!({"kid": "unknown"}),
            json!({"kid": null}),
            json!({"alg": "EdDSA"}),
            json!({"alg": "ES384"}),
            json!({"alg": "none"}),
            json!({"alg": "HS256"}),
            json!({"b64": false}),
            json!({"b64": true}),
            json!({"crit": ["x"], "x": 1}),
            json!({"jku": "https://evil.test", "jwk": {}}),
            json!({"typ": "JWT"}),
            json!({"typ": 7}),
            json!({"kid": "EdDSA"}),
            json!({"kid": "k".repeat(257)}),
        ],
        n,
    )
}

/// Whose key.
pub(super) fn inner_signer(n: usize) -> (usize, usize) {
    pick(
        &[
            (HOPS, 0),
            (HOPS, 1),
            (0, 0),
            (0, 2),
            (0, 5),
            (1, 0),
            (3, 0),
            (STRANGER, 0),
            (STRANGER, 2),
        ],
        n,
    )
}

/// Every change to what a delegated token carries, and to what is shown beside it.
pub(super) fn carried() -> impl Iterator<Item = (&'static str, Change)> {
    let more = tokens::CHAINS.iter().chain(prompt::PROMPTS).chain(workload::WORKLOADS);
    DELEGATED.iter().chain(more).copied()
}

const DELEGATED: &[(&str, Change)] = &[
    ("an agent's own signature", |d, n| {
        // The agents of the records are the second and the first of the directory, in this order.
        let own = (AGENTS, 1 - n % 2);
        let keys = [own, (AGENTS, n % 2), (AGENTS, 2), (STRANGER, 0), (STRANGER, 2)];
        let id = ["wit://a.test/1", "wit://a.test/0"][n % 2];
        let heads = [
            json!({}),
            json!({"kid": id}),
            json!({"kid": null}),
            json!({"kid": "unknown"}),
            json!({"alg": "HS256"}),
            json!({"alg": "ES384", "kid": id}),
            json!({"b64": true}),
            json!({"crit": ["x"]}),
        ];
        let (key, head) = (pick(&keys, n / 2), pick(&heads, n / 10));
        d.hops.agents.push((n % 2, key, head));
    }),
    ("an agent's own signature over what was changed since", |d, n| {
        d.hops.agents.push((n % 2, (AGENTS, 1 - n % 2), json!({})));
        let (name, value) = record_member(n / 2);
        d.hops.after.push((n % 2, name, value));
    }),
    ("a member of a record", |d, n| {
        let (name, value) = record_member(n / 2);
        if let Some(record) = records(d).and_then(|records| records.get_mut(n % 2)) {
            set(record, name, value);
        }
    }),
    ("a member of a record after it was signed", |d, n| {
        let (name, value) = record_member(n / 2);
        d.hops.after.push((n % 2, name, value));
    }),
    ("a member of a record left out", |d, n| {
        if let Some(record) = records(d).and_then(|records| records.get_mut(n % 2)) {
            remove(record, REQUIRED[n / 2 % REQUIRED.len()]);
        }
    }),
    ("another signer of a record", |d, n| d.hops.signers.push((n % 2, inner_signer(n / 2)))),
    ("another header of the records' signatures", |d, n| d.hops.head = inner_head(n)),
    ("another form of a record's signature", |d, n| {
        let forms = ["", "..", "a..b", "e30..AAAA", "eyJhbGciOiJFUzI1NiJ9.e30.AAAA", "a.b.c.d"];
        d.hops.after.push((n % 2, "as_signature", json!(pick(&forms, n / 2))));
    }),
    ("records in another order", |d, n| {
        let Some(records) = records(d).filter(|records| !records.is_empty()) else { return };
        match n % 8 {
            0 => records.reverse(),
            1 => drop(records.remove(0)),
            2 => drop(records.pop()),
            3 => records.push(records[0].clone()),
            4 => records.insert(0, records[0].clone()),
            5 => records.resize(3, json!({})),
            6 => records.resize(4, records[0].clone()),
            _ => records.push(json!("a record")),
        }
    }),
    ("one hop more", |d, n| {
        let Some(records) = records(d) else { return };
        let mut first = json!({
            "delegator_id": "wimse://c.test/x", "delegatee_id": "wit://a.test/0",
            "as_id": ISSUERS[if n.is_multiple_of(2) { HOPS } else { 0 }].id, "delegation_timestamp": NOW - 40,
        });
        if n % 3 > 0 {
            first["root_evidence_ref"] = json!(EVIDENCE);
        }
        records.push(first);
    }),
    ("another chain", |d, n| {
        let chains = [json!([]), json!({}), json!(null), json!("c"), json!([[]]), json!([null])];
        d.payload["delegation_chain"] = pick(&chains, n);
    }),
    ("no chain", |d, n| {
        remove(&mut d.payload, "delegation_chain");
        if n % 3 == 1 {
            remove(&mut d.payload, "act");
        } else if n % 3 == 2 {
            d.payload["delegation_chain_ref"] = json!("https://hops.test/chain/1");
        }
    }),
    ("the actors of a chain", |d, n| {
        let (a, b, c) = ("wit://a.test/0", "wit://a.test/1", "spiffe://b.test/2");
        let actors = [
            json!({"sub": c}),
            json!({"sub": b}),
            json!({"sub": c, "act": {"sub": a}}),
            json!({"sub": c, "act": {"sub": b, "act": {"sub": a}}}),
            json!({"sub": c, "act": {"sub": b, "act": {"sub": a, "act": {"sub": a}}}}),
            json!({"sub": c, "iss": "https://x.test"}),
            json!({"sub": c.to_uppercase()}),
        ];
        d.payload["act"] = pick(&actors, n);
    }),
    ("evidence", |d, n| {
        let evidences = [
            json!(null),
            json!("e"),
            json!([]),
            json!({"sourcePromptCredential": "a.b.c"}),
            json!({"id": EVIDENCE}),
            json!({"user_confirmation": {"displayed_content": "", "user_action": "x", "timestamp": NOW - 60}}),
            json!({"user_confirmation_record": {"displayed_content": "Look?", "user_action": "x", "timestamp": NOW - 60}}),
            json!({"id": EVIDENCE, "user_confirmation_record": {"displayed_content": "Look?",
                "user_action": "pin_entry", "timestamp": "2026-09-21T14:12:20.5+00:00"}}),
            json!({"id": EVIDENCE, "user_confirmation_record": {"displayed_content": "Look?",
                "user_action": "pin_entry", "timestamp": "2026-09-21"}}),
        ];
        d.payload["evidence"] = pick(&evidences, n);
    }),
    ("no evidence", |d, _| remove(&mut d.payload, "evidence")),
    ("a member of the confirmation", |d, n| {
        let members = [
            ("displayed_content", json!("")),
            ("displayed_content", json!("x".repeat(8_193))),
            ("displayed_content", json!(7)),
            ("user_action", json!("implicit_consent")),
            ("user_action", json!("confirmed_via_button_click")),
            ("user_action", json!("")),
            ("timestamp", json!(NOW - 3_600)),
            ("timestamp", json!(NOW - 3_601)),
            ("timestamp", json!(NOW + 20)),
            ("timestamp", json!(NOW + 21)),
            ("timestamp", json!(1_789_999_940.5)),
            ("timestamp", json!("2026-09-21T14:12:20Z")),
            ("timestamp", json!(null)),
            ("subject", json!("user-1")),
            ("subject", json!("user-2")),
            ("client_id", json!("app-1")),
            ("client_id", json!("app-2")),
            ("client_id", json!(null)),
            ("policy_digest", json!("sha256:00")),
            ("interface_version", json!(2)),
        ];
        let (name, value) = pick(&members, n);
        if let Some(confirmation) = d.payload.pointer_mut("/evidence/user_confirmation") {
            set(confirmation, name, value);
        }
    }),
    ("a member of the evidence", |d, n| {
        let members = [
            ("id", json!("urn:uuid:other")),
            ("id", json!("")),
            ("id", json!(7)),
            ("as_signature", json!("..")),
            ("as_signature", json!(7)),
            ("audit_trail", json!({"semantic_expansion_level": "low"})),
            ("session_context", json!(7)),
            ("user_confirmation_record", json!({})),
        ];
        let (name, value) = pick(&members, n / 2);
        if n.is_multiple_of(2) {
            d.hops.evidence_after.push((name, value));
        } else if let Some(evidence) = d.payload.get_mut("evidence") {
            set(evidence, name, value);
        }
    }),
    ("another signer of the evidence", |d, n| d.hops.evidence_signer = Some(inner_signer(n))),
    ("another header of the evidence's signature", |d, n| d.hops.evidence_head = inner_head(n)),
    ("evidence in the other place", |d, n| {
        let entry = json!({"type": "authorization_evidence", "evidence": d.payload["evidence"]});
        if let Some(entries) = d.payload["authorization_details"].as_array_mut() {
            entries.push(entry);
        }
        match n % 4 {
            0 => remove(&mut d.payload, "evidence"),
            1 => {}
            2 => set(&mut d.payload["evidence"], "id", json!("urn:uuid:other")),
            _ => d.payload["evidence"] = json!({"user_confirmation_record": {}}),
        }
    }),
    ("a status", |d, n| {
        let at = |index: Value, uri: &str| json!({"status_list": {"idx": index, "uri": uri}});
        let statuses = [
            at(json!(0), LIST_URI),
            at(json!(1), LIST_URI),
            at(json!(2), LIST_URI),
            at(json!(3), LIST_URI),
            at(json!(4), LIST_URI),
            at(json!(7), LIST_URI),
            at(json!(8), LIST_URI),
            at(json!(u64::MAX), LIST_URI),
            at(json!(-1), LIST_URI),
            at(json!(0.0), LIST_URI),
            at(json!("0"), LIST_URI),
            at(json!(0), "https://hops.test/another"),
            at(json!(0), "https://hops.test.evil.test/status"),
            at(json!(0), "https://evil.test/status"),
            at(json!(0), "http://hops.test/status"),
            json!({"status_list": {"idx": 0, "uri": LIST_URI}, "identifier_list": {}}),
            json!({"status_list": {"idx": 0}}),
            json!({}),
            json!(0),
        ];
        d.payload["status"] = pick(&statuses, n);
    }),
    ("bound to a key", |d, n| {
        bind(d, n);
        if n % 4 == 3 {
            d.lines = vec!["Bearer {}".to_owned()];
        }
    }),
    ("a confirmation", |d, n| {
        let (own, other) = (thumbprint(&HOLDERS[0]), thumbprint(&HOLDERS[1]));
        let mut private = public(&HOLDERS[0]);
        private["d"] = json!("AAAA");
        let mut misused = public(&HOLDERS[0]);
        misused["use"] = json!("enc");
        let confirmations = [
            json!({"jkt": other}),
            json!({"jkt": own, "x5t#S256": own}),
            json!({"jkt": own, "jwk": public(&HOLDERS[1])}),
            json!({"jwk": public(&HOLDERS[1])}),
            json!({"jwk": private}),
            json!({"jwk": misused}),
            json!({"jwk": public(&HOLDERS[2])}),
            json!({"kid": own}),
            json!({"kid": "a-name"}),
            json!({"jkt": own, "kid": "a-name"}),
            json!({"jkt": &own[1..]}),
            json!({"x5t#S256": own}),
        ];
        d.payload["cnf"] = pick(&confirmations, n);
    }),
    ("a member of the proof", |d, n| {
        let members = [
            ("jti", json!("")),
            ("jti", json!("j".repeat(256))),
            ("jti", json!("j".repeat(257))),
            ("jti", json!(7)),
            ("htm", json!("get")),
            ("htm", json!("DELETE")),
            ("htm", json!(null)),
            ("htu", json!("https://tools.test/proven/other")),
            ("htu", json!("HTTPS://Tools.TEST:443/proven/x?a=b#c")),
            ("htu", json!("https://tools.test/proven/./y/../x")),
            ("htu", json!("https://tools.test/%70roven/x")),
            ("htu", json!("http://tools.test/proven/x")),
            ("htu", json!("https://tools.test:8443/proven/x")),
            ("htu", json!("https://tools.test@evil.test/proven/x")),
            ("htu", json!("https://evil.test/proven/x")),
            ("htu", json!("/proven/x")),
            ("htu", json!("https://tools.test/proven/x/")),
            ("htu", json!("https://tools.test//proven/x")),
            ("iat", json!(NOW - 60)),
            ("iat", json!(NOW - 61)),
            ("iat", json!(NOW + 60)),
            ("iat", json!(NOW + 61)),
            ("iat", json!(1_789_999_940.9)),
            ("iat", json!(NOW.to_string())),
            ("ath", json!(hash("another token"))),
            ("ath", json!("")),
            ("nonce", json!("n")),
            ("nonce", json!(7)),
            ("exp", json!(0)),
        ];
        let (name, value) = pick(&members, n);
        if let Some(proof) = &mut d.proof {
            proof.payload[name] = value;
        }
    }),
    ("a claim of the proof left out", |d, n| {
        if let Some(proof) = &mut d.proof {
            remove(&mut proof.payload, ["jti", "htm", "htu", "iat", "ath"][n % 5]);
        }
    }),
    ("the header of the proof", |d, n| {
        let mut private = public(&HOLDERS[0]);
        private["d"] = json!("AAAA");
        let mut named = public(&HOLDERS[0]);
        named["alg"] = json!(if n.is_multiple_of(2) { "ES256" } else { "ES384" });
        let members = [
            ("typ", json!("DPoP+JWT")),
            ("typ", json!("application/dpop+jwt")),
            ("typ", json!("JWT")),
            ("typ", json!(null)),
            ("alg", json!("none")),
            ("alg", json!("ES384")),
            ("alg", json!("EdDSA")),
            ("jwk", public(&HOLDERS[1])),
            ("jwk", private),
            ("jwk", named),
            ("jwk", json!({"kty": "oct", "k": "AAAA"})),
            ("jwk", json!("k")),
            ("crit", json!(["x"])),
            ("kid", json!("k")),
            ("kid", json!(7)),
        ];
        let (name, value) = pick(&members, n / 2);
        if let Some(proof) = &mut d.proof {
            proof.header[name] = value;
        }
    }),
    ("a proof by another key", |d, n| {
        let Some(proof) = &mut d.proof else { return };
        let key = &HOLDERS[1 + n % 2];
        proof.key = 1 + n % 2;
        if n % 4 < 2 {
            proof.header["jwk"] = public(key);
            proof.header["alg"] = json!(key.alg());
        }
    }),
    ("no proof, or two", |d, n| {
        if let Some(proof) = &mut d.proof {
            proof.lines = [0, 2][n % 2];
        }
    }),
    ("a damaged proof", |d, n| {
        let wires = [
            Wire::Flip(n % 3, n / 3 * 7),
            Wire::Pad(n),
            Wire::Parts(2),
            Wire::Empty(n),
            Wire::Loose,
        ];
        if let Some(proof) = &mut d.proof {
            proof.wires.push(wires[n % wires.len()]);
        }
    }),
    ("a bound token as a bearer", |d, _| {
        if d.proof.is_some() {
            d.lines = vec!["Bearer {}".to_owned()];
        }
    }),
];
