//! `opgate explain` and `opgate token inspect`: what a person is told of a token and of a decision.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::chain::{delegated, detached, evidence, sign};
use crate::support::issuer::now;
use crate::support::{Echo, Key, Setup, Token};

fn opgate(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_opgate"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap()
}

/// A configuration on disk, and a way to ask for an explanation in JSON.
fn explained(setup: &Setup, token: &str, more: &[&str]) -> (i32, Value) {
    setup.write("opgate.toml", &setup.text());
    let mut arguments = vec!["explain", "-c", "opgate.toml", "--json", "--token", token];
    arguments.extend(more);
    let output = opgate(setup.dir.path(), &arguments);
    let told = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), told)
}

fn verdict<'t>(told: &'t Value, check: &str) -> &'t str {
    let checks = told["checks"].as_array().unwrap();
    let found = checks.iter().find(|one| one["check"] == check);
    found.unwrap_or_else(|| panic!("no check {check} in {told}"))["verdict"].as_str().unwrap()
}

#[test]
fn explain_says_what_the_gate_says_and_the_one_input_to_change() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = r#"scopes = ["shop"]"#.to_owned();
    let scoped = Token::new().claim("scope", "shop").sign(&setup.key);
    let (code, told) = explained(&setup, &scoped, &["--request", "GET /shop/products/1"]);
    assert_eq!(
        (code, &told["decision"], &told["change"]),
        (0, &json!("allow"), &json!(null)),
        "{told}"
    );
    for (case, token, request, stopped, reason, change) in [
        (
            "no scope",
            Token::new(),
            "GET /shop/products/1",
            "scopes",
            "scope_missing",
            "it lacks `shop`",
        ),
        (
            "not granted",
            Token::new().claim("scope", "shop"),
            "GET /shop/orders/1",
            "grants",
            "no_applicable_grant",
            r#"{"action":"read_order"}"#,
        ),
        (
            "for another",
            Token::new().claim("aud", "https://x.test"),
            "GET https://tools.test/shop/products/1",
            "audience",
            "audience_mismatch",
            "must hold `https://tools.test/shop`",
        ),
        ("no path", Token::new(), "GET /other", "request", "no_route", "resources are at `/shop`"),
        ("method", Token::new(), "DELETE /shop/orders", "request", "method_not_allowed", "POST"),
    ] {
        let (code, told) = explained(&setup, &token.sign(&setup.key), &["--request", request]);
        assert_eq!((code, &told["reason"]), (1, &json!(reason)), "{case}: {told}");
        assert_eq!(verdict(&told, stopped), "refused", "{case}");
        assert!(told["change"].as_str().unwrap().contains(change), "{case}: {told}");
    }
    let (_, told) =
        explained(&setup, &Token::new().sign(&setup.key), &["--request", "GET /shop/products/1"]);
    assert_eq!(verdict(&told, "signature"), "passed");
    assert_eq!(verdict(&told, "grants"), "not reached");
    let revocations = setup.dir.path().join("audit/revocations");
    assert!(!revocations.exists(), "explaining makes no files");
    let text = opgate(
        setup.dir.path(),
        &["explain", "-c", "opgate.toml", "--token", &scoped, "--request", "GET /shop/products/1"],
    );
    assert!(String::from_utf8(text.stdout).unwrap().trim_end().ends_with("allowed"));
    let unusable =
        opgate(setup.dir.path(), &["explain", "-c", "opgate.toml", "--request", "/shop"]);
    assert_eq!(unusable.status.code(), Some(2));
}

#[test]
fn inspect_tells_through_whom_a_token_came_what_was_shown_and_what_it_is_bound_to() {
    let setup = Setup::new(&Echo::start());
    let stranger = Key::new("ES256", "k1");
    let mut token = delegated(2, &setup.key)
        .claim("sub", "alice")
        .claim("scope", "read")
        .claim("evidence", evidence("urn:uuid:1", "button_click", 60, &setup.key))
        .claim("cnf", json!({"jkt": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}))
        .claim("status", json!({"status_list": {"idx": 7, "uri": "https://as.test/list"}}));
    for (n, scope) in [(1, "read write"), (0, "read")] {
        let record = &mut token.payload["delegation_chain"][n];
        record["scope"] = json!(scope);
        record["root_evidence_ref"] = json!("urn:uuid:1");
        sign(record, &setup.key);
    }
    let inspect = |token: &str, more: &[&str]| {
        let output = opgate(setup.dir.path(), &[&["token", "inspect", token], more].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    let signed = token.clone().sign(&setup.key);
    let told = inspect(&signed, &[]);
    let way = "alice → wit://agents.test/0 → wit://agents.test/1 → wit://agents.test/2";
    for words in [way, "2 records, not verified, narrowed at 2", "Buy one book", "not verified)"] {
        assert!(told.contains(words), "{words} in\n{told}");
    }
    for words in ["a DPoP key (jkt kPrK_qmx", "place 7 of https://as.test/list"] {
        assert!(told.contains(words), "{words} in\n{told}");
    }
    assert!(!told.contains("a gate refuses it") && !told.contains("secret-at-the-end"), "{told}");

    let mut verifiable = token.clone();
    verifiable.payload.as_object_mut().unwrap().remove("status");
    let told = inspect(&verifiable.clone().sign(&setup.key), &["--jwks", "jwks.json"]);
    for words in ["2 of 2 records verified", "button_click", "good, by the signature)"] {
        assert!(told.contains(words), "{words} in\n{told}");
    }
    let mut naming = verifiable.clone().claim("evidence_ref", "urn:uuid:1");
    naming.payload.as_object_mut().unwrap().remove("evidence");
    let told = inspect(&naming.sign(&setup.key), &[]);
    assert!(told.contains("named only (urn:uuid:1)"), "{told}");
    // A record that a stranger signed is no record, whoever signed the token.
    let record = &mut verifiable.payload["delegation_chain"][1];
    record.as_object_mut().unwrap().remove("as_signature");
    record["as_signature"] = json!(detached(record, &stranger));
    let told = inspect(&verifiable.sign(&setup.key), &["--jwks", "jwks.json"]);
    assert!(
        told.contains("not verified") && told.contains("delegation_invalid D11 (not so: every"),
        "{told}"
    );
}

#[test]
fn inspect_says_what_the_configured_gate_would_say_of_a_token() {
    let mut setup = Setup::new(&Echo::start());
    setup.issuer = "delegation = {}\nmax_lifetime = \"15m\"\nallow_typ = [\"JWT\"]".to_owned();
    setup.write("opgate.toml", &setup.text());
    let inspect = |token: &Token| {
        let signed = token.clone().sign(&setup.key);
        let output = opgate(setup.dir.path(), &["token", "inspect", &signed, "-c", "opgate.toml"]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let good = delegated(1, &setup.key).claim("exp", now() + 300);
    let (code, told) = inspect(&good.clone().header("typ", "JWT"));
    assert_eq!(code, Some(0), "{told}");
    for words in ["good: verified", "1 of 1 records verified"] {
        assert!(told.contains(words), "{words} in\n{told}");
    }
    assert!(!told.contains("a gate refuses it"), "{told}");
    for (token, words) in [
        (good.clone().claim("aud", "https://other.test"), "audience_mismatch aud"),
        (good.clone().without("aud"), "audience_mismatch aud"),
        (good.clone().claim("iss", "https://other.test"), "issuer_unknown iss"),
        (good.clone().claim("exp", now() + 1_000), "lifetime_too_long"),
        (good.clone().header("kid", "k2"), "key_unknown kid"),
        (
            good.claim("status", json!({"status_list": {"idx": 7, "uri": "https://as.test/l"}})),
            "status_unavailable",
        ),
    ] {
        let (code, told) = inspect(&token);
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains("not verified") && told.contains(words), "{words} in\n{told}");
    }
    let both = ["token", "inspect", "a.b.c", "-c", "opgate.toml", "--jwks", "jwks.json"];
    assert_eq!(opgate(setup.dir.path(), &both).status.code(), Some(2));
}

#[test]
fn explain_shows_no_check_as_passed_that_was_not_made() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.issuer = "agent_identity_issuers = [\"https://idp.test\"]".to_owned();
    let expired = || Token::new().claim("exp", now() - 600).claim("iat", now() - 700);
    let request = &["--request", "GET /shop/products/1"];
    let identity = |expires: &str, issuer: &str| json!({"id": "x", "issuer": issuer, "issued_to": "user-1", "expires": expires});
    for (case, token, stopped) in [
        ("cnf", expired().claim("cnf", json!({"jkt": 7})), "claims"),
        ("status", expired().claim("status", json!(7)), "claims"),
        ("agent identity", expired().claim("agent_identity", json!({"id": 7})), "claims"),
        (
            "a date of one of a stranger",
            expired().claim("agent_identity", identity("soon", "https://other.test")),
            "claims",
        ),
        ("unknown cnf", expired().claim("cnf", json!({"x5u": "x"})), "dates"),
        (
            "a stranger's",
            expired()
                .claim("agent_identity", identity("2099-01-01T00:00:00Z", "https://other.test")),
            "dates",
        ),
        ("only expired", expired(), "dates"),
    ] {
        let (_, told) = explained(&setup, &token.sign(&setup.key), request);
        assert_eq!(verdict(&told, stopped), "refused", "{case}: {told}");
        let expected = if stopped == "dates" { "passed" } else { "refused" };
        assert_eq!(verdict(&told, "claims"), expected, "{case}");
        assert_eq!(verdict(&told, "conditions"), "not reached", "{case}");
    }
}
