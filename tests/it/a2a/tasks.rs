//! Tasks of an agent behind the gate, and whose they are (`mcp-a2a.md` §5 and §8).

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{
    CURRENT, OLDER, agent, buffered_message, call, message, older_message, place, post, rpc,
};
use crate::support::client::Response;
use crate::support::echo::Exchange;
use crate::support::{Echo, Gate, Token};

const JSON: &str = "Content-Type: application/json\r\n";
const EVENTS: &str = "Content-Type: text/event-stream\r\n";

/// An agent that begins a task for every message, named in the data of the message, and knows all of them.
fn travel() -> Echo {
    Echo::scripted(|exchange| {
        exchange.read_body();
        let line = exchange.request.line.clone();
        let body: Value = serde_json::from_slice(&exchange.request.body).unwrap_or_default();
        let in_rest = body.get("jsonrpc").is_none();
        let params = if in_rest { &body } else { &body["params"] };
        let said = &params["message"];
        let data = [&said["parts"][1]["data"], &said["content"][1]["data"]["data"]];
        let task = data.iter().find_map(|data| data["task"].as_str()).unwrap_or("t-any");
        let context = format!("c-{task}");
        let method = body["method"].as_str().unwrap_or_default();
        let state = json!({"state": "TASK_STATE_AUTH_REQUIRED"});
        let result = match method {
            "message/send" => {
                json!({"kind": "task", "id": task, "contextId": context, "status": {"state": "working"}})
            }
            _ if method == "ListTasks" || line.contains("/tasks?") || line.contains("/tasks ") => {
                let task = |id: &str| json!({"id": id, "status": state});
                json!({"tasks": [task("t-1"), task("t-2"), task("t-1r")], "nextPageToken": "", "totalSize": 3})
            }
            _ => json!({"task": {"id": task, "contextId": context, "status": state}}),
        };
        let answer = |result: &Value| {
            let rpc = json!({"jsonrpc": "2.0", "id": body["id"], "result": result});
            if in_rest { result.to_string() } else { rpc.to_string() }
        };
        if method == "SendStreamingMessage" || line.contains(":stream") {
            let update =
                json!({"statusUpdate": {"taskId": task, "contextId": context, "status": state}});
            events(exchange, &[&answer(&result), &answer(&update)]);
        } else {
            exchange.answer(JSON, &answer(&result));
        }
    })
}

fn events(exchange: &mut Exchange, messages: &[&str]) {
    exchange.send(format!("HTTP/1.1 200 OK\r\n{EVENTS}Transfer-Encoding: chunked\r\n\r\n"));
    for message in messages {
        let event = format!("data: {message}\r\n\r\n");
        let (first, second) = event.split_at(20);
        for part in [first, second] {
            exchange.send(format!("{:x}\r\n{part}\r\n", part.len()));
            thread::sleep(Duration::from_millis(5));
        }
    }
    exchange.send("0\r\n\r\n");
}

const METHODS: [&str; 9] = [
    "SendMessage",
    "SendStreamingMessage",
    "GetTask",
    "ListTasks",
    "CancelTask",
    "SubscribeToTask",
    "GetTaskPushNotificationConfig",
    "ListTaskPushNotificationConfigs",
    "DeleteTaskPushNotificationConfig",
];

fn of(gate: &Gate, subject: &str, methods: &[&str]) -> String {
    let operations: Vec<_> = methods.iter().map(|name| json!({"action": name})).collect();
    let details = json!([{"type": "agent_operation", "operations": operations}]);
    let token = Token::new().claim("sub", subject).claim("authorization_details", details);
    token.sign(&gate.setup.key)
}

/// Begins the task `task` in each version and binding, where it has another letter behind its name.
fn begin(gate: &Gate, token: &str, task: &str) {
    let data = |letter: &str| json!({"task": format!("{task}{letter}")});
    let send = |name: &str, message: Value| rpc(name, &json!({"message": message}));
    for (binding, version, body) in [
        ("", CURRENT, send("SendMessage", message(&data("")))),
        ("", CURRENT, send("SendStreamingMessage", message(&data("s")))),
        ("", OLDER, send("message/send", older_message(&data("o")))),
        ("1.0 REST", CURRENT, json!({"message": message(&data("r"))}).to_string()),
        ("0.3 REST", OLDER, json!({"message": buffered_message(&data("p"))}).to_string()),
    ] {
        let response = call(gate, token, place(binding), &[version], &body);
        assert_eq!(response.status, 200, "{binding}: {}", response.everything());
    }
    let body = json!({"message": message(&data("q"))}).to_string();
    let response = call(gate, token, ("POST", "/message:stream"), &[CURRENT], &body);
    assert_eq!(response.status, 200, "{}", response.everything());
}

/// A call: method and path, the header of its version, and its body.
type Call = ((&'static str, String), (&'static str, &'static str), String);

/// Every call that names `task`.
fn naming(task: &str) -> Vec<Call> {
    let id = json!({"id": task});
    let push = json!({"taskId": task, "id": "c"});
    let with = |name: &str, value: Value| {
        let mut message = message(&json!({"task": "t-new"}));
        message[name] = value;
        message
    };
    let root = || ("POST", String::new());
    let rest = |method: &'static str, path: &str| {
        ((method, path.replace("ID", task)), CURRENT, String::new())
    };
    let mut calls: Vec<_> = ["GetTask", "CancelTask", "SubscribeToTask"]
        .iter()
        .map(|name| (root(), CURRENT, rpc(name, &id)))
        .collect();
    for name in METHODS.iter().filter(|name| name.contains("Push")) {
        calls.push((root(), CURRENT, rpc(name, &push)));
    }
    let follow = json!({"message": with("taskId", json!(task))});
    let refer = json!({"message": with("referenceTaskIds", json!([task]))});
    calls.extend([
        (root(), OLDER, rpc("tasks/get", &id)),
        (root(), OLDER, rpc("tasks/pushNotificationConfig/list", &id)),
        (root(), CURRENT, rpc("SendMessage", &follow)),
        (root(), CURRENT, rpc("SendMessage", &refer)),
        (root(), CURRENT, rpc("SendStreamingMessage", &follow)),
        (("POST", "/message:send".to_owned()), CURRENT, follow.to_string()),
        rest("GET", "/tasks/ID"),
        rest("POST", "/tasks/ID:cancel"),
        rest("POST", "/tasks/ID:subscribe"),
        rest("GET", "/tasks/ID/pushNotificationConfigs"),
        rest("DELETE", "/tasks/ID/pushNotificationConfigs/c"),
    ]);
    calls
}

fn make(gate: &Gate, token: &str, task: &str) -> Vec<Response> {
    let calls = naming(task);
    let one = |((method, path), version, body): &Call| {
        call(gate, token, (method, path), &[*version], body)
    };
    calls.iter().map(one).collect()
}

/// A refusal as whoever guesses sees it: everything but the number of the decision and of its record.
fn seen(response: &Response) -> (u16, Vec<(String, String)>, String) {
    let own = ["date", "opgate-audit-id", "x-opgate-decision-id"];
    let headers = response.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
    let body = String::from_utf8_lossy(&response.body).replace(&response.decision_id(), "ID");
    (response.status, headers.cloned().collect(), body)
}

#[test]
fn mcp_020_a_task_of_another_is_answered_as_one_that_is_not_there() {
    let echo = travel();
    let gate = agent(&echo, "").start();
    let (alice, mallory) = (of(&gate, "alice", &METHODS), of(&gate, "mallory", &METHODS));
    begin(&gate, &alice, "t-1");
    let before = echo.requests().len();
    for letter in ["", "s", "o", "r", "p", "q"] {
        let foreign = make(&gate, &mallory, &format!("t-1{letter}"));
        let missing = make(&gate, &mallory, &format!("t-9{letter}"));
        for (n, (foreign, missing)) in foreign.iter().zip(&missing).enumerate() {
            assert_eq!(foreign.status, 404, "{n}: {}", foreign.everything());
            assert_eq!(seen(foreign), seen(missing), "{n}");
            let record = gate.decision(&foreign.decision_id());
            assert_eq!(record["reason"], "task_unknown", "{n}");
        }
    }
    assert_eq!(echo.requests().len(), before, "nothing of it went upstream");
    let refused = post(&gate, &mallory, &[CURRENT], &rpc("GetTask", &json!({"id": "t-1"})));
    let error = &refused.json()["error"];
    assert_eq!(
        (&error["code"], &error["data"][0]["reason"]),
        (&json!(-32_001), &json!("TASK_NOT_FOUND"))
    );
    let refused = call(&gate, &mallory, ("GET", "/tasks/t-1"), &[CURRENT], "");
    assert_eq!(refused.json()["error"]["status"], "NOT_FOUND");
    for letter in ["", "s", "o", "r", "p", "q"] {
        for (n, own) in make(&gate, &alice, &format!("t-1{letter}")).iter().enumerate() {
            assert_eq!(own.status, 200, "{letter} {n}: {}", own.everything());
        }
    }
}

#[test]
fn mcp_020_a_context_belongs_to_whoever_is_first_in_it() {
    let echo = travel();
    let gate = agent(&echo, "").start();
    let (alice, mallory) = (of(&gate, "alice", &METHODS), of(&gate, "mallory", &METHODS));
    begin(&gate, &alice, "t-1");
    let within = |context: &str| {
        let mut message = message(&json!({"task": "t-5"}));
        message["contextId"] = json!(context);
        rpc("SendMessage", &json!({"message": message}))
    };
    let before = echo.requests().len();
    for letter in ["", "s", "o", "r", "p", "q"] {
        let refused = post(&gate, &mallory, &[CURRENT], &within(&format!("c-t-1{letter}")));
        assert_eq!(refused.status, 404, "{letter}: {}", refused.everything());
        let record = gate.decision(&refused.decision_id());
        assert_eq!(
            (&record["reason"], &record["about"]),
            (&json!("task_unknown"), &json!("context"))
        );
    }
    assert_eq!(echo.requests().len(), before, "nothing of it went upstream");
    assert_eq!(post(&gate, &alice, &[CURRENT], &within("c-t-1")).status, 200);
    // A caller may name a context of its own making.
    assert_eq!(post(&gate, &mallory, &[CURRENT], &within("mine")).status, 200);
    assert_eq!(post(&gate, &alice, &[CURRENT], &within("mine")).status, 404);
}

#[test]
fn mcp_020_a_list_of_tasks_holds_those_of_the_caller() {
    let echo = travel();
    let gate = agent(&echo, "").start();
    let (alice, bob) = (of(&gate, "alice", &METHODS), of(&gate, "bob", &METHODS));
    begin(&gate, &alice, "t-1");
    begin(&gate, &bob, "t-2");
    let ids = |tasks: &Value| -> Vec<String> {
        let tasks = tasks.as_array().unwrap().iter();
        tasks.map(|task| task["id"].as_str().unwrap().to_owned()).collect()
    };
    for (token, own) in [(&alice, &["t-1", "t-1r"][..]), (&bob, &["t-2"])] {
        let listed = post(&gate, token, &[CURRENT], &rpc("ListTasks", &json!({})));
        assert_eq!(ids(&listed.json()["result"]["tasks"]), own, "{}", listed.everything());
        let listed = call(&gate, token, ("GET", "/tasks?pageSize=5"), &[CURRENT], "");
        assert_eq!(ids(&listed.json()["tasks"]), own, "{}", listed.everything());
    }
}

#[test]
fn mcp_020_what_becomes_of_a_task_that_is_not_known_is_the_operators_to_say() {
    let echo = travel();
    let gate = agent(&echo, "a2a.task_unknown = \"allow_rebind\"").start();
    let (alice, mallory) = (of(&gate, "alice", &METHODS), of(&gate, "mallory", &METHODS));
    let get = rpc("GetTask", &json!({"id": "t-7"}));
    let without = of(&gate, "mallory", &["SendMessage"]);
    assert_eq!(post(&gate, &without, &[CURRENT], &get).status, 403);
    let first = post(&gate, &alice, &[CURRENT], &get);
    assert_eq!(first.status, 200, "a refused call takes no task");
    assert_eq!(gate.decision(&first.decision_id())["op"]["rebound"], true);
    assert_eq!(post(&gate, &mallory, &[CURRENT], &get).status, 404);
    let second = post(&gate, &alice, &[CURRENT], &get);
    assert!(gate.decision(&second.decision_id())["op"].get("rebound").is_none());
}

#[test]
fn mcp_027_a_task_that_wants_to_be_authorized_authorizes_nothing() {
    let echo = travel();
    let gate = agent(&echo, "").start();
    let bounded = json!([{"action": "SendMessage", "args": {"amount": {"maximum": 50}}}]);
    let token = super::granting(&gate, &bounded);
    let order = |amount: u32| {
        let mut message = message(&json!({"task": "t-1", "amount": amount}));
        if amount != 10 {
            message["taskId"] = json!("t-1");
        }
        rpc("SendMessage", &json!({"message": message}))
    };
    let begun = post(&gate, &token, &[CURRENT], &order(10));
    let status = &begun.json()["result"]["task"]["status"];
    assert_eq!(status["state"], "TASK_STATE_AUTH_REQUIRED", "{}", begun.everything());
    let refused = post(&gate, &token, &[CURRENT], &order(51));
    assert_eq!(refused.status, 403);
    assert_eq!(gate.decision(&refused.decision_id())["reason"], "arguments_outside");
    assert_eq!(echo.requests().len(), 1);
    assert_eq!(post(&gate, &token, &[CURRENT], &order(50)).status, 200);
    let expired = Token::new().claim("exp", 1).sign(&gate.setup.key);
    assert_eq!(post(&gate, &expired, &[CURRENT], &order(50)).status, 401);
}

#[test]
fn mcp_020_a_list_that_cannot_be_read_is_not_passed_on() {
    let echo = Echo::scripted(|exchange| {
        exchange.read_body();
        exchange.answer(JSON, "{\"tasks\":[{\"id\":\"t-1\"}],\"tasks\":[{\"id\":\"t-2\"}]}");
    });
    let gate = agent(&echo, "").start();
    let token = of(&gate, "alice", &METHODS);
    let listed = call(&gate, &token, ("GET", "/tasks"), &[CURRENT], "");
    assert_eq!((listed.status, listed.body.as_slice()), (200, &b""[..]), "{}", listed.everything());
}

#[test]
fn mcp_020_another_agent_of_the_same_person_is_another_owner() {
    let echo = travel();
    let gate = agent(&echo, "").start();
    let alice = of(&gate, "alice", &METHODS);
    begin(&gate, &alice, "t-1");
    let agents = |agent: &str| {
        let details = json!([{"type": "agent_operation", "operations": [{"action": "GetTask"}]}]);
        let token = Token::new().claim("sub", "alice").claim("authorization_details", details);
        token.claim("act", json!({"sub": agent})).sign(&gate.setup.key)
    };
    let get = rpc("GetTask", &json!({"id": "t-1"}));
    assert_eq!(post(&gate, &agents("agent-2"), &[CURRENT], &get).status, 404);
    assert_eq!(post(&gate, &alice, &[CURRENT], &get).status, 200);
}
