//! OpenAPI documents: their operations are the actions of the resource, and what is wrong with one is a
//! mistake in the configuration.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use http::Method;
use opgate::config;
use opgate::state::Snapshot;
use serde_json::{Value, json};

use crate::support::{Echo, Gate, Setup, Token, eventually, request};

const SHOP: &str = r"
openapi: 3.1.0
info: { title: shop, version: '1' }
paths:
  /orders:
    post:
      operationId: createOrder
      responses:
        201: { description: made }
  /orders/{id}:
    parameters:
      - $ref: '#/components/parameters/id'
    get: { operationId: readOrder }
    delete: { operationId: deleteOrder }
  /orders/recent:
    get: { operationId: recentOrders }
  /files/{name}.txt:
    get: { operationId: readText }
components:
  parameters:
    id: { name: id, in: path, required: true, schema: { type: integer } }
";

fn with_document(echo: &Echo, document: &str) -> Setup {
    let mut setup = Setup::new(echo);
    setup.write("shop.yaml", document);
    setup.resource = "openapi = \"shop.yaml\"".to_owned();
    setup.operations = String::new();
    setup
}

fn granting(gate: &Gate, operations: &Value) -> String {
    let details = json!([{"type": "agent_operation", "operations": operations}]);
    Token::new().claim("authorization_details", details).sign(&gate.setup.key)
}

fn call(gate: &Gate, method: &str, path: &str, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    gate.send(request(method, &format!("/shop{path}"), &[("Authorization", &bearer)], "")).status
}

#[test]
fn operation_ids_are_actions_and_path_parameters_are_arguments() {
    let echo = Echo::start();
    let gate = with_document(&echo, SHOP).start();
    let token = granting(
        &gate,
        &json!([
            {"action": "readOrder", "path_params": {"id": {"minimum": 1, "maximum": 9}}},
            {"action": "readText", "path_params": {"name": {"prefix": "public-"}}},
        ]),
    );
    for (method, path, status) in [
        ("GET", "/orders/recent", 403),
        ("GET", "/orders/10", 403),
        ("DELETE", "/orders/7", 403),
        ("POST", "/orders", 403),
        ("GET", "/files/secret.txt", 403),
        ("GET", "/orders/seven", 404),
        ("GET", "/orders/7/x", 404),
        ("GET", "/files/.txt", 404),
        ("PUT", "/orders/7", 405),
        ("GET", "/other", 404),
    ] {
        assert_eq!(call(&gate, method, path, &token), status, "{method} {path}");
    }
    echo.assert_untouched("operations that are not granted");
    assert_eq!(call(&gate, "GET", "/orders/7", &token), 200);
    assert_eq!(call(&gate, "GET", "/files/public-a.txt", &token), 200);
    let actions: Vec<Value> =
        gate.decisions().iter().map(|one| one["op"]["action"].clone()).collect();
    for action in ["recentOrders", "readOrder", "deleteOrder", "createOrder", "readText"] {
        assert!(actions.contains(&action.into()), "{action}");
    }
}

#[test]
fn a_document_is_reloaded_when_it_changes_and_a_broken_one_changes_nothing() {
    let echo = Echo::start();
    let gate = with_document(&echo, SHOP).start();
    let token = granting(&gate, &json!([{"action": "renamed"}]));
    assert_eq!(call(&gate, "GET", "/orders/7", &token), 403);
    gate.setup.write("shop.yaml", &SHOP.replace("readOrder", "renamed"));
    eventually("the new document", || {
        (call(&gate, "GET", "/orders/7", &token) == 200).then_some(())
    });
    gate.setup.write("shop.yaml", &SHOP.replace("readOrder", "createOrder"));
    eventually("the complaint", || gate.stderr().contains("is also at").then_some(()));
    assert_eq!(call(&gate, "GET", "/orders/7", &token), 200);
}

#[test]
fn the_file_says_what_an_operation_of_the_document_demands() {
    let echo = Echo::start();
    let mut setup = with_document(&echo, SHOP);
    setup.operations = r#"
[[resource.operation]]
action = "readOrder"
method = "GET"
path = "/orders/{id}"
scopes = ["orders"]

[[resource.operation]]
action = "by_hand"
method = "GET"
path = "/by-hand/*"
"#
    .to_owned();
    let gate = setup.start();
    let both = json!([{"action": "readOrder"}, {"action": "by_hand"}, {"action": "recentOrders"}]);
    let token = granting(&gate, &both);
    assert_eq!(call(&gate, "GET", "/by-hand/1", &token), 200);
    let bearer = format!("Bearer {token}");
    let response = gate.send(request("GET", "/shop/orders/7", &[("Authorization", &bearer)], ""));
    assert_eq!(response.error(), "insufficient_scope");
    assert_eq!(call(&gate, "GET", "/orders/recent", &token), 200, "the narrower path comes first");
}

fn checked(setup: &Setup, json: bool) -> Output {
    setup.write("opgate.toml", &setup.text());
    let mut command = Command::new(env!("CARGO_BIN_EXE_opgate"));
    command.args(["check", "-c"]).arg(setup.dir.path().join("opgate.toml"));
    if json {
        command.arg("--json");
    }
    command.output().unwrap()
}

#[test]
fn a_wrong_or_hostile_document_is_a_mistake_with_file_and_pointer() {
    let echo = Echo::start();
    let bomb = "openapi: 3.1.0\na: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
        + &(1..12).fold(String::new(), |text, n| {
            let (name, before) = (char::from(b'a' + n), char::from(b'a' + n - 1));
            text + &format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 9].join(","))
        });
    for (document, said) in [
        (SHOP.replace("3.1.0", "2.0"), "`shop.yaml`: /openapi: is not `3.0.x` or `3.1.x`"),
        (
            SHOP.replace("deleteOrder", "readOrder"),
            "/paths/~1orders~1{id}/get/operationId: is also at",
        ),
        (
            SHOP.replace("#/components/parameters/id", "/etc/passwd"),
            "$ref: leads out of the document",
        ),
        (
            SHOP.replace("#/components/parameters/id", "https://evil.example/x#/y"),
            "leads out of the document",
        ),
        (
            SHOP.replace("/orders/recent", "/{orders}/recent").replace("integer", "string"),
            "can be one path",
        ),
        (SHOP.replace("operationId: recentOrders", "summary: x"), "has no `operationId`"),
        (SHOP.to_owned() + "info: {}\n", "duplicate"),
        ("a: [".to_owned(), "cannot be read"),
        ("- 1".to_owned(), "/openapi"),
        (bomb, "`shop.yaml`"),
        ("[".repeat(100_000), "cannot be read"),
        (" ".repeat(17 * 1_024 * 1_024), "is larger than"),
    ] {
        let output = checked(&with_document(&echo, &document), false);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}: {told}");
        assert!(told.contains("resource[0].openapi") && told.contains(said), "{said}: {told}");
    }
}

#[test]
fn the_file_and_the_document_must_agree() {
    let echo = Echo::start();
    for (action, path, said) in [
        ("other", "/orders/{id}", "is `readOrder` there and `other`"),
        ("all", "/orders/**", "is never reached: `/orders/**`"),
    ] {
        let mut setup = with_document(&echo, SHOP);
        setup.operations = format!(
            "[[resource.operation]]\naction = {action:?}\nmethod = \"GET\"\npath = {path:?}\n"
        );
        let output = checked(&setup, false);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains(said), "{said}: {told}");
    }
}

#[test]
fn check_lists_the_actions_of_a_document_and_where_they_come_from() {
    let echo = Echo::start();
    let setup = with_document(&echo, SHOP);
    let told = String::from_utf8(checked(&setup, false).stdout).unwrap();
    assert!(told.contains("5 operations (5 of them from") && told.contains("shop.yaml"), "{told}");
    let told: Value = serde_json::from_slice(&checked(&setup, true).stdout).unwrap();
    let actions = told["resources"][0]["actions"].as_array().unwrap();
    let read = actions.iter().find(|one| one["action"] == "readOrder").unwrap();
    assert_eq!(read["from"], "/paths/~1orders~1{id}/get");
    assert_eq!((&read["path"], &read["methods"]), (&"/orders/*".into(), &json!(["GET"])));
}

/// What a path of a template is: each parameter is a number where it must be, and a word where it may.
fn path_of(template: &str, operation: &Value) -> String {
    let is_whole = |name: &str| {
        operation["parameters"].as_array().is_some_and(|all| {
            let mut named = all.iter().filter(|one| one["name"] == name && one["in"] == "path");
            named.any(|one| one["schema"]["type"] == "integer")
        })
    };
    let segments = template.split('/').map(|segment| {
        match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) if is_whole(name) => "42".to_owned(),
            Some(_) => "zz-top".to_owned(),
            None => segment.to_owned(),
        }
    });
    segments.collect::<Vec<_>>().join("/")
}

#[test]
fn a_large_public_api_loads_and_every_operation_is_found() {
    let echo = Echo::start();
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents/github.json");
    let mut setup = Setup::new(&echo);
    setup.operations = String::new();
    setup.resource = format!("openapi = {document:?}");
    let told = String::from_utf8_lossy(&checked(&setup, false).stderr).into_owned();
    assert!(told.contains("{base}...{head}/get") && told.contains("can be one path"), "{told}");
    setup.resource += "\nopenapi_conflicts = \"deny\"";
    setup.write("opgate.toml", &setup.text());
    let config = config::load(&setup.dir.path().join("opgate.toml"), &|_| None).unwrap();
    let count = config.resources[0].operations.len();
    assert!(count > 1_000, "{count} operations");
    let snapshot = Snapshot::build(Arc::new(config)).unwrap();
    let catalog = &snapshot.world.resources[0].catalog;
    let text = std::fs::read(&document).unwrap();
    let root: Value = serde_json::from_slice(&text).unwrap();
    let mut found = 0;
    for (template, item) in root["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if template.contains("...") {
                continue;
            }
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let path = path_of(template, operation);
            let entry = catalog.find(&method, &path).map(|entry| &*entry.action);
            assert_eq!(entry, operation["operationId"].as_str(), "{method} {path}");
            found += 1;
        }
    }
    assert_eq!(found, count);
    let disputed = "/user/codespaces/secrets/machines";
    assert!(catalog.find(&Method::GET, disputed).is_none(), "two operations claim it");
    let read = catalog.find(&Method::GET, "/repos/octo/hello/issues/7/comments").unwrap();
    let values: Vec<_> = read
        .parameters
        .iter()
        .map(|one| (&*one.name, one.value("/repos/octo/hello/issues/7/comments").unwrap()))
        .collect();
    assert_eq!(values, [("owner", "octo"), ("repo", "hello"), ("issue_number", "7")]);
}

#[test]
fn a_path_that_two_operations_claim_is_refused_and_explain_says_why() {
    let echo = Echo::start();
    let document = r"
openapi: 3.1.0
info: { title: shop, version: '1' }
paths:
  /{kind}/recent:
    get: { operationId: recent }
    parameters: [{ name: kind, in: path, required: true, schema: { type: string } }]
  /orders/{id}:
    get: { operationId: readOrder }
    delete: { operationId: deleteOrder }
    parameters: [{ name: id, in: path, required: true, schema: { type: string } }]
";
    let mut setup = with_document(&echo, document);
    setup.resource += "\nopenapi_conflicts = \"deny\"";
    let gate = setup.start();
    let names = ["recent", "readOrder", "deleteOrder"].map(|name| json!({"action": name}));
    let token = granting(&gate, &json!(names));
    let bearer = format!("Bearer {token}");
    let send = |line: &str| {
        let (method, path) = line.split_once(' ').unwrap();
        gate.send(request(method, path, &[("Authorization", &bearer)], ""))
    };
    let response = send("GET /shop/orders/recent");
    assert_eq!(response.status, 404, "{}", response.everything());
    let record = gate.decision(&response.decision_id());
    assert_eq!((&record["reason"], &record["about"]), (&json!("no_route"), &json!("disputed")));
    echo.assert_untouched("a disputed path");
    for line in ["GET /shop/orders/7", "GET /shop/carts/recent", "DELETE /shop/orders/recent"] {
        assert_eq!(send(line).status, 200, "{line}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_opgate"))
        .args(["explain", "-c", "opgate.toml", "--request", "GET /shop/orders/recent"])
        .args(["--token", &token])
        .current_dir(gate.setup.dir.path())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("more than one operation of the document claims it"), "{told}");
}

#[test]
fn a_cap_counts_the_actions_of_a_document() {
    let echo = Echo::start();
    let mut setup = with_document(&echo, SHOP);
    setup.operations = r#"
[[resource.cap]]
name = "orders"
per = ["user"]
actions = ["createOrder", "deleteOrder"]
calls = 2
window = "1h"
"#
    .to_owned();
    let misspelt = setup.operations.replace("deleteOrder", "removeOrder");
    let right = std::mem::replace(&mut setup.operations, misspelt);
    let told = String::from_utf8_lossy(&checked(&setup, false).stderr).into_owned();
    assert!(told.contains("no operation of this resource is called `removeOrder`"), "{told}");
    setup.operations = right;
    let gate = setup.start();
    let token = granting(
        &gate,
        &json!([{"action": "createOrder"}, {"action": "deleteOrder"}, {"action": "readOrder"}]),
    );
    for (method, path, status) in [
        ("POST", "/orders", 200),
        ("GET", "/orders/7", 200),
        ("DELETE", "/orders/7", 200),
        ("POST", "/orders", 429),
        ("DELETE", "/orders/8", 429),
        ("GET", "/orders/8", 200),
    ] {
        assert_eq!(call(&gate, method, path, &token), status, "{method} {path}");
    }
    assert_eq!(echo.requests().len(), 4);
}

#[test]
fn calls_to_a_large_public_api_are_explained() {
    let echo = Echo::start();
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents/github.json");
    let mut setup = Setup::new(&echo);
    setup.operations = String::new();
    setup.resource = format!("openapi = {document:?}\nopenapi_conflicts = \"deny\"");
    setup.write("opgate.toml", &setup.text());
    let details = json!([{"type": "agent_operation", "operations": [
        {"action": "issues/create-comment", "path_params": {"owner": {"prefix": "octo"}}},
        {"action": "pulls/merge"},
        {"action": "issues/get", "path_params": {"issue_number": {"maximum": 99}}},
    ]}]);
    let token = Token::new().claim("authorization_details", details).sign(&setup.key);
    for (request, reason, stopped) in [
        ("POST /shop/repos/octo/hello/issues/7/comments", None, None),
        ("PUT /shop/repos/a/b/pulls/12/merge", None, None),
        ("GET /shop/repos/a/b/issues/99", None, None),
        ("GET /shop/repos/a/b/issues/100", Some("arguments_outside"), Some("grants")),
        (
            "POST /shop/repos/other/hello/issues/7/comments",
            Some("arguments_outside"),
            Some("grants"),
        ),
        (
            "GET /shop/repos/octo/hello/issues/7/comments",
            Some("no_applicable_grant"),
            Some("grants"),
        ),
        ("GET /shop/repos/a/b/pulls/12/merge", Some("no_applicable_grant"), Some("grants")),
        ("GET /shop/repos/a/b/issues/seven", Some("no_route"), Some("request")),
        ("DELETE /shop/repos/a/b/issues/7", Some("method_not_allowed"), Some("request")),
        // Two operations claim it, and neither has it.
        ("GET /shop/user/codespaces/secrets/machines", Some("no_route"), Some("request")),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_opgate"))
            .args(["explain", "-c", "opgate.toml", "--json", "--token", &token])
            .args(["--request", request])
            .current_dir(setup.dir.path())
            .output()
            .unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["reason"], json!(reason), "{request}: {told}");
        assert_eq!(output.status.code(), Some(i32::from(reason.is_some())), "{request}: {told}");
        let checks = told["checks"].as_array().unwrap();
        let failed = checks.iter().find(|one| one["verdict"] == "refused");
        assert_eq!(
            failed.map(|one| &one["check"]),
            stopped.map(Value::from).as_ref(),
            "{request}: {told}"
        );
    }
    echo.assert_untouched("explaining");
}
