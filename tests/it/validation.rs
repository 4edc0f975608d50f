//! `validate = true`: arguments are held against the document that describes the operation, and typed
//! parameters are arguments that policies can count with.

use serde_json::{Value, json};

use crate::support::client::Response;
use crate::support::{Echo, Gate, Setup, Token, request};

const SHOP: &str = r"
openapi: 3.1.0
info: { title: shop, version: '1' }
paths:
  /orders:
    get:
      operationId: listOrders
      parameters:
        - { name: limit, in: query, required: true, schema: { type: integer, minimum: 1, maximum: 9007199254740992 } }
        - { name: open, in: query, schema: { type: boolean } }
        - { name: ids, in: query, explode: false, schema: { type: array, maxItems: 2, items: { type: integer } } }
        - { name: filter, in: query, style: deepObject, schema: { type: object } }
    post:
      operationId: createOrder
      requestBody:
        required: true
        content:
          application/json: { schema: { $ref: '#/components/schemas/Order' } }
          application/x-www-form-urlencoded: { schema: { type: object } }
  /orders/{id}:
    parameters:
      - { name: id, in: path, required: true, schema: { type: integer, maximum: 1000 } }
    get: { operationId: readOrder }
    put:
      operationId: changeOrder
      requestBody: { content: { application/json: { schema: { type: object } } } }
  /files:
    post:
      operationId: upload
      requestBody: { content: { image/png: {} } }
components:
  schemas:
    Order:
      type: object
      required: [amount]
      additionalProperties: false
      properties:
        amount: { type: integer, minimum: 0, maximum: 9007199254740992 }
        secret-of-the-schema: { type: string, enum: [threshold-word] }
        lines: { type: array, items: { type: object, properties: { sku: { type: string } }, additionalProperties: false } }
";

fn setup(echo: &Echo, document: &str, validate: bool) -> Setup {
    let mut setup = Setup::new(echo);
    setup.write("shop.yaml", document);
    setup.resource = format!("openapi = \"shop.yaml\"\nvalidate = {validate}");
    setup.operations = String::new();
    setup
}

/// A token for everything.
fn everything(gate: &Gate) -> String {
    let names = ["listOrders", "createOrder", "readOrder", "changeOrder", "upload"];
    let operations: Vec<Value> = names.iter().map(|name| json!({"action": name})).collect();
    let details = json!([{"type": "agent_operation", "operations": operations}]);
    Token::new().claim("authorization_details", details).sign(&gate.setup.key)
}

/// A token with a policy for everything.
fn governed(gate: &Gate, rule: &str) -> String {
    let content = format!("package agent\n\ndefault allow := false\n\nallow if {{ {rule} }}\n");
    let details = json!([{"type": "authorization_policy", "policy": {"language": "rego", "content": content}}]);
    Token::new().claim("authorization_details", details).sign(&gate.setup.key)
}

fn call(gate: &Gate, token: &str, line: &str, kind: &str, body: &str) -> Response {
    let (method, path) = line.split_once(' ').unwrap();
    let bearer = format!("Bearer {token}");
    let lines = [("Authorization", bearer.as_str()), ("Content-Type", kind)];
    gate.send(request(method, &format!("/shop{path}"), &lines, body))
}

const JSON: &str = "application/json";

#[test]
#[expect(clippy::too_many_lines, reason = "one table, read row by row")]
fn err_005_an_argument_that_does_not_fit_is_named_by_a_pointer_and_never_by_the_schema() {
    let echo = Echo::start();
    let gate = setup(&echo, SHOP, true).start();
    let token = everything(&gate);
    for (line, body, place, pointer, word) in [
        ("POST /orders", r#"{"amount":9007199254740993}"#, "body", "/amount", "maximum"),
        ("POST /orders", r#"{"amount":"5"}"#, "body", "/amount", "type"),
        ("POST /orders", r#"{"amount":5,"a~/b":1}"#, "body", "/a~0~1b", "additionalProperties"),
        (
            "POST /orders",
            r#"{"amount":5,"lines":[{},{"x":1}]}"#,
            "body",
            "/lines/1/x",
            "additionalProperties",
        ),
        (
            "POST /orders",
            r#"{"amount":5,"secret-of-the-schema":"x"}"#,
            "body",
            "/secret-of-the-schema",
            "enum",
        ),
        ("POST /orders", "{}", "body", "", "required"),
        ("POST /orders", "[]", "body", "", "type"),
        ("POST /orders", "", "body", "", "required"),
        ("POST /orders?limit=1", r#"{"amount":5}"#, "query", "/limit", "additionalProperties"),
        ("GET /orders", "", "query", "", "required"),
        ("GET /orders?limit=0", "", "query", "/limit", "minimum"),
        ("GET /orders?limit=9007199254740993", "", "query", "/limit", "maximum"),
        ("GET /orders?limit=five", "", "query", "/limit", "type"),
        ("GET /orders?limit=1&limit=5", "", "query", "/limit", "type"),
        ("GET /orders?limit=1&open=yes", "", "query", "/open", "type"),
        ("GET /orders?limit=1&ids=1,b", "", "query", "/ids", "type"),
        ("GET /orders?limit=1&ids=1,2,3", "", "query", "/ids", "maxItems"),
        ("GET /orders?limit=1&ids=1%2C2", "", "query", "/ids", "type"),
        ("GET /orders?limit=1&admin=1", "", "query", "/admin", "additionalProperties"),
        ("GET /orders?limit=1&filters[a]=1", "", "query", "/filters[a]", "additionalProperties"),
        ("GET /orders?limit=1&%ff=1", "", "query", "", "additionalProperties"),
        ("GET /orders?limit=1", "{}", "body", "", "additionalProperties"),
        ("GET /orders/1001", "", "path", "/id", "maximum"),
    ] {
        let response = call(&gate, &token, line, JSON, body);
        assert_eq!(
            (response.status, response.error().as_str()),
            (400, "bad_request"),
            "{line} {body}"
        );
        let told: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(
            (&told["in"], &told["pointer"]),
            (&place.into(), &pointer.into()),
            "{line} {body}"
        );
        assert!(response.header("www-authenticate").is_none());
        let all = String::from_utf8(response.body.clone()).unwrap();
        assert!(!all.contains("threshold-word") && !all.contains("9007199254740992"), "{all}");
        assert!(!all.contains(word), "the schema is not told: {all}");
        let record = gate.decision(&response.decision_id());
        assert_eq!(
            (&record["reason"], &record["about"]),
            (&"arguments_invalid".into(), &word.into())
        );
    }
    echo.assert_untouched("arguments that do not fit");
    for (line, body) in [
        ("POST /orders", r#"{"amount":9007199254740992}"#),
        ("POST /orders", r#"{"amount":5.0,"lines":[{"sku":"a"}]}"#),
        ("GET /orders?limit=9007199254740992&open=true&ids=1,2&filter[a]=1&filter=x", ""),
        ("GET /orders/1000", ""),
    ] {
        assert_eq!(call(&gate, &token, line, JSON, body).status, 200, "{line} {body}");
    }
}

#[test]
fn who_has_no_right_to_an_operation_does_not_learn_its_arguments() {
    let echo = Echo::start();
    let gate = setup(&echo, SHOP, true).start();
    let details = json!([{"type": "agent_operation", "operations": [{"action": "listOrders"}]}]);
    let token = Token::new().claim("authorization_details", details).sign(&gate.setup.key);
    for body in [r#"{"amount":"5"}"#, r#"{"amount":5}"#] {
        let response = call(&gate, &token, "POST /orders", JSON, body);
        assert_eq!(response.status, 403, "{body}: {}", response.everything());
        assert_eq!(gate.decision(&response.decision_id())["reason"], "no_applicable_grant");
        assert!(!response.everything().contains("pointer"));
    }
    echo.assert_untouched("no right to it");
}

#[test]
fn who_may_not_come_so_far_does_not_learn_the_arguments_either() {
    let echo = Echo::start();
    let mut setup = setup(&echo, SHOP, true);
    setup.resource += "\nscopes = [\"shop\"]\nacr_values = [\"gold\"]";
    setup.operations = "[[resource.deny]]\nmethod = \"PUT\"\npath = \"/**\"\n".to_owned();
    let gate = setup.start();
    let names = ["createOrder", "changeOrder"].map(|name| json!({"action": name}));
    let details = json!([{"type": "agent_operation", "operations": names}]);
    let token = |scope: &str, acr: &str| {
        let token = Token::new().claim("authorization_details", details.clone());
        token.claim("scope", scope).claim("acr", acr).sign(&gate.setup.key)
    };
    let wrong = r#"{"amount":"5"}"#;
    for (line, token, status, error) in [
        ("POST /orders", token("other", "gold"), 403, "insufficient_scope"),
        ("POST /orders", token("shop", "tin"), 401, "insufficient_user_authentication"),
        ("PUT /orders/7", token("shop", "gold"), 403, "insufficient_authorization"),
        ("POST /orders", token("shop", "gold"), 400, "bad_request"),
    ] {
        let response = call(&gate, &token, line, JSON, wrong);
        assert_eq!((response.status, response.error().as_str()), (status, error), "{line}");
        assert_eq!(response.everything().contains("pointer"), status == 400);
    }
    echo.assert_untouched("wrong arguments");
}

#[test]
fn where_json_is_validated_nothing_else_is_taken() {
    let echo = Echo::start();
    let gate = setup(&echo, SHOP, true).start();
    let token = everything(&gate);
    for (line, kind, body) in [
        ("POST /orders", "application/x-www-form-urlencoded", "amount=5000"),
        ("POST /orders", "text/plain", r#"{"amount":5}"#),
        ("POST /orders", "application/merge-patch+json", r#"{"amount":5}"#),
        ("POST /files", "image/gif", "GIF89a"),
        ("POST /files", JSON, "{}"),
    ] {
        let response = call(&gate, &token, line, kind, body);
        assert_eq!(response.status, 415, "{line} {kind}");
        assert_eq!(gate.decision(&response.decision_id())["reason"], "body_type_refused");
    }
    echo.assert_untouched("bodies of other types");
    assert_eq!(call(&gate, &token, "POST /files", "image/png; a=b", "PNG").status, 200);
}

#[test]
fn a_call_that_does_not_fit_is_no_business_of_policies() {
    let echo = Echo::start();
    let gate = setup(&echo, SHOP, true).start();
    // It would say yes to anything.
    let token = governed(&gate, "true");
    let refused = call(&gate, &token, "POST /orders", JSON, r#"{"amount":-1}"#);
    let record = gate.decision(&refused.decision_id());
    assert_eq!((refused.status, &record["reason"]), (400, &"arguments_invalid".into()));
    assert!(record.get("policies").is_none(), "no policy was asked");
    echo.assert_untouched("an amount below the minimum");
}

#[test]
fn typed_parameters_are_arguments_that_policies_count_with() {
    let echo = Echo::start();
    let gate = setup(&echo, SHOP, false).start();
    let rules = r"is_number(input.args.limit); input.args.limit <= 50; input.args.open == true; input.args.ids == [1, 2]";
    let token = governed(&gate, rules);
    for (line, status) in [
        ("GET /orders?limit=50&open=true&ids=1,2", 200),
        ("GET /orders?limit=51&open=true&ids=1,2", 403),
        ("GET /orders?limit=50&limit=9&open=true&ids=1,2", 403),
        // Without validation a value of another type stays text, which is no number.
        ("GET /orders?limit=five&open=true&ids=1,2", 403),
        ("GET /orders?limit=50&open=1&ids=1,2", 403),
        ("GET /orders?limit=50&open=true&ids=1,b", 403),
        ("GET /orders?limit=50&open=true", 403),
    ] {
        assert_eq!(call(&gate, &token, line, JSON, "").status, status, "{line}");
    }
    let text =
        governed(&gate, r#"input.args.limit == "five"; input.request.query.limit == ["five"]"#);
    assert_eq!(call(&gate, &text, "GET /orders?limit=five&other=1", JSON, "").status, 200);
    let by_id = governed(&gate, "input.args.id == 7; input.request.path_params.id == \"7\"");
    assert_eq!(call(&gate, &by_id, "GET /orders/7", JSON, "").status, 200);
    assert_eq!(call(&gate, &by_id, "GET /orders/8", JSON, "").status, 403);
}

#[test]
fn an_argument_with_two_values_is_refused() {
    let echo = Echo::start();
    let gate = setup(&echo, SHOP, false).start();
    let token = governed(&gate, "input.args.id == 7");
    for body in [r#"{"id":8}"#, r#"{"id":"7"}"#, r#"{"id":[7]}"#] {
        let response = call(&gate, &token, "PUT /orders/7", JSON, body);
        assert_eq!(response.status, 400, "{body}");
        let record = gate.decision(&response.decision_id());
        assert_eq!(
            (&record["reason"], &record["about"]),
            (&"arguments_invalid".into(), &"ambiguous".into())
        );
    }
    echo.assert_untouched("an id in the body that is not that of the path");
    assert_eq!(call(&gate, &token, "PUT /orders/7", JSON, r#"{"id":7,"x":1}"#).status, 200);
    assert_eq!(call(&gate, &token, "PUT /orders/7", JSON, r#"{"x":1}"#).status, 200);
}

#[test]
fn what_cannot_be_validated_is_a_mistake_or_a_warning_of_check() {
    let echo = Echo::start();
    let (code, told) = setup(&echo, SHOP, true).check();
    assert_eq!(code, Some(0), "{told}");
    for said in [
        "/paths/~1orders/get/parameters/3: is written in a way",
        "takes no JSON",
        "would take `application/x-www-form-urlencoded` too",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
    let swap = |from: &str, to: &str| SHOP.replace(from, to);
    for (document, said) in [
        (swap("type: string, enum", "pattern: '(?=a)', enum"), "linear time"),
        (
            swap("required: [amount]", "unevaluatedProperties: false"),
            "/components/schemas/Order/unevaluatedProperties",
        ),
        (
            swap("required: [amount]", "allOf: [{ $ref: '#/components/schemas/Order' }]"),
            "leads back to itself",
        ),
        (swap("maximum: 1000", "maximum: 1e30"), "compared exactly"),
    ] {
        let (code, told) = setup(&echo, &document, true).check();
        assert!(code == Some(2) && told.contains(said), "{said}: {told}");
        assert_eq!(setup(&echo, &document, false).check().0, Some(0), "not looked at: {said}");
    }
    let mut nothing = setup(&echo, SHOP, true);
    nothing.resource = "validate = true".to_owned();
    nothing.operations = Setup::new(&echo).operations;
    let (code, told) = nothing.check();
    assert!(code == Some(2) && told.contains("there is no document"), "{told}");
    let mut streams = setup(&echo, SHOP, true);
    streams.operations = "[[resource.operation]]\naction = \"createOrder\"\nmethod = \"POST\"\npath = \"/orders\"\nbody = \"stream\"\n".to_owned();
    let (code, told) = streams.check();
    assert!(code == Some(2) && told.contains("is validated, and streams"), "{told}");
}

#[test]
fn a_large_public_api_is_validated_as_it_is_written() {
    let echo = Echo::start();
    let document =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents/github.json");
    let mut setup = Setup::new(&echo);
    setup.operations = String::new();
    setup.resource =
        format!("openapi = {document:?}\nopenapi_conflicts = \"deny\"\nvalidate = true");
    let gate = setup.start();
    let operations = json!([{"action": "issues/list-for-repo"}]);
    let details = json!([{"type": "agent_operation", "operations": operations}]);
    let token = Token::new().claim("authorization_details", details).sign(&gate.setup.key);
    let list = |query: &str| {
        call(&gate, &token, &format!("GET /repos/octo/hello/issues?{query}"), JSON, "")
    };
    for (query, pointer) in [("state=gone", "/state"), ("per_page=x", "/per_page"), ("q=1", "/q")] {
        let refused = list(query);
        let told: Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!((refused.status, &told["pointer"]), (400, &pointer.into()), "{query}");
    }
    echo.assert_untouched("parameters that do not fit");
    assert_eq!(list("state=closed&per_page=7&labels=a,b").status, 200);
}

#[test]
fn explain_says_which_argument_does_not_fit_and_what_it_breaks() {
    let echo = Echo::start();
    let gate = setup(&echo, SHOP, true).start();
    let token = everything(&gate);
    let explained = |request: &str, body: &str| {
        gate.setup.write("body.json", body);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_opgate"));
        command.current_dir(gate.setup.dir.path()).args(["explain", "-c", "opgate.toml"]);
        command.args(["--token", &token, "--request", request]);
        if !body.is_empty() {
            command.args(["--body", "body.json"]);
        }
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let told = explained("POST /shop/orders", r#"{"amount":5,"lines":[{"x":1}]}"#);
    assert!(told.contains("arguments_invalid additionalProperties: body /lines/0/x"), "{told}");
    assert!(told.contains("it breaks `additionalProperties` of the document"), "{told}");
    let told = explained("GET /shop/orders?limit=0", "");
    assert!(told.contains("arguments_invalid minimum: query /limit"), "{told}");
    let told = explained("POST /shop/orders", r#"{"amount":5}"#);
    assert!(told.contains("allowed"), "{told}");
    echo.assert_untouched("what is only explained");
}
