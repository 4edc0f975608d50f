//! Every grant and every policy in `policies/` allows and refuses what it says it does.

use std::fs;
use std::process::Command;

use http::Method;
use opgate::model::operation::Operation;
use opgate::token::details::{self, Rule};
use serde_json::{Map, Value};

#[test]
fn every_sample_allows_and_refuses_what_it_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/agent_operation");
    let mut samples = 0;
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let sample: Map<String, Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let calls = sample["calls"].as_array().unwrap();
        assert!(calls.iter().any(|call| call["allowed"] == true), "{}", path.display());
        assert!(calls.iter().any(|call| call["allowed"] == false), "{}", path.display());
        for call in calls {
            assert_eq!(is_allowed(&sample, call), call["allowed"], "{}: {call}", path.display());
        }
        samples += 1;
    }
    assert!(samples >= 4);
}

fn is_allowed(sample: &Map<String, Value>, call: &Value) -> bool {
    let method = Method::from_bytes(call["method"].as_str().unwrap().as_bytes()).unwrap();
    let operation = Operation::bare(
        call["action"].as_str().unwrap(),
        &method,
        call["path"].as_str().unwrap(),
        "https://tools.example.com/shop",
    );
    details::read(sample).unwrap().iter().any(|entry| {
        let Rule::Operations(allowed) = &entry.rule else { return false };
        entry.bounds.hold(&operation) && allowed.iter().any(|one| one.covers(&operation))
    })
}

fn opgate(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_opgate"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), serde_json::from_str(&text).unwrap_or(Value::from(text)))
}

#[test]
fn every_sample_passes_its_cases_and_no_line_goes_untested() {
    let (code, answer) = opgate(&["policy", "test", "--covered", "--json", "policies"]);
    assert_eq!(code, Some(0), "{answer:#}");
    assert!(answer["policies"].as_array().unwrap().len() >= 10, "{answer:#}");
    let (code, answer) = opgate(&["policy", "check", "--strict", "--json", "policies"]);
    assert_eq!(code, Some(0), "{answer:#}");
}

#[test]
fn a_case_that_fails_shows_input_expectation_and_trace() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("limit.rego");
    fs::write(&policy, "package a\ndefault allow := false\nallow if {\n  input.action == \"pay\"\n  input.args.amount <= 50\n}\n").unwrap();
    let cases = "[input]\naction = \"pay\"\n[[case]]\nname = \"null is no amount\"\ninput = { args.amount = -1 }\nexpect = \"false\"\nreason = \"below zero\"\n";
    fs::write(folder.path().join("limit.test.toml"), cases).unwrap();
    let (code, text) = opgate(&["policy", "test", policy.to_str().unwrap()]);
    let text = text.as_str().unwrap();
    assert_eq!(code, Some(1), "{text}");
    for part in [
        "null is no amount",
        "expected: false",
        "below zero",
        "found:    true",
        "\"amount\":-1",
        "   5  evaluated",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn pol_s52_what_an_author_should_look_at_again_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write(
        "trap.rego",
        "package a\ndefault allow := false\nallow if {\n  input.action == \"pay\"\n  input.transaction.amount <= 50.0\n}",
    );
    write(
        "guarded.rego",
        "package a\ndefault allow := false\nallow if {\n  input.action == \"pay\"\n  x := input.transaction.amount\n  is_number(x)\n  x >= 0\n  x <= 50\n}",
    );
    write(
        "open.rego",
        "package a\ndefault allow := true\nunused := 1\nallow if input.user.id == \"u\"",
    );
    write("worse.rego", "package a\nallow if {\n  http.send({})\n}");
    let (code, answer) = opgate(&["policy", "check", "--json", folder.path().to_str().unwrap()]);
    assert_eq!(code, Some(1));
    let codes = |n: usize| -> Vec<_> {
        let findings = answer["policies"][n]["findings"].as_array().unwrap();
        findings
            .iter()
            .map(|finding| (finding["line"].as_u64().unwrap(), finding["code"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(codes(0), []);
    assert_eq!(codes(1), [(2, "default_allow"), (3, "unreachable"), (4, "unbounded")]);
    assert_eq!(codes(2), [(5, "no_lower_bound")]);
    let worse = &answer["policies"][3];
    assert_eq!(
        (&worse["admitted"], &worse["line"], &worse["what"]),
        (&false.into(), &3.into(), &"http.send".into())
    );
}
