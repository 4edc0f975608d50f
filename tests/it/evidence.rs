//! Evidence over real sockets (`evidence.md`): what is wrong makes the token wrong, what is lacking can
//! be cured by asking the person again.

use serde_json::{Value, json};

use crate::support::chain::{
    CONTENT, delegated, detached, evidence, record, sign, signed_evidence,
};
use crate::support::challenge::Challenge;
use crate::support::gate::ISSUER;
use crate::support::issuer::now;
use crate::support::{Echo, Gate, Key, Response, Setup, Token, eventually};

const TARGET: &str = "/shop/products/42";
const ID: &str = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";

fn start(resource: &str) -> (Echo, Gate) {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = resource.to_owned();
    let gate = setup.start();
    (echo, gate)
}

fn ask(gate: &Gate, token: &Token) -> Response {
    gate.get(TARGET, &token.sign(&gate.setup.key))
}

/// The evidence as `authorization_details` carry it.
fn in_details(evidence: &Value) -> Token {
    let mut token = Token::new();
    let detail = json!({"type": "authorization_evidence", "evidence": evidence});
    token.payload["authorization_details"].as_array_mut().unwrap().push(detail);
    token
}

fn refused(gate: &Gate, echo: &Echo, case: &str, token: &Token) -> Value {
    let before = echo.bytes();
    let response = ask(gate, token);
    assert_eq!((response.status, response.error()), (401, "invalid_token".into()), "{case}");
    assert_eq!(echo.bytes(), before, "{case}: the upstream received something");
    let record = gate.decision(&response.decision_id());
    assert_eq!(record["reason"], "evidence_invalid", "{case}");
    record["about"].clone()
}

#[test]
fn evi_001_002_003_evidence_that_is_there_must_be_right() {
    let (echo, gate) = start("");
    let key = &gate.setup.key;
    let good = evidence(ID, "button_click", 5, key);
    assert_eq!(ask(&gate, &Token::new().claim("evidence", good.clone())).status, 200);
    let change = |edit: &dyn Fn(&mut Value)| {
        let mut changed = good.clone();
        edit(&mut changed);
        Token::new().claim("evidence", changed)
    };
    // R-EVI-002: what stands beside the confirmation is not signed, what stands in it is.
    let beside = change(&|e| e["audit_trail"] = json!({"semantic_expansion_level": "low"}));
    assert_eq!(ask(&gate, &beside).status, 200);
    let later = |ahead: i64| evidence(ID, "button_click", -ahead, key);
    for (case, token, check) in [
        ("content", change(&|e| e["user_confirmation"]["displayed_content"] = json!("x")), "V2"),
        ("action", change(&|e| e["user_confirmation"]["user_action"] = json!("x")), "V2"),
        ("another id", change(&|e| e["id"] = json!("urn:uuid:2")), "V2"),
        ("a member within", change(&|e| e["user_confirmation"]["version"] = json!("1")), "V2"),
        (
            "no signature",
            change(&|e| drop(e.as_object_mut().unwrap().remove("as_signature"))),
            "V1",
        ),
        ("no id", change(&|e| drop(e.as_object_mut().unwrap().remove("id"))), "V1"),
        ("a number", change(&|e| e["user_confirmation"]["user_action"] = json!(7)), "V1"),
        ("a list", Token::new().claim("evidence", json!([])), "V1"),
        (
            "a stranger",
            Token::new().claim("evidence", evidence(ID, "x", 5, &Key::new("ES256", "k1"))),
            "V2",
        ),
        ("after the token", Token::new().claim("evidence", later(60)), "V3"),
    ] {
        assert_eq!(refused(&gate, &echo, case, &token), check, "{case}");
    }
}

#[test]
fn evi_005_both_places_are_read_and_must_agree() {
    let (echo, gate) = start("evidence = \"required\"");
    let key = &gate.setup.key;
    let good = evidence(ID, "button_click", 5, key);
    let other = evidence("urn:uuid:2", "button_click", 5, key);
    let mut forged = good.clone();
    forged["user_confirmation"]["user_action"] = json!("hardware_key");
    assert_eq!(ask(&gate, &in_details(&good)).status, 200);
    assert_eq!(ask(&gate, &Token::new().claim("evidence", good.clone())).status, 200);
    assert_eq!(ask(&gate, &in_details(&good).claim("evidence", good.clone())).status, 200);
    let two = in_details(&good).claim("evidence", other);
    assert_eq!(refused(&gate, &echo, "two confirmations", &two), "V1");
    let half = in_details(&good).claim("evidence", forged);
    assert_eq!(refused(&gate, &echo, "one of two is forged", &half), "V2");
}

#[test]
fn evi_004_err_010_what_a_new_consent_would_cure_is_told_so() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = "evidence = \"required\"\nevidence_max_age = \"1m\"".to_owned();
    setup.operations = setup.operations.replacen(
        "path = \"/any/**\"",
        "path = \"/any/**\"\nuser_actions = [\"hardware_key\"]",
        1,
    );
    let gate = setup.start();
    let key = &gate.setup.key;
    let with = |action: &str, ago: i64| {
        Token::new().claim("evidence", evidence(ID, action, ago, key)).sign(key)
    };
    for (case, target, token, check) in [
        ("none", TARGET, gate.token(), "V9"),
        ("stale", TARGET, with("button_click", 62), "V6"),
        ("implied", TARGET, with("implicit_consent", 5), "V7"),
        ("too weak here", "/shop/any/1", with("button_click", 5), "V7"),
    ] {
        let response = gate.get(target, &token);
        assert_eq!(response.status, 403, "{case}");
        assert_eq!(response.error(), "insufficient_authorization", "{case}");
        let profile = Challenge::of(&response).decoded("policy_profile");
        assert_eq!(profile["confirmation_required"], true, "{case}");
        let record = gate.decision(&response.decision_id());
        assert_eq!(
            (&record["reason"], &record["about"]),
            (&json!("confirmation_required"), &json!(check))
        );
    }
    echo.assert_untouched("confirmation");
    assert_eq!(gate.get(TARGET, &with("button_click", 5)).status, 200);
    assert_eq!(gate.get("/shop/any/1", &with("hardware_key", 5)).status, 200);
    // What is not granted is not cured by asking the person again for the same.
    let denied = gate.get("/shop/orders/1", &gate.token());
    let profile = Challenge::of(&denied).decoded("policy_profile");
    assert!(profile.get("confirmation_required").is_none());
}

#[test]
fn evi_006_the_record_of_the_later_draft_is_taken_on_the_tokens_signature() {
    let (echo, gate) = start("evidence = \"required\"");
    let key = &gate.setup.key;
    let confirmation =
        json!({"displayed_content": "x", "user_action": "button_click", "timestamp": now() - 5});
    let bare = json!({"user_confirmation_record": confirmation});
    assert_eq!(ask(&gate, &Token::new().claim("evidence", bare.clone())).status, 200);
    assert_eq!(gate.decisions().pop().unwrap()["evidence"]["verified"], "token");
    let mut alone = bare.clone();
    alone["as_signature"] = json!(detached(&confirmation, key));
    let mut whole = json!({"id": ID, "user_confirmation_record": confirmation});
    whole["as_signature"] = json!(detached(&whole, key));
    for signed in [alone, whole] {
        assert_eq!(ask(&gate, &Token::new().claim("evidence", signed)).status, 200);
        assert_eq!(gate.decisions().pop().unwrap()["evidence"]["verified"], "signature");
    }
    let mut wrong = bare;
    wrong["as_signature"] = json!(detached(&json!({}), key));
    let wrong = Token::new().claim("evidence", wrong);
    assert_eq!(refused(&gate, &echo, "a wrong signature", &wrong), "V2");
}

#[test]
fn evi_007_evidence_of_another_person_client_or_policy_is_refused() {
    let (echo, gate) = start("");
    let key = &gate.setup.key;
    let with = |name: &str, value: &str| {
        let mut confirmation = json!({"displayed_content": "x", "user_action": "button_click", "timestamp": now() - 5});
        confirmation[name] = json!(value);
        Token::new().claim("evidence", signed_evidence(ID, &confirmation, key))
    };
    for (name, right, wrong) in
        [("subject", "user-1", "user-2"), ("client_id", "agent-1", "agent-2")]
    {
        assert_eq!(ask(&gate, &with(name, right)).status, 200, "{name}");
        assert_eq!(refused(&gate, &echo, name, &with(name, wrong)), "V5");
    }
    // SHA-256 of `abc`, which no policy of the token is; then the digest of the one that it carries.
    let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let bound = with("policy_digest", abc);
    assert_eq!(refused(&gate, &echo, "no such policy", &bound), "V5");
    let mut carrying = bound;
    let policy = json!({"type": "authorization_policy", "locations": ["https://elsewhere.test"],
        "policy": {"language": "rego", "content": "abc"}});
    carrying.payload["authorization_details"].as_array_mut().unwrap().push(policy);
    assert_eq!(ask(&gate, &carrying).status, 200);
    carrying.payload["authorization_details"][1]["policy"]["content"] = json!("abd");
    assert_eq!(refused(&gate, &echo, "the policy was changed", &carrying), "V5");
}

#[test]
fn evi_008_010_a_prompt_is_no_consent_and_stands_nowhere() {
    let (echo, gate) = start("evidence = \"required\"");
    let prompt =
        json!({"source_prompt_credential": "eyJhbGciOiJSUzI1NiJ9.c2VjcmV0LXByb21wdA.AAAA"});
    let response = ask(&gate, &Token::new().claim("evidence", prompt.clone()));
    assert_eq!(response.status, 403);
    assert_eq!(gate.decision(&response.decision_id())["about"], "V9");
    echo.assert_untouched("a prompt alone");
    let key = &gate.setup.key;
    let mut both = evidence(ID, "button_click", 5, key);
    both["source_prompt_credential"] = prompt["source_prompt_credential"].clone();
    let mut token = Token::new().claim("evidence", both);
    token.payload["audit_trail"] = json!({"original_prompt_text": "secret-prompt-text"});
    assert_eq!(ask(&gate, &token).status, 200);
    let arrived = String::from_utf8_lossy(&echo.bytes()).into_owned();
    for text in [gate.listing(), arrived, gate.stderr()] {
        for secret in ["c2VjcmV0LXByb21wdA", "secret-prompt", "secret-at-the-end"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[test]
fn evi_011_the_record_tells_what_was_shown_and_done() {
    let (_echo, gate) = start("");
    let key = &gate.setup.key;
    assert_eq!(ask(&gate, &in_details(&evidence(ID, "pin_entry", 5, key))).status, 200);
    let record = gate.decisions().pop().unwrap();
    let evidence = &record["evidence"];
    assert_eq!((&evidence["id"], &evidence["user_action"]), (&json!(ID), &json!("pin_entry")));
    assert_eq!(evidence["verified"], "signature");
    assert!((now() - 20..=now()).contains(&evidence["confirmed_at"].as_i64().unwrap()));
    let shown: String = CONTENT.chars().take(200).collect();
    assert_eq!(evidence["displayed_summary"], shown);
    assert_eq!(evidence["displayed_sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn evidence_can_be_ignored_and_that_opens_nothing_elsewhere() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.operations = setup.operations.replacen(
        "path = \"/products/**\"",
        "path = \"/products/**\"\nevidence = \"ignore\"",
        1,
    );
    let gate = setup.start();
    let key = &gate.setup.key;
    let mut forged = evidence(ID, "button_click", 5, key);
    forged["user_confirmation"]["user_action"] = json!("hardware_key");
    let token = Token::new().claim("evidence", forged).sign(key);
    assert_eq!(gate.get(TARGET, &token).status, 200);
    assert_eq!(gate.get("/shop/any/1", &token).status, 401);
    assert_eq!(gate.get(TARGET, &token).status, 200);
    let record = gate.decisions().pop().unwrap();
    assert!(
        record.get("evidence").is_none(),
        "what was not verified is not recorded as if it were"
    );
}

#[test]
fn del_017_evidence_anchors_the_chain() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.issuer = "max_lifetime = \"15m\"\ndelegation = {}".to_owned();
    setup.resource = "allow_bearer_delegation = true".to_owned();
    let gate = setup.start();
    let key = &gate.setup.key;
    let with = |anchor: Option<&str>| {
        let mut hop = record(0, ISSUER, key);
        if let Some(anchor) = anchor {
            hop["root_evidence_ref"] = json!(anchor);
        }
        sign(&mut hop, key);
        let token = delegated(1, key).claim("delegation_chain", json!([hop]));
        ask(&gate, &token.claim("evidence", evidence(ID, "button_click", 60, key)))
    };
    assert_eq!(with(Some(ID)).status, 200);
    assert_eq!(gate.decisions().pop().unwrap()["delegation"]["root_evidence"], ID);
    for anchor in [Some("urn:uuid:2"), None] {
        let response = with(anchor);
        assert_eq!((response.status, response.error()), (401, "invalid_delegation_chain".into()));
        assert_eq!(gate.decision(&response.decision_id())["about"], "D15");
    }
}

/// A token with this evidence, for a person and a client.
fn used_by(evidence: &Value, person: &str, client: &str) -> Token {
    Token::new().claim("evidence", evidence.clone()).claim("sub", person).claim("client_id", client)
}

#[test]
fn evi_007_v8_evidence_that_comes_again_for_somebody_else_is_refused_or_said() {
    for mode in ["refuse", "record"] {
        let (echo, mut gate) = start(&format!("evidence_reuse = \"{mode}\""));
        let shown = evidence(ID, "button_click", 5, &gate.setup.key);
        let first = used_by(&shown, "user-1", "agent-1");
        let refreshed = first.clone().claim("jti", "refreshed").claim("exp", now() + 200);
        for token in [&first, &refreshed, &first] {
            assert_eq!(ask(&gate, token).status, 200, "{mode}");
            assert!(gate.decisions().pop().unwrap().get("alert").is_none());
        }
        let mut wider = first.clone();
        let operation = json!({"action": "read_order"});
        wider.payload["authorization_details"][0]["operations"][3] = operation;
        let other = evidence("urn:uuid:2", "button_click", 5, &gate.setup.key);
        // An earlier process has seen what its log says.
        for restarted in [false, true] {
            if restarted {
                gate.restart_after_kill();
            }
            for (case, token) in [
                ("another person", used_by(&shown, "user-2", "agent-1")),
                ("another client", used_by(&shown, "user-1", "agent-2")),
                ("another grant", wider.clone()),
            ] {
                if mode == "refuse" {
                    assert_eq!(refused(&gate, &echo, case, &token), "V8", "{case} {restarted}");
                } else {
                    assert_eq!(ask(&gate, &token).status, 200, "{case}");
                    let record = gate.decisions().pop().unwrap();
                    assert_eq!(record["alert"], "evidence_reused", "{case} {restarted}");
                }
            }
            assert_eq!(ask(&gate, &first).status, 200, "{mode} {restarted}");
            assert!(gate.decisions().pop().unwrap().get("alert").is_none());
        }
        assert_eq!(ask(&gate, &used_by(&other, "user-2", "agent-2")).status, 200);
        let log = gate.listing();
        assert!(
            !log.contains("user-1") && !log.contains("user-2"),
            "persons are known by tags only"
        );
    }
}

#[test]
fn evi_007_v8_what_was_delegated_must_agree_in_the_person_alone() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.issuer = "max_lifetime = \"15m\"\ndelegation = {}".to_owned();
    setup.resource = "allow_bearer_delegation = true\nevidence_reuse = \"refuse\"".to_owned();
    let gate = setup.start();
    let key = &gate.setup.key;
    let shown = evidence(ID, "button_click", 60, key);
    let delegated_for = |person: &str| {
        let mut hop = record(0, ISSUER, key);
        hop["root_evidence_ref"] = json!(ID);
        sign(&mut hop, key);
        let token = delegated(1, key).claim("delegation_chain", json!([hop]));
        token.claim("evidence", shown.clone()).claim("sub", person).claim("client_id", "agent-9")
    };
    assert_eq!(ask(&gate, &used_by(&shown, "user-1", "agent-1")).status, 200);
    assert_eq!(ask(&gate, &delegated_for("user-1")).status, 200);
    assert_eq!(refused(&gate, &echo, "moved to another person", &delegated_for("user-2")), "V8");
    assert_eq!(ask(&gate, &used_by(&shown, "user-1", "agent-1")).status, 200);
}

#[test]
fn evi_007_v8_of_many_people_at_once_exactly_one_is_the_first() {
    let (_echo, gate) = start("evidence_reuse = \"refuse\"");
    let shown = evidence(ID, "button_click", 5, &gate.setup.key);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = |n: usize| ask(&gate, &used_by(&shown, &format!("user-{n}"), "agent-1")).status;
        let calls: Vec<_> = (0..16).map(|n| scope.spawn(move || ask(n))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 401)), "{statuses:?}");
}

/// Evidence with its own id for a person, and what the gate makes of it.
fn bound(gate: &Gate, id: &str, person: &str) -> Response {
    let shown = evidence(id, "button_click", 5, &gate.setup.key);
    ask(gate, &used_by(&shown, person, "agent-1"))
}

#[test]
fn evi_007_v8_no_crash_of_a_batched_log_makes_evidence_new_again() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = "evidence_reuse = \"refuse\"".to_owned();
    setup.audit = "durability = \"batch\"\ninterval = \"100ms\"".to_owned();
    let mut gate = setup.start();
    for round in 0..4 {
        let id = format!("urn:uuid:{round}");
        assert_eq!(bound(&gate, &id, "user-1").status, 200);
        // At once: what is only queued is lost.
        gate.restart_after_kill();
        let record = gate.decisions().pop().unwrap();
        assert_eq!(record["durability"], "sync", "the first use waits for the disk: {record}");
        assert_eq!(bound(&gate, &id, "user-2").status, 401, "{round}");
        assert_eq!(bound(&gate, &id, "user-1").status, 200, "{round}");
    }
    eventually("a later use in the log", || {
        let record = gate.decisions().pop().unwrap();
        (record["decision"] == "allow" && record["durability"] == "batched").then_some(())
    });
}

#[test]
fn evi_007_v8_where_nothing_more_can_be_remembered_the_call_is_refused_or_that_is_said() {
    for mode in ["refuse", "record"] {
        let echo = Echo::start();
        let mut setup = Setup::new(&echo);
        setup.resource = format!("evidence_reuse = \"{mode}\"");
        setup.limits = "evidence = 1".to_owned();
        let gate = setup.start();
        assert_eq!(bound(&gate, "urn:uuid:1", "user-1").status, 200);
        let before = echo.bytes();
        let response = bound(&gate, "urn:uuid:2", "user-1");
        let record = gate.decision(&response.decision_id());
        if mode == "refuse" {
            assert_eq!(response.status, 503);
            assert_eq!(
                (&record["reason"], &record["about"]),
                (&json!("first_use_unknown"), &json!("full"))
            );
            assert_eq!(echo.bytes(), before);
        } else {
            assert_eq!(response.status, 200);
            assert_eq!(record["alert"], "evidence_unremembered");
            assert!(record.get("bond").is_none(), "{record}");
        }
        let response = bound(&gate, "urn:uuid:1", "user-1");
        assert_eq!(response.status, 200, "what is remembered goes on");
        assert!(gate.decision(&response.decision_id()).get("alert").is_none());
    }
}

#[test]
fn evi_007_v8_a_call_that_looks_at_no_evidence_binds_none_before_a_restart_or_after() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = "evidence_reuse = \"refuse\"".to_owned();
    setup.operations = setup.operations.replacen(
        "path = \"/any/**\"",
        "path = \"/any/**\"\nevidence = \"ignore\"",
        1,
    );
    let mut gate = setup.start();
    let shown = evidence(ID, "button_click", 5, &gate.setup.key);
    let stolen = used_by(&shown, "user-2", "agent-1").sign(&gate.setup.key);
    assert_eq!(gate.get("/shop/any/1", &stolen).status, 200, "evidence is ignored here");
    gate.restart_after_kill();
    assert_eq!(bound(&gate, ID, "user-1").status, 200, "whose evidence it is");
    assert_eq!(gate.get(TARGET, &stolen).status, 401);
}
