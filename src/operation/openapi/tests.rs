use serde_json::json;

use super::*;

fn faults(root: &Value) -> Vec<(String, String)> {
    read(root, true).faults.into_iter().map(|fault| (fault.pointer, fault.message)).collect()
}

fn with_paths(paths: &Value) -> Value {
    json!({"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": paths})
}

#[test]
fn operations_are_read_with_their_parameters_and_references() {
    let document = json!({
        "openapi": "3.0.3",
        "paths": {
            "/orders/{id}": {
                "parameters": [{"$ref": "#/components/parameters/id"}],
                "get": {"operationId": "readOrder"},
                "delete": {"operationId": "deleteOrder"},
                "trace": {"operationId": "never"},
            },
            "/orders": {"$ref": "#/components/pathItems/orders"},
            "x-internal": {"get": {}},
        },
        "components": {
            "parameters": {"id": {"name": "id", "in": "path", "schema": {"$ref": "#/components/schemas/id"}}},
            "schemas": {"id": {"type": "integer"}},
            "pathItems": {"orders": {"post": {"operationId": "createOrder"}}},
        },
    });
    let read = read(&document, true);
    assert_eq!(read.faults, []);
    let mut operations: Vec<(&str, &str, &str, bool)> = read
        .operations
        .iter()
        .map(|one| {
            let whole = one.parameters.first().is_some_and(|parameter| parameter.whole);
            (&*one.action, one.method.as_str(), one.pattern.text(), whole)
        })
        .collect();
    operations.sort_unstable();
    assert_eq!(
        operations,
        [
            ("createOrder", "POST", "/orders", false),
            ("deleteOrder", "DELETE", "/orders/*", true),
            ("readOrder", "GET", "/orders/*", true),
        ]
    );
    let order = read.operations.iter().find(|one| &*one.action == "readOrder").unwrap();
    assert_eq!(order.pointer, "/paths/~1orders~1{id}/get");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table, read row by row")]
fn a_document_that_is_wrong_or_hostile_names_the_place() {
    let operation = json!({"operationId": "a"});
    for (document, pointer, message) in [
        (json!({"swagger": "2.0"}), "/openapi", "is not `3.0.x`"),
        (json!({"openapi": "3.2.0", "paths": {}}), "/openapi", "is not `3.0.x`"),
        (json!([]), "/openapi", "is not `3.0.x`"),
        (json!({"openapi": "3.1.0"}), "/paths", "is not an object"),
        (with_paths(&json!({})), "/paths", "has no operations"),
        (with_paths(&json!({"/a": 7})), "/paths/~1a", "is not a path item"),
        (with_paths(&json!({"/a": {"get": 7}})), "/paths/~1a/get", "is not an operation"),
        (with_paths(&json!({"/a": {"get": {}}})), "/paths/~1a/get", "has no `operationId`"),
        (
            with_paths(&json!({"/a": {"get": {"operationId": "a b"}}})),
            "/paths/~1a/get/operationId",
            "is not a name",
        ),
        (
            with_paths(&json!({"/a": {"get": operation}, "/b": {"put": operation}})),
            "/paths/~1b/put/operationId",
            "is also at /paths/~1a/get/operationId",
        ),
        (with_paths(&json!({"a": {"get": operation}})), "/paths/a/get", "begins with `/`"),
        (with_paths(&json!({"/a/{": {"get": operation}})), "/paths/~1a~1{/get", "enclose"),
        (with_paths(&json!({"/a/*": {"get": operation}})), "/paths/~1a~1*/get", "has a `*`"),
        (
            with_paths(&json!({"/{a}{b}": {"get": operation}})),
            "/paths/~1{a}{b}/get",
            "one parameter",
        ),
        (
            with_paths(&json!({"/a/../b": {"get": operation}})),
            "/paths/~1a~1..~1b/get",
            "never matches",
        ),
        (
            with_paths(&json!({"/a": {"$ref": "other.yaml"}})),
            "/paths/~1a/$ref",
            "leads out of the document",
        ),
        (
            with_paths(&json!({"/a": {"$ref": "file:///etc/passwd"}})),
            "/paths/~1a/$ref",
            "leads out of the document",
        ),
        (
            with_paths(&json!({"/a": {"$ref": "https://evil.example/x.json#/a"}})),
            "/paths/~1a/$ref",
            "leads out of the document",
        ),
        (with_paths(&json!({"/a": {"$ref": "#/nowhere"}})), "/paths/~1a/$ref", "leads to nothing"),
        (with_paths(&json!({"/a": {"$ref": "#"}})), "/paths/~1a/$ref", "leads to nothing"),
        (
            with_paths(&json!({"/a": {"$ref": "#/paths/~1b"}, "/b": {"$ref": "#/paths/~1a"}})),
            "/paths/~1a/$ref",
            "leads in a circle",
        ),
    ] {
        let found = faults(&document);
        assert!(
            found.iter().any(|(at, said)| at == pointer && said.contains(message)),
            "{document}: {found:?}"
        );
    }
}

#[test]
fn an_example_that_looks_like_a_reference_is_none() {
    let document = with_paths(&json!({"/a": {"get": {
        "operationId": "a", "example": {"$ref": "https://example.com"},
    }}}));
    assert_eq!(faults(&document), []);
}

#[test]
fn templates_that_claim_one_path_alike_are_a_conflict_and_typed_ones_are_not() {
    let named = |id: &str, kind: &str| {
        json!({"get": {"operationId": id,
        "parameters": [{"name": "n", "in": "path", "schema": {"type": kind}}]}})
    };
    for (one, other, kind, expected) in [
        ("/a/{n}", "/a/{m}", "string", 1),
        ("/a/{n}", "/a/b", "string", 0),
        ("/a/{n}/c", "/a/b/{n}", "string", 1),
        ("/a/{n}/c", "/a/b/{n}", "integer", 0),
    ] {
        let document = with_paths(&json!({one: named("x", kind), other: named("y", kind)}));
        let read = read(&document, true);
        assert_eq!(read.faults, []);
        assert_eq!(conflicts(&read.operations).len(), expected, "{one} {other} {kind}");
    }
}
