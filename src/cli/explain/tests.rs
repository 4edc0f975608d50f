//! The order of the trace is the order of the decision: of two things that are wrong, the one that the
//! trace puts first is the one that the decision stops at.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::cli::keys::SigningKey;
use crate::token::trust::Algorithm;

const CONFIGURATION: &str = r#"
[gate]
listen = "127.0.0.1:0"
origin = "https://tools.test"
[[issuer]]
issuer = "https://as.test"
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
[[resource.operation]]
action = "read"
method = "GET"
path = "/**"
[[resource.deny]]
path = "/secret"
"#;

/// A request whose parts can be made wrong one by one.
struct Draft {
    header: Value,
    payload: Value,
    path: &'static str,
    scheme: &'static str,
    length: usize,
    break_signature: bool,
    break_format: bool,
}

fn good() -> Draft {
    let now = clock::now().seconds();
    Draft {
        header: json!({"typ": "at+jwt", "alg": "EdDSA", "kid": "k"}),
        payload: json!({
            "iss": "https://as.test", "sub": "alice", "aud": "https://tools.test/shop", "jti": "j",
            "iat": now, "exp": now + 300, "client_id": "c", "scope": "shop", "acr": "gold",
            "authorization_details": [{"type": "agent_operation", "operations": [{"action": "read"}]}],
        }),
        path: "/shop/7",
        scheme: "Bearer",
        length: 1,
        break_signature: false,
        break_format: false,
    }
}

type Defect = (Check, fn(&mut Draft));

const DEFECTS: &[Defect] = &[
    (Check::Request, |draft| draft.path = "/nowhere"),
    (Check::Credentials, |draft| draft.scheme = "Basic"),
    (Check::Format, |draft| draft.break_format = true),
    (Check::Trust, |draft| draft.header["typ"] = json!("JWT")),
    (Check::Signature, |draft| draft.break_signature = true),
    (Check::Claims, |draft| draft.payload["jti"] = json!(7)),
    (Check::Dates, |draft| draft.payload["nbf"] = json!(clock::now().seconds() + 600)),
    (Check::AgentIdentity, |draft| {
        draft.payload["agent_identity"] =
            json!({"id": "i", "issuer": "https://as.test", "expires": "2020-01-01T00:00:00Z"});
    }),
    (Check::Delegation, |draft| draft.payload["delegation_chain"] = json!([{}])),
    (Check::Conditions, |draft| draft.payload["cnf"] = json!({"x": 1})),
    (Check::Audience, |draft| draft.payload["aud"] = json!("https://other.test")),
    (Check::Evidence, |draft| {
        draft.payload["evidence"] = json!({"id": 7, "as_signature": "x"});
    }),
    (Check::Body, |draft| draft.length = 101),
    (Check::Scope, |draft| draft.payload["scope"] = json!("other")),
    (Check::Authentication, |draft| draft.payload["acr"] = json!("bronze")),
    (Check::Policies, |draft| draft.payload["policy_ref"] = json!("p")),
    (Check::Grants, |draft| draft.payload["authorization_details"] = json!([])),
];

async fn stopped(bench: &Bench, key: &SigningKey, draft: &Draft) -> Option<Check> {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", encode(&draft.header), encode(&draft.payload));
    let signed: &[u8] = if draft.break_signature { b"other" } else { input.as_bytes() };
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed).unwrap());
    let end = if draft.break_format { "." } else { "" };
    let parts = Request::get(draft.path)
        .header(HOST, "tools.test")
        .header(CONTENT_LENGTH, draft.length)
        .header(AUTHORIZATION, format!("{} {input}.{signature}{end}", draft.scheme))
        .body(())
        .unwrap()
        .into_parts()
        .0;
    let judged = judge(&bench.snapshot, &bench.facts, &parts, arrival()).await;
    let told = Told::of(&judged, &bench.snapshot.config);
    let failed = told.checks.iter().find(|(_, verdict, _)| *verdict == Verdict::Failed);
    assert_eq!(failed.is_some(), judged.verdict.is_err());
    assert_eq!(failed.is_some(), told.change.is_some());
    failed.map(|(check, ..)| *check)
}

#[test]
fn of_two_defects_the_decision_stops_at_the_one_that_the_trace_puts_first() {
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    std::fs::write(folder.path().join("jwks.json"), key.jwk_set("k", Vec::new()).unwrap()).unwrap();
    let file = folder.path().join("opgate.toml");
    let config = Arc::new(config::parse(CONFIGURATION, &file).unwrap());
    serve::runtime(Some(1)).unwrap().block_on(async {
        let bench = Bench::build(config).await.unwrap();
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
