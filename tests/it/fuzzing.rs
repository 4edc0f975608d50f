//! The bodies of the fuzz targets, with generated input: what the fuzzer does for hours, for a moment.

use proptest::prelude::*;
use serde_json::{Map, Value};

#[path = "../fuzz/bodies.rs"]
mod bodies;

const CONFIGURATION: &str = include_str!("../../deploy/examples/sidecar/opgate.toml");

/// Members that documents of an issuer have, to be put together in any way.
const DOCUMENT: [&str; 14] = [
    r#""sub":"https://as.test/1""#,
    r#""iss":"https://as.test""#,
    r#""iat":1790000000"#,
    r#""exp":1790000001"#,
    r#""ttl":1e300"#,
    r#""status_list":{"bits":1,"lst":"eNrbuRgAAhcBXQ"}"#,
    r#""status_list":{"bits":8,"lst":"eNoDAAAAAAE"}"#,
    r#""revocations":[{"jti":"a","until":18446744073709551615}]"#,
    r#""revocations":[{"issuer":"https://as.test"},{"sub":"b"}]"#,
    r#""aud":["gate"]"#,
    r#""token_introspection":{"active":true,"iat":-1,"policy_content":7}"#,
    r#""active":true"#,
    r#""client_id":"x""#,
    r#""policy_content":[]"#,
];

/// Lines of checkpoints, proofs and signatures.
const NOTE: [&str; 12] = [
    "",
    "0",
    "42",
    "042",
    "gate.test/1",
    "index 7",
    "extra AAAA",
    "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=",
    "CQk=",
    "\u{2014} gate.test/1 x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=",
    "\u{2014} gate.test/1 AAAA",
    "gate.test/1+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
];

/// Members of messages, to be put together in any way.
const MESSAGE: [&str; 18] = [
    r#""jsonrpc":"2.0""#,
    r#""id":7"#,
    r#""id":"x""#,
    r#""id":null"#,
    r#""method":"tools/call""#,
    r#""method":"prompts/get""#,
    r#""method":"resources/read""#,
    r#""method":"completion/complete""#,
    r#""method":"notifications/progress""#,
    r#""params":{"name":"create_order","arguments":{"amount":1e2}}"#,
    r#""params":{"name":"resources/read","uri":"file:///a/../b"}"#,
    r#""params":{"name":"mcp:tools/call:t","uri":"a:b"}"#,
    r#""params":{"uri":"https://a.test/x","name":"","_meta":{}}"#,
    r#""params":{"ref":{"type":"ref/prompt","name":"p"},"requestState":""}"#,
    r#""params":{"name":"t","arguments":{}}"#,
    r#""result":{}"#,
    r#""error":{}"#,
    r#""Method":"ping""#,
];

/// Parts of policies in Cedar, to be put together in any way.
const CEDAR: [&str; 40] = [
    "permit(principal, action, resource)",
    "forbid(principal, action, resource)",
    "when {",
    "unless {",
    "}",
    ";",
    "(",
    ")",
    "[",
    "]",
    "{",
    "if",
    "then",
    "else",
    "true",
    "false",
    "!",
    "-",
    "&&",
    "||",
    "==",
    "<=",
    ">",
    "+",
    "*",
    "in",
    "has amount",
    "like \"*a*\"",
    "context",
    "context.args",
    "context.args.amount",
    "context.args.items",
    "principal",
    "resource",
    "Action::\"pay\"",
    ".contains(1)",
    ".containsAll([1, 2])",
    "decimal(\"1.0\")",
    "ip(\"10.0.0.1\")",
    "9223372036854775807",
];
/// Parts of policies in Rego.
const POLICY: [&str; 40] = [
    "allow := true",
    "default allow := false",
    "allow if {",
    "}",
    "{",
    "[",
    "]",
    "(",
    ")",
    "|",
    ",",
    ":",
    ":=",
    "==",
    "+",
    "*",
    "some x in input.args.items",
    "every x in input.x { x.y }",
    "not",
    "in",
    "input.action",
    "x",
    "y",
    "[x | some x in y]",
    "{x: y | some x, y in input}",
    "f(x) := y",
    "f(x)",
    "count(x)",
    "to_number(x)",
    "time.now_ns()",
    "numbers.range(1, 9)",
    "regex.match(`a`, x)",
    "data.a.allow",
    "with input as {}",
    "else := false if",
    "import rego.v1",
    "x[y]",
    ".y",
    "\"a\"",
    "y contains x if",
];

/// Bytes, texts, and texts made of the parts that matter.
fn input() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..512),
        "\\PC{0,256}".prop_map(String::into_bytes),
        "(/|%2[efEF5]|[.]{1,2}|;|a|GET /a HTTP/1.1\r\n|host: a\r\n|\r\n|\n|: |content-length: 1\r\n|\\{\"v\":1,\"seq\":[0-9]\\}){0,40}"
            .prop_map(String::into_bytes),
    ]
}

/// Members that anything here reads.
const NAMES: &str = "iss sub aud exp iat nbf jti scope act cnf status status_list idx uri bits lst \
    active revocations until authorization_details type operations action method path \
    locations policy language content policy_ref hash id delegation_chain delegator_id \
    delegatee_id as_id delegation_timestamp as_signature agent_operation_authorization \
    policy_id agent_identity evidence htm htu ath nonce jwk wth oth tth aoat cnf \
    evidence_details evidence_ref audit_trail user_confirmation user_confirmation_record \
    displayed_content user_action timestamp source_prompt_credential issuer issued_to expires \
    delegator_jti delegator_agent_identity credentialSubject prompt issuanceDate expirationDate \
    token_type client_id policy_content bindingInstanceId userIdentity workloadIdentity expiresAt";

/// JSON whose members have the names that are looked for, with values of every kind.
fn json() -> impl Strategy<Value = Value> {
    const TEXTS: [&str; 9] = [
        "https://as.test",
        "agent_operation",
        "authorization_policy",
        "rego",
        "wit://a.test/b",
        "2026-09-21T14:13:20Z",
        "e30..AAAA",
        "/a/**",
        "GET",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (1_789_999_000_u64..1_790_001_000).prop_map(Value::from),
        prop::sample::select(&TEXTS[..]).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 8, |inner| {
        let names: Vec<&str> = NAMES.split(' ').collect();
        let name = prop::sample::select(names).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..8)
                .prop_map(|members| Value::from(Map::from_iter(members))),
        ]
    })
}

/// Members of a confirmation and of a credential, of which those that are left alone are right.
fn evidence() -> impl Strategy<Value = Value> {
    let good = serde_json::json!({
        "id": "e", "iss": "https://as.test", "issuer": "https://as.test", "sub": "u", "jti": "v",
        "iat": 1_789_999_990, "exp": 1_790_000_300, "type": "VerifiableCredential",
        "issuanceDate": "2026-09-21T14:12:20Z", "expirationDate": "2026-09-21T14:23:20Z",
        "credentialSubject": {"type": "UserInputEvidence", "prompt": "p",
            "timestamp": "2026-09-21T14:12:20Z"},
        "user_confirmation_record": {"displayed_content": "x", "user_action": "pin_entry",
            "timestamp": 1_789_999_990},
    });
    let names: Vec<String> = good.as_object().unwrap().keys().cloned().collect();
    let changes = prop::collection::vec((prop::sample::select(names), json()), 0..3);
    changes.prop_map(move |changes| {
        let mut members = good.clone();
        for (name, value) in changes {
            members[name] = value;
        }
        members
    })
}

/// Every fuzz target is one of these bodies, has its program, and is in the list that is built.
#[test]
fn every_body_has_its_target() {
    let bodies = include_str!("../fuzz/bodies.rs");
    let list = include_str!("../fuzz/Cargo.toml");
    let bodies = bodies.lines().filter_map(|line| line.strip_prefix("pub(crate) fn "));
    let mut count = 0;
    for name in bodies.map(|rest| rest.split('(').next().unwrap()) {
        let path = format!("fuzz_targets/{name}.rs");
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(&path);
        let text = std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("no {path}"));
        assert!(text.contains(&format!("bodies::{name}(bytes)")), "{path}");
        assert!(list.contains(&format!("name = \"{name}\"\npath = \"{path}\"")), "{name}");
        let calls = include_str!("fuzzing.rs").matches(&format!("bodies::{name}(")).count();
        assert!(calls > 0, "{name} is not called with generated input");
        count += 1;
    }
    assert_eq!(count, list.matches("[[bin]]").count());
}

proptest! {
    #[test]
    fn no_evidence_that_is_nearly_right_breaks_its_reader(members in evidence()) {
        let bytes = members.to_string().into_bytes();
        bodies::prompt_credential(&bytes);
        let answer = serde_json::json!({"evidence": members, "sub": "u", "aud": "x"});
        bodies::introspected_token(answer.to_string().as_bytes());
        let token = serde_json::json!({"evidence": members});
        bodies::signed_token(token.to_string().as_bytes());
    }

    #[test]
    fn no_input_breaks_a_parser(bytes in input()) {
        bodies::request_target(&bytes);
        bodies::header_set(&bytes);
        bodies::token(&bytes);
        bodies::issuer_document(&bytes);
        bodies::configuration(&bytes);
        bodies::journal_tail(&bytes);
        bodies::packed_list(&bytes);
        bodies::detached_signature(&bytes);
        bodies::possession_proof(&bytes);
        bodies::workload_proof(&bytes);
        bodies::prompt_credential(&bytes);
        bodies::companion(&bytes);
        bodies::signed_note(&bytes);
    }

    #[test]
    fn a_message_is_read_as_every_reader_reads_it(members in prop::collection::vec(prop::sample::select(&MESSAGE[..]), 0..6)) {
        bodies::mcp_message(format!("{{{}}}", members.join(",")).as_bytes());
        let whole = [r#""jsonrpc":"2.0","id":7"#].into_iter().chain(members);
        bodies::mcp_message(format!("{{{}}}", whole.collect::<Vec<_>>().join(",")).as_bytes());
    }

    #[test]
    fn no_signed_note_breaks_its_reader(lines in prop::collection::vec(prop::sample::select(&NOTE[..]), 0..12)) {
        bodies::signed_note(lines.join("\n").as_bytes());
        bodies::signed_note(format!("gate.test/1\n{}", lines.join("\n")).as_bytes());
        bodies::signed_note(format!("c2sp.org/tlog-proof@v1\n{}", lines.join("\n")).as_bytes());
    }

    #[test]
    fn no_json_breaks_a_reader_of_what_is_signed(value in json()) {
        let bytes = value.to_string().into_bytes();
        bodies::signed_token(&bytes);
        bodies::possession_proof(&bytes);
        bodies::workload_proof(&bytes);
        bodies::issuer_document(&bytes);
        bodies::canonical_json(&bytes);
        bodies::introspected_token(&bytes);
        bodies::prompt_credential(&bytes);
        bodies::companion(&bytes);
    }

    #[test]
    fn no_document_of_an_issuer_breaks_its_reader(
        members in prop::collection::vec((0..DOCUMENT.len(), 0..DOCUMENT.len()), 0..8),
    ) {
        let member = |(name, value): &(usize, usize)| {
            format!("{}:{}", DOCUMENT[*name].split(':').next().unwrap(), DOCUMENT[*value].split_once(':').unwrap().1)
        };
        let text = format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","));
        bodies::issuer_document(text.as_bytes());
    }

    #[test]
    fn no_policy_breaks_its_reader_or_its_engine(lines in prop::collection::vec(prop::sample::select(&POLICY[..]), 0..24)) {
        bodies::policy_text(format!("package a\n{}", lines.join("\n")).as_bytes());
        bodies::policy_text(format!("package a\nallow if {{ {} }}", lines.join(" ")).as_bytes());
    }

    #[test]
    fn no_policy_in_cedar_breaks_its_reader_or_its_engine(
        parts in prop::collection::vec(prop::sample::select(&CEDAR[..]), 0..24),
    ) {
        bodies::cedar_text(parts.join(" ").as_bytes());
        let condition = parts.join(" ");
        bodies::cedar_text(format!("permit(principal, action, resource) when {{ {condition} }};").as_bytes());
    }

    #[test]
    fn no_change_to_a_configuration_breaks_its_reader(at in 0..CONFIGURATION.len(), with in "\\PC{0,8}") {
        let mut bytes = CONFIGURATION.as_bytes().to_vec();
        let end = (at + with.len()).min(bytes.len());
        bytes.splice(at..end, with.bytes());
        bodies::configuration(&bytes);
    }
}
