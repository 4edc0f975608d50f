//! Changes to tokens of agent operation authorization, and to what says who acts (`tokens.md` §4, §7).

use serde_json::json;

use super::change::{Change, pick, remove};
use super::draft::{Draft, NOW};

pub(super) const OPERATION_TOKENS: &[(&str, Change)] = &[
    ("an agent operation token", agent_operation),
    ("a member of an agent operation token", |d, n| {
        agent_operation(d, 0);
        let members = [
            ("agent_operation_authorization", json!({})),
            ("agent_operation_authorization", json!({"policy_id": ""})),
            ("agent_operation_authorization", json!({"policy_id": 7})),
            ("agent_operation_authorization", json!({"policy_id": "p".repeat(257)})),
            ("agent_operation_authorization", json!({"policyId": "p1"})),
            ("agent_operation_authorization", json!({"policyId": "p1", "policy_id": "p2"})),
            ("agent_operation_authorization", json!({"policyId": "p1", "policy_id": "p1"})),
            ("agent_operation_authorization", json!({"policy_id": "p", "policy_binding": {}})),
            ("agent_operation_authorization", json!("p1")),
            ("agentOperationAuthorization", json!({"policy_id": "p2"})),
            ("agent_identity", json!(null)),
            ("agentIdentity", json!({"id": "other"})),
            ("context", json!("x")),
            ("context", json!({"rendered_text": 7})),
            ("context", json!({"renderedText": "", "channel": 7})),
            ("audit_trail", json!({"original_prompt_text": ["x"]})),
            ("auditTrail", json!({"userAcknowledgeTimestamp": "2026-09-21T14:13:20+02:00"})),
            ("audit_trail", json!({"user_acknowledge_timestamp": "yesterday"})),
            ("audit_trail", json!({"semantic_expansion_level": "unheard of"})),
            ("audit_trail", json!({"semantic_expansion_level": 7})),
            ("references", json!({"related_proposal_id": "urn:uuid:1"})),
            ("references", json!({"related_proposal_id": 7})),
            ("references", json!([])),
            ("agent_user_binding_proposal", json!({})),
        ];
        let (name, value) = pick(&members, n);
        d.payload[name] = value;
    }),
    ("a member of the agent's identity", |d, n| {
        agent_operation(d, 0);
        let members = [
            ("version", json!("2.0")),
            ("version", json!(1.0)),
            ("id", json!("")),
            ("id", json!(7)),
            ("issuer", json!("https://evil.test")),
            ("issuer", json!("https://as.test/")),
            ("issued_to", json!("|")),
            ("issued_to", json!("user")),
            ("issued_to", json!("https://idp.test|")),
            ("issuedTo", json!("https://idp.test|mallory")),
            ("issuedTo", json!("https://idp.test|user-1")),
            ("issued_to", json!("a|b|c")),
            ("issued_for", json!("x")),
            ("issued_for", json!({"client": 7})),
            ("issuedFor", json!({"clientInstance": "i"})),
            ("expires", json!("2026-09-21T14:13:20Z")),
            ("expires", json!("2026-09-21T14:12:50Z")),
            ("expires", json!("2026-09-21T14:12:50.000001Z")),
            ("expires", json!(NOW + 100)),
            ("expires", json!("2026-09-21T15:13:20+01:00")),
            ("expires", json!("2026-09-21T14:43:20+01:00")),
            ("expires", json!("2026-09-21T13:43:20-00:30")),
            ("expires", json!(null)),
            ("valid_from", json!("2026-09-21T14:13:50Z")),
            ("valid_from", json!("2026-09-21T14:13:50.000001Z")),
            ("validFrom", json!("2026-09-21T14:13:51Z")),
            ("valid_from", json!("2026-09-21")),
            ("issuance_date", json!("2026-09-21T14:00:00.123456789012Z")),
            ("issuance_date", json!("2027-09-21T14:00:00Z")),
            ("issuance_date", json!("2026-09-21T14:00:00")),
            ("issuance_date", json!("2026-02-30T14:00:00Z")),
            ("issuance_date", json!("2026-09-21T14:00:00.Z")),
            ("issuance_date", json!("2026-09-21T14:00:00+24:00")),
            ("unheard_of", json!(7)),
        ];
        let (name, value) = pick(&members, n);
        d.payload["agent_identity"][name] = value;
    }),
    ("an agent's identity left short", |d, n| {
        agent_operation(d, 0);
        let names = ["version", "id", "issuer", "issued_to", "expires", "valid_from"];
        remove(&mut d.payload["agent_identity"], names[n % names.len()]);
        if n % 7 == 6 {
            remove(&mut d.payload, "agent_identity");
        }
    }),
    ("authentication", |d, n| {
        let values = [
            ("acr", json!("gold")),
            ("acr", json!(7)),
            ("acr", json!("")),
            ("auth_time", json!(NOW)),
            ("auth_time", json!("yesterday")),
            ("auth_time", json!(-1)),
        ];
        let (name, value) = pick(&values, n);
        d.payload[name] = value;
    }),
    ("actors in one another", |d, n| {
        let depth = [2, 15, 16, 17, 20][n % 5];
        let mut act = json!({"sub": "agent-0"});
        for actor in 1..depth {
            act = json!({"sub": format!("agent-{actor}"), "act": act});
        }
        d.payload["act"] = act;
    }),
];

/// A token as the reference implementation sends it (`tokens.md` §4.1), and in two other forms.
fn agent_operation(draft: &mut Draft, n: usize) {
    let issuer = draft.payload["iss"].clone();
    draft.payload["agent_operation_authorization"] = json!({
        "policy_id": "policy-1",
        "policy_binding": {
            "digest": "sha256:c2fb6006f7fbd9532e47991c4e31b14e46859d00d695421c19e525f29f875cf0",
            "profile": "AOP-POLICY-RESOLUTION-BINDING-v0",
        },
    });
    draft.payload["agent_identity"] = json!({
        "version": "1.0", "id": "urn:uuid:1", "issuer": issuer,
        "issued_to": "https://idp.test|user-1", "issued_for": {"platform": "p", "client": "c"},
        "valid_from": "2026-09-21T14:00:00.123Z", "expires": "2026-09-21T15:00:00Z",
    });
    match n % 3 {
        1 => draft.header["typ"] = json!("JWT"),
        2 => remove(&mut draft.payload, "authorization_details"),
        _ => {}
    }
}
