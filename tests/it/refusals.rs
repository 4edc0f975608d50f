//! Refusals (`reverse-guided-errors.md`): what a refused caller is told, and what never.

use serde_json::{Value, json};

use crate::support::challenge::Challenge;
use crate::support::client::Response;
use crate::support::gate::{ISSUER, SHOP};
use crate::support::{Echo, Gate, Setup, Token, request};

const METADATA: &str = "/.well-known/oauth-protected-resource";

/// An operation that the token does not cover.
fn denied(gate: &Gate) -> Response {
    gate.get("/shop/orders/1", &gate.token())
}

#[test]
fn ver_005_err_012_missing_credentials_are_challenged_without_an_error() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    for lines in [vec![], vec![("Authorization", "Basic eDp5")]] {
        let response = gate.send(request("GET", "/shop/products/1", &lines, ""));
        assert_eq!(response.status, 401);
        let challenge = Challenge::of(&response);
        assert_eq!(challenge.scheme, "Bearer");
        assert!(challenge.get("error").is_none() && challenge.get("error_description").is_none());
        let link = challenge.get("resource_metadata").unwrap();
        assert_eq!(link, "https://tools.test/.well-known/oauth-protected-resource/shop");
        let metadata = gate.send(request("GET", &link["https://tools.test".len()..], &[], ""));
        assert_eq!(metadata.json()["resource"], SHOP);
    }
    echo.assert_untouched("no credentials");
}

#[test]
fn err_001_002_003_an_operation_that_is_not_granted_is_denied_with_guidance() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = r#"
[resource.guidance]
profile_uri = "https://tools.test/profile"
required_claims = ["act"]
constraints = { amount = { type = "number", maximum = 100, description = "per order" } }
"#
    .to_owned();
    let gate = setup.start();
    let response = denied(&gate);
    assert_eq!(response.status, 403);
    assert_eq!(response.error(), "insufficient_authorization");
    let challenge = Challenge::of(&response);
    assert_eq!(challenge.get("error"), Some("insufficient_authorization"));
    let profile = challenge.decoded("policy_profile");
    assert_eq!(profile["auth_server"], ISSUER);
    assert_eq!(profile["profile_uri"], "https://tools.test/profile");
    assert_eq!(profile["required_claims"], json!(["act"]));
    assert_eq!(profile["constraints"]["amount"]["maximum"], 100);
    let metadata = gate.send(request("GET", &format!("{METADATA}/shop"), &[], "")).json();
    assert!(
        metadata["authorization_servers"].as_array().unwrap().contains(&profile["auth_server"])
    );
    echo.assert_untouched("not granted");
}

#[test]
fn err_004_scopes_are_named_in_full() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = r#"scopes = ["shop", "read"]"#.to_owned();
    let gate = setup.start();
    let part = Token::new().claim("scope", "read other").sign(&gate.setup.key);
    let response = gate.get("/shop/products/1", &part);
    assert_eq!(response.status, 403);
    let challenge = Challenge::of(&response);
    assert_eq!(challenge.get("error"), Some("insufficient_scope"));
    let mut scopes: Vec<&str> = challenge.get("scope").unwrap().split(' ').collect();
    scopes.sort_unstable();
    assert_eq!(scopes, ["read", "shop"]);
    assert_eq!(gate.decision(&response.decision_id())["reason"], "scope_missing");
    echo.assert_untouched("scope");
    let all = Token::new().claim("scope", "read shop").sign(&gate.setup.key);
    assert_eq!(gate.get("/shop/products/1", &all).status, 200);
}

#[test]
fn ver_023_token_before_scope_before_policy() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = r#"scopes = ["shop"]"#.to_owned();
    let gate = setup.start();
    let all_wrong = Token::new().claim("exp", 1).without("authorization_details");
    let no_scope = Token::new().without("authorization_details");
    let no_policy = Token::new().claim("scope", "shop").without("authorization_details");
    for (token, error) in [
        (all_wrong, "invalid_token"),
        (no_scope, "insufficient_scope"),
        (no_policy, "insufficient_authorization"),
    ] {
        let response = gate.get("/shop/products/1", &token.sign(&gate.setup.key));
        assert_eq!(response.error(), error);
    }
    echo.assert_untouched("precedence");
}

#[test]
fn err_005_nothing_internal_is_told() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    let secret = setup.write("credential", "s3cr3t-credential\n");
    setup.upstream = format!("credential = {{ secret = {{ file = {secret:?} }} }}");
    let gate = setup.start();
    let directory = gate.setup.dir.path().to_string_lossy().into_owned();
    let (authority, token) = (echo.authority(), gate.token());
    for response in [
        denied(&gate),
        gate.get("/shop/any/%2f", &token),
        gate.get("/shop/none", &token),
        gate.get("/shop/any/1", "a.b.c"),
        gate.get("/shop/any/1?access_token=x", &token),
        gate.get("/other", &token),
        gate.send("GET / HTTP/1.1\r\n\r\n"),
    ] {
        let text = response.everything();
        for inside in [
            authority.as_str(),
            &directory,
            "s3cr3t",
            "search_products",
            "/products/**",
            "jwks.json",
            "no_applicable_grant",
            "path_ambiguous",
            "src/",
            "panicked",
            token.as_str(),
            "user-1",
        ] {
            assert!(!text.contains(inside), "{inside} in {text}");
        }
    }
}

#[test]
fn err_006_remediation_names_the_operation_and_the_status_can_be_401() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = "insufficient_authorization_status = 401".to_owned();
    let gate = setup.start();
    let response = denied(&gate);
    assert_eq!(response.status, 401);
    let remediation = Challenge::of(&response).decoded("authorization_remediation");
    let details = remediation["authorization_details"][0].as_object().unwrap();
    assert_eq!(details["locations"], json!([SHOP]));
    assert!(Value::Object(details.clone()).to_string().contains("read_order"), "{details:?}");
}

#[test]
fn err_007_ver_022_failures_of_the_gate_carry_no_challenge() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.keys = r#"jwks_uri = "http://127.0.0.1:1/jwks""#.to_owned();
    let gate = setup.start();
    let response = gate.get("/shop/products/1", &gate.token());
    assert_eq!(response.status, 503);
    assert!(response.header("www-authenticate").is_none());
    assert!(response.header("retry-after").is_some());
    assert_eq!(gate.decision(&response.decision_id())["reason"], "keys_unavailable");
    echo.assert_untouched("no keys");
}

#[test]
fn err_007_a_policy_that_cannot_be_evaluated_is_500_where_it_applies() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let policies = [("alfa", "policy_language_unknown"), ("rego", "policy_not_admitted")];
    for (language, reason) in policies {
        let entry = json!([{"type": "authorization_policy", "policy": {"language": language, "content": "package a"}}]);
        let token = Token::new().claim("authorization_details", entry).sign(&gate.setup.key);
        let response = gate.get("/shop/products/1", &token);
        assert_eq!(response.status, 500, "{language}");
        assert!(response.header("www-authenticate").is_none());
        assert_eq!(gate.decision(&response.decision_id())["reason"], reason);
        echo.assert_untouched(language);
    }
}

#[test]
fn err_008_what_the_operator_denies_is_not_explained() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.operations += "[[resource.deny]]\nmethod = \"GET\"\npath = \"/any/secret/**\"\n";
    let gate = setup.start();
    let response = gate.get("/shop/any/secret/1", &gate.token());
    assert_eq!(response.status, 403);
    assert_eq!(response.error(), "insufficient_authorization");
    let text = response.everything();
    assert!(!text.contains("policy_profile") && !text.contains("authorization_remediation"));
    assert_eq!(gate.decision(&response.decision_id())["reason"], "overlay_denied");
    echo.assert_untouched("overlay");
    assert_eq!(gate.get("/shop/any/public", &gate.token()).status, 200);
}

#[test]
fn err_009_oversized_guidance_is_trimmed_descriptions_first() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    let long = "d".repeat(3_000);
    setup.resource = format!(
        "[resource.guidance]\nconstraints = {{ amount = {{ type = \"number\", description = \"{long}\" }} }}"
    );
    let gate = setup.start();
    let challenge = Challenge::of(&denied(&gate));
    let profile = challenge.decoded("policy_profile");
    assert_eq!(profile["constraints"]["amount"], json!({"type": "number"}));
    assert!(challenge.get("authorization_remediation").is_some());
}

#[test]
fn err_011_013_metadata_is_served_for_every_resource_without_a_token() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = "scopes = [\"shop\"]\ndocumentation = \"https://tools.test/docs\"".to_owned();
    setup.more = r#"
[[resource]]
id = "https://tools.test/bank/v1"
upstream = "shop"
[[resource.operation]]
method = "GET"
path = "/**"
"#
    .to_owned();
    let gate = setup.start();
    for (path, id) in [("/shop", SHOP), ("/bank/v1", "https://tools.test/bank/v1")] {
        let response = gate.send(request("GET", &format!("{METADATA}{path}"), &[], ""));
        assert_eq!(response.status, 200);
        assert_eq!(response.header("content-type"), Some("application/json"));
        let document = response.json();
        assert_eq!(document["resource"], id);
        assert_eq!(document["authorization_servers"], json!([ISSUER]));
        assert_eq!(document["bearer_methods_supported"], json!(["header"]));
        let types = document["authorization_details_types_supported"].as_array().unwrap();
        assert!(types.contains(&json!("agent_operation")), "{types:?}");
    }
    let shop = gate.send(request("GET", &format!("{METADATA}/shop"), &[], "")).json();
    assert_eq!(shop["scopes_supported"], json!(["shop"]));
    assert_eq!(shop["resource_documentation"], "https://tools.test/docs");
    for path in ["/none", "/shop/x", ""] {
        let response = gate.send(request("GET", &format!("{METADATA}{path}"), &[], ""));
        assert_eq!(response.status, 404, "{path}: two resources, and neither has this path");
    }
    let post = gate.send(request("POST", &format!("{METADATA}/shop"), &[], "x"));
    assert_eq!(post.status, 405);
    echo.assert_untouched("metadata");
}

#[test]
fn err_011_one_resource_has_its_metadata_at_the_root_too() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    assert_eq!(gate.send(request("GET", METADATA, &[], "")).json()["resource"], SHOP);
    let head = gate.connect().send(request("HEAD", METADATA, &[], "")).head();
    assert_eq!(head.status, 200);
}

#[test]
fn err_015_refusals_are_never_stored() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    for response in [denied(&gate), gate.get("/shop/any/1", "a.b.c")] {
        assert_eq!(response.header("cache-control"), Some("no-store"));
    }
}

#[test]
fn err_016_the_decision_id_finds_the_record() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let response = denied(&gate);
    let record = gate.decision(&response.decision_id());
    assert_eq!(record["decision"], "deny");
    assert_eq!(record["reason"], "no_applicable_grant");
    assert_eq!(record["http"]["method"], "GET");
    assert_eq!(record["http"]["path"], "/shop/orders/1");
    assert_eq!(response.header("x-opgate-decision-id"), Some(response.decision_id().as_str()));
    let ids: Vec<String> = (0..5).map(|_| denied(&gate).decision_id()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "ids sort by time: {ids:?}");
}

#[test]
fn problem_details_for_those_who_ask_for_them() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let bearer = format!("Bearer {}", gate.token());
    let lines =
        [("Authorization", bearer.as_str()), ("Accept", "application/problem+json, */*;q=0.1")];
    let response = gate.send(request("GET", "/shop/orders/1", &lines, ""));
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    let problem = response.json();
    assert_eq!(problem["status"], 403);
    assert_eq!(problem["error"], "insufficient_authorization");
    assert!(problem["title"].is_string() && problem["type"].is_string());
    assert_eq!(gate.decision(&response.decision_id())["decision"], "deny");
    let head = gate.connect().send(request("HEAD", "/shop/products/1", &[], "")).head();
    assert_eq!(head.status, 401);
    Challenge::of(&head);
}

#[test]
fn tok_029_031_only_what_grants_counts() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let entry = |value: Value| Token::new().claim("authorization_details", json!([value]));
    let granting = json!({"type":"agent_operation","locations":[SHOP],"operations":[{"method":"GET","path":"/products/*"}]});
    let with = |name: &str, value: Value| {
        let mut changed = granting.clone();
        changed[name] = value;
        entry(changed)
    };
    for (case, token) in [
        ("no policy", Token::new().without("authorization_details")),
        (
            "unknown type",
            entry(json!({"type": "x", "operations": [{"method": "GET", "path": "/**"}]})),
        ),
        ("another location", with("locations", json!(["https://x.test/shop"]))),
        ("location that is a text prefix", with("locations", json!(["https://tools.test/sho"]))),
        ("no operations", with("operations", json!([]))),
        ("another path", with("operations", json!([{"method": "GET", "path": "/product/*"}]))),
        (
            "path of the gate, not of the resource",
            with("operations", json!([{"method": "GET", "path": "/shop/products/*"}])),
        ),
        ("another method", with("operations", json!([{"method": "POST", "path": "/products/*"}]))),
        ("another action", with("operations", json!([{"action": "create_order"}]))),
        ("another case", with("operations", json!([{"action": "Search_Products"}]))),
        (
            "policy that cannot be had",
            entry(granting.clone())
                .claim("agent_operation_authorization", json!({"policy_id": "p"})),
        ),
    ] {
        let response = gate.get("/shop/products/42", &token.sign(&gate.setup.key));
        let status = response.status;
        assert!(
            status == 403 || (case.starts_with("policy that") && status == 401),
            "{case}: {status}"
        );
        echo.assert_untouched(case);
    }
    let token = entry(granting.clone()).sign(&gate.setup.key);
    assert_eq!(gate.get("/shop/products/42", &token).status, 200);
    assert_eq!(gate.get("/shop/products/42/reviews", &token).status, 403);
    let mut setup = Setup::new(&echo);
    setup.resource = "authorization = \"scope\"\nscopes = [\"shop\"]".to_owned();
    let by_scope = setup.start();
    let token = Token::new().without("authorization_details").claim("scope", "shop");
    assert_eq!(by_scope.get("/shop/orders/1", &token.sign(&by_scope.setup.key)).status, 200);
}

#[test]
fn observe_forwards_and_records_what_would_have_been() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = r#"mode = "observe""#.to_owned();
    let gate = setup.start();
    assert_eq!(denied(&gate).status, 200);
    assert_eq!(gate.get("/shop/orders/1", "a.b.c").status, 200);
    assert_eq!(echo.requests().len(), 2);
    assert!(echo.requests().iter().all(|arrived| !arrived.has("authorization")));
    let reasons: Vec<Value> = gate.decisions().iter().map(|r| r["reason"].clone()).collect();
    assert_eq!(reasons, ["no_applicable_grant", "token_malformed"]);
    assert!(gate.decisions().iter().all(|r| r["decision"] == "deny"));
    let metrics = String::from_utf8(gate.admin("GET", "/metrics").body).unwrap();
    let line = format!(
        "opgate_decisions_total{{resource=\"{SHOP}\",decision=\"observed\",reason=\"no_applicable_grant\"}} 1"
    );
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
}

#[test]
fn what_would_be_refused_is_reported_by_reason_operation_and_agent() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = r#"mode = "observe""#.to_owned();
    let gate = setup.start();
    let of = |agent: &str| Token::new().claim("act", json!({"sub": agent})).sign(&gate.setup.key);
    for agent in ["one", "one", "two"] {
        assert_eq!(gate.get("/shop/orders/1", &of(agent)).status, 200);
    }
    assert_eq!(gate.get("/shop/products/1", &of("one")).status, 200);
    let report = |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_opgate"));
        command.current_dir(gate.setup.dir.path()).args(["audit", "refused"]).args(more);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, told) = report(&["--observed", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &told["calls"], &told["refused"]), (Some(0), &json!(4), &json!(3)));
    let groups: Vec<_> = told["groups"].as_array().unwrap().iter().collect();
    let shown = |n: usize| {
        let group = groups[n];
        (group["count"].clone(), group["agent"].clone(), group["action"].clone())
    };
    assert_eq!(shown(0), (json!(2), json!("one"), json!("read_order")));
    assert_eq!(shown(1), (json!(1), json!("two"), json!("read_order")));
    assert!(groups.iter().all(|group| group["reason"] == "no_applicable_grant"));
    let (_, told) = report(&["--observed", "--agent", "two"]);
    assert!(told.starts_with("1 of 1 observed calls would be refused\n"), "{told}");
    let (_, later) = report(&["--observed", "--since", "2999-01-01"]);
    assert!(later.starts_with("0 of 0 observed calls"), "{later}");
    assert_eq!(report(&["--since", "yesterday"]).0, Some(2));
}
