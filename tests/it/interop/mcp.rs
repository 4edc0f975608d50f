//! The official servers and clients of the Model Context Protocol, with the gate between them.

use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use super::Foreign;
use crate::support::gate::SHOP;
use crate::support::{Echo, Gate, Setup, Token, eventually};

/// A gate before the server that `server` is, once that listens.
fn before(server: &mut Foreign) -> Gate {
    let port = server.read()["port"].as_u64().unwrap();
    let address = format!("127.0.0.1:{port}");
    eventually("the server", || TcpStream::connect(&address).ok());
    // The port is part of the host that clients name, so it is known before.
    let own = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let setup = Setup {
        url: format!("\"http://{address}/mcp\""),
        listen: format!("\"{own}\""),
        gate: format!("hosts = [\"{own}\"]"),
        resource: "protocol = \"mcp\"".to_owned(),
        operations: String::new(),
        ..Setup::new(&Echo::start())
    };
    setup.start()
}

fn granting(gate: &Gate, operations: &Value) -> String {
    let details = json!([{"type": "agent_operation", "operations": operations}]);
    Token::new().claim("authorization_details", details).sign(&gate.setup.key)
}

fn url(gate: &Gate) -> String {
    format!("http://{}/shop", gate.address())
}

/// Every record of an allowed call of a tool says so.
fn called(gate: &Gate) -> Vec<String> {
    let records = gate.decisions().into_iter();
    let calls = records.filter(|record| record["op"]["method"] == "tools/call");
    let one = |record: Value| format!("{} {}", record["decision"], record["op"]["name"]);
    calls.map(one).collect()
}

#[test]
#[ignore = "needs tests/interop, which tests/run installs"]
fn mcp_007_015_the_official_python_client_and_server_speak_through_the_gate_in_two_revisions() {
    let mut server = Foreign::python("mcp-server.py");
    let gate = before(&mut server);
    let operations = json!([
        {"action": "create_order", "args": {"amount": {"maximum": 50}}},
        {"action": "resources/read", "args": {"uri": {"prefix": "note://"}}},
    ]);
    let token = granting(&gate, &operations);
    for (mode, version) in [("auto", "2026-07-28"), ("legacy", "2025-11-25")] {
        let calls = json!([
            ["create_order", {"amount": 10}],
            ["create_order", {"amount": 1_000}],
            ["refund", {"order": "1"}],
        ]);
        let question = json!({"url": url(&gate), "token": token, "mode": mode, "calls": calls,
            "read": "note://greeting"});
        let answer = Foreign::python("mcp-client.py").ask(&question);
        assert_eq!(answer["version"], version, "{answer}");
        assert_eq!(answer["tools"], json!(["create_order"]), "{mode}");
        assert_eq!(answer["read"], "hello");
        let results = &answer["results"];
        assert_eq!(results[0]["text"], "ordered for 10.0", "{answer}");
        for refused in [&results[1], &results[2]] {
            assert_eq!(refused["code"], -31_403, "{answer}");
            assert_eq!(refused["data"]["error"], "insufficient_authorization");
        }
        let needed = &results[2]["data"]["authorization"]["remediationHints"][0];
        let refund = json!([{"type": "agent_operation", "locations": [SHOP],
            "operations": [{"action": "refund"}]}]);
        assert_eq!(needed["authorization_details"], refund);
    }
    let once = [r#""allow" "create_order""#, r#""deny" "create_order""#, r#""deny" "refund""#];
    assert_eq!(called(&gate), [once, once].concat());
}

#[test]
#[ignore = "needs tests/interop, which tests/run installs"]
fn mcp_014_019_the_official_typescript_client_and_the_server_with_everything_ask_each_other() {
    let mut server = Foreign::node("mcp-everything.mjs");
    let gate = before(&mut server);
    let operations = json!([
        {"action": "mcp:stream"},
        {"action": "echo"},
        {"action": "get-sum", "args": {"a": {"maximum": 50}}},
        {"action": "trigger-sampling-request"},
        {"action": "trigger-elicitation-request"},
        {"action": "trigger-long-running-operation"},
    ]);
    let calls = json!([
        ["echo", {"message": "hi"}],
        ["get-sum", {"a": 1, "b": 2}],
        ["get-sum", {"a": 51, "b": 2}],
        ["get-env", {}],
        ["trigger-sampling-request", {"prompt": "say something", "maxTokens": 10}],
        ["trigger-elicitation-request", {}],
        ["trigger-long-running-operation", {"duration": 1, "steps": 2}],
    ]);
    let question =
        json!({"url": url(&gate), "token": granting(&gate, &operations), "calls": calls});
    let answer = Foreign::node("mcp-client.mjs").ask(&question);
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results[0]["text"], "Echo: hi", "{answer}");
    assert_eq!(results[1]["text"], "The sum of 1 and 2 is 3.");
    assert_eq!((&results[2]["status"], &results[3]["status"]), (&json!(403), &json!(403)));
    assert!(results[4]["text"].as_str().unwrap().contains("sampled words"), "{answer}");
    assert!(results[5]["text"].is_string() && results[6]["text"].is_string(), "{answer}");
    let asked = answer["asked"].as_array().unwrap();
    for method in ["sampling/createMessage", "elicitation/create"] {
        assert!(asked.contains(&json!(method)), "{answer}");
    }
    let tools = answer["tools"].as_array().unwrap();
    assert!(tools.contains(&json!("echo")) && !tools.contains(&json!("get-env")), "{answer}");
    // Answers of the client are calls, and so are recorded; none was refused.
    let answers = gate.decisions().into_iter().filter(|one| one["op"]["action"] == "mcp:response");
    let answers: Vec<Value> = answers.map(|one| one["decision"].clone()).collect();
    assert!(answers.len() >= 2 && answers.iter().all(|one| one == "allow"), "{answers:?}");
}
