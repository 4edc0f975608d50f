//! Opaque tokens, and JWTs that their issuer is asked of all the same (RFC 7662, RFC 9701).

use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::chain::{delegated, detached, evidence};
use crate::support::gate::SHOP;
use crate::support::issuer::now;
use crate::support::served::{Served, response};
use crate::support::{Connection, Echo, Gate, Setup, Token, eventually, request};
use crate::token::{assert_accepted, assert_refused};

pub(crate) const ENDPOINT: &str = "/introspect";

pub(crate) fn setup(echo: &Echo, server: &Served, lines: &str) -> Setup {
    let mut setup = Setup::new(echo);
    setup.issuer = format!(
        "[issuer.introspection]\nendpoint = \"{}\"\nclient_id = \"gate 1\"\n{lines}",
        server.url(ENDPOINT)
    );
    if !lines.contains("key =") {
        setup.issuer += "\nsecret = { file = \"secret\" }";
    }
    setup.write("secret", "s3cret/+:\n");
    setup.resource = "opaque_tokens = \"https://as.test\"".to_owned();
    setup
}

fn start(lines: &str) -> (Echo, Served, Gate) {
    let (echo, server) = (Echo::start(), Served::start());
    let gate = setup(&echo, &server, lines).start();
    (echo, server, gate)
}

/// What an authorization server says of a good token.
pub(crate) fn active() -> Value {
    let mut answer = Token::new().payload;
    answer["active"] = json!(true);
    answer
}

fn status_of(gate: &Gate, token: &str) -> u16 {
    gate.get("/shop/any/1", token).status
}

#[test]
fn tok_035_an_opaque_token_is_worth_what_its_issuer_says() {
    let (echo, server, gate) = start("");
    server.serve(ENDPOINT, active().to_string());
    assert_accepted(&gate, "active", "opaque-1~+/=");
    let asked = server.asked(ENDPOINT);
    assert_eq!(asked.len(), 1);
    assert!(asked[0].line.starts_with("POST "));
    // RFC 6749 §2.3.1: both parts are form-encoded, then put together.
    let pair = BASE64_STANDARD.encode("gate%201:s3cret%2F%2B%3A");
    assert_eq!(asked[0].all("authorization"), [format!("Basic {pair}")]);
    let body = String::from_utf8(asked[0].body.clone()).unwrap();
    assert_eq!(body, "token=opaque-1%7E%2B%2F%3D&token_type_hint=access_token");
    assert_eq!(gate.get("/shop/orders/7", "opaque-1~+/=").status, 403, "not granted");
    let log = gate.listing() + &gate.stderr();
    assert!(!log.contains("opaque-1") && !log.contains("s3cret"), "{log}");
    let arrived = String::from_utf8(echo.bytes()).unwrap();
    assert!(!arrived.contains("opaque-1"));
}

#[test]
fn tok_035_anything_but_true_is_not_active() {
    let (echo, server, gate) = start("cache = \"0s\"");
    for said in [json!("true"), json!(1), json!(false), Value::Null, json!({})] {
        let mut answer = active();
        answer["active"] = said.clone();
        server.serve(ENDPOINT, answer.to_string());
        assert_refused(&gate, &echo, &said.to_string(), "opaque-1");
    }
    let mut without = active();
    without.as_object_mut().unwrap().remove("active");
    server.serve(ENDPOINT, without.to_string());
    assert_refused(&gate, &echo, "no active", "opaque-1");
    echo.assert_untouched("not active");
}

#[test]
fn tok_035_an_active_token_must_fit_like_any_other() {
    let (echo, server, gate) = start("cache = \"0s\"");
    for (claim, value) in [
        ("aud", json!("https://tools.test/other")),
        ("iss", json!("https://other.test")),
        ("exp", json!(now() - 60)),
        ("nbf", json!(now() + 600)),
        ("exp", json!(now() + 90_000)),
        ("cnf", json!({"x5t#S256": "unknown"})),
        ("token_type", json!("DPoP")),
        ("authorization_details", json!([{"type": 7}])),
        ("sub", json!(7)),
    ] {
        let mut answer = active();
        answer[claim] = value.clone();
        server.serve(ENDPOINT, answer.to_string());
        assert_refused(&gate, &echo, &format!("{claim} {value}"), "opaque-1");
    }
    echo.assert_untouched("does not fit");
    let mut bare = active();
    for claim in ["iss", "iat", "exp", "jti", "sub"] {
        bare.as_object_mut().unwrap().remove(claim);
    }
    server.serve(ENDPOINT, bare.to_string());
    assert_accepted(&gate, "without identifier and dates", "opaque-1");
}

#[test]
fn tok_036_an_answer_is_kept_no_longer_than_stated_and_a_revocation_is_felt_by_then() {
    let (echo, server, gate) = start("cache = \"1s\"");
    server.serve(ENDPOINT, active().to_string());
    assert_eq!(status_of(&gate, "opaque-1"), 200);
    assert_eq!(status_of(&gate, "opaque-1"), 200);
    assert_eq!(server.asked(ENDPOINT).len(), 1, "two calls, one introspection");
    assert_eq!(status_of(&gate, "opaque-2"), 200);
    assert_eq!(server.asked(ENDPOINT).len(), 2, "another token is another question");
    server.serve(ENDPOINT, r#"{"active":false}"#);
    thread::sleep(Duration::from_millis(1_050));
    assert_refused(&gate, &echo, "revoked", "opaque-1");
    let metrics = String::from_utf8(gate.admin("GET", "/metrics").body).unwrap();
    assert!(metrics.contains("opgate_introspections{result=\"active\"} 2"), "{metrics}");
    assert!(metrics.contains("opgate_introspections{result=\"inactive\"} 1"), "{metrics}");
}

#[test]
fn tok_036_an_answer_ends_with_its_token() {
    let (echo, server, gate) = start("cache = \"60s\"");
    let mut answer = active();
    answer["exp"] = json!(now() + 1);
    server.serve(ENDPOINT, answer.to_string());
    assert_eq!(status_of(&gate, "opaque-1"), 200);
    server.serve(ENDPOINT, r#"{"active":false}"#);
    thread::sleep(Duration::from_millis(2_050));
    assert_refused(&gate, &echo, "ended", "opaque-1");
    assert_eq!(server.asked(ENDPOINT).len(), 2);
}

#[test]
fn tok_036_many_calls_with_one_token_are_one_question() {
    let (_echo, server, gate) = start("");
    let answer = active().to_string();
    server.at(ENDPOINT, move |_| {
        thread::sleep(Duration::from_millis(300));
        response(200, "", &answer)
    });
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(status_of(&gate, "opaque-1"), 200));
        }
    });
    assert_eq!(server.asked(ENDPOINT).len(), 1);
}

#[test]
fn tok_036_a_refusal_is_kept_shortly_so_that_a_flood_of_it_costs_little() {
    let (_echo, server, gate) = start("");
    server.serve(ENDPOINT, r#"{"active":false}"#);
    for _ in 0..20 {
        assert_eq!(status_of(&gate, "opaque-1"), 401);
    }
    assert_eq!(server.asked(ENDPOINT).len(), 1);
}

#[test]
fn ver_022_an_issuer_that_cannot_be_asked_is_a_503() {
    let (echo, server, gate) = start("");
    for (case, answer) in [
        ("500", response(500, "", "")),
        ("401", response(401, "", r#"{"error":"invalid_client"}"#)),
        ("a redirect", response(302, "Location: http://127.0.0.1:1/\r\n", "")),
        ("no JSON", response(200, "", "yes")),
        ("two answers", response(200, "", r#"{"active":false,"active":true}"#)),
        ("too much", response(200, "", &format!("{{\"x\":\"{}\"}}", "x".repeat(200_000)))),
        ("nothing", String::new()),
    ] {
        server.at(ENDPOINT, move |_| answer.clone());
        let response = gate.get("/shop/any/1", "opaque-1");
        assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{case}");
        let why = gate.decision(&response.decision_id());
        assert_eq!(why["reason"], "introspection_unavailable", "{case}");
    }
    echo.assert_untouched("nobody to ask");
    server.serve(ENDPOINT, active().to_string());
    assert_eq!(status_of(&gate, "opaque-1"), 200);
}

#[test]
fn tok_035_a_signed_answer_is_verified() {
    let (echo, server, gate) = start("cache = \"0s\"");
    let signed = || Token {
        header: json!({"typ": "token-introspection+jwt"}),
        payload: json!({
            "iss": "https://as.test", "aud": "gate 1", "iat": now(), "token_introspection": active(),
        }),
    };
    let key = &gate.setup.key;
    server.serve(ENDPOINT, signed().sign(key));
    assert_accepted(&gate, "signed", "opaque-1");
    let before = echo.bytes();
    let stranger = crate::support::Key::new("ES256", "k1");
    for (case, answer) in [
        ("a stranger's", signed().sign(&stranger)),
        ("for another", signed().claim("aud", "gate 2").sign(key)),
        ("another issuer's", signed().claim("iss", "https://other.test").sign(key)),
        ("typ JWT", signed().header("typ", "JWT").sign(key)),
        ("an access token", Token::new().claim("active", true).sign(key)),
        ("no answer", signed().without("token_introspection").sign(key)),
    ] {
        server.serve(ENDPOINT, answer);
        assert_eq!(status_of(&gate, "opaque-1"), 503, "{case}");
    }
    assert_eq!(echo.bytes(), before);
    let as_token = signed().claim("aud", SHOP).sign(key);
    assert_eq!(status_of(&gate, &as_token), 401, "an answer is no token");
}

#[test]
fn tok_035_the_gate_can_authenticate_with_a_key_of_its_own() {
    let (echo, server) = (Echo::start(), Served::start());
    let setup = setup(&echo, &server, "key = \"gate.pem\"\nkey_id = \"g1\"");
    let pair = rcgen::KeyPair::generate().unwrap();
    setup.write("gate.pem", &pair.serialize_pem());
    server.serve(ENDPOINT, active().to_string());
    let gate = setup.start();
    assert_accepted(&gate, "private_key_jwt", "opaque-1");
    let body = String::from_utf8(server.asked(ENDPOINT)[0].body.clone()).unwrap();
    let assertion = body.split("client_assertion=").nth(1).unwrap();
    let parts: Vec<&str> = assertion.split('.').collect();
    let read = |part: &str| -> Value {
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    let (header, claims) = (read(parts[0]), read(parts[1]));
    assert_eq!((&header["alg"], &header["kid"]), (&json!("ES256"), &json!("g1")));
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!("gate 1"), &json!("gate 1")));
    assert_eq!(claims["aud"], "https://as.test");
    assert!(claims["exp"].as_i64().unwrap() <= now() + 60 && claims["jti"].is_string());
    let input = format!("{}.{}", parts[0], parts[1]);
    let public = aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED,
        pair.public_key_raw(),
    );
    public.verify(input.as_bytes(), &BASE64_URL_SAFE_NO_PAD.decode(parts[2]).unwrap()).unwrap();
}

#[test]
fn ver_021_an_opaque_token_is_revoked_by_its_hash_and_by_push() {
    let (echo, server, gate) = start("");
    server.serve(ENDPOINT, active().to_string());
    assert_accepted(&gate, "before", "opaque-1");
    assert_eq!(gate.admin_form("/revoke", "token=opaque-1").status, 200);
    assert_refused(&gate, &echo, "pushed", "opaque-1");
    assert_accepted(&gate, "another token", "opaque-2");
}

/// A gate that takes opaque tokens with chains and looks at evidence.
fn start_with_chains() -> (Echo, Served, Gate) {
    let (echo, server) = (Echo::start(), Served::start());
    let mut setup = setup(&echo, &server, "cache = \"0s\"");
    setup.issuer = setup.issuer.replacen("[issuer", "delegation = {}\n[issuer", 1);
    setup.resource += "\nallow_bearer_delegation = true";
    let gate = setup.start();
    (echo, server, gate)
}

/// Refused with an error and the number of a check; the upstream receives nothing.
pub(crate) fn assert_fails(gate: &Gate, echo: &Echo, case: &str, (error, check): (&str, &str)) {
    let before = echo.bytes();
    let response = gate.get("/shop/any/1", "opaque-1");
    assert_eq!((response.status, response.error()), (401, error.into()), "{case}");
    assert_eq!(gate.decision(&response.decision_id())["about"], check, "{case}");
    assert_eq!(echo.bytes(), before, "{case}: the upstream received something");
}

#[test]
fn del_018_the_chain_of_an_opaque_token_is_what_its_issuer_says() {
    let (echo, server, gate) = start_with_chains();
    let key = &gate.setup.key;
    let chained = |edit: &dyn Fn(&mut Value)| {
        let mut answer = delegated(2, key).payload;
        answer["active"] = json!(true);
        edit(&mut answer);
        server.serve(ENDPOINT, answer.to_string());
    };
    chained(&|_| {});
    assert_accepted(&gate, "a chain from introspection", "opaque-1");
    let record = gate.decisions().pop().unwrap();
    assert_eq!(record["delegation"]["hops"].as_array().unwrap().len(), 2);
    let invalid = "invalid_delegation_chain";
    chained(&|answer| answer["delegation_chain"][1]["operation_summary"] = json!("buy two"));
    assert_fails(&gate, &echo, "a forged record", (invalid, "D11"));
    chained(&|answer| answer["delegation_chain"].as_array_mut().unwrap().swap(0, 1));
    assert_fails(&gate, &echo, "swapped records", (invalid, "D4"));
    chained(&|answer| answer["act"]["sub"] = json!("wit://agents.test/9"));
    assert_fails(&gate, &echo, "another actor", (invalid, "D4"));
    // What the caller says of a chain is nothing: neither does it add one, nor does it take one away.
    let mut actor = active();
    actor["act"] = json!({"sub": "wit://agents.test/9"});
    server.serve(ENDPOINT, actor.to_string());
    let chain = serde_json::to_string(&delegated(2, key).payload["delegation_chain"]).unwrap();
    let lines = [
        ("Authorization", "Bearer opaque-1"),
        ("Delegation-Chain", &chain),
        ("X-Delegation-Chain", &chain),
    ];
    let response = gate.send(request("GET", "/shop/any/1", &lines, ""));
    assert_eq!(response.status, 200);
    assert!(gate.decisions().pop().unwrap().get("delegation").is_none());
}

#[test]
fn evi_012_the_evidence_of_an_opaque_token_is_verified_as_any_other() {
    let (echo, server, gate) = start_with_chains();
    let key = &gate.setup.key;
    let good = evidence("urn:uuid:1", "button_click", 5, key);
    let mut forged = good.clone();
    forged["user_confirmation"]["displayed_content"] = json!("Buy all");
    let say = |member: &str, evidence: &Value| {
        let mut answer = active();
        if member == "authorization_details" {
            let detail = json!({"type": "authorization_evidence", "evidence": evidence});
            answer[member].as_array_mut().unwrap().push(detail);
        } else {
            answer[member] = evidence.clone();
        }
        server.serve(ENDPOINT, answer.to_string());
    };
    for member in ["evidence", "evidence_details", "authorization_details"] {
        say(member, &good);
        assert_accepted(&gate, member, "opaque-1");
        let record = gate.decisions().pop().unwrap();
        assert_eq!(record["evidence"]["verified"], "signature", "{member}");
        say(member, &forged);
        assert_fails(&gate, &echo, member, ("invalid_token", "V2"));
    }
    // An answer is signed by nobody: without a signature of its own, evidence is nobody's word.
    let mut record = json!({"user_confirmation_record": {
        "displayed_content": "x", "user_action": "button_click", "timestamp": now() - 5}});
    say("evidence", &record);
    assert_fails(&gate, &echo, "a record without a signature", ("invalid_token", "V2"));
    record["as_signature"] = json!(detached(&record["user_confirmation_record"], key));
    say("evidence", &record);
    assert_accepted(&gate, "a record with one", "opaque-1");
}

#[test]
fn evi_013_a_withdrawn_consent_takes_its_opaque_tokens_back() {
    let (echo, server, gate) = start_with_chains();
    let mut answer = active();
    answer["evidence"] = evidence("urn:uuid:1", "button_click", 5, &gate.setup.key);
    server.serve(ENDPOINT, answer.to_string());
    assert_accepted(&gate, "before", "opaque-1");
    let withdrawn = json!({"evidence_id": "urn:uuid:1"});
    assert_eq!(gate.admin_json("POST", "/revocations", &withdrawn).status, 201);
    assert_refused(&gate, &echo, "withdrawn", "opaque-1");
    server.serve(ENDPOINT, active().to_string());
    assert_accepted(&gate, "a token of another consent", "opaque-2");
}

#[test]
fn del_018_a_jwt_can_be_asked_of_at_each_call_too() {
    let (echo, server) = (Echo::start(), Served::start());
    let mut setup = setup(&echo, &server, "cache = \"0s\"");
    setup.resource = "introspection = \"always\"".to_owned();
    let gate = setup.start();
    let token = gate.token();
    server.serve(ENDPOINT, active().to_string());
    assert_accepted(&gate, "active", &token);
    server.serve(ENDPOINT, r#"{"active":true}"#);
    assert_accepted(&gate, "active, and no more said", &token);
    server.serve(ENDPOINT, r#"{"active":false}"#);
    assert_refused(&gate, &echo, "revoked", &token);
    let mut other = active();
    other["sub"] = json!("user-2");
    server.serve(ENDPOINT, other.to_string());
    assert_refused(&gate, &echo, "of another token", &token);
    server.fail(ENDPOINT);
    let before = echo.bytes();
    assert_eq!(status_of(&gate, &token), 503);
    assert_eq!(echo.bytes(), before);
    let asked = server.asked(ENDPOINT).len();
    assert_eq!(status_of(&gate, "opaque-1"), 401, "opaque tokens are not taken here");
    assert_eq!(server.asked(ENDPOINT).len(), asked);
}

/// A gate before an upstream that streams in silence, and the server that is asked of tokens.
pub(crate) fn start_streaming(lines: &str, resource: &str) -> (Echo, Served, Gate) {
    let echo = Echo::scripted(|exchange| {
        exchange.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        exchange.is_abandoned();
    });
    let server = Served::start();
    let mut setup = setup(&echo, &server, lines);
    setup.resource += resource;
    (echo, server, setup.start())
}

pub(crate) fn open_stream(gate: &Gate, token: &str) -> Connection {
    let line = format!("Bearer {token}");
    let mut connection = gate.connect();
    connection.send(request("GET", "/shop/any/1", &[("Authorization", &line)], ""));
    assert_eq!(connection.head().status, 200);
    connection
}

/// The error in the outcome of the stream that ended first, and how long it took to be cut.
pub(crate) fn cut(gate: &Gate, mut stream: Connection) -> (Value, Duration) {
    let begun = Instant::now();
    assert!(stream.until("\r\n0\r\n\r\n").is_none(), "cut, and never ended cleanly");
    let took = begun.elapsed();
    let error = eventually("the outcome", || {
        let mut outcomes = gate.records().into_iter().filter(|one| one["type"] == "outcome");
        outcomes.find_map(|one| one.get("error").cloned())
    });
    (error, took)
}

#[test]
fn ver_030_a_stream_that_an_issuer_permitted_ends_when_it_says_so() {
    for (token, resource) in [("opaque-1", ""), ("", "\nintrospection = \"always\"")] {
        let (_echo, server, gate) = start_streaming("cache = \"1s\"", resource);
        server.serve(ENDPOINT, active().to_string());
        let token = if token.is_empty() { gate.token() } else { token.to_owned() };
        let stream = open_stream(&gate, &token);
        eventually("the issuer to be asked again", || {
            (server.asked(ENDPOINT).len() >= 3).then_some(())
        });
        let open = gate.records().into_iter().filter(|one| one["type"] == "outcome").count();
        assert_eq!(open, 0, "an active token keeps its stream");
        server.serve(ENDPOINT, r#"{"active":false}"#);
        let (error, took) = cut(&gate, stream);
        assert_eq!(error, "token_inactive", "{resource}");
        assert!(took < Duration::from_millis(2_500), "{took:?}");
    }
}

#[test]
fn ver_030_a_stream_ends_when_its_issuer_speaks_of_another_token_or_not_at_all() {
    let (_echo, server, gate) = start_streaming("cache = \"0s\"", "");
    server.serve(ENDPOINT, active().to_string());
    let stream = open_stream(&gate, "opaque-1");
    let mut other = active();
    other["sub"] = json!("user-2");
    server.serve(ENDPOINT, other.to_string());
    assert_eq!(cut(&gate, stream).0, "token_inactive");
    let (_echo, server, gate) = start_streaming("cache = \"2s\"", "");
    server.serve(ENDPOINT, active().to_string());
    let stream = open_stream(&gate, "opaque-1");
    // One failure is no end: the issuer is asked again before the answer at hand has ended.
    let mut failures = 0;
    let answer = active().to_string();
    server.at(ENDPOINT, move |_| {
        failures += 1;
        if failures == 1 { response(500, "", "") } else { response(200, "", &answer) }
    });
    eventually("the second question", || (server.asked(ENDPOINT).len() >= 3).then_some(()));
    assert!(gate.records().iter().all(|one| one["type"] != "outcome"));
    server.fail(ENDPOINT);
    let (error, took) = cut(&gate, stream);
    assert_eq!(error, "introspection_unavailable");
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn ver_030_streams_of_one_token_are_one_question() {
    let (_echo, server, gate) = start_streaming("cache = \"2s\"", "");
    server.serve(ENDPOINT, active().to_string());
    let streams: Vec<_> = (0..10).map(|_| open_stream(&gate, "opaque-1")).collect();
    thread::sleep(Duration::from_secs(2));
    let asked = server.asked(ENDPOINT).len();
    assert!((2..=4).contains(&asked), "{asked} questions for ten streams");
    // A token that needs no word of its issuer is not asked about.
    let before = server.asked(ENDPOINT).len();
    drop(streams);
    let _signed = open_stream(&gate, &gate.token());
    thread::sleep(Duration::from_millis(1_900));
    assert_eq!(server.asked(ENDPOINT).len(), before);
}

#[test]
fn del_017_a_chain_can_be_anchored_by_asking_its_issuer() {
    let (echo, server) = (Echo::start(), Served::start());
    let mut setup = setup(&echo, &server, "cache = \"0s\"");
    setup.issuer = setup.issuer.replacen(
        "[issuer",
        "delegation = { root_anchor = \"introspect\" }\n[issuer",
        1,
    );
    setup.resource = "allow_bearer_delegation = true".to_owned();
    let gate = setup.start();
    let chained = delegated(2, &gate.setup.key).sign(&gate.setup.key);
    server.serve(ENDPOINT, r#"{"active":true}"#);
    assert_accepted(&gate, "active", &chained);
    assert_eq!(server.asked(ENDPOINT).len(), 1);
    assert_accepted(&gate, "a token without a chain is not asked about", &gate.token());
    assert_eq!(server.asked(ENDPOINT).len(), 1);
    server.serve(ENDPOINT, r#"{"active":false}"#);
    assert_refused(&gate, &echo, "not active any more", &chained);
    server.fail(ENDPOINT);
    let before = echo.bytes();
    assert_eq!(status_of(&gate, &chained), 503);
    assert_eq!(echo.bytes(), before);
}

#[test]
fn a_key_that_does_not_sign_is_said_at_the_start() {
    let (echo, server) = (Echo::start(), Served::start());
    let setup = setup(&echo, &server, "key = \"gate.pem\"");
    setup.write("gate.pem", "no key");
    let mut gate = setup.spawn();
    assert_ne!(gate.ended().code(), Some(0));
    assert!(gate.stderr().contains("is not a private key"), "{}", gate.stderr());
}

#[test]
fn an_issuer_without_an_endpoint_cannot_be_asked_which_is_said_at_the_start() {
    let echo = Echo::start();
    for line in ["opaque_tokens = \"https://as.test\"", "introspection = \"always\""] {
        let mut setup = Setup::new(&echo);
        setup.resource = line.to_owned();
        let mut gate = setup.spawn();
        assert_eq!(gate.ended().code(), Some(2));
        let log = gate.stderr();
        assert!(log.contains("has no `[issuer.introspection]` to be asked at"), "{log}");
    }
}
