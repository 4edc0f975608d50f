//! Cards of an agent behind the gate: what everybody may know of it (R-MCP-025).

use serde_json::{Value, json};

use super::{CURRENT, OLDER, agent, call, granting, post, rpc};
use crate::support::client::Response;
use crate::support::{Echo, Gate, request};

const CARD: &str = "/shop/.well-known/agent-card.json";

/// An agent that tells its card wherever it is asked.
fn signed() -> Echo {
    Echo::scripted(|exchange| {
        exchange.read_body();
        let body: Value = serde_json::from_slice(&exchange.request.body).unwrap_or_default();
        let card = json!({
            "name": "travel", "url": "http://10.0.0.1:9000/", "signatures": [{"protected": "x", "signature": "y"}],
            "supportedInterfaces": [
                {"url": "http://10.0.0.1:9000/", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
                {"url": "http://10.0.0.1:50051", "protocolBinding": "GRPC", "protocolVersion": "1.0"},
            ],
        });
        let answer = match body.get("id") {
            Some(id) => json!({"jsonrpc": "2.0", "id": id, "result": card}),
            None => card,
        };
        exchange.answer("Content-Type: application/json\r\n", &answer.to_string());
    })
}

fn get(gate: &Gate, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    gate.send(request(method, path, headers, ""))
}

#[test]
fn mcp_025_the_card_is_public_and_its_reading_is_recorded() {
    let echo = signed();
    let gate = agent(&echo, "").start();
    let response = get(&gate, "GET", CARD, &[]);
    assert_eq!(response.status, 200, "{}", response.everything());
    assert_eq!(response.json()["url"], "http://10.0.0.1:9000/", "as it is");
    assert!(response.json().get("signatures").is_some());
    let record = gate.decision(&response.decision_id());
    assert_eq!(record["grant"], json!({"how": "public"}));
    assert_eq!(
        (&record["decision"], &record["op"]["action"]),
        (&json!("allow"), &json!("a2a:card"))
    );
    assert_eq!(get(&gate, "GET", "/shop/.well-known/agent.json", &[]).status, 200);
    assert_eq!(get(&gate, "HEAD", CARD, &[]).status, 200);
    // A token that comes with it is nobody's but the gate's, whatever it is worth.
    let token = granting(&gate, &json!([{"action": "nothing"}]));
    for token in [&*token, "nonsense"] {
        let bearer = format!("Bearer {token}");
        assert_eq!(get(&gate, "GET", CARD, &[("Authorization", &bearer)]).status, 200);
        assert!(!echo.requests().pop().unwrap().has("authorization"));
    }
}

#[test]
fn mcp_025_nothing_but_a_reading_of_the_card_is_public() {
    let echo = signed();
    let gate = agent(&echo, "a2a.versions = [\"1.0\"]").start();
    for (method, path, status) in [
        ("POST", CARD, 405),
        ("DELETE", CARD, 405),
        ("OPTIONS", CARD, 405),
        ("GET", "/shop/.well-known/agent.json", 404),
        ("GET", "/shop/.well-known/agent-card.json/", 404),
        ("GET", "/shop/.well-known/Agent-Card.json", 404),
        ("GET", "/shop/.well-known/agent-card.json/tasks", 404),
        ("GET", "/shop/.well-known/other", 404),
        ("GET", "/shop/.well-known/../tasks/t1", 400),
        ("GET", "/shop/tasks/agent-card.json", 401),
        ("GET", "/shop/extendedAgentCard", 401),
    ] {
        let response = get(&gate, method, path, &[CURRENT]);
        assert_eq!(response.status, status, "{method} {path}: {}", response.everything());
    }
    let query = format!("{CARD}?access_token=x");
    assert_eq!(get(&gate, "GET", &query, &[]).status, 400);
    let lines = [("Content-Type", "application/json")];
    let with_body = gate.send(request("GET", CARD, &lines, &rpc("GetTask", &json!({"id": "t"}))));
    assert_eq!(with_body.status, 400);
    echo.assert_untouched("not the card");
}

#[test]
fn mcp_025_a_card_that_is_rewritten_names_the_gate_and_is_not_signed() {
    let echo = signed();
    let gate = agent(&echo, "a2a.rewrite_card = true").start();
    let token = granting(&gate, &json!([{"action": "nothing"}]));
    let extended = post(&gate, &token, &[CURRENT], &rpc("GetExtendedAgentCard", &json!({})));
    let rest = call(&gate, &token, ("GET", "/extendedAgentCard"), &[CURRENT], "");
    let older = call(&gate, &token, ("GET", "/v1/card"), &[OLDER], "");
    for card in [
        get(&gate, "GET", CARD, &[]).json(),
        get(&gate, "GET", "/shop/.well-known/agent.json", &[]).json(),
        extended.json()["result"].clone(),
        rest.json(),
        older.json(),
    ] {
        let expected = json!({
            "name": "travel", "url": "https://tools.test/shop",
            "supportedInterfaces": [
                {"url": "https://tools.test/shop", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
            ],
        });
        assert_eq!(card, expected);
    }
    let head = get(&gate, "HEAD", CARD, &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
}
