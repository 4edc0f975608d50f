//! The shapes that tokens come in (`tokens.md` §1, §4 to §6, §9), who the parties are, and step-up.
//!
//! No policy is evaluated yet, so a token that names one is refused at the policy (403) where everything
//! before it was right; a resource that is only observed shows what would have been forwarded.

use opgate::facts::bindings::Service;
use serde_json::{Value, json};

use crate::support::challenge::Challenge;
use crate::support::client::Response;
use crate::support::gate::{ISSUER, SHOP};
use crate::support::issuer::now;
use crate::support::jwks::set;
use crate::support::{Echo, Gate, Key, Setup, Token};
use crate::token::refuse_all;

const TARGET: &str = "/shop/products/42";

fn written(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap().to_string()
}

/// The shape of the public reference implementation (`tokens.md` §4.1).
fn reference() -> Token {
    let now = now();
    Token {
        header: json!({"typ": "JWT"}),
        payload: json!({
            "iss": ISSUER, "sub": "as-account-7", "aud": SHOP, "iat": now, "exp": now + 3_600, "jti": "j-1",
            "agent_identity": {
                "version": "1.0", "id": "urn:uuid:3b0e", "issuer": ISSUER, "issued_to": "https://idp.test|user-12345",
                "issued_for": {"platform": "desk", "client": "shopper", "client_instance": "i-1"},
                "issuance_date": written(now - 5), "valid_from": written(now - 5), "expires": written(now + 3_600),
            },
            "agent_operation_authorization": {"policy_id": "policy-1"},
            "context": {"rendered_text": "Buy a kettle"},
            "audit_trail": {
                "original_prompt_text": "get me a kettle", "rendered_operation_text": "Buy a kettle",
                "semantic_expansion_level": "medium", "user_acknowledge_timestamp": written(now - 9),
                "consent_interface_version": "v2",
            },
            "references": {"related_proposal_id": "urn:uuid:77aa"},
        }),
    }
}

/// The same members as the drafts print them.
fn camel(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| {
                let mut words = name.split('_');
                let mut name = words.next().unwrap_or_default().to_owned();
                for word in words {
                    name.push_str(&word[..1].to_uppercase());
                    name.push_str(&word[1..]);
                }
                (name, camel(value))
            })
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

fn observing(echo: &Echo, more: &str) -> Gate {
    let mut setup = Setup::new(echo);
    setup.issuer = format!("allow_typ = [\"JWT\"]\n{more}");
    setup.resource = "mode = \"observe\"\nidentity_headers = true".to_owned();
    setup.start()
}

fn enforcing(echo: &Echo, more: &str) -> Gate {
    let mut setup = Setup::new(echo);
    setup.issuer = format!("allow_typ = [\"JWT\"]\n{more}");
    setup.start()
}

/// The record of the decision that the answer names, whatever the decision was.
fn record(gate: &Gate, response: &Response) -> Value {
    gate.decision(response.header("x-opgate-decision-id").expect("an answer names its decision"))
}

/// Every check of the token was passed, and nothing ties its policy to a text.
fn assert_stopped_at_the_policy(gate: &Gate, case: &str, response: &Response) {
    assert_eq!(response.status, 403, "{case}: {}", response.everything());
    let record = record(gate, response);
    assert_eq!(record["reason"], "policy_unbound", "{case}: {record}");
}

#[test]
fn tok_021_033_both_spellings_name_the_same_person_agent_and_trail() {
    let echo = Echo::start();
    let gate = observing(&echo, "");
    let mut records = Vec::new();
    let drafts = Token { header: json!({"typ": "JWT"}), payload: camel(&reference().payload) };
    for token in [reference(), drafts] {
        let response = gate.get(TARGET, &token.sign(&gate.setup.key));
        assert_eq!(response.status, 200, "{}", response.everything());
        records.push(record(&gate, &response));
    }
    for member in [
        "agent",
        "user",
        "proposal",
        "semantic_expansion",
        "consent_interface",
        "acknowledged",
        "prompt_sha256",
        "operation_text_sha256",
        "shown_text_sha256",
    ] {
        assert!(!records[0][member].is_null(), "{member} in {}", records[0]);
        assert_eq!(records[0][member], records[1][member], "{member}");
    }
    assert_eq!(
        records[0]["agent"],
        json!({"id": "desk/shopper/i-1", "identity": "urn:uuid:3b0e", "platform": "desk", "client": "shopper",
            "instance": "i-1"})
    );
    assert_eq!(records[0]["reason"], "policy_unbound");
    for request in echo.requests() {
        assert_eq!(request.all("x-opgate-user"), ["user-12345"]);
        assert_eq!(request.all("x-opgate-agent"), ["desk/shopper/i-1"]);
    }
    let log = gate.listing();
    for text in ["kettle", "user-12345"] {
        assert!(!log.contains(text), "`{text}` is in the log in clear");
    }
}

#[test]
fn tok_022_spellings_that_differ_in_value_are_refused() {
    let echo = Echo::start();
    let gate = enforcing(&echo, "");
    let key = &gate.setup.key;
    let sign = |edit: &dyn Fn(&mut Value)| {
        let mut token = reference();
        edit(&mut token.payload);
        token.sign(key)
    };
    refuse_all(
        &gate,
        &echo,
        &[
            ("person", sign(&|p| p["agent_identity"]["issuedTo"] = json!("https://idp.test|eve"))),
            ("identity", sign(&|p| p["agentIdentity"] = json!({}))),
            ("policy", sign(&|p| p["agent_operation_authorization"]["policyId"] = json!("p2"))),
            ("trail", sign(&|p| p["auditTrail"] = json!({}))),
            (
                "policy_ref",
                sign(&|p| {
                    p["policy_ref"] = json!("a");
                    p["policyRef"] = json!("b");
                }),
            ),
        ],
    );
    echo.assert_untouched("spellings");
    let same =
        sign(&|p| p["agent_identity"]["issuedTo"] = p["agent_identity"]["issued_to"].clone());
    assert_stopped_at_the_policy(&gate, "equal values", &gate.get(TARGET, &same));
}

#[test]
fn tok_023_024_025_026_what_an_operation_token_must_have() {
    let echo = Echo::start();
    let gate = enforcing(&echo, "");
    let key = &gate.setup.key;
    let now = now();
    let sign = |member: &str, value: Value| {
        let mut token = reference();
        token.payload["agent_identity"][member] = value;
        token.sign(key)
    };
    let policy = |value: Value| {
        Token { payload: reference().payload, header: json!({"typ": "JWT"}) }
            .claim("agent_operation_authorization", value)
            .sign(key)
    };
    refuse_all(
        &gate,
        &echo,
        &[
            ("no policy_id", policy(json!({}))),
            ("empty policy_id", policy(json!({"policy_id": ""}))),
            ("policy_id is a number", policy(json!({"policy_id": 7}))),
            ("no object", policy(json!("p"))),
            ("no identity", reference().without("agent_identity").sign(key)),
            ("identity is text", reference().claim("agent_identity", "x").sign(key)),
            ("ended", sign("expires", json!(written(now - 60)))),
            ("not begun", sign("valid_from", json!(written(now + 60)))),
            ("issued in the future", sign("issuance_date", json!(written(now + 60)))),
            ("no end", sign("expires", json!(null))),
            ("another issuer", sign("issuer", json!("https://idp.client.test"))),
        ],
    );
    echo.assert_untouched("agent identity");
    for digits in ["", ".1", ".123", ".123456", ".123456789", ".123456789012"] {
        let moment = written(now + 600).replace('Z', &format!("{digits}Z"));
        let response = gate.get(TARGET, &sign("expires", json!(moment)));
        assert_stopped_at_the_policy(&gate, digits, &response);
    }
    let lenient = enforcing(
        &echo,
        "require_agent_identity = false\nagent_identity_issuers = [\"https://idp.client.test\"]",
    );
    let key = &lenient.setup.key;
    let mut foreign = reference();
    foreign.payload["agent_identity"]["issuer"] = json!("https://idp.client.test");
    for (case, token) in
        [("configured issuer", foreign), ("not required", reference().without("agent_identity"))]
    {
        assert_stopped_at_the_policy(&lenient, case, &lenient.get(TARGET, &token.sign(key)));
    }
}

#[test]
fn tok_024_a_remembered_token_dies_with_its_agents_identity() {
    let echo = Echo::start();
    let gate = observing(&echo, "leeway = \"0s\"");
    let mut token = reference();
    token.payload["agent_identity"]["expires"] = json!(written(now() + 3));
    let token = token.sign(&gate.setup.key);
    let reason = |response: &Response| record(&gate, response)["reason"].clone();
    assert_eq!(reason(&gate.get(TARGET, &token)), "policy_unbound");
    crate::support::eventually("the end of the identity", || {
        (reason(&gate.get(TARGET, &token)) == "agent_identity_invalid").then_some(())
    });
}

#[test]
fn tok_028_policy_entries_are_well_formed_or_the_token_is_none() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let key = &gate.setup.key;
    let with =
        |detail: Value| Token::new().claim("authorization_details", json!([detail])).sign(key);
    for detail in [
        json!({"type": "authorization_policy", "policy": {"language": "rego", "content": "package a"}}),
        json!({"type": "rego_policy", "policy": {"type": "rego", "content": "package a"}}),
    ] {
        let response = gate.get(TARGET, &with(detail.clone()));
        assert_eq!(response.status, 500, "{detail}: read, and not evaluated");
        assert_eq!(response.error(), "server_error");
    }
    let addressed = json!({"type": "rego", "language": "rego", "uri": "https://as.test/p"});
    let response = gate.get(TARGET, &with(json!({"type": "rego_policy", "policy": addressed})));
    assert_stopped_at_the_policy(&gate, "an address alone", &response);
    refuse_all(
        &gate,
        &echo,
        &[
            ("no policy", with(json!({"type": "authorization_policy"}))),
            ("no text", with(json!({"type": "rego_policy", "policy": {"type": "rego"}}))),
            (
                "two languages",
                with(
                    json!({"type": "rego_policy", "policy": {"type": "rego", "language": "cedar", "content": "x"}}),
                ),
            ),
            (
                "entry point",
                with(json!({"type": "authorization_policy",
                    "policy": {"language": "rego", "content": "x", "entry_point": "a-b"}})),
            ),
        ],
    );
    echo.assert_untouched("policy entries");
}

#[test]
fn tok_030_policy_ref_has_three_forms() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let key = &gate.setup.key;
    let with = |reference: Value| Token::new().claim("policy_ref", reference).sign(key);
    let hash = "sha256-JzkDa0wlgOyiHFWcIcBHqCWLyP/vkvs5kMJC1xgoDMM=";
    for form in [json!("p1"), json!(["p1", {"id": "p2"}])] {
        let response = gate.get(TARGET, &with(form.clone()));
        assert_stopped_at_the_policy(&gate, &form.to_string(), &response);
    }
    let response = gate.get(TARGET, &with(json!({"id": "p1", "hash": hash})));
    assert_eq!(response.status, 403, "{}", response.everything());
    assert_eq!(record(&gate, &response)["reason"], "policy_unresolvable", "nobody keeps its text");
    refuse_all(
        &gate,
        &echo,
        &[
            ("empty array", with(json!([]))),
            (
                "unknown algorithm",
                with(json!({"id": "p1", "hash": "md5-AAAAAAAAAAAAAAAAAAAAAA=="})),
            ),
            ("short digest", with(json!({"id": "p1", "hash": "sha256-AAAA"}))),
        ],
    );
    echo.assert_untouched("policy_ref");
}

#[test]
fn tok_033_034_the_parties_are_named_and_never_invented() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = "identity_headers = true".to_owned();
    let gate = setup.start();
    let token = || Token::new().without("client_id");
    let cases = [
        (Token::new().claim("act", json!({"sub": "wit://a"})), Some("wit://a"), Some("user-1")),
        (Token::new(), Some("agent-1"), Some("user-1")),
        (token().claim("azp", "party"), Some("party"), Some("user-1")),
        (token(), None, Some("user-1")),
        (Token::new().claim("sub", "agent-1"), Some("agent-1"), None),
        (token().claim("azp", "user-1"), Some("user-1"), None),
        (Token::new().claim("act", json!({"sub": "user-1"})), Some("user-1"), None),
    ];
    for (token, agent, user) in cases {
        let response = gate.get(TARGET, &token.sign(&gate.setup.key));
        assert_eq!(response.status, 200, "{}", response.everything());
        let told = echo.requests().pop().unwrap();
        let case = token.payload.to_string();
        assert_eq!(told.all("x-opgate-agent").first().copied(), agent, "{case}");
        assert_eq!(told.all("x-opgate-user").first().copied(), user, "{case}");
        let record = record(&gate, &response);
        assert_eq!(record["agent"]["id"].as_str(), agent, "{case}");
        assert_eq!(record["user"].is_null(), user.is_none(), "{case}");
    }
    let nested = (0..16).fold(json!({"sub": "a"}), |inner, _| json!({"sub": "a", "act": inner}));
    let before = echo.bytes();
    let deep = Token::new().claim("act", nested).sign(&gate.setup.key);
    assert_eq!(gate.get(TARGET, &deep).status, 401, "seventeen actors");
    assert_eq!(echo.bytes(), before);
}

const STEP_UP: &str = "acr_values = [\"gold\", \"silver\"]\nmax_age = \"1h\"";

#[test]
fn ver_029_step_up_names_both_parameters_for_a_resource_and_for_one_operation() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = STEP_UP.to_owned();
    setup.operations = setup.operations.replace(
        "action = \"create_order\"",
        "action = \"create_order\"\nacr_values = [\"platinum\"]\nmax_age = \"5m\"",
    );
    let gate = setup.start();
    let token = |acr: &str, age: i64| {
        Token::new().claim("acr", acr).claim("auth_time", now() - age).sign(&gate.setup.key)
    };
    assert_eq!(gate.get(TARGET, &token("silver", 600)).status, 200);
    let before = echo.bytes();
    for (case, target, token) in [
        ("too old", TARGET, token("gold", 3_700)),
        ("too weak", TARGET, token("bronze", 10)),
        ("unsaid", TARGET, gate.token()),
    ] {
        let response = gate.get(target, &token);
        assert_eq!(response.status, 401, "{case}: {}", response.everything());
        assert_eq!(response.error(), "insufficient_user_authentication", "{case}");
        let challenge = Challenge::of(&response);
        assert_eq!(challenge.get("error"), Some("insufficient_user_authentication"), "{case}");
        assert_eq!(challenge.get("acr_values"), Some("gold silver"), "{case}");
        assert_eq!(challenge.get("max_age"), Some("3600"), "{case}");
        assert!(challenge.get("resource_metadata").is_some(), "{case}");
        let record = record(&gate, &response);
        assert_eq!(record["reason"], "authentication_insufficient", "{case}");
    }
    let order = |token: &str| {
        let lines = [("Authorization", format!("Bearer {token}"))];
        let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        gate.send(crate::support::request("POST", "/shop/orders", &lines, ""))
    };
    let stronger = Challenge::of(&order(&token("gold", 10)));
    assert_eq!(stronger.get("acr_values"), Some("platinum"));
    assert_eq!(stronger.get("max_age"), Some("300"));
    assert_eq!(echo.bytes(), before, "the upstream received something");
    assert_eq!(order(&token("platinum", 10)).status, 200);
}

#[test]
fn ver_023_token_then_scope_then_authentication_then_policy() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = format!("scopes = [\"shop\"]\n{STEP_UP}");
    let gate = setup.start();
    let worst = Token::new().claim("exp", now() - 100).without("authorization_details");
    let valid = worst.clone().claim("exp", now() + 300);
    let scoped = valid.clone().claim("scope", "shop");
    let proven = scoped.clone().claim("acr", "gold").claim("auth_time", now());
    for (token, status, error) in [
        (worst, 401, "invalid_token"),
        (valid, 403, "insufficient_scope"),
        (scoped, 401, "insufficient_user_authentication"),
        (proven, 403, "insufficient_authorization"),
    ] {
        let response = gate.get(TARGET, &token.sign(&gate.setup.key));
        assert_eq!((response.status, response.error()), (status, error.to_owned()));
    }
    echo.assert_untouched("precedence");
}

#[test]
fn ver_019_a_token_of_the_profile_is_worthless_without_a_proven_workload() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.issuer = "profile = \"open-agent-auth\"\nagents = [\"wimse://agents.test/a\"]".to_owned();
    let key = Key::new("RS256", "rsa");
    setup.write("jwks.json", &set(&[&key]).to_string());
    let gate = setup.start();
    let response = gate.get(TARGET, &reference().sign(&key));
    assert_eq!(response.status, 401, "{}", response.everything());
    echo.assert_untouched("no workload");
}

#[test]
fn ver_019_022_the_binding_service_is_asked_once_and_believed_only_when_it_answers() {
    let good = |id: &str| {
        json!({"bindingInstanceId": id, "userIdentity": "u", "workloadIdentity": "w",
            "createdAt": "2025-12-17T19:33:20Z", "expiresAt": "2099-12-17T20:33:20Z"})
    };
    let server = Echo::scripted(move |exchange| {
        exchange.read_body();
        let told = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let asked: Value = serde_json::from_slice(&exchange.request.body).unwrap();
        match asked["bindingInstanceId"].as_str().unwrap() {
            "unknown" => drop(exchange.send(told("404 Not Found"))),
            "broken" => drop(exchange.send(told("500 Broken"))),
            "moved" => drop(exchange.send(told("302 Found\r\nLocation: https://evil.test/"))),
            "other" => exchange.answer("", &good("another").to_string()),
            "huge" => exchange.answer("", &format!("{{\"x\":\"{}\"}}", "x".repeat(100_000))),
            id => exchange.answer("", &good(id).to_string()),
        }
    });
    let ask = |url: String, ids: &'static [&'static str]| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let uri = format!("{url}/api/v1/bindings/get").parse().unwrap();
            let service = std::sync::Arc::new(Service::new(uri, None).unwrap());
            let mut asking = tokio::task::JoinSet::new();
            for id in ids {
                let service = std::sync::Arc::clone(&service);
                asking.spawn(async move { service.ask(id).await });
            }
            asking.join_all().await;
            ids.iter()
                .map(|id| service.known(id).map(|answer| answer.binding.is_some()))
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(ask(server.url(), &["b"; 20]), [Some(true); 20]);
    let requests = server.requests();
    assert_eq!(requests.len(), 1, "twenty callers, one question");
    assert!(requests[0].line.starts_with("POST /api/v1/bindings/get "));
    for (id, expected) in [
        (&["unknown"][..], Some(false)),
        (&["broken"], None),
        (&["moved"], None),
        (&["other"], None),
        (&["huge"], None),
    ] {
        assert_eq!(ask(server.url(), id), [expected], "{id:?}");
    }
    let asked = server.requests().len();
    assert_eq!(ask(server.url(), &["broken"; 5]), [None; 5]);
    assert_eq!(
        server.requests().len(),
        asked + 1,
        "a service in trouble is left alone for a moment"
    );
    assert_eq!(ask("http://127.0.0.1:1".to_owned(), &["b"]), [None]);
}
