use serde_json::{Value, json};

use super::*;

/// What a schema says of a text, in a dialect: nothing, or the pointer and the word.
fn told(dialect: Dialect, schema: &Value, text: &str) -> Option<(String, &'static str)> {
    let mut compiler = Compiler::new(schema, dialect);
    let id = compiler.schema(schema, String::new());
    let (schemas, faults) = compiler.finish();
    assert_eq!(faults, [], "{schema}");
    let value = Json::parse(text.as_bytes()).unwrap();
    schemas.check(id, &value).err().map(|violation| (violation.pointer, violation.keyword))
}

fn faults(dialect: Dialect, root: &Value) -> Vec<(String, String)> {
    let mut compiler = Compiler::new(root, dialect);
    compiler.schema(&root["schema"], "/schema".to_owned());
    compiler.finish().1
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table, read row by row")]
fn every_word_holds_and_names_the_member_that_does_not() {
    let order = json!({
        "type": "object",
        "properties": {
            "amount": {"type": "integer", "minimum": 1, "maximum": 50},
            "items": {"type": "array", "items": {"type": "object", "required": ["sku"],
                "properties": {"sku": {"pattern": "^[A-Z]{2}\\d+$"}}, "additionalProperties": false}},
        },
        "required": ["amount"],
        "additionalProperties": false,
    });
    for (schema, text, expected) in [
        (&order, r#"{"amount":50}"#, None),
        (&order, r#"{"amount":5e1}"#, None),
        (&order, r#"{"amount":51}"#, Some(("/amount", "maximum"))),
        (&order, r#"{"amount":50.5}"#, Some(("/amount", "type"))),
        (&order, r#"{"amount":null}"#, Some(("/amount", "type"))),
        (&order, r#"{"amount":"1"}"#, Some(("/amount", "type"))),
        (&order, "{}", Some(("", "required"))),
        (&order, "[]", Some(("", "type"))),
        (&order, r#"{"amount":1,"a/b~":1}"#, Some(("/a~1b~0", "additionalProperties"))),
        (
            &order,
            r#"{"amount":1,"items":[{"sku":"AB1"},{"sku":"ab1"}]}"#,
            Some(("/items/1/sku", "pattern")),
        ),
        (&order, r#"{"amount":1,"items":[{"sku":"AB٣"}]}"#, Some(("/items/0/sku", "pattern"))),
        (
            &order,
            r#"{"amount":1,"items":[{"sku":"AB1","x":1}]}"#,
            Some(("/items/0/x", "additionalProperties")),
        ),
        (&json!(true), "1", None),
        (&json!(false), "1", Some(("", "false"))),
        (&json!({"enum": [1, "a", null]}), "1.0", None),
        (&json!({"enum": [1, "a", null]}), "\"b\"", Some(("", "enum"))),
        (&json!({"const": {"a": [1]}}), r#"{"a":[1]}"#, None),
        (&json!({"const": {"a": [1]}}), r#"{"a":[2]}"#, Some(("", "const"))),
        (&json!({"type": ["integer", "null"]}), "null", None),
        (&json!({"type": ["integer", "null"]}), "true", Some(("", "type"))),
        (&json!({"exclusiveMinimum": 0}), "0", Some(("", "exclusiveMinimum"))),
        (&json!({"exclusiveMaximum": 1}), "1", Some(("", "exclusiveMaximum"))),
        (&json!({"multipleOf": 0.01}), "19.99", None),
        (&json!({"multipleOf": 0.01}), "19.999", Some(("", "multipleOf"))),
        (&json!({"minLength": 2, "maxLength": 3}), "\"é\"", Some(("", "minLength"))),
        (&json!({"minLength": 2, "maxLength": 3}), "\"ééé\"", None),
        (&json!({"minLength": 2, "maxLength": 3}), "\"éééé\"", Some(("", "maxLength"))),
        (&json!({"minLength": 2}), "1", None),
        (&json!({"prefixItems": [{"type": "string"}], "items": false}), "[\"a\"]", None),
        (
            &json!({"prefixItems": [{"type": "string"}], "items": false}),
            "[\"a\",1]",
            Some(("/1", "false")),
        ),
        (&json!({"minItems": 1, "maxItems": 2}), "[]", Some(("", "minItems"))),
        (&json!({"minItems": 1, "maxItems": 2}), "[1,2,3]", Some(("", "maxItems"))),
        (
            &json!({"uniqueItems": true}),
            r#"[{"a":1,"b":2},[1],{"b":2,"a":1.0}]"#,
            Some(("", "uniqueItems")),
        ),
        (&json!({"uniqueItems": true}), r#"[1,"1",true,[1],null,{"a":1},{"a":2}]"#, None),
        (&json!({"contains": {"const": 1}}), "[2]", Some(("", "contains"))),
        (&json!({"contains": {"const": 1}, "maxContains": 1}), "[1,1]", Some(("", "maxContains"))),
        (&json!({"contains": {"const": 1}, "minContains": 0}), "[2]", None),
        (&json!({"minProperties": 1, "maxProperties": 1}), "{}", Some(("", "minProperties"))),
        (&json!({"maxProperties": 1}), r#"{"a":1,"b":1}"#, Some(("", "maxProperties"))),
        (
            &json!({"patternProperties": {"^x-": {"type": "string"}}, "additionalProperties": false}),
            r#"{"x-a":1}"#,
            Some(("/x-a", "type")),
        ),
        (
            &json!({"patternProperties": {"^x-": {}}, "additionalProperties": false}),
            r#"{"y":1}"#,
            Some(("/y", "additionalProperties")),
        ),
        (
            &json!({"propertyNames": {"maxLength": 1}}),
            r#"{"ab":1}"#,
            Some(("/ab", "propertyNames")),
        ),
        (
            &json!({"dependentRequired": {"a": ["b"]}}),
            r#"{"a":1}"#,
            Some(("", "dependentRequired")),
        ),
        (
            &json!({"dependentSchemas": {"a": {"required": ["b"]}}}),
            r#"{"a":1}"#,
            Some(("", "required")),
        ),
        (&json!({"allOf": [{"minimum": 1}, {"maximum": 5}]}), "6", Some(("", "maximum"))),
        (&json!({"anyOf": [{"type": "string"}, {"type": "null"}]}), "1", Some(("", "anyOf"))),
        (
            &json!({"anyOf": [{"type": "string"}, {"properties": {"a": {"type": "string"}}}]}),
            r#"{"a":1}"#,
            Some(("/a", "type")),
        ),
        (&json!({"oneOf": [{"minimum": 1}, {"minimum": 2}]}), "1", None),
        (&json!({"oneOf": [{"minimum": 1}, {"minimum": 2}]}), "3", Some(("", "oneOf"))),
        (&json!({"not": {"type": "string"}}), "\"a\"", Some(("", "not"))),
        (&json!({"not": {"type": "string"}}), "1", None),
        (
            &json!({"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}}),
            r#"{"a":1}"#,
            Some(("", "required")),
        ),
        (
            &json!({"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}}),
            r#"{"c":1}"#,
            None,
        ),
        (
            &json!({"properties": {"id": {"readOnly": true}, "a": {}}, "required": ["id", "a"]}),
            r#"{"a":1}"#,
            None,
        ),
    ] {
        let expected = expected.map(|(pointer, word)| (pointer.to_owned(), word));
        assert_eq!(told(Dialect::OpenApi31, schema, text), expected, "{schema} {text}");
    }
}

#[test]
fn pol_024_limits_are_exact() {
    let limit = |value: &str| -> Value { serde_json::from_str(value).unwrap() };
    for (schema, text, fits) in [
        (json!({"maximum": limit("9007199254740992")}), "9007199254740993", false),
        (json!({"maximum": limit("9007199254740993")}), "9007199254740993", true),
        (json!({"const": limit("9007199254740993")}), "9007199254740992", false),
        (json!({"enum": [limit("9007199254740993")]}), "9007199254740993.0", true),
        (json!({"maximum": 50}), "50.0000000000000000001", false),
        (json!({"maximum": limit("18446744073709551615")}), "18446744073709551616", false),
    ] {
        assert_eq!(told(Dialect::OpenApi31, &schema, text).is_none(), fits, "{schema} {text}");
    }
    // This one was rounded when the document was read: it cannot be what was written.
    let rounded = json!({"schema": {"maximum": limit("12345678901234567890123")}});
    assert!(faults(Dialect::OpenApi31, &rounded)[0].1.contains("compared exactly"));
}

#[test]
fn openapi_3_0_is_read_by_its_own_words() {
    let schema =
        json!({"type": "integer", "nullable": true, "maximum": 5, "exclusiveMaximum": true});
    for (text, expected) in
        [("null", None), ("4", None), ("5", Some("exclusiveMaximum")), ("\"a\"", Some("type"))]
    {
        let told = told(Dialect::OpenApi30, &schema, text).map(|(_, word)| word);
        assert_eq!(told, expected, "{text}");
    }
    let inclusive = json!({"minimum": 5, "exclusiveMinimum": false});
    assert_eq!(told(Dialect::OpenApi30, &inclusive, "5"), None);
    // Nothing counts beside a reference there, and everything does in 3.1.
    let root = json!({"a": {"type": "integer"}, "schema": {"$ref": "#/a", "maximum": 5}});
    for (dialect, expected) in [(Dialect::OpenApi30, None), (Dialect::OpenApi31, Some("maximum"))] {
        let mut compiler = Compiler::new(&root, dialect);
        let id = compiler.schema(&root["schema"], "/schema".to_owned());
        let (schemas, faults) = compiler.finish();
        assert_eq!(faults, []);
        let told = schemas.check(id, &Json::parse(b"6").unwrap()).err();
        assert_eq!(told.map(|violation| violation.keyword), expected, "{dialect:?}");
    }
}

#[test]
fn what_constrains_and_cannot_be_held_is_a_mistake() {
    for (schema, place, said) in [
        (json!(7), "/schema", "is not a schema"),
        (json!({"type": "float"}), "/schema/type", "is not a type"),
        (json!({"pattern": "(?=a)b"}), "/schema/pattern", "linear time"),
        (json!({"pattern": "(a{1000}){1000}"}), "/schema/pattern", "linear time"),
        (json!({"pattern": "a".repeat(2_000)}), "/schema/pattern", "is longer than"),
        (json!({"minLength": -1}), "/schema/minLength", "is not a whole number"),
        (json!({"multipleOf": 0}), "/schema/multipleOf", "divided by"),
        (json!({"maximum": "5"}), "/schema/maximum", "compared exactly"),
        (json!({"unevaluatedProperties": false}), "/schema/unevaluatedProperties", "is a word"),
        (json!({"$dynamicRef": "#x"}), "/schema/$dynamicRef", "is a word"),
        (json!({"$id": "https://evil.example/"}), "/schema/$id", "is a word"),
        (json!({"$ref": "#/nowhere"}), "/schema/$ref", "leads to nothing"),
        (json!({"allOf": []}), "/schema/allOf", "is not an array of schemas"),
        (json!({"required": "a"}), "/schema/required", "is not an array of names"),
        (json!({"allOf": [{"$ref": "#/schema"}]}), "/schema", "leads back to itself"),
        (json!({"$ref": "#/schema"}), "/schema", "leads back to itself"),
    ] {
        let root = json!({"schema": schema});
        let told = faults(Dialect::OpenApi31, &root);
        let is_told = told.iter().any(|(at, message)| at == place && message.contains(said));
        assert!(is_told, "{schema}: {told:?}");
    }
}

#[test]
fn patterns_mean_what_they_mean_in_ecma_262() {
    for (pattern, text, fits) in [
        (r"^\d+$", "42", true),
        (r"^\d+$", "4٢", false),
        (r"^\d+$", "42\n", false),
        (r"^[\d.]+$", "4.2", true),
        (r"^[\D]+$", "٢a", true),
        (r"^\w+$", "aé", false),
        (r"^[^\w]+$", "é-", true),
        (r"^.$", "\r", false),
        (r"^.$", "\u{2028}", false),
        (r"^[.]$", "a", false),
        (r"^\s$", "\u{feff}", true),
        (r"^\S$", "\u{85}", true),
        (r"\bcat\b", "a cat!", true),
        (r"\bcat\b", "écaté", true),
        ("^[]a]$", "a", false),
        ("^[^]$", "\n", true),
        (r"^[a[]$", "[", true),
        ("^[a&&b]+$", "&b", true),
        ("^[+--]$", ",", true),
        ("^[+--]$", "a", false),
        (r"^\/a\-b$", "/a-b", true),
        ("b", "abc", true),
    ] {
        let told = told(Dialect::OpenApi31, &json!({"pattern": pattern}), &json!(text).to_string());
        assert_eq!(told.is_none(), fits, "{pattern} {text:?}");
    }
}

#[test]
fn a_schema_that_multiplies_itself_takes_no_more_than_its_steps() {
    // Each level asks for the next one twice: to walk all of it would take longer than the earth has been.
    let mut defs = serde_json::Map::new();
    for n in 0..30 {
        let next = format!("#/d{}", n + 1);
        defs.insert(format!("d{n}"), json!({"allOf": [{"properties": {"a": {"$ref": next}}}, {"properties": {"a": {"$ref": next}}}]}));
    }
    defs.insert("d30".to_owned(), json!(true));
    defs.insert("schema".to_owned(), json!({"$ref": "#/d0"}));
    let again = json!({"properties": {"a": {"$ref": "#/schema"}}});
    let itself = json!({"schema": {"allOf": [again, again]}});
    let text = format!("{}1{}", "{\"a\":".repeat(60), "}".repeat(60));
    for root in [Value::Object(defs), itself] {
        let mut compiler = Compiler::new(&root, Dialect::OpenApi31);
        let id = compiler.schema(&root["schema"], "/schema".to_owned());
        let (schemas, faults) = compiler.finish();
        assert_eq!(faults, []);
        let told = schemas.check(id, &Json::parse(text.as_bytes()).unwrap());
        assert_eq!(told.unwrap_err().keyword, "steps");
    }
}

#[test]
fn a_schema_may_contain_itself_deeper_down() {
    let root = json!({"schema": {"type": "object", "additionalProperties": false,
        "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/schema"}}}}});
    let mut compiler = Compiler::new(&root, Dialect::OpenApi31);
    let id = compiler.schema(&root["schema"], "/schema".to_owned());
    let (schemas, faults) = compiler.finish();
    assert_eq!(faults, []);
    let check = |text: &str| schemas.check(id, &Json::parse(text.as_bytes()).unwrap());
    assert_eq!(check(r#"{"name":"a","children":[{"name":"b","children":[]}]}"#), Ok(()));
    let told = check(r#"{"children":[{"children":[{"name":7}]}]}"#).unwrap_err();
    assert_eq!(told.pointer, "/children/0/children/0/name");
}
