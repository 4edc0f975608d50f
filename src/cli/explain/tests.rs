//! The order of the trace is the order of the decision: of two things that are wrong, the one that the
//! trace puts first is the one that the decision stops at.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::cli::keys::SigningKey;
use crate::token::hash::sha256;
use crate::token::jcs;
use crate::token::revocation::{Kind, Target};
use crate::token::trust::Algorithm;

const CONFIGURATION: &str = r#"
[gate]
listen = "127.0.0.1:0"
origin = "https://tools.test"
[[issuer]]
issuer = "https://as.test"
jwks_file = "jwks.json"
algorithms = ["EdDSA"]
profile = "open-agent-auth"
agents = ["wimse://agents.test/buyer"]
max_lifetime = "15m"
delegation = {}
[[workload_issuer]]
issuer = "wimse://agents.test"
jwks_file = "jwks.json"
[[upstream]]
name = "shop"
url = "http://127.0.0.1:1"
[[resource]]
id = "https://tools.test/shop"
upstream = "shop"
scopes = ["shop"]
body_limit = 100
acr_values = ["gold"]
evidence = "required"
evidence_max_age = "1h"
[[resource.operation]]
action = "count"
method = "GET"
path = "/*/counted"
[[resource.operation]]
action = "read"
method = "GET"
path = "/**"
[[resource.deny]]
path = "/secret"
[[resource.deny]]
path = "/secret/*"
[[resource.cap]]
name = "budget"
per = ["user"]
actions = ["count"]
sum = "5"
argument = "/amount"
window = "1h"
"#;

const BUYER: &str = "wimse://agents.test/buyer";

/// A request whose parts can be made wrong one by one, each without undoing another.
struct Draft {
    header: Value,
    payload: Value,
    is_nowhere: bool,
    is_denied: bool,
    /// What a budget counts is in the body, and there is none.
    is_counted: bool,
    scheme: &'static str,
    length: usize,
    break_signature: bool,
    break_format: bool,
    break_chain: bool,
    break_evidence: bool,
    break_proof: bool,
    delegatee: &'static str,
    workload: &'static str,
    /// Seconds since the person confirmed.
    confirmed: u64,
}

fn good() -> Draft {
    let now = clock::now().seconds();
    Draft {
        header: json!({"typ": "at+jwt", "alg": "EdDSA", "kid": "k"}),
        payload: json!({
            "iss": "https://as.test", "sub": "alice", "aud": "https://tools.test/shop", "jti": "j",
            "iat": now, "exp": now + 300, "client_id": "c", "scope": "shop", "acr": "gold",
            "authorization_details": [{"type": "agent_operation", "operations": [{"method": "GET", "path": "/**"}]}],
        }),
        is_nowhere: false,
        is_denied: false,
        is_counted: false,
        scheme: "Bearer",
        length: 1,
        break_signature: false,
        break_format: false,
        break_chain: false,
        break_evidence: false,
        break_proof: false,
        delegatee: BUYER,
        workload: BUYER,
        confirmed: 60,
    }
}

type Defect = (Check, fn(&mut Draft));

/// One for each check that a request can fail before it is recorded, in their order.
const DEFECTS: &[Defect] = &[
    (Check::Request, |draft| draft.is_nowhere = true),
    (Check::Credentials, |draft| draft.scheme = "Basic"),
    (Check::Format, |draft| draft.break_format = true),
    (Check::Trust, |draft| draft.header["typ"] = json!("dpop+jwt")),
    (Check::Signature, |draft| draft.break_signature = true),
    (Check::Claims, |draft| draft.payload["jti"] = json!(7)),
    (Check::Dates, |draft| draft.payload["nbf"] = json!(clock::now().seconds() + 600)),
    (Check::Conditions, |draft| draft.payload["cnf"] = json!({"x": 1})),
    (Check::AgentIdentity, |draft| {
        draft.payload["agent_identity"] =
            json!({"id": "i", "issuer": "https://as.test", "expires": "2020-01-01T00:00:00Z"});
    }),
    (Check::Delegation, |draft| draft.break_chain = true),
    (Check::Audience, |draft| draft.payload["aud"] = json!("https://other.test")),
    (Check::Revocation, |draft| draft.payload["sub"] = json!("mallory")),
    (Check::Evidence, |draft| draft.break_evidence = true),
    (Check::Proof, |draft| draft.break_proof = true),
    (Check::Workload, |draft| draft.workload = "wimse://agents.test/unlisted"),
    (Check::Presenter, |draft| draft.delegatee = "wimse://agents.test/other"),
    (Check::Body, |draft| draft.length = 101),
    (Check::Overlay, |draft| draft.is_denied = true),
    (Check::Scope, |draft| draft.payload["scope"] = json!("other")),
    (Check::Authentication, |draft| draft.payload["acr"] = json!("bronze")),
    (Check::Policies, |draft| draft.payload["policy_ref"] = json!("p")),
    (Check::Grants, |draft| draft.payload["authorization_details"] = json!([])),
    (Check::Confirmation, |draft| draft.confirmed = 7_200),
    (Check::Quantities, |draft| draft.is_counted = true),
];

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn signed(header: &Value, payload: &Value, key: &SigningKey) -> String {
    let input = format!("{}.{}", encode(header), encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()).unwrap());
    format!("{input}.{signature}")
}

/// A detached signature over the canonical form (`delegation.md` §3).
fn detached(value: &Value, key: &SigningKey) -> String {
    let header = encode(&json!({"alg": "EdDSA", "kid": "k"}));
    let payload = URL_SAFE_NO_PAD.encode(jcs::canonical(value).unwrap());
    let signature = key.sign(format!("{header}.{payload}").as_bytes()).unwrap();
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(signature))
}

impl Draft {
    fn path(&self) -> &'static str {
        match (self.is_nowhere, self.is_denied, self.is_counted) {
            (true, ..) => "/nowhere",
            (false, true, false) => "/shop/secret",
            (false, true, true) => "/shop/secret/counted",
            (false, false, false) => "/shop/7",
            (false, false, true) => "/shop/7/counted",
        }
    }

    fn token(&self, key: &SigningKey) -> String {
        let (mut payload, now) = (self.payload.clone(), clock::now().seconds());
        let mut record = json!({
            "delegator_id": "wit://agents.test/planner", "delegatee_id": self.delegatee,
            "as_id": "https://as.test", "delegation_timestamp": now - 5, "root_evidence_ref": "e",
        });
        record["as_signature"] = json!(detached(&record, key));
        let chain = if self.break_chain { json!([{}]) } else { json!([record]) };
        payload["act"] = json!({"sub": self.delegatee});
        payload["delegation_chain"] = chain;
        let mut evidence = json!({"id": "e", "user_confirmation": {
            "displayed_content": "Read", "user_action": "button_click", "timestamp": now - self.confirmed,
        }});
        let signature = detached(&evidence, key);
        evidence["as_signature"] = if self.break_evidence { json!(7) } else { json!(signature) };
        payload["evidence"] = evidence;
        let token = signed(&self.header, &payload, key);
        if !self.break_signature {
            return token;
        }
        let (input, _) = token.rsplit_once('.').unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(key.sign(b"other").unwrap()))
    }

    /// The workload's identity token, and its proof for this call with `token`.
    fn workload(&self, token: &str, key: &SigningKey) -> (String, String) {
        let now = clock::now().seconds();
        let mut jwk = key.jwk("k");
        jwk.as_object_mut().unwrap().retain(|name, _| !matches!(name.as_str(), "kid" | "use"));
        let header = |kind: &str| json!({"typ": kind, "alg": "EdDSA", "kid": "k"});
        let identity = json!({
            "iss": "wimse://agents.test", "sub": self.workload, "exp": now + 60,
            "cnf": {"jwk": jwk},
        });
        let identity = signed(&header("wit+jwt"), &identity, key);
        let hash = |text: &str| URL_SAFE_NO_PAD.encode(sha256(text.as_bytes()));
        let proof = json!({
            "wth": hash(if self.break_proof { "another" } else { &identity }),
            "aud": format!("https://tools.test{}", self.path()), "exp": now + 60,
            "jti": uuid::Uuid::now_v7().to_string(), "oth": {"aoat": hash(token)},
        });
        (identity, signed(&header("wpt+jwt"), &proof, key))
    }
}

async fn stopped(bench: &Bench, key: &SigningKey, draft: &Draft) -> Option<Check> {
    let token = draft.token(key);
    let (identity, proof) = draft.workload(&token, key);
    let end = if draft.break_format { "." } else { "" };
    let parts = Request::get(draft.path())
        .header(HOST, "tools.test")
        .header(CONTENT_LENGTH, draft.length)
        .header(AUTHORIZATION, format!("{} {token}{end}", draft.scheme))
        .header("x-workload-identity", identity)
        .header("x-workload-proof", proof)
        .body(())
        .unwrap()
        .into_parts()
        .0;
    let (room, mut payload) = (Arc::default(), Payload::from(Bytes::new()));
    let request = (&parts, &mut payload);
    let mut judged = Judgement::unread();
    judge(&bench.snapshot, &bench.facts, request, arrival(), &room, &mut judged).await;
    let told = Told::of(&judged, bench);
    let failed = told.checks.iter().find(|(_, verdict, _)| *verdict == Verdict::Failed);
    assert_eq!(failed.is_some(), judged.verdict.is_err());
    assert_eq!(failed.is_some(), told.change.is_some());
    failed.map(|(check, ..)| *check)
}

#[test]
fn of_two_defects_the_decision_stops_at_the_one_that_the_trace_puts_first() {
    let tried: Vec<Check> = DEFECTS.iter().map(|(check, _)| *check).collect();
    assert_eq!(
        tried,
        Check::ALL,
        "a check without a defect is a check whose place nobody has tried"
    );
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    std::fs::write(folder.path().join("jwks.json"), key.jwk_set("k", Vec::new()).unwrap()).unwrap();
    let file = folder.path().join("opgate.toml");
    let config = Arc::new(config::parse(CONFIGURATION, &file).unwrap());
    serve::runtime(Some(1)).unwrap().block_on(async {
        let bench = Bench::build(config).await.unwrap();
        let mallory = Target { kind: Kind::Subject, value: "mallory".into(), issuer: None };
        bench.facts.revocations().revoke(mallory, None, None, clock::now()).unwrap();
        assert_eq!(stopped(&bench, &key, &good()).await, None);
        for (n, (first, make)) in DEFECTS.iter().enumerate() {
            let mut one = good();
            make(&mut one);
            assert_eq!(stopped(&bench, &key, &one).await, Some(*first));
            for (second, make_too) in &DEFECTS[n + 1..] {
                let mut both = good();
                make(&mut both);
                make_too(&mut both);
                assert_eq!(stopped(&bench, &key, &both).await, Some(*first), "{second:?} beside");
            }
        }
    });
}

#[test]
fn every_reason_is_the_failure_of_one_check_in_the_order_of_the_stages() {
    for reason in Reason::ALL {
        let denial = Denial::from(*reason);
        let failures =
            trace(Some(denial)).filter(|(_, verdict)| *verdict == Verdict::Failed).count();
        let is_afterwards = Check::of(denial) == Check::Afterwards;
        assert_eq!(failures, usize::from(!is_afterwards), "{reason:?}");
    }
    let mut sorted = Check::ALL;
    sorted.sort_unstable();
    assert_eq!(sorted, Check::ALL);
}
