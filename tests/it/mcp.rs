//! MCP servers behind the gate (`mcp-a2a.md`): what is asked for stands in the body, and is judged there.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

mod definitions;
mod floods;
mod sessions;

use crate::support::challenge::Challenge;
use crate::support::client::Response;
use crate::support::{Echo, Gate, Setup, Token, opgate, request};

const CURRENT: (&str, &str) = ("MCP-Protocol-Version", "2025-11-25");
const STATELESS: (&str, &str) = ("MCP-Protocol-Version", "2026-07-28");

/// An MCP server behind the gate at `/shop`, with these further lines of its resource.
fn server(echo: &Echo, lines: &str) -> Setup {
    Setup {
        resource: format!("protocol = \"mcp\"\n{lines}"),
        operations: String::new(),
        ..Setup::new(echo)
    }
}

/// A token that grants these operations.
fn granting(gate: &Gate, operations: &Value) -> String {
    let details = json!([{"type": "agent_operation", "operations": operations}]);
    Token::new().claim("authorization_details", details).sign(&gate.setup.key)
}

/// A token that grants orders of at most 50.
fn at_most_50(gate: &Gate) -> String {
    granting(gate, &json!([{"action": "create_order", "args": {"amount": {"maximum": 50}}}]))
}

fn post(gate: &Gate, token: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let bearer = format!("Bearer {token}");
    let mut lines = vec![
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
    ];
    lines.extend_from_slice(headers);
    gate.send(request("POST", "/shop", &lines, body))
}

fn message(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string()
}

fn tool(name: &str, arguments: &Value) -> String {
    message("tools/call", &json!({"name": name, "arguments": arguments}))
}

/// Asserts that a message is refused with this status and code, and that nothing goes upstream.
#[track_caller]
fn assert_refused(echo: &Echo, response: &Response, status: u16, code: i64, case: &str) {
    assert_eq!(response.status, status, "{case}: {}", response.everything());
    let body = response.json();
    assert_eq!(body["jsonrpc"], "2.0", "{case}");
    assert_eq!(body["error"]["code"], code, "{case}: {body}");
    assert_eq!(body["error"]["data"]["decision_id"], response.decision_id(), "{case}");
    echo.assert_untouched(case);
}

#[test]
fn mcp_007_028_a_tool_is_an_operation_and_its_arguments_are_held_against_the_grant() {
    let echo = Echo::start();
    let gate = server(&echo, "").start();
    let token = at_most_50(&gate);
    for amount in [json!(51), json!(50.000_001), json!("10"), Value::Null] {
        let response =
            post(&gate, &token, &[CURRENT], &tool("create_order", &json!({"amount": amount})));
        assert_refused(&echo, &response, 403, -31_403, &amount.to_string());
        let record = gate.decision(&response.decision_id());
        assert_eq!(record["reason"], "arguments_outside");
        assert_eq!(record["op"]["protocol"], "mcp");
        assert_eq!(record["op"]["method"], "tools/call");
        assert_eq!(record["op"]["name"], "create_order");
        assert_eq!(record["op"]["action"], "create_order");
    }
    let none =
        post(&gate, &token, &[CURRENT], &message("tools/call", &json!({"name": "create_order"})));
    assert_refused(&echo, &none, 403, -31_403, "no arguments");
    let other = post(&gate, &token, &[CURRENT], &tool("cancel_order", &json!({"amount": 1})));
    assert_refused(&echo, &other, 403, -31_403, "another tool");
    let body = " {\"id\": 7.0e0 ,\"jsonrpc\":\"2.0\"}";
    assert_refused(&echo, &post(&gate, &token, &[CURRENT], body), 400, -32_600, "a fraction");
    let body = "\t{ \"jsonrpc\":\"2.0\",\r\n \"id\" : \"a\\u0062\", \"method\":\"tools/call\",\
                \"params\":{\"name\":\"create_order\",\"arguments\":{\"amount\":5.00e0}} }";
    let response = post(&gate, &token, &[CURRENT], body);
    assert_eq!(response.status, 200, "{}", response.everything());
    assert_eq!(echo.only().body, body.as_bytes());
}

#[test]
fn mcp_007_a_refusal_says_what_would_be_needed_in_the_challenge_and_in_the_error() {
    let echo = Echo::start();
    let gate = server(&echo, "").start();
    let token = granting(&gate, &json!([{"action": "search"}]));
    let response = post(&gate, &token, &[CURRENT], &tool("create_order", &json!({"amount": 1})));
    assert_refused(&echo, &response, 403, -31_403, "not granted");
    let body = response.json();
    assert_eq!(body["id"], 7);
    let wanted = json!([{
        "type": "agent_operation", "locations": ["https://tools.test/shop"],
        "operations": [{"action": "create_order"}],
    }]);
    let data = &body["error"]["data"];
    assert_eq!(data["error"], "insufficient_authorization");
    let hint = &data["authorization"]["remediationHints"][0];
    assert_eq!(hint["type"], "oauth_authorization_details");
    assert_eq!(hint["authorization_details"], wanted);
    assert_eq!(data["policy_profile"]["auth_server"], "https://as.test");
    let challenge = Challenge::of(&response);
    assert_eq!(challenge.decoded("authorization_remediation")["authorization_details"], wanted);
    // What was asked for is what a token then needs.
    let details = Token::new().claim("authorization_details", wanted).sign(&gate.setup.key);
    let response = post(&gate, &details, &[CURRENT], &tool("create_order", &json!({"amount": 1})));
    assert_eq!(response.status, 200);
}

#[test]
fn mcp_008_the_name_of_a_tool_is_never_that_of_a_method() {
    let echo = Echo::start();
    let gate = server(&echo, "").start();
    let reads =
        granting(&gate, &json!([{"action": "resources/read"}, {"action": "mcp:resources/read"}]));
    let evil = tool("resources/read", &json!({"uri": "a:b"}));
    assert_refused(&echo, &post(&gate, &reads, &[CURRENT], &evil), 403, -31_403, "a method's name");
    let orders = granting(&gate, &json!([{"action": "create_order"}]));
    for name in [
        "create_order ",
        "Create_order",
        "create_\u{43e}rder",
        "create_order\u{0}",
        "create%5forder",
    ] {
        let response = post(&gate, &orders, &[CURRENT], &tool(name, &json!({})));
        assert_refused(&echo, &response, 403, -31_403, name);
    }
    for name in ["", &"x".repeat(2_000)] {
        let response = post(&gate, &orders, &[CURRENT], &tool(name, &json!({})));
        assert_refused(&echo, &response, 400, -32_602, "no name of a tool");
    }
    let exact = granting(&gate, &json!([{"action": "mcp:tools/call:resources/read"}]));
    assert_eq!(post(&gate, &exact, &[CURRENT], &evil).status, 200);
    let qualified = granting(&gate, &json!([{"action": "mcp:tools/call:create_order"}]));
    let response = post(&gate, &qualified, &[CURRENT], &tool("create_order", &json!({})));
    assert_eq!(response.status, 200, "the qualified name is one of the operation's");
}

#[test]
fn mcp_004_006_029_what_is_not_one_message_is_refused_before_a_byte_goes_upstream() {
    let echo = Echo::start();
    let gate = server(&echo, "").start();
    let token = granting(&gate, &json!([{"action": "t"}]));
    let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"t","arguments":{deep}}}}}"#
    );
    let long_id = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "x".repeat(257));
    for (body, code) in [
        (r#"[{"jsonrpc":"2.0","id":7,"method":"ping"}]"#, -32_600),
        (r"[]", -32_600),
        (r#""ping""#, -32_600),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t","name":"x"}}"#,
            -32_700,
        ),
        (r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","method":"ping"}"#, -32_700),
        (r#"{"jsonrpc":"2.0","id":7,"method":"ping"} {}"#, -32_700),
        ("\u{feff}{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ping\"}", -32_700),
        (r#"{"jsonrpc":"2.0","id":7,"method":"\ud800"}"#, -32_700),
        (r#"{"id":7,"method":"ping"}"#, -32_600),
        (r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#, -32_600),
        (r#"{"jsonrpc":2.0,"id":7,"method":"ping"}"#, -32_600),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32_600),
        (r#"{"jsonrpc":"2.0","id":7.5,"method":"ping"}"#, -32_600),
        (r#"{"jsonrpc":"2.0","id":1e2,"method":"ping"}"#, -32_600),
        (r#"{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}"#, -32_600),
        (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, -32_600),
        (r#"{"jsonrpc":"2.0","id":7,"method":7}"#, -32_600),
        (r#"{"jsonrpc":"2.0","id":7,"Method":"ping"}"#, -32_600),
        (r#"{"jsonrpc":"2.0","id":7,"method":"ping","more":1}"#, -32_600),
        (r#"{"jsonrpc":"2.0","id":7,"method":"ping","result":{}}"#, -32_600),
        (r#"{"jsonrpc":"2.0","id":7,"result":{},"error":{}}"#, -32_600),
        (r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"t"}}"#, -32_600),
        (r#"{"jsonrpc":"2.0","id":7,"method":"notifications/cancelled"}"#, -32_600),
        (r#"{"jsonrpc":"2.0","id":7,"method":"ping","params":[]}"#, -32_602),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t","arguments":null}}"#,
            -32_602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t","arguments":[]}}"#,
            -32_602,
        ),
        (r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":7}}"#, -32_602),
        (r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"Name":"t"}}"#, -32_602),
        (r#"{"jsonrpc":"2.0","id":7,"method":"tools/call"}"#, -32_602),
        (&long_id, -32_600),
        (&deep, -32_700),
        ("", -32_700),
    ] {
        let response = post(&gate, &token, &[CURRENT], body);
        assert_refused(&echo, &response, 400, code, body);
    }
}

#[test]
fn mcp_006_names_that_a_reader_without_regard_to_case_would_take_for_another_are_refused() {
    let echo = Echo::start();
    let gate = server(&echo, "").start();
    let token = at_most_50(&gate);
    let call = |params: &str| {
        let body = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{params}}}"#);
        post(&gate, &token, &[CURRENT], &body)
    };
    for (params, code) in [
        (
            r#"{"name":"create_order","arguments":{"amount":1},"Arguments":{"amount":5000}}"#,
            -32_700,
        ),
        (r#"{"name":"create_order","arguments":{"amount":1,"AMOUNT":5000}}"#, -32_700),
        (r#"{"name":"create_order","Name":"refund","arguments":{"amount":1}}"#, -32_700),
        (
            "{\"name\":\"create_order\",\"arguments\":{\"amount\":1},\"argument\u{17f}\":{}}",
            -32_700,
        ),
        (r#"{"name":"create_order","Arguments":{"amount":1}}"#, -32_602),
        (r#"{"name":"create_order","arguments":{"amount":1},"REQUESTSTATE":"x"}"#, -32_602),
    ] {
        assert_refused(&echo, &call(params), 400, code, params);
    }
    assert_eq!(call(r#"{"name":"create_order","arguments":{"amount":1,"Note":"x"}}"#).status, 200);
}

#[test]
fn mcp_007_a_grant_of_a_method_and_a_path_is_one_of_no_tool() {
    let echo = Echo::start();
    let gate = server(&echo, "").start();
    let everything = granting(&gate, &json!([{"method": "POST", "path": "/**"}]));
    let refused = post(&gate, &everything, &[CURRENT], &tool("evil", &json!({})));
    assert_refused(&echo, &refused, 403, -31_403, "no tool is named");
    let limit = json!([{"action": "pay", "args": {"amount": {"maximum": 50, "optional": true}}}]);
    let token = granting(&gate, &limit);
    for arguments in
        [json!({"Amount": 5_000}), json!({"amount ": 5_000}), json!({"amount\u{0}": 5_000})]
    {
        let response = post(&gate, &token, &[CURRENT], &tool("pay", &arguments));
        assert_refused(&echo, &response, 403, -31_403, &arguments.to_string());
    }
    assert_eq!(post(&gate, &token, &[CURRENT], &tool("pay", &json!({}))).status, 200);
}

#[test]
fn mcp_001_a_message_comes_in_a_post_and_in_nothing_else() {
    let echo = Echo::start();
    let gate = server(&echo, "").start();
    let token = granting(&gate, &json!([{"action": "mcp:stream"}]));
    let bearer = format!("Bearer {token}");
    for method in ["GET", "DELETE"] {
        let lines =
            [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), CURRENT];
        let response = gate.send(request(method, "/shop", &lines, &tool("t", &json!({}))));
        assert_eq!(response.status, 400, "{method}");
        let record = gate.decision(&response.decision_id());
        assert_eq!(record["reason"], "message_invalid", "{method}");
    }
    echo.assert_untouched("a message that nobody judged");
    assert_eq!(gate.get("/shop", &token).status, 200);
}

#[test]
fn mcp_029_a_body_that_is_too_large_or_no_json_is_refused() {
    let echo = Echo::start();
    let gate = server(&echo, "body_limit = \"64KiB\"").start();
    let token = granting(&gate, &json!([{"action": "t"}]));
    let large = tool("t", &json!({"x": "y".repeat(70_000)}));
    assert_eq!(post(&gate, &token, &[CURRENT], &large).status, 413);
    let bearer = format!("Bearer {token}");
    for (name, value) in [("Content-Type", "text/plain"), ("Content-Encoding", "gzip")] {
        let lines = [("Authorization", bearer.as_str()), CURRENT, (name, value)];
        let response = gate.send(request("POST", "/shop", &lines, &tool("t", &json!({}))));
        assert_eq!(response.status, 415, "{name}");
    }
    echo.assert_untouched("no message");
}

#[test]
fn mcp_009_what_is_not_known_is_not_forwarded_whatever_a_token_grants() {
    let echo = Echo::start();
    let gate = server(&echo, "authorization = \"scope\"").start();
    let token = Token::new().without("authorization_details").sign(&gate.setup.key);
    for method in
        ["tools/uninstall", "Tools/call", "tasks/get", "server/discover", "mcp:stream", ""]
    {
        let response = post(&gate, &token, &[CURRENT], &message(method, &json!({"name": "t"})));
        assert_refused(&echo, &response, 403, -32_601, method);
        assert_eq!(gate.decision(&response.decision_id())["reason"], "operation_unknown");
    }
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    for method in ["ping", "initialize", "logging/setLevel", "nothing"] {
        let headers = [STATELESS, ("Mcp-Method", method)];
        let body = message(method, &json!({"_meta": meta, "protocolVersion": "2026-07-28"}));
        assert_refused(&echo, &post(&gate, &token, &headers, &body), 404, -32_601, method);
    }
}

#[test]
fn mcp_010_013_nothing_is_exempt_from_a_token() {
    let echo = Echo::start();
    let gate = server(&echo, "").start();
    for method in ["initialize", "tools/list", "ping", "server/discover"] {
        let lines = [("Content-Type", "application/json"), ("Mcp-Session-Id", "s1"), CURRENT];
        let body = message(method, &json!({"protocolVersion": "2025-11-25"}));
        let response = gate.send(request("POST", "/shop", &lines, &body));
        assert_eq!(response.status, 401, "{method}");
        let challenge = Challenge::of(&response);
        let metadata = "https://tools.test/.well-known/oauth-protected-resource/shop";
        assert_eq!(challenge.get("resource_metadata"), Some(metadata));
    }
    for method in ["GET", "DELETE"] {
        let lines = [("Accept", "text/event-stream"), ("Mcp-Session-Id", "s1"), CURRENT];
        assert_eq!(gate.send(request(method, "/shop", &lines, "")).status, 401, "{method}");
    }
    echo.assert_untouched("no token");
    // With a token they need no grant.
    let token = granting(&gate, &json!([{"action": "nothing"}]));
    let body = message("initialize", &json!({"protocolVersion": "2025-11-25"}));
    let response = post(&gate, &token, &[], &body);
    assert_eq!(response.status, 200);
    let record = gate.decision(&response.decision_id());
    assert_eq!(record["grant"], json!({"how": "token"}));
    assert_eq!(record["op"]["action"], "initialize");
    assert_eq!(post(&gate, &token, &[CURRENT], &message("ping", &json!({}))).status, 200);
}

#[test]
fn mcp_001_002_003_headers_that_repeat_the_message_agree_with_it() {
    let echo = Echo::start();
    let gate = server(&echo, "").start();
    let token = granting(
        &gate,
        &json!([{"action": "t"}, {"action": "evil"}, {"action": "resources/read"}]),
    );
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    let body =
        message("tools/call", &json!({"name": "t", "arguments": {"Region": "eu"}, "_meta": meta}));
    let (method, name) = (("Mcp-Method", "tools/call"), ("Mcp-Name", "t"));
    let good = [STATELESS, method, name, ("Mcp-Param-Region", "eu")];
    for (headers, case) in [
        (vec![STATELESS, method], "no name"),
        (vec![STATELESS, name], "no method"),
        (vec![STATELESS, method, ("Mcp-Name", "evil")], "another name"),
        (vec![STATELESS, ("Mcp-Method", "tools/list"), name], "another method"),
        (vec![STATELESS, ("Mcp-Method", "Tools/Call"), name], "another case"),
        (vec![STATELESS, method, name, name], "a name twice"),
        (vec![STATELESS, STATELESS, method, name], "a version twice"),
        (vec![("MCP-Protocol-Version", "2025-11-25"), method, name], "another version"),
        (vec![STATELESS, method, ("Mcp-Name", "=?base64?!?=")], "no Base64"),
        (vec![STATELESS, method, name, ("Mcp-Param-Region", "us")], "another argument"),
        (vec![STATELESS, method, name, ("Mcp-Param-region", "us")], "another case of its name"),
    ] {
        let response = post(&gate, &token, &headers, &body);
        assert_refused(&echo, &response, 400, -32_020, case);
        assert_eq!(response.json()["id"], 7, "{case}");
    }
    let plain = message("tools/call", &json!({"name": "t", "arguments": {}}));
    let response = post(&gate, &token, &[STATELESS, method, name], &plain);
    assert_refused(&echo, &response, 400, -32_020, "no version in the message");
    // An older revision does not know them; who stands behind might.
    for header in [("Mcp-Name", "evil"), ("Mcp-Method", "ping")] {
        let response = post(&gate, &token, &[CURRENT, header], &plain);
        assert_refused(&echo, &response, 400, -32_020, "an older revision");
    }
    assert_eq!(post(&gate, &token, &good, &body).status, 200);
    let stray = [STATELESS, method, name, ("Mcp-Param-Tenant", "x")];
    assert_eq!(post(&gate, &token, &stray, &body).status, 200);
    let received = echo.requests().pop().unwrap();
    assert!(!received.has("mcp-param-tenant"), "nothing is known of it");
    assert!(received.has("mcp-name"));
    let uri = "note:\u{e4}\u{f6}";
    let coded = format!("=?base64?{}?=", STANDARD.encode(uri));
    let body = message("resources/read", &json!({"uri": uri, "_meta": meta}));
    let headers = [STATELESS, ("Mcp-Method", "resources/read"), ("Mcp-Name", coded.as_str())];
    assert_eq!(post(&gate, &token, &headers, &body).status, 200);
}

#[test]
fn mcp_018_a_request_without_a_version_is_taken_for_the_oldest_or_refused() {
    let echo = Echo::start();
    let gate = server(&echo, "").start();
    let token = granting(&gate, &json!([{"action": "t"}]));
    let body = tool("t", &json!({}));
    for (headers, case) in [
        (vec![], "none"),
        (vec![("MCP-Protocol-Version", "2025-03-26")], "legacy"),
        (vec![("MCP-Protocol-Version", "2024-11-05")], "before streamable HTTP"),
        (vec![("MCP-Protocol-Version", "latest")], "no revision"),
        (vec![("MCP-Protocol-Version", "")], "empty"),
    ] {
        let response = post(&gate, &token, &headers, &body);
        assert_refused(&echo, &response, 400, -32_022, case);
        let supported = json!(["2025-06-18", "2025-11-25", "2026-07-28"]);
        assert_eq!(response.json()["error"]["data"]["supported"], supported);
    }
    for version in [json!("2025-03-26"), json!("1.0"), json!(7), Value::Null] {
        let body = message("initialize", &json!({"protocolVersion": version}));
        let response = post(&gate, &token, &[], &body);
        assert_refused(&echo, &response, 400, -32_022, &version.to_string());
    }
    let legacy = server(&echo, "mcp.allow_legacy = true").start();
    let token = granting(&legacy, &json!([{"action": "t"}]));
    assert_eq!(post(&legacy, &token, &[], &body).status, 200);
    let batch = format!("[{body}]");
    let response = post(&legacy, &token, &[], &batch);
    assert_eq!((response.status, &response.json()["error"]["code"]), (400, &json!(-32_600)));
}

#[test]
fn mcp_021_completions_of_a_prompt_or_a_resource_need_what_its_use_needs() {
    let echo = Echo::start();
    let gate = server(&echo, "").start();
    let of = |reference: Value| {
        message(
            "completion/complete",
            &json!({"ref": reference, "argument": {"name": "a", "value": ""}}),
        )
    };
    let prompt = of(json!({"type": "ref/prompt", "name": "greet"}));
    let resource = of(json!({"type": "ref/resource", "uri": "note:{id}"}));
    let other = granting(
        &gate,
        &json!([{"action": "completion/complete"}, {"action": "mcp:prompts/get:part"}]),
    );
    for body in [&prompt, &resource] {
        let response = post(&gate, &other, &[CURRENT], body);
        assert_refused(&echo, &response, 403, -31_403, body);
    }
    for bad in
        [json!({"type": "ref/tool", "name": "t"}), json!({"type": "ref/prompt"}), json!("greet")]
    {
        let response = post(&gate, &other, &[CURRENT], &of(bad));
        assert_refused(&echo, &response, 400, -32_602, "no reference");
    }
    let greet = granting(&gate, &json!([{"action": "mcp:prompts/get:greet"}]));
    assert_eq!(post(&gate, &greet, &[CURRENT], &prompt).status, 200);
    assert_eq!(post(&gate, &greet, &[CURRENT], &resource).status, 403);
    let body = message("prompts/get", &json!({"name": "greet"}));
    assert_eq!(post(&gate, &greet, &[CURRENT], &body).status, 200);
    let reads = granting(&gate, &json!([{"action": "resources/read"}]));
    assert_eq!(post(&gate, &reads, &[CURRENT], &resource).status, 200);
}

#[test]
fn mcp_007_the_uri_of_a_resource_is_held_against_the_grant_and_cannot_climb() {
    let echo = Echo::start();
    let gate = server(&echo, "").start();
    let below =
        json!([{"action": "resources/read", "args": {"uri": {"pattern": "^file:///notes/.*$"}}}]);
    let token = granting(&gate, &below);
    for (uri, status) in [
        ("file:///etc/passwd", 403),
        ("file:///notes/../etc/passwd", 400),
        ("file:///notes/%2E%2e/etc/passwd", 400),
        ("file:///notes/..%2fetc", 400),
        ("file:///notes/..\\etc", 400),
        ("FILE:///notes/a", 403),
        ("https://user@evil.test/", 400),
        ("", 400),
    ] {
        let response =
            post(&gate, &token, &[CURRENT], &message("resources/read", &json!({"uri": uri})));
        assert_eq!(response.status, status, "{uri}: {}", response.everything());
    }
    echo.assert_untouched("elsewhere");
    let body = message("resources/read", &json!({"uri": "file:///notes/a"}));
    assert_eq!(post(&gate, &token, &[CURRENT], &body).status, 200);
}

#[test]
fn mcp_017_a_page_may_call_only_from_where_the_operator_says() {
    let echo = Echo::start();
    let gate = server(&echo, "mcp.origins = [\"https://app.test\"]").start();
    let token = granting(&gate, &json!([{"action": "t"}]));
    for origin in ["https://evil.test", "null", "http://app.test", "https://app.test.evil.test", ""]
    {
        let response = post(&gate, &token, &[CURRENT, ("Origin", origin)], &tool("t", &json!({})));
        assert_eq!((response.status, &*response.error()), (403, "origin_denied"), "{origin}");
        assert!(response.header("www-authenticate").is_none());
    }
    echo.assert_untouched("a page");
    let app = ("Origin", "https://app.test");
    assert_eq!(post(&gate, &token, &[CURRENT, app], &tool("t", &json!({}))).status, 200);
}

#[test]
fn mcp_011_a_retry_is_judged_as_if_nothing_had_been_before() {
    let echo = Echo::start();
    let gate = server(&echo, "").start();
    let token = at_most_50(&gate);
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    let headers = [STATELESS, ("Mcp-Method", "tools/call"), ("Mcp-Name", "create_order")];
    let call = |amount: u32, retry: bool| {
        let mut params =
            json!({"name": "create_order", "arguments": {"amount": amount}, "_meta": meta});
        if retry {
            params["requestState"] = json!("opaque");
            params["inputResponses"] = json!({"confirm": {"action": "accept"}});
        }
        message("tools/call", &params)
    };
    assert_eq!(post(&gate, &token, &headers, &call(10, false)).status, 200);
    let response = post(&gate, &token, &headers, &call(5_000, true));
    assert_eq!(response.status, 403);
    assert_eq!(echo.requests().len(), 1);
    assert_eq!(post(&gate, &token, &headers, &call(10, true)).status, 200);
}

#[test]
fn mcp_007_what_the_operator_demands_of_a_tool_holds_whatever_a_token_grants() {
    let echo = Echo::start();
    let rules = r#"
[[resource.tool]]
name = "refund"
scopes = ["refunds"]
[[resource.tool]]
name = "admin_*"
deny = true
"#;
    let gate = Setup { operations: rules.to_owned(), ..server(&echo, "") }.start();
    let operations = json!([{"action": "refund"}, {"action": "admin_wipe"}, {"action": "t"}]);
    let token = granting(&gate, &operations);
    let call = |token: &str, name: &str| post(&gate, token, &[CURRENT], &tool(name, &json!({})));
    let refund = call(&token, "refund");
    assert_eq!(refund.status, 403);
    assert_eq!(refund.json()["error"]["data"]["error"], "insufficient_scope");
    let challenge = Challenge::of(&refund);
    assert_eq!(challenge.get("scope"), Some("refunds"));
    let denied = call(&token, "admin_wipe");
    assert_eq!(gate.decision(&denied.decision_id())["reason"], "overlay_denied");
    echo.assert_untouched("what the operator demands");
    assert_eq!(call(&token, "t").status, 200);
    let details = json!([{"type": "agent_operation", "operations": operations}]);
    let scoped = Token::new().claim("authorization_details", details).claim("scope", "refunds");
    assert_eq!(call(&scoped.sign(&gate.setup.key), "refund").status, 200);
}

#[test]
fn mcp_007_policies_see_the_tool_its_arguments_and_the_message() {
    let echo = Echo::start();
    let setup = server(&echo, "local_policy = [{ file = \"mcp.rego\" }]");
    setup.write(
        "mcp.rego",
        "package mcp\nimport rego.v1\ndefault allow := false\nallow if {\n\
         input.mcp == {\"version\": \"2025-11-25\", \"method\": \"tools/call\", \"name\": \"t\",\n\
         \"server\": \"https://tools.test/shop\", \"is_retry\": false}\n\
         input.action == \"t\"\ninput.action_aliases == [\"mcp:tools/call:t\"]\n\
         input.args.amount <= 50\ninput.resource.type == \"mcp\"\n\
         input.request.body.params.name == \"t\"\n}\n",
    );
    let gate = setup.start();
    let token = granting(&gate, &json!([{"action": "t"}, {"action": "u"}]));
    let call = |name: &str, amount: u32| {
        post(&gate, &token, &[CURRENT], &tool(name, &json!({"amount": amount})))
    };
    let refused = call("t", 51);
    assert_refused(&echo, &refused, 403, -31_403, "too much");
    assert_eq!(gate.decision(&refused.decision_id())["reason"], "policy_denied");
    assert_eq!(call("u", 1).status, 403);
    let allowed = call("t", 50);
    assert_eq!(allowed.status, 200, "{}", allowed.everything());
    // No policy is asked of what needs no grant.
    assert_eq!(post(&gate, &token, &[CURRENT], &message("tools/list", &json!({}))).status, 200);
}

#[test]
fn mcp_018_requests_without_a_message_are_those_of_sessions() {
    let echo = Echo::start();
    let gate = server(&echo, "mcp.versions = [\"2026-07-28\"]").start();
    let token = granting(&gate, &json!([{"action": "mcp:stream"}]));
    let bearer = format!("Bearer {token}");
    for method in ["GET", "DELETE", "PUT"] {
        let lines = [("Authorization", bearer.as_str())];
        let response = gate.send(request(method, "/shop", &lines, ""));
        assert_eq!((response.status, response.header("allow")), (405, Some("POST")), "{method}");
    }
    assert_eq!(gate.get("/shop/other", &token).status, 404);
    echo.assert_untouched("no sessions");
}

#[test]
fn explain_speaks_of_the_tool_and_of_what_is_wrong_with_the_message() {
    let echo = Echo::start();
    let gate = server(&echo, "").start();
    let token = at_most_50(&gate);
    let directory = gate.setup.dir.path();
    let explain = |body: &str, version: &str| {
        gate.setup.write("body.json", body);
        let header = format!("MCP-Protocol-Version: {version}");
        let arguments = [
            "explain",
            "-c",
            "opgate.toml",
            "--token",
            &token,
            "--request",
            "POST /shop",
            "--body",
            "body.json",
            "--header",
            &header,
        ];
        opgate(directory, &arguments)
    };
    let (code, told) = explain(&tool("create_order", &json!({"amount": 50})), "2025-11-25");
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = explain(&tool("create_order", &json!({"amount": 51})), "2025-11-25");
    assert_eq!(code, Some(1));
    assert!(told.contains("create_order of https://tools.test/shop"), "{told}");
    assert!(told.contains("to change: the arguments of the call"), "{told}");
    let (_, told) = explain(&tool("refund", &json!({})), "2025-11-25");
    assert!(
        told.contains(
            r#"it would need {"type":"agent_operation","operations":[{"action":"refund"}]}"#
        ),
        "{told}"
    );
    for (body, version, change) in [
        (tool("", &json!({})), "2025-11-25", "`name` of the message"),
        (tool("t", &json!({})), "2025-01-01", "this revision is not spoken"),
        (message("tools/eat", &json!({})), "2025-11-25", "the method: it is not known"),
        ("[]".to_owned(), "2025-11-25", "it is not one JSON-RPC message (batch)"),
    ] {
        let (code, told) = explain(&body, version);
        assert_eq!(code, Some(1));
        assert!(told.contains(change), "{told}");
    }
    let (code, told) = opgate(directory, &["check", "-c", "opgate.toml"]);
    assert_eq!(code, Some(0), "{told}");
    let said = "MCP server (2025-06-18, 2025-11-25, 2026-07-28), 0 rules for tools, by grant, enforced, to `shop`";
    assert!(told.contains(said), "{told}");
}
