//! Agents that speak A2A behind the gate (`mcp-a2a.md` §8): one action, whichever version and binding it is
//! asked in.

use serde_json::{Value, json};

mod cards;
mod tasks;

use crate::support::challenge::Challenge;
use crate::support::client::Response;
use crate::support::{Echo, Gate, Setup, Token, opgate, request};

const CURRENT: (&str, &str) = ("A2A-Version", "1.0");
const OLDER: (&str, &str) = ("A2A-Version", "0.3");

/// An agent behind the gate at `/shop`, with these further lines of its resource.
fn agent(echo: &Echo, lines: &str) -> Setup {
    Setup {
        resource: format!("protocol = \"a2a\"\n{lines}"),
        operations: String::new(),
        ..Setup::new(echo)
    }
}

/// Lines of an agent whose tasks belong to whoever names them first.
const REBINDS: &str = "a2a.task_unknown = \"allow_rebind\"\n";

/// A token that grants these operations.
fn granting(gate: &Gate, operations: &Value) -> String {
    let details = json!([{"type": "agent_operation", "operations": operations}]);
    Token::new().claim("authorization_details", details).sign(&gate.setup.key)
}

fn call(
    gate: &Gate,
    token: &str,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    let bearer = format!("Bearer {token}");
    let mut lines = vec![("Authorization", bearer.as_str())];
    if !body.is_empty() && headers.iter().all(|(name, _)| *name != "Content-Type") {
        lines.push(("Content-Type", "application/json"));
    }
    lines.extend_from_slice(headers);
    gate.send(request(method, &format!("/shop{path}"), &lines, body))
}

fn post(gate: &Gate, token: &str, headers: &[(&str, &str)], body: &str) -> Response {
    call(gate, token, ("POST", ""), headers, body)
}

fn rpc(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string()
}

/// A message of version 1.0 with one part of data.
fn message(data: &Value) -> Value {
    json!({"messageId": "m1", "role": "ROLE_USER", "parts": [{"text": "please"}, {"data": data}]})
}

/// The same in version 0.3.
fn older_message(data: &Value) -> Value {
    let parts = json!([{"kind": "text", "text": "please"}, {"kind": "data", "data": data}]);
    json!({"kind": "message", "messageId": "m1", "role": "user", "parts": parts})
}

/// The same in the REST binding of version 0.3, which is that of its protocol buffers.
fn buffered_message(data: &Value) -> Value {
    let content = json!([{"text": "please"}, {"data": {"data": data}}]);
    json!({"messageId": "m1", "role": "ROLE_USER", "content": content})
}

fn send(message: &Value) -> String {
    rpc("SendMessage", &json!({"message": message}))
}

/// Asserts that a call is refused with this status and code, and that nothing goes upstream.
#[track_caller]
fn assert_refused(echo: &Echo, response: &Response, status: u16, code: i64, case: &str) {
    assert_eq!(response.status, status, "{case}: {}", response.everything());
    let body = response.json();
    assert_eq!(body["jsonrpc"], "2.0", "{case}");
    assert_eq!(body["error"]["code"], code, "{case}: {body}");
    let info = &body["error"]["data"][0];
    assert_eq!(info["@type"], "type.googleapis.com/google.rpc.ErrorInfo", "{case}: {body}");
    assert_eq!(info["metadata"]["decision_id"], response.decision_id(), "{case}");
    echo.assert_untouched(case);
}

/// Asserts that a call of the REST binding is refused so, and that nothing goes upstream.
#[track_caller]
fn assert_status(echo: &Echo, response: &Response, status: u16, name: &str, case: &str) {
    assert_eq!(response.status, status, "{case}: {}", response.everything());
    let error = &response.json()["error"];
    assert_eq!((&error["code"], &error["status"]), (&json!(status), &json!(name)), "{case}");
    let info = &error["details"][0];
    assert_eq!(info["metadata"]["decision_id"], response.decision_id(), "{case}: {error}");
    echo.assert_untouched(case);
}

/// The same order, in each version and binding.
fn orders(amount: u32) -> Vec<(&'static str, (&'static str, &'static str), String)> {
    let data = json!({"amount": amount});
    let rest = json!({"message": message(&data)}).to_string();
    let older_rest = json!({"message": buffered_message(&data)}).to_string();
    let older = rpc("message/send", &json!({"message": older_message(&data)}));
    vec![
        ("1.0", CURRENT, send(&message(&data))),
        ("0.3", OLDER, older),
        ("1.0 REST", CURRENT, rest),
        ("0.3 REST", OLDER, older_rest),
    ]
}

fn place(binding: &str) -> (&'static str, &'static str) {
    match binding {
        "1.0 REST" => ("POST", "/message:send"),
        "0.3 REST" => ("POST", "/v1/message:send"),
        _ => ("POST", ""),
    }
}

#[test]
fn mcp_022_028_one_grant_covers_the_action_in_each_version_and_binding_and_bounds_its_data() {
    let echo = Echo::start();
    let gate = agent(&echo, "").start();
    let at_most_50 = json!([{"action": "SendMessage", "args": {"amount": {"maximum": 50}}}]);
    let token = granting(&gate, &at_most_50);
    for (binding, version, body) in orders(51) {
        let response = call(&gate, &token, place(binding), &[version], &body);
        if binding.ends_with("REST") {
            assert_status(&echo, &response, 403, "PERMISSION_DENIED", binding);
        } else {
            assert_refused(&echo, &response, 403, -31_403, binding);
            assert_eq!(response.json()["id"], 7);
        }
        let record = gate.decision(&response.decision_id());
        assert_eq!(record["reason"], "arguments_outside", "{binding}");
        assert_eq!(record["op"]["action"], "SendMessage", "{binding}");
        assert_eq!(record["op"]["protocol"], "a2a");
        let said = if version == OLDER { "message/send" } else { "SendMessage" };
        assert_eq!(record["op"]["method"], said, "{binding}");
        assert!(Challenge::of(&response).get("resource_metadata").is_some(), "{binding}");
    }
    for (n, (binding, version, body)) in orders(50).into_iter().enumerate() {
        let response = call(&gate, &token, place(binding), &[version], &body);
        assert_eq!(response.status, 200, "{binding}: {}", response.everything());
        let received = echo.requests().remove(n);
        assert_eq!(received.body, body.as_bytes(), "{binding}");
        assert!(!received.has("authorization"));
    }
    let qualified = granting(&gate, &json!([{"action": "a2a:SendMessage"}]));
    for (binding, version, body) in orders(5_000) {
        let response = call(&gate, &qualified, place(binding), &[version], &body);
        assert_eq!(response.status, 200, "{binding}");
    }
}

#[test]
fn mcp_022_what_bounds_data_is_held_against_nothing_else_than_the_one_part_of_data() {
    let echo = Echo::start();
    let gate = agent(&echo, "").start();
    let at_most_50 = json!([{"action": "SendMessage", "args": {"amount": {"maximum": 50}}}]);
    let token = granting(&gate, &at_most_50);
    let parts = |parts: Value| json!({"messageId": "m1", "role": "ROLE_USER", "parts": parts});
    let two = parts(json!([{"data": {"amount": 5_000}}, {"data": {"amount": 10}}]));
    let none = parts(json!([{"text": "order for 5000"}]));
    let list = parts(json!([{"data": [{"amount": 10}]}]));
    let metadata = json!({"amount": 10});
    for message in [&two, &none, &list] {
        let refused = post(&gate, &token, &[CURRENT], &send(message));
        assert_refused(&echo, &refused, 403, -31_403, "no data, or more than one");
        let beside = json!({"message": message, "metadata": metadata});
        let refused = post(&gate, &token, &[CURRENT], &rpc("SendMessage", &beside));
        assert_refused(&echo, &refused, 403, -31_403, "data elsewhere");
        let beside = json!({"message": message, "amount": 10});
        let refused = post(&gate, &token, &[CURRENT], &rpc("SendMessage", &beside));
        assert_refused(&echo, &refused, 400, -32_602, "what poses as data");
        let refused =
            call(&gate, &token, ("POST", "/message:send"), &[CURRENT], &beside.to_string());
        assert_status(&echo, &refused, 400, "INVALID_ARGUMENT", "what poses as data");
        let query = ("POST", "/message:send?amount=10");
        let body = json!({"message": message}).to_string();
        let refused = call(&gate, &token, query, &[CURRENT], &body);
        assert_status(&echo, &refused, 400, "INVALID_ARGUMENT", "what poses as data");
    }
}

#[test]
fn mcp_022_every_method_needs_a_grant_of_its_action_and_is_known_by_its_name_in_its_version_alone()
{
    let echo = Echo::start();
    let gate = agent(&echo, "").start();
    let other = granting(&gate, &json!([{"action": "SendMessage"}, {"action": "a2a:message"}]));
    let task = json!({"id": "t1"});
    let push = json!({"taskId": "t1", "id": "c"});
    for (name, older, params) in [
        ("CancelTask", "tasks/cancel", &task),
        ("GetTask", "tasks/get", &task),
        ("ListTasks", "tasks/list", &json!({})),
        ("SubscribeToTask", "tasks/resubscribe", &task),
        ("GetTaskPushNotificationConfig", "tasks/pushNotificationConfig/get", &push),
        ("ListTaskPushNotificationConfigs", "tasks/pushNotificationConfig/list", &push),
        ("DeleteTaskPushNotificationConfig", "tasks/pushNotificationConfig/delete", &push),
    ] {
        for (version, method, wrong) in [(CURRENT, name, older), (OLDER, older, name)] {
            let response = post(&gate, &other, &[version], &rpc(method, params));
            assert_refused(&echo, &response, 403, -31_403, method);
            assert_eq!(gate.decision(&response.decision_id())["op"]["action"], name);
            let response = post(&gate, &other, &[version], &rpc(wrong, params));
            assert_refused(&echo, &response, 403, -32_601, wrong);
            assert_eq!(gate.decision(&response.decision_id())["reason"], "operation_unknown");
        }
    }
    for (method, path, name) in [
        ("GET", "/tasks", "ListTasks"),
        ("GET", "/tasks/t1", "GetTask"),
        ("POST", "/tasks/t1:cancel", "CancelTask"),
        ("POST", "/tasks/t1:subscribe", "SubscribeToTask"),
        ("GET", "/tasks/t1/pushNotificationConfigs", "ListTaskPushNotificationConfigs"),
        ("GET", "/tasks/t1/pushNotificationConfigs/c", "GetTaskPushNotificationConfig"),
        ("DELETE", "/tasks/t1/pushNotificationConfigs/c", "DeleteTaskPushNotificationConfig"),
    ] {
        for (version, prefix) in [(CURRENT, ""), (OLDER, "/v1")] {
            let path = format!("{prefix}{path}");
            let response = call(&gate, &other, (method, &path), &[version], "");
            assert_status(&echo, &response, 403, "PERMISSION_DENIED", &path);
            assert_eq!(gate.decision(&response.decision_id())["op"]["action"], name);
        }
    }
    for (method, path, status) in [
        ("GET", "/message:send", 405),
        ("PUT", "/tasks/t1", 405),
        ("GET", "/tasks/t1/history", 404),
        ("POST", "/acme/message:send", 404),
    ] {
        let response = call(&gate, &other, (method, path), &[CURRENT], "");
        assert_eq!(response.status, status, "{method} {path}");
    }
    echo.assert_untouched("what is not known");
}

#[test]
fn mcp_023_what_a_parser_of_protocol_buffers_would_take_for_a_member_is_refused() {
    let echo = Echo::start();
    let gate = agent(&echo, "").start();
    let token = granting(&gate, &json!([{"action": "SendMessage"}, {"action": "GetTask"}]));
    let data = json!({"amount": 1});
    let with = |name: &str, value: Value| {
        let mut message = message(&data);
        message[name] = value;
        send(&message)
    };
    let part = |part: Value| with("parts", json!([part]));
    let params = |name: &str, value: Value| {
        let mut params = json!({"message": message(&data)});
        params[name] = value;
        rpc("SendMessage", &params)
    };
    for body in [
        with("task_id", json!("t1")),
        with("TaskId", json!("t1")),
        with("taskid", json!("t1")),
        with("ta\u{17f}k_id", json!("t1")),
        with("reference_task_ids", json!(["t1"])),
        with("context_id", json!("c")),
        with("message_id", json!("m1")),
        with("content", json!([{"text": "other"}])),
        with("role", json!(1)),
        with("role", json!("ROLE_SYSTEM")),
        with("role", Value::Null),
        with("taskId", json!(7)),
        with("taskId", json!("")),
        with("taskId", json!("x".repeat(300))),
        with("referenceTaskIds", json!("t1")),
        with("referenceTaskIds", json!([7])),
        with("messageId", Value::Null),
        with("parts", json!("please")),
        part(json!({"text": "a", "data": {}})),
        part(json!({"Text": "a"})),
        part(json!({"text": 7})),
        part(json!({"kind": "data", "text": "a"})),
        part(json!({"metadata": {}})),
        part(json!({"file": {"uri": "https://x.test"}})),
        part(json!("text")),
        params("request", message(&data)),
        rpc("SendMessage", &json!({"Message": message(&data)})),
        params(
            "configuration",
            json!({"task_push_notification_config": {"url": "https://x.test"}}),
        ),
        params("configuration", json!("none")),
        rpc("SendMessage", &json!({})),
        rpc("GetTask", &json!({})),
        rpc("GetTask", &json!({"id": ["t1"]})),
        rpc("GetTask", &json!({"id": "t1", "history_length": 5})),
        rpc("GetTask", &json!({"ID": "t2"})),
    ] {
        let response = post(&gate, &token, &[CURRENT], &body);
        assert_refused(&echo, &response, 400, -32_602, &body);
        assert_eq!(response.json()["id"], 7);
    }
}

#[test]
fn mcp_023_what_is_not_as_its_version_and_binding_have_it_is_refused() {
    let echo = Echo::start();
    let gate = agent(&echo, "").start();
    let token = granting(&gate, &json!([{"action": "SendMessage"}, {"action": "GetTask"}]));
    let older = |part: Value| {
        let message = json!({"messageId": "m", "role": "user", "parts": [part]});
        rpc("message/send", &json!({"message": message}))
    };
    for body in [
        older(json!({"text": "a"})),
        older(json!({"kind": "text", "data": {}})),
        older(json!({"kind": "data", "data": [1]})),
    ] {
        let response = post(&gate, &token, &[OLDER], &body);
        assert_refused(&echo, &response, 400, -32_602, &body);
    }
    for body in [
        r#"{"jsonrpc":"2.0","method":"GetTask","params":{"id":"t1"}}"#,
        r#"{"jsonrpc":"2.0","id":7,"result":{}}"#,
        r#"[{"jsonrpc":"2.0","id":7,"method":"GetTask"}]"#,
    ] {
        let response = post(&gate, &token, &[CURRENT], body);
        assert_refused(&echo, &response, 400, -32_600, body);
    }
    for path in ["/tasks/a:b", "/tasks/t1?history_length=5", "/tasks/t1?id=t2", "/tasks/t1?x=1"] {
        let response = call(&gate, &token, ("GET", path), &[CURRENT], "");
        assert_status(&echo, &response, 400, "INVALID_ARGUMENT", path);
    }
    let response = call(&gate, &token, ("GET", "/tasks/t1"), &[CURRENT], r#"{"id":"t2"}"#);
    assert_status(&echo, &response, 400, "INVALID_ARGUMENT", "a body nobody looks for");
    let response = call(&gate, &token, ("POST", "/message:send"), &[CURRENT], "");
    assert_status(&echo, &response, 400, "INVALID_ARGUMENT", "no message");
}

/// Every way of telling the agent to send notifications to `url`.
fn pushes(url: &str) -> Vec<(&'static str, (&'static str, &'static str), String)> {
    let push = "CreateTaskPushNotificationConfig";
    let secret = json!({"scheme": "Bearer", "credentials": "s3cr3t"});
    let config = json!({"url": url, "authentication": secret});
    let within =
        |name: &str| json!({"message": message(&json!({})), "configuration": {name: config}});
    let older = json!({"message": older_message(&json!({})), "configuration": {"pushNotificationConfig": config}});
    let flat = json!({"taskId": "t1", "url": url, "authentication": secret});
    let inner = json!({"taskId": "t1", "pushNotificationConfig": config});
    let buffered = json!({"message": buffered_message(&json!({})), "configuration": {"pushNotification": config}});
    vec![
        ("", CURRENT, rpc("SendMessage", &within("taskPushNotificationConfig"))),
        ("", CURRENT, rpc("SendMessage", &within("pushNotificationConfig"))),
        ("", OLDER, rpc("message/send", &older)),
        ("", CURRENT, rpc(push, &flat)),
        ("", OLDER, rpc("tasks/pushNotificationConfig/set", &inner)),
        ("/message:send", CURRENT, within("taskPushNotificationConfig").to_string()),
        ("/v1/message:send", OLDER, buffered.to_string()),
        ("/tasks/t1/pushNotificationConfigs", CURRENT, config.to_string()),
        ("/v1/tasks/t1/pushNotificationConfigs", OLDER, json!({"config": {"name": "tasks/t1/pushNotificationConfigs/c", "pushNotificationConfig": config}}).to_string()),
    ]
}

#[test]
fn mcp_024_where_the_agent_may_be_told_to_call_is_the_operators_to_say() {
    let echo = Echo::start();
    let push = "CreateTaskPushNotificationConfig";
    let rights = json!([{"action": "SendMessage"}, {"action": push}]);
    let closed = agent(&echo, "").start();
    let open = agent(&echo, &format!("{REBINDS}a2a.push_urls = [\"hooks.test\"]")).start();
    for (gate, url) in [
        (&closed, "https://hooks.test/a"),
        (&open, "http://hooks.test/a"),
        (&open, "https://169.254.169.254/latest/meta-data"),
        (&open, "https://hooks.test@evil.test/"),
        (&open, "https://user:pass@hooks.test/"),
        (&open, "https://[fd00::1]/"),
        (&open, "https://localhost/"),
    ] {
        let token = granting(gate, &rights);
        for (path, version, body) in pushes(url) {
            let response = call(gate, &token, ("POST", path), &[version], &body);
            assert_eq!(response.status, 403, "{path} {body}: {}", response.everything());
            let record = gate.decision(&response.decision_id());
            assert_eq!(
                (&record["reason"], &record["about"]),
                (&json!("overlay_denied"), &json!("push_urls"))
            );
            let challenge = Challenge::of(&response);
            assert_eq!(challenge.get("error"), Some("insufficient_authorization"));
        }
    }
    echo.assert_untouched("an URL that is not allowed");
    let token = granting(&open, &rights);
    for body in [
        rpc(push, &json!({"taskId": "t1"})),
        rpc(push, &json!({"taskId": "t1", "url": 7})),
        rpc(push, &json!({"taskId": "t1", "Url": "https://hooks.test"})),
    ] {
        assert_refused(&echo, &post(&open, &token, &[CURRENT], &body), 400, -32_602, &body);
    }
    for (path, version, body) in pushes("https://hooks.test/a") {
        let response = call(&open, &token, ("POST", path), &[version], &body);
        assert_eq!(response.status, 200, "{path} {body}: {}", response.everything());
    }
    assert!(!open.listing().contains("s3cr3t") && !closed.listing().contains("s3cr3t"));
}

#[test]
fn mcp_026_the_version_is_that_of_the_header_or_of_the_query_and_0_3_where_none_is_named() {
    let echo = Echo::start();
    let gate = agent(&echo, REBINDS).start();
    let token = granting(&gate, &json!([{"action": "GetTask"}]));
    let (current, older) =
        (rpc("GetTask", &json!({"id": "t"})), rpc("tasks/get", &json!({"id": "t"})));
    for version in ["2.0", "1", "0.2", "latest"] {
        let response = post(&gate, &token, &[("A2A-Version", version)], &current);
        assert_refused(&echo, &response, 400, -32_009, version);
        let info = &response.json()["error"]["data"][0];
        assert_eq!(info["reason"], "VERSION_NOT_SUPPORTED");
        assert_eq!(info["metadata"]["supported"], "0.3, 1.0");
        let response = call(&gate, &token, ("GET", "/tasks/t"), &[("A2A-Version", version)], "");
        assert_status(&echo, &response, 400, "INVALID_ARGUMENT", version);
    }
    let both = call(&gate, &token, ("POST", "?A2A-Version=0.3"), &[CURRENT], &current);
    assert_refused(&echo, &both, 400, -32_600, "both and different");
    let twice = post(&gate, &token, &[CURRENT, CURRENT], &current);
    assert_refused(&echo, &twice, 400, -32_600, "twice");
    let other = call(&gate, &token, ("GET", "/v1/tasks/t"), &[CURRENT], "");
    assert_status(&echo, &other, 400, "INVALID_ARGUMENT", "a path of another version");
    assert_eq!(post(&gate, &token, &[CURRENT], &current).status, 200);
    assert_eq!(post(&gate, &token, &[OLDER], &older).status, 200);
    assert_eq!(post(&gate, &token, &[("A2A-Version", "")], &older).status, 200);
    assert_eq!(post(&gate, &token, &[], &older).status, 200);
    let query = ("POST", "?A2A-Version=1.0");
    assert_eq!(call(&gate, &token, query, &[], &current).status, 200);
    assert_eq!(call(&gate, &token, ("GET", "/tasks/t?A2A-Version=1.0"), &[], "").status, 200);
    let only = agent(&echo, "a2a.versions = [\"1.0\"]").start();
    let token = granting(&only, &json!([{"action": "GetTask"}]));
    let response = post(&only, &token, &[], &older);
    assert_eq!(response.json()["error"]["code"], -32_009, "{}", response.everything());
    assert_eq!(call(&only, &token, ("GET", "/v1/tasks/t"), &[OLDER], "").status, 404);
}

#[test]
fn mcp_022_policies_see_what_is_asked_in_the_same_words_in_each_binding() {
    let echo = Echo::start();
    let setup = agent(&echo, &format!("{REBINDS}local_policy = [{{ file = \"a2a.rego\" }}]"));
    setup.write(
        "a2a.rego",
        "package a2a\nimport rego.v1\ndefault allow := false\nallow if {\n\
         input.action == \"SendMessage\"\ninput.action_aliases == [\"a2a:SendMessage\"]\n\
         input.a2a.message == {\"role\": \"user\", \"part_kinds\": [\"text\", \"data\"]}\n\
         input.a2a.version in {\"0.3\", \"1.0\"}\ninput.a2a.method in {\"SendMessage\", \"message/send\"}\n\
         not input.a2a.task_id\ninput.resource.type == \"a2a\"\ninput.args.amount <= 50\n}\n\
         allow if {\ninput.a2a.method == \"GetTask\"\ninput.a2a.task_id == \"t1\"\n\
         input.args == {\"id\": \"t1\", \"historyLength\": 5}\n}\n",
    );
    let gate = setup.start();
    let token = granting(&gate, &json!([{"action": "SendMessage"}, {"action": "GetTask"}]));
    for (amount, status) in [(51, 403), (50, 200)] {
        for (binding, version, body) in orders(amount) {
            let response = call(&gate, &token, place(binding), &[version], &body);
            assert_eq!(response.status, status, "{binding}: {}", response.everything());
        }
    }
    let get = |length: u32| rpc("GetTask", &json!({"id": "t1", "historyLength": length}));
    assert_eq!(post(&gate, &token, &[CURRENT], &get(5)).status, 200);
    assert_eq!(post(&gate, &token, &[CURRENT], &get(6)).status, 403);
    let rest = |path: &str| call(&gate, &token, ("GET", path), &[CURRENT], "").status;
    assert_eq!(rest("/tasks/t1?historyLength=5"), 200);
    assert_eq!(rest("/tasks/t1?historyLength=6"), 403);
    assert_eq!(rest("/tasks/t2?historyLength=5"), 403);
}

#[test]
fn mcp_022_what_is_said_in_grpc_or_to_an_unknown_tenant_is_not_passed_on() {
    let echo = Echo::start();
    let gate = agent(&echo, &format!("{REBINDS}a2a.tenants = [\"acme\"]")).start();
    let token = granting(&gate, &json!([{"action": "GetTask"}]));
    let body = rpc("GetTask", &json!({"id": "t1"}));
    for kind in ["application/grpc", "application/grpc+json", "application/grpc-web+proto"] {
        for path in ["", "/message:send", "/lf.a2a.v1.A2AService/GetTask"] {
            let response =
                call(&gate, &token, ("POST", path), &[CURRENT, ("Content-Type", kind)], &body);
            assert_eq!(response.status, 415, "{kind} {path}");
        }
    }
    let response = post(&gate, &token, &[CURRENT, ("Content-Type", "text/plain")], &body);
    assert_refused(&echo, &response, 415, -32_005, "no JSON");
    let of = |tenant: &str| rpc("GetTask", &json!({"id": "t1", "tenant": tenant}));
    let response = post(&gate, &token, &[CURRENT], &of("other"));
    assert_refused(&echo, &response, 403, -31_403, "another tenant");
    let response = call(&gate, &token, ("GET", "/tasks/t1?tenant=other"), &[CURRENT], "");
    assert_status(&echo, &response, 403, "PERMISSION_DENIED", "another tenant");
    assert_eq!(post(&gate, &token, &[CURRENT], &of("acme")).status, 200);
    let a2a = ("Content-Type", "application/a2a+json");
    assert_eq!(post(&gate, &token, &[CURRENT, a2a], &body).status, 200);
}

#[test]
fn mcp_025_nothing_but_the_card_is_told_to_whom_no_token_admits() {
    let echo = Echo::start();
    let gate = agent(&echo, "").start();
    for (method, path, body) in [
        ("POST", "", send(&message(&json!({})))),
        ("POST", "/message:send", json!({"message": message(&json!({}))}).to_string()),
        ("GET", "/tasks/t1", String::new()),
        ("GET", "/extendedAgentCard", String::new()),
        ("POST", "", rpc("GetExtendedAgentCard", &json!({}))),
    ] {
        let lines = [CURRENT, ("Content-Type", "application/json")];
        let response = gate.send(request(method, &format!("/shop{path}"), &lines, &body));
        assert_eq!(response.status, 401, "{method} {path}");
        let metadata = "https://tools.test/.well-known/oauth-protected-resource/shop";
        assert_eq!(Challenge::of(&response).get("resource_metadata"), Some(metadata));
    }
    echo.assert_untouched("no token");
    let token = granting(&gate, &json!([{"action": "nothing"}]));
    let card = post(&gate, &token, &[CURRENT], &rpc("GetExtendedAgentCard", &json!({})));
    assert_eq!(card.status, 200, "a token is enough");
    assert_eq!(call(&gate, &token, ("GET", "/extendedAgentCard"), &[CURRENT], "").status, 200);
    assert_eq!(call(&gate, &token, ("GET", "/v1/card"), &[OLDER], "").status, 200);
}

#[test]
fn explain_and_check_speak_of_the_agent() {
    let echo = Echo::start();
    let gate = agent(&echo, "").start();
    let at_most_50 = json!([{"action": "SendMessage", "args": {"amount": {"maximum": 50}}}]);
    let token = granting(&gate, &at_most_50);
    let directory = gate.setup.dir.path();
    let explain = |body: &str, version: &str| {
        gate.setup.write("body.json", body);
        let header = format!("A2A-Version: {version}");
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
    let order = |amount: u32| send(&message(&json!({"amount": amount})));
    let (code, told) = explain(&order(50), "1.0");
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("SendMessage of https://tools.test/shop"), "{told}");
    let pushed = json!({"message": message(&json!({})), "configuration": {"taskPushNotificationConfig": {"url": "https://a.test"}}});
    for (body, version, change) in [
        (order(51), "1.0", "to change: the arguments of the call"),
        (order(50), "2.0", "`a2a.versions` of the resource: this revision is not spoken"),
        (rpc("SendMessage", &json!({})), "1.0", "`message` of the message"),
        (rpc("SendMessage", &pushed), "1.0", "`resource.a2a.push_urls` of the configuration"),
    ] {
        let (code, told) = explain(&body, version);
        assert_eq!(code, Some(1));
        assert!(told.contains(change), "{told}");
    }
    let (code, told) = opgate(directory, &["check", "-c", "opgate.toml"]);
    assert_eq!(code, Some(0), "{told}");
    let said = "A2A agent (0.3, 1.0), notifications denied, by grant, enforced, to `shop`";
    assert!(told.contains(said), "{told}");
}
