//! Cedar over real sockets (`policy.md` §7): where an issuer is trusted with it, and where it is not.

use std::fs;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use opgate::policy::engine::{
    self, Class, Evaluation, Failure, Input, Language, Limits, Source, Verdict,
};
use opgate::token::hash::sha256;
use serde_json::{Value, json};

use crate::support::{Echo, Gate, Setup, Token};

const TARGET: &str = "/shop/any/1";

/// A gate whose issuer may write its policies in `languages`.
fn start(languages: &Value) -> (Echo, Gate) {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.issuer = format!("\n[issuer.policies]\nlanguages = {languages}\n");
    (echo, setup.start())
}

/// What is answered to a token that carries `text`, and why.
fn answer(gate: &Gate, text: &str) -> (u16, Value) {
    let policy = json!({"language": "cedar", "content": text});
    let entry = json!({"type": "authorization_policy", "policy": policy});
    let token = Token::new().claim("authorization_details", json!([entry]));
    let response = gate.get(TARGET, &token.sign(&gate.setup.key));
    (response.status, gate.decision(&response.decision_id()))
}

#[test]
fn pol_026_027_an_issuer_that_is_not_trusted_with_cedar_writes_an_unknown_language() {
    let (echo, gate) = start(&json!(["rego"]));
    let (status, decision) = answer(&gate, "permit(principal, action, resource);");
    assert_eq!((status, &decision["reason"]), (500, &json!("policy_language_unknown")));
    echo.assert_untouched("unknown");
}

#[test]
fn pol_027_cedar_decides_and_an_error_of_any_statement_refuses() {
    let (echo, gate) = start(&json!(["rego", "cedar"]));
    let anything = r#"permit(principal, action == Action::"anything", resource);"#;
    for (text, status, reason) in [
        (r#"permit(principal, action == Action::"other", resource);"#.into(), 403, "policy_denied"),
        (format!("{anything} forbid(principal, action, resource);"), 403, "policy_denied"),
        // The engine alone would skip the statement that fails, and permit.
        (
            format!("{anything} forbid(principal, action, resource) when {{ context.args.x }};"),
            500,
            "policy_engine_failed",
        ),
        ("permit(principal, action, resource".into(), 500, "policy_not_admitted"),
        ("permit(principal == ?principal, action, resource);".into(), 500, "policy_not_admitted"),
        (
            format!("permit(principal, action, resource) when {{ true{} }};", "&&true".repeat(600)),
            500,
            "policy_not_admitted",
        ),
    ] {
        let (found, decision) = answer(&gate, &text);
        assert_eq!((found, &decision["reason"]), (status, &json!(reason)), "{text:.90}");
        echo.assert_untouched(&text);
    }
    let (status, decision) = answer(&gate, anything);
    assert_eq!(status, 200, "{decision}");
    assert_eq!(decision["policies"][0]["dialect"], "cedar");
    assert_eq!(decision["policies"][0]["result"], "true");
}

/// A token that grants by the policy that it names.
fn naming(reference: Value) -> Token {
    Token::new().without("authorization_details").claim("policy_ref", reference)
}

#[test]
fn pol_018_027_a_policy_in_cedar_is_found_by_its_name_and_bound_by_its_digest() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.issuer = "\n[issuer.policies]\nlanguages = [\"rego\", \"cedar\"]\n".to_owned();
    setup.more = "\n[policies]\ndirectory = \"named\"\n".to_owned();
    fs::create_dir(setup.dir.path().join("named")).unwrap();
    let anything = "permit(principal, action == Action::\"anything\", resource);";
    let nothing = "forbid(principal, action, resource);";
    setup.write("named/anything.cedar", anything);
    let record = json!({
        "policy_id": "nothing", "media_type": "application/cedar", "source": nothing,
    });
    setup.write("named/nothing.json", &record.to_string());
    let gate = setup.start();
    let ask = |reference: Value| {
        let response = gate.get(TARGET, &naming(reference).sign(&gate.setup.key));
        (response.status, gate.decision(&response.decision_id())["reason"].clone())
    };
    let bound = |id: &str, text: &str| json!({"id": id, "hash": hash_of(text)});
    assert_eq!(ask(bound("nothing", nothing)), (403, json!("policy_denied")));
    assert_eq!(ask(bound("anything", nothing)), (403, json!("policy_digest_mismatch")));
    assert_eq!(ask(json!([bound("anything", anything), bound("nothing", nothing)])).0, 403);
    echo.assert_untouched("refused by a policy that is named");
    assert_eq!(ask(bound("anything", anything)).0, 200);
}

fn hash_of(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(sha256(text.as_bytes())))
}

#[test]
fn pol_027_the_operators_own_policy_in_cedar_bounds_what_tokens_grant() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.write("office.cedar", "permit(principal == Agent::\"agent-7\", action, resource);");
    setup.operations += "\n[[resource.local_policy]]\nfile = \"office.cedar\"\n";
    let gate = setup.start();
    let by = |agent: &str| {
        let token = Token::new().claim("act", json!({"sub": agent})).sign(&gate.setup.key);
        gate.get(TARGET, &token).status
    };
    assert_eq!(by("agent-8"), 403);
    echo.assert_untouched("an agent that is not permitted");
    assert_eq!(by("agent-7"), 200);
    // A text that is none changes nothing, and is said.
    gate.setup.write("office.cedar", "permit(principal, action, resource");
    let (code, told) = gate.setup.check();
    assert!(code != Some(0) && told.contains("line 1: a statement ends with `;`"), "{told}");
    assert_eq!(by("agent-7"), 200);
}

#[test]
fn err_013_the_metadata_says_that_cedar_is_read() {
    let (_echo, gate) = start(&json!(["rego", "cedar"]));
    let metadata = gate.get("/.well-known/oauth-protected-resource/shop", "");
    let metadata: Value = serde_json::from_slice(&metadata.body).unwrap();
    assert_eq!(metadata["opgate_policy_languages_supported"], json!(["rego", "cedar"]));
}

/// What a case of the corpus is asked about.
fn question(case: &toml::Value) -> Input {
    let text = |name: &str| case.get(name).map(|text| text.as_str().unwrap());
    let args: Value = serde_json::from_str(text("args").unwrap_or("{}")).unwrap();
    Input::new(json!({
        "action": text("action").unwrap_or("pay"),
        "agent": { "id": "buyer", "proof": "dpop" },
        "user": { "id": "alice", "tier": "gold" },
        "resource": { "type": "http", "id": "shop", "location": "https://shop.test/orders" },
        "args": args,
    }))
}

fn told(evaluation: &Evaluation) -> &'static str {
    match evaluation.outcome {
        Ok(Verdict::True) => "true",
        Ok(Verdict::False) => "false",
        Ok(Verdict::NonBoolean | Verdict::Undefined) => "undefined",
        Err(Failure::Engine) => "error",
        Err(Failure::Budget | Failure::Timeout) => "ran on",
    }
}

/// `tests/vectors/cedar`: every case ends as it says.
#[test]
fn pol_027_the_corpus_is_answered_as_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/cedar/language.toml");
    let table: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
    let cases = table["case"].as_array().unwrap();
    let mut wrong = Vec::new();
    for case in cases {
        let text = |name: &str| case.get(name).map(|text| text.as_str().unwrap());
        let permit =
            |condition| format!("permit(principal, action, resource) when {{ {condition} }};");
        let policy = text("policy").map_or_else(|| permit(text("when").unwrap()), str::to_owned);
        let source = Source {
            language: Language::Cedar,
            class: Class::Carried,
            entry_point: "allow",
            text: &policy,
        };
        let limits = Limits { steps: Limits::STEPS, stop: None };
        let found = match engine::compile(&source) {
            Ok(policy) => {
                let evaluation = policy.evaluate(&question(case), &limits);
                let fault = evaluation.fault.clone().unwrap_or_default();
                (told(&evaluation), fault.into_string())
            }
            Err(refused) => ("not admitted", refused.to_string()),
        };
        if found.0 != text("expect").unwrap() {
            wrong.push(format!("{}: {found:?}", text("name").unwrap()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases.len() >= 90, "{}", cases.len());
}

#[test]
fn explain_shows_the_statements_and_the_values_that_decided() {
    let (_echo, gate) = start(&json!(["rego", "cedar"]));
    let text = "permit(principal, action, resource);\nforbid(principal, action, resource)\nwhen { context.request.method == \"GET\" };";
    let policy = json!({"language": "cedar", "content": text});
    let entry = json!({"type": "authorization_policy", "policy": policy});
    let token = Token::new().claim("authorization_details", json!([entry])).sign(&gate.setup.key);
    let output = Command::new(env!("CARGO_BIN_EXE_opgate"))
        .args(["explain", "-c", "opgate.toml", "--request", "GET /shop/any/1", "--token", &token])
        .current_dir(gate.setup.dir.path())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    for part in [
        "policy of authorization_details 0 (cedar) said false",
        "         1  had no say   permit(principal, action, resource);",
        "         2  decided      forbid(principal, action, resource)",
        "where request.method is \"GET\"",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}
