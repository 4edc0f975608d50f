//! The arguments of a call (`verification.md` steps 18 and 19): read whole and strictly before the
//! decision where something looks at them, held against what was granted, and forwarded as they came.

use std::io::Write as _;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use opgate::model::hex::hex;
use opgate::token::hash::sha256;
use serde_json::{Value, json};

use crate::support::challenge::Challenge;
use crate::support::client::Response;
use crate::support::{Echo, Gate, Setup, Token, eventually, request};

/// A token that grants orders of at most 50.
fn at_most_50(gate: &Gate) -> String {
    granting(
        gate,
        &json!({"action": "create_order", "args": {"amount": {"minimum": 0, "maximum": 50}}}),
    )
}

fn granting(gate: &Gate, operation: &Value) -> String {
    let details = json!([{"type": "agent_operation", "operations": [operation]}]);
    Token::new().claim("authorization_details", details).sign(&gate.setup.key)
}

fn order(gate: &Gate, token: &str, kind: &str, more: &[(&str, &str)], body: &str) -> Response {
    let bearer = format!("Bearer {token}");
    let mut lines = vec![("Authorization", bearer.as_str()), ("Content-Type", kind)];
    lines.extend_from_slice(more);
    gate.send(request("POST", "/shop/orders", &lines, body))
}

const JSON: &str = "application/json";

#[test]
fn pol_024_ver_025_an_amount_is_held_against_the_grant_before_a_byte_goes_upstream() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let token = at_most_50(&gate);
    for body in [
        r#"{"amount":5000}"#,
        r#"{"amount":50.0000000000000000001}"#,
        r#"{"amount":-1}"#,
        r#"{"amount":null}"#,
        r#"{"amount":"10"}"#,
        r#"{"amount":true}"#,
        r#"{"amount":[10]}"#,
        r#"{"Amount":10}"#,
        "{}",
        "[]",
        "10",
    ] {
        let response = order(&gate, &token, JSON, &[], body);
        assert_eq!(response.status, 403, "{body}");
        assert_eq!(response.error(), "insufficient_authorization", "{body}");
        assert!(response.header("www-authenticate").unwrap().contains("policy_profile"), "{body}");
        let record = gate.decision(&response.decision_id());
        assert_eq!(record["reason"], "arguments_outside", "{body}");
        assert!(!response.everything().contains("maximum"), "no thresholds are told");
        let said = "The token authorizes the operation, but not with these arguments";
        assert_eq!(response.json()["error_description"], said, "{body}");
    }
    let nothing = order(&gate, &token, JSON, &[], "");
    assert_eq!(gate.decision(&nothing.decision_id())["reason"], "arguments_outside");
    echo.assert_untouched("outside the grant");
    for body in [r#"{"amount":50}"#, r#"{"amount":50.00}"#, r#"{"amount":5e1}"#, r#"{"amount":0}"#]
    {
        assert_eq!(order(&gate, &token, JSON, &[], body).status, 200, "{body}");
    }
}

#[test]
fn ver_029_what_was_judged_is_forwarded_octet_for_octet_and_recorded_by_its_hash() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let body = "\t{ \"amount\" : 5.00e0,\r\n \"note\":\"\\u0061\\/\" } ";
    let response = order(&gate, &at_most_50(&gate), JSON, &[], body);
    assert_eq!(response.status, 200);
    let received = echo.only();
    assert_eq!(received.body, body.as_bytes());
    assert_eq!(received.all("content-length"), [body.len().to_string()]);
    assert_eq!(received.all("content-type"), [JSON]);
    let hash = hex(&sha256(body.as_bytes()));
    assert_eq!(gate.decision(&response.decision_id())["http"]["body_sha256"], hash);
    assert_eq!(gate.outcome(&response.decision_id())["bytes_in"], body.len());
}

#[test]
fn ver_025_chunks_and_trailers_are_read_whole_and_then_forwarded() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let bearer = format!("Bearer {}", at_most_50(&gate));
    let lines = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", JSON),
        ("Transfer-Encoding", "chunked"),
        ("Trailer", "x-sum"),
    ];
    let mut connection = gate.connect();
    connection.send(request("POST", "/shop/orders", &lines, "") + "8\r\n{\"amount\r\n");
    thread::sleep(Duration::from_millis(300));
    echo.assert_untouched("half a body");
    let response =
        connection.call("5\r\n\":10}\r\n0\r\nX-Sum: 1\r\nAuthorization: Bearer x\r\n\r\n");
    assert_eq!(response.status, 200);
    let bytes = String::from_utf8(echo.bytes()).unwrap().to_lowercase();
    assert!(bytes.contains("{\"amount\":10}") && bytes.contains("x-sum: 1"), "{bytes}");
    assert!(!bytes.contains("bearer x"), "trailers are cleaned");
}

#[test]
fn ver_031_a_judged_body_that_two_readers_could_read_differently_is_refused() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let token = at_most_50(&gate);
    let deep = format!(r#"{{"amount":1,"x":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    for (body, about) in [
        (r#"{"amount":1,"amount":5000}"#, "duplicate"),
        (r#"{"amount":1,"\u0061mount":5000}"#, "duplicate"),
        (r#"{"amount":1e400}"#, "number"),
        (r#"{"amount":1,"x":1e-400}"#, "number"),
        (r#"{"amount":1} {"amount":5000}"#, "syntax"),
        (r#"{"amount":1,}"#, "syntax"),
        (r#"{"amount":1}//"#, "syntax"),
        ("amount=1", "syntax"),
        ("\u{feff}{\"amount\":1}", "syntax"),
        (r#"{"amount":1,"x":"\ud800"}"#, "syntax"),
        (&deep, "depth"),
    ] {
        let response = order(&gate, &token, JSON, &[], body);
        assert_eq!(response.status, 400, "{body}");
        assert!(response.header("www-authenticate").is_none());
        let record = gate.decision(&response.decision_id());
        assert_eq!(
            (&record["reason"], &record["about"]),
            (&"body_malformed".into(), &about.into())
        );
    }
    let bearer = format!("Bearer {token}");
    let lines =
        [("Authorization", bearer.as_str()), ("Content-Type", JSON), ("Content-Length", "4")];
    let mut bytes = request("POST", "/shop/orders", &lines, "").into_bytes();
    bytes.write_all(b"\"\xff\"\n").unwrap();
    let response = gate.send(bytes);
    assert_eq!(gate.decision(&response.decision_id())["about"], "utf-8");
    echo.assert_untouched("malformed bodies");
}

#[test]
fn ver_018_a_judged_body_is_json_in_no_encoding() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let token = at_most_50(&gate);
    let body = r#"{"amount":1}"#;
    for (kind, more) in [
        ("text/plain", None),
        ("application/x-www-form-urlencoded", None),
        ("application/json; charset=utf-16", None),
        ("application/json; charset*=us-ascii'en'utf-7", None),
        ("application/x-www-form-urlencoded,x+json", None),
        (JSON, Some(("Content-Encoding", "gzip"))),
        (JSON, Some(("Content-Encoding", "identity, gzip"))),
    ] {
        let response = order(&gate, &token, kind, more.as_slice(), body);
        assert_eq!((response.status, response.error().as_str()), (415, "unsupported_media_type"));
        assert_eq!(gate.decision(&response.decision_id())["reason"], "body_type_refused");
    }
    echo.assert_untouched("not JSON");
    for (kind, more) in [
        ("application/json; charset=UTF-8", None),
        ("application/merge-patch+json", None),
        (JSON, Some(("Content-Encoding", "identity"))),
    ] {
        assert_eq!(order(&gate, &token, kind, more.as_slice(), body).status, 200, "{kind}");
    }
}

#[test]
fn what_nothing_looks_at_streams_as_it_is() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let response = order(&gate, &gate.token(), "application/octet-stream", &[], "{not json");
    assert_eq!(response.status, 200);
    assert_eq!(echo.only().body, b"{not json");
    assert!(gate.decision(&response.decision_id())["http"].get("body_sha256").is_none());
}

#[test]
fn an_operation_says_whether_its_body_is_read() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.operations =
        setup.operations.replace("path = \"/orders\"", "path = \"/orders\"\nbody = \"json\"");
    setup.operations += "
[[resource.operation]]
action = \"upload\"
method = \"PUT\"
path = \"/files/{name}\"
body = \"stream\"
";
    let gate = setup.start();
    assert_eq!(order(&gate, &gate.token(), "text/plain", &[], "{}").status, 415);
    assert_eq!(order(&gate, &gate.token(), JSON, &[], "{\"a\":1,\"a\":2}").status, 400);
    echo.assert_untouched("a body that must be JSON");
    let put = |token: &str| {
        let bearer = format!("Bearer {token}");
        let lines = [("Authorization", bearer.as_str()), ("Content-Type", JSON)];
        gate.send(request("PUT", "/shop/files/a", &lines, r#"{"amount":1}"#))
    };
    let judged = granting(&gate, &json!({"action": "upload", "args": {"amount": {"maximum": 50}}}));
    assert_eq!(gate.decision(&put(&judged).decision_id())["reason"], "arguments_outside");
    echo.assert_untouched("a rule over a body that is never read");
    let named = json!({"action": "upload", "path_params": {"name": {"enum": ["a", "b"]}}});
    assert_eq!(put(&granting(&gate, &named)).status, 200);
    let other = json!({"action": "upload", "path_params": {"name": {"const": "b"}}});
    assert_eq!(put(&granting(&gate, &other)).status, 403);
}

#[test]
fn ver_018_a_policy_is_never_shown_a_call_without_the_arguments_that_are_sent() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let policy = json!([{"type": "authorization_policy",
        "policy": {"language": "rego", "content": "package agent"}}]);
    let token = Token::new().claim("authorization_details", policy).sign(&gate.setup.key);
    let response = order(&gate, &token, "text/plain", &[], "{\"amount\":5000}");
    assert_eq!(gate.decision(&response.decision_id())["reason"], "body_type_refused");
    echo.assert_untouched("a body that the policy cannot see");
}

#[test]
fn every_value_of_a_query_parameter_is_held_against_the_grant() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let list =
        json!({"action": "search_products", "query": {"limit": {"minimum": 1, "maximum": 100}}});
    let token = granting(&gate, &list);
    for query in [
        "",
        "?limit=1000",
        "?limit=10&limit=1000",
        "?limit=10&%6Cimit=1000",
        "?limit=1e9",
        "?limit=-1",
        "?limit=5&z=1;limit=1000",
        "?limit=5&limit[]=1000",
    ] {
        let response = gate.get(&format!("/shop/products/1{query}"), &token);
        assert_eq!(response.status, 403, "{query}");
    }
    echo.assert_untouched("queries outside the grant");
    assert_eq!(gate.get("/shop/products/1?limit=100&q=a+b", &token).status, 200);
}

#[test]
fn tok_028_a_constraint_that_is_not_known_makes_the_token_invalid() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    for args in [
        json!({"amount": {"max": 50}}),
        json!({"amount": {"maximum": "50"}}),
        json!({"amount": {"pattern": "("}}),
        json!({"amount": 50}),
        json!({}),
    ] {
        let token = granting(&gate, &json!({"action": "create_order", "args": args}));
        let response = order(&gate, &token, JSON, &[], r#"{"amount":1}"#);
        assert_eq!((response.status, response.error().as_str()), (401, "invalid_token"), "{args}");
    }
    echo.assert_untouched("unknown constraints");
}

#[test]
fn ver_018_judged_bodies_are_bounded_in_size_in_time_and_together() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = "judged_body_limit = 64".to_owned();
    setup.limits = "body_idle = \"400ms\"\nbody_timeout = \"1s\"".to_owned();
    let gate = setup.start();
    let token = at_most_50(&gate);
    let long = format!(r#"{{"amount":1,"x":"{}"}}"#, "x".repeat(64));
    assert_eq!(order(&gate, &token, JSON, &[], &long).status, 413);
    let bearer = format!("Bearer {token}");
    let chunked = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", JSON),
        ("Transfer-Encoding", "chunked"),
    ];
    let head = request("POST", "/shop/orders", &chunked, "");
    let response = gate.send(head.clone() + "50\r\n" + &" ".repeat(80) + "\r\n0\r\n\r\n");
    assert_eq!(response.status, 413);
    let begun = Instant::now();
    assert_eq!(gate.send(head.clone() + "1\r\n{\r\n").status, 408, "a body that stops");
    assert!(begun.elapsed() < Duration::from_secs(5));
    let mut drip = gate.connect();
    drip.send(head);
    for _ in 0..12 {
        thread::sleep(Duration::from_millis(150));
        if !drip.try_send("1\r\n \r\n") {
            break;
        }
    }
    assert_eq!(drip.response().status, 408, "a body that drips");
    echo.assert_untouched("bodies beyond their bounds");
    assert_eq!(order(&gate, &token, JSON, &[], r#"{"amount":1}"#).status, 200);
}

#[test]
fn ver_018_with_no_room_for_another_judged_body_a_call_is_refused() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.limits = "judged_bodies = \"1MiB\"".to_owned();
    let gate = setup.start();
    let token = at_most_50(&gate);
    let bearer = format!("Bearer {token}");
    let lines =
        [("Authorization", bearer.as_str()), ("Content-Type", JSON), ("Content-Length", "600000")];
    let half = request("POST", "/shop/orders", &lines, "") + &" ".repeat(500_000);
    let body = format!("{}{}", " ".repeat(60_000), r#"{"amount":1}"#);
    // Whoever comes last finds no room, and that may be one of those that should hold it.
    let mut holders = Vec::new();
    let refused = eventually("a refusal for lack of room", || {
        let mut holder = gate.connect();
        holder.send(&half);
        holders.push(holder);
        thread::sleep(Duration::from_millis(100));
        Some(order(&gate, &token, JSON, &[], &body)).filter(|response| response.status == 503)
    });
    assert_eq!(gate.decision(&refused.decision_id())["reason"], "bodies_overloaded");
    drop(holders);
    eventually("room again", || {
        (order(&gate, &token, JSON, &[], &body).status == 200).then_some(())
    });
}

#[test]
fn an_observed_resource_passes_what_is_outside_and_never_half_a_body() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = "mode = \"observe\"\njudged_body_limit = 64".to_owned();
    let gate = setup.start();
    let token = at_most_50(&gate);
    let response = order(&gate, &token, JSON, &[], r#"{"amount":5000}"#);
    assert_eq!(response.status, 200);
    assert_eq!(gate.decision(&response.decision_id())["reason"], "arguments_outside");
    assert_eq!(echo.only().body, br#"{"amount":5000}"#);
    let before = echo.requests().len();
    let bearer = format!("Bearer {token}");
    let lines = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", JSON),
        ("Transfer-Encoding", "chunked"),
    ];
    let head = request("POST", "/shop/orders", &lines, "");
    let response = gate.send(head + "50\r\n" + &" ".repeat(80) + "\r\n0\r\n\r\n");
    assert_eq!(response.status, 413);
    assert_eq!(echo.requests().len(), before, "half a body is not forwarded");
}

/// What a refusal advises is this call and no more: minted as it is, it lets this call pass and no larger.
#[test]
fn err_006_what_is_advised_for_other_arguments_is_bounded_by_them() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let at_most = |amount: u32| format!("{{\"amount\":{amount},\"payee\":\"books\"}}");
    let response = order(&gate, &at_most_50(&gate), JSON, &[], &at_most(51));
    assert_eq!(response.status, 403);
    let advised = Challenge::of(&response).decoded("authorization_remediation");
    let operation = &advised["authorization_details"][0]["operations"][0];
    assert_eq!(operation["args"], json!({"/amount": {"const": 51}}), "{advised}");
    echo.assert_untouched("over the limit");
    let details = advised["authorization_details"].clone();
    let token = Token::new().claim("authorization_details", details).sign(&gate.setup.key);
    assert_eq!(order(&gate, &token, JSON, &[], &at_most(51)).status, 200);
    assert_eq!(order(&gate, &token, JSON, &[], &at_most(999_999)).status, 403);
}

/// A policy of the token that says no is cured by another policy, and never by an entry beside it that has
/// no limit.
#[test]
fn err_006_what_is_advised_for_a_policy_is_a_policy() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let policy = json!({"language": "rego", "content": "package a\nallow := false"});
    let entry = json!({"type": "authorization_policy", "policy": policy});
    let token = Token::new().claim("authorization_details", json!([entry])).sign(&gate.setup.key);
    let response = gate.get("/shop/products/1", &token);
    assert_eq!(response.status, 403);
    let advised = Challenge::of(&response).decoded("authorization_remediation");
    let detail = &advised["authorization_details"][0];
    assert_eq!(detail["type"], "authorization_policy", "{advised}");
    assert_eq!(detail["actions"].as_array().map(Vec::len), Some(1), "{advised}");
    assert!(detail.get("operations").is_none(), "{advised}");
}

#[test]
fn explain_names_the_argument_that_is_not_granted_and_what_it_must_be() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let explained = |token: &str, body: &str| {
        let body = gate.setup.write("body.json", body);
        let output = Command::new(env!("CARGO_BIN_EXE_opgate"))
            .args(["explain", "-c", "opgate.toml", "--request", "POST /shop/orders"])
            .args(["--header", "Content-Type: application/json", "--token", token, "--body"])
            .arg(body)
            .current_dir(gate.setup.dir.path())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let told = explained(&at_most_50(&gate), r#"{"amount":51}"#);
    assert!(told.contains("`/amount` of the body, which must be"), "{told}");
    assert!(told.contains("at most 50") && told.contains("(entry 0)"), "{told}");
    let wrong =
        granting(&gate, &json!({"action": "create_order", "args": {"amount": {"most": 5}}}));
    let told = explained(&wrong, r#"{"amount":51}"#);
    let place = "authorization_details[0].operations[0].args.amount.most";
    assert!(told.contains(&format!("claim `{place}` of the token")), "{told}");
    let response = gate.get("/shop/products/42", &wrong);
    assert!(response.status == 401 && !response.everything().contains("operations[0]"));
    let record = gate.decision(&response.decision_id());
    assert_eq!((&record["reason"], &record["place"]), (&json!("claim_malformed"), &json!(place)));
    echo.assert_untouched("a malformed token");
}

#[test]
fn explain_shows_the_lines_and_the_values_that_decided_in_a_policy() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let content = "package pay\n\ndefault allow := false\n\nallow if {\n  input.action == \"create_order\"\n  input.args.amount <= 50\n  input.args.payee == \"books\"\n}\n";
    let policy = json!({"language": "rego", "content": content});
    let details = json!([{"type": "authorization_policy", "policy": policy}]);
    let token = Token::new().claim("authorization_details", details).sign(&gate.setup.key);
    let body = gate.setup.write("body.json", r#"{"amount":51,"payee":"books"}"#);
    let output = Command::new(env!("CARGO_BIN_EXE_opgate"))
        .args(["explain", "-c", "opgate.toml", "--request", "POST /shop/orders", "--json"])
        .args(["--token", &token, "--body"])
        .arg(body)
        .current_dir(gate.setup.dir.path())
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let policy = &told["policies"][0];
    assert_eq!((&policy["result"], &policy["place"]), (&json!("false"), &json!(0)), "{told}");
    assert_eq!(policy["input"], json!({"action": "create_order", "args.amount": 51}), "{told}");
    let trace = policy["trace"].as_str().unwrap();
    for line in [
        "   7  evaluated      input.args.amount <= 50",
        "   8  not reached    input.args.payee == \"books\"",
    ] {
        assert!(trace.contains(line), "{line}: {trace}");
    }
}
