//! Prompt credentials over real sockets (form E4 of evidence; `evidence.md` §5): a client's word for what a
//! person typed counts only where an operation says so, and only from clients that are listed.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::chain::evidence;
use crate::support::issuer::now;
use crate::support::jwks::{JwksServer, set};
use crate::support::{Echo, Gate, Key, Response, Setup, Token, eventually};

const TARGET: &str = "/shop/products/42";
/// Another operation, which takes no prompts.
const STRICT: &str = "/shop/any/1";
const CLIENT: &str = "https://client.test";
const PROMPT: &str = "buy-me-a-secret-present";

fn setup(echo: &Echo, keys: &str) -> Setup {
    let mut setup = Setup::new(echo);
    setup.resource = "evidence = \"required\"\naccept_prompt_credential = true".to_owned();
    setup.operations = setup.operations.replacen(
        "path = \"/any/**\"",
        "path = \"/any/**\"\naccept_prompt_credential = false",
        1,
    );
    setup.more = format!("[[prompt_issuer]]\nissuer = \"{CLIENT}\"\n{keys}\n");
    setup
}

fn start(client: &Key) -> (Echo, Gate) {
    let echo = Echo::start();
    let setup = setup(&echo, "jwks_file = \"client.json\"");
    setup.write("client.json", &set(&[client]).to_string());
    (echo, setup.start())
}

/// Seconds as RFC 3339 writes them.
fn written(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap().to_string()
}

/// A credential for what the person of the common token typed, before it is signed.
fn credential() -> Token {
    let at = now() - 10;
    Token {
        header: json!({"typ": "JWT"}),
        payload: json!({
            "jti": "urn:uuid:9", "iss": CLIENT, "sub": "user-1", "iat": at, "exp": at + 600,
            "type": "VerifiableCredential", "issuer": CLIENT,
            "issuanceDate": written(at), "expirationDate": written(at + 600),
            "credentialSubject": {"type": "UserInputEvidence", "prompt": PROMPT,
                "timestamp": written(at), "channel": "web", "deviceFingerprint": "d"},
            "proof": {"type": "JwtProof2020", "created": "whenever", "verificationMethod": "any"},
        }),
    }
}

fn carrying(credential: &str) -> Token {
    Token::new().claim("evidence", json!({"source_prompt_credential": credential}))
}

fn ask(gate: &Gate, target: &str, token: &Token) -> Response {
    gate.get(target, &token.sign(&gate.setup.key))
}

fn recorded(gate: &Gate) -> Value {
    gate.decisions().pop().unwrap()["prompt_credential"].clone()
}

type Edit = Box<dyn Fn(Token) -> Token>;

#[test]
fn evi_009_a_prompt_that_a_listed_client_vouches_for_counts_where_it_is_accepted() {
    let client = Key::new("RS256", "key-01");
    let (echo, gate) = start(&client);
    for key_id in ["key-01", "https://client.test/.well-known/jwks.json#key-01"] {
        let token = carrying(&credential().header("kid", key_id).sign(&client));
        let response = ask(&gate, TARGET, &token);
        assert_eq!(response.status, 200, "{key_id}: {}", response.everything());
        let prompt = recorded(&gate);
        assert_eq!(
            (&prompt["verified"], &prompt["id"]),
            (&json!("signature"), &json!("urn:uuid:9"))
        );
        assert_eq!(prompt["iss"], CLIENT);
        // What is remembered opens no operation that takes no prompts, nor closes one that does.
        let before = echo.bytes();
        let strict = ask(&gate, STRICT, &token);
        assert_eq!((strict.status, strict.error()), (403, "insufficient_authorization".into()));
        assert_eq!(gate.decision(&strict.decision_id())["about"], "V9");
        assert_eq!(echo.bytes(), before);
        assert_eq!(ask(&gate, TARGET, &token).status, 200);
    }
    let camel = credential().sign(&client);
    let camel = Token::new().claim("evidence", json!({"sourcePromptCredential": camel}));
    assert_eq!(ask(&gate, TARGET, &camel).status, 200);
    let vc = carrying(&credential().header("typ", "vc+jwt").sign(&client));
    assert_eq!(ask(&gate, TARGET, &vc).status, 200);
    // R-EVI-010: the prompt stands nowhere.
    let arrived = String::from_utf8_lossy(&echo.bytes()).into_owned();
    let encoded = vc.payload["evidence"]["source_prompt_credential"].as_str().unwrap();
    let encoded = encoded.split('.').nth(1).unwrap();
    for text in [gate.listing(), arrived, gate.stderr()] {
        assert!(!text.contains(PROMPT) && !text.contains(encoded), "{text}");
    }
}

#[test]
fn evi_009_each_single_mutation_is_refused_where_it_counts_and_nothing_elsewhere() {
    let client = Key::new("RS256", "key-01");
    let (echo, gate) = start(&client);
    let subject = |member: &'static str, value: Value| -> Edit {
        Box::new(move |mut token| {
            token.payload["credentialSubject"][member] = value.clone();
            token
        })
    };
    let claim = |member: &'static str, value: Value| -> Edit {
        Box::new(move |token| token.claim(member, value.clone()))
    };
    let at = now();
    let cases: Vec<(&str, Edit)> = vec![
        ("typ", Box::new(|token| token.header("typ", "at+jwt"))),
        ("kid", Box::new(|token| token.header("kid", "key-02"))),
        ("kid", Box::new(|token| token.header("kid", "https://client.test.evil/jwks#key-01"))),
        ("kid", Box::new(|token| token.header("kid", "http://client.test/jwks#key-01"))),
        ("crit", Box::new(|token| token.header("crit", json!(["x"])))),
        ("iss", claim("iss", json!("https://other.test"))),
        ("issuer", claim("issuer", json!("https://other.test"))),
        ("issuer", Box::new(|token| token.without("issuer"))),
        ("jti", Box::new(|token| token.without("jti"))),
        ("type", claim("type", json!("AccessToken"))),
        ("sub", claim("sub", json!("user-2"))),
        ("iat", claim("iat", json!(at + 600))),
        ("iat", claim("iat", json!(written(at)))),
        ("exp", claim("exp", json!(at - 60))),
        ("exp", claim("expirationDate", json!(written(at - 60)))),
        ("expirationDate", Box::new(|token| token.without("expirationDate"))),
        ("issuanceDate", claim("issuanceDate", json!(written(at + 600)))),
        ("timestamp", subject("timestamp", json!(written(at + 600)))),
        ("credentialSubject", subject("type", json!("Other"))),
        ("credentialSubject", subject("prompt", json!(""))),
        ("credentialSubject", claim("credentialSubject", json!([]))),
    ];
    let refused = |case: &str, token: &Token| {
        let before = echo.bytes();
        let response = ask(&gate, TARGET, token);
        assert_eq!((response.status, response.error()), (401, "invalid_token".into()), "{case}");
        let record = gate.decision(&response.decision_id());
        assert_eq!(
            (&record["reason"], &record["about"]),
            (&json!("evidence_invalid"), &json!(case))
        );
        assert_eq!(echo.bytes(), before, "{case}: the upstream received something");
    };
    for (case, edit) in &cases {
        refused(case, &carrying(&edit(credential()).sign(&client)));
    }
    refused("signature", &carrying(&credential().sign(&Key::new("RS256", "key-01"))));
    refused("jws", &carrying("not-a-credential"));
    // Where prompts count for nothing, a wrong one is no reason to refuse: with better evidence it passes.
    let mut both = evidence("urn:uuid:1", "button_click", 5, &gate.setup.key);
    both["source_prompt_credential"] = json!("not-a-credential");
    assert_eq!(ask(&gate, TARGET, &Token::new().claim("evidence", both)).status, 200);
    let contradicting = json!({"source_prompt_credential": "a", "sourcePromptCredential": "b"});
    let response = ask(&gate, TARGET, &Token::new().claim("evidence", contradicting));
    assert_eq!((response.status, response.error()), (401, "invalid_token".into()));
}

#[test]
fn evi_009_an_encrypted_prompt_and_an_old_one_ask_for_a_new_consent() {
    let client = Key::new("RS256", "key-01");
    let echo = Echo::start();
    let mut setup = setup(&echo, "jwks_file = \"client.json\"");
    setup.write("client.json", &set(&[&client]).to_string());
    setup.resource += "\nevidence_max_age = \"5s\"";
    setup.operations = setup.operations.replacen(
        "path = \"/orders/*\"",
        "path = \"/orders/*\"\nevidence_max_age = \"1h\"\nuser_actions = [\"hardware_key\"]",
        1,
    );
    let gate = setup.start();
    let right = carrying(&credential().sign(&client));
    let sealed = carrying("eyJhbGciOiJSU0EtT0FFUCJ9.AA.AA.AA.AA");
    let mut granted = right.clone();
    granted.payload["authorization_details"][0]["operations"] = json!([{"action": "read_order"}]);
    for (case, target, token, check) in [
        ("encrypted", TARGET, &sealed, "V9"),
        ("typed ten seconds ago", TARGET, &right, "V6"),
        ("typing is no such act", "/shop/orders/1", &granted, "V7"),
    ] {
        let response = ask(&gate, target, token);
        assert_eq!((response.status, response.error()), (403, "insufficient_authorization".into()));
        assert_eq!(gate.decision(&response.decision_id())["about"], check, "{case}");
    }
    echo.assert_untouched("a prompt is not enough");
}

#[test]
fn evi_009_a_clients_keys_are_asked_for_where_its_word_decides_and_nowhere_else() {
    let client = Key::new("ES256", "key-01");
    let server = JwksServer::start(&[&client]);
    let trap = Echo::start();
    server.fail(true);
    let echo = Echo::start();
    let mut setup = setup(&echo, &format!("{}\nrefresh = \"1s\"", server.line()));
    setup.operations = setup.operations.replacen(
        "path = \"/any/**\"",
        "path = \"/any/**\"\nevidence = \"verify_if_present\"",
        1,
    );
    let gate = setup.start();
    let signed = carrying(&credential().sign(&client)).sign(&gate.setup.key);
    assert_eq!(gate.get(STRICT, &signed).status, 200, "it decides nothing here");
    let before = echo.bytes();
    let response = gate.get(TARGET, &signed);
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    assert_eq!(gate.decision(&response.decision_id())["reason"], "keys_unavailable");
    assert_eq!(gate.get(STRICT, &signed).status, 200);
    server.fail(false);
    eventually("the client's keys", || {
        // Seldom: of more refusals than a source has a budget for, none has a record of its own.
        thread::sleep(Duration::from_millis(50));
        (gate.get(TARGET, &signed).status == 200).then_some(())
    });
    // A key that goes takes the prompt with it, also for a token that is remembered.
    server.serve(set(&[&Key::new("ES256", "key-01")]));
    let refused = eventually("the key to be gone", || {
        let response = gate.get(TARGET, &signed);
        (response.status == 401).then_some(response)
    });
    assert_eq!(gate.decision(&refused.decision_id())["about"], "signature");
    let foreign = format!("{}/jwks.json#key-01", trap.url());
    let foreign = credential().header("kid", foreign).header("jku", trap.url());
    assert_eq!(ask(&gate, TARGET, &carrying(&foreign.sign(&client))).status, 401);
    trap.assert_untouched("the address in a credential");
    assert!(echo.bytes().len() > before.len());
}
