//! Evidence that a token only names (form E5): its issuer, asked of the token, tells the rest, which is
//! then verified like any other evidence.

use serde_json::{Value, json};

use crate::introspection::{ENDPOINT, active, cut, open_stream, setup, start_streaming};
use crate::support::chain::{delegated, evidence, record, sign, signed_evidence};
use crate::support::gate::ISSUER;
use crate::support::issuer::now;
use crate::support::served::Served;
use crate::support::{Echo, Gate, Key, Response, Setup, Token};

const TARGET: &str = "/shop/products/42";
const ID: &str = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";

/// A gate that demands evidence everywhere but at `/any`, and the server that it may ask.
fn start(edit: impl FnOnce(&mut Setup)) -> (Echo, Served, Gate) {
    let (echo, server) = (Echo::start(), Served::start());
    let mut setup = setup(&echo, &server, "cache = \"0s\"");
    setup.resource = "evidence = \"required\"\nallow_bearer_delegation = true".to_owned();
    setup.issuer = setup.issuer.replacen("[issuer", "delegation = {}\n[issuer", 1);
    setup.operations = setup.operations.replacen(
        "path = \"/any/**\"",
        "path = \"/any/**\"\nevidence = \"verify_if_present\"",
        1,
    );
    edit(&mut setup);
    let gate = setup.start();
    (echo, server, gate)
}

fn naming(id: &str) -> Token {
    Token::new().claim("evidence_ref", id)
}

/// What the issuer says of an active token with this evidence, and no more.
fn tell(server: &Served, evidence: &Value) {
    server.serve(ENDPOINT, json!({"active": true, "evidence": evidence}).to_string());
}

fn ask(gate: &Gate, token: &Token) -> Response {
    gate.get(TARGET, &token.sign(&gate.setup.key))
}

/// Refused with this status, and the record says why; the upstream receives nothing.
fn refused(
    gate: &Gate,
    echo: &Echo,
    case: &str,
    token: &Token,
    (status, reason, about): (u16, &str, &str),
) {
    let before = echo.bytes();
    let response = ask(gate, token);
    assert_eq!(response.status, status, "{case}: {}", response.everything());
    assert_eq!(echo.bytes(), before, "{case}: the upstream received something");
    let record = gate.decision(&response.decision_id());
    assert_eq!(record["reason"], reason, "{case}: {record}");
    assert_eq!(record["about"], about, "{case}: {record}");
}

const LACKING: (u16, &str, &str) = (403, "confirmation_required", "V9");

#[test]
fn evi_012_evidence_that_a_token_names_is_what_its_issuer_tells() {
    let (echo, server, gate) = start(|_| {});
    let key = &gate.setup.key;
    tell(&server, &evidence(ID, "button_click", 5, key));
    let mut hop = record(0, ISSUER, key);
    hop["root_evidence_ref"] = json!(ID);
    sign(&mut hop, key);
    for (case, token) in [
        ("a claim", naming(ID)),
        ("a trail", Token::new().claim("audit_trail", json!({"evidence_ref": ID}))),
        (
            "a trail as drafts print it",
            Token::new().claim("auditTrail", json!({"evidence_ref": ID})),
        ),
        ("a chain", delegated(1, key).claim("delegation_chain", json!([hop]))),
    ] {
        let response = ask(&gate, &token);
        assert_eq!(response.status, 200, "{case}: {}", response.everything());
        let record = gate.decision(&response.decision_id());
        assert_eq!(record["evidence"]["id"], ID, "{case}: {record}");
        assert_eq!(record["evidence"]["verified"], "signature", "{case}");
        assert!(record["bond"]["evidence"].is_string(), "{case}: {record}");
    }
    // The entry of `authorization_details` is another place for it.
    let detail = json!({"type": "authorization_evidence",
        "evidence": evidence(ID, "button_click", 5, key)});
    server.serve(ENDPOINT, json!({"active": true, "authorization_details": [detail]}).to_string());
    assert_eq!(ask(&gate, &naming(ID)).status, 200);
    // Nobody is asked who needs not be.
    let asked = server.asked(ENDPOINT).len();
    assert_eq!(gate.get("/shop/any/1", &naming(ID).sign(key)).status, 200);
    let own = naming("urn:uuid:2").claim("evidence", evidence(ID, "button_click", 5, key));
    assert_eq!(ask(&gate, &own).status, 200, "evidence of its own suffices");
    refused(&gate, &echo, "nothing is named", &Token::new(), LACKING);
    assert_eq!(server.asked(ENDPOINT).len(), asked);
    let two = naming(ID).claim("audit_trail", json!({"evidence_ref": "urn:uuid:2"}));
    refused(&gate, &echo, "two are named", &two, (401, "evidence_invalid", "V1"));
}

#[test]
fn evi_012_what_is_told_is_verified_like_any_other_evidence() {
    let (echo, server, gate) = start(|setup| setup.resource += "\nevidence_max_age = \"1m\"");
    let key = &gate.setup.key;
    let good = evidence(ID, "button_click", 5, key);
    let changed = |edit: &dyn Fn(&mut Value)| {
        let mut changed = good.clone();
        edit(&mut changed);
        changed
    };
    let signed = |name: &str, value: &str| {
        let mut confirmation = json!({"displayed_content": "x", "user_action": "button_click",
            "timestamp": now() - 5});
        confirmation[name] = json!(value);
        signed_evidence(ID, &confirmation, key)
    };
    let record = json!({"id": ID, "user_confirmation_record": good["user_confirmation"]});
    let invalid = |about| (401, "evidence_invalid", about);
    for (case, told, expected) in [
        ("no object", json!("x"), invalid("V1")),
        (
            "no signature",
            changed(&|e| drop(e.as_object_mut().unwrap().remove("as_signature"))),
            invalid("V1"),
        ),
        (
            "other words",
            changed(&|e| e["user_confirmation"]["displayed_content"] = json!("x")),
            invalid("V2"),
        ),
        ("a stranger", evidence(ID, "button_click", 5, &Key::new("ES256", "k1")), invalid("V2")),
        ("a record that nobody signed", record, invalid("V2")),
        ("after the token", evidence(ID, "button_click", -60, key), invalid("V3")),
        ("another person", signed("subject", "user-2"), invalid("V5")),
        ("another client", signed("client_id", "agent-2"), invalid("V5")),
        ("other evidence", evidence("urn:uuid:2", "button_click", 5, key), invalid("V1")),
        ("long ago", evidence(ID, "button_click", 62, key), (403, "confirmation_required", "V6")),
        ("implied", evidence(ID, "implicit_consent", 5, key), (403, "confirmation_required", "V7")),
        ("a prompt", json!({"source_prompt_credential": "a.b.c"}), LACKING),
    ] {
        tell(&server, &told);
        refused(&gate, &echo, case, &naming(ID), expected);
    }
    echo.assert_untouched("what was told");
    tell(&server, &good);
    assert_eq!(ask(&gate, &naming(ID)).status, 200, "no refusal is remembered");
}

#[test]
fn evi_012_an_answer_of_another_token_or_none_tells_nothing() {
    let (echo, server, gate) = start(|_| {});
    let good = evidence(ID, "button_click", 5, &gate.setup.key);
    let inactive = (401, "token_inactive", "");
    for (case, answer, (status, reason, about)) in [
        ("no evidence", json!({"active": true}), LACKING),
        ("a name again", json!({"active": true, "evidence_ref": ID}), LACKING),
        ("not active", json!({"active": false, "evidence": good}), inactive),
        ("another token", json!({"active": true, "jti": "x", "evidence": good}), inactive),
        ("another subject", json!({"active": true, "sub": "user-2", "evidence": good}), inactive),
    ] {
        server.serve(ENDPOINT, answer.to_string());
        let before = echo.bytes();
        let response = ask(&gate, &naming(ID));
        assert_eq!(response.status, status, "{case}: {}", response.everything());
        let record = gate.decision(&response.decision_id());
        assert_eq!(record["reason"], reason, "{case}");
        assert_eq!(record["about"].as_str().unwrap_or_default(), about, "{case}");
        assert_eq!(echo.bytes(), before, "{case}");
    }
    server.fail(ENDPOINT);
    let down = (503, "introspection_unavailable", "introspection");
    refused(&gate, &echo, "the issuer is down", &naming(ID), down);
    echo.assert_untouched("what was told");
    tell(&server, &good);
    assert_eq!(ask(&gate, &naming(ID)).status, 200, "no refusal is remembered");
}

#[test]
fn evi_012_where_the_issuer_cannot_be_asked_a_name_is_no_evidence() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = "evidence = \"required\"".to_owned();
    let gate = setup.start();
    refused(&gate, &echo, "only a name", &naming(ID), LACKING);
    echo.assert_untouched("only a name");
}

#[test]
fn evi_013_withdrawn_evidence_is_refused_by_the_name_that_a_token_gives_it() {
    let (echo, server, gate) = start(|_| {});
    tell(&server, &evidence(ID, "button_click", 5, &gate.setup.key));
    assert_eq!(ask(&gate, &naming(ID)).status, 200);
    let withdrawn = json!({"evidence_id": ID});
    assert_eq!(gate.admin_json("POST", "/revocations", &withdrawn).status, 201);
    refused(&gate, &echo, "withdrawn", &naming(ID), (401, "token_revoked", "evidence_id"));
    let response = gate.get("/shop/any/1", &naming(ID).sign(&gate.setup.key));
    assert_eq!(response.status, 401, "nor where no evidence is demanded");
}

#[test]
fn evi_007_v8_evidence_that_was_told_stays_with_whom_it_was_first_told_for() {
    let (echo, server, mut gate) = start(|setup| setup.resource += "\nevidence_reuse = \"refuse\"");
    tell(&server, &evidence(ID, "button_click", 5, &gate.setup.key));
    assert_eq!(ask(&gate, &naming(ID)).status, 200);
    let stolen = naming(ID).claim("sub", "user-2");
    let own = Token::new()
        .claim("sub", "user-2")
        .claim("evidence", evidence(ID, "button_click", 5, &gate.setup.key));
    for restarted in [false, true] {
        if restarted {
            gate.restart_after_kill();
        }
        for (case, token) in [("named", &stolen), ("carried", &own)] {
            let case = format!("{case} {restarted}");
            refused(&gate, &echo, &case, token, (401, "evidence_invalid", "V8"));
        }
        assert_eq!(ask(&gate, &naming(ID)).status, 200);
    }
}

#[test]
fn ver_030_a_stream_that_rests_on_evidence_that_was_told_ends_with_its_token() {
    let lines = "cache = \"1s\"";
    let (_echo, server, gate) = start_streaming(lines, "\nevidence = \"required\"");
    let mut answer = active();
    answer["evidence"] = evidence(ID, "button_click", 5, &gate.setup.key);
    server.serve(ENDPOINT, answer.to_string());
    let stream = open_stream(&gate, &naming(ID).sign(&gate.setup.key));
    server.serve(ENDPOINT, r#"{"active":false}"#);
    assert_eq!(cut(&gate, stream).0, "token_inactive");
}
