//! Reverse guidance (`reverse-guided-errors.md` §2 to §4, §8): what an agent is told that it would need, in
//! the room that there is for it, and the operations that need the person just now.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use opgate::token::hash::sha256;
use serde_json::{Map, Value, json};

use crate::support::chain::evidence;
use crate::support::challenge::Challenge;
use crate::support::client::Response;
use crate::support::gate::SHOP;
use crate::support::issuer::canonical;
use crate::support::{Echo, Gate, Setup, Token, request};

const METADATA: &str = "/.well-known/oauth-protected-resource";

/// The operator wants the person for whatever deletes, and for one path.
const CONFIRM: &str = r#"
[[resource.confirm]]
method = "DELETE"
path = "/**"

[[resource.confirm]]
path = "/any/wire/**"
evidence_max_age = "30s"
"#;

fn start(more: &str) -> (Echo, Gate) {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.operations += more;
    let gate = setup.start();
    (echo, gate)
}

/// An operation that the token does not cover.
fn denied(gate: &Gate) -> Response {
    gate.get("/shop/orders/1", &gate.token())
}

fn call(gate: &Gate, line: &str, token: &str) -> Response {
    let (method, path) = line.split_once(' ').unwrap();
    let bearer = format!("Bearer {token}");
    gate.send(request(method, path, &[("Authorization", &bearer)], ""))
}

#[test]
fn err_006_010_an_operation_that_the_operator_wants_confirmed_says_so() {
    let (echo, gate) = start(CONFIRM);
    let key = &gate.setup.key;
    let confirmed = |ago| {
        Token::new().claim("evidence", evidence("urn:uuid:1", "button_click", ago, key)).sign(key)
    };
    for (line, token, check) in [
        ("DELETE /shop/any/1", gate.token(), "V9"),
        ("DELETE /shop/any/1", confirmed(301), "V6"),
        ("GET /shop/any/wire/1", gate.token(), "V9"),
        ("GET /shop/any/wire/1", confirmed(60), "V6"),
    ] {
        let response = call(&gate, line, &token);
        assert_eq!(
            (response.status, response.error().as_str()),
            (403, "insufficient_authorization")
        );
        let record = gate.decision(&response.decision_id());
        assert_eq!(
            (&record["reason"], &record["about"]),
            (&"confirmation_required".into(), &check.into()),
            "{line}"
        );
        let challenge = Challenge::of(&response);
        assert_eq!(challenge.decoded("policy_profile")["confirmation_required"], true);
        assert_eq!(response.json()["policy_profile"]["confirmation_required"], true);
        let remediation = challenge.decoded("authorization_remediation");
        let details = remediation["authorization_details"].as_array().unwrap();
        assert_eq!(details[0]["type"], "agent_operation");
        assert_eq!(details[1..], [json!({"type": "authorization_evidence"})]);
        // What it is called by is the hash of the canonical details.
        let reference = BASE64_URL_SAFE_NO_PAD.encode(sha256(&canonical(&json!(details))));
        assert_eq!(remediation["authorization_reference"], reference);
    }
    echo.assert_untouched("operations that nobody confirmed");
    for (line, token) in [
        ("DELETE /shop/any/1", confirmed(60)),
        ("GET /shop/any/wire/1", confirmed(5)),
        ("GET /shop/any/1", gate.token()),
    ] {
        assert_eq!(call(&gate, line, &token).status, 200, "{line}");
    }
    // What no grant covers is not cured by asking the person.
    let response = denied(&gate);
    let remediation = Challenge::of(&response).decoded("authorization_remediation");
    assert_eq!(remediation["authorization_details"].as_array().unwrap().len(), 1);
}

#[test]
fn err_006_the_status_is_a_switch_and_both_families_go_with_either() {
    for (status, configured) in [(403, ""), (401, "insufficient_authorization_status = 401")] {
        let echo = Echo::start();
        let mut setup = Setup::new(&echo);
        setup.resource = configured.to_owned();
        let response = denied(&setup.start());
        let challenge = Challenge::of(&response);
        assert_eq!(response.status, status);
        assert_eq!(challenge.get("error"), Some("insufficient_authorization"));
        let details =
            challenge.decoded("authorization_remediation")["authorization_details"].clone();
        assert_eq!(details[0]["locations"], json!([SHOP]));
        assert!(challenge.decoded("policy_profile")["auth_server"].is_string());
        assert!(challenge.get("rego_profile").is_none(), "nobody asked for it");
    }
}

#[test]
fn err_006_what_a_token_is_good_for_once_has_no_lasting_name() {
    let once = "\n[[resource.cap]]\nname = \"once\"\nper = [\"grant\"]\nactions = [\"read_order\"]\ncalls = 1\n";
    for (cap, has_name) in [("", true), (once, false), (&once.replace("= 1", "= 2"), true)] {
        let (_echo, gate) = start(cap);
        let remediation = Challenge::of(&denied(&gate)).decoded("authorization_remediation");
        assert_eq!(remediation.get("authorization_reference").is_some(), has_name, "{cap}");
        assert_eq!(remediation["authorization_details"][0]["type"], "agent_operation");
    }
}

#[test]
fn the_older_name_of_the_profile_is_said_where_the_operator_wants_it() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.operations += CONFIRM;
    setup.resource =
        "[resource.guidance]\nlegacy_rego_profile = true\nprofile_uri = \"https://tools.test/p\""
            .to_owned();
    let gate = setup.start();
    let denied = denied(&gate);
    let challenge = Challenge::of(&denied);
    assert_eq!(challenge.decoded("rego_profile"), challenge.decoded("policy_profile"));
    assert_eq!(denied.json()["rego_profile"], denied.json()["policy_profile"]);
    assert_eq!(challenge.decoded("rego_profile")["profile_uri"], "https://tools.test/p");
    let unconfirmed = call(&gate, "DELETE /shop/any/1", &gate.token());
    let challenge = Challenge::of(&unconfirmed);
    assert_eq!(challenge.decoded("rego_profile")["evidence_required"], true);
    assert!(challenge.decoded("policy_profile").get("evidence_required").is_none());
    let mut without = Setup::new(&echo);
    without.resource = "[resource.guidance]\nlegacy_rego_profile = true".to_owned();
    let (_, told) = without.check();
    assert!(told.contains("always has a `profile_uri`"), "{told}");
}

#[test]
fn err_008_what_no_token_can_cure_is_not_guided_and_an_operator_can_say_nothing_at_all() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.operations += "[[resource.deny]]\npath = \"/any/secret/**\"\n";
    setup.operations += CONFIRM;
    let gate = setup.start();
    let overlay = gate.get("/shop/any/secret/1", &gate.token());
    assert_eq!(gate.decision(&overlay.decision_id())["reason"], "overlay_denied");
    let mut silent = Setup::new(&echo);
    silent.operations += CONFIRM;
    silent.resource = "[resource.guidance]\nenabled = false".to_owned();
    let silent = silent.start();
    let unconfirmed = call(&silent, "DELETE /shop/any/1", &silent.token());
    assert_eq!(silent.decision(&unconfirmed.decision_id())["reason"], "confirmation_required");
    for response in [overlay, denied(&silent), unconfirmed] {
        assert_eq!(
            (response.status, response.error().as_str()),
            (403, "insufficient_authorization")
        );
        let text = response.everything();
        for word in ["profile", "authorization_remediation", "confirmation", "search_products"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }
    echo.assert_untouched("operations that are refused");
}

#[test]
fn err_009_what_is_too_large_is_left_out_in_the_stated_order() {
    let list = |length: usize| (0..length).map(|n| format!("v{n}")).collect::<Vec<_>>();
    let one = |length: usize, description: usize| json!({"amount": {"type": "string", "description": "d".repeat(description), "enum": list(length)}});
    let many = |count: usize| -> Value {
        let all = (0..count).map(|n| (format!("c{n}"), json!({"type": "string"})));
        all.collect::<Map<_, _>>().into()
    };
    // Left out one after the other: descriptions, long lists, the remediation, the constraints.
    for (constraints, is_twice, kept) in [
        (one(5, 10), false, [true, true, true, true]),
        (one(5, 2_000), false, [false, true, true, true]),
        (one(1_000, 10), false, [false, false, true, true]),
        (many(53), true, [false, false, false, true]),
        (many(200), false, [false, false, false, false]),
    ] {
        let echo = Echo::start();
        let mut setup = Setup::new(&echo);
        let members = constraints.as_object().unwrap().iter();
        let members = members.map(|(name, value)| format!("{name} = {}", toml_of(value)));
        let members = members.collect::<Vec<_>>().join(", ");
        setup.resource = format!(
            "[resource.guidance]\nprofile_uri = \"https://tools.test/p\"\nlegacy_rego_profile = {is_twice}\nconstraints = {{ {members} }}"
        );
        let response = denied(&setup.start());
        // The reader of challenges refuses more than 4 KiB, and what is not plain ASCII.
        let challenge = Challenge::of(&response);
        let profile = challenge.decoded("policy_profile");
        let amount = &profile["constraints"]["amount"];
        let found = [
            amount.get("description").is_some(),
            amount.get("enum").is_some(),
            challenge.get("authorization_remediation").is_some(),
            profile.get("constraints").is_some(),
        ];
        assert_eq!(found, kept, "{members}");
        assert!(profile["auth_server"].is_string());
        assert!(challenge.get("policy_profile").unwrap().len() <= 2_048);
    }
}

fn toml_of(value: &Value) -> String {
    let members = value.as_object().unwrap().iter();
    format!(
        "{{ {} }}",
        members.map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", ")
    )
}

#[test]
fn err_013_metadata_says_what_a_resource_takes_as_it_is_configured() {
    let echo = Echo::start();
    let document = |resource: &str| {
        let mut setup = Setup::new(&echo);
        setup.resource = resource.to_owned();
        setup.start().send(request("GET", METADATA, &[], "")).json()
    };
    let plain = document("");
    assert_eq!(
        plain["authorization_details_types_supported"],
        json!(["agent_operation", "authorization_evidence", "authorization_policy", "rego_policy"])
    );
    assert_eq!(plain["opgate_policy_languages_supported"], json!(["rego"]));
    assert_eq!(plain["dpop_bound_access_tokens_required"], false);
    let bound = document("proofs = [\"dpop\"]\ndpop_algorithms = [\"ES256\"]");
    assert_eq!(bound["dpop_bound_access_tokens_required"], true);
    assert_eq!(bound["dpop_signing_alg_values_supported"], json!(["ES256"]));
    assert_eq!(bound["tls_client_certificate_bound_access_tokens"], false);
}
