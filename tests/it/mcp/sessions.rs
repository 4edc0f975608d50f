//! Sessions, streams and lists of an MCP server behind the gate (`mcp-a2a.md` §5 and §6).

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{CURRENT, at_most_50, granting, message, post, server, tool};
use crate::support::client::Response;
use crate::support::echo::Exchange;
use crate::support::{Echo, Gate, Setup, Token, request};

const OLDER: (&str, &str) = ("MCP-Protocol-Version", "2025-06-18");
const JSON: &str = "Content-Type: application/json\r\n";
const EVENTS: &str = "Content-Type: text/event-stream\r\n";

/// A server of three tools: it begins a session for everybody, lists what it has in JSON or, with the cursor
/// `events`, in events, and asks something on every stream.
fn shop() -> Echo {
    Echo::scripted(|exchange| {
        exchange.read_body();
        let body: Value = serde_json::from_slice(&exchange.request.body).unwrap_or_default();
        let id = &body["id"];
        let is_get = exchange.request.line.starts_with("GET");
        match body["method"].as_str().unwrap_or_default() {
            "initialize" => {
                let result = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "s"}});
                let answer = json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string();
                exchange.answer(&format!("{JSON}Mcp-Session-Id: s-1\r\n"), &answer);
            }
            "tools/list" => {
                let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object", "x": 1.50}});
                let tools = [tool("refund"), tool("create_order"), tool("search")];
                let result = json!({"tools": tools, "nextCursor": "c2", "cacheScope": "public", "ttlMs": 999_999_999});
                let answer = json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string();
                if body["params"]["cursor"] == "events" {
                    let note = json!({"jsonrpc": "2.0", "method": "notifications/message"});
                    events(exchange, &[&note.to_string(), &answer]);
                } else {
                    exchange.answer(JSON, &answer);
                }
            }
            "tools/call" => {
                let ask = json!({"jsonrpc": "2.0", "id": "q-1", "method": "elicitation/create", "params": {}});
                let answer = json!({"jsonrpc": "2.0", "id": id, "result": {"content": []}});
                events(exchange, &[&ask.to_string(), &answer.to_string()]);
            }
            _ if is_get => {
                let ask = json!({"jsonrpc": "2.0", "id": 41, "method": "roots/list"});
                events(exchange, &[&ask.to_string()]);
            }
            _ => exchange.answer("", ""),
        }
    })
}

fn events(exchange: &mut Exchange, messages: &[&str]) {
    exchange.send(format!("HTTP/1.1 200 OK\r\n{EVENTS}Transfer-Encoding: chunked\r\n\r\n"));
    for message in messages {
        let event = format!("event: message\r\nid: 1\r\ndata: {message}\r\n\r\n");
        // In two parts, as a network may cut it.
        let (first, second) = event.split_at(20);
        for part in [first, second] {
            exchange.send(format!("{:x}\r\n{part}\r\n", part.len()));
            thread::sleep(Duration::from_millis(5));
        }
    }
    exchange.send("0\r\n\r\n");
}

fn of(gate: &Gate, subject: &str, operations: &Value) -> String {
    let details = json!([{"type": "agent_operation", "operations": operations}]);
    let token = Token::new().claim("sub", subject).claim("authorization_details", details);
    token.sign(&gate.setup.key)
}

fn begin(gate: &Gate, token: &str) -> Response {
    let response =
        post(gate, token, &[], &message("initialize", &json!({"protocolVersion": "2025-11-25"})));
    assert_eq!(response.header("mcp-session-id"), Some("s-1"), "{}", response.everything());
    response
}

fn stream(gate: &Gate, method: &str, token: &str, session: &str) -> Response {
    let bearer = format!("Bearer {token}");
    let lines = [
        ("Authorization", bearer.as_str()),
        ("Accept", "text/event-stream"),
        ("Mcp-Session-Id", session),
        OLDER,
    ];
    gate.send(request(method, "/shop", &lines, ""))
}

#[test]
fn mcp_012_013_a_session_belongs_to_whoever_began_it() {
    let echo = shop();
    let gate = server(&echo, "").start();
    let rights = json!([{"action": "search"}, {"action": "mcp:stream"}]);
    let (alice, mallory) = (of(&gate, "alice", &rights), of(&gate, "mallory", &rights));
    begin(&gate, &alice);
    let session = ("Mcp-Session-Id", "s-1");
    let call = tool("search", &json!({}));
    let before = echo.requests().len();
    let hijacked = post(&gate, &mallory, &[OLDER, session], &call);
    assert_eq!(hijacked.status, 404);
    assert_eq!(hijacked.json()["error"]["data"]["error"], "session_unknown");
    assert_eq!(gate.decision(&hijacked.decision_id())["reason"], "session_unknown");
    for method in ["GET", "DELETE"] {
        assert_eq!(stream(&gate, method, &mallory, "s-1").status, 404, "{method}");
    }
    let twice = post(&gate, &alice, &[OLDER, session, session], &call);
    assert_eq!(twice.status, 400);
    assert_eq!(echo.requests().len(), before, "nothing of it went upstream");
    let own = post(&gate, &alice, &[OLDER, session], &call);
    assert_eq!(own.status, 200);
    let record = gate.decision(&own.decision_id());
    let tag = record["op"]["session"].as_str().unwrap();
    assert!(tag.starts_with("h1:") && record["op"].get("rebound").is_none());
    assert!(!gate.listing().contains("s-1"), "whoever reads the log cannot join the session");
    assert_eq!(stream(&gate, "DELETE", &alice, "s-1").status, 200);
}

#[test]
fn mcp_012_a_session_cannot_be_named_where_nobody_looks() {
    let echo = shop();
    let gate = server(&echo, "").start();
    let rights = json!([{"action": "search"}]);
    let (alice, mallory) = (of(&gate, "alice", &rights), of(&gate, "mallory", &rights));
    begin(&gate, &alice);
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    let call = message("tools/call", &json!({"name": "search", "arguments": {}, "_meta": meta}));
    let stateless = [
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "search"),
    ];
    let before = echo.requests().len();
    let with = |more: &[(&str, &str)]| {
        let headers = [&stateless[..], more].concat();
        post(&gate, &mallory, &headers, &call)
    };
    assert_eq!(with(&[("Mcp-Session-Id", "s-1")]).status, 400);
    for nominated in ["mcp-protocol-version", "MCP-Session-Id", "mcp-param-x"] {
        let response = with(&[("Mcp-Session-Id", "s-1"), ("Connection", nominated)]);
        assert_eq!(response.status, 400, "{nominated}");
    }
    assert_eq!(echo.requests().len(), before, "nothing of it went upstream");
    assert_eq!(
        with(&[("Mcp_Session_Id", "s-1"), ("mcp_protocol_version", "2025-06-18")]).status,
        200
    );
    let received = echo.requests().pop().unwrap();
    assert!(!received.has("mcp_session_id") && !received.has("mcp_protocol_version"));
}

#[test]
fn mcp_012_another_agent_or_key_of_the_same_person_is_another_principal() {
    let echo = shop();
    let gate = server(&echo, "").start();
    let token = |agent: &str| {
        let details = json!([{"type": "agent_operation", "operations": [{"action": "search"}]}]);
        let token = Token::new().claim("authorization_details", details);
        token.claim("act", json!({"sub": agent})).sign(&gate.setup.key)
    };
    begin(&gate, &token("agent-1"));
    let session = ("Mcp-Session-Id", "s-1");
    let call = tool("search", &json!({}));
    assert_eq!(post(&gate, &token("agent-2"), &[OLDER, session], &call).status, 404);
    assert_eq!(post(&gate, &token("agent-1"), &[OLDER, session], &call).status, 200);
}

#[test]
fn mcp_012_what_becomes_of_a_session_that_is_not_known_is_the_operators_to_say() {
    let echo = shop();
    let rights = json!([{"action": "search"}]);
    let call = tool("search", &json!({}));
    let session = ("Mcp-Session-Id", "s-9");
    let gate = server(&echo, "").start();
    let (alice, mallory) = (of(&gate, "alice", &rights), of(&gate, "mallory", &rights));
    let first = post(&gate, &alice, &[OLDER, session], &call);
    assert_eq!(first.status, 200);
    assert_eq!(gate.decision(&first.decision_id())["op"]["rebound"], true);
    assert_eq!(post(&gate, &mallory, &[OLDER, session], &call).status, 404);
    let second = post(&gate, &alice, &[OLDER, session], &call);
    assert!(gate.decision(&second.decision_id())["op"].get("rebound").is_none());
    let refused =
        post(&gate, &of(&gate, "alice", &json!([])), &[OLDER, ("Mcp-Session-Id", "s-8")], &call);
    assert_eq!(refused.status, 403);
    let still_free = post(&gate, &mallory, &[OLDER, ("Mcp-Session-Id", "s-8")], &call);
    assert_eq!(still_free.status, 200, "a refused call takes no session");
    let strict = server(&echo, "mcp.session_unknown = \"refuse\"").start();
    let alice = of(&strict, "alice", &rights);
    assert_eq!(post(&strict, &alice, &[OLDER, session], &call).status, 404);
    begin(&strict, &alice);
    assert_eq!(post(&strict, &alice, &[OLDER, ("Mcp-Session-Id", "s-1")], &call).status, 200);
}

#[test]
fn mcp_018_a_request_without_a_version_is_of_that_which_its_session_negotiated() {
    let echo = shop();
    let gate = server(&echo, "").start();
    let token = granting(&gate, &json!([{"action": "search"}]));
    let call = tool("search", &json!({}));
    let session = ("Mcp-Session-Id", "s-1");
    assert_eq!(post(&gate, &token, &[session], &call).status, 400);
    begin(&gate, &token);
    assert_eq!(post(&gate, &token, &[session], &call).status, 200);
    assert_eq!(post(&gate, &token, &[], &call).status, 400);
}

#[test]
fn mcp_014_only_what_the_server_asked_is_answered_and_only_by_whom_it_asked() {
    let echo = shop();
    let gate = server(&echo, "").start();
    let rights = json!([{"action": "search"}, {"action": "mcp:stream"}]);
    let (alice, mallory) = (of(&gate, "alice", &rights), of(&gate, "mallory", &rights));
    begin(&gate, &alice);
    let session = ("Mcp-Session-Id", "s-1");
    let answer = |token: &str, headers: &[(&str, &str)], id: &Value| {
        let body = json!({"jsonrpc": "2.0", "id": id, "result": {"action": "accept"}});
        post(&gate, token, headers, &body.to_string())
    };
    let forged = answer(&alice, &[OLDER, session], &json!("q-1"));
    assert_eq!(forged.status, 403);
    assert_eq!(gate.decision(&forged.decision_id())["reason"], "response_unsolicited");
    assert!(forged.json().get("id").is_none(), "an answer has no answer: {}", forged.everything());
    assert_eq!(post(&gate, &alice, &[OLDER, session], &tool("search", &json!({}))).status, 200);
    assert_eq!(answer(&alice, &[OLDER, session], &json!("q-2")).status, 403);
    assert_eq!(answer(&alice, &[OLDER], &json!("q-1")).status, 403, "another session");
    assert_eq!(answer(&mallory, &[OLDER], &json!("q-1")).status, 403);
    assert_eq!(answer(&alice, &[OLDER, session], &json!("q-1")).status, 200);
    assert_eq!(answer(&alice, &[OLDER, session], &json!(41)).status, 403);
    assert_eq!(stream(&gate, "GET", &alice, "s-1").status, 200);
    assert_eq!(answer(&alice, &[OLDER, session], &json!(41)).status, 200);
    assert_eq!(answer(&alice, &[OLDER, session], &json!("41")).status, 403, "a text is no number");
}

#[test]
fn mcp_018_a_stream_is_an_operation_of_its_own() {
    let echo = shop();
    let gate = server(&echo, "").start();
    let token = granting(&gate, &json!([{"action": "search"}]));
    begin(&gate, &token);
    let refused = stream(&gate, "GET", &token, "s-1");
    assert_eq!(refused.status, 403);
    assert_eq!(gate.decision(&refused.decision_id())["op"]["action"], "mcp:stream");
    let token = granting(&gate, &json!([{"action": "mcp:stream"}]));
    let allowed = stream(&gate, "GET", &token, "s-1");
    assert_eq!(allowed.status, 200);
    assert!(allowed.everything().contains("roots/list"));
}

/// The names of tools in an answer, and the rest of its result.
fn listed(answer: &Value) -> (Vec<&str>, &Value) {
    let tools = answer["result"]["tools"].as_array().unwrap();
    (tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect(), &answer["result"])
}

#[test]
fn mcp_015_016_a_list_holds_what_the_token_could_use_and_the_rest_is_refused_all_the_same() {
    let echo = shop();
    let rules = "[[resource.tool]]\nname = \"search\"\nscopes = [\"find\"]\n";
    let gate = Setup { operations: rules.to_owned(), ..server(&echo, "") }.start();
    let list = message("tools/list", &json!({}));
    let token = at_most_50(&gate);
    let response = post(&gate, &token, &[CURRENT, ("Accept-Encoding", "gzip")], &list);
    assert_eq!(response.status, 200);
    let answer = response.json();
    let (names, result) = listed(&answer);
    assert_eq!(names, ["create_order"]);
    assert_eq!((&result["nextCursor"], &result["cacheScope"]), (&json!("c2"), &json!("private")));
    assert!(result["ttlMs"].as_u64().unwrap() <= 3_600_000, "{result}");
    assert!(!echo.requests()[0].has("accept-encoding"), "what is read is asked for as it is");
    let hidden = post(&gate, &token, &[CURRENT], &tool("refund", &json!({})));
    assert_eq!(hidden.status, 403);
    let events = message("tools/list", &json!({"cursor": "events"}));
    let response = post(&gate, &token, &[CURRENT], &events);
    let text = String::from_utf8(response.body).unwrap();
    assert!(text.contains("event: message\r\nid: 1\r\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}"), "{text}");
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap();
    assert_eq!(listed(&serde_json::from_str(data).unwrap()).0, ["create_order"]);
    // In the order of the server; a tool whose scope is lacking is not there.
    let rights = json!([{"action": "search"}, {"action": "refund"}, {"action": "mcp:tools/call:create_order"}]);
    let response = post(&gate, &granting(&gate, &rights), &[CURRENT], &list);
    assert_eq!(listed(&response.json()).0, ["refund", "create_order"]);
    // What a policy says cannot be told without a call.
    let policy = json!([{"type": "authorization_policy", "policy": {"language": "rego", "entry_point": "allow",
        "content": "package p\nimport rego.v1\ndefault allow := false\n"}}]);
    let token = Token::new().claim("authorization_details", policy).claim("scope", "find");
    let response = post(&gate, &token.sign(&gate.setup.key), &[CURRENT], &list);
    assert_eq!(listed(&response.json()).0, ["refund", "create_order", "search"]);
}

#[test]
fn mcp_015_an_operator_can_have_lists_left_alone() {
    let echo = shop();
    let gate = server(&echo, "mcp.filter_lists = false").start();
    let response = post(&gate, &at_most_50(&gate), &[CURRENT], &message("tools/list", &json!({})));
    assert_eq!(listed(&response.json()).0, ["refund", "create_order", "search"]);
    assert_eq!(response.json()["result"]["cacheScope"], "public");
}

#[test]
fn mcp_019_an_event_passes_when_it_comes_and_the_server_sees_its_client_go() {
    let (sender, gone) = std::sync::mpsc::channel();
    let echo = Echo::scripted(move |exchange| {
        exchange.read_body();
        exchange.send(format!("HTTP/1.1 200 OK\r\n{EVENTS}Transfer-Encoding: chunked\r\n\r\n"));
        let event = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n";
        exchange.send(format!("{:x}\r\n{event}\r\n", event.len()));
        exchange.send("5\r\ndata:\r\n");
        while !exchange.is_abandoned() {}
        sender.send(()).unwrap();
    });
    let gate = server(&echo, "").start();
    let token = granting(&gate, &json!([{"action": "search"}]));
    let bearer = format!("Bearer {token}");
    let lines = [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), CURRENT];
    let mut connection = gate.connect();
    connection.send(request("POST", "/shop", &lines, &tool("search", &json!({}))));
    assert!(connection.until("notifications/progress").is_some());
    assert!(connection.until("data:\r\n").is_some(), "also what is no whole event yet");
    drop(connection);
    gone.recv_timeout(crate::support::PATIENCE).unwrap();
}
