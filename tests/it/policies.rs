//! Every grant and every policy in `policies/` allows and refuses what it says it does.

use std::fs;
use std::process::Command;

use opgate::policy::engine::{Class, builtins};
use serde_json::{Value, json};

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
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/agent_operation");
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let sample: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for allowed in [true, false] {
            let mut calls = sample["calls"].as_array().unwrap().iter();
            assert!(calls.any(|call| call["allowed"] == allowed), "{}: {allowed}", path.display());
        }
    }
    let (code, answer) = opgate(&["policy", "check", "--strict", "--json", "policies"]);
    assert_eq!(code, Some(0), "{answer:#}");
}

#[test]
fn a_case_that_fails_shows_input_expectation_and_trace() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("limit.rego");
    fs::write(&policy, "package a\ndefault allow := false\nallow if {\n  input.action == \"pay\"\n  \tinput.args.amount <= 50\n}\n").unwrap();
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
        "   5  evaluated        ",
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

#[test]
fn calls_of_a_list_have_arguments_and_one_broken_file_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, calls: Value| {
        let limits = json!({"amount": {"maximum": 50}});
        let operation = json!({"method": "POST", "path": "/orders/*", "args": limits,
            "path_params": {"id": {"prefix": "o-"}}, "query": {"dry": {"const": "a b&c"}}});
        let details = json!([{"type": "agent_operation", "operations": [operation]}]);
        let sample = json!({"authorization_details": details, "calls": calls});
        fs::write(folder.path().join(name), sample.to_string()).unwrap();
    };
    let call = |member: &str, value: Value, allowed: bool| {
        let mut call = json!({"method": "POST", "path": "/orders/o-1", "action": "order",
            "args": {"amount": 50}, "path_params": {"id": "o-1"}, "query": {"dry": "a b&c"},
            "allowed": allowed});
        call[member] = value;
        call
    };
    let good = json!([
        call("action", "order".into(), true),
        call("args", json!({"amount": 51}), false),
        call("query", json!({"dry": "a b"}), false),
        call("path_params", json!({}), false)
    ]);
    write("good.json", good);
    write("wrong.json", json!([call("args", json!({"amount": 51}), true)]));
    write("unknown.json", json!([call("argz", json!({}), true)]));
    write("nowhere.json", json!([call("path_params", json!({"id": "o-2"}), true)]));
    fs::write(folder.path().join("a.rego"), "package a\nallow if data.x").unwrap();
    let (code, answer) = opgate(&["policy", "test", "--json", folder.path().to_str().unwrap()]);
    assert_eq!(code, Some(1), "{answer:#}");
    let found = &answer["policies"];
    let broken = |n: usize| found[n]["broken"].as_str().unwrap_or_default();
    assert!(broken(0).contains("--class local --data"), "{answer:#}");
    assert_eq!((&found[1]["passed"], &found[1]["failures"]), (&4.into(), &json!([])), "{answer:#}");
    assert!(broken(2).contains("no segment of `/orders/o-1` is `o-2`"), "{answer:#}");
    assert!(broken(3).contains("unknown field `argz`"), "{answer:#}");
    assert_eq!(found[4]["failures"].as_array().unwrap().len(), 1, "{answer:#}");
}

#[test]
fn the_guide_lists_every_function_that_a_policy_may_call() {
    let guide = include_str!("../../policies/README.md");
    let listed = |from: &str| -> Vec<String> {
        let text = guide.split_once(from).unwrap().1;
        let text = text.split("\n\n").nth(1).unwrap();
        text.split(|c: char| c == '`' || c == ',' || c.is_whitespace())
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let carried: Vec<&str> = builtins(Class::Carried).collect();
    assert_eq!(listed("Every policy may call:"), carried);
    let local: Vec<&str> = builtins(Class::Local).filter(|name| !carried.contains(name)).collect();
    assert_eq!(listed("The operator's own (`--class local`) may also call:"), local);
}

#[test]
fn a_policy_that_only_excludes_operations_is_unbounded() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("p.rego");
    for (body, is_unbounded) in [
        ("not input.action in {\"drop\"}", true),
        ("not harmful", true),
        ("input.action in {\"read\"}; not input.action == \"drop\"", false),
    ] {
        let text = format!(
            "package a\ndefault allow := false\nharmful if input.action == \"drop\"\nallow if {{ {body} }}"
        );
        fs::write(&policy, text).unwrap();
        let (_, answer) = opgate(&["policy", "check", "--json", policy.to_str().unwrap()]);
        let findings = answer["policies"][0]["findings"].as_array().unwrap();
        let found = findings.iter().any(|finding| finding["code"] == "unbounded");
        assert_eq!(found, is_unbounded, "{body}: {answer:#}");
    }
}

#[test]
fn what_is_minted_with_entries_of_a_file_is_told_by_inspect() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let content = "package a\ndefault allow := false\n";
    let operation = json!({"action": "create_payment", "args": {"amount": {"maximum": 50}}});
    let policy = json!({"language": "rego", "content": content});
    let details = json!([
        {"type": "agent_operation", "operations": [operation]},
        {"type": "authorization_policy", "policy": policy}
    ]);
    fs::write(path("details.json"), details.to_string()).unwrap();
    fs::write(path("claims.json"), json!({"acr": "high", "sub": "bob"}).to_string()).unwrap();
    fs::write(path("limit.rego"), content).unwrap();
    let key = path("key.pem");
    let (code, _) =
        opgate(&["keys", "generate", "--private", &key, "--public", &path("jwks.json")]);
    assert_eq!(code, Some(0));
    let mint = |details: &str| {
        opgate(&[
            "token",
            "mint",
            "--key",
            &key,
            "--issuer",
            "https://as.test",
            "--audience",
            "https://tools.test/shop",
            "--subject",
            "alice",
            "--operation",
            "read",
            "--details",
            details,
            "--claims",
            &path("claims.json"),
        ])
    };
    let (code, token) = mint(&path("details.json"));
    let token = token.as_str().unwrap().trim().to_owned();
    assert_eq!(code, Some(0), "{token}");
    let (_, told) = opgate(&["token", "inspect", "--json", &token]);
    let claims = &told["claims"];
    assert_eq!((&claims["acr"], &claims["sub"]), (&"high".into(), &"bob".into()));
    assert_eq!(claims["authorization_details"][0]["operations"][0]["action"], "read");
    assert_eq!(claims["authorization_details"][1], details[0]);
    let (_, hash) = opgate(&["policy", "digest", &path("limit.rego")]);
    let hash = hash.as_str().unwrap().split_whitespace().nth(1).unwrap().to_owned();
    let (_, told) = opgate(&["token", "inspect", &token]);
    let told = told.as_str().unwrap();
    assert!(told.contains("create_payment with amount ≤ 50"), "{told}");
    assert!(told.contains(&format!("what its policy in rego does ({hash})")), "{told}");
    let (code, _) = mint(&path("claims.json"));
    assert_eq!(code, Some(2), "an object is no array of entries");
    let (code, _) = opgate(&["audit", "tail", "--audit", folder.path().to_str().unwrap()]);
    assert_eq!(code, Some(2), "no log");
}

#[test]
fn the_digest_of_a_registry_record_is_that_of_its_binding() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("limit.json");
    let path = path.to_str().unwrap();
    let mut record = json!({"policy_id": "limit", "media_type": "application/vnd.opa.rego",
        "language_version": "v1", "entrypoint": "allow", "input_schema_digest": "sha256:0",
        "source": "package a\n"});
    fs::write(path, record.to_string()).unwrap();
    let (code, told) = opgate(&["policy", "digest", path]);
    assert_eq!(code, Some(0), "{told}");
    // Canonical JSON of the five members, in the order of their names.
    let canonical = r#"{"entrypoint":"allow","input_schema_digest":"sha256:0","language_version":"v1","media_type":"application/vnd.opa.rego","source":"package a\n"}"#;
    let binding = opgate::model::hex::hex(&opgate::token::hash::sha256(canonical.as_bytes()));
    assert!(told.as_str().unwrap().contains(&format!("sha256:{binding}")), "{told}");
    record.as_object_mut().unwrap().remove("entrypoint");
    fs::write(path, record.to_string()).unwrap();
    assert_eq!(opgate(&["policy", "digest", path]).0, Some(2));
}
