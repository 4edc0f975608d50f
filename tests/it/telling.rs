//! `opgate explain` and `opgate token inspect`: what a person is told of a token and of a decision.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::{Echo, Setup, Token};

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
