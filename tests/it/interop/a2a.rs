//! The official server and client of A2A, with the gate between them, in both versions and bindings.

use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use super::Foreign;
use crate::support::{Echo, Gate, Setup, Token, eventually};

/// A gate before the agent that `server` is, once that listens.
fn before(server: &mut Foreign) -> Gate {
    let port = server.read()["port"].as_u64().unwrap();
    let address = format!("127.0.0.1:{port}");
    eventually("the agent", || TcpStream::connect(&address).ok());
    // The address that its card is to name is known before.
    let own = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let setup = Setup {
        url: format!("\"http://{address}\""),
        listen: format!("\"{own}\""),
        gate: format!("hosts = [\"{own}\"]"),
        resource: "protocol = \"a2a\"\na2a.rewrite_card = true".to_owned(),
        operations: String::new(),
        ..Setup::new(&Echo::start())
    };
    setup.start()
}

fn of(gate: &Gate, subject: &str) -> String {
    let operations = json!([
        {"action": "SendMessage", "args": {"amount": {"maximum": 50}}},
        {"action": "SendStreamingMessage", "args": {"amount": {"maximum": 50}}},
        {"action": "GetTask"},
        {"action": "ListTasks"},
        {"action": "CancelTask"},
    ]);
    let details = json!([{"type": "agent_operation", "operations": operations}]);
    let token = Token::new().claim("sub", subject).claim("authorization_details", details);
    token.sign(&gate.setup.key)
}

#[test]
#[ignore = "needs tests/interop, which tests/run installs"]
fn mcp_020_022_025_the_official_client_and_agent_speak_through_the_gate_in_both_versions() {
    let mut server = Foreign::python("a2a-server.py");
    let gate = before(&mut server);
    let (alice, bob) = (of(&gate, "alice"), of(&gate, "bob"));
    let url = format!("http://{}/shop", gate.address());
    let mut of_alice: Option<Value> = None;
    let ways = [("JSONRPC", "1.0"), ("HTTP+JSON", "1.0"), ("JSONRPC", "0.3")];
    let ways = ways.iter().flat_map(|way| [(way, false), (way, true)]);
    for ((binding, version), streaming) in ways {
        let case = format!("{binding} {version} {streaming}");
        let ask = |token: &str, task: Option<&Value>| {
            let question = json!({"url": url, "token": token, "binding": binding, "version": version,
                "streaming": streaming, "amounts": [10, 1_000], "task": task, "cancel": !streaming});
            Foreign::python("a2a-client.py").ask(&question)
        };
        let own = ask(&alice, None);
        // What the client is told is where the gate is, and nowhere else.
        assert_eq!(own["urls"], json!(["https://tools.test/shop"]), "{case}: {own}");
        let task = own["orders"][0]["task"].clone();
        assert!(task.is_string(), "{case}: {own}");
        assert!(own["orders"][1].get("error").is_some(), "{case}: {own}");
        assert_eq!(own["got"], json!({"task": task, "text": "ordered for 10"}), "{case}: {own}");
        assert_eq!(own["again"]["task"], task, "{case}: {own}");
        if *version == "1.0" {
            assert!(own["listed"]["tasks"].as_array().unwrap().contains(&task), "{case}: {own}");
        }
        if !streaming {
            assert_eq!(own["canceled"]["state"], "TASK_STATE_CANCELED", "{case}: {own}");
        }
        let other = ask(&bob, Some(&task));
        assert!(other["stranger"].get("error").is_some(), "{case}: {other}");
        if *version == "1.0" {
            let listed = other["listed"]["tasks"].as_array().unwrap();
            assert!(!listed.contains(&task), "{case}: {other}");
        }
        of_alice.get_or_insert(task);
    }
    // In REST of 0.3 this client writes members in snake case, which is refused (R-MCP-023).
    let question = json!({"url": url, "token": alice, "binding": "HTTP+JSON", "version": "0.3",
        "streaming": false, "amounts": [10]});
    let snake = Foreign::python("a2a-client.py").ask(&question);
    assert!(snake["orders"][0]["message"].as_str().unwrap().contains("400"), "{snake}");
    let refused = gate.decisions().into_iter().filter(|one| one["decision"] == "deny");
    let reasons: Vec<Value> = refused.map(|one| one["reason"].clone()).collect();
    let count = |reason: &str| reasons.iter().filter(|one| *one == reason).count();
    assert_eq!((count("arguments_outside"), count("task_unknown")), (12, 6), "{reasons:?}");
}
